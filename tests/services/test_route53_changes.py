"""Route 53's record changes over moto: before, after and undo; what is refused; what happens in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import botocore.session
import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errors import InvalidParameter
from services import _route53 as shapes
from services._route53 import Change, RecordSet
from services._route53_batch import foresee, is_as, undo_of
from services._route53_records import alike, canonical, check_changes, value_problem
from tests.conftest import Session, boto, session_of
from tests.services.test_route53 import AT, a_record, listed, make_zone, seed

ALIAS = {"hosted_zone_id": "Z35SXDOTRQ7X7K", "dns_name": "lb.us-east-1.elb.amazonaws.com.", "evaluate_target_health": True}  # fmt: skip  # noqa: E501


@pytest.fixture
async def call(aws: str, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with session_of("route53", wire) as session:
        yield session


def change(action: str, name: str, type: str = "A", *values: str, **more: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"action": action, "name": name, "type": type, **more}
    if values:
        content |= {"ttl": more.get("ttl", 300), "resource_records": list(values)}
    return content


async def submit(call: Session, zone: str, *changes: dict[str, Any], **more: Any) -> Any:
    return await call("change_resource_record_sets", hosted_zone_id=zone, changes=list(changes), **more, **AT)


async def test_a_batch_answers_before_and_after_and_its_undo_undoes_it(call: Session) -> None:
    zone = make_zone()
    seed(zone, a_record("old.example.com", "192.0.2.1"), a_record("api.example.com", "192.0.2.2", "192.0.2.3", ttl=60))
    start = await listed(call, zone)
    batch = [
        change("CREATE", "new.example.com", "TXT", '"v=spf1 -all"'),
        change("UPSERT", "API.example.com", "A", "192.0.2.9"),
        change("DELETE", "old.example.com", "A"),
    ]
    foreseen = await submit(call, zone, *batch, dry_run=True)
    assert (foreseen["dry_run"], "change_id" in foreseen.content) == (True, False)
    assert await listed(call, zone) == start
    done = await submit(call, zone, *batch, comment="moved")
    assert done["change_id"]
    assert done["summary"] == (
        "Created new.example.com. TXT; overwrote api.example.com. A (ttl, resource_records); "
        "deleted old.example.com. A."
    )  # fmt: skip
    assert (done["before"], done["after"]) == (foreseen["before"], foreseen["after"])
    assert [row["name"] for row in done["before"]] == ["api.example.com.", "old.example.com."]
    assert done["after"][1] == {
        "name": "api.example.com.", "type": "A", "ttl": 300, "resource_records": ["192.0.2.9"],
    }  # fmt: skip
    undone = await submit(call, zone, *done["undo"])
    assert await listed(call, zone) == start
    assert undone["undo"]
    await submit(call, zone, *undone["undo"])
    assert sorted(row["name"] for row in await listed(call, zone)) == ["api.example.com.", "new.example.com."]


ROUTED: list[list[dict[str, Any]]] = [
    [
        change("UPSERT", "w.example.com", "A", "192.0.2.1", set_identifier="blue", weight=0),
        change("UPSERT", "w.example.com", "A", "192.0.2.2", set_identifier="green", weight=255, health_check_id="h-1"),
    ],
    [
        change("CREATE", "l.example.com", "AAAA", "2001:db8::1", set_identifier="us", region="us-east-1"),
        change("CREATE", "l.example.com", "AAAA", "2001:db8::2", set_identifier="eu", region="eu-west-1"),
    ],
    [
        change("CREATE", "f.example.com", "A", set_identifier="p", failover="PRIMARY", alias_target=ALIAS),
        change("CREATE", "f.example.com", "A", "192.0.2.2", set_identifier="s", failover="SECONDARY"),
    ],
    [
        change("CREATE", "g.example.com", "A", "192.0.2.1", set_identifier="x", geo_location={"continent_code": "EU"}),
        change("CREATE", "g.example.com", "A", "192.0.2.2", set_identifier="y", geo_location={"country_code": "*"}),
    ],
    [change("CREATE", "m.example.com", "A", "192.0.2.1", set_identifier="1", multi_value_answer=True)],
    [change("CREATE", "example.com", "A", alias_target=ALIAS)],
]


async def test_every_routing_policy_and_alias_goes_in_comes_back_and_is_undone(call: Session) -> None:
    zone = make_zone()
    for batch in ROUTED:
        done = await submit(call, zone, *batch)
        assert not done.is_error, done.content
        assert len(done["after"]) == len(batch)
        for asked, row in zip(sorted(batch, key=lambda one: one.get("set_identifier", "")), done["after"], strict=True):
            expected = {name: item for name, item in asked.items() if name not in ("action", "name")}
            assert {name: row[name] for name in expected} == expected
        undone = await submit(call, zone, *done["undo"])
        assert undone["after"] == []
    assert await listed(call, zone) == []


async def test_a_change_batch_of_the_aws_cli_is_taken_as_it_is(call: Session) -> None:
    zone = make_zone()
    record = a_record("cli.example.com", "192.0.2.1", SetIdentifier="a", GeoLocation={"CountryCode": "DE"})
    done = await submit(call, zone, {"Action": "CREATE", "ResourceRecordSet": record})
    assert done["after"][0]["geo_location"] == {"country_code": "DE"}
    assert done["after"][0]["resource_records"] == ["192.0.2.1"]


async def test_a_delete_takes_the_rest_from_what_is_there_or_holds_it_against_it(call: Session) -> None:
    zone = make_zone()
    seed(
        zone,
        a_record("www.example.com", "192.0.2.1", "192.0.2.2"),
        a_record("w.example.com", "192.0.2.1", SetIdentifier="blue", Weight=1),
    )
    stale = await submit(call, zone, change("DELETE", "www.example.com", "A", "192.0.2.3"))
    assert (stale.error_code, "another resource_records" in stale["message"]) == ("InvalidParameter", True)
    vague = await submit(call, zone, change("DELETE", "w.example.com"))
    assert (vague.error_code, "blue" in vague["next_step"]) == ("InvalidParameter", True)
    missing = await submit(call, zone, change("DELETE", "none.example.com"))
    assert missing.error_code == "InvalidParameter"
    exact = await submit(call, zone, change("DELETE", "www.example.com", "A", "192.0.2.2", "192.0.2.1"))
    assert exact["after"] == []
    await submit(call, zone, change("DELETE", "w.example.com", "A", set_identifier="blue"))
    assert await listed(call, zone) == []


async def test_delete_then_create_in_one_batch_overwrites_only_what_was_seen(call: Session) -> None:
    zone = make_zone()
    seed(zone, a_record("www.example.com", "192.0.2.1"))
    swap = [
        change("DELETE", "www.example.com", "A", "192.0.2.1"),
        change("CREATE", "www.example.com", "A", "192.0.2.2"),
    ]
    done = await submit(call, zone, *swap)
    assert done["after"][0]["resource_records"] == ["192.0.2.2"]
    assert (await submit(call, zone, *swap)).error_code == "InvalidParameter"
    await submit(call, zone, *done["undo"])
    assert (await listed(call, zone))[0]["resource_records"] == ["192.0.2.1"]


async def test_what_the_zone_would_not_take_is_refused_before_it_is_asked(call: Session) -> None:
    zone = make_zone()
    seed(
        zone,
        a_record("www.example.com", "192.0.2.1"),
        a_record("w.example.com", "192.0.2.1", SetIdentifier="blue", Weight=1),
    )
    refused: list[list[dict[str, Any]]] = [
        [change("CREATE", "www.example.org", "A", "192.0.2.1")],
        [change("CREATE", "www", "A", "192.0.2.1")],
        [change("CREATE", "notexample.com", "A", "192.0.2.1")],
        [change("UPSERT", "example.com", "CNAME", "www.example.org.")],
        [change("DELETE", "example.com", "NS")],
        [change("DELETE", "example.com", "SOA")],
        [change("CREATE", "www.example.com", "A", "192.0.2.1")],
        [change("CREATE", "www.example.com", "CNAME", "a.example.org.")],
        [change("CREATE", "w.example.com", "A", "192.0.2.1")],
        [change("CREATE", "w.example.com", "A", "192.0.2.1", set_identifier="x", region="us-east-1")],
        [change("UPSERT", "n.example.com", "A", "192.0.2.1"), change("UPSERT", "N.example.com.", "A", "192.0.2.2")],
    ]
    start = await listed(call, zone)
    for batch in refused:
        answer = await submit(call, zone, *batch)
        assert answer.error_code == "InvalidParameter", batch
        assert f"changes[{len(batch) - 1}]" in answer["message"]
    assert await listed(call, zone) == start
    assert (await submit(call, "Z0000000000000", change("DELETE", "a.b"))).error_code == "NoSuchHostedZone"


async def test_the_apexs_own_records_can_be_changed_and_put_back(call: Session) -> None:
    zone = make_zone()
    done = await submit(call, zone, change("UPSERT", "example.com", "NS", "ns1.example.net.", ttl=60))
    assert done["before"][0]["ttl"] == 172800
    undone = await submit(call, zone, *done["undo"])
    assert undone["after"] == done["before"]


SOUND = {"ttl": 300, "resource_records": ["192.0.2.1"]}
UNSOUND: list[dict[str, Any]] = [
    {},
    {"ttl": 300},
    {"resource_records": ["192.0.2.1"]},
    {"ttl": -1, "resource_records": ["192.0.2.1"]},
    {"ttl": 2**31, "resource_records": ["192.0.2.1"]},
    {**SOUND, "alias_target": ALIAS},
    {"ttl": 60, "alias_target": ALIAS},
    {**SOUND, "weight": 1},
    {**SOUND, "set_identifier": "a"},
    {**SOUND, "set_identifier": "a", "weight": 1, "region": "us-east-1"},
    {**SOUND, "set_identifier": "a", "weight": 256},
    {**SOUND, "set_identifier": "a", "region": "moon"},
    {**SOUND, "set_identifier": "a", "failover": "THIRD"},
    {**SOUND, "set_identifier": "a", "geo_location": {}},
    {**SOUND, "set_identifier": "a", "geo_location": {"continent_code": "EU", "country_code": "DE"}},
    {**SOUND, "set_identifier": "a", "geo_location": {"continent_code": "XX"}},
    {**SOUND, "set_identifier": "a", "multi_value_answer": False},
    {"set_identifier": "a", "multi_value_answer": True, "alias_target": ALIAS},
    {**SOUND, "set_identifier": "a", "failover": "PRIMARY"},
    {"alias_target": {**ALIAS, "hosted_zone_id": "Z2FDTNDATAQYW2", "evaluate_target_health": True}},
    {"alias_target": {**ALIAS, "hosted_zone_id": "my zone"}},
    {"alias_target": {**ALIAS, "dns_name": "a..b"}},
    {**SOUND, "resource_records": ["192.0.2.1", "192.0.2.1"]},
    {**SOUND, "resource_records": []},
    {**SOUND, "type": "CNAME", "resource_records": ["a.example.org.", "b.example.org."]},
    {**SOUND, "type": "NS", "name": "*.example.com", "resource_records": ["ns1.example.net."]},
    {**SOUND, "type": "NS", "alias_target": None, "set_identifier": "a", "weight": 1, "resource_records": ["ns."]},
    {**SOUND, "name": "a*.example.com"},
    {**SOUND, "type": "CERT"},
    {**SOUND, "traffic_policy_instance_id": "x"},
    {**SOUND, "colour": "blue"},
]


async def test_an_unsound_change_is_refused_before_aws_is_asked(call: Session) -> None:
    for wrong in UNSOUND:
        bad = {"action": "UPSERT", "name": "a.example.com", "type": "A", **wrong}
        answer = await submit(call, "Z0123456789ABC", bad)  # the zone does not exist: AWS would say so
        assert answer.error_code == "InvalidParameter", wrong
    good = change("UPSERT", "a.example.com", "A", "192.0.2.1")
    over = [change("UPSERT", f"n{n}.example.com", "A", *[f"192.0.{n}.{m}" for m in range(250)]) for n in range(3)]
    long = [
        change("UPSERT", f"n{n}.example.com", "TXT", *[f'"{"x" * 250}{n}{m}"' for m in range(22)]) for n in range(3)
    ]
    for batch in ([], [good, {**good, "action": "REPLACE"}], over, long):
        assert (await submit(call, "Z0123456789ABC", *batch)).error_code == "InvalidParameter"


async def test_a_refusal_says_which_change_and_member_it_is_about_and_no_value(call: Session) -> None:
    good = change("UPSERT", "a.example.com", "A", "192.0.2.1")
    answer = await submit(call, "Z1", good, change("UPSERT", "b.example.com", "A", "192.0.2.1", "256.1.1.1"))
    assert "changes[1] (UPSERT b.example.com. A): resource_records[1] is not A data" in answer["message"]
    assert "256" not in answer.text
    answer = await submit(call, "Z1", good, {**good, "ttl": "300"})
    assert answer["message"].startswith("changes[1].ttl: ")
    answer = await submit(call, "Z1", {**good, "hunter2": "x"})
    assert answer["message"].startswith("changes[0]: ")
    assert "hunter2" not in answer.text


GOOD_VALUES = {
    "A": ["192.0.2.1"],
    "AAAA": ["2001:db8::1"],
    "CAA": ['0 issue "ca.example.net; policy=ev"', '128 issuewild ";"'],
    "CNAME": ["a.example.com", "0/25.2.0.192.in-addr.arpa."],
    "DS": ["12345 13 2 " + "ab" * 32],
    "HTTPS": ['1 . alpn="h3,h2" ipv4hint=192.0.2.1', "0 svc.example.com."],
    "MX": ["10 mail.example.com.", "0 ."],
    "NAPTR": ['10 100 "U" "" "!^.*$!sip:info@example.com!" .'],
    "NS": ["ns1.example.net."],
    "PTR": ["www.example.com"],
    "SOA": ["ns1.example.net. hostmaster.example.com. 1 7200 900 1209600 86400"],
    "SPF": ['"v=spf1 -all"'],
    "SRV": ["1 10 5269 xmpp.example.com."],
    "SSHFP": ["4 2 " + "ab" * 32],
    "SVCB": ['16 example.com. port="5353"'],
    "TLSA": ["3 1 1 " + "ab" * 32],
    "TXT": ['"a" "b"', '"a;b(c)"', r'"ex\344mple"', r'"q\"q"', '"' + "x" * 255 + '"', '""'],
}
BAD_VALUES = {
    "A": ["192.0.2.300", "::1", "192.0.2.1 ; x", "", " 192.0.2.1", "\\# 4 c0000201"],
    "AAAA": ["192.0.2.1"],
    "CAA": ['issue "x"'],
    "CNAME": ["a..b", "a b", "x" * 64 + ".com"],
    "DS": ["1 2"],
    "HTTPS": ["h2"],
    "MX": ["mail.example.com.", "99999 mail."],
    "NAPTR": ["1"],
    "NS": ["a b"],
    "PTR": ["a b"],
    "SOA": ["ns1.example.net."],
    "SPF": ["v=spf1 -all"],
    "SRV": ["1 2 3"],
    "SSHFP": ["9"],
    "SVCB": ["1"],
    "TLSA": ["3 1 1 zz"],
    "TXT": ["v=spf1", '"a', '"' + "x" * 256 + '"', '"é"', '"a\nb"'],
}


def test_values_are_read_as_their_type_says() -> None:
    assert set(GOOD_VALUES) == set(BAD_VALUES) == set(shapes.RecordType.__args__)  # type: ignore[attr-defined]  # Literal
    for kind, values in GOOD_VALUES.items():
        assert [value_problem(kind, value) for value in values] == [None] * len(values), kind
    for kind, values in BAD_VALUES.items():
        for value in values:
            assert value_problem(kind, value), (kind, value)


def test_all_members_of_awss_record_set_are_kept_so_that_it_can_be_put_back() -> None:
    model = botocore.session.get_session().get_service_model("route53")
    pairs = [
        (RecordSet, "ResourceRecordSet"), (shapes.AliasTarget, "AliasTarget"), (shapes.GeoLocation, "GeoLocation"),
        (shapes.CidrRoutingConfig, "CidrRoutingConfig"), (shapes.GeoProximityLocation, "GeoProximityLocation"),
        (shapes.Coordinates, "Coordinates"),
    ]  # fmt: skip
    for ours, theirs in pairs:
        assert {shapes.aws_member(name) for name in ours.model_fields} == set(model.shape_for(theirs).members), theirs
    assert set(shapes.RecordType.__args__) == set(model.shape_for("RRType").enum)  # type: ignore[attr-defined]  # Literal


SPELLED: list[tuple[str, str, str]] = [
    ("AAAA", "2001:db8::1", "2001:DB8:0:0:0:0:0:1"),
    ("CNAME", "www.example.com", "WWW.example.com."),
    ("CNAME", r"\167ww.example.com", "www.example.com."),
    ("MX", "10 mail.example.com", "10  Mail.Example.com."),
    ("TXT", r'"\101b"', '"Ab"'),
    ("TLSA", "3 1 1 " + "AB" * 32, "3 1 1 " + "ab" * 32),
    ("HTTPS", '1 . alpn="h3,h2"', "1 . alpn=h3,h2"),
    ("CAA", '0 issue "ca.example.net"', "0 issue ca.example.net"),
]
UNLIKE = [
    ("TXT", '"Ab"', '"ab"'),
    ("HTTPS", "1 . alpn=H3", "1 . alpn=h3"),
    ("SVCB", '1 . key65000="A"', '1 . key65000="a"'),
    ("CAA", '0 issue "CA.example.net"', '0 issue "ca.example.net"'),
    ("NAPTR", '1 1 "U" "" "!a!B!" .', '1 1 "U" "" "!a!b!" .'),
    ("TXT", '"a" "b"', '"ab"'),
]


def test_values_are_one_where_dns_takes_them_for_one_and_only_there() -> None:
    for kind, one, other in SPELLED:
        assert canonical(kind, one) == canonical(kind, other), (kind, one)
    for kind, one, other in UNLIKE:
        assert canonical(kind, one) != canonical(kind, other), (kind, one)


def test_names_are_one_however_they_are_spelled() -> None:
    for spelling in ("*.Example.com", r"\052.example.com.", r"\052.EXAMPLE.COM"):
        assert shapes.domain_name(spelling) == "*.example.com."
    assert shapes.domain_name(r"a\056b.c") == r"a\056b.c."
    assert shapes.domain_name(r"\127\167W.example.com") == "www.example.com."
    assert shapes.domain_name(r"B\334cher.example.com") == r"b\334cher.example.com."
    assert shapes.domain_name(r"a\052.x.\052.com") == shapes.domain_name("a*.x.*.com") == r"a\052.x.\052.com."
    for wrong in ("", ".", "a..b", "a b", "é", "x" * 64, ".".join(["x" * 50] * 6)):
        with pytest.raises(ValueError, match="domain name"):
            shapes.domain_name(wrong)


NAMES = st.sampled_from([f"{label}.example.com." for label in ("a", "b", "c", "*", "x.y")])
ADDRESSES = st.lists(st.integers(1, 20).map(lambda n: f"192.0.2.{n}"), min_size=1, max_size=3, unique=True)
TEXTS = st.lists(st.text("abc XYZ;=", max_size=20).map(lambda t: f'"{t}"'), min_size=1, max_size=2, unique=True)


@st.composite
def record_sets(draw: Callable[..., Any]) -> list[RecordSet]:
    """Some record sets that may stand at one name."""
    name = draw(NAMES)
    ttl = draw(st.integers(0, 3600))
    kind = draw(st.sampled_from(["simple", "text", "weighted", "alias", "cname"]))
    if kind == "cname":
        return [RecordSet(name=name, type="CNAME", ttl=ttl, resource_records=["www.example.net."])]
    if kind == "alias":
        return [RecordSet(name=name, type="A", alias_target=shapes.AliasTarget(**ALIAS))]
    if kind == "text":
        return [RecordSet(name=name, type="TXT", ttl=ttl, resource_records=draw(TEXTS))]
    if kind == "simple":
        return [RecordSet(name=name, type="A", ttl=ttl, resource_records=draw(ADDRESSES))]
    weights = draw(st.lists(st.integers(0, 255), min_size=1, max_size=3))
    return [  # moto deletes by the identifier alone, so it bears the name
        RecordSet(name=name, type="A", ttl=ttl, resource_records=draw(ADDRESSES), set_identifier=f"{name}{n}", weight=w)
        for n, w in enumerate(weights)
    ]


STATES = st.lists(record_sets(), max_size=4).map(
    lambda groups: {record.key: record for group in {g[0].name: g for g in groups}.values() for record in group}
)


def difference(before: dict[Any, RecordSet], after: dict[Any, RecordSet]) -> list[Change]:
    """A batch from one state to the other."""
    gone = [{"action": "DELETE", **r.model_dump(exclude_none=True)} for key, r in before.items() if key not in after]
    wanted = [
        {"action": "UPSERT" if key in before else "CREATE", **r.model_dump(exclude_none=True)}
        for key, r in after.items()
        if key not in before or not alike(before[key], r)
    ]
    return [Change.model_validate(one) for one in [*gone, *wanted]]


@given(STATES, STATES)
def test_what_is_foreseen_is_what_was_asked_and_undo_leads_back(before: Any, after: Any) -> None:
    batch = difference(before, after)
    check_changes(batch)
    foreseen = foresee(before, batch)
    assert foreseen == after or is_as(foreseen, after, batch)
    back = undo_of(before, foreseen, batch)
    check_changes(back)
    assert foresee(foreseen, back) == before


@pytest.fixture
def over_moto(aws: str) -> Iterator[Callable[..., Any]]:
    """A blocking call to one open session, for hypothesis."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(session_of("route53", ("http", "auto"))) as s,
    ):
        yield lambda tool, **arguments: portal.call(partial(s, tool, **arguments))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATES, STATES)
def test_whatever_the_batch_the_undo_that_it_answers_brings_the_zone_back(
    over_moto: Callable[..., Any], before: Any, after: Any
) -> None:
    zone = boto("route53", "production").create_hosted_zone(Name="example.com", CallerReference="r")["HostedZone"]["Id"]

    def apply(changes: list[dict[str, Any]]) -> Any:
        answer = over_moto("change_resource_record_sets", hosted_zone_id=zone, changes=changes, **AT)
        assert not answer.is_error, answer.text
        return answer

    def state() -> Any:
        return over_moto("list_resource_record_sets", hosted_zone_id=zone, **AT)["resource_record_sets"]

    if start := difference({}, before):
        apply([one.model_dump(exclude_none=True) for one in start])
    was = state()
    if batch := difference(before, after):
        done = apply([one.model_dump(exclude_none=True) for one in batch])
        apply(done["undo"])
    assert state() == was


def test_an_undo_too_large_for_upserts_deletes_and_creates_and_one_too_large_at_all_is_refused() -> None:
    def record(n: int, count: int) -> RecordSet:
        values = [f"10.{n}.{m // 250}.{m % 250}" for m in range(count)]
        return RecordSet(name=f"n{n}.example.com.", type="A", ttl=60, resource_records=values)

    before = {record(n, 400).key: record(n, 400) for n in range(2)}
    batch = [Change.model_validate({"action": "DELETE", "name": r.name, "type": "A"}) for r in before.values()]
    back = undo_of(before, foresee(before, batch), batch)
    assert [one.action for one in back] == ["CREATE", "CREATE"]
    before = {record(n, 400).key: record(n, 400) for n in range(3)}
    small = [
        Change.model_validate({"action": "UPSERT", **record(n, 1).model_dump(exclude_none=True)}) for n in range(3)
    ]
    with pytest.raises(InvalidParameter, match="more than one batch could put back"):
        undo_of(before, foresee(before, small), small)
