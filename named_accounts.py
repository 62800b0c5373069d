"""The named accounts: what one is, and reading them from ACCOUNT_<NAME>_* and from ACCOUNTS_FILE."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aws_regions import partitions
from errors import ConfigurationError
from plain_words import first_problem

ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/(?:[!-~]{1,510}/)?[\w+=,.@-]{1,64}", re.ASCII)
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d{1,2}")
ACCOUNT_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")
_ACCOUNT_VARIABLE = re.compile(r"ACCOUNT_([A-Za-z0-9_]+?)_(ROLE_ARN|PROFILE|REGION|EXTERNAL_ID)")
_ACCOUNT_FIELDS = ("ROLE_ARN", "PROFILE", "REGION", "EXTERNAL_ID")


def _region(value: str) -> str:
    if not REGION.fullmatch(value):
        raise ValueError("is not a region's name, such as us-east-1")
    if value not in partitions():
        raise ValueError("is no region that botocore knows")
    return value


Region = Annotated[str, AfterValidator(_region)]


def account_key(name: str) -> str:
    """Return the one spelling under which an account is known: lower case, dashes."""
    return name.strip().lower().replace("_", "-")


class Account(BaseModel):
    """A named account: how it is reached, and where its calls run unless they say otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=f"^{ACCOUNT_NAME.pattern}$")
    role_arn: str | None = None
    profile: str | None = Field(default=None, min_length=1)
    region: Region | None = None
    external_id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_+=,.@:/-]+$", min_length=2, max_length=1224, repr=False
    )
    regions: tuple[Region, ...] = ()
    tags: dict[str, str] = {}

    @field_validator("role_arn")
    @classmethod
    def _role_is_an_arn(cls, value: str | None) -> str | None:
        if value is not None and not ROLE_ARN.fullmatch(value):
            raise ValueError("is not an IAM role's ARN")
        return value

    @model_validator(mode="after")
    def _is_reachable(self) -> Account:
        if not (self.role_arn or self.profile):
            raise ValueError("has neither a role_arn nor a profile")
        return self


def read_accounts(environment: Mapping[str, str]) -> tuple[Account, ...]:
    """Gather the accounts of ACCOUNT_<NAME>_* and of ACCOUNTS_FILE; one name may stand in one place only."""
    accounts: dict[str, Account] = {}
    for where, name, fields in [
        *_accounts_of_file(environment.get("ACCOUNTS_FILE")),
        *_accounts_of_variables(environment),
    ]:
        key = account_key(name)
        if key in accounts:
            raise ConfigurationError(f"{where}: the account {key!r} is configured twice")
        try:
            accounts[key] = Account.model_validate({**fields, "name": key})
        except ValidationError as error:
            raise ConfigurationError(first_problem(error, where)) from None
    external_ids: dict[str, str | None] = {}
    for account in accounts.values():
        if account.role_arn and external_ids.setdefault(account.role_arn, account.external_id) != account.external_id:
            raise ConfigurationError(
                f"the account {account.name!r} shares its role with another that has a different external id"
            )
    return tuple(accounts.values())


def _accounts_of_variables(environment: Mapping[str, str]) -> list[tuple[str, str, dict[str, str]]]:
    fields: dict[str, dict[str, str]] = {}
    for variable, value in environment.items():
        if (match := _ACCOUNT_VARIABLE.fullmatch(variable)) is None:
            _refuse_misspelt(variable)
            continue
        if not value.strip():
            raise ConfigurationError(f"{variable} is set but blank: give it a value or remove it")
        fields.setdefault(match[1], {})[match[2].lower()] = value.strip()
    return [(f"ACCOUNT_{name}_*", name, values) for name, values in fields.items()]


def _refuse_misspelt(variable: str) -> None:
    """An account that a typo loses may be the one that keeps every other role out.

    Other variables may begin so too: Kubernetes gives each pod ACCOUNT_SERVICE_HOST where a service is called account.
    """
    prefix, *words = variable.split("_")
    ends = ["_".join(words[start:]) for start in range(1, len(words))] if prefix == "ACCOUNT" else []
    if any(end in ("ROLE", "ARN") or difflib.get_close_matches(end, _ACCOUNT_FIELDS, cutoff=0.75) for end in ends):
        raise ConfigurationError(f"{variable}: an account's variables end in _{', _'.join(_ACCOUNT_FIELDS)}")


def _accounts_of_file(path: str | None) -> list[tuple[str, str, dict[str, Any]]]:
    if path is None:
        return []
    content = read_toml("ACCOUNTS_FILE", path)
    tables = content.get("accounts")
    if (
        set(content) - {"accounts"}
        or not isinstance(tables, dict)
        or not all(isinstance(table, dict) for table in tables.values())
    ):
        raise ConfigurationError("ACCOUNTS_FILE: expected one [accounts.NAME] table per account")
    return [(f"ACCOUNTS_FILE [accounts.{name}]", name, table) for name, table in tables.items()]


def read_toml(variable: str, path: str | Path) -> dict[str, Any]:
    """Read the TOML file that a variable names.

    Raises:
        ConfigurationError: it is missing, unreadable or not TOML; the message names the variable.
    """
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{variable}: the file cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        line = re.search(r"line \d+", str(error))
        raise ConfigurationError(f"{variable}: not valid TOML{f' at {line[0]}' if line else ''}") from None
