"""Amazon Route 53: which of the configured accounts answers for a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services._route53 import DomainName, HostedZone, HostedZoneDetail, Vpc, is_within, shown_name, suffixes
from services.base import READ, AWSModel, AWSServiceBase, Target, tool
from toolcall.call import Call
from toolcall.fanout import TargetFailure, gather

_MOST_LABELS = 10


class Delegation(AWSModel):
    """An NS record set below a zone's apex: what lies there is answered elsewhere."""

    name: str
    name_servers: list[str]


class HoldingZone(AWSModel):
    """A zone that a name lies in: the longest of its account, public or private.

    Attributes:
        owner: Whether no account holds a longer one of its kind.
        delegated: Where the zone hands the name on to other name servers.
    """

    owner: bool = False
    account: str | None = None
    account_id: str | None = None
    hosted_zone_id: str
    zone_name: str
    private_zone: bool
    name_servers: list[str] = []
    vpcs: list[Vpc] = []
    delegated: Delegation | None = None


class ZoneOwners(AWSModel):
    """Who holds a name, longest zone first; `failures` names the accounts that could not be asked."""

    name: str
    verdict: str
    zones: list[HoldingZone]
    asked: int
    failures: list[TargetFailure] = []


class Route53OwnerService(AWSServiceBase):
    """Zones over all accounts."""

    client_name = "route53"
    toolset = "route53"

    @tool(
        READ, "route53:ListHostedZones", "route53:GetHostedZone", "route53:ListResourceRecordSets", resource="name",
        everywhere=True,
    )  # fmt: skip
    def find_zone_owner(self, name: DomainName, target: Target) -> ZoneOwners:
        """Find which configured account's hosted zone holds a name, by the longest match; public and private."""
        call = Call.current()
        accounts = [Target(account=account.name) for account in self.desk.policy.accounts_of(call.caller)]
        targets = accounts or [target]
        gathered = gather(targets, lambda one: self._held_by(one, name))
        zones = _with_owners([zone for _, held in gathered.answers for zone in held])
        verdict = _verdict(name, zones, unknown=len(gathered.failures))
        return ZoneOwners(name=name, verdict=verdict, zones=zones, asked=len(targets), failures=gathered.failures)

    def _held_by(self, target: Target, name: str) -> list[HoldingZone]:
        client, number = self.client(target), self._number(target)
        return [_described(client, zone, name, target.account, number) for zone in _longest(client, name)]

    def _number(self, target: Target) -> str | None:
        return self.desk.credentials.known_account_id(Call.current().grant(target).identity)


def _longest(client: Any, name: str) -> list[HostedZone]:
    """Return the account's longest zones that a name lies in: of each kind, all of one length."""
    holding: list[HostedZone] = []
    marker: dict[str, str] = {}
    while True:
        page = client.list_hosted_zones(**marker)
        holding += [zone for row in page["HostedZones"] if is_within(name, (zone := HostedZone.of(row)).name)]
        if not page["IsTruncated"]:
            return [zone for zone in holding if len(zone.name) == _length(holding, private=zone.private_zone)]
        marker = {"Marker": page["NextMarker"]}


def _length(zones: Sequence[HostedZone], *, private: bool) -> int:
    return max(len(zone.name) for zone in zones if zone.private_zone == private)


def _described(client: Any, zone: HostedZone, name: str, account: str | None, number: str | None) -> HoldingZone:
    detail = HostedZoneDetail.of(client.get_hosted_zone(Id=zone.id))
    return HoldingZone(
        account=account,
        account_id=number,
        hosted_zone_id=zone.id,
        zone_name=zone.name,
        private_zone=zone.private_zone,
        name_servers=detail.name_servers,
        vpcs=detail.vpcs,
        delegated=_delegation(client, zone, name),
    )


def _delegation(client: Any, zone: HostedZone, name: str) -> Delegation | None:
    """Return the NS record set, below the apex and nearest to it, by which a zone hands a name on."""
    below = [one for one in suffixes(name) if is_within(one, zone.name) and one != zone.name]
    for one in reversed(below[-_MOST_LABELS:]):
        answer = client.list_resource_record_sets(
            HostedZoneId=zone.id, StartRecordName=one, StartRecordType="NS", MaxItems="1"
        )
        for row in answer["ResourceRecordSets"]:
            if (shown_name(row["Name"]), row["Type"]) == (one, "NS"):
                return Delegation(name=one, name_servers=[record["Value"] for record in row["ResourceRecords"]])
    return None


def _with_owners(zones: list[HoldingZone]) -> list[HoldingZone]:
    longest = {
        private: max((len(zone.zone_name) for zone in zones if zone.private_zone == private), default=0)
        for private in (False, True)
    }
    marked = [
        zone.model_copy(update={"owner": len(zone.zone_name) == longest[zone.private_zone]}) for zone in zones
    ]  # fmt: skip
    return sorted(marked, key=lambda zone: (not zone.owner, zone.private_zone, -len(zone.zone_name)))


def _verdict(name: str, zones: Sequence[HoldingZone], *, unknown: int) -> str:
    """Say who it is, for a reader in a hurry."""
    public = [zone for zone in zones if zone.owner and not zone.private_zone]
    private = [zone for zone in zones if zone.owner and zone.private_zone]
    parts = []
    if len(public) > 1:
        parts.append(
            f"{len(public)} public zones named {public[0].zone_name} hold it, in {_places(public)}: the one whose "
            "name_servers the parent delegates to answers."
        )
    elif public:
        parts.append(f"Public DNS: zone {public[0].zone_name} ({public[0].hosted_zone_id}) in {_places(public)}.")
        parts += _from_above(public[0], zones)
    if public and (away := public[0].delegated) is not None:
        parts.append(f"But it delegates {away.name} to {', '.join(away.name_servers)}, a zone that was not found.")
    if private:
        parts.append(f"Inside its VPCs: private zone {private[0].zone_name}, in {_places(private)}.")
    if not parts:
        parts.append(f"No zone that was seen holds {name}")
        parts[-1] += "." if not unknown else ""
    if unknown:
        parts.append(f"{unknown} account(s) could not be asked (failures): one of them may hold a longer zone.")
    return " ".join(parts)


def _from_above(owner: HoldingZone, zones: Sequence[HoldingZone]) -> list[str]:
    """Say whether the zone above, where it is ours too, sends its questions to this one."""
    above = [zone for zone in zones if not zone.owner and not zone.private_zone]
    if not above:
        return []
    parent = max(above, key=lambda zone: len(zone.zone_name))
    who, away = f"{parent.zone_name} in {_places([parent])}", parent.delegated
    if away is None:
        return [f"But {who} does not delegate {owner.zone_name}: nobody asks this zone."]
    if away.name != owner.zone_name:
        return []
    if _bare(away.name_servers) == _bare(owner.name_servers):
        return [f"{who} delegates to it."]
    return [f"But {who} delegates {away.name} to {', '.join(away.name_servers)}: nobody asks this zone."]


def _bare(name_servers: Sequence[str]) -> set[str]:
    return {name.lower().rstrip(".") for name in name_servers}


def _places(zones: Sequence[HoldingZone]) -> str:
    return ", ".join(
        f"{zone.account or 'the call’s account'}{f' ({zone.account_id})' if zone.account_id else ''}" for zone in zones
    )
