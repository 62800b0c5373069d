"""What one tool call did at AWS: attempts, request ids, and whether a change may have been applied unseen.

botocore's events write it; the audit trail and the error border read it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from errors import DeadlineExceeded, never_reached_aws

MAX_ATTEMPTS = 3
_READS = re.compile("Get|List|Describe|Head|BatchGet|Lookup|Simulate|Test|Decode|Assume|Validate")
# What a request's own context remembers over its attempts.
_SIGNED_AS, _RENEWED = "aws_ops_signed_as", "aws_ops_renewed"
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})


@dataclass
class Trace:
    """The record of one tool call; `deadline` is on the monotonic clock."""

    deadline: float = float("inf")
    attempts: int = 0
    request_ids: list[str] = field(default_factory=list)
    change_sent: bool = False
    answer_lost: bool = False


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)


@contextmanager
def uncounted() -> Iterator[None]:
    """Keep what a call does only to sign or to say where it is out of its record; the deadline holds all the same."""
    trace = current_trace.get()
    token = current_trace.set(Trace(deadline=trace.deadline) if trace is not None else None)
    try:
        yield
    finally:
        current_trace.reset(token)


def watch(client: Any, credentials: Any) -> None:
    """Register the hooks that keep the trace, and the one retry that botocore's standard mode leaves out."""
    events = client.meta.events
    longest_read = client.meta.config.read_timeout

    def before_send(**event: Any) -> None:
        _before_send(longest_read, **event)

    events.register("before-send", before_send)
    events.register("response-received", _response_received)

    def needs_retry(**event: Any) -> float | None:
        return _needs_retry(credentials, **event)

    events.register("needs-retry", needs_retry)


def _operation(event_name: str) -> str:
    return event_name.rsplit(".", 1)[-1]


def _before_send(longest_read: float, event_name: str, request: Any, **_: Any) -> None:
    if (trace := current_trace.get()) is None:
        return
    left = trace.deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("The call ran out of time.", next_step="Retry, or ask for less at a time.")
    # A little more than what is left: the deadline itself is what the caller is then told of, not a slow attempt.
    request.context["read_timeout"] = min(left + 0.5, longest_read)
    trace.attempts += 1
    request.context[_SIGNED_AS] = str(request.headers.get("Authorization", ""))
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


def _needs_retry(credentials: Any, response: Any, request_dict: Any, **_: Any) -> float | None:
    """Return a delay where the request is to be sent again, signed anew; None leaves it to botocore."""
    if response is None or response[1].get("Error", {}).get("Code") not in _EXPIRED:
        return None
    context = request_dict["context"]
    if _SIGNED_AS not in context or context.get(_RENEWED):
        return None
    context[_RENEWED] = True
    credentials.renew(context[_SIGNED_AS])
    return 0.0
