"""The audit trail: what a line says, when it is written, what it never holds, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from pydantic import SecretStr

from access.audit import AuditTrail
from access.callers import local_user
from access.refusals import RefusalLog
from access.verify import lines_that_touched
from errors import AuditUnavailable, ConfigurationError
from services._secrets import Generate
from tests.conftest import (
    ROLES,
    TOKEN,
    Server,
    Session,
    aws_environment,
    boto,
    running,
    server_environment,
    standin_alone,
)
from tests.processes import ROOT, Process, clean_environment, run_server, server_process
from tests.standin import Standin
from toolcall import fingerprints

KEY = "a-key-for-fingerprints-0123456789"
AGENT = "the-token-of-an-agent-0123456789"
FIELDS = {
    "event", "ts", "request_id", "caller", "transport", "tool", "class", "account", "account_id", "identity", "region",
    "resource", "arguments", "decision", "rule", "outcome", "error_code", "aws_request_ids", "attempts", "duration_ms",
}  # fmt: skip
TRANSPORTS = {"sse": "sse", "http": "streamable-http"}
DB = {"secret_id": "app/db", "account": "production"}


@pytest.fixture(scope="module")
def running_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    callers = tmp_path_factory.mktemp("callers") / "callers.toml"
    digest = hashlib.sha256(AGENT.encode()).hexdigest()
    callers.write_text(f'[callers.agent]\ntoken_sha256 = "{digest}"\nscopes = ["read"]\naccounts = ["staging"]\n')
    with standin_alone(MCP_CALLERS_FILE=str(callers)) as started:
        for account in ROLES:
            boto("secretsmanager", account).create_secret(Name="app/db", SecretString='{"user": "u", "password": "p"}')
        yield started


@pytest.fixture
def standin(running_standin: Standin) -> Standin:
    running_standin.clear()
    running_standin.forget_calls()
    return running_standin


class Trail:
    """An audit file, as far as it was written by the test at hand."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self.path, self._start = path, start

    @property
    def text(self) -> str:
        return self.path.read_bytes()[self._start :].decode(errors="replace")

    def start_over(self) -> None:
        """Look at another file of that name."""
        self._start = 0

    def records(self, event: str = "audit") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text.splitlines() if line.startswith('{"ts"')]
        return [record for record in found if record["event"] == event]

    def last(self) -> dict[str, Any]:
        return self.records()[-1]


@pytest.fixture
def fresh(tmp_path: Path) -> Trail:
    """A trail of the test's own."""
    return Trail(tmp_path / "audit.jsonl")


@pytest.fixture(scope="module")
async def one_for_all(running_standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    path, callers = tmp_path_factory.mktemp("audit") / "folder" / "audit.jsonl", os.environ["MCP_CALLERS_FILE"]
    path.parent.mkdir()
    async with running(AUDIT_LOG=str(path), AUDIT_HMAC_KEY=KEY, MCP_CALLERS_FILE=callers, TOOLSETS="all") as server:
        yield server


@pytest.fixture
def server(one_for_all: Server, standin: Standin) -> Server:
    one_for_all.app.flush()
    return one_for_all


@pytest.fixture
def trail(server: Server) -> Trail:
    path = Path(server.app.desk.settings.audit_log)
    return Trail(path, path.stat().st_size if path.exists() else 0)


def fingerprint(record: dict[str, Any], text: str) -> dict[str, Any]:
    """What anybody who has the key gets for a text and a line's request."""
    data = text.encode()
    said = hmac.new(KEY.encode(), record["request_id"].encode() + b"\0" + data, hashlib.sha256)
    return {"length": len(data), "hmac": said.hexdigest()}


# --- what a line says ---------------------------------------------------------------------------------------------


async def test_a_call_has_one_line_of_just_the_contracts_fields_before_its_answer_leaves(
    server: Server, trail: Trail, wire: tuple[str, str]
) -> None:
    async with server.session(*wire) as call:
        for tool, scope in (("describe_secret", "read"), ("get_secret_value", "reveal")):
            answer = await call(tool, **DB, region="us-east-1")
            assert answer["success"]
            line = trail.last()
            assert set(line) == FIELDS
            assert (line["tool"], line["class"], line["caller"]) == (tool, scope, "default")
            assert (line["decision"], line["rule"], line["outcome"]) == ("allow", f"scope:{scope}", "success")
            assert (line["account"], line["account_id"], line["region"]) == ("production", "111111111111", "us-east-1")
            assert (line["identity"], line["resource"]) == (ROLES["production"], "app/db")
            assert line["transport"] == TRANSPORTS[wire[0]]
            assert line["error_code"] is None
            assert (len(line["aws_request_ids"]), line["attempts"]) == (1, 1)
            assert set(line["arguments"]) == {"secret_id", "account", "region"}
            assert 0 < line["duration_ms"] < 30_000
            assert abs(datetime.fromisoformat(line["ts"]).timestamp() - time.time()) < 5
        missing = await call("describe_secret", **{**DB, "secret_id": "absent"})
        line = trail.last()
    assert (
        (line["outcome"], line["error_code"]) == ("error", missing.error_code) == ("error", "ResourceNotFoundException")
    )
    assert line["aws_request_ids"] == [missing["request_id"]]
    assert [record["outcome"] for record in trail.records()] == ["success", "success", "error"]


async def test_under_stdio_the_caller_is_the_local_user(standin: Standin, fresh: Trail) -> None:
    environment = clean_environment(**server_environment(AUDIT_LOG=str(fresh.path)), **aws_environment(standin.url))
    command = [str(ROOT / "server.py"), "--stdio"]
    stdio = StdioTransport(sys.executable, command, env=environment, keep_alive=False, log_file=Path(os.devnull))
    async with Client(stdio) as client:
        assert (await Session(client)("describe_secret", **DB))["success"]
        assert (fresh.last()["transport"], fresh.last()["caller"]) == ("stdio", local_user().name)
        assert set(fresh.last()) == FIELDS


async def test_a_change_has_an_intent_line_while_aws_has_not_answered_yet(
    server: Server, trail: Trail, standin: Standin
) -> None:
    standin.fault("slow", operation="TagResource", ms=400)
    async with server.session() as call, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: call("tag_secret", **DB, tags={"a": "b"}))
        while not standin.calls("TagResource"):
            await anyio.sleep(0.01)
        (intent,) = trail.records()
    (sent,) = standin.calls("TagResource")
    outcome = trail.last()
    assert datetime.fromisoformat(intent["ts"]).timestamp() <= sent.time
    assert (intent["outcome"], outcome["outcome"]) == ("intent", "success")
    assert intent["request_id"] == outcome["request_id"]
    assert (set(intent), intent["aws_request_ids"], intent["attempts"]) == (FIELDS, [], 0)
    assert intent["arguments"] == outcome["arguments"]


async def test_a_reveal_is_foretold_before_aws_is_asked_for_the_value(
    server: Server, trail: Trail, standin: Standin
) -> None:
    standin.fault("slow", operation="GetSecretValue", ms=300)
    async with server.session() as call, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: call("get_secret_value", **DB))
        while not standin.calls("GetSecretValue"):
            await anyio.sleep(0.01)
        (foretold,) = trail.records("audit_reveal")
        assert trail.records() == []
    assert (foretold["resource"], foretold["request_id"]) == ("app/db", trail.last()["request_id"])


async def test_the_resource_is_named_as_the_call_did(server: Server, trail: Trail, standin: Standin) -> None:
    arn = boto("secretsmanager", "production").describe_secret(SecretId="app/db")["ARN"]
    calls: list[tuple[str, dict[str, Any], str | None]] = [
        ("describe_secret", {"secret_id": "app/db"}, "app/db"),
        ("describe_secret", {"secret_id": arn}, arn),
        ("batch_get_secret_value", {"secret_ids": ["app/db", "absent"]}, "app/db,absent"),
        ("create_secret", {"name": "app/new", "secret_value": "v"}, "app/new"),
        ("list_objects", {"bucket": "a-bucket"}, "a-bucket"),
        ("head_object", {"bucket": "a-bucket", "key": "a key"}, "a-bucket/a key"),
        ("copy_object", {"bucket": "a", "key": "b", "to_bucket": "box", "to_key": "k"}, "box/k"),
        ("stop_instances", {"instance_ids": ["i-0123456789abcdef0"]}, "i-0123456789abcdef0"),
        ("list_secrets", {}, None),
    ]
    async with server.session() as call:
        for tool, arguments, named in calls:
            await call(tool, **arguments, account="production")
            assert (trail.last()["tool"], trail.last()["resource"]) == (tool, named)


async def test_a_line_is_one_line_to_every_reader(server: Server, trail: Trail) -> None:
    key = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1c\x1d\x1e\r\n"
    async with server.session() as call:
        await call("head_object", bucket="a-bucket", key=key, account="production")
    data = trail.text.encode()
    assert len(data.decode().splitlines()) == data.count(b"\n") == len(trail.records()) == 1
    assert trail.last()["resource"] == f"a-bucket/{key}"
    for escaped in (b"\\u2028", b"\\u2029", b"\\u0085"):
        assert escaped in data


# --- what stands there of arguments -------------------------------------------------------------------------------

PIN = "canary-pin-1234"
TEMPLATE = json.dumps({"a": "{{generate}}", "b": PIN})
VALUES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("update_secret", {**DB, "secret_value": PIN}, {"secret_value": PIN}),
    ("update_secret", {**DB, "generate": {"template": TEMPLATE}}, {"generate": TEMPLATE}),
    ("patch_secret", {**DB, "set": {"password": PIN, "x": "y"}}, {"set": PIN}),
    ("tag_secret", {**DB, "tags": {"team": PIN, "x": "y"}}, {"tags": PIN}),
    ("tag_secret", {**DB, "tags": {PIN: "y"}}, {"tags": PIN}),
    ("untag_secret", {**DB, "tag_keys": ["x", PIN]}, {"tag_keys": PIN}),
    ("update_secret", {**DB, "description": PIN}, {"description": PIN}),
    ("lookup_events", {"username": PIN, "start_time": "2026-11-23T00:00:00Z"}, {"username": PIN}),
    # Refused, and still the value was here:
    ("update_secret", {**DB, "secret_value": PIN, "descripton": "x"}, {"secret_value": PIN}),
    ("update_secret", {**DB, "secret_value": PIN, "description": 5}, {"secret_value": PIN}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(VALUES)))
async def test_a_value_stands_there_as_length_and_keyed_hmac_and_can_be_looked_for(
    server: Server, trail: Trail, number: int
) -> None:
    tool, arguments, touched = VALUES[number]
    async with server.session() as call:
        await call(tool, **arguments)
    assert PIN not in trail.text
    ((name, value),) = touched.items()
    records = trail.records()
    assert all(fingerprint(record, value)["hmac"] in json.dumps(record["arguments"][name]) for record in records)
    assert list(lines_that_touched(value, KEY, trail.text.splitlines())) == [(record, [name]) for record in records]
    assert records[-1]["tool"] == tool


def verify(path: Path, value: str, key: str = KEY) -> Any:
    """Run `--audit-verify`."""
    return subprocess.run(
        [sys.executable, str(ROOT / "server.py"), "--audit-verify", str(path)],
        input=value, env=clean_environment(AUDIT_HMAC_KEY=key), capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip


def test_of_a_collection_too_large_the_rest_is_counted_and_its_secrets_tell_in_the_whole() -> None:
    keyed = AuditTrail("stdout", KEY).fingerprint_for("a request")
    for many in (
        lambda secret: {str(n): SecretStr(secret if n > 999 else "x") for n in range(1_001)},
        lambda secret: [Generate(template=SecretStr("x"))] * 1_000 + [Generate(template=SecretStr(secret))],
        lambda secret: [datetime(2026, 11, 24, tzinfo=UTC)] * 1_000 + [SecretStr(secret)],
    ):
        one, two = (fingerprints.of_checked(keyed, {"a": 1, "many": many(secret)}) for secret in ("one", "two"))
        assert len(one["many"]) - 1 + one["many"][-1]["left_out"] == 1_001
        assert one["many"][:-1] == two["many"][:-1] != []
        assert one["many"][-1]["hmac"] != two["many"][-1]["hmac"]


async def test_audit_verify_reads_past_torn_lines_and_finds_nothing_with_another_key_or_value(
    server: Server, trail: Trail
) -> None:
    async with server.session() as call:
        await call("update_secret", **DB, secret_value="two lines\n")
    with trail.path.open("ab") as file:
        file.write(
            b'{"event": "audit", "tool": "\xff\xe2\x80\n[1]\n"text"\nnull\n{"event": "audit", "arguments": null}\n'
        )
    shown = verify(trail.path, "two lines\n")
    assert (shown.returncode, shown.stdout.splitlines()) == (
        0,
        [
            f"{r['ts']} {r['request_id']} default update_secret production {r['outcome']} secret_value"
            for r in trail.records()[:2]
        ],
    )
    lines = trail.path.read_text(errors="replace").splitlines()
    for value, key in (("two lines", KEY), ("two lines\n", KEY[::-1]), ("p", KEY)):
        assert list(lines_that_touched(value, key, lines)) == []
    missing = verify(trail.path.with_name("absent"), "x")
    assert (missing.returncode, "--audit-verify" in missing.stderr, "Traceback" in missing.stderr) == (2, True, False)


async def test_a_guess_of_ones_own_is_found_on_no_other_callers_lines(server: Server, trail: Trail) -> None:
    async with server.session() as call, server.session(token=AGENT) as agent:
        await call("update_secret", **DB, secret_value=PIN, description=PIN)
        await agent("list_secrets", name_prefix=PIN, account="staging", next_token=PIN)
        await agent("get_secret_value", secret_id=PIN, account=PIN)
        await call("update_secret", **DB, secret_value=PIN)
    by_request: dict[str, set[str]] = {}
    for record in trail.records():
        found = re.findall(r'"hmac": "([0-9a-f]{64})"', json.dumps(record["arguments"]))
        by_request.setdefault(record["request_id"], set()).update(found)
        same = [said for said in record["arguments"].values() if said["length"] == len(PIN)]
        assert same == [fingerprint(record, PIN)] * len(same) != []  # within a line equal values are seen to be equal
    assert len(by_request) == 4
    assert sum(map(len, by_request.values())) == len(set().union(*by_request.values()))


async def test_without_the_key_no_fingerprint_can_be_guessed(standin: Standin, tmp_path: Path) -> None:
    said = []
    for name in ("one", "two"):
        fresh = Trail(tmp_path / name)
        async with running(AUDIT_LOG=str(fresh.path)) as server, server.session() as call:
            await call("update_secret", **DB, secret_value=PIN)
        said.append(fresh.last()["arguments"]["secret_value"])
    assert said[0]["length"] == said[1]["length"] == len(PIN)
    assert said[0]["hmac"] != said[1]["hmac"]
    assert hashlib.sha256(PIN.encode()).hexdigest() not in {one["hmac"] for one in said}


MISPLACED: list[tuple[str, dict[str, Any]]] = [
    ("describe_secret", {PIN: "app/db"}),
    ("update_secret", {**DB, "secret_value": "v", PIN: "x"}),
    ("update_secret", {**DB, f"secret_value={PIN}": "x"}),
    ("update_secret", {**DB, "generate": {PIN: 1}}),
    ("describe_secret", {"secret_id": json.dumps({"password": PIN})}),
    ("describe_secret", {"secret_id": {PIN: PIN}}),
    ("batch_get_secret_value", {"secret_ids": [f"the value {PIN}"]}),
    (PIN, {}),
]


@pytest.mark.parametrize("number", range(len(MISPLACED)))
async def test_a_value_where_a_name_belongs_reaches_no_line(
    server: Server, trail: Trail, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    tool, arguments = MISPLACED[number]
    async with server.session() as call:
        answer = await call(tool, **arguments)
    assert answer.error_code == "InvalidParameter"
    assert PIN not in trail.text + caplog.text + answer.text
    assert trail.last()["outcome"] == "refused"


MODERN: dict[str, Any] = {
    "protocolVersion": "2026-07-28",
    "clientCapabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}
HALF = PIN + "\ud800"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("update_secret", {**DB, "secret_value": HALF}), ("patch_secret", {**DB, "set": {"a": HALF}}),
        ("tag_secret", {**DB, "tags": {HALF: "x"}}), ("put_object", {"bucket": "box", "key": "k", "body": HALF}),
        ("describe_secret", {"secret_id": "app/db", "region": HALF}), ("describe_secret", {**DB, HALF: "x"}),
        ("update_secret", {**DB, "generate": {"template": HALF}}), ("untag_secret", {**DB, "tag_keys": ["x", HALF]}),
    ],
)  # fmt: skip
async def test_half_a_surrogate_pair_is_refused_and_recorded(
    server: Server, trail: Trail, standin: Standin, tool: str, arguments: dict[str, Any]
) -> None:
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in MODERN.items()}
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    headers = {
        "authorization": f"Bearer {TOKEN}", "content-type": "application/json", "mcp-name": tool,
        "accept": "application/json, text/event-stream", "mcp-method": "tools/call",
        "mcp-protocol-version": MODERN["protocolVersion"],
    }  # fmt: skip
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    async with server.http() as http:
        answer = (await http.post("/mcp", content=body, headers=headers)).json()["result"]["structuredContent"]
    assert (answer["error_code"], standin.calls()) == ("InvalidParameter", [])
    assert "is not valid Unicode" in answer["message"]
    assert PIN not in trail.text + json.dumps(answer)
    assert (trail.last()["tool"], trail.last()["rule"]) == (tool, "InvalidParameter")


# --- refusals -----------------------------------------------------------------------------------------------------

REFUSALS: list[tuple[str, str, dict[str, Any], str]] = [
    (AGENT, "update_secret", {**DB, "secret_value": PIN}, "ScopeRequired"),
    (AGENT, "describe_secret", DB, "AccountNotAllowed"),
    (AGENT, "describe_secret", {"secret_id": "app/db"}, "AccountNotAllowed"),
    (TOKEN, "describe_secret", {**DB, "account": "absent"}, "UnknownAccount"),
    (TOKEN, "describe_secret", {**DB, "role_arn": "arn:aws:iam::999999999999:role/x"}, "RoleNotAllowed"),
    (TOKEN, "describe_secret", {**DB, "region": "us-nowhere-1"}, "RegionNotAllowed"),
    (TOKEN, "describe_secret", {"secret": "app/db"}, "InvalidParameter"),
    (TOKEN, "delete_secret", {**DB, "force_delete_without_recovery": True}, "ConfirmationRequired"),
    (TOKEN, "no_such_tool", {}, "InvalidParameter"),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
async def test_a_refused_call_is_recorded_with_the_rule_that_refused_it(
    server: Server, trail: Trail, number: int, wire: tuple[str, str]
) -> None:
    token, tool, arguments, rule = REFUSALS[number]
    async with server.session(*wire, token=token) as call:
        assert (await call(tool, **arguments)).error_code == rule
    (line,) = trail.records()
    assert set(line) == FIELDS
    assert (line["decision"], line["rule"], line["outcome"], line["error_code"]) == ("deny", rule, "refused", rule)
    assert line["tool"] == ("unknown" if tool == "no_such_tool" else tool)
    assert line["caller"] == ("agent" if token == AGENT else "default")
    assert line["transport"] == TRANSPORTS[wire[0]]
    assert set(line["arguments"]) == set(arguments) - {"secret"}
    assert line["resource"] == arguments.get("secret_id")


async def test_a_flood_of_refusals_is_a_line_each_up_to_a_rate_and_then_one_summary(
    server: Server, trail: Trail
) -> None:
    async with server.session(token=AGENT) as call:
        for _ in range(120):
            assert (await call("get_secret_value", **DB)).error_code == "ScopeRequired"
        assert (await call("list_accounts"))["success"]
    assert [record["outcome"] for record in trail.records()] == [*["refused"] * 100, "success"]
    server.app.flush()
    (summary,) = trail.records("audit_summary")
    assert (summary["caller"], summary["refused"], summary["decision"]) == ("agent", 20, "deny")
    assert summary["by"] == [{"tool": "get_secret_value", "rule": "ScopeRequired", "refused": 20}]
    server.app.flush()
    assert len(trail.records("audit_summary")) == 1


async def test_ever_new_addresses_are_no_way_round_the_rate(fresh: Trail) -> None:
    audit = AuditTrail(str(fresh.path), KEY)
    refusals = RefusalLog(audit, 20)
    for number in range(3_000):
        refusals.write_unauthenticated(f"2001:db8::{number:x}", "/sse", 401)
    assert len(fresh.records()) == 1_020
    refusals.flush()
    (summary,) = fresh.records("audit_summary")
    assert (summary["source"], summary["refused"]) == ("address 2001:db8::/64", 1_980)
    assert summary["by"] == [{"tool": None, "rule": "http:401", "refused": 1_980}]


def test_addresses_beyond_a_thousand_are_counted_by_network(fresh: Trail) -> None:
    async def flood() -> None:
        refusals = RefusalLog(AuditTrail(str(fresh.path), KEY), 1)
        for number in range(1_000):
            refusals.write_unauthenticated(f"10.{number // 250}.{number % 250}.1", "/sse", 401)
        for address in (
            "192.0.2.1", "192.0.2.254", "::ffff:192.0.2.7", "198.51.100.1", "198.51.100.2",
            "2001:db8:1:2::1", "2001:db8:1:2:ffff::1", "2001:db8:1:3::1", "fe80::1%eth0", "unknown", "nobody",
        ):  # fmt: skip
            assert refusals.write_unauthenticated(address, "/sse", 401) == (address in SECOND)
        for number in range(3_000):
            refusals.write_unauthenticated(f"172.{number // 250}.{number % 250}.1", "/sse", 401)
        refusals.flush()

    SECOND = {"192.0.2.254", "::ffff:192.0.2.7", "198.51.100.2", "2001:db8:1:2:ffff::1", "nobody"}
    asyncio.run(flood())
    left_out = {record["source"]: record["refused"] for record in fresh.records("audit_summary")}
    assert left_out.pop("others") > 1_900
    assert left_out == {"address 192.0.2.0/24": 2, "address 198.51.100.0/24": 1, "address 2001:db8:1:2::/64": 1}


def test_the_summary_of_the_last_minute_is_written_when_the_process_ends(standin: Standin, fresh: Trail) -> None:
    environment = {**server_environment(AUDIT_LOG=str(fresh.path)), **aws_environment(standin.url)}
    with server_process(**environment) as process:
        threads = [threading.Thread(target=process.get, args=("/mcp",)) for _ in range(23)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.process.send_signal(signal.SIGTERM)
        process.process.wait(10)
    line = fresh.last()
    assert set(line) == FIELDS | {"address"}
    assert (line["caller"], line["rule"], line["decision"], line["outcome"]) == (None, "http:401", "deny", "refused")
    (summary,) = fresh.records("audit_summary")
    assert (summary["address"], summary["refused"]) == ("127.0.0.1", 3)


# --- rotation -----------------------------------------------------------------------------------------------------


def test_a_file_that_is_renamed_away_under_load_loses_no_line(fresh: Trail) -> None:
    audit = AuditTrail(str(fresh.path), KEY)
    audit.open()

    def write(number: int) -> None:
        for count in range(2_000):
            audit.write({"event": "audit", "number": number * 2_000 + count})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    rotated = []
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.005)
        if fresh.path.exists():
            rotated.append(fresh.path.rename(fresh.path.with_name(f"audit.{len(rotated)}")))
    for thread in threads:
        thread.join()
    audit.write({"event": "audit", "number": 8_000})
    numbers = [record["number"] for path in [*rotated, fresh.path] for record in Trail(path).records()]
    assert len(rotated) > 3
    assert sorted(numbers) == list(range(8_001))


def test_an_existing_file_is_appended_to_and_a_torn_end_spoils_no_line(fresh: Trail) -> None:
    fresh.path.write_text('{"event": "audit", "number": 1}\n{"event": "audit", "numb')
    for number in (2, 3):
        audit = AuditTrail(str(fresh.path), KEY)
        audit.open()
        audit.write({"event": "audit", "number": number})
    first, torn, *lines = fresh.text.splitlines()
    assert (json.loads(first)["number"], torn) == (1, '{"event": "audit", "numb')
    assert [json.loads(line)["event"] for line in lines] == ["audit_started", "audit"] * 2


# --- a fresh that cannot be written -------------------------------------------------------------------------------


def make_a_directory(trail: Trail) -> Callable[[], None]:
    trail.path.rename(trail.path.with_name("away"))
    trail.path.mkdir()
    return trail.path.rmdir


def make_it_dev_full(trail: Trail) -> Callable[[], None]:
    trail.path.rename(trail.path.with_name("away"))
    trail.path.symlink_to("/dev/full")
    return trail.path.unlink


def take_the_folder_away(trail: Trail) -> Callable[[], None]:
    folder, away = trail.path.parent, trail.path.parent.with_name("away")
    folder.rename(away)
    return lambda: away.rename(folder) and None


WAYS_TO_DIE = [make_a_directory, make_it_dev_full, take_the_folder_away]
CHANGES_AND_REVEALS: list[tuple[str, dict[str, Any]]] = [
    ("update_secret", {**DB, "secret_value": PIN}),
    ("get_secret_value", DB),
    ("delete_secret", {**DB, "force_delete_without_recovery": True}),
    ("delete_secret", {**DB, "force_delete_without_recovery": True, "confirm": "x.y"}),
    ("presign_object", {"bucket": "a-bucket", "key": "k", "account": "production"}),
    ("terminate_instances", {"instance_ids": ["i-0123456789abcdef0"], "account": "production"}),
]


@pytest.mark.parametrize(("die", "first"), [(WAYS_TO_DIE[n % 3], n) for n in range(len(CHANGES_AND_REVEALS))])
async def test_with_a_dead_sink_the_very_first_change_or_reveal_is_refused_and_aws_is_not_called(
    server: Server, trail: Trail, standin: Standin, die: Any, first: int
) -> None:
    async with server.session() as call:
        assert (await call("describe_secret", **DB))["success"]
        standin.forget_calls()
        revive = die(trail)
        order = CHANGES_AND_REVEALS[first:] + CHANGES_AND_REVEALS[:first]
        for tool, arguments in order[:2]:
            answer = await call(tool, **arguments)
            assert (answer.error_code, answer["retryable"]) == ("AuditUnavailable", True), tool
            assert not {"plan", "confirm", "secret_value"} & set(answer.content)
        assert standin.calls() == []
        assert (await call("describe_secret", **DB))["success"]
        assert (await call("list_accounts"))["success"]
        async with server.http() as http:
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["checks"]["audit"]) == (503, False)
            revive()
            trail.start_over()
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["checks"]["audit"]) == (200, True)
        assert (await call("update_secret", **DB, description="back"))["success"]
    assert trail.records("audit_resumed")[-1]["lost"] >= 3
    assert [record["outcome"] for record in trail.records()][-2:] == ["intent", "success"]


@pytest.mark.parametrize("die", WAYS_TO_DIE)
async def test_readyz_notices_a_dead_sink_and_its_return_without_any_call(
    server: Server, trail: Trail, die: Any
) -> None:
    async with server.session() as call:
        await call("list_accounts")
    async with server.http() as http:
        revive = die(trail)
        assert (await http.get("/readyz")).status_code == 503
        revive()
        assert (await http.get("/readyz")).status_code == 200


async def test_a_value_does_not_leave_if_the_trail_dies_while_aws_answers(
    server: Server, trail: Trail, standin: Standin
) -> None:
    standin.fault("slow", operation="GetSecretValue", ms=400)
    answers = []

    async def reveal(call: Session) -> None:
        answers.append(await call("get_secret_value", **DB))

    async with server.session() as call, anyio.create_task_group() as tasks:
        tasks.start_soon(reveal, call)
        while not standin.calls("GetSecretValue"):
            await anyio.sleep(0.01)
        revive = make_a_directory(trail)
    revive()
    assert answers[0].error_code == "AuditUnavailable"
    assert "password" not in answers[0].text + json.dumps(answers[0].content)


def limit_files(process: Process, size: int | None) -> None:
    """Let no file of the process grow beyond a size: what a full disk is, without one."""
    _, hard = resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


async def test_a_full_disk_stops_changes_and_reveals_alone_and_room_again_is_noticed(
    standin: Standin, fresh: Trail
) -> None:
    fresh.path.write_text(json.dumps({"ts": "old", "event": "old", "x": "x" * 500_000}) + "\n")
    environment = {**server_environment(AUDIT_LOG=str(fresh.path)), **aws_environment(standin.url)}
    with server_process(**environment) as process:
        async with Client(f"{process.url}/mcp", auth=TOKEN) as client:
            call = Session(client)
            assert (await call("update_secret", **DB, description="before"))["success"]
            limit_files(process, fresh.path.stat().st_size + 100)
            standin.forget_calls()
            assert (await call("get_secret_value", **DB)).error_code == "AuditUnavailable"
            assert (await call("update_secret", **DB, secret_value=PIN)).error_code == "AuditUnavailable"
            assert standin.calls() == []
            assert (await call("describe_secret", **DB))["success"]
            assert process.get("/readyz")[0] == 503
            limit_files(process, None)
            assert process.get("/readyz")[0] == 200
            assert (await call("update_secret", **DB, description="after"))["success"]
        printed = process.printed
    lines = fresh.text.splitlines()
    whole = [line for line in lines if line.endswith("}")]
    assert len(lines) - len(whole) == 1  # the one that was cut; every other can be read
    records = [json.loads(line) for line in whole]
    assert [r["event"] for r in records[-3:]] == ["audit_resumed", "audit", "audit"]
    assert PIN not in printed + fresh.text


@pytest.mark.parametrize("path", ["/dev/full", "/proc/audit", "/", "/no/such/folder/audit"])
def test_a_path_that_cannot_be_written_is_named_by_its_variable(path: str) -> None:
    with pytest.raises(ConfigurationError, match="AUDIT_LOG: cannot be written"):
        AuditTrail(path, KEY).open()


@pytest.mark.parametrize("how", [[], ["--stdio"]])
def test_a_path_that_cannot_be_written_stops_the_start_with_one_line(how: list[str]) -> None:
    ended = run_server(*how, MCP_AUTH_TOKEN=TOKEN, MCP_PORT="0", AUDIT_LOG="/dev/full")
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if "cannot start" in line]
    assert "AUDIT_LOG" in line


def test_a_pipe_whose_reader_has_left_is_a_dead_sink() -> None:
    reader, writer = os.pipe()
    audit = AuditTrail("stdout", KEY, stdout=writer)
    audit.open()
    os.close(reader)
    with pytest.raises(AuditUnavailable):
        audit.write({"event": "audit"})
    assert audit.check() is False
    os.close(writer)
