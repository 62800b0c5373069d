"""Amazon EC2: security groups, VPCs, subnets, and who holds an address.

Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from services._ec2 import Filters, MaxResults, Rows, Token, name_of, page_of
from services._ec2_rules import Rule, network_of, rules
from services.base import READ, AWSModel, AWSServiceBase, Tags, Target, tool
from toolcall.call import Call
from toolcall.fanout import TargetFailure, gather


def _is_an_address(value: str) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("is not an IP address") from None
    return str(getattr(address, "ipv4_mapped", None) or address)  # IPv4 that is written as IPv6


Address = Annotated[str, AfterValidator(_is_an_address)]
_LARGEST_PAGE = 1_000
_KEPT_FOR_THE_ANSWER_SECONDS = 3.0
_ELSEWHERE = (
    "Other regions than those asked, and what AWS runs outside of VPCs: CloudFront, Global Accelerator, Lightsail."
)


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
        owner = row.get("OwnerId")
        ingress, egress = rules(row["IpPermissions"], owner), rules(row.get("IpPermissionsEgress", []), owner)
        return cls.model_validate({**row, "Ingress": ingress, "Egress": egress})


class SecurityGroups(Rows):
    security_groups: list[SecurityGroup]


class Vpc(AWSModel):
    """A VPC's row; `further_cidr_blocks` are those associated with it beside the first, IPv6 too."""

    vpc_id: str
    name: str | None = None
    cidr_block: str
    further_cidr_blocks: list[str] = []
    state: str | None = None
    is_default: bool | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Vpc:
        """Return a VPC's row."""
        blocks = [one for one in _associated(row, "CidrBlock") if one != row["CidrBlock"]]
        further = [*blocks, *_associated(row, "Ipv6CidrBlock")]
        return cls.model_validate({**row, "Name": name_of(row), "FurtherCidrBlocks": further})


def _associated(row: Mapping[str, Any], kind: str) -> list[str]:
    """Return the blocks of a kind that are associated with a VPC or subnet now."""
    associations = [one for one in row.get(f"{kind}AssociationSet", []) if kind in one]
    return [one[kind] for one in associations if one.get(f"{kind}State", {}).get("State") in (None, "associated")]


class Vpcs(Rows):
    vpcs: list[Vpc]


class Subnet(AWSModel):
    subnet_id: str
    name: str | None = None
    vpc_id: str
    cidr_block: str | None = None
    ipv6_cidr_blocks: list[str] = []
    availability_zone: str | None = None
    available_ip_address_count: int | None = None
    map_public_ip_on_launch: bool | None = None
    tags: Tags = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Subnet:
        """Return a subnet's row; one of IPv6 alone has no cidr_block."""
        return cls.model_validate(
            {**row, "Name": name_of(row), "Ipv6CidrBlocks": _associated(row, "Ipv6CidrBlock")}
        )  # fmt: skip


class Subnets(Rows):
    subnets: list[Subnet]


class FoundAddress(AWSModel):
    """Who holds an address; an Elastic IP address that is attached to nothing has no interface.

    `private_ip_address` and `public_ip` are the interface's own, or those of its secondary address that was sought;
    `delegated_prefix` is the prefix of the interface that the address lies in, such as a container's.
    """

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
    delegated_prefix: str | None = None
    status: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], address: str, target: Target, region: str) -> FoundAddress:
        """Return an interface as the holder of an address."""
        pairs = [(one.get("PrivateIpAddress"), _public_ip(one)) for one in (row, *row.get("PrivateIpAddresses", []))]
        inside, outside = next((pair for pair in pairs if address in pair), pairs[0])
        return cls.model_validate(
            {
                **row,
                "Account": target.account,
                "Region": region,
                "InstanceId": row.get("Attachment", {}).get("InstanceId"),
                "PrivateIpAddress": inside,
                "PublicIp": outside,
                "DelegatedPrefix": _prefix_with(row, address),
            }
        )


class FoundAddresses(AWSModel):
    """The holders found; `failures` names the accounts that could not be asked, `not_searched` what was left out."""

    address: str
    found: list[FoundAddress]
    asked: int
    not_searched: list[str] = []
    failures: list[TargetFailure] = []


class EC2NetworksService(AWSServiceBase):
    """Networks, who may reach what is in them, and who is where."""

    client_name = "ec2"
    toolset = "ec2"

    @tool(READ, "ec2:DescribeSecurityGroups")
    def describe_security_groups(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> SecurityGroups:
        """List security groups with their rules."""
        page = page_of(self.client(target), "describe_security_groups", filters, max_results, next_token)
        return SecurityGroups.of([SecurityGroup.of(row) for row in page["SecurityGroups"]], page)

    @tool(READ, "ec2:DescribeVpcs")
    def describe_vpcs(
        self,
        target: Target,
        filters: Filters | None = None,
        max_results: MaxResults = 100,
        next_token: Token | None = None,
    ) -> Vpcs:
        """List VPCs."""
        page = page_of(self.client(target), "describe_vpcs", filters, max_results, next_token)
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
        page = page_of(self.client(target), "describe_subnets", filters, max_results, next_token)
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
        gathered = gather(targets, lambda one: _search(self.client(one), one, self._region(one), address))
        found = [holder for _, search in gathered.answers for holder in search.found]
        left_out = [] if found else [_ELSEWHERE]
        left_out += [text for _, search in gathered.answers for text in search.left_out]
        return FoundAddresses(
            address=address, found=found, asked=len(targets), not_searched=left_out, failures=gathered.failures
        )  # fmt: skip

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


@dataclass(frozen=True)
class _Search:
    """What one region of an account holds of an address, and what was not looked through there."""

    found: list[FoundAddress]
    left_out: list[str]


def _search(client: Any, target: Target, region: str, address: str) -> _Search:
    found: dict[str, FoundAddress] = {}
    for name in _filters_for(address):
        for page in _interfaces(client, Filters=[{"Name": name, "Values": [address]}]):
            for row in page:
                found[row["NetworkInterfaceId"]] = FoundAddress.of(row, address, target, region)
    if found:
        return _Search(list(found.values()), [])
    if ipaddress.ip_address(address).version == 4:
        rows = client.describe_addresses(Filters=[{"Name": "public-ip", "Values": [address]}])["Addresses"]
        if rows:
            return _Search([_allocated(row, target, region) for row in rows], [])
    return _by_prefix(client, target, region, address)


def _by_prefix(client: Any, target: Target, region: str, address: str) -> _Search:
    """Look for the interface to which the prefix of an address is delegated; no filter of AWS's knows prefixes."""
    where = f"{target.account or 'the account'} in {region}"
    if (parsed := ipaddress.ip_address(address)).version == 4 and parsed.is_global:
        return _Search([], [f"Prefixes delegated to interfaces of {where}: a public address lies in none as a rule."])
    for number, page in enumerate(_interfaces(client, PaginationConfig={"PageSize": _LARGEST_PAGE})):
        for row in page:
            if _prefix_with(row, address) is not None:
                return _Search([FoundAddress.of(row, address, target, region)], [])
        if Call.current().trace.deadline - time.monotonic() < _KEPT_FOR_THE_ANSWER_SECONDS:
            seen = (number + 1) * _LARGEST_PAGE
            return _Search([], [f"Prefixes delegated to interfaces of {where} after the first {seen}: time ran out."])
    return _Search([], [])


def _interfaces(client: Any, **request: Any) -> Iterator[Sequence[Mapping[str, Any]]]:
    for page in client.get_paginator("describe_network_interfaces").paginate(**request):
        yield page["NetworkInterfaces"]


def _public_ip(row: Mapping[str, Any]) -> str | None:
    public: str | None = row.get("Association", {}).get("PublicIp")
    return public


def _prefix_with(row: Mapping[str, Any], address: str) -> str | None:
    """Return the prefix delegated to an interface that an address lies in."""
    parsed = ipaddress.ip_address(address)
    prefixes = [one.get("Ipv4Prefix") for one in row.get("Ipv4Prefixes", [])]
    prefixes += [one.get("Ipv6Prefix") for one in row.get("Ipv6Prefixes", [])]
    networks = {text: network for text in prefixes if text and (network := network_of(text)) is not None}
    return next((text for text, network in networks.items() if parsed in network), None)


def _filters_for(address: str) -> list[str]:
    """Return where AWS keeps such an address: a public one may be a private one of somebody's VPC as well."""
    parsed = ipaddress.ip_address(address)
    if parsed.version == 6:
        return ["ipv6-addresses.ipv6-address"]
    inside = ["addresses.private-ip-address"]
    return inside if parsed.is_private else ["addresses.association.public-ip", *inside]


def _allocated(row: Mapping[str, Any], target: Target, region: str) -> FoundAddress:
    """Return an Elastic IP address as its own holder."""
    owner = row.get("NetworkInterfaceOwnerId")
    status = "in use" if row.get("AssociationId") else "allocated, attached to nothing"
    more = {"Account": target.account, "Region": region, "OwnerId": owner, "Status": status}
    return FoundAddress.model_validate({**row, **more, "Description": name_of(row)})
