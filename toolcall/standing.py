"""Which AWS accounts are ours: those configured here, and the one in which a call runs. Any other is a stranger's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

from access.identity import Grant, Identity, Target
from access.policy import identity_of
from access.trace import Trace, current_trace
from toolcall.call import Call

_PATIENCE_SECONDS = 5.0


class Standing:
    """What a decision on checked arguments may look up; it runs in a thread, since STS may have to be asked."""

    def __init__(self, call: Call) -> None:
        self._call, self._desk = call, call.desk

    def account_id(self, target: Target) -> str:
        """Return the number of the account in which a target runs.

        Raises:
            Refusal: the target is unknown or not allowed.
            Exception: STS, where only it knows, did not answer.
        """
        # Not call.grant: the first target that is granted stands for the whole call.
        grant = self._desk.policy.decide(self._call.caller, target)
        return self._desk.credentials.account_id(grant, self._call.caller)

    def is_stranger(self, number: str | None, own: Target) -> bool:
        """Tell whether an account number is neither a configured account's nor that of the call's own target.

        None, a number that nobody knows, is a stranger's.
        """
        if number is None:
            return True
        return number not in self._known and number != self.account_id(own) and number not in self._asked

    def own_roles(self, target: Target) -> frozenset[str]:
        """Return the names of the roles by which this server comes to a target's account.

        They are the call's own, those of all accounts configured with that number, and the one that the server starts
        from, where it is in that account and assumes one of these. IAM tells no two roles of an account apart by case
        or path.
        """
        credentials, caller, number = self._desk.credentials, self._call.caller, self.account_id(target)
        own = self._call.grant(target)
        arns, also = credentials.roles_of(own, caller), list(map(identity_of, self._desk.settings.accounts))
        if any(identity.role_arn for identity in (own.identity, *also)):
            also.append(Identity())
        with _at_most(_PATIENCE_SECONDS, self._call.trace.deadline):
            for identity in also:
                if credentials.known_account_id(identity) in (None, number):
                    with suppress(Exception):  # one that cannot be reached is no way in now
                        arns = [*arns, *credentials.roles_of(Grant(identity, self._desk.settings.region), caller)]
        return frozenset(_role_in(arn) for arn in arns if arn.split(":")[4] == number)

    @cached_property
    def _known(self) -> set[str | None]:
        known = self._desk.credentials.known_account_id
        return {known(identity_of(account)) for account in self._desk.settings.accounts}

    @cached_property
    def _asked(self) -> set[str]:
        """The numbers that STS alone knows: of profiles whose file does not say; asked once for all of a document's."""
        credentials, settings, found = self._desk.credentials, self._desk.settings, set[str]()
        with _at_most(_PATIENCE_SECONDS, self._call.trace.deadline):
            for identity in map(identity_of, settings.accounts):
                if credentials.known_account_id(identity) is None:
                    with suppress(Exception):  # one that cannot be reached vouches for no number
                        found.add(credentials.account_id(Grant(identity, settings.region), self._call.caller))
        return found


@contextmanager
def _at_most(seconds: float, deadline: float) -> Iterator[None]:
    """Give what is asked of STS a time of its own: it may be down, and the call's own credentials still be valid."""
    token = current_trace.set(Trace(deadline=min(time.monotonic() + seconds, deadline)))
    try:
        yield
    finally:
        current_trace.reset(token)


def _role_in(arn: str) -> str:
    """Return the name of a role from its own ARN, whose path comes before it, or from one of its sessions'."""
    kind, *rest = arn.split(":", 5)[5].split("/")
    return rest[0] if kind == "assumed-role" else rest[-1]
