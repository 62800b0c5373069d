"""Route 53's zones and record sets over moto, in two accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Session, boto, running, session_of

AT: dict[str, Any] = {"account": "production"}


@pytest.fixture
async def call(aws: str, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with session_of("route53", wire) as session:
        yield session


def make_zone(name: str = "example.com", account: str = "production", vpc: str | None = None) -> str:
    private: dict[str, Any] = {}
    if vpc:
        private = {"HostedZoneConfig": {"PrivateZone": True}, "VPC": {"VPCId": vpc, "VPCRegion": "us-east-1"}}
    answer = boto("route53", account).create_hosted_zone(Name=name, CallerReference=f"{name}{vpc}", **private)
    return str(answer["HostedZone"]["Id"]).removeprefix("/hostedzone/")


def seed(zone: str, *records: dict[str, Any], account: str = "production") -> None:
    changes = [{"Action": "CREATE", "ResourceRecordSet": record} for record in records]
    boto("route53", account).change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})


def a_record(name: str, *values: str, ttl: int = 300, **more: Any) -> dict[str, Any]:
    return {"Name": name, "Type": "A", "TTL": ttl, "ResourceRecords": [{"Value": v} for v in values], **more}


async def listed(call: Session, zone: str) -> list[dict[str, Any]]:
    answer = await call("list_resource_record_sets", hosted_zone_id=zone, **AT)
    rows: list[dict[str, Any]] = answer["resource_record_sets"]
    return [row for row in rows if row["type"] not in ("NS", "SOA")]


async def test_zones_are_listed_page_by_page_in_their_account_alone(call: Session) -> None:
    ids = [make_zone(f"z{number}.example.com") for number in range(3)]
    make_zone("elsewhere.example.com", "staging")
    first = await call("list_hosted_zones", max_results=2, **AT)
    assert (first["count"], first["truncated"]) == (2, True)
    rest = await call("list_hosted_zones", max_results=2, next_token=first["next_token"], **AT)
    assert (rest["truncated"], rest["next_token"]) == (False, None)
    assert [zone["id"] for zone in first["hosted_zones"] + rest["hosted_zones"]] == ids
    assert first["hosted_zones"][0]["resource_record_set_count"] == 2


async def test_a_zone_comes_with_its_name_servers_or_its_vpcs(call: Session) -> None:
    public, private = make_zone(), make_zone("internal.example.com", vpc="vpc-0123456789abcdef0")
    shown = await call("get_hosted_zone", hosted_zone_id=f"/hostedzone/{public}", **AT)
    assert (shown["hosted_zone"]["name"], shown["hosted_zone"]["private_zone"]) == ("example.com.", False)
    assert len(shown["name_servers"]) == 4
    shown = await call("get_hosted_zone", hosted_zone_id=private, **AT)
    assert shown["hosted_zone"]["private_zone"] is True
    assert shown["vpcs"] == [{"vpc_id": "vpc-0123456789abcdef0", "vpc_region": "us-east-1"}]
    assert (await call("get_hosted_zone", hosted_zone_id=public, account="staging")).error_code == "NoSuchHostedZone"


async def test_records_are_found_by_name_type_and_value(call: Session) -> None:
    zone = make_zone()
    alias = {
        "HostedZoneId": "Z35SXDOTRQ7X7K",
        "DNSName": "lb.us-east-1.elb.amazonaws.com",
        "EvaluateTargetHealth": True,
    }
    seed(
        zone,
        a_record("www.example.com", "192.0.2.1"),
        {**a_record("www.example.com", "2001:db8::1"), "Type": "AAAA"},
        a_record("*.example.com", "192.0.2.2"),
        {"Name": "app.example.com", "Type": "A", "AliasTarget": alias},
    )

    async def found(**filters: str) -> list[tuple[str, str]]:
        answer = await call("list_resource_record_sets", hosted_zone_id=zone, **filters, **AT)
        return [(row["name"], row["type"]) for row in answer["resource_record_sets"]]

    assert await found(name="WWW.example.com") == [("www.example.com.", "A"), ("www.example.com.", "AAAA")]
    assert await found(name="www.example.com.", type="AAAA") == [("www.example.com.", "AAAA")]
    assert await found(name=r"\052.example.com") == [("*.example.com.", "A")]
    assert await found(type="SOA") == [("example.com.", "SOA")]
    assert await found(value="192.0.2.2") == [("*.example.com.", "A")]
    assert await found(value="LB.us-east-1") == [("app.example.com.", "A")]
    assert await found(value="2001:DB8:0::1") == [("www.example.com.", "AAAA")]
    assert await found(value="elb.amazonaws.com.") == [("app.example.com.", "A")]
    assert await found(name=r"\101pp.example.com") == [("app.example.com.", "A")]
    assert await found(name="none.example.com") == []


async def test_record_listings_go_on_past_a_page_even_among_weighted_ones(call: Session) -> None:
    zone = make_zone()
    weighted = [a_record("w.example.com", f"192.0.2.{n}", SetIdentifier=f"s{n}", Weight=n) for n in range(5)]
    seed(zone, *weighted, *[a_record(f"n{number}.example.com", "192.0.2.9") for number in range(4)])
    for filters in ({}, {"type": "A"}, {"name": "w.example.com"}):
        whole = await call("list_resource_record_sets", hosted_zone_id=zone, **filters, **AT)
        assert (whole["truncated"], whole["next_token"]) == (False, None)
        rows, token, pages = [], None, 0
        while token is not None or not pages:
            more = {"next_token": token} if token else {}
            page = await call("list_resource_record_sets", hosted_zone_id=zone, max_results=2, **filters, **more, **AT)
            rows, token, pages = rows + page["resource_record_sets"], page["next_token"], pages + 1
        assert rows == whole["resource_record_sets"]
        assert pages == -(-len(rows) // 2)


async def test_a_token_continues_its_own_list_alone(call: Session) -> None:
    zone = make_zone()
    first = await call("list_resource_record_sets", hosted_zone_id=zone, max_results=1, **AT)
    token = first["next_token"]
    for wrong in ({"next_token": token, "type": "A"}, {"next_token": token[:-3]}, {"next_token": "bnVsbA"}):
        assert (await call("list_resource_record_sets", hosted_zone_id=zone, **wrong, **AT)).error_code == (
            "InvalidParameter"
        )


async def test_a_zone_is_made_once_and_says_what_is_next(call: Session) -> None:
    made = await call("create_hosted_zone", name="New.example.com", comment="c", caller_reference="r1", **AT)
    assert made["hosted_zone"]["name"] == "new.example.com."
    assert made["change"]["id"]
    assert "delegates" in made["next"]
    repeated = await call("create_hosted_zone", name="new.example.com", caller_reference="r1", **AT)
    assert (repeated["existed"], repeated["hosted_zone"]["id"]) == (True, made["hosted_zone"]["id"])
    second = await call("create_hosted_zone", name="new.example.com", **AT)
    assert (second.error_code, made["hosted_zone"]["id"] in second["message"]) == ("InvalidParameter", True)
    other = await call("create_hosted_zone", name="new.example.com", allow_same_name=True, **AT)
    assert other["hosted_zone"]["id"] != made["hosted_zone"]["id"]
    assert (await call("list_hosted_zones", **AT))["count"] == 2


async def test_a_zone_with_a_vpc_is_private(call: Session) -> None:
    made = await call("create_hosted_zone", name="corp.internal", vpc_id="vpc-0123456789abcdef0", **AT)
    assert made["hosted_zone"]["private_zone"] is True
    assert made["vpcs"][0]["vpc_region"] == "us-east-1"
    assert "next" not in made.content


async def test_a_zone_is_deleted_with_confirmation_once_nothing_else_is_in_it(call: Session) -> None:
    zone = make_zone()
    seed(zone, a_record("www.example.com", "192.0.2.1"))
    held = await call("delete_hosted_zone", hosted_zone_id=zone, **AT)
    assert (held.error_code, "www.example.com. A" in held["message"]) == ("InvalidParameter", True)
    gone = {"action": "DELETE", "name": "www.example.com", "type": "A"}
    await call("change_resource_record_sets", hosted_zone_id=zone, changes=[gone], **AT)
    asked = await call("delete_hosted_zone", hosted_zone_id=zone, **AT)
    assert "example.com." in asked["plan"]["target"]
    apex = {"action": "UPSERT", "name": "example.com", "type": "NS", "ttl": 60, "resource_records": ["ns.example.net."]}
    await call("change_resource_record_sets", hosted_zone_id=zone, changes=[apex], **AT)
    stale = await call("delete_hosted_zone", hosted_zone_id=zone, confirm=asked["confirm"], **AT)
    assert stale.error_code == "ConfirmationInvalid"
    done = await call.confirmed("delete_hosted_zone", hosted_zone_id=zone, **AT)
    assert done["status"] == "INSYNC"
    assert (await call("list_hosted_zones", **AT))["count"] == 0


async def test_the_owner_of_a_name_is_the_longest_zone_of_all_accounts(call: Session) -> None:
    outer, inner = make_zone("example.com"), make_zone("staging.example.com", "staging")
    private = make_zone("example.com", "staging", vpc="vpc-0123456789abcdef0")
    owners = await call("find_zone_owner", name="www.staging.example.com")
    assert [(z["hosted_zone_id"], z["account"], z["owner"]) for z in owners["zones"]] == [
        (inner, "staging", True),
        (private, "staging", True),
        (outer, "production", False),
    ]
    assert "production (111111111111) does not delegate staging.example.com.: nobody asks" in owners["verdict"]
    servers = owners["zones"][0]["name_servers"]
    delegation = {"Name": "staging.example.com", "Type": "NS", "TTL": 60}
    seed(outer, {**delegation, "ResourceRecords": [{"Value": f"{server}."} for server in servers]})
    verdict = (await call("find_zone_owner", name="www.staging.example.com"))["verdict"]
    assert "example.com. in production (111111111111) delegates to it." in verdict
    assert owners["zones"][0]["account_id"] == "222222222222"
    assert (owners["asked"], owners["failures"]) == (2, [])
    nobody = await call("find_zone_owner", name="example.org")
    assert (nobody["zones"], "No zone" in nobody["verdict"]) == ([], True)
    assert (await call("find_zone_owner", name="notexample.com"))["zones"] == []


async def test_a_name_that_is_delegated_elsewhere_and_twins_are_told(call: Session) -> None:
    zone = make_zone("example.com")
    seed(zone, {**a_record("sub.example.com", "ns1.example.net."), "Type": "NS"})
    owners = await call("find_zone_owner", name="a.b.sub.example.com")
    assert owners["zones"][0]["delegated"] == {"name": "sub.example.com.", "name_servers": ["ns1.example.net."]}
    assert "delegates sub.example.com." in owners["verdict"]
    make_zone("example.com", "staging")
    twins = await call("find_zone_owner", name="www.example.com")
    assert "2 public zones" in twins["verdict"]


async def test_an_account_that_cannot_be_asked_is_named_and_leaves_the_others(aws: str) -> None:
    make_zone("example.com")
    async with (
        running(TOOLSETS="route53", ALLOWED_ROLE_ARNS="arn:aws:iam::111111111111:role/*") as server,
        server.session() as call,
    ):
        owners = await call("find_zone_owner", name="www.example.com")
    assert [zone["account"] for zone in owners["zones"]] == ["production"]
    assert [(f["account"], f["error_code"]) for f in owners["failures"]] == [("staging", "RoleNotAllowed")]
    assert "could not be asked" in owners["verdict"]


async def test_a_vpc_in_a_region_that_is_not_allowed_gets_no_zone(aws: str) -> None:
    vpc = {"name": "corp.internal", "vpc_id": "vpc-0123456789abcdef0"}
    async with running(TOOLSETS="route53", ALLOWED_REGIONS="us-east-1,us-west-2") as server, server.session() as call:
        refused = await call("create_hosted_zone", **vpc, vpc_region="eu-west-1", **AT)
        assert refused.error_code == "RegionNotAllowed"
        assert (await call("list_hosted_zones", **AT))["count"] == 0
        assert (await call("create_hosted_zone", **vpc, vpc_region="us-west-2", **AT))["success"]


BAD: list[tuple[str, dict[str, Any]]] = [
    ("list_hosted_zones", {"max_results": 101}),
    ("get_hosted_zone", {"hosted_zone_id": "example.com"}),
    ("list_resource_record_sets", {"hosted_zone_id": "Z1", "type": "CERT"}),
    ("list_resource_record_sets", {"hosted_zone_id": "Z1", "name": "a..b"}),
    ("create_hosted_zone", {"name": "exämple.com"}),
    ("create_hosted_zone", {"name": "x" * 64 + ".com"}),
    ("create_hosted_zone", {"name": "a.com", "vpc_region": "us-east-1"}),
    ("create_hosted_zone", {"name": "a.com", "vpc_id": "main"}),
    ("find_zone_owner", {"name": "a b"}),
    ("delete_hosted_zone", {"hosted_zone_id": ""}),
]


async def test_bad_input_is_refused(call: Session) -> None:
    for tool, arguments in BAD:
        assert (await call(tool, **arguments, **AT)).error_code == "InvalidParameter", (tool, arguments)
