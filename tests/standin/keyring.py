"""Which account and role each key was issued for, and until when it is good."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from tests.standin.records import BASE_ACCOUNT, Call

_ACCESS_KEY = re.compile(rb"<AccessKeyId>(.*?)</AccessKeyId>")
_TOKEN = re.compile(rb"<SessionToken>(.*?)</SessionToken>", re.DOTALL)
_EXPIRATION = re.compile(rb"<Expiration>(.*?)</Expiration>")
_ROLE_ACCOUNT = re.compile(r"arn:[a-z-]+:iam::(\d{12}):")


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials that AssumeRole issued. `expires` is in seconds of the epoch."""

    access_key: str
    token: str
    account: str
    role_arn: str
    session_name: str
    expires: float

    @property
    def expiration(self) -> str:
        """The time as STS writes it, with the fraction that a short lifetime needs."""
        moment = datetime.fromtimestamp(self.expires, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Keyring:
    """The sessions issued so far. `lifetime` seconds replace the duration a caller asks for, where set."""

    def __init__(self) -> None:
        self.lifetime: float | None = None
        self._sessions: dict[str, Session] = {}

    def session(self, access_key: str | None) -> Session | None:
        return self._sessions.get(access_key or "")

    def account(self, access_key: str | None) -> str:
        """Return the account a key belongs to; that of the base credentials where we did not issue it."""
        session = self.session(access_key)
        return session.account if session else BASE_ACCOUNT

    def refusal(self, access_key: str | None, token: str | None) -> Literal["expired", "unrecognized"] | None:
        """Return why AWS would turn this key down: past its time, or with the session token of another."""
        session = self.session(access_key)
        if session is None:
            return None
        if session.token != token:
            return "unrecognized"
        return "expired" if time.time() >= session.expires else None

    def learn(self, call: Call, answer: bytes) -> bytes:
        """Keep the credentials in an AssumeRole answer; return it, with our own Expiration where a lifetime is set."""
        access_key, token, expiration = (pattern.search(answer) for pattern in (_ACCESS_KEY, _TOKEN, _EXPIRATION))
        if not (access_key and token and expiration):
            return answer  # an error
        expires = datetime.fromisoformat(expiration.group(1).decode()).timestamp()
        session = self._keep(call, access_key.group(1).decode(), token.group(1).decode(), expires - time.time())
        if self.lifetime is None:
            return answer
        return answer[: expiration.start(1)] + session.expiration.encode() + answer[expiration.end(1) :]

    def _keep(self, call: Call, access_key: str, token: str, duration: float) -> Session:
        role_arn = call.role_arn or ""
        found = _ROLE_ACCOUNT.match(role_arn)
        session = Session(
            access_key=access_key,
            token=token,
            account=found.group(1) if found else call.account,
            role_arn=role_arn,
            session_name=call.session_name or "",
            expires=time.time() + (duration if self.lifetime is None else self.lifetime),
        )
        self._sessions[access_key] = session
        return session
