"""Where botocore fetches credentials by the host's configuration: what each source needs, and which of them failed."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import botocore.credentials
from botocore.credentials import ReadOnlyCredentials

from aws_failures import PROVIDERS, WORDS
from errors import AWSError, AWSOpsError, InvalidConfiguration, NoCredentials, translate, unusable

# Of these even a class of botocore's that says more elsewhere does not say enough.
_SPEAK_FOR_THEMSELVES = frozenset({"custom-process", "container-role", "env"})


def know_logins(profiles: Mapping[str, Mapping[str, Any]]) -> None:
    """Let botocore use profiles made by `aws login`, if there are any.

    It needs its C library awscrt for these alone, so it is loaded for these alone; without it, botocore says so.
    """
    if botocore.credentials.EC is None and any("login_session" in profile for profile in profiles.values()):
        try:
            from awscrt.crypto import EC  # type: ignore[import-untyped]
        except ImportError:
            return
        botocore.credentials.EC = EC


def why_none(error: Exception) -> AWSOpsError:
    """Return why credentials could not be had, by the source that failed; what a source said is never quoted."""
    failure = translate(error)
    if isinstance(failure, (AWSError, InvalidConfiguration)) or failure is error:
        return failure  # AWS said so, or could not be asked
    if isinstance(error, ValueError) and "endpoint" in str(error):
        return unusable(error)
    source = _source(error)
    told = any(cls.__name__ in WORDS for cls in type(error).__mro__)
    if source is None or (told and source not in _SPEAK_FOR_THEMSELVES):
        return failure
    message, next_step = PROVIDERS[source]
    return NoCredentials(message, next_step=next_step)


def check_kinds(source: str, frozen: ReadOnlyCredentials) -> None:
    """Refuse keys that are no text, of which botocore takes any: signing would fail, at each call and in odd words."""
    if not all(isinstance(part, str) and part for part in (frozen.access_key, frozen.secret_key, frozen.token or "-")):
        message, next_step = PROVIDERS.get(source) or WORDS["PartialCredentialsError"]
        raise NoCredentials(message, next_step=next_step)


def _source(error: Exception) -> str | None:
    """Return the innermost of botocore's providers through which an exception came: one may ask another."""
    methods = (
        getattr(owner, "METHOD", None) or getattr(owner, "method", None)
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if (owner := frame.f_locals.get("self")) is not None
    )
    found = [method for method in methods if isinstance(method, str) and method in PROVIDERS]
    return found[-1] if found else None
