"""Amazon EC2: instances, and the tags of whatever EC2 holds.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import IncompleteAnswer, InvalidParameter
from services._ec2 import Filters, MaxResults, Rows, Token, dry, name_of, page_of
from services.base import (
    DESTROY,
    READ,
    REVEAL,
    WRITE,
    AWSModel,
    AWSServiceBase,
    NewTags,
    Plan,
    Said,
    TagKeys,
    Tags,
    Target,
    Timestamp,
    listed,
    to_aws_tags,
    tool,
)

# Ids of things that stand are AWS's to judge: most end in hex digits, a spot request's does not.
InstanceId = Annotated[str, StringConstraints(pattern=r"^i-[0-9a-f]{8,32}$")]
InstanceIds = Annotated[list[InstanceId], Field(min_length=1, max_length=50)]
ResourceIds = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)+$", max_length=255)]],
    Field(min_length=1, max_length=100),
]


class Instance(AWSModel):
    instance_id: str
    name: str | None = None
    state: str
    instance_type: str
    instance_lifecycle: str | None = None
    private_ip_address: str | None = None
    public_ip_address: str | None = None
    availability_zone: str | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None
    launch_time: Timestamp | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Instance:
        """Return an instance's row."""
        zone = row.get("Placement", {}).get("AvailabilityZone")
        return cls.model_validate(
            {**row, "Name": name_of(row), "State": row["State"]["Name"], "AvailabilityZone": zone}
        )


class Instances(Rows):
    instances: list[Instance]


class Image(AWSModel):
    image_id: str
    architecture: str | None = None
    key_name: str | None = None
    platform_details: str | None = None


class ConsoleOutput(AWSModel):
    """The end of what the instance printed."""

    instance_id: str
    output: str
    truncated: bool
    timestamp: Timestamp | None = None


class InstanceDetail(AWSModel):
    instance: Instance
    image: Image
    system_status: str | None = None
    instance_status: str | None = None
    state_reason: Said | None = None
    termination_protected: bool
    security_groups: list[str] = []
    volumes: list[str] = []


class StateChange(AWSModel):
    instance_id: str
    previous_state: str | None = None
    current_state: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> StateChange:
        """Return one instance's change."""
        return cls(
            instance_id=row["InstanceId"],
            previous_state=row["PreviousState"]["Name"],
            current_state=row["CurrentState"]["Name"],
        )


class StateChanges(AWSModel):
    """What became of each instance; nothing on a dry run that would have succeeded."""

    changes: list[StateChange]
    dry_run: bool | None = None


class TaggedResources(AWSModel):
    resource_ids: list[str]
    tags: dict[str, str] | None = None
    tag_keys: list[str] | None = None
    dry_run: bool | None = None


class EC2Service(AWSServiceBase):
    """Instances."""

    client_name = "ec2"
    toolset = "ec2"

    @tool(READ, "ec2:DescribeInstances")
    def describe_instances(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Instances:
        """List instances, a compact row each.

        Args:
            filters: Such as {"tag:Name": ["web-*"], "instance-state-name": ["running"]}
        """
        page = page_of(self.client(target), "describe_instances", filters, max_results, next_token)
        rows = [row for reservation in page["Reservations"] for row in reservation["Instances"]]
        return Instances.of([Instance.of(row) for row in rows], page)

    @tool(
        READ, "ec2:DescribeInstances", "ec2:DescribeInstanceStatus", "ec2:DescribeInstanceAttribute",
        resource="instance_id",
    )  # fmt: skip
    def describe_instance(self, instance_id: InstanceId, target: Target) -> InstanceDetail:
        """Return one instance with status checks, protection, image, volumes and why it is in its state."""
        client = self.client(target)
        (row,) = _rows(client, [instance_id])
        answer = client.describe_instance_status(InstanceIds=[instance_id], IncludeAllInstances=True)
        status: dict[str, Any] = next(iter(answer["InstanceStatuses"]), {})
        return InstanceDetail(
            instance=Instance.of(row),
            image=Image.model_validate(row),
            system_status=status.get("SystemStatus", {}).get("Status"),
            instance_status=status.get("InstanceStatus", {}).get("Status"),
            security_groups=[group["GroupId"] for group in row.get("SecurityGroups", [])],
            volumes=[m["Ebs"]["VolumeId"] for m in row.get("BlockDeviceMappings", []) if "Ebs" in m],
            state_reason=row.get("StateReason", {}).get("Message") or None,
            termination_protected=_is_protected(client, instance_id),
        )

    @tool(REVEAL, "ec2:GetConsoleOutput", resource="instance_id")
    def get_console_output(
        self,
        instance_id: InstanceId,
        target: Target,
        max_characters: Annotated[int, Field(ge=1, le=65_536)] = 4_096,
        latest: bool = False,
    ) -> ConsoleOutput:
        """Return the end of what an instance printed while it booted; it may hold passwords.

        Args:
            latest: As of now, on Nitro instances
        """
        answer = self.client(target).get_console_output(InstanceId=instance_id, **({"Latest": True} if latest else {}))
        text = answer.get("Output") or ""  # botocore has decoded it
        return ConsoleOutput(
            instance_id=answer["InstanceId"], output=text[-max_characters:], truncated=len(text) > max_characters,
            timestamp=answer.get("Timestamp"),
        )  # fmt: skip

    @tool(WRITE, "ec2:StartInstances", resource="instance_ids", idempotent=True)
    def start_instances(self, instance_ids: InstanceIds, target: Target, dry_run: bool = False) -> StateChanges:
        """Start stopped instances."""
        return self._change_state(target, "start_instances", "StartingInstances", instance_ids, dry_run)

    @tool(WRITE, "ec2:StopInstances", resource="instance_ids", destructive=True, idempotent=True)
    def stop_instances(
        self, instance_ids: InstanceIds, target: Target, force: bool = False, dry_run: bool = False
    ) -> StateChanges:
        """Stop running instances; what is on instance stores is lost."""
        return self._change_state(target, "stop_instances", "StoppingInstances", instance_ids, dry_run, Force=force)

    @tool(WRITE, "ec2:RebootInstances", "ec2:DescribeInstances", resource="instance_ids", destructive=True)
    def reboot_instances(self, instance_ids: InstanceIds, target: Target, dry_run: bool = False) -> StateChanges:
        """Reboot instances."""
        client = self.client(target)
        if not dry(lambda: client.reboot_instances(InstanceIds=instance_ids, DryRun=dry_run), dry_run):
            rows = _rows(client, instance_ids)
            changes = [StateChange(instance_id=row["InstanceId"], current_state=row["State"]["Name"]) for row in rows]
            return StateChanges(changes=changes)
        return StateChanges(changes=[], dry_run=True)

    @tool(
        DESTROY, "ec2:TerminateInstances", "ec2:DescribeInstances", "ec2:DescribeInstanceAttribute",
        resource="instance_ids", idempotent=True, voids_state=True,
    )  # fmt: skip
    def terminate_instances(self, instance_ids: InstanceIds, target: Target, dry_run: bool = False) -> StateChanges:
        """Terminate instances for good. One under termination protection is refused."""
        _refuse_protected(self.client(target), instance_ids)
        return self._change_state(target, "terminate_instances", "TerminatingInstances", instance_ids, dry_run)

    def plan_terminate_instances(self, instance_ids: InstanceIds, target: Target) -> Plan:
        """Say which instances and volumes would be gone; refuse those that are protected."""
        client = self.client(target)
        rows = _rows(client, instance_ids)
        _refuse_protected(client, instance_ids)
        doomed = [m["Ebs"]["VolumeId"] for row in rows for m in row.get("BlockDeviceMappings", []) if _goes_too(m)]
        states = ", ".join(sorted({row["State"]["Name"] for row in rows}))
        tags = sum(len(row.get("Tags", [])) for row in rows)
        lost = (
            f"{len(rows)} instance(s) ({states}) with {tags} tag(s) go, and with them their memory, their instance "
            f"stores and {len(doomed)} volume(s){f': {listed(doomed)}' if doomed else ''}."
        )
        if any(tag["Key"] == "aws:autoscaling:groupName" for row in rows for tag in row.get("Tags", [])):
            lost += " An Auto Scaling group will start others in their place."
        named = ", ".join(row["InstanceId"] for row in rows)
        return Plan(target=named, will_be_lost=lost, state={row["InstanceId"]: _state(row) for row in rows})

    @tool(WRITE, "ec2:CreateTags", resource="resource_ids", destructive=True, idempotent=True)
    def create_tags(
        self, resource_ids: ResourceIds, tags: NewTags, target: Target, dry_run: bool = False
    ) -> TaggedResources:
        """Add tags to EC2 resources, or overwrite their values."""
        client = self.client(target)
        tried = dry(lambda: client.create_tags(Resources=resource_ids, Tags=to_aws_tags(tags), DryRun=dry_run), dry_run)
        return TaggedResources(resource_ids=resource_ids, tags=tags, dry_run=tried or None)

    @tool(WRITE, "ec2:DeleteTags", resource="resource_ids", destructive=True, idempotent=True)
    def delete_tags(
        self,
        resource_ids: ResourceIds,
        tag_keys: TagKeys,
        target: Target,
        dry_run: bool = False,
    ) -> TaggedResources:
        """Remove tags from EC2 resources."""
        client, tags = self.client(target), [{"Key": key} for key in tag_keys]
        tried = dry(lambda: client.delete_tags(Resources=resource_ids, Tags=tags, DryRun=dry_run), dry_run)
        return TaggedResources(resource_ids=resource_ids, tag_keys=tag_keys, dry_run=tried or None)

    def _change_state(
        self, target: Target, operation: str, member: str, ids: list[str], dry_run: bool, **more: Any
    ) -> StateChanges:
        changed: dict[str, Any] = {}
        run = getattr(self.client(target), operation)
        if dry(lambda: changed.update(run(InstanceIds=ids, DryRun=dry_run, **more)), dry_run):
            return StateChanges(changes=[], dry_run=True)
        return StateChanges(changes=[StateChange.of(row) for row in changed[member]])


def _rows(client: Any, instance_ids: list[str]) -> list[Mapping[str, Any]]:
    """Return the instances named, in that order; AWS refuses where one of them is unknown."""
    pages = client.get_paginator("describe_instances").paginate(InstanceIds=instance_ids)
    found = {row["InstanceId"]: row for page in pages for group in page["Reservations"] for row in group["Instances"]}
    if not found.keys() >= set(instance_ids):
        raise IncompleteAnswer
    return [found[instance_id] for instance_id in dict.fromkeys(instance_ids)]


def _is_protected(client: Any, instance_id: str) -> bool:
    answer = client.describe_instance_attribute(InstanceId=instance_id, Attribute="disableApiTermination")
    return bool(answer["DisableApiTermination"].get("Value"))


def _refuse_protected(client: Any, instance_ids: list[str]) -> None:
    """AWS would terminate those in other zones than the protected one's before it refuses."""
    if protected := [instance_id for instance_id in instance_ids if _is_protected(client, instance_id)]:
        raise InvalidParameter(f"{', '.join(protected)}: under termination protection. Nothing was done.")


def _goes_too(mapping: Mapping[str, Any]) -> bool:
    return bool(mapping.get("Ebs", {}).get("DeleteOnTermination"))


def _state(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row.get(key) for key in ("State", "LaunchTime", "Tags", "BlockDeviceMappings", "ImageId")}
