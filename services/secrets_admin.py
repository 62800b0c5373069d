"""AWS Secrets Manager, set-up: rotation, replication and resource policies.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from errors import InvalidParameter, translate
from services._policies import Policy, locks_out, open_to_everyone, parse_policy
from services._secrets import PENDING, KmsKeyId, ReplicationStatus, RotationRules, Secret, SecretId
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Target, tool
from toolcall.call import Call

MAX_POLICY_BYTES = 20_480
LambdaArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_:$-]+$")
]
PolicyText = Annotated[str, StringConstraints(min_length=1, max_length=MAX_POLICY_BYTES), AfterValidator(parse_policy)]
RegionName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class Replica(BaseModel):
    """A region to replicate to, and its KMS key if not AWS's own."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    region: RegionName
    kms_key_id: KmsKeyId | None = None


class RotationSetting(AWSModel):
    """How a secret rotates now."""

    name: str
    arn: str
    rotation_enabled: bool
    rotation_lambda_arn: str | None = None
    rotation_rules: RotationRules | None = None
    pending_version_id: str | None = Field(default=None, description="AWSPENDING on a version that is not current")


class Replication(AWSModel):
    """Each replica with its state; `failed` names the regions that AWS could not replicate to."""

    arn: str
    replication_status: list[ReplicationStatus] = []
    failed: list[str] = []


class PromotedReplica(AWSModel):
    arn: str
    region: str


class SecretPolicy(AWSModel):
    name: str
    arn: str
    policy: dict[str, Any] | None = None


def _schedules_once(arguments: Mapping[str, Any]) -> None:
    days, schedule = arguments["automatically_after_days"], arguments["schedule_expression"]
    if (days is None) == (schedule is None):
        raise InvalidParameter("Give one of automatically_after_days and schedule_expression.")


class SecretsAdminService(AWSServiceBase):
    """What is set up once per secret."""

    client_name = "secretsmanager"
    toolset = "secrets-admin"

    @tool(
        WRITE, "secretsmanager:RotateSecret", "secretsmanager:DescribeSecret", "lambda:InvokeFunction",
        resource="secret_id", destructive=True, check=_schedules_once,
    )  # fmt: skip
    def configure_rotation(
        self,
        secret_id: SecretId,
        target: Target,
        rotation_lambda_arn: LambdaArn | None = None,
        automatically_after_days: Annotated[int, Field(ge=1, le=1000)] | None = None,
        schedule_expression: Annotated[str, StringConstraints(pattern=r"^(rate|cron)\(.{1,240}\)$")] | None = None,
        duration: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}h$")] | None = None,
        rotate_immediately: bool = False,
    ) -> RotationSetting:
        """Set a secret's rotation function and schedule; rotates at once only if asked.

        Args:
            duration: The window, such as 3h
        """
        client = self.client(target)
        rules = {
            "AutomaticallyAfterDays": automatically_after_days,
            "ScheduleExpression": schedule_expression,
            "Duration": duration,
        }
        request: dict[str, Any] = {
            "SecretId": secret_id,
            "RotationRules": {name: value for name, value in rules.items() if value is not None},
            "RotateImmediately": rotate_immediately,
        }
        if rotation_lambda_arn is not None:
            request["RotationLambdaARN"] = rotation_lambda_arn
        elif not Secret.model_validate(client.describe_secret(SecretId=secret_id)).rotation_lambda_arn:
            raise InvalidParameter("rotation_lambda_arn: the secret has no rotation function yet, so give one.")
        client.rotate_secret(**request)
        return _rotation(client, secret_id)

    @tool(
        WRITE, "secretsmanager:CancelRotateSecret", "secretsmanager:DescribeSecret",
        resource="secret_id", destructive=True, idempotent=True,
    )  # fmt: skip
    def cancel_rotation(self, secret_id: SecretId, target: Target) -> RotationSetting:
        """Switch off a secret's automatic rotation. A version left pending is named in the answer."""
        client = self.client(target)
        client.cancel_rotate_secret(SecretId=secret_id)
        return _rotation(client, secret_id)

    @tool(
        WRITE, "secretsmanager:ReplicateSecretToRegions", "secretsmanager:CreateSecret", "secretsmanager:TagResource",
        resource="secret_id",
    )  # fmt: skip
    def replicate_secret(
        self,
        secret_id: SecretId,
        replicas: Annotated[list[Replica], Field(min_length=1, max_length=20)],
        target: Target,
        force_overwrite: bool = False,
    ) -> Replication:
        """Replicate a secret to other regions. One that fails is named with AWS's reason.

        Args:
            force_overwrite: Replace a secret of the same name there
        """
        self._check_regions([replica.region for replica in replicas], target)
        added = [
            {"Region": replica.region, **({"KmsKeyId": replica.kms_key_id} if replica.kms_key_id else {})}
            for replica in replicas
        ]
        answer = self.client(target).replicate_secret_to_regions(
            SecretId=secret_id, AddReplicaRegions=added, ForceOverwriteReplicaSecret=force_overwrite
        )
        return _replication(answer)

    @tool(
        WRITE, "secretsmanager:RemoveRegionsFromReplication", "secretsmanager:DeleteSecret",
        resource="secret_id", destructive=True, idempotent=True,
    )  # fmt: skip
    def remove_secret_replicas(
        self,
        secret_id: SecretId,
        regions: Annotated[list[RegionName], Field(min_length=1, max_length=20)],
        target: Target,
    ) -> Replication:
        """Delete a secret's replicas in these regions; replicate_secret makes them again."""
        self._check_regions(regions, target)
        answer = self.client(target).remove_regions_from_replication(SecretId=secret_id, RemoveReplicaRegions=regions)
        return _replication(answer)

    @tool(WRITE, "secretsmanager:StopReplicationToReplica", resource="secret_id", destructive=True)
    def promote_replica(self, secret_id: SecretId, target: Target) -> PromotedReplica:
        """Make the replica in this region a secret of its own, apart from its primary."""
        answer = self.client(target).stop_replication_to_replica(SecretId=secret_id)
        return PromotedReplica(arn=answer["ARN"], region=Call.current().grant(target).region)

    @tool(READ, "secretsmanager:GetResourcePolicy", resource="secret_id")
    def get_secret_policy(self, secret_id: SecretId, target: Target) -> SecretPolicy:
        """Return a secret's resource policy."""
        answer = self.client(target).get_resource_policy(SecretId=secret_id)
        text = answer.get("ResourcePolicy")
        return SecretPolicy(name=answer["Name"], arn=answer["ARN"], policy=json.loads(text) if text else None)

    @tool(
        WRITE, "secretsmanager:PutResourcePolicy", "secretsmanager:ValidateResourcePolicy",
        resource="secret_id", destructive=True, idempotent=True,
    )  # fmt: skip
    def put_secret_policy(self, secret_id: SecretId, policy: PolicyText, target: Target) -> SecretPolicy:
        """Set a secret's resource policy. Refused if it opens the secret to everyone or locks everyone out.

        Args:
            policy: JSON
        """
        document = Policy(policy)
        if open_to_everyone(document):
            raise InvalidParameter("policy: it opens the secret to everyone: name principals, or add a condition.")
        if locks_out(document, "secretsmanager:PutResourcePolicy"):
            raise InvalidParameter(
                "policy: it denies everyone, whoever sets it included, so nobody could change it back."
            )
        client = self.client(target)
        _validate(client, secret_id, policy)
        answer = client.put_resource_policy(SecretId=secret_id, ResourcePolicy=policy, BlockPublicPolicy=True)
        return SecretPolicy(name=answer["Name"], arn=answer["ARN"], policy=json.loads(policy))

    @tool(WRITE, "secretsmanager:DeleteResourcePolicy", resource="secret_id", destructive=True, idempotent=True)
    def delete_secret_policy(self, secret_id: SecretId, target: Target) -> SecretPolicy:
        """Remove a secret's resource policy; access by IAM policies remains."""
        answer = self.client(target).delete_resource_policy(SecretId=secret_id)
        return SecretPolicy(name=answer["Name"], arn=answer["ARN"])

    def _check_regions(self, regions: list[str], target: Target) -> None:
        """Refuse a region that does not exist or is not allowed, before any change."""
        for region in regions:
            Call.current().grant(target.model_copy(update={"region": region}))


def _validate(client: Any, secret_id: str, policy: str) -> None:
    """Have AWS check a policy. Where the check itself is down, PutResourcePolicy, which checks it too, decides."""
    try:
        checked = client.validate_resource_policy(SecretId=secret_id, ResourcePolicy=policy)
    except Exception as error:
        if translate(error).retryable:
            return
        raise
    if not checked["PolicyValidationPassed"]:
        reasons = "; ".join(str(error.get("ErrorMessage")) for error in checked.get("ValidationErrors", []))
        raise InvalidParameter(f"policy: AWS does not accept it: {reasons}")


def _rotation(client: Any, secret_id: str) -> RotationSetting:
    secret = Secret.model_validate(client.describe_secret(SecretId=secret_id))
    versions = secret.version_ids_to_stages or {}
    pending = [version for version, stages in versions.items() if stages == [PENDING]]
    return RotationSetting(
        name=secret.name,
        arn=secret.arn,
        rotation_enabled=bool(secret.rotation_enabled),
        rotation_lambda_arn=secret.rotation_lambda_arn,
        rotation_rules=secret.rotation_rules,
        pending_version_id=pending[0] if pending else None,
    )


def _replication(answer: Mapping[str, Any]) -> Replication:
    states = [ReplicationStatus.model_validate(row) for row in answer.get("ReplicationStatus", [])]
    return Replication(
        arn=answer["ARN"],
        replication_status=states,
        failed=[
            f"{state.region}: {state.status_message or 'no reason given'}"
            for state in states
            if state.status == "Failed"
        ],
    )
