"""Policy documents of any service: parsed, size-checked, and read for what they open or close.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_KEYS = {"Version", "Id", "Statement"}
_STATEMENT_KEYS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip


def parse_policy(text: str) -> str:
    """Return the text if it is a policy document; for use as a validator of arguments.

    Raises:
        ValueError: it is no JSON, or breaks the grammar; says where.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict) or not set(document) <= _KEYS or "Statement" not in document:
        raise ValueError("is not a policy document: Version, Id and Statement")
    if document.get("Version") not in (None, "2012-10-17", "2008-10-17"):
        raise ValueError("has an unknown Version; use 2012-10-17")
    statements = _list(document["Statement"])
    if not statements:
        raise ValueError("has no statement")
    for number, statement in enumerate(statements, 1):
        _check_statement(statement, number)
    return text


def _check_statement(statement: Any, number: int) -> None:
    if not isinstance(statement, dict) or not set(statement) <= _STATEMENT_KEYS:
        raise ValueError(f"statement {number} has parts that no statement has")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise ValueError(f"statement {number}: Effect is Allow or Deny")
    if ("Action" in statement) == ("NotAction" in statement):
        raise ValueError(f"statement {number}: give one of Action and NotAction")


class Policy:
    """A parsed policy document."""

    def __init__(self, text: str) -> None:
        self.statements: list[Mapping[str, Any]] = _list(json.loads(text)["Statement"])

    def allows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the statements that allow."""
        return (statement for statement in self.statements if statement["Effect"] == "Allow")

    def denies(self) -> Iterator[Mapping[str, Any]]:
        """Yield the statements that deny."""
        return (statement for statement in self.statements if statement["Effect"] == "Deny")


def open_to_everyone(policy: Policy, *, conditions: bool = False) -> bool:
    """Tell whether a resource or trust policy lets anybody in: any principal, and no condition that could narrow it.

    Args:
        policy: The policy.
        conditions: Count also what a condition may narrow.
    """
    return any(_is_anyone(one) and (conditions or not one.get("Condition")) for one in policy.allows())


def allows_everything(policy: Policy) -> bool:
    """Tell whether a permissions policy allows every action on every resource, or all but a few."""
    return any(
        ("*" in _list(statement.get("Action")) or "*:*" in _list(statement.get("Action")) or "NotAction" in statement)
        and ("*" in _list(statement.get("Resource")) or "NotResource" in statement)
        for statement in policy.allows()
    )


def locks_out(policy: Policy, action: str, principal: str) -> bool:
    """Tell whether a statement denies an action to a principal, without a condition that could let it through."""
    return any(
        not statement.get("Condition") and _covers(statement, action) and _meets(statement, _names_of(principal))
        for statement in policy.denies()
    )


def _names_of(principal: str) -> set[str]:
    """Return how a policy may name a principal: by its ARN, its role's, its session's, its account's."""
    prefix, account, resource = principal.rsplit(":", 2)
    partition = prefix.split(":")[1]
    kind, _, rest = resource.partition("/")
    role = rest.split("/")[0] if kind == "assumed-role" else rest.rsplit("/", 1)[-1]
    names = {principal, account, f"arn:{partition}:iam::{account}:root"}
    if kind in ("role", "assumed-role"):  # a role's path is not in its sessions' ARNs
        names |= {f"arn:{partition}:iam::{account}:role/{role}", f"arn:{partition}:sts::{account}:assumed-role/{role}/"}
    return names


def _meets(statement: Mapping[str, Any], names: Collection[str]) -> bool:
    """Tell whether a deny meets a principal of these names."""
    if "NotPrincipal" not in statement:
        return _is_anyone(statement) or _holds(statement.get("Principal"), names)
    # To exempt an account exempts its root user alone, none of its roles.
    own = {name for name in names if not name.isdigit() and not name.endswith(":root")}
    return not _holds(statement["NotPrincipal"], own)


def _holds(principals: Any, names: Collection[str]) -> bool:
    listed = _list(principals.get("AWS")) if isinstance(principals, Mapping) else _list(principals)
    return any(
        one == "*" or one in names or any(name.endswith("/") and str(one).startswith(name) for name in names)
        for one in listed
    )


def _is_anyone(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    if "NotPrincipal" in statement:
        return bool(statement["Effect"] == "Allow")
    if isinstance(principal, Mapping):
        return any("*" in _list(value) for value in principal.values())
    return bool(principal == "*")


def _covers(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(fnmatch.fnmatchcase(action.lower(), glob.lower()) for glob in _list(statement["NotAction"]))
    return any(fnmatch.fnmatchcase(action.lower(), str(glob).lower()) for glob in _list(statement.get("Action")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
