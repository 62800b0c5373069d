"""Which record sets Route 53 would take, told before it is asked. Nothing of what a zone holds.

dnspython reads the values. What Route 53 would take passes, so that what stands in a zone can always be put back.
Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import dns.exception
import dns.name
import dns.rdata
from dns.rdataclass import IN

from errors import InvalidParameter
from services._route53 import Change, RecordSet, domain_name, shown_name
from services._route53_groups import POLICIES, coordinate

MOST_RECORDS, MOST_CHARACTERS = 1_000, 32_000
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_TEXT = re.compile(rf"{_QUOTED.pattern}(?:[ \t]*{_QUOTED.pattern})*")
_ESCAPE = re.compile(r"\\(?:([0-3][0-7]{2})|.)")
# What stands for data that dnspython holds against lists of its own, which Route 53's may be ahead of.
_BY_SHAPE = {
    "DS": re.compile(r"\d+(?:\s+\d+){2}\s+[0-9A-Fa-f\s]+"),
    "SSHFP": re.compile(r"\d+\s+\d+\s+[0-9A-Fa-f\s]+"),
    "TLSA": re.compile(r"\d+(?:\s+\d+){2}\s+[0-9A-Fa-f\s]+"),
    "HTTPS": re.compile(r"\d{1,5}\s+\S+(?:\s.*)?"),
    "SVCB": re.compile(r"\d{1,5}\s+\S+(?:\s.*)?"),
}
_NOT_ROUTED, _NOT_MULTIVALUE, _NOT_ALIASED = ("NS", "SOA", "DS"), ("NS", "CNAME"), ("NS", "SOA")
_ALONE = ("CNAME", "SOA")
# CloudFront's, and in China; edge-optimized APIs have them too. Neither says how its targets are.
_NEVER_EVALUATED = ("Z2FDTNDATAQYW2", "Z3RFFRIM2A3IF5")
_CONTINENTS = ("AF", "AN", "AS", "EU", "NA", "OC", "SA")


def label(record: RecordSet) -> str:
    """Return how a sentence names a record set."""
    return f"{record.name} {record.type}" + (f" [{record.set_identifier}]" if record.set_identifier else "")


def refusal(number: int, change: Change, problem: str, next_step: str | None = None) -> InvalidParameter:
    """Return what says which change of a batch is wrong, and how; never a value."""
    return InvalidParameter(f"changes[{number}] ({change.action} {label(change)}): {problem}.", next_step=next_step)


def check_changes(changes: Sequence[Change]) -> None:
    """Refuse a batch that no zone would take.

    Raises:
        InvalidParameter: names the first change that is wrong.
    """
    check_limits([(change.action, change) for change in changes])  # first, as it bounds what the rest costs
    for number, change in enumerate(changes):
        problems = _of_any(change) if change.action == "DELETE" else _problems(change)
        if (problem := next(problems, None)) is not None:
            raise refusal(number, change, problem)


def check_limits(batch: Sequence[tuple[str, RecordSet]]) -> None:
    """Refuse more than Route 53 takes at once; what an UPSERT writes counts twice."""
    records = characters = 0
    for action, record in batch:
        times, values = (2 if action == "UPSERT" else 1), record.resource_records or []
        records += times * len(values)
        characters += times * sum(len(value) for value in values)
    if records > MOST_RECORDS or characters > MOST_CHARACTERS:
        raise InvalidParameter(
            f"changes: {records:,} values of {characters:,} characters; Route 53 takes {MOST_RECORDS:,} of "
            f"{MOST_CHARACTERS:,} at once, those of an UPSERT counted twice.",
            next_step="Split it into several batches.",
        )


def _problems(change: Change) -> Iterator[str]:
    yield from _of_any(change)
    yield from _of_the_name(change)
    yield from _of_the_routing(change)
    yield from _of_multivalue(change)
    yield from _of_the_place(change)
    yield from _of_the_alias(change) if change.alias_target is not None else _of_the_values(change)


def _of_any(change: Change) -> Iterator[str]:
    if change.traffic_policy_instance_id is not None:
        yield "it belongs to a traffic policy instance, which is to be changed instead"


def _of_the_name(change: Change) -> Iterator[str]:
    if change.name.startswith("*.") and change.type == "NS":
        yield "an NS record set takes no wildcard"


def _of_the_routing(change: Change) -> Iterator[str]:
    given = [name for name in POLICIES if getattr(change, name) is not None]
    if given and change.type in _NOT_ROUTED:
        yield f"{change.type} takes no routing policy"
    if change.set_identifier is None and given:
        yield f"{given[0]} makes it one of several, which set_identifier tells apart: give one"
    if change.set_identifier is not None and len(given) != 1:
        yield f"set_identifier goes with exactly one routing policy of {', '.join(POLICIES)}"
    if change.region is not None and not re.fullmatch(r"[a-z]{2,5}(-[a-z]+)+-\d{1,2}", change.region):
        yield "region is not a region's name"


def _of_multivalue(change: Change) -> Iterator[str]:
    if change.multi_value_answer is None:
        return
    if change.alias_target is not None or change.type in _NOT_MULTIVALUE:
        yield "a multivalue answer is no alias, NS or CNAME"


def _of_the_place(change: Change) -> Iterator[str]:
    place = change.geo_location
    if place is None:
        return
    if (place.continent_code is None) == (place.country_code is None):
        yield "geo_location has a continent_code or a country_code (* for all others)"
    if place.continent_code is not None and place.continent_code not in _CONTINENTS:
        yield f"continent_code is one of {', '.join(_CONTINENTS)}"
    if place.subdivision_code is not None and place.country_code is None:
        yield "subdivision_code goes with its country_code"


def _of_the_alias(change: Change) -> Iterator[str]:
    target = change.alias_target
    if target is None:
        return
    if change.ttl is not None or change.resource_records is not None:
        yield "an alias has no ttl and no resource_records: its target's hold"
    if change.type in _NOT_ALIASED:
        yield f"{change.type} cannot be an alias"
    if not re.fullmatch(r"[A-Z0-9]{1,32}", target.hosted_zone_id):
        yield "alias_target.hosted_zone_id is not a zone's id such as Z35SXDOTRQ7X7K"
    try:
        domain_name(target.dns_name)
    except ValueError as error:
        yield f"alias_target.dns_name {error}"
    if target.evaluate_target_health and target.hosted_zone_id in _NEVER_EVALUATED:
        yield "CloudFront's targets are not evaluated: alias_target.evaluate_target_health is false"


def _of_the_values(change: Change) -> Iterator[str]:
    values = change.resource_records
    if values is None:
        yield "it has neither resource_records nor an alias_target"
        return
    if change.ttl is None:
        yield "ttl goes with resource_records"
    if change.failover == "PRIMARY" and change.health_check_id is None:
        yield "a failover PRIMARY that is no alias has a health_check_id"
    if len(values) > 1 and change.type in _ALONE:
        yield f"{change.type} has one value"
    for number, value in enumerate(values):
        if (problem := value_problem(change.type, value)) is not None:
            yield f"resource_records[{number}] {problem}"
    if len({canonical(change.type, value) for value in values}) < len(values):
        yield "a value stands twice in resource_records"


def value_problem(record_type: str, value: str) -> str | None:
    """Say what is wrong with a value, without repeating it; None where nothing is."""
    if not value or value != value.strip() or len(value) > 4_000:
        return "has 1 to 4,000 characters, and no space around them"
    if not (value.isascii() and value.replace("\t", " ").isprintable()):
        return r"holds characters that Route 53 takes as \ooo (octal) only"
    if record_type in ("TXT", "SPF"):
        return _text_problem(value)
    if value.startswith("\\#") or re.search(r"[;()]", _QUOTED.sub("", value)):
        return _not_data_of(record_type)
    try:
        dns.rdata.from_text(IN, record_type, _in_decimal(value))
    except (dns.exception.DNSException, ValueError):
        shape = _BY_SHAPE.get(record_type)
        return None if shape is not None and shape.fullmatch(value) else _not_data_of(record_type)
    return None


def _text_problem(value: str) -> str | None:
    if not _TEXT.fullmatch(value):
        return 'is not one or more strings in double quotes, such as "v=spf1 -all" (a quote within them as \\")'
    if any(len(part) > 255 for part in _strings(value)):
        return 'has a string of more than 255 bytes: cut it into several, "..." "..."'
    return None


def _not_data_of(record_type: str) -> str:
    return f"is not {record_type} data{_EXAMPLES.get(record_type, '')}"


_EXAMPLES = {
    "A": ", such as 192.0.2.1",
    "AAAA": ", such as 2001:db8::1",
    "CAA": ', such as 0 issue "ca.example.net"',
    "CNAME": ", such as www.example.com.",
    "DS": ", such as 12345 13 2 and a digest in hex",
    "HTTPS": ", such as 1 . alpn=h2",
    "MX": ", such as 10 mail.example.com.",
    "NAPTR": ', such as 10 20 "S" "SIP+D2U" "" _sip._udp.example.com.',
    "NS": ", such as ns-1.awsdns-01.org.",
    "SOA": ", such as ns. hostmaster.example.com. 1 7200 900 1209600 86400",
    "SRV": ", such as 10 5 443 host.example.com.",
    "SSHFP": ", such as 4 2 and a fingerprint in hex",
    "TLSA": ", such as 3 1 1 and a digest in hex",
}


def _in_decimal(value: str) -> str:
    """Route 53 writes a byte as three octal digits, DNS in decimal ones."""
    return _ESCAPE.sub(lambda found: f"\\{int(found[1], 8):03d}" if found[1] else found[0], value)


def _strings(value: str) -> tuple[bytes, ...]:
    """Return the character strings of a TXT value, as bytes."""
    return tuple(
        re.sub(
            r"\\([0-3][0-7]{2})|\\(.)", lambda f: chr(int(f[1], 8)) if f[1] else f[2], part
        ).encode("latin-1", "replace")
        for part in (found[1] for found in _QUOTED.finditer(value))
    )  # fmt: skip


def canonical(record_type: str, value: str) -> object:
    """Return what two spellings of one value have in common."""
    if record_type in ("TXT", "SPF"):
        return _strings(value) or value
    try:
        return dns.rdata.from_text(IN, record_type, _in_decimal(value)).to_digestable(dns.name.root)
    except (dns.exception.DNSException, ValueError):
        return value


def alike(one: RecordSet, other: RecordSet) -> bool:
    """Tell whether two record sets say the same, however their values are spelled and ordered."""
    return one.key == other.key and _canonical_members(one) == _canonical_members(other)


def _canonical_members(record: RecordSet) -> dict[str, object]:
    members: dict[str, object] = record.model_dump(exclude_none=True)
    if record.resource_records is not None:
        members["resource_records"] = {canonical(record.type, value) for value in record.resource_records}
    if (target := record.alias_target) is not None:
        members["alias_target"] = (
            target.hosted_zone_id,
            shown_name(target.dns_name),
            target.evaluate_target_health,
        )
    if (near := record.geo_proximity_location) is not None and (spot := near.coordinates) is not None:
        members["geo_proximity_location"] = (near.bias, coordinate(spot.latitude), coordinate(spot.longitude))
    return members
