"""How much of the internet a security group lets in: what a rule adds, counted with what stands already."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from services._ec2_rules import Network, Permission, network_of, protocol_of

# More public addresses than these, for any one port, are let in with a person's yes alone.
_MOST = {4: 2**16, 6: 2**96}
_SIZE = {4: "one IPv4 /16", 6: "one IPv6 /32"}
_INSIDE = tuple(
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "fc00::/7", "fe80::/10",
    )
)  # fmt: skip
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_WEB = (80, 443)
_EVERY = "-1"


@dataclass(frozen=True)
class _Opening:
    """A network that may reach some ports over a protocol; ICMP's types count as its ports."""

    protocol: str
    first: int
    last: int
    network: Network

    def concerns(self, protocol: str) -> bool:
        return self.protocol in (protocol, _EVERY)

    def holds(self, port: int) -> bool:
        return self.first <= port <= self.last


def too_open(rule: Permission, standing: Sequence[Permission]) -> str | None:
    """Say where a rule would let in more of the internet than is done without asking; None where it does not.

    Plain are private networks, groups, and a web server's ports (80, 443 over TCP) however many may reach them.
    """
    if rule.get("PrefixListIds"):
        return "Who is on a prefix list, its owner decides, also later."
    for opening in _openings(rule):
        if not _public([opening.network]):
            continue
        version = opening.network.version
        others = [one for row in standing for one in _openings(row) if one.network.version == version]
        if (port := _port_too_open(opening, others)) is not None:
            return f"With what stands already, more public addresses than {_SIZE[version]} holds may then reach {port}."
    return None


def _openings(row: Permission) -> Iterator[_Opening]:
    protocol = protocol_of(row["IpProtocol"])
    first, last = _range(protocol, row.get("FromPort"), row.get("ToPort"))
    for kind, name in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
        for item in row.get(kind, []):
            if (network := network_of(item[name])) is not None:
                yield _Opening(protocol, first, last, _as_ipv4(network))


def _as_ipv4(network: Network) -> Network:
    """Return an IPv4 network that is written as IPv6 for what it is."""
    if network.version == 4 or not network.subnet_of(_MAPPED):
        return network
    return ipaddress.IPv4Network((int(network.network_address) & 0xFFFF_FFFF, network.prefixlen - 96))


def _range(protocol: str, first: int | None, last: int | None) -> tuple[int, int]:
    if protocol in ("icmp", "icmpv6"):
        return (first, first) if first is not None and first >= 0 else (0, 255)
    if protocol not in ("tcp", "udp") or first is None or last is None or first < 0:
        return 0, 65_535
    return first, last


def _port_too_open(new: _Opening, standing: Sequence[_Opening]) -> str | None:
    """Name the first port that too many may reach; between two rules' limits all ports are alike."""
    most = _MOST[new.network.version]
    sizes = {network: _outside(network) for network in {new.network, *(one.network for one in standing)}}
    if sum(sizes.values()) <= most:
        return None
    for protocol in sorted({new.protocol, *(one.protocol for one in standing if new.protocol == _EVERY)}):
        others = [one for one in standing if one.concerns(protocol)]
        known: dict[frozenset[Network], bool] = {}
        for port in _turns(new, others, protocol):
            if protocol == "tcp" and port in _WEB:
                continue
            networks = frozenset({new.network, *(one.network for one in others if one.holds(port))})
            if networks not in known:
                known[networks] = sum(map(sizes.__getitem__, networks)) > most and _public(networks) > most
            if known[networks]:
                return "every port" if protocol == _EVERY else f"{protocol} {port}"
    return None


def _turns(new: _Opening, others: Sequence[_Opening], protocol: str) -> list[int]:
    """Return the ports of the new rule at which it may change who reaches them."""
    turns = {new.first}
    for one in others:
        turns |= {one.first, one.last + 1}
    if protocol == "tcp":
        turns |= {port + more for port in _WEB for more in (0, 1)}
    return sorted(port for port in turns if new.holds(port))


def _public(networks: Iterable[Network]) -> int:
    """Count the public addresses of networks of one version; one that lies in two is one."""
    apart: Iterable[Network] = ipaddress.collapse_addresses(networks)  # type: ignore[type-var]
    return sum(_outside(network) for network in apart)


def _outside(network: Network) -> int:
    blocks = [block for block in _INSIDE if block.version == network.version and block.overlaps(network)]
    return network.num_addresses - sum(min(block.num_addresses, network.num_addresses) for block in blocks)
