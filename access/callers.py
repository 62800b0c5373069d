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
from functools import cache
from typing import Protocol

from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.dependencies import get_access_token, get_http_request

from access.likeness import reads_as


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
        # A name that looks like another's mapped one is mapped itself.
        if plain != self.name or len(plain) > 56 or re.search("-[0-9a-f]{16}$", plain):
            plain = f"{plain[:39]}-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"
        return f"aws-ops-{plain}"


@cache
def local_user() -> Caller:
    """The caller over stdio and in-process: who started the process, by user id; the environment can be set."""
    try:
        return Caller(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return Caller(f"uid-{os.getuid()}")


# Who cannot be told: may do nothing.
NOBODY = Caller("anonymous", frozenset())
ANYBODY = Caller("anonymous")
# Names that are ours: MCP_AUTH_TOKEN's caller, who has no token, the doctor.
DEFAULT_CALLER = "default"
RESERVED = (DEFAULT_CALLER, NOBODY.name, "check")


class VerifiedToken(AccessToken):
    """A token that a CallerVerifier has verified; an app that ours is mounted in may have verified others."""


class Oidc(Protocol):
    """What verifies the tokens that are no static caller's."""

    async def verify(self, token: str) -> AccessToken | None: ...


class CallerVerifier(TokenVerifier):
    """Tells callers by the SHA-256 of their bearer token; every digest is compared, each in constant time.

    Args:
        callers: Static tokens' digests and whose they are.
        oidc: Verifies tokens that are none of these.
    """

    def __init__(self, callers: Iterable[tuple[bytes, Caller]], oidc: Oidc | None = None) -> None:
        super().__init__()
        self._oidc = oidc
        self.replace(callers)

    def replace(self, callers: Iterable[tuple[bytes, Caller]]) -> None:
        """Take these static callers instead of the present ones."""
        self._callers = tuple(callers)
        self._by_name = {caller.name: caller for _, caller in self._callers}
        self._taken = {reads_as(name) for name in (*self._by_name, *RESERVED)}

    @property
    def knows_nobody(self) -> bool:
        """Whether no token at all would be taken."""
        return not self._callers and self._oidc is None

    def caller_of(self, token: AccessToken) -> Caller:
        """Return whose verified token this is; nobody's, with no scope, if the caller is gone since."""
        if token.token == "oidc":
            return Caller(token.client_id, frozenset(scope for scope in Scope if scope.value in token.scopes))
        return self._by_name.get(token.client_id) or Caller(token.client_id, frozenset())

    async def verify_token(self, token: str) -> AccessToken | None:
        digest, found = hashlib.sha256(token.encode()).digest(), None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            return await self._verify_oidc(token)
        # The digest stands in for the token, so that nothing downstream can log the token itself.
        return VerifiedToken(
            token=digest.hex(), client_id=found.name, subject=found.name, scopes=[scope.value for scope in found.scopes]
        )

    async def _verify_oidc(self, token: str) -> AccessToken | None:
        verified = await self._oidc.verify(token) if self._oidc is not None else None
        # Under a static caller's name a subject would pass for that caller in sessions, limits and the audit trail;
        # under one that reads alike, to whoever reads the trail.
        if verified is None or reads_as(verified.client_id) in self._taken:
            return None
        return VerifiedToken.model_validate(verified.model_dump())


def current_caller(verifier: CallerVerifier | None, stranger: Caller) -> Caller:
    """Return who makes the call at hand.

    Over stdio and in-process that is the local user. What came as an HTTP request, by whichever launcher or app that
    ours is mounted in, is of whose verified token it bears; `stranger` where the server runs without tokens.
    """
    try:
        get_http_request()
    except RuntimeError:
        return local_user()
    if verifier is None:
        return stranger
    token = get_access_token()
    return verifier.caller_of(token) if isinstance(token, VerifiedToken) else NOBODY
