"""Confirmations of irreversible acts: a Plan of what will be lost, and the signed token that confirms just that.

Nothing is remembered between the two calls but the nonces already used, and those only against races: a token bears
its own proof, so any replica that shares the key can take it, and the resource's state makes it good once.
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
from errors import ConfirmationInvalid

LIFETIME_SECONDS = 300


@dataclass(frozen=True)
class Plan:
    """What an irreversible act would do.

    Attributes:
        target: The exact resource, by ARN where it has one.
        will_be_lost: One sentence.
        state: The resource as it is now; if it changes, the confirmation is void.
    """

    target: str
    will_be_lost: str
    state: Mapping[str, Any]

    @property
    def in_words(self) -> tuple[str, str]:
        """The exact target, quoted, and the loss, each on one line of visible characters.

        Names were chosen by others: a line's end, or a sign that turns the text round, could make a person read another
        question than the one they answer.
        """
        target = self.target.replace("\\", "\\\\").replace('"', '\\"')
        return _visible(f'"{target}"'), _visible(self.will_be_lost)

    @property
    def digest(self) -> str:
        """A digest of the resource's present state."""
        return hashlib.sha256(_canonical(self.state)).hexdigest()


@dataclass(frozen=True)
class Act:
    """What is to be confirmed: who does which tool with which arguments as whom, and where."""

    caller: Caller
    tool: str
    grants: tuple[Grant, ...]
    arguments: Mapping[str, Any]

    def binding(self) -> bytes:
        """What a token is bound to, as bytes. Two spellings of one act are one act."""
        places = [(str(grant.identity), grant.region) for grant in self.grants]
        return _canonical([self.caller.name, self.tool, places, dict(self.arguments)])


class Confirmations:
    """Signs and checks the tokens; `key` is shared by all replicas, or random for one."""

    def __init__(self, key: str | None, clock: Callable[[], float] = time.time) -> None:
        self._key = hashlib.sha256(b"aws-ops confirmation\0" + (key or secrets.token_hex(32)).encode()).digest()
        self._clock = clock
        self._used: dict[str, float] = {}

    def issue(self, act: Act, plan: Plan) -> str:
        """Return a token that confirms this act on the resource's present state."""
        content = _canonical([int(self._clock()) + LIFETIME_SECONDS, secrets.token_hex(12), plan.digest])
        return f"{_encode(content)}.{_encode(self._sign(content, act))}"

    def check(self, token: str, act: Act) -> None:
        """Refuse a token that is not this act's, late or used; asked before AWS is.

        Raises:
            ConfirmationInvalid: nothing was done.
        """
        self._read(token, act)

    def use(self, token: str, act: Act, plan: Plan) -> None:
        """Use a token up for an act on a resource in this state. Of several at once, one passes.

        Raises:
            ConfirmationInvalid: nothing was done.
        """
        expires, nonce, digest = self._read(token, act)
        if not hmac.compare_digest(digest, plan.digest):
            raise invalid("the resource has changed since")
        now = self._clock()
        self._used = {known: end for known, end in self._used.items() if end > now}
        self._used[nonce] = expires

    def _read(self, token: str, act: Act) -> tuple[int, str, str]:
        try:
            content, signature = (_decode(part) for part in token.split("."))
        except ValueError:
            raise invalid("it is none of ours") from None
        if not hmac.compare_digest(signature, self._sign(content, act)):
            raise invalid("it does not belong to this caller, tool, identity and these arguments")
        expires, nonce, digest = json.loads(content)
        if expires <= self._clock():
            raise invalid("it is too old")
        if nonce in self._used:
            raise invalid("it was used already")
        return expires, nonce, digest

    def _sign(self, content: bytes, act: Act) -> bytes:
        return hmac.digest(self._key, content + b"\0" + act.binding(), hashlib.sha256)


def invalid(reason: str) -> ConfirmationInvalid:
    """Return the refusal of a confirmation."""
    return ConfirmationInvalid(
        f"The confirmation was not accepted: {reason}. Nothing was done.",
        next_step="Call again without confirm for a new plan.",
    )


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(data) != text:  # one spelling per token
        raise ValueError("not canonical")
    return data
