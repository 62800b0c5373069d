"""What one tool call did at AWS: attempts, request ids, and whether a change may have been applied unseen.

botocore's events write it; the audit trail and the error border read it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from access.integrity import CONNECT_SECONDS, CONNECT_TIMEOUT, DOCUMENT, ONCE, answers_with_a_document
from access.repeats import is_read, may_repeat
from aws_transport import never_reached_aws
from errors import DeadlineExceeded

MAX_ATTEMPTS = 3
# What a request's own context remembers over its attempts.
_SIGNED_AS, _RENEWED, _SENT_BEFORE, _LOST = "aws_ops_signed_as", "aws_ops_renewed", "aws_ops_sent", "aws_ops_lost"
# An attempt with less time than this is not begun; half of it is kept for telling that connecting took too long.
_LEAST_SECONDS = 0.2
# Credentials of less than this age have not expired, so that what is refused for another reason renews none.
_TOO_YOUNG_SECONDS = 60.0
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})


@dataclass
class Trace:
    """The record of one tool call.

    Attributes:
        deadline: On the monotonic clock.
        change_sent: Whether a request that changes something may have reached AWS.
        unsettled: The contexts of such requests whose last answer did not say what became of them.
    """

    deadline: float = float("inf")
    attempts: int = 0
    request_ids: list[str] = field(default_factory=list)
    change_sent: bool = False
    unsettled: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answer_lost(self) -> bool:
        """Whether a change was sent whose answer never came."""
        return any(request[_LOST] for request in self.unsettled)

    def unsettle(self, request: dict[str, Any], *, lost: bool) -> None:
        """Remember a change that AWS did not answer, or answered with a failure of its own (5xx)."""
        request[_LOST] = lost or request.get(_LOST, False)
        if not any(known is request for known in self.unsettled):
            self.unsettled.append(request)

    def settle(self, request: dict[str, Any]) -> None:
        """Forget a change that was repeated with success."""
        self.unsettled = [known for known in self.unsettled if known is not request]


current_trace: ContextVar[Trace | None] = ContextVar("current_trace", default=None)


def seconds_left() -> float | None:
    """Return how long the call at hand may still take; None outside of calls."""
    trace = current_trace.get()
    return None if trace is None else max(trace.deadline - time.monotonic(), 0.0)


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
    events, model = client.meta.events, client.meta.service_model
    longest_read = client.meta.config.read_timeout

    def before_send(event_name: str, request: Any, **_: Any) -> None:
        operation = model.operation_model(_operation(event_name))
        request.context[ONCE] = not may_repeat(operation, request)
        request.context[DOCUMENT] = answers_with_a_document(operation)
        _before_send(longest_read, _operation(event_name), request)

    events.register("before-send", before_send)
    events.register("response-received", _response_received)
    events.register("before-parameter-build.s3", _stay)

    def needs_retry(**event: Any) -> float | None:
        return _needs_retry(credentials, **event)

    events.register("needs-retry", needs_retry)


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Keep botocore from following a bucket into another region by itself: it is for the policy to let a call go."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _out_of_time() -> DeadlineExceeded:
    return DeadlineExceeded("The call ran out of time.", next_step="Retry, or ask for less at a time.")


def _operation(event_name: str) -> str:
    return event_name.rsplit(".", 1)[-1]


def _before_send(longest_read: float, operation: str, request: Any) -> None:
    if (trace := current_trace.get()) is None:
        return
    request.context[_SENT_BEFORE] = trace.change_sent
    # Before the clock is read: whoever finds the deadline past, and no change sent, may rely on it that none will be.
    trace.change_sent = trace.change_sent or not is_read(operation)
    left = trace.deadline - time.monotonic()
    if left <= _LEAST_SECONDS:
        trace.change_sent = request.context[_SENT_BEFORE]
        raise _out_of_time()
    # A little more than what is left: the deadline itself is what the caller is then told of, not a slow attempt.
    request.context["read_timeout"] = min(left + 0.5, longest_read)
    request.context[CONNECT_TIMEOUT] = min(left - _LEAST_SECONDS / 2, CONNECT_SECONDS)
    trace.attempts += 1
    request.context[_SIGNED_AS] = str(request.headers.get("Authorization", ""))


def _response_received(
    event_name: str, parsed_response: Any, context: dict[str, Any], exception: Any, **_: Any
) -> None:
    if (trace := current_trace.get()) is None:
        return
    metadata = (parsed_response or {}).get("ResponseMetadata", {})
    if request_id := metadata.get("RequestId"):
        trace.request_ids.append(request_id)
    if is_read(_operation(event_name)) or isinstance(exception, DeadlineExceeded):
        return
    if parsed_response is None and never_reached_aws(exception):
        trace.change_sent = context[_SENT_BEFORE]
    elif parsed_response is None or metadata.get("HTTPStatusCode", 0) >= 500:
        trace.unsettle(context, lost=parsed_response is None)
    elif metadata.get("HTTPStatusCode", 0) < 300:
        trace.settle(context)


def _needs_retry(
    credentials: Any, response: Any, request_dict: Any, attempts: int, caught_exception: Any, **_: Any
) -> float | None:
    """Return a delay where the request is to be sent again, signed anew; None leaves it to botocore."""
    left = seconds_left()
    if caught_exception is not None and left is not None and left <= _LEAST_SECONDS:
        raise _out_of_time()  # rather than wait for a next attempt that would not be made
    code = response[1].get("Error", {}).get("Code") if response is not None else None
    # What answers a HEAD has no body, and S3's status for an expired token is 400 as for anything.
    if code not in _EXPIRED and not (code == "400" and request_dict["method"] == "HEAD"):
        return None
    context = request_dict["context"]
    if _SIGNED_AS not in context or context.get(_RENEWED):
        return None
    context[_RENEWED] = True
    renewed = credentials.renew(context[_SIGNED_AS], older_than=0.0 if code in _EXPIRED else _TOO_YOUNG_SECONDS)
    return 0.0 if renewed and attempts < MAX_ATTEMPTS else None
