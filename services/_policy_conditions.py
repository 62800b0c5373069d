"""How far a condition narrows a statement that names no one: to which organization, account, source or network.

A key narrows only where every value that it may have is fixed in the part that names the party: as S3 and Access
Analyzer read "public", value by value. An external id narrows nothing: it is a name, not a secret.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services._policy_grammar import required

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:([0-9]{12}):.+", re.DOTALL)
# ArnLike holds part against part, so that a wildcard before the account stays before it.
_ARN_BY_PARTS = re.compile(r"arn:[^:$]+:[^:$]+:[^:$]*:([0-9]{12}):.+", re.DOTALL)
_BUCKET = re.compile(r"arn:aws[a-z-]*:s3:::[^/*?$]+(/.*)?", re.DOTALL)
_PRIVATE = [ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
# Networks of clients that are told as IPv6 addresses.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_MOST_ADDRESSES = {4: 2 ** (32 - 8), 6: 2 ** (128 - 32)}
_SOURCE_IP = "aws:sourceip"


def _whole(_: str, value: str) -> str | None:
    return "" if value and not re.search(r"[*?]|\$\{", value) else None


def _account(_: str, value: str) -> str | None:
    return value if _ACCOUNT.fullmatch(value) else None


def _arn(operator: str, value: str) -> str | None:
    found = (_ARN_BY_PARTS if operator.startswith("Arn") else _ARN).fullmatch(value)
    if found:
        return found[1]
    return "" if _BUCKET.fullmatch(value) else None


def _before(sign: str) -> Callable[[str, str], str | None]:
    def party(operator: str, value: str) -> str | None:
        name = value.split(sign)[0]
        return _account(operator, name) or _whole(operator, name)

    return party


_PARTIES: Mapping[str, Callable[[str, str], str | None]] = {
    "aws:principalorgid": _whole, "aws:sourceorgid": _whole, "aws:vpceorgid": _whole,
    "aws:principalorgpaths": _before("/"), "aws:sourceorgpaths": _before("/"), "aws:vpceorgpaths": _before("/"),
    "aws:principalaccount": _account, "aws:sourceaccount": _account, "aws:sourceowner": _account,
    "aws:vpceaccount": _account, "kms:calleraccount": _account,
    "aws:principalarn": _arn, "aws:sourcearn": _arn, "aws:sourcevpcarn": _arn,
    "aws:sourcevpc": _whole, "aws:sourcevpce": _whole,
    "aws:userid": _before(":"),
}  # fmt: skip


def narrowed_to(statement: Mapping[str, Any]) -> list[list[str]]:
    """Return, for each key that narrows a statement, the accounts that its values name; "" for a value of no account.

    All of the keys must hold at once. Networks are not among them; see `networks_of`.
    """
    found = []
    for operator, key, values in required(statement):
        if key in _PARTIES:
            parties = [_PARTIES[key](operator, value) for value in values]
            if None not in parties:
                found.append([party for party in parties if party is not None])
    return found


def networks_of(statement: Mapping[str, Any]) -> list[Network] | None:
    """Return the networks that a statement is narrowed to, or None where it is to none."""
    lists = [_networks(values) for _, key, values in required(statement) if key == _SOURCE_IP]
    return min((found for found in lists if found is not None), key=_share, default=None)


def are_too_wide(networks: Iterable[Network]) -> bool:
    """Tell whether networks are more together than one IPv4 /8 or one IPv6 /32, private addresses apart."""
    return _share(networks) > 1


def _networks(values: Iterable[str]) -> list[Network] | None:
    try:
        return [_unmapped(ipaddress.ip_network(value, strict=False)) for value in values]
    except ValueError:
        return None


def _unmapped(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def _share(networks: Iterable[Network]) -> float:
    """Return how much of what is admitted the networks take, of the family of which they take more."""
    known = list(networks)
    four = ipaddress.collapse_addresses(n for n in known if isinstance(n, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(n for n in known if isinstance(n, ipaddress.IPv6Network))
    shares = sum(map(_public, four)) / _MOST_ADDRESSES[4], sum(n.num_addresses for n in six) / _MOST_ADDRESSES[6]
    return float(max(shares))


def _public(network: ipaddress.IPv4Network) -> int:
    if any(network.subnet_of(private) for private in _PRIVATE):
        return 0
    return network.num_addresses - sum(p.num_addresses for p in _PRIVATE if p.subnet_of(network))
