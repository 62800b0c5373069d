"""The one way through: what happens between a tool's name on the wire and its answer."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any, TypeVar

import anyio
from fastmcp import Context
from fastmcp.server.dependencies import get_context
from fastmcp.tools import Tool, ToolResult
from fastmcp.tools.base import InputRequiredToolResult
from mcp.types import InputRequiredResult, ToolAnnotations
from pydantic import BaseModel, PrivateAttr, SecretStr

from access.callers import Scope
from access.confirmation import Act, Plan, invalid
from access.identity import Target
from access.trace import current_trace
from errors import (
    AccountNotAllowed,
    InternalError,
    InvalidParameter,
    NoCredentials,
    RateLimited,
    ScopeRequired,
    is_missing,
    translate,
)
from toolcall import fingerprints
from toolcall.arguments import Arguments, arguments_of, description
from toolcall.call import Call
from toolcall.consent import Consent
from toolcall.desk import Desk
from toolcall.outcome import last_word, note, refuse, success
from toolcall.results import output_schema, result_model
from toolcall.size import is_small, size_of
from toolcall.spec import DESTROY, READ, REVEAL, ToolSpec
from toolcall.standing import Standing

log = logging.getLogger("aws_ops.calls")
T = TypeVar("T")
_LIKE_A_NAME = re.compile(r"[\w+=,.@:/!*-]{1,2048}", re.ASCII)
_NOT_PART_OF_THE_ACT = {*Target.model_fields, "confirm"}  # the grants stand for the first four


@dataclass(frozen=True)
class _Prepared:
    """Checked arguments, their digest where they may need a confirmation, and the token that confirms them, if any."""

    values: dict[str, Any] = field(repr=False)
    digest: str
    confirm: str | None = field(repr=False)


class ServiceTool(Tool):
    """A service's method on the wire."""

    _desk: Desk = PrivateAttr()
    _spec: ToolSpec = PrivateAttr()
    _method: Callable[..., BaseModel] = PrivateAttr()
    _plan: Callable[..., Plan | None] | None = PrivateAttr(default=None)
    _arguments: Arguments = PrivateAttr()

    @classmethod
    def of(cls, method: MethodType, spec: ToolSpec, desk: Desk, plan: Callable[..., Plan | None] | None) -> ServiceTool:
        """Return the tool of a bound method; `plan` is what makes its Plan where it may destroy."""
        arguments = arguments_of(method.__func__, confirmable=spec.may_destroy)
        title = method.__name__.replace("_", " ").capitalize()
        tool = cls(
            name=method.__name__,
            title=title,
            description=description(method),
            parameters=arguments.schema,
            output_schema=output_schema(result_model(method)),
            annotations=ToolAnnotations(
                title=title,
                read_only_hint=not spec.scope.changes,
                destructive_hint=spec.destructive,
                idempotent_hint=spec.idempotent,
                open_world_hint=spec.open_world,
            ),
        )
        tool._desk, tool._spec, tool._method, tool._arguments = desk, spec, method, arguments
        tool._plan = plan
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
                answer = await self._answer(call)
                if isinstance(answer, InputRequiredResult):
                    await note(call, "asked", None)
                    return InputRequiredToolResult(answer)
                result = success(call, answer)
                await note(call, "success", None, required=call.scope is REVEAL)
                return result
            except anyio.get_cancelled_exc_class():
                await note(call, "cancelled", None)
                raise
            except Exception as error:
                return await self._refuse(call, error)

    async def _refuse(self, call: Call, error: Exception) -> ToolResult:
        """Answer a failure. Whatever breaks while it is described, there is an answer, and a line in the trail."""
        try:
            call.arguments = call.arguments or self._said_of_unchecked(call)
            return await refuse(call, error)
        except Exception as fault:
            log.error("a failure could not be described", exc_info=fault, extra={"request_id": call.request_id})
            return await last_word(call)

    def _said_of_unchecked(self, call: Call) -> dict[str, Any]:
        if call.small:
            return fingerprints.of_unchecked(call.fingerprint, call.raw, self._arguments.names)
        return {name: "not read" for name in self._arguments.names if name in call.raw}

    async def _answer(self, call: Call) -> BaseModel | InputRequiredResult:
        self._admit(call)
        prepare = partial(self._prepare, call)
        # What depends on the arguments' length, or may ask STS who is who, holds up nobody else.
        prepared = prepare() if call.small and not self._spec.decides else await self._aside(call, prepare)
        values = prepared.values
        for target in values.values():
            if isinstance(target, Target):
                self._grant(call, target)
        if call.scope is not READ:
            await self._desk.audit.require()
        dry = values.get("dry_run") is True  # trying out destroys nothing
        if self._spec.looks_first and not dry and await self._work(call, self._look(values)) is not None:
            self._raise_scope(call, DESTROY)
        if call.scope is DESTROY and not dry:
            question = await self._ask(call, prepared)
            if question is not None:
                return question
        if call.reveals or self._spec.metered:
            self._desk.reveals.take(call.caller.name, self._spec.reveals_of(call.raw) if call.reveals else 1)
        if call.scope.changes:
            await self._desk.audit.append(call.record("intent", decision="allow", rule=f"scope:{call.scope}"))
        elif call.scope is REVEAL:
            await self._desk.audit.append(call.foretell())
        return await self._work(call, partial(self._method, **values), shield=call.scope.changes)

    def _prepare(self, call: Call) -> _Prepared:
        """Check the arguments, and decide on them which scope this very call needs."""
        values = self._arguments.parse(call.raw)
        call.resource = fingerprints.resource(call.fingerprint, self._spec.resource_of(call.raw))
        call.secrets = tuple(_secrets_in(values))
        if self._spec.check is not None:
            self._spec.check(values)
        flat = self._arguments.flat(values)
        said = fingerprints.of_checked(call.fingerprint, flat, beside=call.resource)
        call.arguments = {name: said[name] for name in call.raw if name in said}
        confirm = values.pop("confirm", None)
        spec, standing = self._spec, Standing(call)
        dry = values.get("dry_run") is True
        if spec.guard is not None and not dry:
            spec.guard(values, standing)
        if spec.destroys_if is not None and not dry and spec.destroys_if(values, standing):
            call.scope = DESTROY
        self._desk.policy.require_scope(call.caller, call.scope)
        if spec.reveals_if is not None and spec.reveals_if(values, standing):
            self._raise_scope(call, REVEAL)
        return _Prepared(values, self._digest(flat) if spec.may_destroy else "", confirm)

    def _digest(self, flat: dict[str, Any]) -> str:
        """Return what a confirmation is bound to; an argument left out and its default spelled out are one act."""
        given = {name: value for name, value in flat.items() if name not in _NOT_PART_OF_THE_ACT}
        return self._desk.confirmations.digest(fingerprints.whole(given))

    def _raise_scope(self, call: Call, scope: Scope) -> None:
        """Demand what a call turns out to need beside its tool's own scope."""
        if scope is REVEAL:
            call.reveals = True
            if not self._desk.settings.reveal:
                raise ScopeRequired("This discloses a plaintext, and this server discloses none (REVEAL=0).")
        else:
            call.scope = scope
        self._desk.policy.require_scope(call.caller, scope)

    async def _aside(self, call: Call, work: Callable[[], T]) -> T:
        """Run what comes before AWS in a thread, among a few places of the caller's own."""
        name = call.caller.name
        run = self._desk.execution.run

        def in_thread() -> T:
            current_trace.set(call.trace)  # what it asks STS ends with the call
            return work()

        return await run(in_thread, identity=("before", name), caller=name, deadline=call.trace.deadline)

    def _look(self, values: dict[str, Any]) -> Callable[[], Plan | None]:
        """Return what plans this act; a tool that looks first plans none where the act is plain."""
        if self._plan is None:
            raise InternalError("This act has no plan, so it cannot be confirmed.")
        return partial(self._plan, **{name: values[name] for name in inspect.signature(self._plan).parameters})

    def _grant(self, call: Call, target: Target) -> None:
        """Decide on a target before any AWS call.

        Who may not use the default credentials may still ask all of his accounts: the first stands for the call then.
        """
        try:
            call.grant(target)
        except (AccountNotAllowed, NoCredentials):
            first = next(iter(call.desk.policy.accounts_of(call.caller)), None)
            if not self._spec.everywhere or first is None or target != Target(region=target.region):
                raise
            call.grant(Target(account=first.name, region=target.region))

    def _admit(self, call: Call) -> None:
        """Decide what does not depend on the arguments' meaning.

        A call out of the caller's reach counts against the rate too, or it could be made without end.
        """
        desk, spec = self._desk, self._spec
        desk.in_flight.refuse_when_draining()
        call.small = is_small(size_of(call.raw, spec.most_bytes))
        # Unchecked, it may be anything that was put in the wrong place; only what looks like a name is written down.
        named = spec.resource_of(call.raw) if call.small else None
        alike = named and all(_LIKE_A_NAME.fullmatch(name) for part in named for name in part)
        call.resource = fingerprints.resource(call.fingerprint, named) if alike else None
        if not spec.scopes & call.caller.scopes:
            with suppress(RateLimited):
                desk.calls.take(call.caller.name)
            desk.policy.require_scope(call.caller, call.scope)
        desk.calls.take(call.caller.name)

    async def _ask(self, call: Call, prepared: _Prepared) -> InputRequiredResult | None:
        """Return None where the irreversible act is confirmed, else the question to the client's user."""
        look = self._look(prepared.values)
        act = Act(call.caller, self.name, tuple(call.grants.values()), prepared.digest, self._spec.voids_state)
        consent = Consent(call, act, prepared.confirm)
        consent.refuse_early()

        async def planned() -> Plan:
            if (plan := await self._work(call, look)) is None:
                raise invalid("the resource has changed since")
            return plan

        try:
            plan = await planned()
            question = await consent.ask(plan)
            # A person has taken their time: the yes is to what they were shown.
            if consent.kept_waiting and (await planned()).digest != plan.digest:
                raise invalid("the resource has changed since")
        except Exception as error:
            # What could be planned before and cannot be now has changed, or is gone.
            if consent.is_second_call and (isinstance(error, InvalidParameter) or is_missing(translate(error))):
                raise invalid("the resource has changed since") from None
            raise
        return question

    async def _work(self, call: Call, work: Callable[[], T], *, shield: bool = False) -> T:
        """Run a service's method within the call's deadline, among its identity's places."""
        main = call.main_grant
        if main is None and not self._spec.open_world:
            return work()

        call.report = _reporter(get_context())

        def in_thread() -> T:
            current_trace.set(call.trace)
            if main is not None:
                call.account_id = self._desk.credentials.account_id(main, call.caller)
            return work()

        try:
            return await self._desk.execution.run(
                in_thread,
                identity=main.identity if main else self.name,
                caller=call.caller.name,
                deadline=call.trace.deadline,
                shield=shield,
            )
        except anyio.get_cancelled_exc_class():
            if not shield:
                call.trace.deadline = time.monotonic()  # its thread, which goes on, asks AWS for nothing more
            raise


def _reporter(context: Context) -> Callable[[float, float | None, str], None]:
    """Return what reports progress from a thread to this call's client."""
    loop = asyncio.get_running_loop()

    def report(done: float, total: float | None, message: str) -> None:
        asyncio.run_coroutine_threadsafe(context.report_progress(done, total, message), loop)

    return report


def _secrets_in(value: Any) -> Iterator[str]:
    """Yield every secret text in checked arguments, however deep."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _secrets_in(dict(value))
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _secrets_in(item)
