"""Amazon Route 53: hosted zones and the record sets in them; how records change: route53_changes.

Route 53 is global: whatever a call's region, botocore signs for its partition's own (us-east-1, us-gov-west-1, ...).
Source: https://docs.aws.amazon.com/Route53/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import InvalidParameter, translate
from services._route53 import (
    ChangeInfo,
    DomainName,
    HostedZone,
    HostedZoneDetail,
    HostedZones,
    MadeZone,
    RecordType,
    Token,
    ZoneId,
    shown_name,
)
from services._route53_listing import LARGEST_PAGE, Listing, RecordSets, pages
from services.base import DESTROY, READ, WRITE, AWSServiceBase, Plan, Target, tool
from toolcall.call import Call

VpcId = Annotated[str, StringConstraints(pattern=r"^vpc-[0-9a-f]{8,32}$")]
VpcRegion = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,5}(-[a-z]+)+-\d{1,2}$")]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=128)]
_NAMED = 5


def _vpc_fits(arguments: Mapping[str, Any]) -> None:
    if arguments["vpc_region"] is not None and arguments["vpc_id"] is None:
        raise InvalidParameter("vpc_region: goes with vpc_id, which makes the zone private.")


class Route53Service(AWSServiceBase):
    """Hosted zones and their record sets."""

    client_name = "route53"
    toolset = "route53"

    @tool(READ, "route53:ListHostedZones")
    def list_hosted_zones(
        self,
        target: Target,
        max_results: Annotated[int, Field(ge=1, le=100)] = 100,
        next_token: Token | None = None,
    ) -> HostedZones:
        """List the account's hosted zones, public and private, with how many record sets each holds."""
        request = {"MaxItems": str(max_results), **({"Marker": next_token} if next_token else {})}
        page = self.client(target).list_hosted_zones(**request)
        zones = [HostedZone.of(row) for row in page["HostedZones"]]
        following = page["NextMarker"] if page["IsTruncated"] else None
        return HostedZones(
            hosted_zones=zones, count=len(zones), truncated=following is not None, next_token=following
        )  # fmt: skip

    @tool(READ, "route53:GetHostedZone", resource="hosted_zone_id")
    def get_hosted_zone(self, hosted_zone_id: ZoneId, target: Target) -> HostedZoneDetail:
        """Return a hosted zone with the name servers that answer for it, or the VPCs that see it."""
        return HostedZoneDetail.of(self.client(target).get_hosted_zone(Id=hosted_zone_id))

    @tool(READ, "route53:ListResourceRecordSets", resource="hosted_zone_id")
    def list_resource_record_sets(
        self,
        hosted_zone_id: ZoneId,
        target: Target,
        name: DomainName | None = None,
        type: RecordType | None = None,
        value: Annotated[str, StringConstraints(min_length=1, max_length=4_000)] | None = None,
        max_results: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 100,
        next_token: Token | None = None,
    ) -> RecordSets:
        """List a zone's record sets, of one name, type or value if asked; changes still PENDING are in.

        Args:
            name: The whole name; *.example.com is the wildcard itself
            value: Part of a value or alias target: what points at this address or host?
        """
        listing = Listing(hosted_zone_id, name, type, value)
        return listing.read(self.client(target), max_results, next_token)

    @tool(
        WRITE, "route53:CreateHostedZone", "route53:GetHostedZone", "route53:ListHostedZonesByName", "ec2:DescribeVpcs",
        resource="name", check=_vpc_fits,
    )  # fmt: skip
    def create_hosted_zone(
        self,
        name: DomainName,
        target: Target,
        comment: Annotated[str, StringConstraints(max_length=256)] | None = None,
        vpc_id: VpcId | None = None,
        vpc_region: VpcRegion | None = None,
        caller_reference: Reference | None = None,
        allow_same_name: bool = False,
    ) -> MadeZone:
        """Create a hosted zone: public, or private to a VPC. One beside another of its name only if allowed.

        Args:
            vpc_region: The VPC's; the call's region if left out
            caller_reference: A repeat with the same one makes no second zone
        """
        call, client = Call.current(), self.client(target)
        if vpc_region:
            call.grant(target.model_copy(update={"region": vpc_region}))  # a place of the call's as well
        reference = caller_reference or f"aws-ops-{call.request_id}"
        same_name = [row for row in _zones_named(client, name) if _is_private(row) == (vpc_id is not None)]
        ours = next((row for row in same_name if row["CallerReference"] == reference), None)
        if ours is not None:
            return _made_before(client, ours)
        if same_name and not allow_same_name:
            held = ", ".join(HostedZone.of(row).id for row in same_name)
            raise InvalidParameter(
                f"There is such a zone already: {held}. A second one gets name servers that nobody asks.",
                next_step="Use that one; or set allow_same_name.",
            )
        request: dict[str, Any] = {"Name": name, "CallerReference": reference}
        if comment or vpc_id:
            request["HostedZoneConfig"] = {"Comment": comment or "", "PrivateZone": vpc_id is not None}
        if vpc_id:
            request["VPC"] = {"VPCId": vpc_id, "VPCRegion": vpc_region or call.grant(target).region}
        return self._create(client, request)

    def _create(self, client: Any, request: Mapping[str, Any]) -> MadeZone:
        try:
            answer = client.create_hosted_zone(**request)
        except Exception as error:
            # A retry after an answer was lost meets the zone that the first try made.
            if translate(error).error_code == "HostedZoneAlreadyExists":
                for row in _zones_named(client, request["Name"]):
                    if row["CallerReference"] == request["CallerReference"]:
                        return _made_before(client, row, known=True)
            raise
        made = HostedZoneDetail.of(answer)
        return MadeZone(**dict(made), change=ChangeInfo.of(answer["ChangeInfo"]), next=_what_next(made))

    @tool(
        DESTROY, "route53:DeleteHostedZone", "route53:GetHostedZone", "route53:ListResourceRecordSets",
        resource="hosted_zone_id", idempotent=True, voids_state=True,
    )  # fmt: skip
    def delete_hosted_zone(self, hosted_zone_id: ZoneId, target: Target) -> ChangeInfo:
        """Delete a hosted zone for good. It holds nothing but its own NS and SOA; a new one gets other name servers."""
        return ChangeInfo.of(self.client(target).delete_hosted_zone(Id=hosted_zone_id)["ChangeInfo"])

    def plan_delete_hosted_zone(self, hosted_zone_id: ZoneId, target: Target) -> Plan:
        """Say which zone would be gone; refuse one that still holds records or belongs to another service."""
        client = self.client(target)
        answer = client.get_hosted_zone(Id=hosted_zone_id)
        detail = HostedZoneDetail.of(answer)
        zone = detail.hosted_zone
        if zone.linked_service is not None:
            raise InvalidParameter(f"{zone.name} belongs to {zone.linked_service}: delete it there. Nothing was done.")
        rows = [row for _, page, _ in pages(client, hosted_zone_id) for row in page]
        _refuse_records(zone.name, rows)
        kind = "private" if zone.private_zone else "public"
        return Plan(
            target=f"the {kind} zone {zone.name} ({zone.id})",
            will_be_lost=_loss(detail),
            state={"zone": answer["HostedZone"], "records": rows, "vpcs": answer.get("VPCs")},
        )


def _loss(zone: HostedZoneDetail) -> str:
    text = "The zone and its name servers are gone; one made anew gets others."
    if zone.hosted_zone.private_zone:
        return f"{text} {len(zone.vpcs)} VPC(s) no longer see it."
    return f"{text} While the parent still delegates to them, somebody else may take the name over."


def _refuse_records(zone: str, rows: list[Mapping[str, Any]]) -> None:
    names = [(shown_name(row["Name"]), row["Type"]) for row in rows]
    others = [f"{name} {kind}" for name, kind in names if name != zone or kind not in ("NS", "SOA")]
    if others:
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        raise InvalidParameter(
            f"{zone} still holds {', '.join(others[:_NAMED])}{more}. Nothing was done.",
            next_step="Delete them with change_resource_record_sets first; its answer can undo that.",
        )


def _zones_named(client: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the account's zones of just this name, which AWS lists side by side."""
    rows = client.list_hosted_zones_by_name(DNSName=name)["HostedZones"]
    return [row for row in rows if shown_name(row["Name"]) == name]


def _is_private(row: Mapping[str, Any]) -> bool:
    return bool(row.get("Config", {}).get("PrivateZone"))


def _made_before(client: Any, row: Mapping[str, Any], *, known: bool = False) -> MadeZone:
    made = HostedZoneDetail.of(client.get_hosted_zone(Id=HostedZone.of(row).id))
    return MadeZone(**dict(made), existed=None if known else True, next=_what_next(made))


def _what_next(made: HostedZoneDetail) -> str | None:
    if made.hosted_zone.private_zone or not made.name_servers:
        return None
    return "It answers nobody until the parent zone, or the registrar, delegates to these name_servers."
