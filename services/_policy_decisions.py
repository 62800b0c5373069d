"""What becomes of a resource or trust policy that a tool is to write: refused, asked about, or written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from errors import InvalidParameter
from services._policies import Policy, in_words, open_to_everyone, strangers_in, trusts_any_login
from services.base import Standing, Target
from toolcall.call import Call
from toolcall.standing import Standing as StandingOf


def refuse_open(argument: str, *, opened: str) -> Callable[[Mapping[str, Any]], None]:
    """Return a check that refuses a policy open to everyone.

    Args:
        argument: The one that holds the policy.
        opened: What such a policy does, for the message.
    """

    def check(arguments: Mapping[str, Any]) -> None:
        policy = Policy(arguments[argument])
        if open_to_everyone(policy):
            raise InvalidParameter(
                f"{argument}: it {opened}.",
                next_step="Name principals, or a condition on a whole aws:PrincipalOrgID or aws:PrincipalAccount.",
            )
        if trusts_any_login(policy):
            raise InvalidParameter(
                f"{argument}: it takes whoever logs in at a public identity provider.",
                next_step="Add a condition on the provider's :sub (or :aud) that names the owner, group or app whole.",
            )

    return check


def lets_strangers_in(argument: str) -> Callable[[Mapping[str, Any], Standing], bool]:
    """Return what decides whether a policy allows an account anything that is none of ours."""

    def decide(arguments: Mapping[str, Any], standing: Standing) -> bool:
        target: Target = arguments["target"]
        return bool(strangers_in(Policy(arguments[argument]), partial(standing.is_stranger, own=target)))

    return decide


def who_comes_in(document: str, target: Target, *, to: str) -> str:
    """Say for a plan which strangers a policy lets in; `to` is what it lets them do."""
    standing = StandingOf(Call.current())
    return in_words(strangers_in(Policy(document), partial(standing.is_stranger, own=target)), to=to)
