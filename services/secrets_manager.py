"""AWS Secrets Manager: create, read, update, delete, list, restore and tag secrets.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import InvalidParameter, translate
from services._json_members import parsed, type_of, value_of
from services._secret_values import Held, compose, one_value, read
from services._secrets import (
    KMS_READ,
    KMS_WRITE,
    Description,
    Generate,
    KmsKeyId,
    NamePrefix,
    Secret,
    SecretBytes,
    SecretId,
    SecretName,
    SecretValue,
    SecretVersion,
    Token,
    VersionId,
    VersionStage,
    describe,
    reach,
    unread,
)
from services.base import (
    READ,
    REVEAL,
    WRITE,
    AWSModel,
    AWSServiceBase,
    FirstTags,
    NewTags,
    Page,
    Plan,
    Said,
    Standing,
    TagKeys,
    Tags,
    Target,
    Timestamp,
    to_aws_tags,
    tool,
)

_PAGE_SIZE = 100
_VALUE_ARGUMENTS = ("secret_value", "secret_binary", "generate", "description", "kms_key_id")

RecoveryWindow = Annotated[int, Field(ge=7, le=30)]
MaxResults = Annotated[int, Field(ge=1, le=500)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]


class Masked(AWSModel):
    """What may be said of a value without saying any of it. Lengths are in bytes."""

    type: str
    length: int
    keys: dict[str, str] | None = Field(default=None, description="Each JSON key with its value's type")


class SecretPlaintext(AWSModel):
    """One version of a secret with its value, byte for byte as AWS holds it."""

    name: str
    arn: str
    secret_value: str | None = Field(
        default=None, description="The string, or base64 of the bytes where encoding says so; absent when masked"
    )
    encoding: str | None = None
    masked: Masked | None = None
    version_id: str | None = None
    version_stages: list[str] = []
    created_date: Timestamp | None = None


class Unread(AWSModel):
    """A secret that could not be read, and why."""

    secret_id: str
    error_code: str
    message: Said | None = None


class SecretPlaintexts(AWSModel):
    secrets: list[SecretPlaintext]
    errors: list[Unread] = []


class SecretSummary(AWSModel):
    """One row of a listing."""

    name: str
    arn: str
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
    arn: str
    deletion_date: Timestamp
    force_deleted: bool


class RestoredSecret(AWSModel):
    name: str
    arn: str


class TaggedSecret(AWSModel):
    secret_id: str
    tags: dict[str, str]


class UntaggedSecret(AWSModel):
    secret_id: str
    tag_keys: list[str]


def _forced(arguments: Mapping[str, Any], _: Standing) -> bool:
    return arguments["force_delete_without_recovery"] is True


def _force_takes_no_window(arguments: Mapping[str, Any]) -> None:
    if arguments["force_delete_without_recovery"] and arguments["recovery_window_in_days"] is not None:
        raise InvalidParameter("recovery_window_in_days and force_delete_without_recovery exclude each other.")


def _has_one_value(arguments: Mapping[str, Any]) -> None:
    one_value(arguments, required=True)


def _changes_something(arguments: Mapping[str, Any]) -> None:
    one_value(arguments, required=False)
    if all(arguments[name] is None for name in _VALUE_ARGUMENTS):
        raise InvalidParameter(f"Give at least one of {', '.join(_VALUE_ARGUMENTS)}.")


class SecretsManagerService(AWSServiceBase):
    """The daily work with secrets."""

    client_name = "secretsmanager"
    toolset = "secrets"

    @tool(
        WRITE,
        "secretsmanager:CreateSecret",
        "secretsmanager:TagResource",
        "secretsmanager:GetRandomPassword",
        *KMS_WRITE,
        resource="name",
        check=_has_one_value,
    )
    def create_secret(
        self,
        name: SecretName,
        target: Target,
        secret_value: SecretValue | None = None,
        secret_binary: SecretBytes | None = None,
        generate: Generate | None = None,
        description: Description | None = None,
        tags: FirstTags | None = None,
        kms_key_id: KmsKeyId | None = None,
    ) -> SecretVersion:
        """Create a secret from a value, or from one generated in place that nobody sees.

        Args:
            secret_binary: base64
        """
        client = self.client(target)
        request: dict[str, Any] = {"Name": name, **compose(client, secret_value, secret_binary, generate)}
        if description:
            request["Description"] = description
        if tags:
            request["Tags"] = to_aws_tags(tags)
        if kms_key_id:
            request["KmsKeyId"] = kms_key_id
        return SecretVersion.model_validate(client.create_secret(**request))

    @tool(REVEAL, "secretsmanager:GetSecretValue", KMS_READ, resource="secret_id")
    def get_secret_value(
        self,
        secret_id: SecretId,
        target: Target,
        version_id: VersionId | None = None,
        version_stage: VersionStage | None = None,
        key: Key | None = None,
        mask: bool = False,
    ) -> SecretPlaintext:
        """Return a secret's plaintext value. Use describe_secret when metadata will do.

        Args:
            secret_id: Name or ARN
            version_stage: AWSCURRENT if not given
            key: Only this key of a JSON secret
            mask: Only type and length, no plaintext
        """
        held = read(reach(self, target, secret_id), secret_id, version_id, version_stage)
        return SecretPlaintext.model_validate({**held.model_dump(by_alias=True), **_shown(held, key, mask)})

    @tool(
        REVEAL, "secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue", KMS_READ, resource="secret_ids"
    )
    def batch_get_secret_value(
        self, secret_ids: Annotated[list[SecretId], Field(min_length=1, max_length=20)], target: Target
    ) -> SecretPlaintexts:
        """Return the plaintext values of up to 20 secrets; those that cannot be read stand in errors."""
        client, token = reach(self, target, *secret_ids), None
        found: list[SecretPlaintext] = []
        errors: list[Unread] = []
        while True:
            page = client.batch_get_secret_value(SecretIdList=secret_ids, **({"NextToken": token} if token else {}))
            for row in page["SecretValues"]:
                held = Held.model_validate(row)
                members = {**held.model_dump(by_alias=True), **_shown(held, None, False)}
                found.append(SecretPlaintext.model_validate(members))
            errors += [Unread.model_validate(row) for row in page.get("Errors", [])]
            token = page.get("NextToken") or None
            if token is None:
                return SecretPlaintexts(secrets=found, errors=errors)

    @tool(
        WRITE,
        "secretsmanager:UpdateSecret",
        "secretsmanager:GetRandomPassword",
        "secretsmanager:DescribeSecret",
        *KMS_WRITE,
        resource="secret_id",
        destructive=True,
        check=_changes_something,
    )
    def update_secret(
        self,
        secret_id: SecretId,
        target: Target,
        secret_value: SecretValue | None = None,
        secret_binary: SecretBytes | None = None,
        generate: Generate | None = None,
        description: Description | None = None,
        kms_key_id: KmsKeyId | None = None,
    ) -> SecretVersion:
        """Write a new version of a secret, given or generated; or change its description or KMS key.

        Args:
            secret_binary: base64
            description: Empty clears it
        """
        client = reach(self, target, secret_id)
        request: dict[str, Any] = {"SecretId": secret_id, **compose(client, secret_value, secret_binary, generate)}
        if description is not None:
            request["Description"] = description
        if kms_key_id:
            request["KmsKeyId"] = kms_key_id
        return _update(client, request)

    @tool(
        WRITE, "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret", resource="secret_id",
        destructive=True, idempotent=True, destroys_if=_forced, voids_state=True,
        check=_force_takes_no_window,
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
        answer = reach(self, target, secret_id).delete_secret(**request)
        return DeletedSecret.model_validate({**answer, "ForceDeleted": force_delete_without_recovery})

    def plan_delete_secret(self, secret_id: SecretId, target: Target) -> Plan:
        """Say what a forced deletion would lose. AWS's own forced deletion succeeds for a secret that is not there."""
        state = reach(self, target, secret_id).describe_secret(SecretId=secret_id)
        versions = len(state.get("VersionIdsToStages", {}))
        return Plan(
            target=state["ARN"],
            will_be_lost=f"The secret and its {versions} version(s) are gone at once, and cannot be restored.",
            state=unread(state),
        )

    @tool(READ, "secretsmanager:ListSecrets")
    def list_secrets(
        self,
        target: Target,
        name_prefix: NamePrefix | None = None,
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
            seen = [SecretSummary.model_validate(row) for row in page["SecretList"]]
            rows += [row for row in seen if row.name.startswith(name_prefix or "")]
            next_token = page.get("NextToken") or None
            if next_token is None or len(rows) >= max_results:
                return Secrets(secrets=rows, count=len(rows), truncated=next_token is not None, next_token=next_token)

    @tool(READ, "secretsmanager:DescribeSecret", resource="secret_id")
    def describe_secret(self, secret_id: SecretId, target: Target) -> Secret:
        """Return a secret's metadata, never its value."""
        return describe(reach(self, target, secret_id), secret_id)

    @tool(WRITE, "secretsmanager:RestoreSecret", resource="secret_id", idempotent=True)
    def restore_secret(self, secret_id: SecretId, target: Target) -> RestoredSecret:
        """Cancel a secret's scheduled deletion."""
        return RestoredSecret.model_validate(reach(self, target, secret_id).restore_secret(SecretId=secret_id))

    @tool(WRITE, "secretsmanager:TagResource", resource="secret_id", destructive=True, idempotent=True)
    def tag_secret(self, secret_id: SecretId, tags: NewTags, target: Target) -> TaggedSecret:
        """Add tags to a secret, or overwrite their values."""
        reach(self, target, secret_id).tag_resource(SecretId=secret_id, Tags=to_aws_tags(tags))
        return TaggedSecret(secret_id=secret_id, tags=tags)

    @tool(WRITE, "secretsmanager:UntagResource", resource="secret_id", destructive=True, idempotent=True)
    def untag_secret(self, secret_id: SecretId, tag_keys: TagKeys, target: Target) -> UntaggedSecret:
        """Remove tags from a secret."""
        reach(self, target, secret_id).untag_resource(SecretId=secret_id, TagKeys=tag_keys)
        return UntaggedSecret(secret_id=secret_id, tag_keys=tag_keys)


def _update(client: Any, request: Mapping[str, Any]) -> SecretVersion:
    """Update a secret. An attempt repeated because its answer was lost is refused by AWS if the first was applied."""
    token = str(uuid.uuid4())
    try:
        return SecretVersion.model_validate(client.update_secret(**request, ClientRequestToken=token))
    except Exception as error:
        if translate(error).error_code != "ResourceExistsException":
            raise
        secret = describe(client, request["SecretId"])
        if token not in (secret.version_ids_to_stages or {}):
            raise
        return SecretVersion(name=secret.name, arn=secret.arn, version_id=token)


def _shown(held: Held, key: str | None, mask: bool) -> dict[str, Any]:
    """Return what is shown of a value: all of it, one key's, or only its kind."""
    if key is not None:
        shown, kind = value_of(held.text, key)
        return {"Masked": Masked(type=kind, length=len(shown.encode()))} if mask else {"SecretValue": shown}
    if held.secret_binary is not None:
        encoded = {"SecretValue": base64.b64encode(held.secret_binary).decode(), "Encoding": "base64"}
        return {"Masked": Masked(type="binary", length=len(held.secret_binary))} if mask else encoded
    return {"Masked": _masked(held.text)} if mask else {"SecretValue": held.text}


def _masked(text: str) -> Masked:
    length = len(text.encode())
    try:
        value = parsed(text)
    except ValueError:
        return Masked(type="string", length=length)
    if not isinstance(value, dict):
        return Masked(type="string", length=length)
    return Masked(type="json", length=length, keys={key: type_of(item) for key, item in value.items()})
