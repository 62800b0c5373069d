"""AWS Secrets Manager, set-up: rotation, replication and resource policies.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from errors import InvalidParameter, is_missing, translate
from plain_words import printable
from services._policies import Policy, locks_out, parse_policy
from services._policy_decisions import lets_strangers_in, refuse_open, who_comes_in
from services._secrets import (
    KmsKeyId,
    ReplicationStatus,
    RotationRules,
    Secret,
    SecretId,
    account_of,
    describe,
    how_to_unblock,
    of_a_strangers_function,
    reach,
    unfinished,
    unread,
)
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Plan, Standing, Target, tool
from toolcall.call import Call

MAX_POLICY_BYTES = 20_480
_POLL_SECONDS = 1.0
_KEPT_FOR_THE_ANSWER_SECONDS = 2.0
_UNDER_WAY = frozenset({"InProgress", "Pending"})


def _fits_a_policy(text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_POLICY_BYTES:
        raise ValueError(f"is longer than the {MAX_POLICY_BYTES} bytes that AWS takes")
    return parse_policy(text)


LambdaArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_:$-]+$")
]
PolicyText = Annotated[str, StringConstraints(min_length=1), AfterValidator(_fits_a_policy)]
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
    advice: str | None = None


class Replication(AWSModel):
    """Each replica with its state; `failed` names the regions that AWS could not replicate to, and why."""

    arn: str
    replication_status: list[ReplicationStatus] = []
    failed: list[str] = []
    under_way: list[str] = Field(default=[], description="Regions not decided yet; describe_secret tells later")


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


def _overwrites(arguments: Mapping[str, Any], _: Standing) -> bool:
    return arguments["force_overwrite"] is True


def _by_a_strangers_function(arguments: Mapping[str, Any], standing: Standing) -> bool:
    function = arguments["rotation_lambda_arn"]
    return function is not None and standing.is_stranger(account_of(function), arguments["target"])


class SecretsAdminService(AWSServiceBase):
    """What is set up once per secret."""

    client_name = "secretsmanager"
    toolset = "secrets-admin"

    @tool(
        WRITE, "secretsmanager:RotateSecret", "secretsmanager:DescribeSecret", "lambda:InvokeFunction",
        resource="secret_id", destructive=True, check=_schedules_once, destroys_if=_by_a_strangers_function,
        looks_first=True,
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

        By a function of an account that is not configured here only with confirmation.

        Args:
            duration: The window, such as 3h
        """
        client = reach(self, target, secret_id)
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
        else:
            _check_rotates(describe(client, secret_id))
        client.rotate_secret(**request)
        return _rotation(client, secret_id)

    def plan_configure_rotation(
        self, secret_id: SecretId, target: Target, rotation_lambda_arn: LambdaArn | None
    ) -> Plan | None:
        """Say whose function rotates, where it is of an account that is not configured here."""
        if rotation_lambda_arn is not None and not self.standing.is_stranger(account_of(rotation_lambda_arn), target):
            return None
        secret = reach(self, target, secret_id).describe_secret(SecretId=secret_id)
        function = rotation_lambda_arn or secret.get("RotationLambdaARN")
        return of_a_strangers_function(self, target, secret, function)

    @tool(
        WRITE, "secretsmanager:CancelRotateSecret", "secretsmanager:DescribeSecret",
        resource="secret_id", destructive=True, idempotent=True,
    )  # fmt: skip
    def cancel_rotation(self, secret_id: SecretId, target: Target) -> RotationSetting:
        """Switch off a secret's automatic rotation. A version left pending is named in the answer."""
        client = reach(self, target, secret_id)
        client.cancel_rotate_secret(SecretId=secret_id)
        return _rotation(client, secret_id)

    @tool(
        WRITE, "secretsmanager:ReplicateSecretToRegions", "secretsmanager:CreateSecret", "secretsmanager:TagResource",
        "secretsmanager:DescribeSecret", resource="secret_id", destroys_if=_overwrites,
    )  # fmt: skip
    def replicate_secret(
        self,
        secret_id: SecretId,
        replicas: Annotated[list[Replica], Field(min_length=1, max_length=20)],
        target: Target,
        force_overwrite: bool = False,
        wait: bool = True,
    ) -> Replication:
        """Replicate a secret to other regions, and wait for the outcome. One that fails is named with AWS's reason.

        Args:
            force_overwrite: Replace a secret of the same name there, for good
        """
        regions = [replica.region for replica in replicas]
        self._check_regions(regions, target)
        if len(set(regions)) < len(regions) or Call.current().grant(target).region in regions:
            raise InvalidParameter("replicas: name each region once, and not the secret's own.")
        client = reach(self, target, secret_id)
        added = [
            {"Region": replica.region, **({"KmsKeyId": replica.kms_key_id} if replica.kms_key_id else {})}
            for replica in replicas
        ]
        answer = client.replicate_secret_to_regions(
            SecretId=secret_id, AddReplicaRegions=added, ForceOverwriteReplicaSecret=force_overwrite
        )
        begun = _replication(answer["ARN"], answer.get("ReplicationStatus", []))
        return _settled(client, begun, regions) if wait else begun

    def plan_replicate_secret(self, secret_id: SecretId, replicas: list[Replica], target: Target) -> Plan:
        """Say which secrets of the same name would be replaced."""
        name = describe(reach(self, target, secret_id), secret_id).name
        there: dict[str, Any] = {}
        for region in (replica.region for replica in replicas):
            client = self.client(target.model_copy(update={"region": region}))
            try:
                there[region] = client.describe_secret(SecretId=name)
            except Exception as error:
                if not is_missing(translate(error)):
                    raise
        state = {region: unread(found) for region, found in there.items()}
        lost = "What stands there with all its versions is replaced, and cannot be restored."
        if not there:
            lost = "No secret of that name is there now; should one come, it would be replaced for good."
        named = f"{name} in {', '.join(there or [replica.region for replica in replicas])}"
        if len(there) == 1:
            (named,) = (found["ARN"] for found in there.values())
        return Plan(target=named, will_be_lost=lost, state=state)

    @tool(
        WRITE, "secretsmanager:RemoveRegionsFromReplication", "secretsmanager:DeleteSecret",
        "secretsmanager:DescribeSecret", resource="secret_id", destructive=True,
    )  # fmt: skip
    def remove_secret_replicas(
        self,
        secret_id: SecretId,
        regions: Annotated[list[RegionName], Field(min_length=1, max_length=20)],
        target: Target,
    ) -> Replication:
        """Delete a secret's replicas in these regions; replicate_secret makes them again."""
        self._check_regions(regions, target)
        client = reach(self, target, secret_id)
        have = {replica.region for replica in describe(client, secret_id).replication_status or []}
        if strange := sorted(set(regions) - have):
            raise InvalidParameter(f"regions: the secret has no replica in {', '.join(strange)}.")
        answer = client.remove_regions_from_replication(SecretId=secret_id, RemoveReplicaRegions=regions)
        return _replication(answer["ARN"], answer.get("ReplicationStatus", []))

    @tool(
        WRITE, "secretsmanager:StopReplicationToReplica", "secretsmanager:DescribeSecret",
        resource="secret_id", destructive=True,
    )  # fmt: skip
    def promote_replica(self, secret_id: SecretId, target: Target) -> PromotedReplica:
        """Make the replica in this region a secret of its own, apart from its primary."""
        client, region = reach(self, target, secret_id), Call.current().grant(target).region
        primary = describe(client, secret_id).primary_region
        if primary in (None, region):
            raise InvalidParameter(
                f"The secret in {region} is no replica.",
                next_step="describe_secret on the primary names the regions of its replicas; call in one of those.",
            )
        return PromotedReplica(arn=client.stop_replication_to_replica(SecretId=secret_id)["ARN"], region=region)

    @tool(READ, "secretsmanager:GetResourcePolicy", resource="secret_id")
    def get_secret_policy(self, secret_id: SecretId, target: Target) -> SecretPolicy:
        """Return a secret's resource policy."""
        answer = reach(self, target, secret_id).get_resource_policy(SecretId=secret_id)
        text = answer.get("ResourcePolicy")
        return SecretPolicy(name=answer["Name"], arn=answer["ARN"], policy=json.loads(text) if text else None)

    @tool(
        WRITE, "secretsmanager:PutResourcePolicy", "secretsmanager:ValidateResourcePolicy",
        "secretsmanager:GetResourcePolicy", resource="secret_id", destructive=True, idempotent=True,
        check=refuse_open("policy", opened="opens the secret to everyone"), destroys_if=lets_strangers_in("policy"),
    )  # fmt: skip
    def put_secret_policy(self, secret_id: SecretId, policy: PolicyText, target: Target) -> SecretPolicy:
        """Set a secret's resource policy. Refused if open to everyone or locking out; confirmed for unknown accounts.

        Args:
            policy: JSON
        """
        client = reach(self, target, secret_id)
        self._refuse_lock_out(policy, target)
        _validate(client, secret_id, policy)
        answer = client.put_resource_policy(SecretId=secret_id, ResourcePolicy=policy, BlockPublicPolicy=True)
        return SecretPolicy(name=answer["Name"], arn=answer["ARN"], policy=json.loads(policy))

    def plan_put_secret_policy(self, secret_id: SecretId, policy: PolicyText, target: Target) -> Plan:
        """Say which strangers the policy lets in."""
        client = reach(self, target, secret_id)
        self._refuse_lock_out(policy, target)
        now = client.get_resource_policy(SecretId=secret_id)
        lost = who_comes_in(policy, target, to="use the secret")
        return Plan(now["ARN"], lost, {"before": now.get("ResourcePolicy")})

    @tool(WRITE, "secretsmanager:DeleteResourcePolicy", resource="secret_id", destructive=True, idempotent=True)
    def delete_secret_policy(self, secret_id: SecretId, target: Target) -> SecretPolicy:
        """Remove a secret's resource policy; access by IAM policies remains."""
        answer = reach(self, target, secret_id).delete_resource_policy(SecretId=secret_id)
        return SecretPolicy(name=answer["Name"], arn=answer["ARN"])

    def _refuse_lock_out(self, policy: str, target: Target) -> None:
        document = Policy(policy)
        if any(document.denies()) and locks_out(document, "secretsmanager:PutResourcePolicy", self._principal(target)):
            raise InvalidParameter(
                "policy: it denies secretsmanager:PutResourcePolicy to the identity that sets it, and locks it out."
            )

    def _principal(self, target: Target) -> str:
        """Return the ARN of who this call runs as: the role, where it is one."""
        call = Call.current()
        grant = call.grant(target)
        return grant.identity.role_arn or self.desk.credentials.caller_arn(grant, call.caller)

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
        reasons = "; ".join(printable(str(error.get("ErrorMessage"))) for error in checked.get("ValidationErrors", []))
        raise InvalidParameter(f"policy: AWS does not accept it: {reasons}")


def _check_rotates(secret: Secret) -> None:
    if not (secret.rotation_lambda_arn or secret.owning_service or secret.rotation_enabled):
        raise InvalidParameter("rotation_lambda_arn: the secret has no rotation function yet, so give one.")


def _rotation(client: Any, secret_id: str) -> RotationSetting:
    secret = describe(client, secret_id)
    pending = unfinished(secret)
    return RotationSetting(
        name=secret.name,
        arn=secret.arn,
        rotation_enabled=bool(secret.rotation_enabled),
        rotation_lambda_arn=secret.rotation_lambda_arn,
        rotation_rules=secret.rotation_rules,
        pending_version_id=pending,
        advice=how_to_unblock(pending) if pending and not secret.rotation_enabled else None,
    )


def _replication(arn: str, rows: Iterable[Any]) -> Replication:
    states = [ReplicationStatus.model_validate(row) for row in rows]
    return Replication(
        arn=arn,
        replication_status=states,
        failed=[
            f"{state.region}: {state.status_message or 'no reason given'}"
            for state in states
            if state.status == "Failed"
        ],
        under_way=[state.region for state in states if state.status in _UNDER_WAY],
    )


def _settled(client: Any, begun: Replication, regions: Collection[str]) -> Replication:
    """Look at a replication until each region is decided, as long as the call's deadline lets us.

    It has begun, so a look that fails is no failure of the call.
    """
    call, seen = Call.current(), begun
    end = call.trace.deadline - _KEPT_FOR_THE_ANSWER_SECONDS
    while (left := set(seen.under_way) & set(regions)) and time.monotonic() + _POLL_SECONDS < end:
        call.progress(len(regions) - len(left), len(regions), f"{', '.join(sorted(left))} under way")
        call.sleep(_POLL_SECONDS)
        try:
            rows = client.describe_secret(SecretId=begun.arn).get("ReplicationStatus", [])
            seen = _replication(begun.arn, rows)
        except Exception as error:
            if not translate(error).retryable:
                break
    return seen
