"""What record sets of one name may not have at once: a CNAME beside others, two routing policies, one role twice.

Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from services._route53 import GeoProximityLocation, HostedZone, RecordSet, shown_name

Key = tuple[str, str, str | None]
Records = Mapping[Key, RecordSet]
POLICIES = (
    "weight", "region", "failover", "geo_location", "multi_value_answer", "cidr_routing_config",
    "geo_proximity_location",
)  # fmt: skip


def policy_of(record: RecordSet) -> str | None:
    """Return the routing policy of a record set, by the member that makes it one."""
    return next((name for name in POLICIES if getattr(record, name) is not None), None)


def sole_claim(record: RecordSet) -> tuple[str, ...] | None:
    """Return what one record set alone of its name and type may have: a failover role, a region, a place."""
    if record.failover is not None:
        return "failover", record.failover
    if record.region is not None:
        return "region", record.region
    if (place := record.geo_location) is not None:
        codes = (place.continent_code, place.country_code, place.subdivision_code)
        return "geo_location", *((code or "").upper() for code in codes)
    if (networks := record.cidr_routing_config) is not None:
        return "cidr_routing_config", networks.collection_id, networks.location_name
    if (near := record.geo_proximity_location) is not None:
        return "geo_proximity_location", *_spot(near)
    return None


def _spot(near: GeoProximityLocation) -> tuple[str, ...]:
    where = near.coordinates
    degrees = (coordinate(where.latitude), coordinate(where.longitude)) if where is not None else ("", "")
    return near.aws_region or "", near.local_zone_group or "", *degrees


def coordinate(text: str) -> str:
    """Return degrees so that 49.2 and 49.20 are the same."""
    try:
        return str(Decimal(text).normalize())
    except InvalidOperation:
        return text


def kinds_of(record: RecordSet) -> tuple[object, ...]:
    """Return what two record sets of one name clash over: all of a kind clash with another, or none does."""
    claim = sole_claim(record)
    return ((record.type, policy_of(record)), *([(record.type, claim)] if claim is not None else []))


def clash(record: RecordSet, other: RecordSet) -> str | None:
    """Say why a record set cannot stand beside another of its name; None where it can."""
    if record.key == other.key:
        return None
    if record.type != other.type:
        return "a CNAME stands alone at its name" if "CNAME" in (record.type, other.type) else None
    if policy_of(record) != policy_of(other):
        names = sorted(policy_of(one) or "none (a simple record set)" for one in (record, other))
        return f"record sets of one name and type have one routing policy; these would have {', '.join(names)}"
    claim = sole_claim(record)
    if claim is not None and claim == sole_claim(other):
        said = record.failover or record.region or "place"
        return f"one record set of a name and type has the {claim[0]} {said}, and {other.set_identifier} has it"
    return None


def alias_in(zone: HostedZone | None, record: RecordSet) -> tuple[str, str] | None:
    """Return the name and type of the record set in the zone itself that an alias stands for."""
    alias = record.alias_target
    if zone is None or alias is None or alias.hosted_zone_id != zone.id:
        return None
    return shown_name(alias.dns_name), record.type
