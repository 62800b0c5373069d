"""What a service's author writes down about a tool, beside its method."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from access.callers import Scope
from access.identity import Target

READ, REVEAL, WRITE, DESTROY = Scope.READ, Scope.REVEAL, Scope.WRITE, Scope.DESTROY
F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "__aws_ops_tool__"
MOST_BYTES = 256 * 1024


class Standing(Protocol):
    """Tells whose an AWS account is; see toolcall.standing."""

    def account_id(self, target: Target) -> str: ...
    def is_stranger(self, number: str | None, own: Target) -> bool: ...
    def own_roles(self, target: Target) -> frozenset[str]: ...


Decision = Callable[[Mapping[str, Any], Standing], bool]
"""Decides on checked arguments; in a thread, so it may ask who is who."""
Guard = Callable[[Mapping[str, Any], Standing], None]


@dataclass(frozen=True)
class ToolSpec:
    """A tool's class and the facts that no signature tells.

    Attributes:
        scope: What a caller needs at least.
        actions: The IAM actions that the target role needs; they feed the README's policies and `--check`.
        resource: The argument that names the resource, for the audit trail; several, joined by "/", where one
            alone does not ("bucket/key").
        destructive: Whether it can overwrite or remove something (MCP's destructiveHint).
        idempotent: Whether repeating it with the same arguments changes nothing more (MCP's idempotentHint).
        open_world: Whether it reaches AWS at all.
        everywhere: Whether it asks every account of the caller's, where the call names none.
        destroys_if: Given the checked arguments, whether this call is irreversible, so of scope `destroy`. Not asked
            of a dry run.
        reveals_if: Given the checked arguments, whether this call discloses a plaintext beside what its scope says:
            it then needs `reveal` too, counts against the reveal allowance, and does not exist under REVEAL=0.
        metered: Whether each call takes one of the reveal allowance, whatever its scope.
        looks_first: Whether `plan_<tool>` is asked before every call that is no dry run. It returns None where the act
            is plain; a Plan makes the call one of scope `destroy`.
        voids_state: Whether doing the act voids the state that its confirmation is bound to for good, as deleting does:
            its token then cannot do it twice at any process. Unsaid, it may be undone and done again, so that another
            process than the one that planned it takes the token in its first minute alone.
        check: Given the checked arguments, raises InvalidParameter where they do not fit each other.
        guard: Given the checked arguments, raises InvalidParameter for what this server does not do, whoever asks; it
            comes before the scope is decided. Not asked of a dry run.
        most_bytes: How long the arguments may be, as JSON in UTF-8.
    """

    scope: Scope
    actions: tuple[str, ...] = ()
    resource: str | None = None
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = True
    everywhere: bool = False
    destroys_if: Decision | None = None
    reveals_if: Decision | None = None
    metered: bool = False
    looks_first: bool = False
    voids_state: bool = False
    check: Callable[[Mapping[str, Any]], None] | None = None
    guard: Guard | None = None
    most_bytes: int = MOST_BYTES

    @property
    def may_destroy(self) -> bool:
        """Whether any call of this tool is irreversible."""
        return self.scope is DESTROY or self.destroys_if is not None or self.looks_first

    @property
    def decides(self) -> bool:
        """Whether what becomes of a call depends on its arguments, and on whose account is whose."""
        return self.destroys_if is not None or self.reveals_if is not None or self.guard is not None

    @property
    def scopes(self) -> frozenset[Scope]:
        """The scopes any of which lets a caller use the tool in one way or another."""
        return frozenset({self.scope, DESTROY} if self.may_destroy else {self.scope})

    @property
    def session_policy(self) -> str | None:
        """The policy that a session of this tool is confined to: a `read` tool's own actions and no other."""
        if self.scope is not READ:
            return None
        allow = {"Effect": "Allow", "Action": sorted(self.actions), "Resource": "*"}
        deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [allow if self.actions else deny]})

    def resource_of(self, arguments: Mapping[str, Any]) -> list[list[str]] | None:
        """The names of the resource, as a call's arguments have them: for each part of it one, or a list's."""
        if self.resource is None:
            return None
        parts = [_names_in(arguments.get(name)) for name in self.resource.split("/")]
        return None if None in parts else [part for part in parts if part]

    def reveals_of(self, arguments: Mapping[str, Any]) -> int:
        """How many plaintext values a call asks for: as many as it names resources."""
        named = arguments.get(self.resource or "")
        return len(named) if isinstance(named, list) else 1


def _names_in(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value] if value else []
    return value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None


def tool(
    scope: Scope,
    *actions: str,
    resource: str | None = None,
    destructive: bool | None = None,
    idempotent: bool | None = None,
    open_world: bool = True,
    everywhere: bool = False,
    destroys_if: Decision | None = None,
    reveals_if: Decision | None = None,
    metered: bool = False,
    looks_first: bool = False,
    voids_state: bool = False,
    check: Callable[[Mapping[str, Any]], None] | None = None,
    guard: Guard | None = None,
    most_bytes: int = MOST_BYTES,
) -> Callable[[F], F]:
    """Mark a service's method as a tool of that name; its docstring and signature are what the model is shown."""
    spec = ToolSpec(
        scope=scope,
        actions=actions,
        resource=resource,
        destructive=(scope is DESTROY) if destructive is None else destructive,
        idempotent=(not scope.changes) if idempotent is None else idempotent,
        open_world=open_world,
        everywhere=everywhere,
        destroys_if=destroys_if,
        reveals_if=reveals_if,
        metered=metered,
        looks_first=looks_first,
        voids_state=voids_state,
        check=check,
        guard=guard,
        most_bytes=most_bytes,
    )

    def mark(method: F) -> F:
        setattr(method, _ATTRIBUTE, spec)
        return method

    return mark


def spec_of(method: Any) -> ToolSpec | None:
    """Return what `@tool` wrote beside a method, or None."""
    return getattr(method, _ATTRIBUTE, None)
