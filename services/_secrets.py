"""What the files of Secrets Manager share: argument types, results, reaching and describing a secret.

Values are made, read and written in `_secret_values.py`.
"""

from __future__ import annotations

import base64
import re
import string
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from access.policy import identity_of
from errors import InvalidParameter
from services._json_members import to_json
from services.base import AWSModel, AWSServiceBase, Plan, Said, Tags, Target, Timestamp
from toolcall.call import Call

# Where a secret has a KMS key of its own, AWS uses it in the name of who asks.
KMS_READ, KMS_WRITE = "kms:Decrypt", ("kms:Decrypt", "kms:GenerateDataKey")
MAX_VALUE_BYTES = 65_536
_CHANGES_BY_READING = frozenset({"ResponseMetadata", "LastAccessedDate"})
PLACEHOLDER = "{{generate}}"
CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
NAME = r"[A-Za-z0-9/_+=.@-]+"
# Services that manage secrets of their own put a "!" into their names; nobody else may.
_ANY_NAME = r"[A-Za-z0-9/_+=.@!-]+"
_ID = re.compile(rf"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{{12}}:secret:{_ANY_NAME}|{_ANY_NAME}")
_CLASSES = {
    "exclude_lowercase": string.ascii_lowercase,
    "exclude_uppercase": string.ascii_uppercase,
    "exclude_numbers": string.digits,
    "exclude_punctuation": string.punctuation,
}


def _fits_a_secret(value: SecretStr) -> SecretStr:
    _check_size(utf8(value.get_secret_value()))
    return value


def utf8(text: str) -> bytes:
    """Return a text's bytes.

    Raises:
        ValueError: it is no Unicode text; the message does not quote it.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not Unicode text: half a surrogate pair stands in it") from None


def _check_size(data: bytes) -> None:
    if not 1 <= len(data) <= MAX_VALUE_BYTES:
        raise ValueError(f"is {len(data)} bytes long; AWS takes 1 to {MAX_VALUE_BYTES}")


def _is_base64(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("is not base64") from None
    if base64.b64encode(data).decode() != text:  # it would not come back as it went in
        raise ValueError("is not base64 in its one canonical form")
    _check_size(data)
    return value


class JsonText(SecretStr):
    """A value that was submitted as JSON and no string: its JSON text."""


def _as_secret(value: Any) -> SecretStr:
    return SecretStr(value) if isinstance(value, str) else JsonText(to_json(value))


def _is_name_or_arn(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("is neither a secret's name nor its ARN")
    return value


SecretName = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=f"^{NAME}$")]
SecretId = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_is_name_or_arn)]
# A leading "!" would turn AWS's filter round.
NamePrefix = Annotated[
    str, StringConstraints(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9/_+=.@-][A-Za-z0-9/_+=.@!-]*$")
]
SecretValue = Annotated[SecretStr, AfterValidator(_fits_a_secret)]
SecretBytes = Annotated[SecretStr, AfterValidator(_is_base64)]
SecretJson = Annotated[SecretStr, PlainValidator(_as_secret), WithJsonSchema({"writeOnly": True})]
Description = Annotated[str, StringConstraints(max_length=2048)]
KmsKeyId = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
VersionId = Annotated[str, StringConstraints(min_length=32, max_length=64)]
VersionStage = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class Generate(BaseModel):
    """How a value is made in place by AWS's GetRandomPassword."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    length: int = Field(default=32, ge=1, le=4096)
    exclude_characters: str | None = Field(default=None, max_length=4096)
    exclude_lowercase: bool = False
    exclude_uppercase: bool = False
    exclude_numbers: bool = False
    exclude_punctuation: bool = False
    include_space: bool = False
    template: SecretStr | None = Field(
        default=None, description=f"JSON; each {PLACEHOLDER} in its strings becomes a value of its own"
    )

    @model_validator(mode="after")
    def _leaves_characters(self) -> Generate:
        if not self._classes and not (self.include_space and " " not in (self.exclude_characters or "")):
            raise ValueError("the exclusions leave no characters")
        return self

    @property
    def _classes(self) -> set[str]:
        """The classes of which characters are left."""
        without = set(self.exclude_characters or "")
        return {name for name, letters in _CLASSES.items() if not getattr(self, name) and set(letters) - without}

    def request(self) -> dict[str, Any]:
        """Return GetRandomPassword's arguments.

        AWS puts in one character of each class, and refuses what is too short or leaves a class empty; so it is told
        of the classes that can be there.
        """
        left = self._classes
        return {
            "PasswordLength": self.length,
            "ExcludeCharacters": self.exclude_characters or "",
            "ExcludeLowercase": "exclude_lowercase" not in left,
            "ExcludeUppercase": "exclude_uppercase" not in left,
            "ExcludeNumbers": "exclude_numbers" not in left,
            "ExcludePunctuation": "exclude_punctuation" not in left,
            "IncludeSpace": self.include_space,
            "RequireEachIncludedType": self.length > len(left),
        }


class SecretVersion(AWSModel):
    """A secret, and the version that was written."""

    name: str
    arn: str
    version_id: str | None = None


class ReplicationStatus(AWSModel):
    region: str
    status: str | None = None
    status_message: Said | None = None
    kms_key_id: str | None = None
    last_accessed_date: Timestamp | None = None


class RotationRules(AWSModel):
    automatically_after_days: int | None = None
    duration: str | None = None
    schedule_expression: str | None = None


class Secret(AWSModel):
    """A secret's metadata, never its value."""

    name: str
    arn: str
    description: str | None = None
    kms_key_id: str | None = None
    rotation_enabled: bool | None = None
    rotation_lambda_arn: str | None = Field(default=None, alias="RotationLambdaARN")
    rotation_rules: RotationRules | None = None
    created_date: Timestamp | None = None
    last_rotated_date: Timestamp | None = None
    last_changed_date: Timestamp | None = None
    last_accessed_date: Timestamp | None = None
    deleted_date: Timestamp | None = None
    next_rotation_date: Timestamp | None = None
    tags: Tags = {}
    version_ids_to_stages: dict[str, list[str]] | None = None
    owning_service: str | None = None
    primary_region: str | None = None
    replication_status: list[ReplicationStatus] | None = None


def reach(service: AWSServiceBase, target: Target, *secret_ids: str) -> Any:
    """Return a client for a target, to work there on secrets of these names or ARNs.

    Raises:
        InvalidParameter: an ARN is of another region, or of another account that this server has. The ARN of an
            account that it does not have is AWS's to decide: a resource policy may share that secret.
    """
    for secret_id in secret_ids:
        if secret_id.startswith("arn:"):
            _check_place(service, target, secret_id)
    return service.client(target)


def _check_place(service: AWSServiceBase, target: Target, arn: str) -> None:
    desk, call = service.desk, Call.current()
    grant = call.grant(target)
    region, account = place_of(arn)
    if region != grant.region:
        raise InvalidParameter(
            f"The ARN is of a secret in {region}, but this call runs in {grant.region}.",
            next_step="Name the ARN's region.",
        )
    if account == desk.credentials.account_id(grant, call.caller):
        return
    owners = {one.name: desk.credentials.known_account_id(identity_of(one)) for one in desk.settings.accounts}
    if account in owners.values():
        raise InvalidParameter(
            "The ARN is of a secret in another account than this call runs in.", next_step="Name the ARN's account."
        )


def place_of(arn: str) -> tuple[str, str]:
    """Return the region and the account of a secret's ARN."""
    _, _, _, region, account, *_ = arn.split(":")
    return region, account


def of_a_strangers_function(
    service: AWSServiceBase, target: Target, secret: Mapping[str, Any], function_arn: str | None
) -> Plan | None:
    """Return the plan of rotating a secret by a function of an account that is not configured here, else None.

    Args:
        service: Whose standing tells.
        target: Where the call runs.
        secret: DescribeSecret's answer.
        function_arn: A Lambda function's, if the secret is rotated by one.
    """
    if function_arn is None or not service.standing.is_stranger(number := account_of(function_arn), target):
        return None
    return Plan(
        target=secret["ARN"],
        will_be_lost=f"A function of account {number}, which is not configured here, makes the secret's next values.",
        state=unread(secret),
    )


def unread(secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return DescribeSecret's answer without what reading the secret changes: the state a confirmation is bound to."""
    return {name: value for name, value in secret.items() if name not in _CHANGES_BY_READING}


def account_of(arn: str) -> str:
    """Return the account's number in an ARN."""
    return arn.split(":")[4]


def describe(client: Any, secret_id: str) -> Secret:
    """Return a secret's metadata."""
    return Secret.model_validate(client.describe_secret(SecretId=secret_id))


def versions_of(client: Any, secret_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield a secret's versions, those without a stage too. botocore has no paginator for them."""
    token: dict[str, str] = {}
    while True:
        page = client.list_secret_version_ids(SecretId=secret_id, MaxResults=100, IncludeDeprecated=True, **token)
        yield from page["Versions"]
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def bearer(secret: Secret, stage: str) -> str | None:
    """Return the version that bears a stage."""
    versions = secret.version_ids_to_stages or {}
    return next((version for version, stages in versions.items() if stage in stages), None)


def unfinished(secret: Secret) -> str | None:
    """Return the version of a rotation that has not ended: AWSPENDING on another version than the current one."""
    pending = bearer(secret, PENDING)
    return pending if pending is not None and pending != bearer(secret, CURRENT) else None


def how_to_unblock(version: str) -> str:
    """Return what AWS advises where AWSPENDING stays on a version."""
    return (
        "Read the rotation function's log in CloudWatch. If that rotation is dead, take its stage off with "
        f"update_secret_version_stage (version_stage={PENDING}, from_version_id={version}), then rotate_secret."
    )
