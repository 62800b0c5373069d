"""Route 53's answers that moto does not give: over a proxy before it that puts in answers shaped by AWS's API model."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from tests.conftest import boto, running, session_of
from tests.loopback import Handler, listening
from tests.services.test_route53 import AT, a_record, make_zone, seed
from tests.services.test_route53_changes import change, submit

NS = 'xmlns="https://route53.amazonaws.com/doc/2013-04-01/"'
HTTP = ("http", "auto")
Answer = Callable[["_Proxy"], None]


class _Proxy(Handler):
    """Answers what the test has put in, by method and path; passes everything else on to moto."""

    moto: str
    answers: dict[str, list[Answer]]
    seen: list[tuple[str, str]]

    def answer(self, body: bytes) -> None:
        self.body = body
        line = f"{self.command} {self.path}"
        self.seen.append((line, self.headers.get("Authorization", "")))
        for pattern, queue in self.answers.items():
            if queue and re.search(pattern, line):
                (queue.pop(0) if len(queue) > 1 else queue[0])(self)
                return
        passes(self)

    def pass_on(self) -> tuple[int, bytes]:
        moto = http.client.HTTPConnection(urlsplit(self.moto).netloc)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        moto.request(self.command, self.path, self.body, headers)
        answer = moto.getresponse()
        content = answer.read()
        moto.close()
        return answer.status, content


def says(body: str, status: int = 200) -> Answer:
    return lambda proxy: proxy.reply(body, status)


def fails(code: str, message: str = "no", status: int = 400) -> Answer:
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return says(f"<ErrorResponse {NS}>{error}<RequestId>r-1</RequestId></ErrorResponse>", status)


def passes(proxy: _Proxy) -> None:
    status, content = proxy.pass_on()
    proxy.reply(content, status)


def loses_the_answer(proxy: _Proxy) -> None:
    """The change is made; nobody hears of it."""
    proxy.pass_on()
    proxy.close_connection = True
    proxy.connection.close()


@pytest.fixture
def aws_says(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Proxy]]:
    handler = type("Proxy", (_Proxy,), {"moto": aws, "answers": {}, "seen": []})
    boto("route53", "production")  # what arranges asks moto itself: that client is kept for the whole run
    with listening(handler) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ROUTE_53", url)
        yield handler


def health_check(number: str, kind: str = "HTTPS", **config: str) -> str:
    members = "".join(f"<{name}>{value}</{name}>" for name, value in config.items())
    return (
        f"<HealthCheck><Id>{number}</Id><CallerReference>r</CallerReference><HealthCheckConfig><Type>{kind}</Type>"
        f"{members}</HealthCheckConfig><HealthCheckVersion>1</HealthCheckVersion></HealthCheck>"
    )


def page_of_checks(*checks: str, following: str | None = None) -> str:
    more = f"<IsTruncated>true</IsTruncated><NextMarker>{following}</NextMarker>" if following else ""
    return (
        f"<ListHealthChecksResponse {NS}><HealthChecks>{''.join(checks)}</HealthChecks><Marker></Marker>"
        f"{more or '<IsTruncated>false</IsTruncated>'}<MaxItems>20</MaxItems></ListHealthChecksResponse>"
    )


def observations(name: str, *statuses: str) -> str:
    rows = "".join(
        f"<HealthCheckObservation><Region>us-east-1</Region><IPAddress>192.0.2.{number}</IPAddress><StatusReport>"
        f"<Status>{status}</Status><CheckedTime>2026-11-24T03:0{number}:00Z</CheckedTime></StatusReport>"
        "</HealthCheckObservation>"
        for number, status in enumerate(statuses)
    )
    return f"<{name} {NS}><HealthCheckObservations>{rows}</HealthCheckObservations></{name}>"


TIMED_OUT = "Failure: Resolved IP: 192.0.2.9. The connection timed out."
OK = "Success: HTTP Status Code 200, OK."
TAGS = (
    f"<ListTagsForResourcesResponse {NS}><ResourceTagSets><ResourceTagSet><ResourceType>healthcheck</ResourceType>"
    "<ResourceId>down</ResourceId><Tags><Tag><Key>Name</Key><Value>shop</Value></Tag></Tags></ResourceTagSet>"
    "</ResourceTagSets></ListTagsForResourcesResponse>"
)


async def test_health_checks_say_how_they_stand_and_why_they_failed(aws_says: type[_Proxy], wire: Any) -> None:
    web = {"FullyQualifiedDomainName": "www.example.com", "Port": "443", "ResourcePath": "/health"}
    children = {"HealthThreshold": "1", "ChildHealthChecks": "<ChildHealthCheck>down</ChildHealthCheck>"}
    aws_says.answers = {
        r"GET /2013-04-01/healthcheck\?": [
            says(
                page_of_checks(
                    health_check("down", **web),
                    health_check("up", "TCP", IPAddress="192.0.2.1", Port="22"),
                    health_check("off", Disabled="true"),
                    following="calc",
                )
            ),
            says(page_of_checks(health_check("calc", "CALCULATED", **children), health_check("denied"))),
        ],
        "POST /2013-04-01/tags/healthcheck": [says(TAGS)],
        "healthcheck/down/status": [says(observations("GetHealthCheckStatusResponse", OK, *[TIMED_OUT] * 5))],
        "healthcheck/up/status": [says(observations("GetHealthCheckStatusResponse", TIMED_OUT, OK, OK))],
        "healthcheck/denied/status": [fails("AccessDenied", status=403)],
        "/lastfailurereason": [
            says(observations("GetHealthCheckLastFailureReasonResponse", TIMED_OUT, "Failure: DNS"))
        ],
    }
    async with session_of("route53", wire) as call:
        first = await call("list_health_checks", max_results=3, **AT)
        rest = await call("list_health_checks", max_results=3, next_token=first["next_token"], **AT)
    down, up, off = first["health_checks"]
    assert (down["name"], down["endpoint"]) == ("shop", "https://www.example.com:443/health")
    assert down["status"] == {
        "status": "Unhealthy",
        "reason": f"1 of 6 checkers succeed; most others say: {TIMED_OUT}",
        "healthy_checkers": 1,
        "checkers": 6,
        "last_failure": {
            "region": "us-east-1",
            "ip_address": "192.0.2.1",
            "status": "Failure: DNS",
            "checked_time": "2026-11-24T03:01:00Z",
        },
    }
    assert (up["status"]["status"], up["endpoint"]) == ("Healthy", "tcp://192.0.2.1:22")
    assert (off["status"]["status"], off["disabled"]) == ("Healthy", True)
    calculated, denied = rest["health_checks"]
    assert (calculated["status"]["status"], calculated["child_health_checks"]) == ("Unknown", ["down"])
    assert "AccessDenied" in denied["status"]["reason"]
    assert rest["truncated"] is False


async def test_one_health_check_is_found_by_its_id_and_inversion_is_counted(aws_says: type[_Proxy]) -> None:
    one = f"<GetHealthCheckResponse {NS}>{health_check('up', Inverted='true')}</GetHealthCheckResponse>"
    aws_says.answers = {
        "healthcheck/up$": [says(one)],
        "healthcheck/up/status": [says(observations("GetHealthCheckStatusResponse", OK))],
        "/lastfailurereason": [says(observations("GetHealthCheckLastFailureReasonResponse"))],
    }
    async with session_of("route53", HTTP) as call:
        (row,) = (await call("list_health_checks", health_check_id="up", **AT))["health_checks"]
        missing = await call("list_health_checks", health_check_id="nowhere", **AT)
    assert (row["status"]["status"], "Inverted" in row["status"]["reason"]) == ("Unhealthy", True)
    assert missing.error_code == "NoSuchHealthCheck"


def change_info(status: str, of: str = "GetChangeResponse") -> str:
    return (
        f"<{of} {NS}><ChangeInfo><Id>/change/C123</Id><Status>{status}</Status>"
        f"<SubmittedAt>2026-11-24T03:00:00Z</SubmittedAt></ChangeInfo></{of}>"
    )


async def test_a_change_is_waited_for_with_progress_and_no_longer_than_a_call_may_last(aws_says: type[_Proxy]) -> None:
    told: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(message)

    aws_says.answers = {"/change/C123": [says(change_info("PENDING")), says(change_info("INSYNC"))]}
    async with session_of("route53", HTTP) as call:
        done = await call.client.call_tool(
            "get_change", {"change_id": "/change/C123", "wait": True, **AT}, progress_handler=progress
        )
        assert done.structured_content["status"] == "INSYNC"
        assert told == ["PENDING"]
    aws_says.answers = {"/change/C123": [says(change_info("PENDING"))]}
    async with running(TOOLSETS="route53", CALL_DEADLINE_SECONDS="3") as server, server.session() as call:
        late = await call("get_change", change_id="C123", wait=True, **AT)
        assert (late["status"], "again" in late["advice"]) == ("PENDING", True)


async def test_route_53s_answer_to_a_resolver_is_shown(aws_says: type[_Proxy], wire: Any) -> None:
    body = (
        f"<TestDNSAnswerResponse {NS}><Nameserver>ns-1.awsdns-01.org</Nameserver>"
        "<RecordName>www.example.com.</RecordName><RecordType>A</RecordType><RecordData><RecordDataEntry>192.0.2.1</RecordDataEntry></RecordData>"
        "<ResponseCode>NOERROR</ResponseCode><Protocol>UDP</Protocol></TestDNSAnswerResponse>"
    )
    aws_says.answers = {"/testdnsanswer": [says(body)]}
    asked = {"hosted_zone_id": "Z1", "record_name": "www.example.com", "record_type": "A"}
    subnet = {"resolver_ip": "192.0.2.53", "edns0_client_subnet_ip": "198.51.100.0", "edns0_client_subnet_mask": 24}
    async with session_of("route53", wire) as call:
        answer = await call("test_dns_answer", **asked, **subnet, **AT)
        assert (answer["record_data"], answer["response_code"]) == (["192.0.2.1"], "NOERROR")
        for wrong in (
            {"resolver_ip": "resolver"},
            {"edns0_client_subnet_mask": 24},
            {"edns0_client_subnet_ip": "198.51.100.0"},
            {**subnet, "edns0_client_subnet_mask": 33},
            {"record_type": "ANY"},
        ):
            assert (await call("test_dns_answer", **{**asked, **wrong}, **AT)).error_code == "InvalidParameter"
    ((line, _),) = [one for one in aws_says.seen if "testdnsanswer" in one[0]]
    assert "edns0clientsubnetmask=24" in line


async def test_a_change_whose_answer_is_lost_is_read_back_and_can_be_undone(aws_says: type[_Proxy]) -> None:
    zone = make_zone()
    seed(zone, a_record("old.example.com", "192.0.2.1"))
    aws_says.answers = {"POST .*/rrset": [loses_the_answer, passes]}
    batch = [change("CREATE", "new.example.com", "A", "192.0.2.2"), change("DELETE", "old.example.com")]
    async with session_of("route53", HTTP) as call:
        done = await submit(call, zone, *batch)
        assert not done.is_error, done.text
        assert done["after"][0]["name"] == "new.example.com."
        undone = await submit(call, zone, *done["undo"])
        assert [row["name"] for row in undone["after"]] == ["old.example.com."]


async def test_a_retry_that_meets_the_first_tries_effect_is_no_failure(aws_says: type[_Proxy]) -> None:
    zone = make_zone()
    exists = "Tried to create resource record set but it already exists"
    aws_says.answers = {"POST .*/rrset": [loses_the_answer, fails("InvalidChangeBatch", exists)]}
    async with session_of("route53", HTTP) as call:
        done = await submit(call, zone, change("CREATE", "new.example.com", "A", "192.0.2.2"))
        assert not done.is_error, done.text
        assert ("change_id" in done.content, "lost" in done["note"]) == (False, True)
        assert done["undo"][0]["action"] == "DELETE"


async def test_a_change_that_cannot_be_read_back_has_an_unknown_outcome(aws_says: type[_Proxy]) -> None:
    zone = make_zone()

    def then_nothing_can_be_read(proxy: _Proxy) -> None:
        aws_says.answers["GET .*/rrset"] = [fails("AccessDenied", status=403)]
        loses_the_answer(proxy)

    aws_says.answers = {"POST .*/rrset": [then_nothing_can_be_read, fails("AccessDenied", status=403)]}
    async with session_of("route53", HTTP) as call:
        answer = await submit(call, zone, change("CREATE", "new.example.com", "A", "192.0.2.2"))
    assert answer.error_code == "OutcomeUnknown"


async def test_a_change_that_was_made_is_no_failure_where_reading_after_it_fails(aws_says: type[_Proxy]) -> None:
    zone = make_zone()

    def then_nothing_can_be_read(proxy: _Proxy) -> None:
        aws_says.answers["GET .*/rrset"] = [fails("AccessDenied", status=403)]
        passes(proxy)

    aws_says.answers = {"POST .*/rrset": [then_nothing_can_be_read]}
    async with session_of("route53", HTTP) as call:
        done = await submit(call, zone, change("CREATE", "new.example.com", "A", "192.0.2.2"))
    assert (done.is_error, bool(done["change_id"]), "after" in done.content) == (False, True, False)
    assert "could not be read after it (AccessDenied)" in done["note"]
    assert done["undo"][0]["action"] == "DELETE"


async def test_records_that_change_under_the_call_are_a_conflict_or_told(aws_says: type[_Proxy]) -> None:
    zone = make_zone()
    seed(zone, a_record("www.example.com", "192.0.2.1"))

    def somebody(value: str) -> None:
        record = a_record("www.example.com", value)
        boto("route53", "production").change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
        )

    def too_early(proxy: _Proxy) -> None:
        aws_says.answers = {}
        somebody("192.0.2.66")
        fails("InvalidChangeBatch", "the values provided do not match the current values")(proxy)

    def too_late(proxy: _Proxy) -> None:
        aws_says.answers = {}
        status, content = proxy.pass_on()
        somebody("192.0.2.77")  # before the answer leaves, or the zone may be read again sooner
        proxy.reply(content.decode(), status)

    async with session_of("route53", HTTP) as call:
        aws_says.answers = {"POST .*/rrset": [too_early]}
        conflict = await submit(call, zone, change("DELETE", "www.example.com"))
        assert conflict.error_code == "VersionConflict"
        aws_says.answers = {"POST .*/rrset": [too_late]}
        told = await submit(call, zone, change("UPSERT", "www.example.com", "A", "192.0.2.3"))
        assert "somebody else" in told["note"]
        assert told["after"][0]["resource_records"] == ["192.0.2.77"]
        aws_says.answers = {"POST .*/rrset": [fails("InvalidChangeBatch", "[AWS's own reason]")]}
        refused = await submit(call, zone, change("DELETE", "www.example.com"))
        assert (refused.error_code, "own reason" in refused["message"]) == ("InvalidChangeBatch", True)


async def test_a_zone_whose_making_was_not_answered_is_found_by_its_reference(aws_says: type[_Proxy]) -> None:
    aws_says.answers = {
        "POST /2013-04-01/hostedzone$": [loses_the_answer, fails("HostedZoneAlreadyExists", status=409)]
    }
    async with session_of("route53", HTTP) as call:
        made = await call("create_hosted_zone", name="new.example.com", **AT)
        assert not made.is_error, made.text
        assert (await call("list_hosted_zones", **AT))["count"] == 1
        assert len(made["name_servers"]) == 4


async def test_a_zone_whose_deletion_was_not_answered_has_an_unknown_outcome_and_is_gone(
    aws_says: type[_Proxy],
) -> None:
    zone = make_zone()
    aws_says.answers = {"DELETE .*/hostedzone/": [loses_the_answer, passes]}
    async with session_of("route53", HTTP) as call:
        answer = await call.confirmed("delete_hosted_zone", hosted_zone_id=zone, **AT)
        assert answer.error_code == "OutcomeUnknown"
        assert (await call("list_hosted_zones", **AT))["count"] == 0


async def test_route_53_is_asked_in_its_own_region_whatever_the_calls(aws: str, monkeypatch: Any) -> None:
    """botocore alone decides; this holds it to what the contract's `region` of an answer does not show."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for region, scope in (
        ("eu-west-1", "us-east-1"),
        ("us-gov-east-1", "us-gov-west-1"),
        ("cn-north-1", "cn-northwest-1"),
    ):
        client = boto3.Session("x", "y").client("route53", region_name=region)
        sent: list[str] = []

        def stop(request: Any, sent: list[str] = sent, **_: Any) -> None:
            sent.append(request.headers["Authorization"].decode())
            raise ConnectionAbortedError

        client.meta.events.register("before-send", stop)
        with pytest.raises(ConnectionAbortedError):
            client.list_hosted_zones()
        assert f"/{scope}/route53/" in sent[0]
