"""EC2's results: a compact row per thing, with its Name tag in front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field

from access.identity import Target
from services.base import AWSModel, Page, Tags, Timestamp
from toolcall.fanout import TargetFailure

P = TypeVar("P", bound="_Rows")


def filters(given: Mapping[str, Sequence[str]] | None) -> list[dict[str, Any]]:
    """Return filters as AWS takes them."""
    return [{"Name": name, "Values": list(values)} for name, values in (given or {}).items()]


def name_of(row: Mapping[str, Any]) -> str | None:
    """Return the value of the Name tag."""
    return next((tag["Value"] for tag in row.get("Tags", []) if tag["Key"] == "Name"), None)


class _Rows(Page):
    """A page of rows; its subclasses say of what."""

    count: int

    @classmethod
    def of(cls: type[P], rows: Sequence[AWSModel], page: Mapping[str, Any]) -> P:
        """Return a page from its rows and AWS's answer."""
        following = page.get("NextToken") or None
        field = next(name for name in cls.model_fields if name not in Page.model_fields and name != "count")
        content: dict[str, Any] = {field: list(rows), "count": len(rows)}
        return cls(**content, truncated=following is not None, next_token=following)


class Instance(AWSModel):
    instance_id: str
    name: str | None = None
    state: str
    instance_type: str
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


class Instances(_Rows):
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
    state_reason: str | None = None
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


class Rule(AWSModel):
    """One rule of a security group: from whom, over what, to which ports. All ports where none are named."""

    ip_protocol: str
    from_port: int | None = None
    to_port: int | None = None
    sources: list[str]
    descriptions: dict[str, str] = Field(default={}, description="Of those sources that have one")


class SecurityGroup(AWSModel):
    group_id: str
    group_name: str
    description: str | None = None
    vpc_id: str | None = None
    ingress: list[Rule]
    egress: list[Rule]
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> SecurityGroup:
        """Return a group with its rules."""
        ingress, egress = rules(row["IpPermissions"]), rules(row.get("IpPermissionsEgress", []))
        return cls.model_validate({**row, "Ingress": ingress, "Egress": egress})


class SecurityGroups(_Rows):
    security_groups: list[SecurityGroup]


def rules(permissions: Sequence[Mapping[str, Any]]) -> list[Rule]:
    """Return AWS's permissions as rules."""
    return [_rule(row) for row in permissions]


# Where a permission keeps its sources of each kind, and under which name.
_SOURCES = {
    "IpRanges": "CidrIp", "Ipv6Ranges": "CidrIpv6", "UserIdGroupPairs": "GroupId", "PrefixListIds": "PrefixListId",
}  # fmt: skip


def _rule(row: Mapping[str, Any]) -> Rule:
    found = [(item[name], item) for kind, name in _SOURCES.items() for item in row.get(kind, []) if name in item]
    described = {source: item["Description"] for source, item in found if item.get("Description")}
    return Rule.model_validate({**row, "Sources": [source for source, _ in found], "Descriptions": described})


class Volume(AWSModel):
    volume_id: str
    name: str | None = None
    state: str
    size: int
    volume_type: str | None = None
    encrypted: bool | None = None
    availability_zone: str | None = None
    attached_to: list[str] = []
    create_time: Timestamp | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Volume:
        """Return a volume's row; its size is in GiB."""
        attached = [item["InstanceId"] for item in row.get("Attachments", []) if "InstanceId" in item]
        return cls.model_validate({**row, "Name": name_of(row), "AttachedTo": attached})


class Volumes(_Rows):
    volumes: list[Volume]


class Snapshot(AWSModel):
    snapshot_id: str
    volume_id: str | None = None
    state: str
    progress: str | None = None
    start_time: Timestamp | None = None
    volume_size: int | None = None
    encrypted: bool | None = None
    description: str | None = None
    tags: Tags = {}


class StartedSnapshot(Snapshot):
    """A snapshot that was started; it has no id on a dry run."""

    snapshot_id: str | None = None  # type: ignore[assignment]  # the row's is required, as AWS's is
    state: str | None = None  # type: ignore[assignment]  # likewise
    dry_run: bool | None = None


class Snapshots(_Rows):
    snapshots: list[Snapshot]


class TaggedResources(AWSModel):
    resource_ids: list[str]
    tags: dict[str, str] | None = None
    tag_keys: list[str] | None = None
    dry_run: bool | None = None


class Vpc(AWSModel):
    vpc_id: str
    name: str | None = None
    cidr_block: str
    state: str | None = None
    is_default: bool | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Vpc:
        """Return a VPC's row."""
        return cls.model_validate({**row, "Name": name_of(row)})


class Vpcs(_Rows):
    vpcs: list[Vpc]


class Subnet(AWSModel):
    subnet_id: str
    name: str | None = None
    vpc_id: str
    cidr_block: str
    availability_zone: str | None = None
    available_ip_address_count: int | None = None
    map_public_ip_on_launch: bool | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Subnet:
        """Return a subnet's row."""
        return cls.model_validate({**row, "Name": name_of(row)})


class Subnets(_Rows):
    subnets: list[Subnet]


class FoundAddress(AWSModel):
    """Who holds an address; an Elastic IP address that is attached to nothing has no interface."""

    account: str | None = None
    owner_id: str | None = None
    region: str | None = None
    network_interface_id: str | None = None
    allocation_id: str | None = None
    description: str | None = None
    instance_id: str | None = None
    interface_type: str | None = None
    vpc_id: str | None = None
    subnet_id: str | None = None
    private_ip_address: str | None = None
    public_ip: str | None = None
    status: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], target: Target, region: str) -> FoundAddress:
        """Return an interface as the holder of an address."""
        return cls.model_validate(
            {
                **row,
                "Account": target.account,
                "Region": region,
                "InstanceId": row.get("Attachment", {}).get("InstanceId"),
                "PublicIp": row.get("Association", {}).get("PublicIp"),
            }
        )


def allocated(row: Mapping[str, Any], target: Target, region: str) -> FoundAddress:
    """Return an Elastic IP address as its own holder."""
    owner = row.get("NetworkInterfaceOwnerId")
    status = "in use" if row.get("AssociationId") else "allocated, attached to nothing"
    more = {"Account": target.account, "Region": region, "OwnerId": owner, "Status": status}
    return FoundAddress.model_validate({**row, **more, "Description": name_of(row)})


class FoundAddresses(AWSModel):
    """The holders found; `failures` names the accounts that could not be asked."""

    address: str
    found: list[FoundAddress]
    asked: int
    failures: list[TargetFailure] = []
