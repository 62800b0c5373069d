"""Which tokens this server takes, from the settings; and taking the callers file anew while it runs."""

from __future__ import annotations

import hashlib
import logging

from access.callers import DEFAULT_CALLER, Caller, CallerVerifier
from access.callers_file import VARIABLE, read_callers
from access.oidc import OIDCVerifier
from config import Settings
from errors import ConfigurationError

log = logging.getLogger("aws_ops.callers")


class Authentication:
    """The verifier, and what it was made from."""

    def __init__(self, settings: Settings, *, fetch: bool = True) -> None:
        self._settings = settings
        oidc = None
        if settings.jwt_issuer and settings.jwt_audience and settings.jwt_jwks_uri:
            oidc = OIDCVerifier(settings.jwt_issuer, settings.jwt_audience, settings.jwt_jwks_uri)
            if fetch:
                oidc.fetch_once()
        self.verifier = CallerVerifier(self._static_callers(), oidc)

    def reload(self) -> None:
        """Read the callers file again; a broken one changes nothing but the log."""
        try:
            callers = self._static_callers()
        except ConfigurationError as error:
            log.error("the callers file was not taken; the callers stay as they were", extra={"reason": error.message})
            return
        self.verifier.replace(callers)
        log.info("the callers file was read again", extra={"callers": len(callers)})

    def _static_callers(self) -> list[tuple[bytes, Caller]]:
        callers: list[tuple[bytes, Caller]] = []
        if self._settings.auth_token is not None:
            digest = hashlib.sha256(self._settings.auth_token.get_secret_value().encode()).digest()
            callers.append((digest, Caller(DEFAULT_CALLER)))
        if self._settings.callers_file is not None:
            taken = [caller.name for _, caller in callers]
            named = read_callers(self._settings.callers_file, self._settings.accounts_by_name, taken)
            if clash := dict(callers).keys() & dict(named).keys():
                name = dict(named)[clash.pop()].name
                raise ConfigurationError(f"{VARIABLE} [callers.{name}] token_sha256: is MCP_AUTH_TOKEN's")
            callers += named
        key = self._settings.audit_hmac_key
        if key is not None and hashlib.sha256(key.get_secret_value().encode()).digest() in dict(callers):
            raise ConfigurationError("AUDIT_HMAC_KEY: is a caller's token, who could sign confirmations with it")
        return callers


def authentication_of(settings: Settings, *, fetch: bool = True) -> Authentication | None:
    """Return how callers are told apart, or None where nothing is configured for it.

    The issuer's keys are fetched at once, or with the first token.

    Raises:
        ConfigurationError: the callers file or the issuer's keys cannot be used.
    """
    if not (settings.auth_token or settings.callers_file or settings.jwt_issuer):
        return None
    return Authentication(settings, fetch=fetch)
