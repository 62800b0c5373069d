"""The callers file: named bearer tokens, by digest. A file that is not wholly right is not used at all."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from access.callers import Caller, Scope
from errors import ConfigurationError
from named_accounts import account_key, read_toml
from plain_words import first_problem

VARIABLE = "MCP_CALLERS_FILE"
# Digests of tokens that everybody would try first.
_WEAK = frozenset(
    hashlib.sha256(word.encode()).hexdigest()
    for word in ("", "token", "secret", "password", "changeme", "change-me", "test", "admin", "dev-token", "default")
)


def _is_sha256(digest: str) -> str:
    if len(digest) != 64 or set(digest.lower()) - set("0123456789abcdef"):
        raise ValueError("is not a SHA-256 digest of 64 hex digits")
    if digest.lower() in _WEAK or len(set(digest)) < 5:
        raise ValueError("is the digest of a weak token")
    return digest.lower()


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    token_sha256: Annotated[str, AfterValidator(_is_sha256)]
    scopes: list[str] = Field(min_length=1)
    accounts: list[str] | None = None


def read_callers(path: Path, accounts: Collection[str], taken: Collection[str] = ()) -> list[tuple[bytes, Caller]]:
    """Return the callers of a file, each with its token's digest.

    Args:
        path: TOML, one [callers.NAME] table each.
        accounts: The configured accounts' names.
        taken: Names that callers from elsewhere have.

    Raises:
        ConfigurationError: anything in it is wrong; names the file's variable and the caller.
    """
    document = read_toml(VARIABLE, path)
    tables = document.get("callers")
    if set(document) != {"callers"} or not isinstance(tables, dict) or not tables:
        raise ConfigurationError(f"{VARIABLE}: expected one [callers.NAME] table per caller, and nothing else")
    found: list[tuple[bytes, Caller]] = []
    names, digests = {name.casefold() for name in taken}, set[str]()
    for name, table in tables.items():
        if not name.strip() or not name.isprintable():
            raise ConfigurationError(f"{VARIABLE} [callers.NAME]: a name is blank or cannot be printed")
        where = f"{VARIABLE} [callers.{name}]"
        try:
            entry = _Entry.model_validate(table)
        except ValidationError as error:
            raise ConfigurationError(first_problem(error, where)) from None
        if name.casefold() in names:
            raise ConfigurationError(f"{where}: that name is taken")
        if entry.token_sha256 in digests:
            raise ConfigurationError(f"{where} token_sha256: another caller has the same token")
        names.add(name.casefold())
        digests.add(entry.token_sha256)
        found.append((bytes.fromhex(entry.token_sha256), _caller(name, entry, accounts, where)))
    return found


def _caller(name: str, entry: _Entry, accounts: Collection[str], where: str) -> Caller:
    if unknown := [scope for scope in entry.scopes if scope not in set(Scope)]:
        raise ConfigurationError(f"{where} scopes: unknown scope {unknown[0]!r}")
    allowed = None if entry.accounts is None else frozenset(map(account_key, entry.accounts))
    if allowed is not None and (missing := sorted(allowed - set(accounts))):
        raise ConfigurationError(f"{where} accounts: no account {missing[0]!r} is configured")
    return Caller(name, frozenset(map(Scope, entry.scopes)), allowed)
