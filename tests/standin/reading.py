"""Reads off a request what AWS would: who signed it, for which service and region, asking for which operation."""

from __future__ import annotations

import hashlib
import json
import re
import time
from itertools import count
from urllib.parse import parse_qsl

from tests.standin.keyring import Keyring
from tests.standin.records import Call
from tests.standin.wire import Request

_ids = count(1)
_CALLER_REFERENCE = re.compile(rb"<CallerReference>(.*?)</CallerReference>", re.DOTALL)
_TOKEN_NAMES = ("ClientRequestToken", "ClientToken", "clientToken", "CallerReference")


def read_call(request: Request, keyring: Keyring) -> Call:
    """Return what is remembered of a request: no value of its body except names, tokens and STS parameters."""
    access_key, region, service = _credential(request)
    parameters = query_parameters(request)
    operation = _operation(request, parameters)
    session = keyring.session(access_key)
    call = Call(
        id=next(_ids),
        time=time.time(),
        service=service or ("sts" if operation.startswith("AssumeRoleWith") else ""),
        operation=operation,
        account=keyring.account(access_key),
        body_sha256=hashlib.sha256(request.body).hexdigest(),
        access_key=access_key,
        region=region,
        signer_role_arn=session.role_arn if session else None,
        signer_session_name=session.session_name if session else None,
        client_token=_client_token(request, parameters),
        invocation_id=request.get("amz-sdk-invocation-id"),
        sdk_request=request.get("amz-sdk-request"),
        user_agent=request.get("user-agent"),
    )
    if operation.startswith("AssumeRole"):
        _note_assume_role(call, parameters)
    return call


def query_parameters(request: Request) -> dict[str, str]:
    """Return the parameters of a query-protocol request, whether they stand in its body or its URL."""
    if request.get("x-amz-target"):
        return {}
    text = request.query
    if (request.get("content-type") or "").startswith("application/x-www-form-urlencoded"):
        text += "&" + request.body.decode("utf-8", "replace")
    return dict(parse_qsl(text, keep_blank_values=True))


def session_token(request: Request) -> str | None:
    """Return the session token a request bears, in a header or presigned in its URL."""
    token = request.get("x-amz-security-token")
    if token is None and "X-Amz-Security-Token" in request.query:
        token = query_parameters(request).get("X-Amz-Security-Token")
    return token


def presigned_credential(request: Request) -> str:
    """Return the credential scope that a presigned URL bears; empty where it bears none."""
    return query_parameters(request).get("X-Amz-Credential", "") if "X-Amz-Credential" in request.query else ""


def _credential(request: Request) -> tuple[str | None, str | None, str | None]:
    """Return access key, region and service of the credential scope; each None where it says nothing."""
    authorization = request.get("authorization")
    if authorization is None:
        scope = presigned_credential(request)
    elif authorization.startswith("AWS "):
        return authorization[4:].partition(":")[0], None, "s3"  # signature version 2, which only S3 still meets
    else:
        scope = authorization.partition("Credential=")[2].partition(",")[0]
    parts = scope.split("/")
    if len(parts) == 5:
        return parts[0], parts[2], parts[3]
    if len(parts) == 4:
        return parts[0], None, parts[2]  # signature version 4a is good for any region
    return None, None, None


def _operation(request: Request, parameters: dict[str, str]) -> str:
    if target := request.get("x-amz-target"):
        return target.rpartition(".")[2]
    if action := parameters.get("Action"):
        return action
    # S3 names its sub-resources by a parameter without a value: GET /bucket?versioning
    resource = request.query.partition("&")[0]
    return f"{request.method} {request.path}{'?' + resource if resource and '=' not in resource else ''}"


def _client_token(request: Request, parameters: dict[str, str]) -> str | None:
    for name in _TOKEN_NAMES:
        if name in parameters:
            return parameters[name]
    body = request.body
    if body[:1] == b"{" and (b"lientToken" in body or b"lientRequestToken" in body):
        return _json_token(body)
    found = _CALLER_REFERENCE.search(body) if body[:1] == b"<" else None
    return found.group(1).decode() if found else None


def _json_token(body: bytes) -> str | None:
    try:
        members = json.loads(body)
    except ValueError:
        return None
    return next((members[name] for name in _TOKEN_NAMES if isinstance(members.get(name), str)), None)


def _note_assume_role(call: Call, parameters: dict[str, str]) -> None:
    call.role_arn = parameters.get("RoleArn")
    call.session_name = parameters.get("RoleSessionName")
    call.external_id = parameters.get("ExternalId")
    call.source_identity = parameters.get("SourceIdentity")
    call.policy = parameters.get("Policy")
    call.policy_arns = _members(parameters, "PolicyArns", ".arn")
    call.transitive_tag_keys = _members(parameters, "TransitiveTagKeys", "")
    call.tags = dict(
        zip(_members(parameters, "Tags", ".Key"), _members(parameters, "Tags", ".Value"), strict=False),
    )
    duration = parameters.get("DurationSeconds", "")
    call.duration_seconds = int(duration) if duration.isdecimal() else None
    if token := parameters.get("WebIdentityToken"):
        call.web_identity_sha256 = hashlib.sha256(token.encode()).hexdigest()


def _members(parameters: dict[str, str], name: str, part: str) -> list[str]:
    """Return a list of the query protocol: `Tags.member.1.Key`, `Tags.member.2.Key`, ..."""
    found = []
    for number in count(1):
        value = parameters.get(f"{name}.member.{number}{part}")
        if value is None:
            break
        found.append(value)
    return found
