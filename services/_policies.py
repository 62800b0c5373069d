"""Policy documents of any service: parsed, size-checked, and read for what they open or close.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import fnmatch
import ipaddress
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

_ACTION = re.compile(r"[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+")
_KEYS = {"Version", "Id", "Statement"}
# One action each of services that no narrow policy has together.
_PROBES = (
    "ec2:TerminateInstances",
    "s3:DeleteBucket",
    "kms:ScheduleKeyDeletion",
    "sts:AssumeRole",
    "rds:DeleteDBCluster",
)
_ESCALATIONS = (
    "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:PutUserPolicy", "iam:AttachUserPolicy", "iam:PutGroupPolicy",
    "iam:AttachGroupPolicy", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:UpdateAssumeRolePolicy",
    "iam:CreateAccessKey", "iam:CreateLoginProfile", "iam:UpdateLoginProfile", "iam:AddUserToGroup",
)  # fmt: skip
_POSITIVE = {
    "StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress",
}  # fmt: skip
_NARROWING = {
    "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:sourceaccount",
    "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceorgpaths", "aws:sourceowner", "aws:sourcevpc",
    "aws:sourcevpce", "aws:userid", "kms:calleraccount",
}  # fmt: skip
# Providers where anybody may have an account, and every account's tokens have the same audience.
_SHARED_PROVIDERS = ("token.actions.githubusercontent.com", "gitlab.com", "app.terraform.io", "agent.buildkite.com")
_STATEMENT_KEYS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip


def parse_policy(text: str) -> str:
    """Return the text if it is a policy document; for use as a validator of arguments.

    Raises:
        ValueError: it is no JSON, or breaks the grammar; says where.
    """
    try:
        document = json.loads(text, object_pairs_hook=_without_repeats)
    except _Repeated as repeated:
        raise ValueError(f"names {repeated} twice in one place") from None
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


class _Repeated(Exception):
    """A member that stands twice: which one counts is the reader's choice, so AWS might choose the other."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _Repeated(next(name for name, _ in pairs if [n for n, _ in pairs].count(name) > 1))
    return members


def _check_statement(statement: Any, number: int) -> None:
    if not isinstance(statement, dict) or not set(statement) <= _STATEMENT_KEYS:
        raise ValueError(f"statement {number} has parts that no statement has")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise ValueError(f"statement {number}: Effect is Allow or Deny")
    if ("Action" in statement) == ("NotAction" in statement):
        raise ValueError(f"statement {number}: give one of Action and NotAction")
    for name in ("Action", "NotAction", "Resource", "NotResource"):
        if not all(isinstance(item, str) and item for item in _list(statement.get(name))):
            raise ValueError(f"statement {number}: {name} is a text or a list of texts")
    for action in [*_list(statement.get("Action")), *_list(statement.get("NotAction"))]:
        if action != "*" and not _ACTION.fullmatch(action):
            raise ValueError(f"statement {number}: an action is written service:Name")


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
    """Tell whether a resource or trust policy lets anybody in: any principal, and no condition that narrows it.

    Args:
        policy: The policy.
        conditions: Count also what a condition narrows.
    """
    return any(_is_anyone(one) and (conditions or not _narrows(one)) for one in policy.allows())


def trusts_any_login(policy: Policy) -> bool:
    """Tell whether a trust takes whoever logs in at a public identity provider, whichever app or repository it is."""
    return any(_is_any_login(statement) for statement in policy.allows())


def danger_of(policy: Policy) -> str | None:
    """Say what whoever has a permissions policy could do with it, where that is anything at all; else None."""
    everywhere = [statement for statement in policy.allows() if _is_everywhere(statement)]
    if all(any(_covers(statement, probe) for statement in everywhere) for probe in _PROBES):
        return "It allows every action, or nearly, on every resource: who has it can do and delete anything there."
    if found := next((a for a in _ESCALATIONS if any(_covers(statement, a) for statement in everywhere)), None):
        return f"It allows {found} on every resource: who has it can give themselves any permission there."
    return None


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
        return any("*" in str(one) for value in principal.values() for one in _list(value))
    return "*" in str(principal or "")


def _narrows(statement: Mapping[str, Any]) -> bool:
    """Tell whether a condition ties a statement to fixed accounts, organizations, sources or networks.

    As S3 and Access Analyzer read "public". An external id does not: it is a name, not a secret.
    """
    return any(
        name.lower() in _NARROWING and all(_is_fixed(name.lower(), str(value)) for value in _list(values))
        for name, values in _required(statement)
    )


def _required(statement: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys that a request must have, and the values that it must have them with."""
    for operator, keys in (statement.get("Condition") or {}).items():
        plain = operator.removeprefix("ForAnyValue:")  # ForAllValues and IfExists hold where the key is missing
        if plain in _POSITIVE and isinstance(keys, Mapping):
            yield from ((name, values) for name, values in keys.items() if _list(values))


def _is_fixed(name: str, value: str) -> bool:
    if name == "aws:sourceip":
        try:
            network = ipaddress.ip_network(value, strict=False)
        except ValueError:
            return False
        return network.prefixlen >= (8 if network.version == 4 else 32)
    if name in ("aws:principalarn", "aws:sourcearn"):  # its account must be named
        return bool(re.fullmatch(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:([0-9]{12}:.+)", value)) or (
            value.startswith("arn:aws:s3:::") and "*" not in value.split("/")[0]
        )
    return not value.startswith(("*", "?")) and "${" not in value


def _is_any_login(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal")
    providers = [str(one) for one in _list(principal.get("Federated"))] if isinstance(principal, Mapping) else []
    for provider in providers:
        if ":saml-provider/" in provider:
            continue
        wanted = ":sub" if any(host in provider for host in _SHARED_PROVIDERS) else (":sub", ":aud")
        if not any(
            name.lower().endswith(wanted) and not any(str(value).startswith(("*", "?")) for value in _list(values))
            for name, values in _required(statement)
        ):
            return True
    return False


def _is_everywhere(statement: Mapping[str, Any]) -> bool:
    """Tell whether a statement is about all resources: `*`, or an ARN with nothing fixed but its partition."""
    if "NotResource" in statement:
        return True
    return any(
        re.fullmatch(r"\*+|arn:(aws[a-z-]*|\*)(:\*)+/?\**", str(one)) for one in _list(statement.get("Resource"))
    )


def _covers(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(fnmatch.fnmatchcase(action.lower(), glob.lower()) for glob in _list(statement["NotAction"]))
    return any(fnmatch.fnmatchcase(action.lower(), str(glob).lower()) for glob in _list(statement.get("Action")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
