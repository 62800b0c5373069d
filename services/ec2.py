"""Amazon EC2: instances, their security groups, volumes, snapshots, tags and addresses.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
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
    StateChange,
    StateChanges,
    Subnet,
    Subnets,
    TaggedResources,
    Volume,
    Volumes,
    Vpc,
    Vpcs,
    filters,
    name_of,
)
from services.base import DESTROY, READ, WRITE, AWSServiceBase, Plan, Target, tool
from toolcall.call import Call
from toolcall.fanout import gather

_CONSOLE_BYTES = 4_096


def _is_an_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("is not an IP address") from None


InstanceId = Annotated[str, StringConstraints(pattern=r"^i-([0-9a-f]{8}|[0-9a-f]{17})$")]
InstanceIds = Annotated[list[InstanceId], Field(min_length=1, max_length=50)]
VolumeId = Annotated[str, StringConstraints(pattern=r"^vol-([0-9a-f]{8}|[0-9a-f]{17})$")]
ResourceIds = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[a-z]{1,12}-[0-9a-f]{8,17}$")]],
    Field(min_length=1, max_length=100),
]
Filters = dict[Annotated[str, StringConstraints(min_length=1, max_length=128)], list[str]]
NewTags = Annotated[dict[str, str], Field(min_length=1, max_length=50)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
MaxResults = Annotated[int, Field(ge=5, le=1000)]
Address = Annotated[str, AfterValidator(_is_an_address)]


def _tags_are_not_awss(arguments: Mapping[str, Any]) -> None:
    keys = list(arguments.get("tags") or arguments.get("tag_keys") or [])
    if any(key.lower().startswith("aws:") or not 1 <= len(key) <= 128 for key in keys):
        raise InvalidParameter("A tag's key has 1 to 128 characters, and does not start with aws:.")


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
        "ec2:GetConsoleOutput", resource="instance_id",
    )  # fmt: skip
    def describe_instance(
        self, instance_id: InstanceId, target: Target, console_output: bool = False
    ) -> InstanceDetail:
        """Return one instance with status checks, protection, and the end of its console output if asked."""
        client = self.client(target)
        row = _one(client, instance_id)
        status = client.describe_instance_status(InstanceIds=[instance_id], IncludeAllInstances=True)[
            "InstanceStatuses"
        ]
        protection = client.describe_instance_attribute(InstanceId=instance_id, Attribute="disableApiTermination")
        checks = {
            "system_status": status[0].get("SystemStatus", {}).get("Status") if status else None,
            "instance_status": status[0].get("InstanceStatus", {}).get("Status") if status else None,
        }
        return InstanceDetail(
            instance=Instance.of(row),
            image=Image.model_validate(row),
            security_groups=[group["GroupId"] for group in row.get("SecurityGroups", [])],
            volumes=[m["Ebs"]["VolumeId"] for m in row.get("BlockDeviceMappings", []) if "Ebs" in m],
            state_reason=row.get("StateReason", {}).get("Message"),
            termination_protected=bool(protection["DisableApiTermination"].get("Value")),
            console=_console(client, instance_id) if console_output else None,
            **checks,
        )

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
            rows = [_one(client, instance_id) for instance_id in instance_ids]
            changes = [StateChange(instance_id=row["InstanceId"], current_state=row["State"]["Name"]) for row in rows]
            return StateChanges(changes=changes)
        return StateChanges(changes=[], dry_run=True)

    @tool(
        DESTROY, "ec2:TerminateInstances", "ec2:DescribeInstances", "ec2:DescribeInstanceAttribute",
        resource="instance_ids", idempotent=True,
    )  # fmt: skip
    def terminate_instances(self, instance_ids: InstanceIds, target: Target, dry_run: bool = False) -> StateChanges:
        """Terminate instances for good. One under termination protection is refused."""
        return self._change_state(target, "terminate_instances", "TerminatingInstances", instance_ids, dry_run)

    def plan_terminate_instances(self, instance_ids: InstanceIds, target: Target) -> Plan:
        """Say which instances would be gone; refuse those that are protected."""
        client = self.client(target)
        rows = [_one(client, instance_id) for instance_id in instance_ids]
        for row in rows:
            answer = client.describe_instance_attribute(InstanceId=row["InstanceId"], Attribute="disableApiTermination")
            if answer["DisableApiTermination"].get("Value"):
                raise InvalidParameter(f"{row['InstanceId']} is under termination protection. Nothing was done.")
        named = [f"{row['InstanceId']} ({name_of(row) or 'no name'}, {row['State']['Name']})" for row in rows]
        doomed = [m["Ebs"]["VolumeId"] for row in rows for m in row.get("BlockDeviceMappings", []) if _goes_too(m)]
        lost = f"The instance(s), what is in their memory and on instance stores, and {len(doomed)} volume(s) are gone."
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
    ) -> Snapshot:
        """Start a snapshot of a volume. AWS has no client token here: on OutcomeUnknown list snapshots first."""
        request: dict[str, Any] = {"VolumeId": volume_id, "Description": description or "", "DryRun": dry_run}
        if tags:
            request["TagSpecifications"] = [{"ResourceType": "snapshot", "Tags": _to_aws(tags)}]
        client = self.client(target)
        made: dict[str, Any] = {}
        if _dry(lambda: made.update(client.create_snapshot(**request)), dry_run):
            return Snapshot(snapshot_id="dry-run", volume_id=volume_id, state="dry-run")
        return Snapshot.model_validate(made)

    @tool(WRITE, "ec2:CreateTags", resource="resource_ids", destructive=True, idempotent=True, check=_tags_are_not_awss)
    def create_tags(self, resource_ids: ResourceIds, tags: NewTags, target: Target) -> TaggedResources:
        """Add tags to EC2 resources, or overwrite their values."""
        self.client(target).create_tags(Resources=resource_ids, Tags=_to_aws(tags))
        return TaggedResources(resource_ids=resource_ids, tags=tags)

    @tool(WRITE, "ec2:DeleteTags", resource="resource_ids", destructive=True, idempotent=True, check=_tags_are_not_awss)
    def delete_tags(
        self,
        resource_ids: ResourceIds,
        tag_keys: Annotated[list[str], Field(min_length=1, max_length=50)],
        target: Target,
    ) -> TaggedResources:
        """Remove tags from EC2 resources."""
        self.client(target).delete_tags(Resources=resource_ids, Tags=[{"Key": key} for key in tag_keys])
        return TaggedResources(resource_ids=resource_ids, tag_keys=tag_keys)

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

    @tool(READ, "ec2:DescribeNetworkInterfaces")
    def find_ip_owner(
        self,
        address: Address,
        target: Target,
        regions: Annotated[list[str], Field(min_length=1, max_length=20)] | None = None,
    ) -> FoundAddresses:
        """Find which configured account and network interface holds an address, in the call's region or those given."""
        call = Call.current()
        here = call.grant(target).region
        targets = [
            Target(account=account.name, region=region)
            for account in self.desk.policy.accounts_of(call.caller)
            for region in regions or [here]
        ]
        gathered = gather(targets, lambda one: _holders(self.client(one), one, address))
        found = [holder for _, holders in gathered.answers for holder in holders]
        return FoundAddresses(address=address, found=found, asked=len(targets), failures=gathered.failures)

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


def _one(client: Any, instance_id: str) -> Mapping[str, Any]:
    (reservation,) = client.describe_instances(InstanceIds=[instance_id])["Reservations"]
    row: Mapping[str, Any] = reservation["Instances"][0]
    return row


def _goes_too(mapping: Mapping[str, Any]) -> bool:
    return bool(mapping.get("Ebs", {}).get("DeleteOnTermination"))


def _state(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row.get(key) for key in ("State", "LaunchTime", "Tags", "BlockDeviceMappings", "ImageId")}


def _console(client: Any, instance_id: str) -> ConsoleOutput:
    answer = client.get_console_output(InstanceId=instance_id)
    text = answer.get("Output") or ""
    try:
        text = base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except ValueError:  # botocore has decoded it already
        pass
    return ConsoleOutput(
        output=text[-_CONSOLE_BYTES:], truncated=len(text) > _CONSOLE_BYTES, timestamp=answer.get("Timestamp")
    )


def _holders(client: Any, target: Target, address: str) -> list[FoundAddress]:
    found: dict[str, FoundAddress] = {}
    for name in _filters_for(address):
        answer = client.describe_network_interfaces(Filters=[{"Name": name, "Values": [address]}])
        for row in answer["NetworkInterfaces"]:
            found[row["NetworkInterfaceId"]] = FoundAddress.of(row, target)
    return list(found.values())


def _filters_for(address: str) -> list[str]:
    """Return where AWS keeps such an address: a public one may be a private one of somebody's VPC as well."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6:
        return ["ipv6-addresses.ipv6-address"]
    inside = ["addresses.private-ip-address"]
    return inside if parsed.is_private else ["addresses.association.public-ip", *inside]


def _to_aws(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
