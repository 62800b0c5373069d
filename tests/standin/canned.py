"""An AWS of constants, for benchmarks: every secret exists in every account, and its value says who was asked."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.standin.records import BASE_ACCOUNT, Call
from tests.standin.refusals import REQUEST_ID, dialect, render
from tests.standin.wire import Answer, Request

_CREATED = 1760000000.5
_VERSION = "11111111-2222-4333-8444-555555555555"
_ROUTE53 = "https://route53.amazonaws.com/doc/2013-04-01/"
_STS = "https://sts.amazonaws.com/doc/2011-06-15/"

Members = dict[str, Any]


def canned_value(account: str, role_arn: str | None, access_key: str | None) -> str:
    """Return the value of every canned secret: account, role name (`-` for none) and the access key that signed."""
    return f"{account} {(role_arn or '-').rpartition('/')[2]} {access_key}"


class CannedAWS:
    """Answers the operations below; any other is refused, so that no benchmark measures an error unawares."""

    async def answer(self, request: Request, call: Call) -> Answer:
        if call.service == "secretsmanager" and (answer := _SECRETS.get(call.operation)):
            return _json(answer(call, json.loads(request.body or b"{}")))
        if answer_xml := _XML.get(call.operation):
            return _xml(answer_xml(call))
        text = f"{call.service} {call.operation} is not among the canned answers"
        return render(dialect(request, call), 400, "InvalidAction", text)

    async def reset(self) -> None:
        """Constants have no state."""


def _secret(call: Call, asked: Members) -> Members:
    name = asked.get("SecretId") or asked.get("Name") or "app/db"
    if name.startswith("arn:"):
        name = name.rpartition(":")[2][:-7]
    return {"ARN": f"arn:aws:secretsmanager:{call.region}:{call.account}:secret:{name}-AbCdEf", "Name": name}


def _describe_secret(call: Call, asked: Members) -> Members:
    return {
        **_secret(call, asked),
        "Description": f"of account {call.account}",
        "CreatedDate": _CREATED,
        "LastChangedDate": _CREATED,
        "Tags": [{"Key": "account", "Value": call.account}],
        "VersionIdsToStages": {_VERSION: ["AWSCURRENT"]},
    }


def _get_secret_value(call: Call, asked: Members) -> Members:
    value = canned_value(call.account, call.signer_role_arn, call.access_key)
    version = {"VersionId": _VERSION, "VersionStages": ["AWSCURRENT"], "CreatedDate": _CREATED}
    return {**_secret(call, asked), "SecretString": value, **version}


def _list_secrets(call: Call, asked: Members) -> Members:
    return {"SecretList": [_describe_secret(call, {"Name": f"app/{n}"}) for n in range(3)]}


def _list_secret_version_ids(call: Call, asked: Members) -> Members:
    version = {"VersionId": _VERSION, "VersionStages": ["AWSCURRENT"], "CreatedDate": _CREATED}
    return {**_secret(call, asked), "Versions": [version]}


def _changed_secret(call: Call, asked: Members) -> Members:
    version = asked.get("ClientRequestToken", _VERSION)
    return {**_secret(call, asked), "VersionId": version, "VersionStages": ["AWSCURRENT"]}


def _deleted_secret(call: Call, asked: Members) -> Members:
    days = 0 if asked.get("ForceDeleteWithoutRecovery") else asked.get("RecoveryWindowInDays", 30)
    return {**_secret(call, asked), "DeletionDate": time.time() + days * 86400}


_SECRETS: dict[str, Callable[[Call, Members], Members]] = {
    "DescribeSecret": _describe_secret,
    "GetSecretValue": _get_secret_value,
    "ListSecrets": _list_secrets,
    "ListSecretVersionIds": _list_secret_version_ids,
    "CreateSecret": _changed_secret,
    "PutSecretValue": _changed_secret,
    "UpdateSecret": _changed_secret,
    "RotateSecret": _changed_secret,
    "RestoreSecret": _secret,
    "DeleteSecret": _deleted_secret,
    "GetResourcePolicy": _secret,
    "TagResource": lambda call, asked: {},
    "UntagResource": lambda call, asked: {},
    "GetRandomPassword": lambda call, asked: {"RandomPassword": "x" * int(asked.get("PasswordLength", 32))},
}


def _assume_role(call: Call) -> str:
    return _sts(call, _assumed(call))


def _assume_role_with_web_identity(call: Call) -> str:
    return _sts(call, f"<SubjectFromWebIdentityToken>subject</SubjectFromWebIdentityToken>{_assumed(call)}")


def _assumed(call: Call) -> str:
    """Return fresh credentials, and the session they are for."""
    expires = datetime.fromtimestamp(time.time() + (call.duration_seconds or 3600), UTC)
    name, account = _role(call.role_arn, call.account)
    return (
        "<Credentials>"
        f"<AccessKeyId>ASIA{secrets.token_hex(8).upper()}</AccessKeyId>"
        f"<SecretAccessKey>standin-sts-{secrets.token_urlsafe(30)}</SecretAccessKey>"
        f"<SessionToken>standin-sts-{secrets.token_urlsafe(96)}</SessionToken>"
        f"<Expiration>{expires:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
        "</Credentials><AssumedRoleUser>"
        f"<AssumedRoleId>AROACANNED:{call.session_name}</AssumedRoleId>"
        f"<Arn>arn:aws:sts::{account}:assumed-role/{name}/{call.session_name}</Arn>"
        "</AssumedRoleUser>"
    )


def _get_caller_identity(call: Call) -> str:
    arn = f"arn:aws:iam::{BASE_ACCOUNT}:user/standin"
    if call.signer_role_arn:
        name, account = _role(call.signer_role_arn, call.account)
        arn = f"arn:aws:sts::{account}:assumed-role/{name}/{call.signer_session_name}"
    return _sts(call, f"<UserId>AIDACANNED</UserId><Account>{call.account}</Account><Arn>{arn}</Arn>")


def _role(role_arn: str | None, account: str) -> tuple[str, str]:
    """Return a role's name and account."""
    parts = (role_arn or "").split(":")
    return parts[-1].rpartition("/")[2], parts[4] if len(parts) > 4 else account


def _sts(call: Call, result: str) -> str:
    action = call.operation
    return (
        f'<{action}Response xmlns="{_STS}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></{action}Response>"
    )


def _list_hosted_zones(call: Call) -> str:
    zone = (
        f"<HostedZone><Id>/hostedzone/Z{call.account}</Id><Name>{call.account}.example.</Name>"
        "<CallerReference>canned</CallerReference><Config><PrivateZone>false</PrivateZone></Config>"
        "<ResourceRecordSetCount>2</ResourceRecordSetCount></HostedZone>"
    )
    return (
        f'<ListHostedZonesResponse xmlns="{_ROUTE53}"><HostedZones>{zone}</HostedZones>'
        "<IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListHostedZonesResponse>"
    )


def _list_buckets(call: Call) -> str:
    bucket = (
        f"<Bucket><Name>bucket-of-{call.account}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>"
    )
    owner = f"<Owner><ID>{call.account}</ID></Owner>"
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    result = f"{owner}<Buckets>{bucket}</Buckets>"
    return f'<ListAllMyBucketsResult xmlns="{namespace}">{result}</ListAllMyBucketsResult>'


def _describe_instances(call: Call) -> str:
    instance = (
        f"<item><instanceId>i-{call.account}</instanceId><instanceType>t3.micro</instanceType>"
        "<instanceState><code>16</code><name>running</name></instanceState></item>"
    )
    reservation = f"<item><ownerId>{call.account}</ownerId><instancesSet>{instance}</instancesSet></item>"
    return (
        f'<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>{REQUEST_ID}</requestId>'
        f"<reservationSet>{reservation}</reservationSet></DescribeInstancesResponse>"
    )


def _list_roles(call: Call) -> str:
    role = (
        f"<member><RoleName>reader</RoleName><Path>/</Path><RoleId>AROACANNEDCANNED</RoleId>"
        f"<Arn>arn:aws:iam::{call.account}:role/reader</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></member>"
    )
    return (
        '<ListRolesResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListRolesResult>'
        f"<IsTruncated>false</IsTruncated><Roles>{role}</Roles></ListRolesResult>"
        f"<ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata></ListRolesResponse>"
    )


_XML: dict[str, Callable[[Call], str]] = {
    "AssumeRole": _assume_role,
    "AssumeRoleWithWebIdentity": _assume_role_with_web_identity,
    "GetCallerIdentity": _get_caller_identity,
    "GET /2013-04-01/hostedzone": _list_hosted_zones,
    "GET /": _list_buckets,
    "DescribeInstances": _describe_instances,
    "ListRoles": _list_roles,
}


def _json(members: Members) -> Answer:
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", REQUEST_ID)]
    return Answer(200, headers, json.dumps(members).encode())


def _xml(text: str) -> Answer:
    headers = [("Content-Type", "text/xml"), ("x-amzn-RequestId", REQUEST_ID)]
    return Answer(200, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())
