"""AWS Secrets Manager: create, read, update, delete, list, restore and tag secrets.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from errors import InvalidParameter
from services.base import READ, REVEAL, WRITE, AWSModel, AWSServiceBase, Page, Plan, Tags, Target, Timestamp, tool

MAX_VALUE_BYTES = 65_536
_PAGE_SIZE = 100
_CHANGES_BY_READING = {"ResponseMetadata", "LastAccessedDate"}


def _fits_a_secret(value: SecretStr) -> SecretStr:
    size = len(value.get_secret_value().encode())
    if not 1 <= size <= MAX_VALUE_BYTES:
        raise ValueError(f"is {size} bytes long; AWS takes 1 to {MAX_VALUE_BYTES}")
    return value


def _are_aws_tags(tags: dict[str, str]) -> dict[str, str]:
    if not 1 <= len(tags) <= 50:
        raise ValueError("takes 1 to 50 tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise ValueError("a tag's key has 1 to 128 characters, its value at most 256")
        if key.lower().startswith("aws:"):
            raise ValueError("tag keys that start with aws: are AWS's own")
    return tags


_SECRET_NAME = r"^[A-Za-z0-9/_+=.@-]+$"
_SECRET_ID = re.compile(
    rf"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{{12}}:secret:[A-Za-z0-9/_+=.@!-]+|{_SECRET_NAME[1:-1]}"
)


def _is_name_or_arn(value: str) -> str:
    if not _SECRET_ID.fullmatch(value):
        raise ValueError("is neither a secret's name nor its ARN")
    return value


SecretName = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=_SECRET_NAME)]
SecretId = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_is_name_or_arn)]
SecretValue = Annotated[SecretStr, AfterValidator(_fits_a_secret)]
Description = Annotated[str, StringConstraints(max_length=2048)]
NewTags = Annotated[dict[str, str], AfterValidator(_are_aws_tags)]
TagKeys = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=128)]], Field(min_length=1, max_length=50)
]
VersionId = Annotated[str, StringConstraints(min_length=32, max_length=64)]
VersionStage = Annotated[str, StringConstraints(min_length=1, max_length=256)]
RecoveryWindow = Annotated[int, Field(ge=7, le=30)]
MaxResults = Annotated[int, Field(ge=1, le=500)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class SecretVersion(AWSModel):
    """A secret, and the version that was written."""

    name: str
    arn: str = Field(alias="ARN")
    version_id: str | None = None


class SecretPlaintext(AWSModel):
    """One version of a secret with its value, byte for byte as AWS holds it."""

    name: str
    arn: str = Field(alias="ARN")
    secret_value: str = Field(description="The string, or base64 of the bytes where encoding says so")
    encoding: str | None = None
    version_id: str | None = None
    version_stages: list[str] = []
    created_date: Timestamp | None = None


class ReplicationStatus(AWSModel):
    region: str
    status: str | None = None
    status_message: str | None = None
    kms_key_id: str | None = None
    last_accessed_date: Timestamp | None = None


class RotationRules(AWSModel):
    automatically_after_days: int | None = None
    duration: str | None = None
    schedule_expression: str | None = None


class Secret(AWSModel):
    """A secret's metadata, never its value."""

    name: str
    arn: str = Field(alias="ARN")
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


class SecretSummary(AWSModel):
    """One row of a listing."""

    name: str
    arn: str = Field(alias="ARN")
    description: str | None = None
    last_changed_date: Timestamp | None = None
    last_accessed_date: Timestamp | None = None
    deleted_date: Timestamp | None = None
    rotation_enabled: bool | None = None
    tags: Tags = {}


class Secrets(Page):
    secrets: list[SecretSummary]
    count: int


class DeletedSecret(AWSModel):
    name: str
    arn: str = Field(alias="ARN")
    deletion_date: Timestamp
    force_deleted: bool


class RestoredSecret(AWSModel):
    name: str
    arn: str = Field(alias="ARN")


class TaggedSecret(AWSModel):
    secret_id: str
    tags: dict[str, str]


class UntaggedSecret(AWSModel):
    secret_id: str
    tag_keys: list[str]


def _forced(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("force_delete_without_recovery") not in (None, False)


def _force_takes_no_window(arguments: Mapping[str, Any]) -> None:
    if arguments["force_delete_without_recovery"] and arguments["recovery_window_in_days"] is not None:
        raise InvalidParameter("recovery_window_in_days and force_delete_without_recovery exclude each other.")


def _changes_something(arguments: Mapping[str, Any]) -> None:
    if arguments["secret_value"] is None and arguments["description"] is None:
        raise InvalidParameter("Give secret_value, description or both.")


class SecretsManagerService(AWSServiceBase):
    """The daily work with secrets."""

    client_name = "secretsmanager"
    toolset = "secrets"

    @tool(WRITE, "secretsmanager:CreateSecret", "secretsmanager:TagResource", resource="name")
    def create_secret(
        self,
        name: SecretName,
        secret_value: SecretValue,
        target: Target,
        description: Description | None = None,
        tags: NewTags | None = None,
    ) -> SecretVersion:
        """Create a secret."""
        request: dict[str, Any] = {"Name": name, "SecretString": secret_value.get_secret_value()}
        if description:
            request["Description"] = description
        if tags:
            request["Tags"] = _to_aws(tags)
        return SecretVersion.model_validate(self.client(target).create_secret(**request))

    @tool(REVEAL, "secretsmanager:GetSecretValue", resource="secret_id")
    def get_secret_value(
        self,
        secret_id: SecretId,
        target: Target,
        version_id: VersionId | None = None,
        version_stage: VersionStage | None = None,
    ) -> SecretPlaintext:
        """Return a secret's plaintext value. Use describe_secret when metadata will do.

        Args:
            secret_id: Name or ARN
            version_stage: AWSCURRENT if not given
        """
        request = {"SecretId": secret_id}
        if version_id:
            request["VersionId"] = version_id
        if version_stage:
            request["VersionStage"] = version_stage
        answer = self.client(target).get_secret_value(**request)
        if "SecretBinary" in answer:
            encoded = base64.b64encode(answer["SecretBinary"]).decode()
            return SecretPlaintext.model_validate({**answer, "SecretValue": encoded, "Encoding": "base64"})
        return SecretPlaintext.model_validate({**answer, "SecretValue": answer.get("SecretString")})

    @tool(WRITE, "secretsmanager:UpdateSecret", resource="secret_id", destructive=True, check=_changes_something)
    def update_secret(
        self,
        secret_id: SecretId,
        target: Target,
        secret_value: SecretValue | None = None,
        description: Description | None = None,
    ) -> SecretVersion:
        """Write a new version of a secret, change its description, or both.

        Args:
            description: Empty clears it
        """
        request: dict[str, Any] = {"SecretId": secret_id}
        if secret_value is not None:
            request["SecretString"] = secret_value.get_secret_value()
        if description is not None:
            request["Description"] = description
        return SecretVersion.model_validate(self.client(target).update_secret(**request))

    @tool(
        WRITE, "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret", resource="secret_id",
        destructive=True, idempotent=True, destroys_if=_forced, check=_force_takes_no_window,
    )  # fmt: skip
    def delete_secret(
        self,
        secret_id: SecretId,
        target: Target,
        recovery_window_in_days: RecoveryWindow | None = None,
        force_delete_without_recovery: bool = False,
    ) -> DeletedSecret:
        """Schedule a secret's deletion; restore_secret undoes it within the window. Forced, it is gone at once.

        Args:
            recovery_window_in_days: 30 if not given; not together with force
        """
        request: dict[str, Any] = {"SecretId": secret_id}
        if force_delete_without_recovery:
            request["ForceDeleteWithoutRecovery"] = True
        else:
            request["RecoveryWindowInDays"] = recovery_window_in_days or 30
        answer = self.client(target).delete_secret(**request)
        return DeletedSecret.model_validate({**answer, "ForceDeleted": force_delete_without_recovery})

    def plan_delete_secret(self, secret_id: SecretId, target: Target) -> Plan:
        """Say what a forced deletion would lose. AWS's own forced deletion succeeds for a secret that is not there."""
        state = self.client(target).describe_secret(SecretId=secret_id)
        versions = len(state.get("VersionIdsToStages", {}))
        return Plan(
            target=state["ARN"],
            will_be_lost=f"The secret and its {versions} version(s) are gone at once, and cannot be restored.",
            state={name: value for name, value in state.items() if name not in _CHANGES_BY_READING},
        )

    @tool(READ, "secretsmanager:ListSecrets")
    def list_secrets(
        self,
        target: Target,
        name_prefix: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None,
        max_results: MaxResults = 100,
        include_planned_deletion: bool = False,
        next_token: Token | None = None,
    ) -> Secrets:
        """List secrets' metadata, never values. truncated tells that next_token continues the list."""
        request: dict[str, Any] = {"IncludePlannedDeletion": include_planned_deletion}
        if name_prefix:
            request["Filters"] = [{"Key": "name", "Values": [name_prefix]}]
        client = self.client(target)
        rows: list[SecretSummary] = []
        while True:
            page = client.list_secrets(
                **request,
                MaxResults=min(_PAGE_SIZE, max_results - len(rows)),
                **({"NextToken": next_token} if next_token else {}),
            )
            rows += [SecretSummary.model_validate(row) for row in page["SecretList"]]
            next_token = page.get("NextToken")
            if next_token is None or len(rows) >= max_results:
                return Secrets(secrets=rows, count=len(rows), truncated=next_token is not None, next_token=next_token)

    @tool(READ, "secretsmanager:DescribeSecret", resource="secret_id")
    def describe_secret(self, secret_id: SecretId, target: Target) -> Secret:
        """Return a secret's metadata, never its value."""
        return Secret.model_validate(self.client(target).describe_secret(SecretId=secret_id))

    @tool(WRITE, "secretsmanager:RestoreSecret", resource="secret_id", idempotent=True)
    def restore_secret(self, secret_id: SecretId, target: Target) -> RestoredSecret:
        """Cancel a secret's scheduled deletion."""
        return RestoredSecret.model_validate(self.client(target).restore_secret(SecretId=secret_id))

    @tool(WRITE, "secretsmanager:TagResource", resource="secret_id", destructive=True, idempotent=True)
    def tag_secret(self, secret_id: SecretId, tags: NewTags, target: Target) -> TaggedSecret:
        """Add tags to a secret, or overwrite their values."""
        self.client(target).tag_resource(SecretId=secret_id, Tags=_to_aws(tags))
        return TaggedSecret(secret_id=secret_id, tags=tags)

    @tool(WRITE, "secretsmanager:UntagResource", resource="secret_id", destructive=True, idempotent=True)
    def untag_secret(self, secret_id: SecretId, tag_keys: TagKeys, target: Target) -> UntaggedSecret:
        """Remove tags from a secret."""
        self.client(target).untag_resource(SecretId=secret_id, TagKeys=tag_keys)
        return UntaggedSecret(secret_id=secret_id, tag_keys=tag_keys)


def _to_aws(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
