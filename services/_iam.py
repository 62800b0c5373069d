"""IAM's argument types and results."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from services._policies import Policy, parse_policy
from services.base import AWSModel, Page, Tags, Timestamp

# IAM counts characters without white space: 6144 for managed policies, 10240 for a role's inline ones, 2048 for trust.
MAX_POLICY, MAX_INLINE, MAX_TRUST = 6_144, 10_240, 2_048


def _of_at_most(most: int, *, trust: bool = False) -> Any:
    def check(text: str) -> str:
        parse_policy(text)
        for number, statement in enumerate(Policy(text).statements, 1):
            _check_kind(number, set(statement), trust=trust)
        size = len("".join(text.split()))
        if size > most:
            raise ValueError(f"has {size} characters without white space; IAM takes {most}")
        return text

    return AfterValidator(check)


def _check_kind(number: int, parts: set[str], *, trust: bool) -> None:
    names_who, names_what = parts & {"Principal", "NotPrincipal"}, parts & {"Resource", "NotResource"}
    if trust and (not names_who or names_what):
        raise ValueError(f"statement {number}: a trust policy names a Principal, and no Resource")
    if not trust and (names_who or len(names_what) != 1):
        raise ValueError(f"statement {number}: a permissions policy names a Resource, and no Principal")


RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}$")]
PolicyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{1,128}$")]
PolicyArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9_+=,.@/-]{1,512}$")
]
PrincipalArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:(user|role|group)/[A-Za-z0-9_+=,.@/-]{1,512}$")
]
Path = Annotated[str, StringConstraints(pattern=r"^/([!-~]{1,510}/)?$")]
ManagedDocument = Annotated[str, _of_at_most(MAX_POLICY)]
InlineDocument = Annotated[str, _of_at_most(MAX_INLINE)]
TrustDocument = Annotated[str, _of_at_most(MAX_TRUST, trust=True)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
MaxItems = Annotated[int, Field(ge=1, le=1000)]


class RoleRow(AWSModel):
    role_name: str
    arn: str = Field(alias="Arn")
    path: str | None = None
    description: str | None = None
    create_date: Timestamp | None = None
    max_session_duration: int | None = None


class Roles(Page):
    roles: list[RoleRow]
    count: int


class LastUsed(AWSModel):
    last_used_date: Timestamp | None = None
    region: str | None = None


class Role(RoleRow):
    """A role with all that decides what it may do, and who may use it."""

    trust_policy: dict[str, Any]
    attached_policies: dict[str, str] = Field(default={}, description="Name and ARN")
    inline_policies: dict[str, dict[str, Any]] = {}
    permissions_boundary: str | None = None
    last_used: LastUsed | None = None
    tags: Tags = {}


class WrittenRole(AWSModel):
    role_name: str
    arn: str = Field(alias="Arn")


class ChangedTrust(AWSModel):
    """A trust policy before and after, and the lines that differ."""

    role_name: str
    before: dict[str, Any]
    after: dict[str, Any]
    diff: list[str]
    dry_run: bool | None = None


class GoneRole(AWSModel):
    role_name: str


class PolicyRow(AWSModel):
    policy_name: str
    arn: str = Field(alias="Arn")
    default_version_id: str | None = None
    attachment_count: int | None = None
    update_date: Timestamp | None = None
    description: str | None = None


class Policies(Page):
    policies: list[PolicyRow]
    count: int


class PolicyVersion(AWSModel):
    version_id: str
    is_default_version: bool
    create_date: Timestamp | None = None


class PolicyDetail(PolicyRow):
    """A managed policy with the document of one version, and its versions."""

    version_id: str
    document: dict[str, Any]
    versions: list[PolicyVersion] = []


class WrittenVersion(AWSModel):
    """A new version, and how it differs from the default one before it. No id on a dry run."""

    policy_arn: str
    version_id: str | None = None
    is_default_version: bool
    deleted_version_id: str | None = None
    diff: list[str]
    dry_run: bool | None = None


class Attachment(AWSModel):
    role_name: str
    policy_arn: str
    attached: bool


class InlinePolicy(AWSModel):
    """An inline policy that was written, and how it differs from what stood there."""

    role_name: str
    policy_name: str
    replaced: bool
    diff: list[str]
    dry_run: bool | None = None


class User(AWSModel):
    user_name: str
    arn: str = Field(alias="Arn")
    path: str | None = None
    create_date: Timestamp | None = None
    password_last_used: Timestamp | None = None


class Users(Page):
    users: list[User]
    count: int


class AccessKey(AWSModel):
    """An access key's facts; the secret part is known to nobody but its owner."""

    user_name: str
    access_key_id: str
    status: str
    age_days: int
    last_used_date: Timestamp | None = None
    last_used_service: str | None = None
    last_used_region: str | None = None


class AccessKeys(Page):
    access_keys: list[AccessKey]
    count: int


class SimulatedAction(AWSModel):
    """Whether one action on one resource would be allowed, and by which policies that was decided."""

    action: str
    resource: str
    decision: str
    matched_statements: list[str] = []
    missing_context: list[str] = []
    allowed_by_boundary: bool | None = None
    allowed_by_organizations: bool | None = None


class Simulation(Page):
    results: list[SimulatedAction]
    count: int
    all_allowed: bool


class Explanation(AWSModel):
    """Why a call was denied, as far as AWS tells."""

    likely_reason: str
    explicit_deny: bool | None = None
    principal: str | None = None
    action: str | None = None
    resource: str | None = None
    matched_statements: list[str] = []
    simulated: str | None = None
    not_simulated: str | None = Field(default=None, description="Why IAM was not asked, or did not say")
    to_do: str
