"""Amazon EC2: changing who may reach what, with the rules before and after.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import InvalidParameter
from services._ec2 import Rule, rules
from services.base import WRITE, AWSModel, AWSServiceBase, Target, tool

GroupId = Annotated[str, StringConstraints(pattern=r"^sg-([0-9a-f]{8}|[0-9a-f]{17})$")]
Port = Annotated[int, Field(ge=-1, le=65535)]
Protocol = Annotated[str, StringConstraints(pattern=r"^(tcp|udp|icmp|icmpv6|-1|[0-9]{1,3})$")]


class ChangedRules(AWSModel):
    """A group's ingress rules before and after."""

    group_id: str
    before: list[Rule]
    after: list[Rule]
    dry_run: bool | None = None


def _is_one_rule(arguments: Mapping[str, Any]) -> None:
    cidr, source = arguments["cidr"], arguments["source_group_id"]
    if (cidr is None) == (source is None):
        raise InvalidParameter("Give one of cidr and source_group_id.")
    if cidr is not None:
        try:
            ipaddress.ip_network(cidr)
        except ValueError:
            raise InvalidParameter("cidr: not a network such as 10.0.0.0/8, without host bits.") from None
    first, last = arguments["from_port"], arguments["to_port"]
    if arguments["ip_protocol"] in ("tcp", "udp") and (first is None or last is None or not 0 <= first <= last):
        raise InvalidParameter("from_port, to_port: tcp and udp take both, the first not above the last.")


class EC2RulesService(AWSServiceBase):
    """Ingress rules of security groups."""

    client_name = "ec2"
    toolset = "ec2"

    @tool(
        WRITE, "ec2:AuthorizeSecurityGroupIngress", "ec2:DescribeSecurityGroups", resource="group_id",
        idempotent=True, check=_is_one_rule,
    )  # fmt: skip
    def authorize_security_group_ingress(
        self,
        group_id: GroupId,
        ip_protocol: Protocol,
        target: Target,
        from_port: Port | None = None,
        to_port: Port | None = None,
        cidr: str | None = None,
        source_group_id: GroupId | None = None,
        description: Annotated[str, StringConstraints(max_length=255)] | None = None,
        dry_run: bool = False,
    ) -> ChangedRules:
        """Add an ingress rule to a security group; answers the rules before and after."""
        rule = _rule(ip_protocol, from_port, to_port, cidr, source_group_id, description)
        return self._change(target, group_id, "authorize_security_group_ingress", rule, dry_run)

    @tool(
        WRITE, "ec2:RevokeSecurityGroupIngress", "ec2:DescribeSecurityGroups", resource="group_id",
        destructive=True, idempotent=True, check=_is_one_rule,
    )  # fmt: skip
    def revoke_security_group_ingress(
        self,
        group_id: GroupId,
        ip_protocol: Protocol,
        target: Target,
        from_port: Port | None = None,
        to_port: Port | None = None,
        cidr: str | None = None,
        source_group_id: GroupId | None = None,
        dry_run: bool = False,
    ) -> ChangedRules:
        """Remove an ingress rule from a security group; answers the rules before and after."""
        rule = _rule(ip_protocol, from_port, to_port, cidr, source_group_id, None)
        return self._change(target, group_id, "revoke_security_group_ingress", rule, dry_run)

    def _change(
        self, target: Target, group_id: str, operation: str, rule: dict[str, Any], dry_run: bool
    ) -> ChangedRules:
        client = self.client(target)
        before = _ingress(client, group_id)
        if dry_run:
            would = _foreseen(before, rules([rule])[0], added=operation.startswith("authorize"))
            return ChangedRules(group_id=group_id, before=before, after=would, dry_run=True)
        getattr(client, operation)(GroupId=group_id, IpPermissions=[rule])
        return ChangedRules(group_id=group_id, before=before, after=_ingress(client, group_id))


def _foreseen(before: list[Rule], rule: Rule, *, added: bool) -> list[Rule]:
    """Return what the rules would be."""
    if added:
        return [*before, rule]
    ports = (rule.ip_protocol, rule.from_port, rule.to_port)
    after = []
    for present in before:
        same = (present.ip_protocol, present.from_port, present.to_port) == ports
        left = [source for source in present.sources if not (same and source in rule.sources)]
        if left:
            after.append(present.model_copy(update={"sources": left}))
    return after


def _ingress(client: Any, group_id: str) -> list[Rule]:
    (group,) = client.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return rules(group["IpPermissions"])


def _rule(
    protocol: str,
    from_port: int | None,
    to_port: int | None,
    cidr: str | None,
    source: str | None,
    description: str | None,
) -> dict[str, Any]:
    about = {"Description": description} if description else {}
    rule: dict[str, Any] = {"IpProtocol": protocol}
    if from_port is not None:
        rule["FromPort"] = from_port
    if to_port is not None:
        rule["ToPort"] = to_port
    if source is not None:
        rule["UserIdGroupPairs"] = [{"GroupId": source, **about}]
    elif cidr is not None and ":" in cidr:
        rule["Ipv6Ranges"] = [{"CidrIpv6": cidr, **about}]
    else:
        rule["IpRanges"] = [{"CidrIp": cidr, **about}]
    return rule
