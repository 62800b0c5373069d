"""Confirmations of irreversible acts: a Plan of what will be lost, and the signed token that confirms just that.

A token bears its own proof, its moment and its maker, so any replica that shares the key can take it. There is no store
that replicas share: each process remembers which tokens it took, and takes none that was made before it began, since it
cannot know whether the process before it took that one. So a token is good once at each process, and once over all
where doing the act voids the state that it is bound to. Where the act can be undone and done again, another process
than the maker takes it in its first minute alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from access.callers import Caller
from access.identity import Grant
from access.quoting import cut, escaped
from errors import ConfirmationInvalid

LIFETIME_SECONDS = 300
ELSEWHERE_SECONDS = 60
MOST_CHARACTERS = 1500
_MOST_IN_A_QUESTION = 1440  # a few words may stand before it
_MOST_TARGET = 1120


@dataclass(frozen=True)
class Plan:
    """What an irreversible act would do.

    Attributes:
        target: The exact resource, by ARN where it has one.
        will_be_lost: One or more sentences of ours. Tags stand in them by their number alone, and whatever else others
            wrote only as access.quoting.quoted() or listed() return it.
        state: The resource as it is now; if it changes, the confirmation is void.
    """

    target: str
    will_be_lost: str
    state: Mapping[str, Any]

    def told(self, tool: str, account: str | None, number: str | None, region: str | None) -> dict[str, Any]:
        """Return the plan as JSON of at most MOST_CHARACTERS: what is acted on, and where, comes last."""
        said = {"action": tool, "region": region, "will_be_lost": "", "target": "", "account": account}
        said |= {"account_id": number, "target": escaped(self.target, _MOST_TARGET)}
        room = MOST_CHARACTERS - len(json.dumps(said))
        return said | {"will_be_lost": cut(self.will_be_lost, room)}

    def question(self, tool: str, account: str | None, number: str | None, region: str | None) -> str:
        """Return the question to a person: one line of visible ASCII, of somewhat less than MOST_CHARACTERS.

        The target, account and number stand last, so that nothing that others wrote comes after them.
        """
        target = escaped(self.target, _MOST_TARGET).replace('"', '\\"')
        numbered = f" ({number})" if number and number != account else ""
        begin, end = f"{tool} in {region}: ", f' It is about "{target}" in account {account}{numbered}.'
        return begin + cut(self.will_be_lost, _MOST_IN_A_QUESTION - len(begin) - len(end)) + end

    @property
    def digest(self) -> str:
        """A digest of the resource's present state."""
        return hashlib.sha256(_canonical(self.state)).hexdigest()


@dataclass(frozen=True)
class Act:
    """What is to be confirmed: who does which tool with which arguments as whom, and where.

    Attributes:
        arguments: Their digest, by `Confirmations.digest`.
        voids_state: Whether doing it voids the state that its plan is bound to for good (see ToolSpec).
    """

    caller: Caller
    tool: str
    grants: tuple[Grant, ...]
    arguments: str
    voids_state: bool = False

    def binding(self) -> bytes:
        """What a token is bound to, as bytes. Two spellings of one act are one act."""
        places = [(str(grant.identity), grant.region) for grant in self.grants]
        return _canonical([self.caller.name, self.tool, places, self.arguments])


@dataclass(frozen=True)
class _Token:
    """What a token says: when and by which process it was made, its nonce, and the digest of the state it is for."""

    moment: float
    maker: str
    nonce: str
    digest: str

    @property
    def ends(self) -> float:
        return self.moment + LIFETIME_SECONDS


class Confirmations:
    """Signs and checks the tokens of one process; `key` is shared by all replicas, or random for one."""

    def __init__(self, key: str | None, clock: Callable[[], float] = time.time) -> None:
        self._key = hashlib.sha256(b"aws-ops confirmation\0" + (key or secrets.token_hex(32)).encode()).digest()
        self._clock = clock
        self._me, self._began = secrets.token_hex(8), clock()
        self._used: dict[str, float] = {}
        self._forgotten = 0.0

    def digest(self, text: str) -> str:
        """Return what stands for arguments in an Act: equal for equal ones, and not to be guessed without the key."""
        return hmac.digest(self._key, b"arguments\0" + text.encode(), hashlib.sha256).hex()

    def issue(self, act: Act, plan: Plan) -> str:
        """Return a token that confirms this act on the resource's present state."""
        content = _canonical([self._clock(), self._me, secrets.token_hex(12), plan.digest])
        return f"{_encode(content)}.{_encode(self._sign(content, act))}"

    def check(self, token: str, act: Act) -> None:
        """Refuse a token that is not this act's, late or used, or made where or when none is taken; asks no AWS.

        Raises:
            ConfirmationInvalid: nothing was done.
        """
        self._read(token, act)

    def use(self, token: str, act: Act, plan: Plan) -> None:
        """Use a token up for an act on a resource in this state. Of several at once, one passes.

        Raises:
            ConfirmationInvalid: nothing was done.
        """
        read = self._read(token, act)
        if not hmac.compare_digest(read.digest, plan.digest):
            raise invalid("the resource has changed since")
        now = self._clock()
        past = {nonce: ends for nonce, ends in self._used.items() if ends <= now}
        for nonce, ends in past.items():  # what is no longer remembered stays too old, should the clock be set back
            self._forgotten = max(self._forgotten, ends)
            del self._used[nonce]
        self._used[read.nonce] = read.ends

    def _read(self, token: str, act: Act) -> _Token:
        try:
            content, signature = (_decode(part) for part in token.split("."))
        except ValueError:
            raise invalid("it is none of ours") from None
        if not hmac.compare_digest(signature, self._sign(content, act)):
            raise invalid("it does not belong to this caller, tool, identity and these arguments")
        read, now = _Token(*json.loads(content)), self._clock()
        if read.ends <= max(now, self._forgotten):
            raise invalid("it is too old")
        if read.nonce in self._used:
            raise invalid("it was used already")
        if read.maker != self._me:
            self._check_from_elsewhere(read, act, now)
        return read

    def _check_from_elsewhere(self, read: _Token, act: Act, now: float) -> None:
        """Refuse another process's token where nobody could know whether it was used."""
        if read.moment <= self._began:
            raise invalid("it was made before this server process began")
        if read.moment > now + ELSEWHERE_SECONDS:
            raise invalid("it was made at a time that is yet to come: the servers' clocks differ")
        if not act.voids_state and read.moment + ELSEWHERE_SECONDS <= now:
            raise invalid("another server process takes it in its first minute alone")

    def _sign(self, content: bytes, act: Act) -> bytes:
        return hmac.digest(self._key, content + b"\0" + act.binding(), hashlib.sha256)


def invalid(reason: str) -> ConfirmationInvalid:
    """Return the refusal of a confirmation."""
    return ConfirmationInvalid(
        f"The confirmation was not accepted: {reason}. Nothing was done.",
        next_step="Call again without confirm for a new plan.",
    )


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(data) != text:  # one spelling per token
        raise ValueError("not canonical")
    return data
