"""Listings of a zone: while it changes, page by page and token by token; and what is listed is what is taken back."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from tests.conftest import Session
from tests.services.strict_route53 import ZONE, Key, StrictRoute53, row, to
from tests.services.test_route53 import AT
from tests.services.test_route53_changes import change, submit

ROWS = ["a/blue", "a/green", "b/blue", "c/blue", "c/green", "c/red", "d/blue", "e/", "f/green"]


async def state(call: Session) -> Any:
    return (await call("list_resource_record_sets", hosted_zone_id=ZONE, **AT))["resource_record_sets"]


@pytest.fixture
async def call(empty: Session) -> Session:
    batch = []
    for one in ROWS:
        name, identifier = one.split("/")
        routed: dict[str, Any] = {"set_identifier": identifier, "weight": 1} if identifier else {}
        batch.append(change("CREATE", f"{name}.example.com", "A", "192.0.2.1", **routed))
    assert not (await submit(empty, ZONE, *batch)).is_error
    return empty


def in_short(row: Any) -> str:
    return f"{row['name'][0]}/{row.get('set_identifier', '')}"


def short(key: Key) -> str:
    return f"{key[0][0]}/{key[2]}"


async def listed(call: Session, zone: StrictRoute53, **more: Any) -> list[str]:
    """The whole list, by as many calls as it takes; the first record set that a token goes on at goes meanwhile."""
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await call("list_resource_record_sets", hosted_zone_id=ZONE, **more, **token, **AT)
        assert not page.is_error, page.text
        found += [in_short(row) for row in page["resource_record_sets"]]
        if not page["truncated"]:
            return found
        if not token:
            del zone.rows[next(key for key in sorted(zone.rows) if short(key) not in found)]
        token = {"next_token": page["next_token"]}


@pytest.mark.parametrize("by_identifier", [True, False], ids=["position by identifier", "by name and type"])
async def test_no_record_set_is_lost_or_twice_where_the_next_one_goes_between_two_pages(
    call: Session, zone: StrictRoute53, by_identifier: bool
) -> None:
    zone.by_identifier = by_identifier
    all_rows = dict(zone.rows)

    def goes(following: Key) -> None:
        zone.meanwhile = lambda _: None
        del zone.rows[following]

    for size in range(4, len(ROWS)):  # a server that goes by name and type alone must get past the largest group
        zone.rows, zone.page_size, zone.meanwhile = dict(all_rows), size, goes
        found = await call("list_resource_record_sets", hosted_zone_id=ZONE, **AT)
        assert [in_short(row) for row in found["resource_record_sets"]] == [short(key) for key in sorted(zone.rows)]
    zone.page_size = 300
    for size in range(1, len(ROWS)):
        zone.rows = dict(all_rows)
        assert await listed(call, zone, max_results=size) == [short(key) for key in sorted(zone.rows)], size


async def test_what_stands_is_seen_whole_by_a_change_and_can_be_put_back(call: Session, zone: StrictRoute53) -> None:
    all_rows = dict(zone.rows)
    batch = [change("DELETE", "b.example.com", "A", set_identifier="blue")]
    batch += [change("UPSERT", f"{name}.example.com", "TXT", '"x"') for name in "cdef"]  # many names: the whole zone
    for size, gone in product((1, 2, 3), ("a/green", "c/red")):

        def goes(following: Key, gone: str = gone) -> None:
            if short(following) == gone:
                zone.rows.pop(following)

        zone.rows, zone.page_size, zone.meanwhile = dict(all_rows), size, goes
        tried = await submit(call, ZONE, *batch, dry_run=True)
        assert not tried.is_error, tried.text
        assert [in_short(row) for row in tried["before"]] == ["b/blue"]
        assert [one["action"] for one in tried["undo"]].count("UPSERT") == 1


async def test_a_zone_that_still_holds_records_is_not_planned_away_while_another_goes(
    call: Session, zone: StrictRoute53
) -> None:
    zone.page_size = 1

    def goes(following: Key) -> None:
        if short(following) == "a/green":
            zone.rows.pop(following)

    zone.meanwhile = goes
    held = await call("delete_hosted_zone", hosted_zone_id=ZONE, **AT)
    assert (held.error_code, "b.example.com. A" in held["message"]) == ("InvalidParameter", True)


CLOUDFRONT = to("Z2FDTNDATAQYW2", "d111111abcdef8.cloudfront.net.")
LISTED = {
    "a secondary at CloudFront": row(
        "fo.example.com.", "A", SetIdentifier="s", Failover="SECONDARY", AliasTarget=CLOUDFRONT
    ),
    "a primary at CloudFront": row(
        "fo.example.com.", "AAAA", SetIdentifier="p", Failover="PRIMARY", AliasTarget=CLOUDFRONT
    ),
    "a primary that is not evaluated": row(
        "fo.example.com.", "A", SetIdentifier="p", Failover="PRIMARY",
        AliasTarget=to("Z35SXDOTRQ7X7K", "dualstack.lb-1.us-east-1.elb.amazonaws.com."),
    ),
    "no multivalue answer, said": row("m.example.com.", "A", "192.0.2.1", MultiValueAnswer="false"),
    "weighted, and no multivalue answer, said": row(
        "m.example.com.", "A", "192.0.2.1", SetIdentifier="b", Weight="0", MultiValueAnswer="false"
    ),
    "a wildcard": row("\\052.example.com.", "A", "192.0.2.1"),
    "a star that is none": row("a\\052b.example.com.", "A", "192.0.2.1"),
    "a star further in": row("x.\\052.example.com.", "TXT", '"x"'),
    "odd characters in a name": row("\\100\\044\\057.example.com.", "TXT", '"x"'),
    "an octet beyond ASCII": row("b\\374cher.example.com.", "TXT", '"x"'),
    "a fingerprint of an unknown length": row("k.example.com.", "SSHFP", "4 2 ABCD EF"),
    "a digest of an unknown length": row("k.example.com.", "DS", "12345 13 2 ABCDEF"),
    "a certificate's data, cut": row("_25._tcp.example.com.", "TLSA", "3 1 1 ABCD"),
    "parameters of a service that are new": row("h.example.com.", "HTTPS", '1 . alpn="h3" ech=AEX+DQ== key65000=x'),
    "a service's parameters that contradict": row("h.example.com.", "SVCB", "1 . no-default-alpn port=1"),
    "a lookup with a backslash": row("n.example.com.", "NAPTR", '10 100 "U" "" "!^(.*)$!sip:\\\\1@x!" .'),
    "texts of many kinds": row("t.example.com.", "TXT", '"a" "b"', '""', '"\\"q\\""', '"\\374"', '"a;b(c)"'),
    "geoproximity": row(
        "g.example.com.", "A", "192.0.2.1", SetIdentifier="1",
        GeoProximityLocation="<Coordinates><Latitude>49.22</Latitude><Longitude>-74.01</Longitude></Coordinates><Bias>5</Bias>",
    ),
    "a ttl of nothing": row("z.example.com.", "A", "192.0.2.1").replace("300", "0"),
    "a region to come": row("r.example.com.", "A", "192.0.2.1", SetIdentifier="1", Region="eusc-de-east-1"),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTED)
async def test_whatever_is_listed_is_taken_back_as_it_is_listed_and_by_undo(
    empty: Session, zone: StrictRoute53, case: str
) -> None:
    zone.holds(LISTED[case])
    (listed,) = await state(empty)
    for dry_run in (True, False):
        again = await submit(empty, ZONE, {"action": "UPSERT", **listed}, dry_run=dry_run)
        assert not again.is_error, again.text
    assert await state(empty) == [listed]
    key = {name: listed[name] for name in ("name", "type", "set_identifier") if name in listed}
    gone = await submit(empty, ZONE, {"action": "DELETE", **key})
    assert not gone.is_error, gone.text
    assert await state(empty) == []
    back = await submit(empty, ZONE, *gone["undo"])
    assert not back.is_error, back.text
    assert await state(empty) == [listed]
