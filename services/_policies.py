"""Policy documents of any service: what they open and what they close. This is the door to the `_policy_*` rooms."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from services._policy_globs import Globs
from services._policy_grammar import Policy, is_anyone, listed, parse_policy
from services._policy_guests import accounts_in, in_words, open_to_everyone, strangers_in, trusts_any_login
from services._policy_reach import danger_of, gives_anything

__all__ = [
    "Policy", "accounts_in", "danger_of", "gives_anything", "in_words", "locks_out", "open_to_everyone",
    "parse_policy", "strangers_in", "trusts_any_login",
]  # fmt: skip


def locks_out(policy: Policy, action: str, principal: str) -> bool:
    """Tell whether a statement denies an action to a principal, without a condition that could let it through."""
    return any(
        not statement.get("Condition") and _covers(statement, action) and _meets(statement, _names_of(principal))
        for statement in policy.denies()
    )


def _covers(statement: Mapping[str, Any], action: str) -> bool:
    all_but = "NotAction" in statement
    actions = listed(statement["NotAction" if all_but else "Action"])
    return Globs(one.lower() for one in actions).meets(action.lower()) != all_but


def _names_of(principal: str) -> set[str]:
    """Return how a policy may name a principal: by its ARN, its role's, its session's, its account's."""
    _, partition, _, _, account, resource = principal.split(":", 5)  # a path may hold colons
    kind, _, rest = resource.partition("/")
    role = rest.split("/")[0] if kind == "assumed-role" else rest.rsplit("/", 1)[-1]
    names = {principal, account, f"arn:{partition}:iam::{account}:root"}
    if kind in ("role", "assumed-role"):  # a role's path is not in its sessions' ARNs
        names |= {f"arn:{partition}:iam::{account}:role/{role}", f"arn:{partition}:sts::{account}:assumed-role/{role}/"}
    return names


def _meets(statement: Mapping[str, Any], names: Collection[str]) -> bool:
    """Tell whether a deny meets a principal of these names."""
    if "NotPrincipal" not in statement:
        return is_anyone(statement) or _holds(statement.get("Principal"), names)
    # To exempt an account exempts its root user alone, none of its roles.
    own = {name for name in names if not name.isdigit() and not name.endswith(":root")}
    return not _holds(statement["NotPrincipal"], own)


def _holds(principals: Any, names: Collection[str]) -> bool:
    named = listed(principals.get("AWS")) if isinstance(principals, Mapping) else listed(principals)
    return any(
        one == "*" or one in names or any(name.endswith("/") and str(one).startswith(name) for name in names)
        for one in named
    )
