"""Rules of security groups: as AWS holds them, as they are shown, and which of them are one and the same."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from services.base import AWSModel

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Permission = Mapping[str, Any]
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
# Where a permission keeps its sources of each kind, and under which name.
_SOURCES = {
    "IpRanges": "CidrIp", "Ipv6Ranges": "CidrIpv6", "UserIdGroupPairs": "GroupId", "PrefixListIds": "PrefixListId",
}  # fmt: skip


class Rule(AWSModel):
    """One rule of a security group: from whom, over what, to which ports. All ports where none are named.

    A source is a network, a prefix list, or a group: one of another account is `account/group`.
    """

    ip_protocol: str
    from_port: int | None = None
    to_port: int | None = None
    sources: list[str]
    descriptions: dict[str, str] = Field(default={}, description="Of those sources that have one")
    peering_status: dict[str, str] = Field(default={}, description="Of groups whose peering is not active")


def rules(permissions: Sequence[Permission], owner: str | None) -> list[Rule]:
    """Return AWS's permissions as rules of a group that `owner` holds."""
    return [_rule(row, owner) for row in permissions]


def _rule(row: Permission, owner: str | None) -> Rule:
    found = list(_sources(row, owner))
    states = {source: str(item["PeeringStatus"]) for source, _, item in found if item.get("PeeringStatus")}
    return Rule.model_validate(
        {
            **row,
            "Sources": [source for source, _, _ in found],
            "Descriptions": {source: item["Description"] for source, _, item in found if item.get("Description")},
            "PeeringStatus": {source: state for source, state in states.items() if state != "active"},
        }
    )


def _sources(row: Permission, owner: str | None) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield each source of a permission: as it is shown, of which kind, and as AWS says it."""
    for kind, name in _SOURCES.items():
        for item in row.get(kind, []):
            yield (_group(item, owner) if kind == "UserIdGroupPairs" else str(item[name])), kind, item


def _group(pair: Mapping[str, Any], owner: str | None) -> str:
    """Return a group as a source. A pair may have no id: of a load balancer's group, or where a peering is gone."""
    what = pair.get("GroupId") or pair.get("GroupName") or pair.get("VpcPeeringConnectionId") or "unknown"
    who = pair.get("UserId")
    return str(what) if who is None or who == owner else f"{who}/{what}"


def network_of(cidr: str, *, strict: bool = False) -> Network | None:
    """Return a network, however it is spelled; None where it is none."""
    try:
        network = ipaddress.ip_network(cidr, strict=strict)
    except ValueError:
        return None
    return None if "%" in str(network) else network


def protocol_of(text: str) -> str:
    """Return a protocol's name where AWS has one for it, else its number; -1 is all of them."""
    if text.isdigit():
        return _NAMES.get(int(text), str(int(text)))
    return {"all": "-1", "ipv6-icmp": "icmpv6"}.get(text.lower(), text.lower())


def place_of(protocol: str, first: int | None, last: int | None) -> tuple[str, int, int]:
    """Return what two spellings of a protocol and its ports have in common."""
    name = protocol_of(protocol)
    if name not in _NAMES.values():
        return name, -1, -1
    whole = (0, 65_535) if name in ("tcp", "udp") and (first is None or first < 0) else (-1, -1)
    return name, whole[0] if first is None or first < 0 else first, whole[1] if last is None or last < 0 else last


def source_of(text: str, owner: str | None) -> str:
    """Return what two spellings of a source have in common."""
    network = network_of(text)
    return str(network) if network is not None else text.removeprefix(f"{owner}/")


def permission(
    protocol: str,
    ports: tuple[int | None, int | None],
    source: tuple[str | None, str | None, str | None],
    description: str | None = None,
) -> dict[str, Any]:
    """Return a rule as AWS takes it, from a network, a group or a prefix list."""
    cidr, group, prefixes = source
    about = {"Description": description} if description else {}
    rule: dict[str, Any] = {"IpProtocol": protocol_of(protocol)}
    if ports[0] is not None:
        rule |= {"FromPort": ports[0], "ToPort": ports[1]}
    if group is not None:
        account, _, identifier = group.rpartition("/")
        rule["UserIdGroupPairs"] = [{**({"UserId": account} if account else {}), "GroupId": identifier, **about}]
    elif prefixes is not None:
        rule["PrefixListIds"] = [{"PrefixListId": prefixes, **about}]
    elif (network := network_of(str(cidr))) is not None and network.version == 6:
        rule["Ipv6Ranges"] = [{"CidrIpv6": str(network), **about}]
    else:
        rule["IpRanges"] = [{"CidrIp": str(network), **about}]
    return rule


def as_held(wanted: dict[str, Any], permissions: Sequence[Permission], owner: str | None) -> dict[str, Any]:
    """Return a rule of one source as AWS spells it, where it holds that rule; else as it is."""
    ((source, kind, item),) = _sources(wanted, owner)
    for row in permissions:
        if _place(row) != _place(wanted) or kind == "UserIdGroupPairs":
            continue
        for held, held_kind, other in _sources(row, owner):
            if held_kind == kind and source_of(held, owner) == source_of(source, owner):
                place = {name: row[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in row}
                name = _SOURCES[kind]
                return {**place, kind: [{**item, name: other[name]}]}
    return wanted


def _place(row: Permission) -> tuple[str, int, int]:
    return place_of(row["IpProtocol"], row.get("FromPort"), row.get("ToPort"))
