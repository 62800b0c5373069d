"""Where a call runs: the Target it names, and the Identity and Grant that this resolves to."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field


class Target(BaseModel):
    """Where a call runs, as the caller spelled it; all empty means the server's default credentials."""

    model_config = ConfigDict(frozen=True, strict=True)

    account: str | None = Field(default=None, description="Configured account")
    profile: str | None = None
    role_arn: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class Identity:
    """Whose credentials sign: a profile's, an assumed role's, or (both empty) the server's default ones.

    It is the only key under which credentials and clients are kept: typed fields, no joined string, so that no
    profile's name can read as another identity.
    """

    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = field(default=None, repr=False)

    @property
    def account_id(self) -> str | None:
        """The account number where it is known without asking AWS: it stands in a role's ARN."""
        return self.role_arn.split(":")[4] if self.role_arn else None

    def __str__(self) -> str:
        if self.profile:
            return f"profile/{self.profile}"
        return self.role_arn or "default"


@dataclass(frozen=True)
class Grant:
    """What the policy allowed: this identity, in this region; `account` is its configured name, if it has one."""

    identity: Identity
    region: str
    account: str | None = None
