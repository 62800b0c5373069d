"""Amazon EC2: instances, their security groups, volumes, snapshots, tags and addresses.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from errors import InvalidParameter, translate
from services._ec2 import (
    ConsoleOutput,
    FoundAddress,
    FoundAddresses,
    Image,
    Instance,
    InstanceDetail,
    Instances,
    SecurityGroup,
    SecurityGroups,
    Snapshot,
    Snapshots,
    StartedSnapshot,
    StateChange,
    StateChanges,
    Subnet,
    Subnets,
    TaggedResources,
    Volume,
    Volumes,
    Vpc,
    Vpcs,
    allocated,
    filters,
    name_of,
)
from services.base import DESTROY, READ, REVEAL, WRITE, AWSServiceBase, Plan, Target, tool
from toolcall.call import Call
from toolcall.fanout import gather


def _is_an_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("is not an IP address") from None


InstanceId = Annotated[str, StringConstraints(pattern=r"^i-([0-9a-f]{8}|[0-9a-f]{17})$")]
InstanceIds = Annotated[list[InstanceId], Field(min_length=1, max_length=50)]
VolumeId = Annotated[str, StringConstraints(pattern=r"^vol-([0-9a-f]{8}|[0-9a-f]{17})$")]
ResourceIds = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{1,12}(-[a-z0-9]{1,12}){0,3}-[0-9a-f]{8,17}$")]],
    Field(min_length=1, max_length=100),
]
Filters = dict[
    Annotated[str, StringConstraints(min_length=1, max_length=128)], Annotated[list[str], Field(min_length=1)]
]
NewTags = Annotated[dict[str, str], Field(min_length=1, max_length=50)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
MaxResults = Annotated[int, Field(ge=5, le=1000)]
Address = Annotated[str, AfterValidator(_is_an_address)]


def _tags_are_not_awss(arguments: Mapping[str, Any]) -> None:
    keys = list(arguments.get("tags") or arguments.get("tag_keys") or [])
    if any(key.lower().startswith("aws:") or not 1 <= len(key) <= 128 for key in keys):
        raise InvalidParameter("A tag's key has 1 to 128 characters, and does not start with aws:.")
    if any(len(value) > 256 for value in (arguments.get("tags") or {}).values()):
        raise InvalidParameter("A tag's value has at most 256 characters.")


class EC2Service(AWSServiceBase):
    """Instances and what is around them."""

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
        page = self._page(target, "describe_instances", filters, max_results, next_token)
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
        text = _decoded(answer.get("Output") or "")
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
        if not _dry(lambda: client.reboot_instances(InstanceIds=instance_ids, DryRun=dry_run), dry_run):
            rows = _rows(client, instance_ids)
            changes = [StateChange(instance_id=row["InstanceId"], current_state=row["State"]["Name"]) for row in rows]
            return StateChanges(changes=changes)
        return StateChanges(changes=[], dry_run=True)

    @tool(
        DESTROY, "ec2:TerminateInstances", "ec2:DescribeInstances", "ec2:DescribeInstanceAttribute",
        resource="instance_ids", idempotent=True,
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
        named = [f"{row['InstanceId']} ({name_of(row) or 'no name'}, {row['State']['Name']})" for row in rows]
        doomed = [m["Ebs"]["VolumeId"] for row in rows for m in row.get("BlockDeviceMappings", []) if _goes_too(m)]
        lost = f"The instance(s), their memory and instance stores, and the volumes {', '.join(doomed) or '(none)'} go."
        if any(tag["Key"] == "aws:autoscaling:groupName" for row in rows for tag in row.get("Tags", [])):
            lost += " An Auto Scaling group will start others in their place."
        return Plan(target=", ".join(named), will_be_lost=lost, state={row["InstanceId"]: _state(row) for row in rows})

    @tool(READ, "ec2:DescribeSecurityGroups")
    def describe_security_groups(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> SecurityGroups:
        """List security groups with their rules."""
        page = self._page(target, "describe_security_groups", filters, max_results, next_token)
        return SecurityGroups.of([SecurityGroup.of(row) for row in page["SecurityGroups"]], page)

    @tool(READ, "ec2:DescribeVolumes")
    def describe_volumes(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Volumes:
        """List volumes and what they are attached to."""
        page = self._page(target, "describe_volumes", filters, max_results, next_token)
        return Volumes.of([Volume.of(row) for row in page["Volumes"]], page)

    @tool(READ, "ec2:DescribeSnapshots")
    def describe_snapshots(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Snapshots:
        """List the account's own snapshots."""
        page = self._page(target, "describe_snapshots", filters, max_results, next_token, OwnerIds=["self"])
        return Snapshots.of([Snapshot.model_validate(row) for row in page["Snapshots"]], page)

    @tool(WRITE, "ec2:CreateSnapshot", "ec2:CreateTags", resource="volume_id", check=_tags_are_not_awss)
    def create_snapshot(
        self,
        volume_id: VolumeId,
        target: Target,
        description: Annotated[str, StringConstraints(max_length=255)] | None = None,
        tags: NewTags | None = None,
        dry_run: bool = False,
    ) -> StartedSnapshot:
        """Start a snapshot of a volume. AWS has no client token here: on OutcomeUnknown list snapshots first."""
        request: dict[str, Any] = {"VolumeId": volume_id, "Description": description or "", "DryRun": dry_run}
        if tags:
            request["TagSpecifications"] = [{"ResourceType": "snapshot", "Tags": _to_aws(tags)}]
        client = self.client(target)
        made: dict[str, Any] = {}
        if _dry(lambda: made.update(client.create_snapshot(**request)), dry_run):
            return StartedSnapshot(volume_id=volume_id, dry_run=True)
        return StartedSnapshot.model_validate({**made, "SnapshotId": made["SnapshotId"], "State": made["State"]})

    @tool(WRITE, "ec2:CreateTags", resource="resource_ids", destructive=True, idempotent=True, check=_tags_are_not_awss)
    def create_tags(
        self, resource_ids: ResourceIds, tags: NewTags, target: Target, dry_run: bool = False
    ) -> TaggedResources:
        """Add tags to EC2 resources, or overwrite their values."""
        client = self.client(target)
        tried = _dry(lambda: client.create_tags(Resources=resource_ids, Tags=_to_aws(tags), DryRun=dry_run), dry_run)
        return TaggedResources(resource_ids=resource_ids, tags=tags, dry_run=tried or None)

    @tool(WRITE, "ec2:DeleteTags", resource="resource_ids", destructive=True, idempotent=True, check=_tags_are_not_awss)
    def delete_tags(
        self,
        resource_ids: ResourceIds,
        tag_keys: Annotated[list[str], Field(min_length=1, max_length=50)],
        target: Target,
        dry_run: bool = False,
    ) -> TaggedResources:
        """Remove tags from EC2 resources."""
        client, tags = self.client(target), [{"Key": key} for key in tag_keys]
        tried = _dry(lambda: client.delete_tags(Resources=resource_ids, Tags=tags, DryRun=dry_run), dry_run)
        return TaggedResources(resource_ids=resource_ids, tag_keys=tag_keys, dry_run=tried or None)

    @tool(READ, "ec2:DescribeVpcs")
    def describe_vpcs(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Vpcs:
        """List VPCs."""
        page = self._page(target, "describe_vpcs", filters, max_results, next_token)
        return Vpcs.of([Vpc.of(row) for row in page["Vpcs"]], page)

    @tool(READ, "ec2:DescribeSubnets")
    def describe_subnets(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Subnets:
        """List subnets and their free addresses."""
        page = self._page(target, "describe_subnets", filters, max_results, next_token)
        return Subnets.of([Subnet.of(row) for row in page["Subnets"]], page)

    @tool(READ, "ec2:DescribeNetworkInterfaces", "ec2:DescribeAddresses", everywhere=True)
    def find_ip_owner(
        self,
        address: Address,
        target: Target,
        regions: Annotated[list[str], Field(min_length=1, max_length=20)] | None = None,
    ) -> FoundAddresses:
        """Find which account and interface, or unattached Elastic IP, holds an address.

        Asks every configured account, or the one named; in the regions given, else the account's own.
        """
        targets = self._asked(target, regions)
        gathered = gather(targets, lambda one: _holders(self.client(one), one, self._region(one), address))
        found = [holder for _, holders in gathered.answers for holder in holders]
        return FoundAddresses(address=address, found=found, asked=len(targets), failures=gathered.failures)

    def _asked(self, target: Target, regions: list[str] | None) -> list[Target]:
        """Return the targets that a search over accounts is meant to ask."""
        accounts = self.desk.policy.accounts_of(Call.current().caller)
        given: Sequence[str | None] | None = regions or ([target.region] if target.region else None)
        if target.account or target.profile or target.role_arn or not accounts:
            return [target.model_copy(update={"region": region}) for region in given or (None,)]
        return [
            Target(account=account.name, region=region)
            for account in accounts
            for region in given or account.regions or (account.region,)
        ]

    def _region(self, target: Target) -> str:
        return Call.current().grant(target).region

    def _page(
        self, target: Target, operation: str, given: Filters | None, size: int, token: str | None, **more: Any
    ) -> Any:
        request = {"Filters": filters(given), "MaxResults": size, **more}
        if token:
            request["NextToken"] = token
        return getattr(self.client(target), operation)(**request)

    def _change_state(
        self, target: Target, operation: str, member: str, ids: list[str], dry_run: bool, **more: Any
    ) -> StateChanges:
        changed: dict[str, Any] = {}
        run = getattr(self.client(target), operation)
        if _dry(lambda: changed.update(run(InstanceIds=ids, DryRun=dry_run, **more)), dry_run):
            return StateChanges(changes=[], dry_run=True)
        return StateChanges(changes=[StateChange.of(row) for row in changed[member]])


def _dry(run: Any, dry_run: bool) -> bool:
    """Run, and tell whether it was only tried: AWS answers a dry run that would succeed with an error."""
    try:
        run()
    except Exception as error:
        if dry_run and translate(error).error_code == "DryRunOperation":
            return True
        raise
    return dry_run


def _rows(client: Any, instance_ids: list[str]) -> list[Mapping[str, Any]]:
    """Return the instances named, in that order; AWS refuses where one of them is unknown."""
    pages = client.get_paginator("describe_instances").paginate(InstanceIds=instance_ids)
    found = {row["InstanceId"]: row for page in pages for group in page["Reservations"] for row in group["Instances"]}
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


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError:  # botocore has decoded it already
        return text


def _holders(client: Any, target: Target, region: str, address: str) -> list[FoundAddress]:
    found: dict[str, FoundAddress] = {}
    for name in _filters_for(address):
        pages = client.get_paginator("describe_network_interfaces").paginate(
            Filters=[{"Name": name, "Values": [address]}]
        )
        for row in [row for page in pages for row in page["NetworkInterfaces"]]:
            found[row["NetworkInterfaceId"]] = FoundAddress.of(row, target, region)
    if found or ipaddress.ip_address(address).version == 6:
        return list(found.values())
    rows = client.describe_addresses(Filters=[{"Name": "public-ip", "Values": [address]}])["Addresses"]
    return [allocated(row, target, region) for row in rows]


def _filters_for(address: str) -> list[str]:
    """Return where AWS keeps such an address: a public one may be a private one of somebody's VPC as well."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6:
        return ["ipv6-addresses.ipv6-address"]
    inside = ["addresses.private-ip-address"]
    return inside if parsed.is_private else ["addresses.association.public-ip", *inside]


def _to_aws(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
