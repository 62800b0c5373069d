"""The embedded AWS's CloudTrail: moto answers no LookupEvents, so a made-up history does, alike in each account."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

_SECRETS = "secretsmanager.amazonaws.com"
_WEB, _OPERATOR = "assumed-role/shop-web/i-0a1b2c3d4e5f60718", "assumed-role/aws-ops-target/aws-ops-alice"
# Hours ago, event, resource, who (behind the account's number), error.
_HISTORY = (
    (2, "GetSecretValue", "shared/api-key", f"sts:{_WEB}", None),
    (5, "DescribeSecret", "shared/api-key", f"sts:{_OPERATOR}", None),
    (9, "GetSecretValue", "shared/api-key", "iam:user/contractor", "AccessDenied"),
    (26, "PutSecretValue", "shared/api-key", f"sts:{_OPERATOR}", None),
    (27, "GetSecretValue", "shared/api-key", "iam:user/ci-deployer", None),
    (50, "CreateSecret", "shared/api-key", f"sts:{_OPERATOR}", None),
)


def lookup_events(account: str, region: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer CloudTrail's LookupEvents: one attribute looked up, times, a cut at MaxResults."""
    now = time.time()
    events = [_event(number, row, account, region, now) for number, row in enumerate(_HISTORY)]
    starts, ends = asked.get("StartTime", 0), asked.get("EndTime", now)
    found = [event for event in events if starts <= event["EventTime"] <= ends and _matches(event, asked)]
    return {"Events": found[: asked.get("MaxResults", 50)]}


def _event(number: int, row: tuple[Any, ...], account: str, region: str, now: float) -> dict[str, Any]:
    hours, name, resource, who, error = row
    service, _, path = who.partition(":")
    arn = f"arn:aws:{service}::{account}:{path}"
    detail = {
        "userIdentity": {"arn": arn},
        "awsRegion": region,
        "sourceIPAddress": "192.0.2.10",
        **({"errorCode": error} if error else {}),
    }
    return {
        "EventId": f"00000000-0000-4000-8000-{number:012d}",
        "EventName": name,
        "EventSource": _SECRETS,
        "EventTime": int(now - hours * 3600),
        "Username": path.rpartition("/")[2],
        "ReadOnly": "true" if name.startswith(("Get", "Describe")) else "false",
        "Resources": [{"ResourceType": "AWS::SecretsManager::Secret", "ResourceName": resource}],
        "CloudTrailEvent": json.dumps(detail),
    }


def _matches(event: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    for attribute in asked.get("LookupAttributes", []):
        key, value = attribute["AttributeKey"], attribute["AttributeValue"]
        if key == "ResourceName":
            if not any(resource["ResourceName"] in value for resource in event["Resources"]):
                return False
        elif str(event.get(key)) != value:
            return False
    return True
