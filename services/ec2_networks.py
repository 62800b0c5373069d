"""Amazon EC2: security groups, VPCs, subnets, and who holds an address.

Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from services._ec2 import Filters, MaxResults, Rows, Rule, Token, name_of, page_of, rules
from services.base import READ, AWSModel, AWSServiceBase, Tags, Target, tool
from toolcall.call import Call
from toolcall.fanout import TargetFailure, gather


def _is_an_address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("is not an IP address") from None


Address = Annotated[str, AfterValidator(_is_an_address)]


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


class SecurityGroups(Rows):
    security_groups: list[SecurityGroup]


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


class Vpcs(Rows):
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


class Subnets(Rows):
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


class FoundAddresses(AWSModel):
    """The holders found; `failures` names the accounts that could not be asked."""

    address: str
    found: list[FoundAddress]
    asked: int
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
    return [_allocated(row, target, region) for row in rows]


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
