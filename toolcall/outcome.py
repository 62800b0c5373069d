"""How a call ends: its answer or its failure as a client is told it, and the line that the trail has of it."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from fastmcp.tools import ToolResult
from pydantic import BaseModel

from access.trace import Trace
from errors import (
    AuditUnavailable,
    AWSError,
    AWSOpsError,
    IncompleteAnswer,
    InternalError,
    OutcomeUnknown,
    Refusal,
    is_denial,
    translate,
)
from toolcall.call import Call
from toolcall.results import as_json
from toolcall.scrub import scrub
from toolcall.spec import REVEAL

log = logging.getLogger("aws_ops.calls")


async def refuse(call: Call, error: Exception) -> ToolResult:
    """Answer a call with its failure, once the trail has it."""
    describe = partial(_failure_of, call, error)
    # To take secrets out of AWS's words takes as long as they are.
    with anyio.CancelScope(shield=True):  # a client that leaves takes no line with it
        failure = describe() if call.small else await anyio.to_thread.run_sync(describe)
    if isinstance(translate(error), (InternalError, IncompleteAnswer)):
        log.error("a tool failed inside", exc_info=error, extra={"request_id": call.request_id, "tool": call.name})
    await note(call, "refused" if isinstance(failure, Refusal) else "error", failure.error_code)
    return _failure(call, failure)


async def last_word(call: Call) -> ToolResult:
    """Answer with a fault of ours, without anything that may have caused it."""
    call.forget()
    fault = InternalError("The server failed to answer; its log has the details under this request.")
    changed = call.scope.changes and call.trace.change_sent
    failure = _outcome_unknown() if changed else fault
    with suppress(Exception):
        await note(call, "error", failure.error_code)
    content = failure.payload(None, None) | {"request_id": call.request_id}
    text = f"{failure.error_code}: {failure.message} {failure.next_step}"
    return ToolResult(content=text, structured_content=content, is_error=True)


async def note(call: Call, outcome: str, error_code: str | None, *, required: bool = False) -> None:
    """Write the call's outcome line; several refusals in a row may share one.

    Raises:
        AuditUnavailable: it was required, and could not be written.
    """
    refused = outcome == "refused" and error_code is not None
    rule = str(error_code) if refused else f"scope:{call.scope}"
    record = call.record(outcome, decision="deny" if refused else "allow", rule=rule, error_code=error_code)
    try:
        if not refused or call.desk.refusals.admit(record, REVEAL if call.reveals else call.scope):
            await call.desk.audit.append(record, required=required)
    except AuditUnavailable:
        if required:
            raise
        log.error("an audit line was lost", extra={"request_id": call.request_id, "tool": call.name})
    call.desk.observe(record)


def _failure_of(call: Call, error: Exception) -> AWSOpsError:
    """Translate, and say so where a change may have been applied although we have no answer to show for it."""
    failure = translate(error)
    if isinstance(failure, AWSError):  # our own sentences stand whole: they quote no secret
        failure.rewrite(lambda text: scrub(text, call.secrets))
    if call.scope.changes and _may_have_been_applied(call.trace, failure):
        return _outcome_unknown()
    return failure


def _outcome_unknown() -> OutcomeUnknown:
    return OutcomeUnknown(
        "The change may have been applied: AWS's answer did not arrive.",
        next_step="Look at the resource's present state before you repeat the call.",
    )


def _may_have_been_applied(trace: Trace, failure: AWSOpsError) -> bool:
    if trace.answer_lost:
        return True
    definite = isinstance(failure, Refusal) or (isinstance(failure, AWSError) and failure.definite)
    if trace.change_sent and not definite:
        return True
    # AWS failed (5xx), then refused the repetition: perhaps because the first had its effect after all.
    return bool(trace.unsettled) and not failure.retryable and not is_denial(failure)


def success(call: Call, result: BaseModel) -> ToolResult:
    grant = call.main_grant
    content: dict[str, Any] = {"success": True}
    if grant is not None:
        content |= {"account_id": call.account_id, "region": grant.region}
    content |= result.model_dump(mode="json", exclude_none=True, by_alias=False)
    text, content = as_json(content)
    return ToolResult(content=text, structured_content=content)


def _failure(call: Call, failure: AWSOpsError) -> ToolResult:
    place = call.place
    content = failure.payload(*place)
    content["request_id"] = content["request_id"] or call.request_id
    where = " in ".join(part for part in place if part)
    text = f"{failure.error_code}{f' ({where})' if where else ''}: {failure.message}"
    if failure.next_step:
        text = f"{text.rstrip('. ')}. {failure.next_step}"
    _, content = as_json(content)
    text = text.encode("utf-8", "backslashreplace").decode()
    return ToolResult(content=text, structured_content=content, is_error=True)
