"""AWS's errors, each with the code and status, and in the format, of the service that would send it."""

from __future__ import annotations

import json
from typing import Literal
from xml.sax.saxutils import escape

from tests.standin.records import Call
from tests.standin.wire import Answer, Request

Dialect = Literal["json", "query", "rest-json", "rest-xml", "ec2", "s3"]

_REST_XML = ("route53", "cloudfront")
REQUEST_ID = "57a4d1n0-0000-4000-8000-000000000000"

# For each failure the default (code, status), then those of the dialects that differ.
_CODES: dict[str, dict[str, tuple[str, int]]] = {
    "throttle": {
        "json": ("ThrottlingException", 400),
        "rest-json": ("ThrottlingException", 429),
        "": ("Throttling", 400),
        "ec2": ("RequestLimitExceeded", 503),
        "s3": ("SlowDown", 503),
    },
    "http500": {"": ("InternalFailure", 500), "json": ("InternalServiceError", 500), "s3": ("InternalError", 500)},
    "http503": {"": ("ServiceUnavailable", 503)},
    "expired": {
        "json": ("ExpiredTokenException", 400),
        "rest-json": ("ExpiredTokenException", 403),
        "": ("ExpiredToken", 403),
        "ec2": ("RequestExpired", 400),
        "s3": ("ExpiredToken", 400),
    },
    "denied": {
        "json": ("AccessDeniedException", 400),
        "rest-json": ("AccessDeniedException", 403),
        "": ("AccessDenied", 403),
        "ec2": ("UnauthorizedOperation", 403),
    },
    "unrecognized": {
        "json": ("UnrecognizedClientException", 400),
        "rest-json": ("UnrecognizedClientException", 403),
        "": ("InvalidClientTokenId", 403),
        "ec2": ("AuthFailure", 401),
        "s3": ("InvalidToken", 400),
    },
}
_TEXTS = {
    "throttle": "Rate exceeded",
    "http500": "An internal error occurred.",
    "http503": "The service is currently unavailable.",
    "expired": "The security token included in the request is expired",
    "denied": "User is not authorized to perform this operation",
    "unrecognized": "The security token included in the request is invalid.",
}


def dialect(request: Request, call: Call) -> Dialect:
    """Return the protocol a request speaks, as far as errors differ by it."""
    if request.get("x-amz-target"):
        return "json"
    if call.service == "ec2":
        return "ec2"
    if call.service == "s3":
        return "s3"
    if " " not in call.operation:
        return "query"
    return "rest-xml" if call.service in _REST_XML else "rest-json"


def refuse(request: Request, call: Call, failure: str, message: str | None = None) -> Answer:
    """Return a failure of the table above, in the caller's dialect."""
    spoken = dialect(request, call)
    codes = _CODES[failure]
    code, status = codes.get(spoken) or codes[""]
    return render(spoken, status, code, message or _TEXTS[failure])


def render(spoken: Dialect, status: int, code: str, message: str) -> Answer:
    """Return an error answer in the given dialect."""
    if spoken in ("json", "rest-json"):
        return _json_error(spoken, status, code, message)
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if spoken == "s3":
        text = f"<Error>{error}<RequestId>{REQUEST_ID}</RequestId></Error>"
    elif spoken == "ec2":
        text = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{REQUEST_ID}</RequestID></Response>"
    else:
        whose = "Sender" if status < 500 else "Receiver"
        text = (
            f"<ErrorResponse><Error><Type>{whose}</Type>{error}</Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        )
    headers = [("Content-Type", "text/xml"), ("x-amzn-RequestId", REQUEST_ID)]
    return Answer(status, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())


def _json_error(spoken: Dialect, status: int, code: str, message: str) -> Answer:
    headers = [("x-amzn-RequestId", REQUEST_ID)]
    if spoken == "rest-json":
        headers += [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)]
        return Answer(status, headers, json.dumps({"message": message}).encode())
    headers.append(("Content-Type", "application/x-amz-json-1.1"))
    return Answer(status, headers, json.dumps({"__type": code, "message": message}).encode())
