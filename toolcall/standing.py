"""Which AWS accounts are ours: those configured here, and the one in which a call runs. Any other is a stranger's."""

from __future__ import annotations

from access.identity import Grant, Target
from access.policy import identity_of
from toolcall.call import Call


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
        return number not in self._known() and number != self.account_id(own) and number not in self._asked()

    def _known(self) -> set[str | None]:
        known = self._desk.credentials.known_account_id
        return {known(identity_of(account)) for account in self._desk.settings.accounts}

    def _asked(self) -> set[str]:
        """Return the numbers that STS alone knows: of profiles whose file does not say."""
        credentials, settings, found = self._desk.credentials, self._desk.settings, set[str]()
        for identity in map(identity_of, settings.accounts):
            if credentials.known_account_id(identity) is None:
                try:
                    found.add(credentials.account_id(Grant(identity, settings.region), self._call.caller))
                except Exception:  # noqa: S112 - one that cannot be reached vouches for no number
                    continue
        return found
