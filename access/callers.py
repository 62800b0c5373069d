"""Who calls: Scope, Caller, and the verifier that turns a bearer token into a Caller. Nothing here decides where."""

from __future__ import annotations

import hashlib
import hmac
import os
import pwd
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.dependencies import get_access_token

from config import Settings


class Scope(StrEnum):
    """What a tool does, and so what its caller must be trusted with."""

    READ = "read"
    REVEAL = "reveal"
    WRITE = "write"
    DESTROY = "destroy"

    @property
    def changes(self) -> bool:
        """Whether a tool of this class changes something in AWS."""
        return self in (Scope.WRITE, Scope.DESTROY)


ALL_SCOPES = frozenset(Scope)


@dataclass(frozen=True)
class Caller:
    """A person or agent behind a token. `accounts` None means every account that the server reaches."""

    name: str
    scopes: frozenset[Scope] = ALL_SCOPES
    accounts: frozenset[str] | None = None

    @property
    def session_name(self) -> str:
        """The RoleSessionName under which CloudTrail sees this caller: 2 to 64 of AWS's characters, one per caller."""
        plain = re.sub(r"[^\w+=,.@-]", "-", self.name, flags=re.ASCII)
        if plain != self.name or len(plain) > 56:
            plain = f"{plain[:47]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"
        return f"aws-ops-{plain}"


def local_user() -> Caller:
    """The caller under stdio: whoever started the process, by user id, since names in the environment can be set."""
    try:
        return Caller(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return Caller(f"uid-{os.getuid()}")


class CallerVerifier(TokenVerifier):
    """Tells callers by the SHA-256 of their bearer token; every digest is compared, each in constant time."""

    def __init__(self, callers: Iterable[tuple[bytes, Caller]]) -> None:
        super().__init__()
        self._callers = tuple(callers)

    def caller(self, name: str) -> Caller | None:
        """Return the caller of this name."""
        return next((caller for _, caller in self._callers if caller.name == name), None)

    async def verify_token(self, token: str) -> AccessToken | None:
        digest, found = hashlib.sha256(token.encode()).digest(), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            return None
        # The digest stands in for the token, so that nothing downstream can log the token itself.
        return AccessToken(
            token=digest.hex(), client_id=found.name, subject=found.name, scopes=[scope.value for scope in found.scopes]
        )


def verifier_of(settings: Settings) -> CallerVerifier | None:
    """Return the verifier of the configured tokens, or None where there is none."""
    if settings.auth_token is None:
        return None
    digest = hashlib.sha256(settings.auth_token.get_secret_value().encode()).digest()
    return CallerVerifier([(digest, Caller("default"))])


def current_caller(verifier: CallerVerifier | None, anonymous: Caller) -> Caller:
    """Return who makes the call at hand; `anonymous` where the server runs without tokens."""
    token = get_access_token()
    if token is None or verifier is None:
        return anonymous
    return verifier.caller(token.client_id) or Caller(token.client_id, frozenset())
