"""AWS Secrets Manager: versions, their stages, rolling back, and rotating now.

Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from errors import InvalidParameter, translate
from services._secret_values import conflict, move_stage
from services._secrets import (
    CURRENT,
    PENDING,
    PREVIOUS,
    Secret,
    SecretId,
    Token,
    VersionId,
    VersionStage,
    bearer,
    describe,
    how_to_unblock,
    of_a_strangers_function,
    reach,
    unfinished,
    versions_of,
)
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Page, Plan, Target, Timestamp, tool
from toolcall.call import Call

_POLL_SECONDS = 1.0
_KEPT_FOR_THE_ANSWER_SECONDS = 2.0
# A rotation function runs four steps of at most 15 minutes each.
_STUCK_AFTER = timedelta(hours=1)


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
    advice: str | None = Field(default=None, description="Where a rotation looks stuck")


class RolledBack(AWSModel):
    """What moved: AWSCURRENT from one version to another, which bears AWSPREVIOUS from now on."""

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
    stage, puts = arguments["version_stage"], arguments["to_version_id"] is not None
    if stage in (CURRENT, PREVIOUS) or (stage == PENDING and puts):
        raise InvalidParameter(
            f"version_stage: AWS's own stages move by rollback_secret and rotate_secret; {PENDING} can be taken off."
        )


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
        page = reach(self, target, secret_id).list_secret_version_ids(**request)
        versions = [Version.model_validate(row) for row in page["Versions"]]
        following = page.get("NextToken") or None
        return Versions(
            name=page["Name"],
            arn=page["ARN"],
            versions=versions,
            count=len(versions),
            truncated=following is not None,
            next_token=following,
            advice=_advice_on_pending(versions),
        )

    @tool(
        WRITE,
        "secretsmanager:DescribeSecret",
        "secretsmanager:ListSecretVersionIds",
        "secretsmanager:UpdateSecretVersionStage",
        resource="secret_id",
        destructive=True,
    )
    def rollback_secret(self, secret_id: SecretId, target: Target, version_id: VersionId | None = None) -> RolledBack:
        """Make the previous version of a secret the current one, or the version named."""
        client = reach(self, target, secret_id)
        secret = describe(client, secret_id)
        current, to_version = bearer(secret, CURRENT), version_id or bearer(secret, PREVIOUS)
        if current is None or to_version is None:
            raise InvalidParameter("The secret has no previous version to go back to.")
        if to_version == current:
            raise InvalidParameter("version_id: that is the current version.")
        if to_version == unfinished(secret):
            raise InvalidParameter("version_id: a rotation that has not ended is making that version.")
        if not _exists(client, secret, to_version):
            raise InvalidParameter("version_id: the secret has no such version.", next_step="list_secret_versions.")
        move_stage(client, secret.arn, CURRENT, to_version, current)
        return RolledBack(name=secret.name, arn=secret.arn, from_version_id=current, to_version_id=to_version)

    @tool(
        WRITE,
        "secretsmanager:DescribeSecret",
        "secretsmanager:ListSecretVersionIds",
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
        """Put a stage of your own on a version, move it, or take it off; a stuck AWSPENDING too."""
        client = reach(self, target, secret_id)
        secret = describe(client, secret_id)
        present = bearer(secret, version_stage)
        if from_version_id is not None and present != from_version_id:
            raise conflict()
        if to_version_id is not None and not _exists(client, secret, to_version_id):
            raise InvalidParameter("to_version_id: the secret has no such version.", next_step="list_secret_versions.")
        if present != to_version_id:
            move_stage(client, secret.arn, version_stage, to_version_id, present)
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
        looks_first=True,
    )
    def rotate_secret(self, secret_id: SecretId, target: Target, wait: bool = True) -> Rotation:
        """Rotate a secret now, by its rotation function, and wait for the outcome."""
        client = reach(self, target, secret_id)
        secret = describe(client, secret_id)
        if not (secret.rotation_lambda_arn or secret.owning_service or secret.rotation_enabled):
            raise InvalidParameter(
                "The secret has no rotation function.",
                next_step="Set one with configure_rotation (toolset secrets-admin).",
            )
        if (pending := unfinished(secret)) is not None:
            raise InvalidParameter(
                f"An earlier rotation has not ended: {PENDING} is on version {pending}, which is not the current one.",
                next_step=how_to_unblock(pending),
            )
        version = str(client.rotate_secret(SecretId=secret.arn, RotateImmediately=True)["VersionId"])
        seen = self._wait(client, secret, version) if wait else None
        finished = seen is not None and bearer(seen, CURRENT) == version
        advice = None if finished else _advice(seen, version)
        return Rotation(name=secret.name, arn=secret.arn, version_id=version, finished=finished, advice=advice)

    def plan_rotate_secret(self, secret_id: SecretId, target: Target) -> Plan | None:
        """Say whose function rotates, where it is of an account that is not configured here."""
        secret = reach(self, target, secret_id).describe_secret(SecretId=secret_id)
        return of_a_strangers_function(self, target, secret, secret.get("RotationLambdaARN"))

    def _wait(self, client: Any, secret: Secret, version: str) -> Secret | None:
        """Look at a secret until the version is current or given up, as long as the call's deadline lets us.

        The rotation has begun, so a look that fails is no failure of the call: None is what was seen then.
        """
        call = Call.current()
        started, end = time.monotonic(), call.trace.deadline - _KEPT_FOR_THE_ANSWER_SECONDS
        total, seen, begun = max(round(end - started), 1), None, False
        while time.monotonic() < end:
            try:
                seen = describe(client, secret.arn)
            except Exception as error:
                if not translate(error).retryable:
                    return None
            else:
                pending = unfinished(seen) == version
                if bearer(seen, CURRENT) == version or (begun and not pending):
                    return seen
                begun = begun or pending
            call.progress(round(min(time.monotonic() - started, total), 1), total, "rotating")
            call.sleep(min(_POLL_SECONDS, max(end - time.monotonic(), 0)))
        return seen


def _exists(client: Any, secret: Secret, version: str) -> bool:
    """Tell whether a secret has a version; one without a stage is not in its metadata."""
    if version in (secret.version_ids_to_stages or {}):
        return True
    return any(row["VersionId"] == version for row in versions_of(client, secret.arn))


def _advice(seen: Secret | None, version: str) -> str:
    """Return what to look at where a rotation was begun and its version is not current."""
    if seen is None:
        return "Begun; describe_secret shows when AWSCURRENT is on this version."
    if unfinished(seen) == version:
        return f"Not ended yet; describe_secret shows when it has. If it stays so: {how_to_unblock(version)}"
    return "The rotation did not make this version current: read the rotation function's log in CloudWatch."


def _advice_on_pending(versions: list[Version]) -> str | None:
    """Return what to do about a version that has been pending for longer than a rotation takes."""
    for version in versions:
        if PENDING in version.version_stages and CURRENT not in version.version_stages:
            begun = version.created_date or datetime.now(UTC)
            if datetime.now(UTC) - begun > _STUCK_AFTER:
                advice = how_to_unblock(version.version_id)
                return f"A rotation has been pending since {begun:%Y-%m-%d %H:%M} UTC. {advice}"
    return None
