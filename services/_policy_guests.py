"""Whom a resource or trust policy lets in: everybody, or accounts that are not ours. A Deny lets nobody in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from access.quoting import quoted
from services._policy_conditions import Network, are_too_wide, narrowed_to, networks_of
from services._policy_grammar import Policy, is_anyone, principals_of
from services._policy_logins import apps_of_anybody, is_public_provider, takes_any_login

IsStranger = Callable[[str], bool]
_ACCOUNT = re.compile(r"[0-9]{12}")
_MOST_NAMED = 40


def open_to_everyone(policy: Policy, *, conditions: bool = False) -> bool:
    """Tell whether a resource or trust policy lets anybody in: any principal, and no condition that narrows it.

    What statements admit by network is taken together: many narrow ones make a wide one.

    Args:
        policy: The policy.
        conditions: Count also what a condition narrows.
    """
    networks: list[Network] = []
    for statement in filter(is_anyone, policy.allows()):
        if conditions:
            return True
        if narrowed_to(statement):
            continue
        if (admitted := networks_of(statement)) is None:
            return True
        networks += admitted
    return are_too_wide(networks)


def trusts_any_login(policy: Policy) -> bool:
    """Tell whether a policy takes whoever logs in at a public identity provider, whichever app or repository it is."""
    return any(map(takes_any_login, policy.allows()))


def strangers_in(policy: Policy, is_stranger: IsStranger) -> list[str]:
    """Say in words, each once, which strangers a policy allows anything.

    Args:
        policy: The policy.
        is_stranger: Tells whether an account's number is none of ours.
    """
    found: dict[str, None] = {}
    for statement in policy.allows():
        found |= dict.fromkeys(_named(statement, is_stranger))
        found |= dict.fromkeys(_admitted(statement, is_stranger))
        found |= dict.fromkeys(
            f"an app or pool at {host}, which may be anybody's" for host in apps_of_anybody(statement)
        )
    return list(found)


def accounts_in(policy: Policy) -> list[str]:
    """Return the numbers of the accounts that a policy lets in, by principal or by condition."""
    numbers: set[str] = set()

    def note(number: str) -> bool:
        numbers.add(number)
        return True

    strangers_in(policy, note)
    return sorted(numbers)


def in_words(strangers: Iterable[str], *, to: str) -> str:
    """Return one sentence that names strangers; a few dozen at most, then how many more."""
    named = list(strangers)
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"It lets these {to}, none of which is an account configured here: {', '.join(named[:_MOST_NAMED])}{more}."


def _app(host: str) -> str:
    return f"an app or pool at {host}, which may be anybody's"


def _named(statement: Mapping[str, Any], is_stranger: IsStranger) -> Iterator[str]:
    """Yield the strangers that a statement names as principals."""
    for kind, name in principals_of(statement):
        if name == "*" or (kind == "federated" and is_public_provider(name)):
            continue
        number = _number_in(name)
        if number is None and kind != "service":
            yield f"a principal of an account that is not known ({quoted(name)})"
        elif number is not None and is_stranger(number):
            yield f"account {number}"


def _admitted(statement: Mapping[str, Any], is_stranger: IsStranger) -> Iterator[str]:
    """Yield the strangers to whom a condition narrows what names no one, or names a service that many use.

    All keys must hold at once: where one is of our accounts alone, no stranger comes through.
    """
    if not is_anyone(statement) and all(kind != "service" for kind, _ in principals_of(statement)):
        return
    numbers = [[number for number in numbers if number] for numbers in narrowed_to(statement)]
    strange = [[f"account {number}" for number in found if is_stranger(number)] for found in numbers if found]
    if all(strange):
        yield from (words for key in strange for words in key)


def _number_in(name: str) -> str | None:
    """Return the account's number in a principal: bare, or in an ARN."""
    number = name.split(":")[4] if name.startswith("arn:") and name.count(":") > 3 else name
    return number if _ACCOUNT.fullmatch(number) else None
