"""The one way through: what happens between a tool's name on the wire and its answer."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import anyio
from fastmcp.server.dependencies import get_context
from fastmcp.tools import Tool, ToolResult
from mcp.types import ToolAnnotations
from pydantic import BaseModel, PrivateAttr, SecretStr

from access.identity import Target
from access.trace import current_trace
from errors import AuditUnavailable, AWSOpsError, DeadlineExceeded, InternalError, OutcomeUnknown, Refusal, translate
from toolcall.arguments import Arguments, description
from toolcall.call import Call
from toolcall.desk import Desk
from toolcall.results import output_schema
from toolcall.spec import REVEAL, ToolSpec

log = logging.getLogger("aws_ops.calls")


class ServiceTool(Tool):
    """A service's method on the wire."""

    _desk: Desk = PrivateAttr()
    _spec: ToolSpec = PrivateAttr()
    _method: Callable[..., BaseModel] = PrivateAttr()
    _arguments: Arguments = PrivateAttr()

    @classmethod
    def of(cls, method: Callable[..., BaseModel], spec: ToolSpec, result: type[BaseModel], desk: Desk) -> ServiceTool:
        """Return the tool of a bound method."""
        arguments = Arguments(method)
        title = method.__name__.replace("_", " ").capitalize()
        tool = cls(
            name=method.__name__,
            title=title,
            description=description(method),
            parameters=arguments.schema,
            output_schema=output_schema(result),
            annotations=ToolAnnotations(
                title=title,
                read_only_hint=not spec.scope.changes,
                destructive_hint=spec.destructive,
                idempotent_hint=spec.idempotent,
                open_world_hint=spec.open_world,
            ),
        )
        tool._desk, tool._spec, tool._method, tool._arguments = desk, spec, method, arguments
        return tool

    @property
    def spec(self) -> ToolSpec:
        return self._spec

    async def run(self, arguments: dict[str, Any]) -> ToolResult:
        """Answer one call: a model's content, or the contract's failure; and its audit line before either."""
        transport = get_context().transport or "in-process"
        call = Call(self._desk, self.name, self._spec, arguments, transport)
        call.bind()
        with self._desk.in_flight.count():
            try:
                result = await self._answer(call)
                _note(call, "success", None)
                return _success(call, result)
            except anyio.get_cancelled_exc_class():
                _note(call, "cancelled", None)
                raise
            except Exception as error:
                return refuse(call, error)

    async def _answer(self, call: Call) -> BaseModel:
        desk = self._desk
        desk.in_flight.refuse_when_draining()
        desk.policy.require_scope(call.caller, call.scope)
        call.resource = _text(call.raw.get(self._spec.resource)) if self._spec.resource else None
        values = self._arguments.parse(call.raw)
        if self._spec.check is not None:
            self._spec.check(values)
        call.arguments = self._fingerprints(values)
        targets = [value for value in values.values() if isinstance(value, Target)]
        for target in targets:
            call.grant(target)
        if call.scope.changes:
            desk.audit.write(call.record("intent", decision="allow", rule=f"scope:{call.scope}"))
        elif call.scope is REVEAL and not desk.audit.check():
            raise AuditUnavailable("The audit trail cannot be written, so nothing is revealed.")
        return await self._work(call, values, targets)

    async def _work(self, call: Call, values: dict[str, Any], targets: list[Target]) -> BaseModel:
        desk, main = self._desk, call.main_grant
        if not targets or main is None:
            return self._method(**values)

        def work() -> BaseModel:
            current_trace.set(call.trace)
            call.account_id = desk.credentials.account_id(main, call.caller)
            return self._method(**values)

        return await desk.execution.run(
            work, identity=main.identity, deadline=call.trace.deadline, shield=call.scope.changes
        )

    def _fingerprints(self, values: dict[str, Any]) -> dict[str, Any]:
        """What the trail says of each argument given: its name; a text only as length and keyed HMAC."""
        flat: dict[str, Any] = {}
        for name, value in values.items():
            flat |= value.model_dump() if isinstance(value, Target) else {name: value}
        return {name: self._fingerprint(value) for name, value in flat.items() if value is not None}

    def _fingerprint(self, value: Any) -> Any:
        if isinstance(value, (bool, int)):
            return value
        return self._desk.audit.fingerprint(value.get_secret_value() if isinstance(value, SecretStr) else value)


def refuse(call: Call, error: Exception) -> ToolResult:
    """Answer a call with its failure, once the trail has it."""
    failure = _failure_of(call, error)
    if isinstance(failure, InternalError):
        log.error("a tool failed inside", exc_info=error, extra={"request_id": call.request_id, "tool": call.name})
    _note(call, "refused" if isinstance(failure, Refusal) else "error", failure.error_code)
    return _failure(call, failure)


def _note(call: Call, outcome: str, error_code: str | None) -> None:
    refused = outcome == "refused"
    try:
        call.desk.audit.write(
            call.record(
                outcome,
                decision="deny" if refused else "allow",
                rule=error_code if refused and error_code else f"scope:{call.scope}",
                error_code=error_code,
            )
        )
    except AuditUnavailable:
        log.error("an audit line was lost", extra={"request_id": call.request_id, "tool": call.name})


def _failure_of(call: Call, error: Exception) -> AWSOpsError:
    """Translate, and say so where a change may have been applied although we have no answer to show for it."""
    failure = translate(error)
    trace = call.trace
    unanswered = isinstance(failure, DeadlineExceeded) and trace.change_sent
    if call.scope.changes and (trace.answer_lost or unanswered):
        return OutcomeUnknown(
            "The change may have been applied: AWS's answer did not arrive.",
            next_step="Look at the resource's present state before you repeat the call.",
        )
    return failure


def _success(call: Call, result: BaseModel) -> ToolResult:
    grant = call.main_grant
    content: dict[str, Any] = {"success": True}
    if grant is not None:
        content |= {"account_id": call.account_id, "region": grant.region}
    content |= result.model_dump(mode="json", exclude_none=True, by_alias=False)
    return ToolResult(content=json.dumps(content, ensure_ascii=False), structured_content=content)


def _failure(call: Call, failure: AWSOpsError) -> ToolResult:
    content = failure.payload(*call.place)
    content["request_id"] = content["request_id"] or call.request_id
    where = " in ".join(part for part in call.place if part)
    text = f"{failure.error_code}{f' ({where})' if where else ''}: {failure.message}"
    if failure.next_step:
        text += f" {failure.next_step}"
    return ToolResult(content=text, structured_content=content, is_error=True)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
