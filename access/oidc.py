"""OIDC access tokens: signature, issuer, audience and times checked against one issuer's published keys."""

from __future__ import annotations

import math
import time
from typing import Any

import httpx2
from fastmcp.server.auth import AccessToken
from fastmcp.server.auth.providers.jwt import JWTVerifier

from errors import ConfigurationError

# Pinned: asymmetric only, and each verifier takes its own algorithm alone.
ALGORITHMS = ("RS256", "ES256", "PS256")
_FETCH_SECONDS = 10.0
_LONGEST_SUBJECT = 256


class OIDCVerifier:
    """Verifies access tokens of one issuer. Keys come from the configured URI only, never from where a token points."""

    def __init__(self, issuer: str, audience: str, jwks_uri: str) -> None:
        self._jwks_uri = jwks_uri
        # One for all fetches: to make a client takes 0.1 s of everybody's, and who sends a token can cause a fetch.
        client = httpx2.AsyncClient(timeout=_FETCH_SECONDS, limits=httpx2.Limits(max_keepalive_connections=0))
        self._verifiers = {
            algorithm: JWTVerifier(
                jwks_uri=jwks_uri, issuer=issuer, audience=audience, algorithm=algorithm, http_client=client
            )
            for algorithm in ALGORITHMS
        }

    def fetch_once(self) -> None:
        """Fetch the keys, to see that they can be had.

        Raises:
            ConfigurationError: they cannot.
        """
        try:
            answer = httpx2.get(self._jwks_uri, timeout=_FETCH_SECONDS)
            answer.raise_for_status()
            if not answer.json()["keys"]:
                raise ValueError("no keys")
        except Exception as error:
            raise ConfigurationError(
                f"MCP_JWT_JWKS_URI: no keys can be fetched there ({type(error).__name__})"
            ) from None

    async def verify(self, token: str) -> AccessToken | None:
        """Return the verified token, or None. The caller is its `sub`."""
        if (verifier := self._verifiers.get(_algorithm(token) or "")) is None:
            return None
        try:
            verified = await verifier.verify_token(token)
        except Exception:  # the library lets some signed nonsense through its own nets, an infinite exp for one
            return None
        if verified is None or not _is_in_time(verified.claims):
            return None
        subject = verified.claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
            return None
        # Client and subject stay the same over a subject's tokens, so that a new one goes on with the same session.
        return verified.model_copy(update={"token": "oidc", "client_id": subject, "subject": subject})


def _algorithm(token: str) -> str | None:
    from fastmcp.utilities.auth import decode_jwt_header

    try:
        algorithm = decode_jwt_header(token).get("alg")
    except Exception:  # not a JWT at all
        return None
    return algorithm if isinstance(algorithm, str) else None


def _is_in_time(claims: dict[str, Any]) -> bool:
    """The library lets tokens without an end pass, and those not valid yet."""
    now = time.time()
    expires, starts = claims.get("exp"), claims.get("nbf", 0)
    return _is_time(expires) and _is_time(starts) and expires > now and starts <= now  # type: ignore[operator]


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
