"""What a service's author writes down about a tool, beside its method."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from access.callers import Scope

READ, REVEAL, WRITE, DESTROY = Scope.READ, Scope.REVEAL, Scope.WRITE, Scope.DESTROY
F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "__aws_ops_tool__"


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
        destroys_if: Given the raw arguments, whether this call is irreversible, so of scope `destroy`.
        check: Given the checked arguments, raises InvalidParameter where they do not fit each other.
    """

    scope: Scope
    actions: tuple[str, ...] = ()
    resource: str | None = None
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = True
    everywhere: bool = False
    destroys_if: Callable[[Mapping[str, Any]], bool] | None = None
    check: Callable[[Mapping[str, Any]], None] | None = None

    @property
    def may_destroy(self) -> bool:
        """Whether any call of this tool is irreversible."""
        return self.scope is DESTROY or self.destroys_if is not None

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

    def resource_of(self, arguments: Mapping[str, Any]) -> str | None:
        """The resource as a call's arguments name it; a list's names with commas between."""
        if self.resource is None:
            return None
        parts = [_as_text(arguments.get(name)) for name in self.resource.split("/")]
        return None if None in parts else "/".join(filter(None, parts))

    def reveals_of(self, arguments: Mapping[str, Any]) -> int:
        """How many plaintext values a call asks for: as many as it names resources."""
        named = arguments.get(self.resource or "")
        return len(named) if isinstance(named, list) else 1

    def scope_of(self, arguments: Mapping[str, Any]) -> Scope:
        """The scope that a call with these raw arguments needs."""
        return DESTROY if self.destroys_if is not None and self.destroys_if(arguments) else self.scope


def _as_text(value: Any) -> str | None:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return value if isinstance(value, str) else None


def tool(
    scope: Scope,
    *actions: str,
    resource: str | None = None,
    destructive: bool | None = None,
    idempotent: bool | None = None,
    open_world: bool = True,
    everywhere: bool = False,
    destroys_if: Callable[[Mapping[str, Any]], bool] | None = None,
    check: Callable[[Mapping[str, Any]], None] | None = None,
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
        check=check,
    )

    def mark(method: F) -> F:
        setattr(method, _ATTRIBUTE, spec)
        return method

    return mark


def spec_of(method: Any) -> ToolSpec | None:
    """Return what `@tool` wrote beside a method, or None."""
    return getattr(method, _ATTRIBUTE, None)
