"""Batches at a Route 53 that validates them change by change: what is foreseen is what is done, and undo leads back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Session, session_of
from tests.services.strict_route53 import ZONE, StrictRoute53, row, strict_route53, to
from tests.services.test_route53 import AT
from tests.services.test_route53_changes import ALIAS, change, submit

HTTP = ("http", "auto")
TO = {"hosted_zone_id": ZONE, "evaluate_target_health": False}


def alias(action: str, name: str, target: str, type: str = "A", **more: Any) -> dict[str, Any]:
    return change(action, name, type, alias_target={**TO, "dns_name": target}, **more)


@pytest.fixture(scope="module", params=[False, True], ids=["in turn", "upserts first"])
def strict(request: pytest.FixtureRequest, environment: None) -> Iterator[StrictRoute53]:
    zone = StrictRoute53(upserts_first=request.param)
    with strict_route53(zone) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_ROUTE_53", url)
        yield zone


@pytest.fixture
def call(empty: Session) -> Session:
    return empty


in_turn = pytest.mark.parametrize("strict", [False], indirect=True, ids=["in turn"])


async def state(call: Session) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await call("list_resource_record_sets", hosted_zone_id=ZONE, **AT))[
        "resource_record_sets"
    ]
    return rows


A, B = "192.0.2.1", "192.0.2.2"
CHECKED = {"health_check_id": "h-1"}
POOL = [change("CREATE", "pool.example.com", "A", A)]
WWW = [*POOL, alias("CREATE", "www.example.com", "pool.example.com")]
CHAIN = [*WWW, alias("CREATE", "a.example.com", "www.example.com")]
FAILOVER = [
    change("CREATE", "f.example.com", "A", A, set_identifier="p", failover="PRIMARY", **CHECKED),
    change("CREATE", "f.example.com", "A", B, set_identifier="s", failover="SECONDARY"),
]
LATENCY = [
    change("CREATE", "l.example.com", "A", A, set_identifier="x", region="eu-west-1"),
    change("CREATE", "l.example.com", "A", B, set_identifier="y", region="us-east-1"),
]
# What stands, and a batch that is not in Route 53's order.
TAKEN: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "alias and target go": (WWW, [change("DELETE", "pool.example.com"), change("DELETE", "www.example.com")]),
    "a chain of aliases goes": (
        CHAIN,
        [change("DELETE", name) for name in ("pool.example.com", "www.example.com", "a.example.com")],
    ),
    "a chain of aliases comes": ([], CHAIN[::-1]),
    "an alias before its target": ([], WWW[::-1]),
    "an alias of a target that is upserted later": (
        POOL,
        [alias("CREATE", "www.example.com", "POOL.example.com."), change("UPSERT", "pool.example.com", "A", B)],
    ),
    "a CNAME where an A stood": (
        [change("CREATE", "old.example.com", "A", A)],
        [change("CREATE", "old.example.com", "CNAME", "x.example.net."), change("DELETE", "old.example.com", "A")],
    ),
    "an A where a CNAME stood, and an alias of it": (
        [change("CREATE", "old.example.com", "CNAME", "x.example.net.")],
        [
            alias("CREATE", "new.example.com", "old.example.com"),
            change("UPSERT", "old.example.com", "A", A),
            change("DELETE", "old.example.com", "CNAME"),
        ],
    ),
    "weighted ones where a simple one stood": (
        WWW,
        [
            change("CREATE", "web.example.com", "A", A, set_identifier="blue", weight=1),
            alias("UPSERT", "www.example.com", "web.example.com"),
            change("DELETE", "pool.example.com"),
        ],
    ),
    "roles change places": (
        FAILOVER,
        [
            change("UPSERT", "f.example.com", "A", A, set_identifier="p", failover="SECONDARY", **CHECKED),
            change("UPSERT", "f.example.com", "A", B, set_identifier="s", failover="PRIMARY", **CHECKED),
        ],
    ),
    "regions change places": (
        LATENCY,
        [
            change("UPSERT", "l.example.com", "A", A, set_identifier="x", region="us-east-1"),
            change("UPSERT", "l.example.com", "A", B, set_identifier="y", region="eu-west-1"),
        ],
    ),
    "a group gets another policy": (
        LATENCY,
        [change("UPSERT", "l.example.com", "A", A, set_identifier=one, weight=1) for one in ("x", "y")],
    ),
    "a new PRIMARY before the old one goes": (
        FAILOVER,
        [
            change("CREATE", "f.example.com", "A", B, set_identifier="q", failover="PRIMARY", **CHECKED),
            change("DELETE", "f.example.com", "A", set_identifier="p"),
        ],
    ),
    "a create before the delete of the same": (
        POOL, [change("CREATE", "pool.example.com", "A", B), change("DELETE", "pool.example.com", "A", A)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
async def test_a_batch_is_put_in_an_order_that_works_and_so_is_its_undo(
    call: Session, zone: StrictRoute53, case: str
) -> None:
    standing, batch = TAKEN[case]
    if standing:
        assert not (await submit(call, ZONE, *standing)).is_error
    start = await state(call)
    tried = await submit(call, ZONE, *batch, dry_run=True)
    done = await submit(call, ZONE, *batch)
    assert not done.is_error, done.text
    assert (tried["before"], tried["after"]) == (done["before"], done["after"])
    undone = await submit(call, ZONE, *done["undo"])
    assert not undone.is_error, undone.text
    assert await state(call) == start
    again = await submit(call, ZONE, *undone["undo"])
    assert not again.is_error, again.text


@in_turn
async def test_a_batch_that_is_in_order_is_sent_as_it_is(call: Session, zone: StrictRoute53) -> None:
    batch = [change("CREATE", f"n{number}.example.com", "A", A) for number in (3, 1, 2)]
    await submit(call, ZONE, *batch)
    assert [key[0] for _, key in zone.batches[0]] == ["n3.example.com.", "n1.example.com.", "n2.example.com."]


def geo(action: str, identifier: str, **place: str) -> dict[str, Any]:
    return change(action, "g.example.com", "A", A, set_identifier=identifier, geo_location=place)


def near(identifier: str, **place: Any) -> dict[str, Any]:
    return change("CREATE", "n.example.com", "A", A, set_identifier=identifier, geo_proximity_location=place)


def ip_based(identifier: str, location: str) -> dict[str, Any]:
    config = {"collection_id": "c-1", "location_name": location}
    return change("CREATE", "i.example.com", "A", A, set_identifier=identifier, cidr_routing_config=config)


# What stands, a batch that Route 53 does not take in any order, and which of its changes is wrong.
REFUSED: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], int]] = {
    "an alias of nothing": ([], [change("CREATE", "x.example.com", "A", A), WWW[1]], 1),
    "an alias of another type's name": (POOL, [alias("CREATE", "w.example.com", "pool.example.com", "AAAA")], 0),
    "an alias of itself": (POOL, [alias("UPSERT", "pool.example.com", "pool.example.com")], 0),
    "an alias of what goes": (
        POOL, [change("DELETE", "pool.example.com"), alias("CREATE", "w.example.com", "pool.example.com")], 1,
    ),
    "an alias out of the zone": ([], [alias("CREATE", "w.example.com", "lb.elb.amazonaws.com")], 0),
    "two PRIMARYs at once": ([], [FAILOVER[0], {**FAILOVER[0], "set_identifier": "q"}], 1),
    "a second PRIMARY": (FAILOVER, [{**FAILOVER[0], "set_identifier": "q"}], 0),
    "a second SECONDARY by UPSERT, an alias": (
        FAILOVER,
        [change("UPSERT", "f.example.com", "A", set_identifier="q", failover="SECONDARY", alias_target=ALIAS)], 0,
    ),
    "a PRIMARY that nothing checks": ([], [{**FAILOVER[0], "health_check_id": None}], 0),
    "a role that is taken over": (
        FAILOVER, [change("UPSERT", "f.example.com", "A", B, set_identifier="s", failover="PRIMARY", **CHECKED)], 0,
    ),
    "a region twice": (LATENCY, [{**LATENCY[0], "set_identifier": "z"}], 0),
    "a continent twice": ([geo("CREATE", "1", continent_code="EU")], [geo("CREATE", "2", continent_code="EU")], 0),
    "all other places twice": ([], [geo("CREATE", "1", country_code="*"), geo("UPSERT", "2", country_code="*")], 1),
    "a state twice": (
        [geo("CREATE", "1", country_code="US", subdivision_code="NY"), geo("CREATE", "2", country_code="US")],
        [geo("CREATE", "3", country_code="US", subdivision_code="NY")], 0,
    ),
    "a list of networks twice": ([ip_based("1", "office")], [ip_based("2", "office")], 0),
    "a spot twice": (
        [], [near("1", coordinates={"latitude": "49.2", "longitude": "-2.1"}),
             near("2", bias=5, coordinates={"latitude": "49.20", "longitude": "-2.10"})], 1,
    ),
    "a proximity region twice": ([near("1", aws_region="eu-west-1")], [near("2", aws_region="eu-west-1", bias=1)], 0),
    "another policy": (LATENCY, [change("CREATE", "l.example.com", "A", A, set_identifier="z", weight=1)], 0),
    "a simple one beside several": (LATENCY, [change("CREATE", "l.example.com", "A", A)], 0),
    "a CNAME beside an A": (POOL, [change("UPSERT", "pool.example.com", "CNAME", "x.example.net.")], 0),
}  # fmt: skip


@in_turn
@pytest.mark.parametrize("case", REFUSED)
async def test_what_no_order_makes_right_is_refused_tried_or_not(call: Session, zone: StrictRoute53, case: str) -> None:
    standing, batch, wrong = REFUSED[case]
    if standing:
        made = await submit(call, ZONE, *standing)
        assert not made.is_error, made.text
    start = await state(call)
    for dry_run in (True, False):
        answer = await submit(call, ZONE, *batch, dry_run=dry_run)
        assert (answer.error_code, f"changes[{wrong}]" in answer["message"]) == ("InvalidParameter", True), answer.text
    assert await state(call) == start


@in_turn
async def test_what_differs_from_what_stands_in_its_role_or_place_is_taken(call: Session, zone: StrictRoute53) -> None:
    taken = [
        *FAILOVER, *LATENCY, {**FAILOVER[0], "type": "AAAA", "resource_records": ["2001:db8::1"]},
        geo("CREATE", "1", continent_code="EU"), geo("CREATE", "2", country_code="DE"),
        geo("CREATE", "3", country_code="*"), geo("CREATE", "4", country_code="US", subdivision_code="NY"),
        geo("CREATE", "5", country_code="US", subdivision_code="CA"), ip_based("1", "office"), ip_based("2", "*"),
        near("1", aws_region="eu-west-1"), near("2", aws_region="eu-west-2"),
        *(change("CREATE", "w.example.com", "A", A, set_identifier=one, weight=0) for one in "ab"),
        *(change("CREATE", "m.example.com", "A", A, set_identifier=one, multi_value_answer=True) for one in "ab"),
    ]  # fmt: skip
    done = await submit(call, ZONE, *taken)
    assert not done.is_error, done.text
    assert (await submit(call, ZONE, *done["undo"]))["after"] == []


@in_turn
async def test_an_alias_whose_target_is_gone_is_deleted_and_said_not_to_come_back(
    call: Session, zone: StrictRoute53
) -> None:
    zone.holds(row("www.example.com.", "A", AliasTarget=to(ZONE, "pool.example.com.")))
    (key,) = zone.rows
    batch = [change("DELETE", "www.example.com")]
    tried = await submit(call, ZONE, *batch, dry_run=True)
    done = await submit(call, ZONE, *batch)
    assert "undo is refused" in tried["note"]
    assert (done["note"], key in zone.rows) == (tried["note"], False)
    assert (await submit(call, ZONE, *done["undo"])).error_code == "InvalidParameter"


@in_turn
async def test_an_alias_that_goes_alone_comes_back_without_a_word(call: Session, zone: StrictRoute53) -> None:
    await submit(call, ZONE, *WWW)
    done = await submit(call, ZONE, change("DELETE", "www.example.com"))
    assert "note" not in done.content
    assert not (await submit(call, ZONE, *done["undo"])).is_error


@in_turn
async def test_a_zones_own_record_sets_can_be_replaced_in_one_batch(call: Session, zone: StrictRoute53) -> None:
    zone.holds(row("example.com.", "NS", "ns-1.awsdns-01.org.", "ns-2.awsdns-02.net."))
    start = await state(call)
    batch = [change("DELETE", "example.com", "NS"), change("CREATE", "example.com", "NS", "ns1.example.net.", ttl=60)]
    for swap in (batch, batch[::-1]):
        done = await submit(call, ZONE, *swap)
        assert not done.is_error, done.text
        assert not (await submit(call, ZONE, *done["undo"])).is_error
        assert await state(call) == start
    for alone in batch:
        assert (await submit(call, ZONE, alone)).error_code == "InvalidParameter"


NAMES = ["a.example.com", "b.example.com", "c.example.com"]


@st.composite
def zones(draw: Callable[..., Any]) -> dict[Any, dict[str, Any]]:
    """Some record sets that may stand together: aliases of those before them, CNAMEs, groups of several."""
    made: dict[Any, dict[str, Any]] = {}
    targets: list[str] = []
    for name in draw(st.permutations(NAMES)):
        kind = draw(st.sampled_from(["none", "a", "cname", "alias", "failover", "latency", "weighted"]))
        address = draw(st.sampled_from([A, B]))
        group: list[dict[str, Any]] = []
        if kind == "a":
            group = [change("", name, "A", address)]
        elif kind == "cname":
            group = [change("", name, "CNAME", "x.example.net.")]
        elif kind == "alias" and targets:
            group = [alias("", name, draw(st.sampled_from(targets)))]
        elif kind == "failover":
            roles = draw(st.permutations(["PRIMARY", "SECONDARY"]))
            group = [
                change("", name, "A", address, set_identifier=one, failover=role, **CHECKED)
                for one, role in zip("xy", roles, strict=True)
            ]
        elif kind == "latency":
            regions = draw(st.permutations(["eu-west-1", "us-east-1"]))
            group = [
                change("", name, "A", address, set_identifier=one, region=region)
                for one, region in zip("xy", regions, strict=True)
            ]
        elif kind == "weighted":
            group = [
                change("", name, "A", address, set_identifier=one, weight=1)
                for one in draw(st.sets(st.sampled_from("xyz"), min_size=1))
            ]
        made |= {(one["name"], one["type"], one.get("set_identifier")): one for one in group}
        if any(one["type"] == "A" for one in group):
            targets.append(name)
    return made


@pytest.fixture
def blocking(zone: StrictRoute53) -> Iterator[Callable[..., Any]]:
    """A blocking call to one open session, for hypothesis."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(session_of("route53", HTTP)) as session:
        yield lambda *changes, **more: portal.call(partial(submit, session, ZONE, *changes, **more))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=zones(), after=zones(), data=st.data())
def test_whatever_order_a_batch_is_given_in_it_is_done_as_foreseen_and_undone(
    blocking: Callable[..., Any], zone: StrictRoute53, before: Any, after: Any, data: st.DataObject
) -> None:
    zone.rows = {}
    if before:
        made = blocking(*({**one, "action": "CREATE"} for one in before.values()))
        assert not made.is_error, made.text
    start = dict(zone.rows)
    batch = [
        {
            "action": "DELETE",
            **{n: key for n, key in zip(("name", "type", "set_identifier"), found, strict=True) if key},
        }
        for found in before
        if found not in after
    ]
    batch += [
        {**one, "action": "UPSERT" if key in before else "CREATE"}
        for key, one in after.items()
        if before.get(key) != one
    ]
    if not batch:
        return
    batch = data.draw(st.permutations(batch))
    tried, done = blocking(*batch, dry_run=True), blocking(*batch)
    assert not done.is_error, done.text
    assert tried["after"] == done["after"]
    undone = blocking(*done["undo"])
    assert not undone.is_error, undone.text
    assert {key: sorted(row.itertext()) for key, row in zone.rows.items()} == {
        key: sorted(row.itertext()) for key, row in start.items()
    }
