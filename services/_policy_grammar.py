"""Policy documents of any service: parsed and held to the grammar. What they mean is read elsewhere.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from services._json_members import finite

_ACTION = re.compile(r"[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+")
_KEYS = {"Version", "Id", "Statement"}
_STATEMENT_KEYS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip
# What a request must fulfil. The others hold where a key is missing (IfExists, ForAllValues, Null), or for all values
# but those listed, so they keep nobody out.
_POSITIVE = {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress"}


def parse_policy(text: str) -> str:
    """Return the text if it is a policy document; for use as a validator of arguments.

    Raises:
        ValueError: it is no JSON, or breaks the grammar; says where.
    """
    try:
        document = json.loads(text, object_pairs_hook=_without_repeats, parse_float=finite, parse_constant=finite)
    except _Repeated as repeated:
        raise ValueError(f"names {repeated} twice in one place") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict) or not set(document) <= _KEYS or "Statement" not in document:
        raise ValueError("is not a policy document: Version, Id and Statement")
    if document.get("Version") not in (None, "2012-10-17", "2008-10-17"):
        raise ValueError("has an unknown Version; use 2012-10-17")
    statements = listed(document["Statement"])
    if not statements:
        raise ValueError("has no statement")
    for number, statement in enumerate(statements, 1):
        _check_statement(statement, number)
    return text


class _Repeated(Exception):
    """A member that stands twice: which one counts is the reader's choice, so AWS might choose the other."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise _Repeated(name)
        members[name] = value
    return members


def _check_statement(statement: Any, number: int) -> None:
    if not isinstance(statement, dict) or not set(statement) <= _STATEMENT_KEYS:
        raise ValueError(f"statement {number} has parts that no statement has")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise ValueError(f"statement {number}: Effect is Allow or Deny")
    if ("Action" in statement) == ("NotAction" in statement):
        raise ValueError(f"statement {number}: give one of Action and NotAction")
    for name in ("Action", "NotAction", "Resource", "NotResource"):
        if not _are_texts(statement.get(name)):
            raise ValueError(f"statement {number}: {name} is a text or a list of texts")
    for action in [*listed(statement.get("Action")), *listed(statement.get("NotAction"))]:
        if action != "*" and not _ACTION.fullmatch(action):
            raise ValueError(f"statement {number}: an action is written service:Name")
    if not all(_is_principal(statement.get(name)) for name in ("Principal", "NotPrincipal")):
        raise ValueError(f"statement {number}: a principal is * or has texts by type, such as AWS")
    if not _is_condition(statement.get("Condition", {})):
        raise ValueError(f"statement {number}: Condition is an operator, in it a key, in it a value or a list")


def _are_texts(value: Any) -> bool:
    return all(isinstance(item, str) and item for item in listed(value))


def _is_principal(value: Any) -> bool:
    return all(map(_are_texts, value.values())) if isinstance(value, dict) else _are_texts(value)


def _is_condition(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(keys, dict) and all(isinstance(one, (str, int, float)) for one in listed(values))
        for keys in value.values()
        for values in (keys.values() if isinstance(keys, dict) else [None])
    )


class Policy:
    """A parsed policy document."""

    def __init__(self, text: str) -> None:
        self.statements: list[Mapping[str, Any]] = listed(json.loads(text)["Statement"])

    def allows(self) -> Iterator[Mapping[str, Any]]:
        """Yield the statements that allow."""
        return (statement for statement in self.statements if statement["Effect"] == "Allow")

    def denies(self) -> Iterator[Mapping[str, Any]]:
        """Yield the statements that deny."""
        return (statement for statement in self.statements if statement["Effect"] == "Deny")


def principals_of(statement: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield whom a statement names, each with its type in lower case; a text without a type is AWS's."""
    named = statement.get("Principal")
    for kind, values in (named if isinstance(named, Mapping) else {"AWS": named}).items():
        yield from ((kind.lower(), str(value)) for value in listed(values))


def is_anyone(statement: Mapping[str, Any]) -> bool:
    """Tell whether a statement names no one: its principal has a wildcard, or it allows all but some."""
    if "NotPrincipal" in statement:
        return bool(statement["Effect"] == "Allow")
    return any("*" in value or "?" in value for _, value in principals_of(statement))


def required(statement: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield operator, key in lower case and values of each condition that a request must fulfil."""
    for operator, keys in (statement.get("Condition") or {}).items():
        plain = operator.removeprefix("ForAnyValue:")
        if plain not in _POSITIVE or not isinstance(keys, Mapping):
            continue
        values: dict[str, list[str]] = defaultdict(list)
        for name, value in keys.items():  # keys have no case, so that two spellings of one are one
            values[name.lower()] += [str(one) for one in listed(value)]
        yield from ((plain, name, found) for name, found in values.items() if found)


def listed(value: Any) -> list[Any]:
    """Return a member of a policy, which may be one or several, as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]
