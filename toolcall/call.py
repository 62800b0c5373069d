"""One tool call while it lasts: who makes it, what it was granted, what it did at AWS, what the trail will say."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from access.callers import Caller, Scope
from access.identity import Grant, Target
from access.trace import Trace
from runtime.execution import sleep
from toolcall.desk import Desk
from toolcall.spec import ToolSpec

_current: ContextVar[Call] = ContextVar("current_call")


class Call:
    """The state of one call. The event loop writes it before and after the work, the work's thread in between."""

    def __init__(self, desk: Desk, name: str, spec: ToolSpec, raw: Mapping[str, Any], transport: str) -> None:
        self.desk, self.name, self.spec, self.transport = desk, name, spec, transport
        self.raw, self._nowhere = raw, False
        self.request_id = secrets.token_hex(8)
        self.fingerprint = desk.audit.fingerprint_for(self.request_id)
        self.arrived = time.monotonic()
        self.trace = Trace(deadline=self.arrived + desk.settings.call_deadline_seconds)
        self.caller: Caller = desk.caller()
        self.scope: Scope = spec.scope
        self.reveals = spec.scope is Scope.REVEAL
        self.grants: dict[Target, Grant] = {}
        self.account_id: str | None = None
        self.resource: str | None = None
        self.small = not raw  # until it has been measured
        self.arguments: dict[str, Any] = {}
        self.secrets: tuple[str, ...] = ()
        self.report: Callable[[float, float | None, str], None] | None = None
        self._elsewhere: Grant | None = None

    @staticmethod
    def current() -> Call:
        """Return the call at hand; tools run within one."""
        return _current.get()

    def bind(self) -> None:
        """Make this the call at hand for the running task and the threads it starts."""
        _current.set(self)

    def grant(self, target: Target) -> Grant:
        """Return what the policy grants for a target; decided once per call and target."""
        if (grant := self.grants.get(target)) is None:
            grant = self.grants[target] = self.desk.policy.decide(self.caller, target)
        return grant

    def move(self, target: Target, region: str) -> None:
        """Go on in another region, if the policy allows it: what has a region of its own is answered from there."""
        if self.grant(target).region != region:
            moved = target.model_copy(update={"region": region})
            self.grants[target] = self.desk.policy.decide(self.caller, moved)

    def client(self, service: str, target: Target) -> Any:
        """Return a boto3 client for a target."""
        policy = self.spec.session_policy if self.desk.settings.session_policies else None
        return self.desk.credentials.client(self.grant(target), service, self.caller, policy)

    @contextmanager
    def at(self, target: Target) -> Iterator[None]:
        """Have a failure name a further target, where the work within is done."""
        self._elsewhere = self.grant(target)
        yield
        self._elsewhere = None  # not after a failure, which is yet to be told

    def progress(self, done: float, total: float | None, message: str) -> None:
        """Tell the client how far the work is, if it asked to be told; from the work's thread."""
        if self.report is not None:
            self.report(done, total, message)

    def sleep(self, seconds: float) -> None:
        """Wait for what takes its time at AWS, while the identity's places are others'.

        Raises:
            DeadlineExceeded: none was to be had again in time.
        """
        sleep(seconds)

    @property
    def main_grant(self) -> Grant | None:
        """The grant of the call's own target, which is the first that it asked for."""
        return next(iter(self.grants.values()), None)

    def _further_targets(self) -> list[dict[str, Any]]:
        main, *others = self.grants.values()
        further = [grant for grant in dict.fromkeys(others) if grant != main]
        return [{"account": g.account, "identity": str(g.identity), "region": g.region} for g in further]

    @property
    def place(self) -> tuple[str | None, str | None]:
        """Account and region as a failure names them: where the call ran, or would have."""
        main, grant = self.main_grant, self._elsewhere or self.main_grant
        if main is None or grant is None:
            return self._asked_place()
        known = self.account_id if grant.identity == main.identity else None
        return grant.account or known or grant.identity.account_id, grant.region

    def forget(self) -> None:
        """Drop what the call asked for, so that nothing of it can break what is yet to be said."""
        self.raw, self.arguments, self.grants = {}, {}, {}
        self.resource, self._elsewhere, self._nowhere = None, None, True

    def _asked_place(self) -> tuple[str | None, str | None]:
        if self._nowhere or not self.spec.actions:  # it runs nowhere in AWS
            return None, None
        named = {name: value for name in Target.model_fields if (value := self.raw.get(name)) is not None}
        if not all(isinstance(value, str) for value in named.values()):
            return None, None
        return self.desk.policy.place(self.caller, Target(**named))

    def foretell(self) -> dict[str, Any]:
        """Return the line that stands in the trail before a plaintext value is asked for: no outcome is known yet."""
        said = {"request_id": self.request_id, "caller": self.caller.name, "tool": self.name, "resource": self.resource}
        return {"event": "audit_reveal", **said}

    def record(self, outcome: str, *, decision: str, rule: str, error_code: str | None = None) -> dict[str, Any]:
        """Return the call's audit line."""
        grant = self.main_grant
        further = self._further_targets() if len(self.grants) > 1 else []
        account, region = (grant.account, grant.region) if grant else self._asked_place()
        return {
            "event": "audit",
            "request_id": self.request_id,
            "caller": self.caller.name,
            "transport": self.transport,
            "tool": self.name,
            "class": self.scope.value,
            "account": account,
            "account_id": self.account_id or (grant.identity.account_id if grant else None),
            "identity": str(grant.identity) if grant else None,
            "region": region,
            **({"further_targets": further} if further else {}),
            "resource": self.resource,
            "arguments": self.arguments,
            "decision": decision,
            "rule": rule,
            "outcome": outcome,
            "error_code": error_code,
            "aws_request_ids": self.trace.request_ids,
            "attempts": self.trace.attempts,
            "duration_ms": round((time.monotonic() - self.arrived) * 1000, 1),
        }
