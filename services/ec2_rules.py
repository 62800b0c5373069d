"""Amazon EC2: changing who may reach what, with the rules before and after.

Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import AWSError, InvalidParameter
from services._ec2 import dry
from services._ec2_exposure import too_open
from services._ec2_rules import Rule, as_held, network_of, permission, place_of, protocol_of, rules, source_of
from services.base import WRITE, AWSModel, AWSServiceBase, Plan, Standing, Target, tool

_WITH_PORTS, _WITH_TYPES = ("tcp", "udp"), ("icmp", "icmpv6")
PrefixListId = Annotated[str, StringConstraints(pattern=r"^pl-[0-9a-f]{8,32}$")]
GroupId = Annotated[str, StringConstraints(pattern=r"^sg-[0-9a-f]{8,32}$")]
SourceGroupId = Annotated[str, StringConstraints(pattern=r"^([0-9]{12}/)?sg-[0-9a-f]{8,32}$")]
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
    if cidr is not None and (network_of(cidr, strict=True) is None or "/" not in cidr):
        raise InvalidParameter("cidr: not a network such as 10.0.0.0/8, without host bits.")
    given, first, last = arguments["ip_protocol"], arguments["from_port"], arguments["to_port"]
    if given.isdigit() and int(given) > 255:
        raise InvalidParameter("ip_protocol: a number of 0 to 255, or tcp, udp, icmp, icmpv6, -1.")
    protocol = protocol_of(given)
    if protocol in _WITH_PORTS and (first is None or last is None or not 0 <= first <= last):
        raise InvalidParameter("from_port, to_port: tcp and udp take both, the first not above the last.")
    if protocol in _WITH_TYPES and (first is None or last is None):
        raise InvalidParameter("from_port, to_port: ICMP takes its type and code there, -1 for all.")
    if protocol not in (*_WITH_PORTS, *_WITH_TYPES) and (first is not None or last is not None):
        raise InvalidParameter("from_port, to_port: only with tcp, udp and ICMP.")


def _lets_many_in(arguments: Mapping[str, Any], _: Standing) -> bool:
    """Whether a rule alone is one to ask about, whatever stands: such a call needs no look at the group."""
    return too_open(_of(arguments), []) is not None


def _of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rule that a call is about, as AWS takes it."""
    source = (arguments["cidr"], arguments["source_group_id"], arguments["prefix_list_id"])
    return permission(arguments["ip_protocol"], (arguments["from_port"], arguments["to_port"]), source)


class EC2RulesService(AWSServiceBase):
    """Ingress rules of security groups."""

    client_name = "ec2"
    toolset = "ec2"

    @tool(
        WRITE, "ec2:AuthorizeSecurityGroupIngress", "ec2:DescribeSecurityGroups", resource="group_id",
        idempotent=True, destroys_if=_lets_many_in, looks_first=True, check=_is_one_rule,
    )  # fmt: skip
    def authorize_security_group_ingress(
        self,
        group_id: GroupId,
        ip_protocol: Protocol,
        target: Target,
        from_port: Port | None = None,
        to_port: Port | None = None,
        cidr: str | None = None,
        source_group_id: SourceGroupId | None = None,
        prefix_list_id: PrefixListId | None = None,
        description: Annotated[str, StringConstraints(max_length=255)] | None = None,
        dry_run: bool = False,
    ) -> ChangedRules:
        """Add an ingress rule to a security group; answers the rules before and after.

        More than a /16 (IPv6 /32) of public addresses in all, or a prefix list, needs confirmation, but for web ports.

        Args:
            source_group_id: Another account's as 222222222222/sg-...
        """
        rule = permission(ip_protocol, (from_port, to_port), (cidr, source_group_id, prefix_list_id), description)
        return self._change(target, group_id, "authorize_security_group_ingress", rule, dry_run)

    def plan_authorize_security_group_ingress(
        self, group_id: GroupId, ip_protocol: Protocol, target: Target, from_port: Port | None, to_port: Port | None,
        cidr: str | None, prefix_list_id: PrefixListId | None,
    ) -> Plan | None:  # fmt: skip
        """Say what would stand open, and to whom; None where that is no great part of the internet."""
        source = cidr or prefix_list_id
        if source is None:
            return None
        group = _Group.look(self.client(target), group_id)
        rule = permission(ip_protocol, (from_port, to_port), (cidr, None, prefix_list_id))
        why = too_open(rule, group.permissions)
        if why is None:
            return None
        ports = "every port" if from_port is None else f"ports {from_port} to {to_port}"
        lost = f"{source} may reach {ports} (protocol {ip_protocol}) of all that is in the group. {why}"
        return Plan(group_id, lost, {"before": [rule.model_dump() for rule in group.rules]})

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
        source_group_id: SourceGroupId | None = None,
        prefix_list_id: PrefixListId | None = None,
        dry_run: bool = False,
    ) -> ChangedRules:
        """Remove an ingress rule from a security group; answers the rules before and after."""
        rule = permission(ip_protocol, (from_port, to_port), (cidr, source_group_id, prefix_list_id))
        return self._change(target, group_id, "revoke_security_group_ingress", rule, dry_run)

    def _change(
        self, target: Target, group_id: str, operation: str, rule: dict[str, Any], dry_run: bool
    ) -> ChangedRules:
        client = self.client(target)
        group = _Group.look(client, group_id)
        rule = as_held(rule, group.permissions, group.owner)
        if dry_run:
            would = _foreseen(group, rules([rule], group.owner)[0], added=operation.startswith("authorize"))
            dry(lambda: getattr(client, operation)(GroupId=group_id, IpPermissions=[rule], DryRun=True), dry_run)
            return ChangedRules(group_id=group_id, before=group.rules, after=would, dry_run=True)
        answer = getattr(client, operation)(GroupId=group_id, IpPermissions=[rule])
        if answer.get("UnknownIpPermissions") or answer.get("Return") is False:
            raise _no_such_rule()  # in a default VPC AWS does nothing, and calls that a success
        return ChangedRules(group_id=group_id, before=group.rules, after=_Group.look(client, group_id).rules)


@dataclass(frozen=True)
class _Group:
    """A security group's ingress as it stands, as AWS says it and as it is shown."""

    owner: str | None
    permissions: Sequence[Mapping[str, Any]]
    rules: list[Rule]

    @classmethod
    def look(cls, client: Any, group_id: str) -> _Group:
        """Return the group as it is now."""
        row = client.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]
        owner = row.get("OwnerId")
        return cls(owner, row["IpPermissions"], rules(row["IpPermissions"], owner))


def _no_such_rule() -> AWSError:
    return AWSError(
        "InvalidPermission.NotFound", "The group has no such rule. Nothing was done.", retryable=False,
        next_step="Call describe_security_groups for its rules as they are.",
    )  # fmt: skip


def _foreseen(group: _Group, rule: Rule, *, added: bool) -> list[Rule]:
    """Return what the rules would be; what AWS would refuse is refused as AWS does."""
    before = group.rules
    here = [one for one in before if _place(one) == _place(rule)]
    source = source_of(rule.sources[0], group.owner)
    held = {kept for one in here for kept in one.sources if source_of(kept, group.owner) == source}
    if added and held:
        raise AWSError("InvalidPermission.Duplicate", "The group has that rule already.", retryable=False)
    if not added and not held:
        raise _no_such_rule()
    if added and not here:
        return [*before, rule]
    if added:
        return [_with(one, rule) if one is here[0] else one for one in before]
    left = [_without(one, held) if one in here else one for one in before]
    return [one for one in left if one.sources]


def _place(rule: Rule) -> tuple[str, int, int]:
    return place_of(rule.ip_protocol, rule.from_port, rule.to_port)


def _with(one: Rule, rule: Rule) -> Rule:
    """Return a rule with another's sources too."""
    more = {"sources": [*one.sources, *rule.sources], "descriptions": {**one.descriptions, **rule.descriptions}}
    return one.model_copy(update=more)


def _without(one: Rule, gone: set[str]) -> Rule:
    """Return a rule without some of its sources."""
    about = {name: getattr(one, name) for name in ("descriptions", "peering_status")}
    kept = {name: {key: text for key, text in texts.items() if key not in gone} for name, texts in about.items()}
    return one.model_copy(update={"sources": [source for source in one.sources if source not in gone], **kept})
