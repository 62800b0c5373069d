"""The HTTP surface against strangers: foreign names, ambiguous headers, other spellings of a path, malformed bodies."""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.hosts import Hosts
from tests.conftest import TOKEN, aws_environment, server_environment
from tests.processes import Process, server_process
from tests.raw_sessions import INITIALIZE

Headers = list[tuple[str, str]]
AUTHORIZED = ("Authorization", f"Bearer {TOKEN}")
_strangers = itertools.cycle(range(1, 255))
JSON: Headers = [("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")]


@pytest.fixture(scope="module")
def running() -> Iterator[Process]:
    """A server that knows no AWS: nothing here may reach it."""
    names = {
        "MCP_ALLOWED_HOSTS": "mcp.example.com,ported.example.com:8443,tls.example.com:443,*.glob.example.com,10.*",
        "MCP_ALLOWED_ORIGINS": "https://console.example.com",
        "SSE_MAX_STREAMS": "1",
    }
    with server_process(**server_environment(**names), **aws_environment("http://127.0.0.1:9")) as process:
        yield process


def send(running: Process, method: str, path: str, headers: Headers, body: Any = None) -> http.client.HTTPResponse:
    """One request, its headers as given, repeated ones too."""
    stranger = f"127.0.1.{next(_strangers)}"  # an address with many refusals is slowed
    connection = http.client.HTTPConnection(
        running.url.removeprefix("http://"), source_address=(stranger, 0), timeout=10
    )
    connection.putrequest(method, path, skip_host=any(name == "Host" for name, _ in headers))
    for name, value in headers:
        connection.putheader(name, value)
    encoded = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.putheader("Content-Length", str(len(encoded)))
    connection.endheaders(encoded)
    return connection.getresponse()


def status(running: Process, *more: tuple[str, str], path: str = "/mcp") -> int:
    return send(running, "POST", path, [AUTHORIZED, *JSON, *more], INITIALIZE).status


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:1", "127.0.0.1", "127.0.0.2:80", "[::1]:8100", "LOCALHOST",
        "mcp.example.com", "MCP.example.com:8443", "ported.example.com:8443", "tls.example.com", "tls.example.com:443",
        "a.glob.example.com", "10.1.2.3:8100",
    ],
)  # fmt: skip
def test_a_name_of_the_server_passes(running: Process, host: str) -> None:
    assert status(running, ("Host", host)) == 200


@pytest.mark.parametrize(
    "host",
    [
        "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "mcp.example.com.evil.example",
        "ported.example.com", "ported.example.com:8444", "tls.example.com:444", "glob.example.com", "10.evil.example",
        "localhost:abc", "localhost:8100/x", "localhost/healthz?", "localhost#", "a@localhost",
        "localhost, evil.example",
        "[::1", "*", "*.glob.example.com",
    ],
)  # fmt: skip
def test_another_name_is_misdirected(running: Process, host: str) -> None:
    assert status(running, ("Host", host)) == 421


SIZES = (300, 9_000, 24_000, 60_000)
LONG: Headers = [
    *(
        ("Host", unit * (size // len(unit)) + end)
        for unit in ("1", "1.", "*", "a.", "[:", "1:", "-")
        for size in SIZES
        for end in ("x", ":1", "]")
    ),
    *(("Origin", head + unit * 9_000 + "x") for head in ("", "http://") for unit in ("a", "a.", "1", ":*", "[", "/")),
    *((name, "a, " * 8_000) for name in ("Sec-Fetch-Site", "Connection", "Accept", "X")),
    ("X" * 24_000, ""),
    ("Mcp-Session-Id", "é" * 20_000),
    ("Content-Type", "a/" * 12_000),
]


def test_no_header_costs_more_than_it_says_whatever_is_in_it(running: Process) -> None:
    answers = set()
    for header in LONG:
        began = time.monotonic()
        answers.add(send(running, "GET", "/mcp", [header]).status)
        assert time.monotonic() - began < 3, header[1][:20]
    assert answers <= {400, 401, 403, 421}


@pytest.mark.parametrize(("length", "answer"), [(253, 200), (254, 421)])
def test_a_name_is_as_long_as_a_name_may_be(running: Process, length: int, answer: int) -> None:
    end = ".glob.example.com"
    assert status(running, ("Host", "a" * (length - len(end)) + end)) == answer


def test_two_host_headers_are_refused(running: Process) -> None:
    assert status(running, ("Host", "localhost"), ("Host", "evil.example")) in (400, 421)


def test_a_server_bound_to_every_address_answers_under_the_one_that_was_reached() -> None:
    reached = {"server": ("::ffff:192.0.2.7", 8100), "headers": [(b"host", b"192.0.2.7:8100")]}
    assert Hosts(["::"]).admit(reached)
    assert not Hosts(["::"]).admit({**reached, "headers": [(b"host", b"192.0.2.8:8100")]})
    assert Hosts(["[fd00::*]:8100"]).admit({**reached, "headers": [(b"host", b"[fd00::7]:8100")]})


@pytest.mark.parametrize(
    ("origins", "answer"),
    [
        (["https://console.example.com"], 200),
        (["http://localhost:3000"], 200),
        (["http://localhost:3000", "https://evil.example"], 403),
        (["https://console.example.com.evil.example"], 403),
        (["null"], 403),
    ],
)
def test_a_foreign_origin_is_forbidden_beside_a_good_one_too(running: Process, origins: list[str], answer: int) -> None:
    assert status(running, *(("Origin", origin) for origin in origins)) == answer


@pytest.mark.parametrize(
    ("origin", "answer"),
    [
        ("http://localhost", 200), ("https://localhost:3000", 200), ("http://127.0.0.1:6274", 200),
        ("http://[::1]:3000", 200), ("http://localhost.evil.example", 403), ("http://[::2]:3000", 403),
    ],
)  # fmt: skip
def test_a_page_on_the_operators_own_machine_reaches_a_server_of_any_name(
    running: Process, origin: str, answer: int
) -> None:
    assert status(running, ("Host", "mcp.example.com"), ("Origin", origin)) == answer


@pytest.mark.parametrize(("path", "method"), [("/mcp/", "POST"), ("/sse/", "GET"), ("/messages", "POST")])
def test_a_slash_more_or_less_is_the_same_route_and_no_redirect_to_plain_http(
    running: Process, path: str, method: str
) -> None:
    assert send(running, method, path, JSON, INITIALIZE).status == 401
    assert send(running, method, path, [*JSON, ("Host", "evil.example")], INITIALIZE).status == 421
    assert status(running, path="/mcp/") == 200
    assert status(running, path="/messages") == 400, "no session is named"


@pytest.mark.parametrize(
    "path", ["//mcp", "/MCP", "/mcp%00", "/./mcp", "/healthz/../sse", "/healthz/..%2fsse", "/s%73e"]
)
def test_no_spelling_of_a_path_is_a_way_round_the_token(running: Process, path: str) -> None:
    for method in ("GET", "POST", "HEAD", "PUT", "OPTIONS"):
        assert send(running, method, path, JSON, INITIALIZE).status in (401, 404, 405)


def test_what_holds_no_stream_takes_none_of_their_places(running: Process) -> None:
    assert send(running, "HEAD", "/sse", [AUTHORIZED]).status == 405
    stream = open_stream(running)
    assert send(running, "GET", "/sse", [AUTHORIZED]).status == 503
    assert send(running, "GET", "/sse", []).status == 401, "a stranger learns nothing of the load"
    stream.close()
    open_stream(running).close()


def open_stream(running: Process) -> http.client.HTTPResponse:
    """The one stream that may be open, once that of the test before has gone."""
    end = time.monotonic() + 10
    while (stream := send(running, "GET", "/sse", [AUTHORIZED])).status != 200 and time.monotonic() < end:
        time.sleep(0.05)
    assert stream.status == 200
    return stream


@pytest.mark.parametrize(
    "body",
    [
        b"{canary",
        b'"canary"',
        b'["canary"]',
        b'{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"arguments":{"secret_value":"canary"}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["canary"]}',
        b'{"jsonrpc":"2.0","id":1,"canary":1}',
        b'{"canary":' * 50_000,
    ],
    ids=range(7),
)
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_a_malformed_body_is_not_echoed(running: Process, body: bytes, version: str) -> None:
    headers = [AUTHORIZED, *JSON, ("MCP-Protocol-Version", version), ("Mcp-Method", "tools/call"), ("Mcp-Name", "x")]
    answer = send(running, "POST", "/mcp", headers, body)
    text = answer.read()
    assert answer.status == 400
    assert b"canary" not in text
    assert b"pydantic" not in text
    assert json.loads(text)["error"]["code"] < 0
    assert "canary" not in running.printed


TYPES = [
    ("APPLICATION/JSON", True), ("application/json; charset=utf-8", True), ("Application/Json;Charset=UTF-8", True),
    ("text/plain", False), ("application/x-www-form-urlencoded", False), ("multipart/form-data", False), ("", False),
    ("application/jsonp", False), ("application/json-patch+json", False), ("text/plain; application/json", False),
    ("text/plain, application/json", False),
]  # fmt: skip


@pytest.mark.parametrize(("media_type", "taken"), TYPES)
def test_a_body_is_json_whatever_the_case_of_its_type_or_415(running: Process, media_type: str, taken: bool) -> None:
    stream = open_stream(running)
    stream.readline()
    messages = stream.readline().decode().removeprefix("data: ").strip()
    accept = ("Accept", "application/json, text/event-stream")
    try:
        for path, good in (("/mcp", 200), (messages, 202)):
            for types in (
                [("Content-Type", media_type)],
                [("Content-Type", media_type), ("Content-Type", "text/plain")],
            ):
                expected = good if taken and len(types) == 1 else 415
                assert send(running, "POST", path, [AUTHORIZED, accept, *types], INITIALIZE).status == expected, path
            assert send(running, "POST", path, [accept, ("Content-Type", media_type)], INITIALIZE).status == 401
        modern = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")]
        answer = send(running, "POST", "/mcp", [AUTHORIZED, accept, ("Content-Type", media_type), *modern], INITIALIZE)
        assert (answer.status == 415) is not taken
    finally:
        stream.close()


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/?session_id=1"])
def test_a_401_says_that_the_token_is_not_known_here_and_sends_nobody_elsewhere(running: Process, path: str) -> None:
    for headers in ([], [("Authorization", "Bearer nobodys-token-0123456789")], [AUTHORIZED, AUTHORIZED]):
        answer = send(running, "GET", path, headers)
        said = f"{answer.read().decode()} {answer.headers['WWW-Authenticate']}"
        assert answer.status == 401
        assert "Bearer" in said
        assert not any(
            word in said.lower() for word in ("regist", "new token", "oauth", "clear", "reconnect", "obtain")
        )
        assert ("not known here" in said) == (len(headers) == 1)
