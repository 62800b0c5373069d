"""AWS Secrets Manager: versions, their stages, rolling back, and rotating now.

Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from errors import InvalidParameter
from services._secrets import (
    CURRENT,
    PENDING,
    PREVIOUS,
    Secret,
    SecretId,
    Token,
    VersionId,
    VersionStage,
    conflict,
    move_stage,
)
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Page, Target, Timestamp, tool
from toolcall.call import Call

_POLL_SECONDS = 1.0
_KEPT_FOR_THE_ANSWER_SECONDS = 2.0
AWS_STAGES = frozenset({CURRENT, PREVIOUS, PENDING})


class Version(AWSModel):
    version_id: str
    version_stages: list[str] = []
    created_date: Timestamp | None = None
    last_accessed_date: Timestamp | None = None
    kms_key_ids: list[str] | None = None


class Versions(Page):
    name: str
    arn: str
    versions: list[Version]
    count: int


class RolledBack(AWSModel):
    """What moved: AWSCURRENT from one version to another."""

    name: str
    arn: str
    stage: str = CURRENT
    from_version_id: str
    to_version_id: str


class MovedStage(AWSModel):
    name: str
    arn: str
    stage: str
    from_version_id: str | None = None
    to_version_id: str | None = None


class Rotation(AWSModel):
    """A rotation: `finished` when its version is the current one; else what to look at."""

    name: str
    arn: str
    version_id: str
    finished: bool
    advice: str | None = None


def _moves_a_stage(arguments: Mapping[str, Any]) -> None:
    if arguments["to_version_id"] is None and arguments["from_version_id"] is None:
        raise InvalidParameter("Give to_version_id, from_version_id or both.")
    if arguments["version_stage"] in AWS_STAGES:
        raise InvalidParameter("version_stage: AWS's own stages move by rollback_secret and rotate_secret.")


class SecretsVersionsService(AWSServiceBase):
    """A secret's versions."""

    client_name = "secretsmanager"
    toolset = "secrets"

    @tool(READ, "secretsmanager:ListSecretVersionIds", resource="secret_id")
    def list_secret_versions(
        self,
        secret_id: SecretId,
        target: Target,
        include_deprecated: bool = False,
        max_results: Annotated[int, Field(ge=1, le=100)] = 100,
        next_token: Token | None = None,
    ) -> Versions:
        """List a secret's versions and their stages, never values."""
        request: dict[str, Any] = {
            "SecretId": secret_id,
            "MaxResults": max_results,
            "IncludeDeprecated": include_deprecated,
        }
        if next_token:
            request["NextToken"] = next_token
        page = self.client(target).list_secret_version_ids(**request)
        versions = [Version.model_validate(row) for row in page["Versions"]]
        following = page.get("NextToken") or None
        return Versions(
            name=page["Name"],
            arn=page["ARN"],
            versions=versions,
            count=len(versions),
            truncated=following is not None,
            next_token=following,
        )

    @tool(
        WRITE,
        "secretsmanager:DescribeSecret",
        "secretsmanager:UpdateSecretVersionStage",
        resource="secret_id",
        destructive=True,
    )
    def rollback_secret(self, secret_id: SecretId, target: Target, version_id: VersionId | None = None) -> RolledBack:
        """Make the previous version of a secret the current one, or the version named."""
        client = self.client(target)
        secret = Secret.model_validate(client.describe_secret(SecretId=secret_id))
        current, previous = bearer(secret, CURRENT), bearer(secret, PREVIOUS)
        to_version = version_id or previous
        if current is None or to_version is None:
            raise InvalidParameter("The secret has no previous version to go back to.")
        if to_version not in (secret.version_ids_to_stages or {}):
            raise InvalidParameter("version_id: the secret has no such version with a stage.")
        if to_version == current:
            raise InvalidParameter("version_id: that is the current version.")
        move_stage(client, secret.arn, CURRENT, to_version, current)
        return RolledBack(name=secret.name, arn=secret.arn, from_version_id=current, to_version_id=to_version)

    @tool(
        WRITE,
        "secretsmanager:DescribeSecret",
        "secretsmanager:UpdateSecretVersionStage",
        resource="secret_id",
        destructive=True,
        idempotent=True,
        check=_moves_a_stage,
    )
    def update_secret_version_stage(
        self,
        secret_id: SecretId,
        version_stage: VersionStage,
        target: Target,
        to_version_id: VersionId | None = None,
        from_version_id: VersionId | None = None,
    ) -> MovedStage:
        """Put a stage of your own on a version, move it, or take it off."""
        client = self.client(target)
        secret = Secret.model_validate(client.describe_secret(SecretId=secret_id))
        present = bearer(secret, version_stage)
        if from_version_id is not None and present != from_version_id:
            raise conflict()
        if to_version_id is not None:
            move_stage(client, secret.arn, version_stage, to_version_id, present if present != to_version_id else None)
        else:
            client.update_secret_version_stage(
                SecretId=secret.arn, VersionStage=version_stage, RemoveFromVersionId=from_version_id
            )
        return MovedStage(
            name=secret.name,
            arn=secret.arn,
            stage=version_stage,
            from_version_id=present,
            to_version_id=to_version_id,
        )

    @tool(
        WRITE,
        "secretsmanager:DescribeSecret",
        "secretsmanager:RotateSecret",
        resource="secret_id",
        destructive=True,
    )
    def rotate_secret(self, secret_id: SecretId, target: Target, wait: bool = True) -> Rotation:
        """Rotate a secret now, by its rotation function, and wait for the outcome."""
        client = self.client(target)
        secret = Secret.model_validate(client.describe_secret(SecretId=secret_id))
        if not (secret.rotation_lambda_arn or secret.owning_service):
            raise InvalidParameter(
                "The secret has no rotation function.",
                next_step="Set one with configure_rotation (toolset secrets-admin).",
            )
        pending = bearer(secret, PENDING)
        if pending is not None and pending != bearer(secret, CURRENT):
            raise InvalidParameter(
                "An earlier rotation has not finished: AWSPENDING stands on another version than AWSCURRENT.",
                next_step="Look at the rotation function's log, then cancel_rotation or finish it.",
            )
        version = str(client.rotate_secret(SecretId=secret.arn, RotateImmediately=True)["VersionId"])
        finished = wait and self._wait(client, secret.arn, version)
        advice = None if finished else "Not finished yet: describe_secret shows when AWSCURRENT is on this version."
        return Rotation(name=secret.name, arn=secret.arn, version_id=version, finished=finished, advice=advice)

    def _wait(self, client: Any, arn: str, version: str) -> bool:
        """Wait for a version to become current, as long as the call's deadline lets us."""
        call = Call.current()
        started, end = time.monotonic(), call.trace.deadline - _KEPT_FOR_THE_ANSWER_SECONDS
        while True:
            if bearer(Secret.model_validate(client.describe_secret(SecretId=arn)), CURRENT) == version:
                return True
            if time.monotonic() + _POLL_SECONDS >= end:
                return False
            call.progress(round(time.monotonic() - started), None, "rotating")
            time.sleep(_POLL_SECONDS)


def bearer(secret: Secret, stage: str) -> str | None:
    """Return the version that bears a stage."""
    versions = secret.version_ids_to_stages or {}
    return next((version for version, stages in versions.items() if stage in stages), None)
