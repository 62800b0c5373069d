"""CloudTrail's events as they are read: one whose details cannot be read goes without them, whatever is in it.

Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field

from services.base import AWSModel, Timestamp

_KEPT = timedelta(days=90)
# partition -> where the events of services without regions are: IAM's and sign-in's, then Route 53's and CloudFront's.
GLOBAL_REGIONS = {
    "aws": ("us-east-1", "us-east-1"),
    "aws-cn": ("cn-north-1", "cn-northwest-1"),
    "aws-us-gov": ("us-gov-west-1", "us-gov-west-1"),
    "aws-iso": ("us-iso-east-1", "us-iso-east-1"),
    "aws-iso-b": ("us-isob-east-1", "us-isob-east-1"),
    "aws-iso-e": ("eu-isoe-west-1", "eu-isoe-west-1"),
    "aws-iso-f": ("us-isof-south-1", "us-isof-south-1"),
    "aws-eusc": ("eusc-de-east-1", "eusc-de-east-1"),
}
_NAMES = re.compile("(id|name|arn)$", re.IGNORECASE)


class Event(AWSModel):
    """One CloudTrail event: who did what, from where, and whether AWS let them."""

    event_id: str
    event_time: Timestamp
    event_name: str
    event_source: str
    username: str | None = None
    principal_arn: str | None = None
    source_identity: str | None = None
    source_ip: str | None = None
    region: str | None = None
    read_only: bool | None = None
    error_code: str | None = None
    access_key_id: str | None = None
    user_agent: str | None = None
    resources: list[str] = Field(default=[], description="As recorded, or as the request named them")


def event_of(row: Mapping[str, Any]) -> Event:
    """Return an event, without the details that are not what they should be."""
    detail = _detail(row.get("CloudTrailEvent"))
    who = _members(detail.get("userIdentity"))
    rows = [_members(item).get("ResourceName") for item in row.get("Resources") or []]
    named = [*rows, *_named_in(detail.get("requestParameters"))]
    return Event.model_validate(
        {
            "EventId": _escaped(row["EventId"]),
            "EventTime": row["EventTime"],
            "EventName": _escaped(row["EventName"]),
            "EventSource": _escaped(row["EventSource"]),
            "Username": _text(row.get("Username")),
            "AccessKeyId": _text(row.get("AccessKeyId")),
            "PrincipalArn": _text(who.get("arn")) or _text(who.get("invokedBy")),
            "SourceIdentity": _text(_members(who.get("sessionContext")).get("sourceIdentity")),
            "SourceIp": _text(detail.get("sourceIPAddress")),
            "Region": _text(detail.get("awsRegion")),
            "ReadOnly": {"true": True, "false": False}.get(str(row.get("ReadOnly")).lower()),
            "ErrorCode": _text(detail.get("errorCode")),
            "UserAgent": _text(detail.get("userAgent")),
            "Resources": list(dict.fromkeys(filter(None, map(_text, named)))),
        }
    )


def _detail(text: Any) -> Mapping[str, Any]:
    try:
        return _members(json.loads(text))
    except (ValueError, TypeError, RecursionError):  # no JSON, nested too deeply, a number of too many digits
        return {}


def _members(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    """Return a text that can be written as UTF-8; half of a surrogate pair cannot."""
    return value if isinstance(value, str) and _escaped(value) == value else None


def _escaped(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _named_in(request: Any) -> Iterator[str]:
    """Yield what a request calls its resources by. CloudTrail lists none for many services, Secrets Manager's too."""
    for name, value in _members(request).items():
        if _NAMES.search(name) and isinstance(value, str) and len(value) <= 2048:
            yield value


def fits(event: Event, wanted: Mapping[str, str]) -> bool:
    """Tell whether an event is of all that was asked for, and not of the one thing alone that AWS looks up."""
    if len(wanted) < 2:
        return True
    plain = {"access_key_id": event.access_key_id, "event_name": event.event_name, "username": event.username}
    resource = wanted.get("resource_name")
    return all(plain[name] == value for name, value in wanted.items() if name in plain) and (
        resource is None or any(_is_named(one, resource) for one in event.resources)
    )


def _is_named(recorded: str, value: str) -> bool:
    """Tell whether a recorded name or ARN is a resource's; Secrets Manager's ARNs end in six random characters."""
    if recorded == value:
        return True
    name = re.escape(value)
    as_arn = rf"arn:[^:]*:secretsmanager:[^:]*:[^:]*:secret:{name}(-[A-Za-z0-9]{{6}})?|arn:.*[:/]{name}"
    return re.fullmatch(as_arn, recorded) is not None


def whatever_is_elsewhere(
    partition: str, region: str, start: datetime | None, end: datetime | None, *, found_none: bool
) -> str | None:
    """Return what a lookup cannot have found where it looked; None where nothing needs to be said."""
    notes, oldest = list[str](), datetime.now(UTC) - _KEPT
    if (start is not None and start < oldest) or (end is not None and end < oldest):
        notes.append(
            f"A lookup goes back 90 days: what was before {oldest:%Y-%m-%dT%H:%MZ} is found in a trail's bucket alone."
        )
    if found_none:
        notes += _where_else(partition, region)
    return " ".join(notes) or None


def _where_else(partition: str, region: str) -> Iterator[str]:
    yield f"Nothing was found in {region}."
    main, dns = GLOBAL_REGIONS.get(partition, (None, None))
    if main == dns and main != region and main is not None:
        yield f"IAM's, Route 53's, CloudFront's and sign-in's events are in {main}: look there too."
    elif main != dns:
        yield f"IAM's and sign-in's events are in {main}, Route 53's and CloudFront's in {dns}."
    yield "What was done to the data itself, such as reading an S3 object, is in no lookup; new events take 15 minutes."
