"""What one tool call did at AWS: attempts, request ids, and whether a change may have been applied unseen.

botocore's events write it; the audit trail and the error border read it.
"""

from __future__ import annotations

import json
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from errors import DeadlineExceeded, IncompleteAnswer, never_reached_aws

MAX_ATTEMPTS = 3
_RETRY_DELAY_SECONDS = 0.1
_READS = re.compile("Get|List|Describe|Head|BatchGet|Lookup|Simulate|Test|Decode|Assume|Validate")
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})


@dataclass
class Trace:
    """The record of one tool call; `deadline` is on the monotonic clock."""

    deadline: float = float("inf")
    attempts: int = 0
    request_ids: list[str] = field(default_factory=list)
    change_sent: bool = False
    answer_lost: bool = False
    renewed: bool = False


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)


def watch(client: Any, credentials: Any) -> None:
    """Register the hooks that keep the trace, and those retries that botocore's standard mode leaves out."""
    events = client.meta.events
    events.register("before-send", _before_send)
    events.register("response-received", _response_received)

    def needs_retry(**event: Any) -> float | None:
        return _needs_retry(credentials, **event)

    events.register("needs-retry", needs_retry)


def _operation(event_name: str) -> str:
    return event_name.rsplit(".", 1)[-1]


def _before_send(event_name: str, **_: Any) -> None:
    if (trace := current_trace.get()) is None:
        return
    if time.monotonic() >= trace.deadline:
        raise DeadlineExceeded("The call ran out of time.", next_step="Retry, or ask for less at a time.")
    trace.attempts += 1
    if not _READS.match(_operation(event_name)):
        trace.change_sent = True


def _response_received(event_name: str, parsed_response: Any, exception: Any, **_: Any) -> None:
    if (trace := current_trace.get()) is None:
        return
    if parsed_response is not None:
        if request_id := parsed_response.get("ResponseMetadata", {}).get("RequestId"):
            trace.request_ids.append(request_id)
    elif not _READS.match(_operation(event_name)):
        ours = isinstance(exception, DeadlineExceeded)
        trace.answer_lost = trace.answer_lost or not (ours or never_reached_aws(exception))


def _needs_retry(
    credentials: Any, response: Any, operation: Any, attempts: int, caught_exception: Any, **_: Any
) -> float | None:
    """Return a delay where the request is to be sent again, signed anew; None leaves it to botocore."""
    from botocore.parsers import ResponseParserError

    trace = current_trace.get()
    if isinstance(caught_exception, ResponseParserError):
        return _RETRY_DELAY_SECONDS if attempts < MAX_ATTEMPTS else None
    if response is None:
        return None
    http, parsed = response
    if parsed.get("Error", {}).get("Code") in _EXPIRED:
        if trace is None or trace.renewed:
            return None
        trace.renewed = True
        credentials.renew()
        return 0.0
    if http.status_code < 300 and _is_broken(http, parsed, operation):
        if trace is not None and not _READS.match(operation.name):
            trace.answer_lost = True
        if attempts < MAX_ATTEMPTS:
            return _RETRY_DELAY_SECONDS
        raise IncompleteAnswer(operation.name)
    return None


def _is_broken(http: Any, parsed: Any, operation: Any) -> bool:
    """Tell a cut-off or garbled 2xx answer, which botocore's JSON parser takes for an empty success."""
    if operation.has_streaming_output or operation.http.get("method") == "HEAD":
        return False
    promised = http.headers.get("content-length")
    if promised and promised.isdigit() and len(http.content) < int(promised):
        return True
    if set(parsed) - {"ResponseMetadata"} or not operation.output_shape or not operation.output_shape.members:
        return False
    if "json" not in operation.service_model.resolved_protocol:
        return False
    try:
        return not isinstance(json.loads(http.content or b"{}"), dict)
    except ValueError:
        return True
