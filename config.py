"""Settings, read once from the environment. No other module touches os.environ."""

from __future__ import annotations

import fnmatch
import os
import re
import secrets
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import load_dotenv
from dotenv.parser import parse_stream
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from errors import ConfigurationError
from named_accounts import Account, Region, read_accounts
from plain_words import first_problem
from strength import MIN_LENGTH, weakness

_ROLE_ARN_GLOB = re.compile(r"\*|arn:[a-z*-]+:iam::(\d{12}|\*):(role/.+|\*)", re.ASCII)
_HOST_GLOB = re.compile(r"(\[[0-9a-fA-F:.*]+\]|[\w.*-]+)(:(\d{1,5}|\*))?", re.ASCII)
_ORIGIN_GLOB = re.compile(rf"\*|[a-z][a-z0-9+.*-]*://{_HOST_GLOB.pattern}/?", re.ASCII)
ENV_FILE = Path(__file__).with_name(".env")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _flag(value: Any) -> Any:
    if value not in ("0", "1", "true", "false", True, False):
        raise ValueError("takes 0 or 1")
    return value in ("1", "true", True)


def _is_https_or_loopback(uri: str) -> bool:
    # Clients disagree on where a host ends after other characters than these.
    if not re.fullmatch(r"(?i)https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d+)?([/?][!-~]*)?", uri):
        return False
    url = urlsplit(uri)
    if url.scheme == "https" or url.hostname == "localhost":
        return True
    try:
        return ip_address(url.hostname or "").is_loopback
    except ValueError:
        return False


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Flag = Annotated[bool, BeforeValidator(_flag)]


class Settings(BaseModel):
    """All that the environment says. Field aliases are the variables' names."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="forbid")

    auth_token: SecretStr | None = Field(default=None, alias="MCP_AUTH_TOKEN")
    allow_anonymous: Flag = Field(default=False, alias="MCP_ALLOW_ANONYMOUS")
    callers_file: Path | None = Field(default=None, alias="MCP_CALLERS_FILE")
    jwt_issuer: str | None = Field(default=None, alias="MCP_JWT_ISSUER")
    jwt_audience: str | None = Field(default=None, alias="MCP_JWT_AUDIENCE")
    jwt_jwks_uri: str | None = Field(default=None, alias="MCP_JWT_JWKS_URI")
    host: str = Field(default="127.0.0.1", alias="MCP_HOST")
    port: int = Field(default=8100, ge=0, le=65535, alias="MCP_PORT")
    allowed_hosts: Names = Field(default=(), alias="MCP_ALLOWED_HOSTS")
    allowed_origins: Names = Field(default=(), alias="MCP_ALLOWED_ORIGINS")
    region: Region = Field(default="us-east-1", alias="AWS_REGION")
    accounts_file: Path | None = Field(default=None, alias="ACCOUNTS_FILE")
    allowed_role_arns: Names | None = Field(default=None, alias="ALLOWED_ROLE_ARNS")
    allowed_profiles: Names | None = Field(default=None, alias="ALLOWED_PROFILES")
    allow_default_credentials: Flag = Field(default=True, alias="ALLOW_DEFAULT_CREDENTIALS")
    allowed_regions: tuple[Region, ...] | None = Field(default=None, alias="ALLOWED_REGIONS")
    read_only: Flag = Field(default=False, alias="READ_ONLY")
    reveal: Flag = Field(default=True, alias="REVEAL")
    toolsets: Names = Field(default=("accounts", "secrets"), alias="TOOLSETS")
    audit_log: str = Field(default="stdout", min_length=1, alias="AUDIT_LOG")
    audit_hmac_key: SecretStr | None = Field(default=None, alias="AUDIT_HMAC_KEY")
    require_human_confirm: Flag = Field(default=False, alias="REQUIRE_HUMAN_CONFIRM")
    call_deadline_seconds: float = Field(default=30, ge=1, le=600, alias="CALL_DEADLINE_SECONDS")
    max_concurrent_calls: int = Field(default=64, ge=1, le=1024, alias="MAX_CONCURRENT_CALLS")
    max_concurrent_calls_per_identity: int = Field(
        default_factory=lambda known: min(8, known.get("max_concurrent_calls", 8)),
        ge=1, le=1024, alias="MAX_CONCURRENT_CALLS_PER_IDENTITY",
    )  # fmt: skip
    rate_limit_per_minute: int = Field(default=600, ge=1, le=1_000_000, alias="RATE_LIMIT_PER_MINUTE")
    reveal_limit_per_minute: int = Field(default=30, ge=1, le=1_000_000, alias="REVEAL_LIMIT_PER_MINUTE")
    role_session_seconds: int = Field(default=3600, ge=900, le=43_200, alias="ROLE_SESSION_SECONDS")
    session_policies: Flag = Field(default=False, alias="SESSION_POLICIES")
    replica_name: str | None = Field(default=None, pattern="^[a-zA-Z0-9-]{1,63}$", alias="REPLICA_NAME")
    sse_max_streams: int = Field(default=500, ge=1, le=100_000, alias="SSE_MAX_STREAMS")
    stamp_caller: Flag = Field(default=False, alias="STAMP_CALLER")
    metrics_host: str = Field(default="127.0.0.1", alias="METRICS_HOST")
    metrics_port: int | None = Field(default=None, ge=0, le=65535, alias="METRICS_PORT")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", alias="LOG_LEVEL")
    log_format: Literal["json", "text"] = Field(default="json", alias="LOG_FORMAT")
    accounts: tuple[Account, ...] = Field(default=(), alias="ACCOUNT_*")

    @field_validator("allowed_regions", mode="before")
    @classmethod
    def _split_regions(cls, value: Any) -> Any:
        return _split(value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("allowed_role_arns")
    @classmethod
    def _account_number_is_no_pattern(cls, globs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if not all(_ROLE_ARN_GLOB.fullmatch(glob) for glob in globs or ()):
            raise ValueError("each entry is a whole role ARN with the account number literal or *")
        return globs

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_names(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_HOST_GLOB.fullmatch(glob) for glob in globs):
            raise ValueError("each entry is a host name, with or without a port: mcp.example.com, *.example.com:8443")
        return globs

    @field_validator("allowed_origins")
    @classmethod
    def _origins_have_a_scheme(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_ORIGIN_GLOB.fullmatch(glob) for glob in globs):
            raise ValueError("each entry is a browser's origin: https://console.example.com, http://localhost:*")
        return globs

    @field_validator("auth_token", "audit_hmac_key")
    @classmethod
    def _is_strong(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and (reason := weakness(secret.get_secret_value())):
            raise ValueError(reason)
        return secret

    @field_validator("auth_token")
    @classmethod
    def _header_can_carry_it(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value() if token is not None else ""
        if not text.isascii() or any(ord(c) < 33 for c in text):
            raise ValueError("has characters that no Authorization header can carry")
        return token

    @field_validator("jwt_jwks_uri")
    @classmethod
    def _keys_come_over_tls(cls, uri: str | None) -> str | None:
        if uri is not None and not _is_https_or_loopback(uri):
            raise ValueError("is not an https:// URL; http:// is taken for 127.0.0.1, [::1] and localhost alone")
        return uri

    @model_validator(mode="after")
    def _parts_fit_the_whole(self) -> Settings:
        if self.max_concurrent_calls_per_identity > self.max_concurrent_calls:
            raise ValueError("MAX_CONCURRENT_CALLS_PER_IDENTITY is more than MAX_CONCURRENT_CALLS")
        if self.auth_token is not None and self.auth_token == self.audit_hmac_key:
            raise ValueError("AUDIT_HMAC_KEY is MCP_AUTH_TOKEN's value: every caller of it could sign confirmations")
        jwt = (self.jwt_issuer, self.jwt_audience, self.jwt_jwks_uri)
        if any(jwt) and not all(jwt):
            raise ValueError("MCP_JWT_ISSUER, MCP_JWT_AUDIENCE and MCP_JWT_JWKS_URI go together")
        return self

    @property
    def accounts_by_name(self) -> dict[str, Account]:
        return {account.name: account for account in self.accounts}

    def require_callers(self) -> None:
        """Refuse what would serve HTTP to anyone.

        Raises:
            ConfigurationError: nothing tells callers apart, and no loopback bind makes up for it.
        """
        if self.auth_token or self.callers_file or self.jwt_issuer:
            return
        if not self.allow_anonymous:
            raise ConfigurationError(
                f"MCP_AUTH_TOKEN: set it to a random token of {MIN_LENGTH} characters or more, or set MCP_CALLERS_FILE"
            )
        if self.host not in LOOPBACK:
            raise ConfigurationError("MCP_ALLOW_ANONYMOUS: only with MCP_HOST on loopback")

    def role_is_allowed(self, role_arn: str) -> bool:
        """Tell whether a role may be assumed: ALLOWED_ROLE_ARNS, else the configured accounts' roles, else any."""
        if self.allowed_role_arns is not None:
            return any(fnmatch.fnmatchcase(role_arn, glob) for glob in self.allowed_role_arns)
        return not self.accounts or any(role_arn == account.role_arn for account in self.accounts)

    def profile_is_allowed(self, profile: str) -> bool:
        """Tell whether a profile may be used: ALLOWED_PROFILES, else the accounts' own, else any where none is set."""
        if self.allowed_profiles is not None:
            return profile in self.allowed_profiles
        confined = bool(self.accounts) or self.allowed_role_arns is not None
        return not confined or any(account.profile == profile for account in self.accounts)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings from a mapping of variables.

        Raises:
            ConfigurationError: a variable or file cannot be understood; the message names it and never its value.
        """
        known = {field.alias for field in cls.model_fields.values()}
        values: dict[str, Any] = {name: value for name, value in environment.items() if name in known}
        renamed = {}
        if "AWS_REGION" not in values and "AWS_DEFAULT_REGION" in environment:
            values["AWS_REGION"] = environment["AWS_DEFAULT_REGION"]
            renamed["AWS_REGION"] = "AWS_DEFAULT_REGION"
        may_be_blank = {"ALLOWED_ROLE_ARNS", "ALLOWED_PROFILES", "MCP_AUTH_TOKEN"}
        # botocore reads the last two itself.
        read = values | {
            name: environment[name] for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if name in environment
        }
        for name, value in read.items():
            if not value.strip() and name not in may_be_blank:
                raise ConfigurationError(f"{renamed.get(name, name)} is set but blank: give it a value or remove it")
        values["ACCOUNT_*"] = read_accounts(environment)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(first_problem(error, renamed=renamed)) from None


def load(overrides: Mapping[str, str] | None = None) -> Settings:
    """Read `.env` beside this file and the process's environment, which wins. For servers, not for tests."""
    load_env_file(ENV_FILE)
    os.environ.update(overrides or {})
    shield_fastmcp()
    return Settings.from_environment(os.environ)


def shield_fastmcp() -> None:
    """Keep fastmcp, not imported yet, from FASTMCP_* of the environment and of any `.env`: settings are ours alone."""
    for name in [name for name in os.environ if name.upper().startswith("FASTMCP_")]:
        del os.environ[name]
    os.environ["FASTMCP_ENV_FILE"] = os.devnull


def load_env_file(path: Path) -> None:
    """Put a file's variables into the environment where they are not set already.

    Raises:
        ConfigurationError: a line cannot be understood. python-dotenv would go on without it.
    """
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8") as lines:
            for binding in parse_stream(lines):
                if binding.error or (binding.key is not None and binding.value is None):
                    raise ConfigurationError(f".env: line {binding.original.line} is not NAME=value")
        load_dotenv(path)
    except OSError as error:
        raise ConfigurationError(f".env: the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigurationError(".env: the file is not UTF-8") from None


def load_demo(demo_environment: Mapping[str, str]) -> tuple[Settings, str]:
    """Settings for the embedded AWS and the token to show; the operator's own AWS settings are forgotten first.

    botocore reads the process's environment itself, so it is changed here.
    """
    load_env_file(ENV_FILE)
    shield_fastmcp()
    for name in list(os.environ):
        if name.startswith(("AWS_", "ACCOUNT_", "ALLOWED_")) or name == "ACCOUNTS_FILE":
            del os.environ[name]
    os.environ.update(demo_environment)
    os.environ.setdefault("AUDIT_HMAC_KEY", secrets.token_urlsafe(24))  # spares a newcomer the warning
    token = os.environ.setdefault("MCP_AUTH_TOKEN", "demo-" + secrets.token_urlsafe(24))
    return Settings.from_environment(os.environ), token
