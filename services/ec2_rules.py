"""Amazon EC2: changing who may reach what, with the rules before and after.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import AWSError, InvalidParameter
from services._ec2 import Rule, dry, rules
from services.base import WRITE, AWSModel, AWSServiceBase, Plan, Standing, Target, tool

_WITH_PORTS, _WITH_TYPES = ("tcp", "udp", "6", "17"), ("icmp", "icmpv6", "1", "58")
PrefixListId = Annotated[str, StringConstraints(pattern=r"^pl-([0-9a-f]{8}|[0-9a-f]{17})$")]
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
    named = [name for name in ("cidr", "source_group_id", "prefix_list_id") if arguments[name] is not None]
    if len(named) != 1:
        raise InvalidParameter("Give one of cidr, source_group_id and prefix_list_id.")
    cidr = arguments["cidr"]
    if cidr is not None and (_network(cidr) is None or "/" not in cidr):
        raise InvalidParameter("cidr: not a network such as 10.0.0.0/8, without host bits.")
    protocol, first, last = arguments["ip_protocol"], arguments["from_port"], arguments["to_port"]
    if protocol.isdigit() and int(protocol) > 255:
        raise InvalidParameter("ip_protocol: a number of 0 to 255, or tcp, udp, icmp, icmpv6, -1.")
    if protocol in _WITH_PORTS and (first is None or last is None or not 0 <= first <= last):
        raise InvalidParameter("from_port, to_port: tcp and udp take both, the first not above the last.")
    if protocol in _WITH_TYPES and (first is None or last is None):
        raise InvalidParameter("from_port, to_port: ICMP takes its type and code there, -1 for all.")
    if protocol not in (*_WITH_PORTS, *_WITH_TYPES) and (first is not None or last is not None):
        raise InvalidParameter("from_port, to_port: only with tcp, udp and ICMP.")


def _opens_to_the_internet(arguments: Mapping[str, Any], _: Standing) -> bool:
    """Whether a rule lets a great part of the internet in, other than to a web server: such a rule is confirmed."""
    network = _network(str(arguments.get("cidr")))
    if network is None or network.prefixlen >= (8 if network.version == 4 else 16):
        return False
    ports = (arguments.get("from_port"), arguments.get("to_port"))
    return arguments.get("ip_protocol") not in ("tcp", "6") or ports not in ((80, 80), (443, 443))


def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(cidr)
    except ValueError:
        return None


class EC2RulesService(AWSServiceBase):
    """Ingress rules of security groups."""

    client_name = "ec2"
    toolset = "ec2"

    @tool(
        WRITE, "ec2:AuthorizeSecurityGroupIngress", "ec2:DescribeSecurityGroups", resource="group_id",
        idempotent=True, destroys_if=_opens_to_the_internet, check=_is_one_rule,
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
        prefix_list_id: PrefixListId | None = None,
        description: Annotated[str, StringConstraints(max_length=255)] | None = None,
        dry_run: bool = False,
    ) -> ChangedRules:
        """Add an ingress rule to a security group; answers the rules before and after.

        One that opens more than web ports to the internet needs confirmation.
        """
        rule = _permission(ip_protocol, from_port, to_port, (cidr, source_group_id, prefix_list_id), description)
        return self._change(target, group_id, "authorize_security_group_ingress", rule, dry_run)

    def plan_authorize_security_group_ingress(
        self, group_id: GroupId, ip_protocol: Protocol, target: Target, from_port: Port | None, to_port: Port | None,
        cidr: str | None,
    ) -> Plan:  # fmt: skip
        """Say what would stand open, and to whom."""
        before = _ingress(self.client(target), group_id)
        ports = "every port" if from_port is None else f"ports {from_port} to {to_port}"
        lost = f"{cidr} may reach {ports} (protocol {ip_protocol}) of all that is in the group."
        return Plan(group_id, lost, {"before": [rule.model_dump() for rule in before]})

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
        prefix_list_id: PrefixListId | None = None,
        dry_run: bool = False,
    ) -> ChangedRules:
        """Remove an ingress rule from a security group; answers the rules before and after."""
        rule = _permission(ip_protocol, from_port, to_port, (cidr, source_group_id, prefix_list_id), None)
        return self._change(target, group_id, "revoke_security_group_ingress", rule, dry_run)

    def _change(
        self, target: Target, group_id: str, operation: str, rule: dict[str, Any], dry_run: bool
    ) -> ChangedRules:
        client = self.client(target)
        before = _ingress(client, group_id)
        if dry_run:
            would = _foreseen(before, rules([rule])[0], added=operation.startswith("authorize"))
            dry(lambda: getattr(client, operation)(GroupId=group_id, IpPermissions=[rule], DryRun=True), dry_run)
            return ChangedRules(group_id=group_id, before=before, after=would, dry_run=True)
        answer = getattr(client, operation)(GroupId=group_id, IpPermissions=[rule])
        if answer.get("UnknownIpPermissions") or answer.get("Return") is False:
            raise _no_such_rule()  # in a default VPC AWS does nothing, and calls that a success
        return ChangedRules(group_id=group_id, before=before, after=_ingress(client, group_id))


def _no_such_rule() -> AWSError:
    return AWSError(
        "InvalidPermission.NotFound", "The group has no such rule. Nothing was done.", retryable=False,
        next_step="Call describe_security_groups for its rules as they are.",
    )  # fmt: skip


def _foreseen(before: list[Rule], rule: Rule, *, added: bool) -> list[Rule]:
    """Return what the rules would be; what AWS would refuse is refused as AWS does."""
    ports = (rule.ip_protocol, rule.from_port, rule.to_port)
    (source,) = rule.sources
    here = [one for one in before if (one.ip_protocol, one.from_port, one.to_port) == ports]
    stands = any(source in one.sources for one in here)
    if added and stands:
        raise AWSError("InvalidPermission.Duplicate", "The group has that rule already.", retryable=False)
    if not added and not stands:
        raise _no_such_rule()
    if added and not here:
        return [*before, rule]
    return [one if one not in here else other for one in before if (other := _with(one, rule, here, added)) is not None]


def _with(one: Rule, rule: Rule, here: list[Rule], added: bool) -> Rule | None:
    """Return a rule of the same protocol and ports with a source more or less; None where none is left."""
    (source,) = rule.sources
    if added:
        more = {"sources": [*one.sources, source], "descriptions": {**one.descriptions, **rule.descriptions}}
        return one.model_copy(update=more) if one is here[0] else one
    left = [kept for kept in one.sources if one not in here or kept != source]
    kept_texts = {kept: text for kept, text in one.descriptions.items() if kept in left}
    return one.model_copy(update={"sources": left, "descriptions": kept_texts}) if left else None


def _ingress(client: Any, group_id: str) -> list[Rule]:
    (group,) = client.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return rules(group["IpPermissions"])


def _permission(
    protocol: str,
    from_port: int | None,
    to_port: int | None,
    source: tuple[str | None, str | None, str | None],
    description: str | None,
) -> dict[str, Any]:
    """Return a rule as AWS takes it, from a network, a group or a prefix list."""
    cidr, group, prefixes = source
    about = {"Description": description} if description else {}
    names = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6"}
    ports = {"FromPort": from_port, "ToPort": to_port} if from_port is not None else {}
    rule: dict[str, Any] = {"IpProtocol": names.get(protocol, protocol), **ports}
    if group is not None:
        rule["UserIdGroupPairs"] = [{"GroupId": group, **about}]
    elif prefixes is not None:
        rule["PrefixListIds"] = [{"PrefixListId": prefixes, **about}]
    elif ":" in str(cidr):
        rule["Ipv6Ranges"] = [{"CidrIpv6": cidr, **about}]
    else:
        rule["IpRanges"] = [{"CidrIp": cidr, **about}]
    return rule
