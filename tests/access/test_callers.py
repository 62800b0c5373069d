"""Named callers: what their file may say, what each may do and where, and whose a token and a session is."""

from __future__ import annotations

import hashlib
import json
import logging.config
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastmcp import Client
from fastmcp.client.transports import SSETransport, StreamableHttpTransport
from mcp.types import ResourceTemplateReference

import server as front_door
import services
from tests.conftest import (
    ROLES,
    TOKEN,
    WIRES,
    Server,
    Session,
    aws_environment,
    running,
    server_environment,
    standin_alone,
    until,
)
from tests.processes import Process, server_process
from tests.raw_sessions import INITIALIZE, INITIALIZED
from tests.standin import Standin

PROFILES = """
[profile laptop]
region = eu-central-1
aws_access_key_id = somebody
aws_secret_access_key = somebody
"""


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def token_of(name: str) -> str:
    return f"token-of-{name}-0123456789"


def caller(name: str, *scopes: str, **more: Any) -> str:
    """One caller's table; `more` adds keys or replaces the right ones."""
    fields = {"token_sha256": digest_of(token_of(name)), "scopes": list(scopes), **more}
    return f"[callers.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in fields.items())


EVERY = ("read", "reveal", "write", "destroy")
CALLERS = {
    "reader": ("read",),
    "revealer": ("reveal",),
    "writer": ("read", "write"),
    "destroyer": ("destroy",),
    "boss": EVERY,
}
FILE = "\n".join(
    [
        *(caller(name, *scopes) for name, scopes in CALLERS.items()),
        caller("confined", *EVERY, accounts=["Production", "DATA_LAKE"]),
        caller("nowhere", *EVERY, accounts=[]),
    ]
)


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    """An AWS that remembers what it was asked; and an environment in which botocore knows nothing else."""
    config = tmp_path_factory.mktemp("aws") / "config"
    config.write_text(PROFILES)
    with standin_alone(canned=True, AWS_CONFIG_FILE=str(config)) as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("callers") / "callers.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
async def server(standin: Standin, file: Path) -> AsyncIterator[Server]:
    more = {"ACCOUNT_LAPTOP_PROFILE": "laptop", "ACCOUNT_DATA_LAKE_ROLE_ARN": "arn:aws:iam::333333333333:role/lake"}
    async with running(MCP_CALLERS_FILE=str(file), **more) as started:
        yield started


# --- the file ----------------------------------------------------------------------------------------------------


@pytest.fixture
def refused_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[str | bytes], str]]:
    """Start the server with a callers file that it must refuse; return the one line it prints."""
    with pytest.MonkeyPatch.context() as patch:

        def start(text: str | bytes) -> str:
            path = tmp_path / "callers.toml"
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            # Should the start go wrong by going on, it ends at the audit trail.
            settings = {"MCP_CALLERS_FILE": str(path), "MCP_PORT": "0", "AUDIT_LOG": "/does/not/exist"}
            for name, value in server_environment(**settings).items():
                patch.setenv(name, value)
            assert front_door.main([]) == 2
            printed = capfd.readouterr()
            (line,) = printed.err.strip().split("\n")
            assert digest_of(token_of("alice")) not in printed.out + printed.err
            assert token_of("alice") not in printed.out + printed.err
            return line

        yield start
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}})


ALICE, BOB = caller("alice", "read"), caller("bob", "read")
MD5, SHA1 = hashlib.md5(b"x").hexdigest(), hashlib.sha1(b"x").hexdigest()
BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "unknown scope": (ALICE + caller("bob", "read", "admin"), "[callers.bob] scopes: unknown scope 'admin'"),
    "scope in capitals": (caller("alice", "READ"), "[callers.alice] scopes"),
    "scopes in one text": (caller("alice", scopes="read"), "[callers.alice] scopes"),
    "no scopes": (caller("alice"), "[callers.alice] scopes"),
    "scopes left out": (f'[callers.alice]\ntoken_sha256 = "{digest_of("x")}"\n', "[callers.alice] scopes"),
    "MD5": (caller("alice", "read", token_sha256=MD5), "[callers.alice] token_sha256"),
    "SHA-1": (caller("alice", "read", token_sha256=SHA1), "[callers.alice] token_sha256"),
    "SHA-512": (caller("alice", "read", token_sha256=hashlib.sha512(b"x").hexdigest()), "[callers.alice] token_sha256"),
    "the token itself": (caller("alice", "read", token_sha256=token_of("alice")), "[callers.alice] token_sha256"),
    "no hex": (caller("alice", "read", token_sha256="g" * 64), "[callers.alice] token_sha256"),
    "digits of another script": (caller("alice", "read", token_sha256="\u0661" * 64), "[callers.alice] token_sha256"),
    "digest of nothing": (caller("alice", "read", token_sha256=digest_of("")), "[callers.alice] token_sha256"),
    "digest of changeme": (caller("alice", "read", token_sha256=digest_of("changeme")), "[callers.alice] token_sha256"),
    "digest of zeros": (caller("alice", "read", token_sha256="0" * 64), "[callers.alice] token_sha256"),
    "no digest": ('[callers.alice]\nscopes = ["read"]\n', "[callers.alice] token_sha256"),
    "name twice": (ALICE + ALICE, "not valid TOML"),
    "name twice but for case": (ALICE + caller("Alice", "read", token_sha256=digest_of("x")), "[callers.Alice]"),
    "default beside MCP_AUTH_TOKEN": (caller("default", "read"), "[callers.default]"),
    "Default beside MCP_AUTH_TOKEN": (ALICE + caller("Default", "read"), "[callers.Default]"),
    "token twice": (ALICE + BOB.replace(digest_of(token_of("bob")), digest_of(token_of("alice"))), "[callers.bob]"),
    "token twice but for case": (
        ALICE + BOB.replace(digest_of(token_of("bob")), digest_of(token_of("alice")).upper()),
        "[callers.bob] token_sha256",
    ),
    "MCP_AUTH_TOKEN's token": (ALICE + caller("bob", "read", token_sha256=digest_of(TOKEN)), "[callers.bob]"),
    "account that does not exist": (ALICE + caller("bob", "read", accounts=["production", "prod"]), "'prod'"),
    "accounts in one text": (caller("alice", "read", accounts="production"), "[callers.alice] accounts"),
    "account that is a number": (caller("alice", "read", accounts=[1]), "[callers.alice] accounts"),
    "unknown key": (caller("alice", "read", scope="read"), "[callers.alice] scope"),
    "token in clear": (caller("alice", "read", token=token_of("alice")), "[callers.alice] token"),
    "table beside the callers": (ALICE + '[caller.bob]\nscopes = ["read"]\n', "caller"),
    "no table": ('[callers]\nalice = "read"\n', "[callers.alice]"),
    "callers is no table": ("callers = 1\n", "[callers.NAME]"),
    "no callers": ("[callers]\n", "[callers.NAME]"),
    "name of two lines": (ALICE.replace("alice", '"al\\nice"'), "[callers."),
    "name of nothing": (ALICE.replace("alice", '""'), "[callers."),
    "not TOML": ("alice: read\n", "not valid TOML at line 1"),
    "not UTF-8": (ALICE.encode() + b'# \xff"\n', "not valid TOML"),
    "empty": ("", "[callers.NAME]"),
    "only a comment": ("# nobody yet\n", "[callers.NAME]"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
@pytest.mark.usefixtures("standin")
def test_a_bad_callers_file_stops_the_start_with_one_line_that_names_it(
    fault: str, refused_start: Callable[[str | bytes], str]
) -> None:
    text, named = BAD_FILES[fault]
    line = refused_start(text)
    assert "MCP_CALLERS_FILE" in line
    assert named in line


@pytest.mark.usefixtures("standin")
def test_a_callers_file_that_is_not_there_stops_the_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], refused_start: Callable[[str | bytes], str]
) -> None:
    refused_start("")
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MCP_CALLERS_FILE", str(path))
            assert front_door.main([]) == 2
        (line,) = capfd.readouterr().err.strip().splitlines()
        assert "MCP_CALLERS_FILE" in line


# --- scopes ------------------------------------------------------------------------------------------------------

SEED = {
    "list_accounts": "read", "list_secrets": "read", "describe_secret": "read", "get_secret_value": "reveal",
    "create_secret": "write", "update_secret": "write", "delete_secret": "write", "restore_secret": "write",
    "tag_secret": "write", "untag_secret": "write",
}  # fmt: skip


async def tools_of(call: Session) -> set[str]:
    return {tool.name for tool in await call.client.list_tools()}


@pytest.mark.parametrize("name", CALLERS)
async def test_a_tool_out_of_scope_is_not_listed_and_calling_it_is_scope_required(
    server: Server, standin: Standin, wire: tuple[str, str], name: str
) -> None:
    standin.forget_calls()
    tools = list(services.tools(server.app.desk))
    scope_of = {tool.name: tool.spec.scope.value for tool in tools}
    assert scope_of.items() >= SEED.items()
    async with server.session(*wire, token=token_of(name)) as call:
        # One that is irreversible for some arguments is of use to whoever may do either.
        assert await tools_of(call) == {tool.name for tool in tools if tool.spec.scopes & set(CALLERS[name])}
        for tool in [tool for tool, scope in scope_of.items() if scope not in CALLERS[name]]:
            answer = await call(tool, secret_id="app/db", account="production")
            assert (answer.error_code, answer.is_error) == ("ScopeRequired", True), tool
            assert "plan" not in answer.content
    assert standin.calls() == []


async def test_a_tool_in_scope_is_done_and_which_scope_a_call_needs_is_read_off_checked_arguments(
    server: Server, wire: tuple[str, str]
) -> None:
    db: dict[str, Any] = {"secret_id": "app/db", "account": "production"}
    async with server.session(*wire, token=token_of("writer")) as call:
        assert (await call("describe_secret", **db))["success"]
        assert (await call("delete_secret", **db))["success"]
        assert (await call("get_secret_value", surprise=1)).error_code == "ScopeRequired"
        assert (await call("delete_secret", **db, force_delete_without_recovery="yes")).error_code == "InvalidParameter"
        assert (await call("delete_secret", **db, force_delete_without_recovery=True)).error_code == "ScopeRequired"
    async with server.session(*wire, token=token_of("revealer")) as call:
        assert (await call("get_secret_value", **db))["success"]


# --- accounts ----------------------------------------------------------------------------------------------------

ELSEWHERE: list[dict[str, str]] = [
    {"account": "staging"},
    {"account": "STAGING"},
    {"role_arn": ROLES["staging"]},
    {"profile": "laptop"},
    {"account": "laptop"},
    {},
    {"region": "eu-west-1"},
    {"account": "production", "role_arn": ROLES["staging"]},
    {"account": "production", "profile": "laptop"},
    {"role_arn": ROLES["production"], "profile": "laptop"},
    {"account": "staging", "role_arn": ROLES["production"]},
    {"account": "no-such", "role_arn": ROLES["production"]},
]
AT_HOME = [
    {"account": "production"},
    {"account": "Production"},
    {"role_arn": ROLES["production"]},
    {"account": "data_lake"},
    {"account": "Data-Lake", "region": "eu-west-1"},
]


async def test_an_account_that_is_not_the_callers_is_refused_however_it_is_spelled(
    server: Server, standin: Standin, wire: tuple[str, str]
) -> None:
    standin.forget_calls()
    async with server.session(*wire, token=token_of("confined")) as call:
        for target in ELSEWHERE:
            assert (await call("get_secret_value", secret_id="app/db", **target)).error_code == "AccountNotAllowed"
            assert (await call("delete_secret", secret_id="app/db", **target)).error_code == "AccountNotAllowed"
        assert standin.calls() == []
        for target in AT_HOME:
            answer = await call("get_secret_value", secret_id="app/db", **target)
            assert answer["account_id"] in ("111111111111", "333333333333")
            assert answer["secret_value"].startswith(answer["account_id"])
    assert {call.account for call in standin.calls(service="secretsmanager")} == {"111111111111", "333333333333"}


async def test_no_list_of_accounts_is_every_account_and_an_empty_list_is_none(
    server: Server, standin: Standin, wire: tuple[str, str]
) -> None:
    shown: dict[str, list[str]] = {}
    for name in ("boss", "confined", "nowhere"):
        async with server.session(*wire, token=token_of(name)) as call:
            shown[name] = [account["name"] for account in (await call("list_accounts"))["accounts"]]
    every = sorted([*ROLES, "laptop", "data-lake"])
    assert {name: sorted(found) for name, found in shown.items()} == {
        "boss": every, "confined": ["data-lake", "production"], "nowhere": [],
    }  # fmt: skip
    standin.forget_calls()
    async with server.session(*wire, token=token_of("nowhere")) as call:
        for target in [*ELSEWHERE, *AT_HOME]:
            assert (await call("list_secrets", **target)).error_code == "AccountNotAllowed", target
    assert standin.calls() == []


def sample(schema: dict[str, Any]) -> Any:
    """A value of a required argument."""
    samples = {"string": "app/db", "integer": 7, "boolean": False, "array": ["x"], "object": {"x": "y"}}
    return schema["enum"][0] if "enum" in schema else samples[schema.get("type", "string")]


async def test_no_tool_at_all_reaches_an_account_that_is_not_the_callers(standin: Standin, file: Path) -> None:
    standin.forget_calls()
    refused = 0
    more = {"MCP_CALLERS_FILE": str(file), "ACCOUNT_DATA_LAKE_PROFILE": "laptop"}
    async with running(TOOLSETS="all", **more) as server, server.session(token=token_of("nowhere")) as call:
        for tool in await call.client.list_tools():
            properties = tool.input_schema["properties"]
            if "account" not in properties:  # list_accounts, which asks of the caller's own alone
                assert tool.name == "list_accounts"
                continue
            needed = {name: sample(properties[name]) for name in tool.input_schema.get("required", [])}
            for target in ({}, {"account": "production"}):
                answer = await call(tool.name, **needed, **target)
                assert answer.is_error, tool.name
                assert answer.error_code in ("AccountNotAllowed", "InvalidParameter"), (tool.name, answer.text)
                refused += answer.error_code == "AccountNotAllowed"
    assert refused >= 20
    assert standin.calls() == []


async def test_resources_and_completions_are_confined_as_tools_are(
    server: Server, standin: Standin, wire: tuple[str, str]
) -> None:
    template = ResourceTemplateReference(type="ref/resource", uri="secret://{account}/{region}/{name*}")

    async def completed(call: Session, argument: str, **context: str) -> list[str]:
        found = await call.client.complete(template, {"name": argument, "value": ""}, context)
        return list(found.values)

    standin.forget_calls()
    async with server.session(*wire, token=token_of("confined")) as call:
        assert await completed(call, "account") == ["production", "data-lake"]
        assert await completed(call, "name", account="staging") == await completed(call, "name") == []
        with pytest.raises(Exception, match="AccountNotAllowed"):
            await call.client.read_resource("secret://staging/us-east-1/app/db")
    async with server.session(*wire, token=token_of("writer")) as call:
        assert {"production", "staging"} <= set(await completed(call, "account"))
    async with server.session(*wire, token=token_of("revealer")) as call:
        assert await completed(call, "name", account="production") == []
        with pytest.raises(Exception, match="ScopeRequired"):
            await call.client.read_resource("secret://production/us-east-1/app/db")
    assert standin.calls() == []


# --- tokens and sessions, as raw HTTP to a process --------------------------------------------------------------

LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
PATHS = ("/mcp", "/sse", "/messages/?session_id=0123456789abcdef0123456789abcdef")


def bearer(*tokens: str) -> list[tuple[str, str]]:
    return [("accept", "application/json, text/event-stream"), *(("authorization", f"Bearer {t}") for t in tokens)]


@pytest.fixture(scope="module")
def process(standin: Standin, file: Path) -> Iterator[Process]:
    """A server process whose audit trail is on its stdout. It is asked what it refuses fewer than 20 times in all."""
    more = {"MCP_CALLERS_FILE": str(file), "AUDIT_LOG": "stdout", "ACCOUNT_DATA_LAKE_ROLE_ARN": ROLES["production"]}
    with server_process(**server_environment(**more), **aws_environment(standin.url)) as started:
        yield started


@pytest.fixture
async def http(process: Process) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=process.url, timeout=10) as client:
        yield client


async def status(http: Any, path: str, *tokens: str) -> int:
    async with http.stream("GET" if path.startswith("/sse") else "POST", path, headers=bearer(*tokens)) as answer:
        return int(answer.status_code)


async def test_two_authorization_headers_are_one_too_many_even_if_both_are_right(http: httpx2.AsyncClient) -> None:
    for tokens in ((token_of("boss"), "wrong"), ("wrong", token_of("boss")), (TOKEN, TOKEN)):
        assert await status(http, "/mcp", *tokens) == 401
    assert await status(http, "/sse", TOKEN, token_of("boss")) == 401


async def test_a_token_in_the_query_string_is_401_and_in_no_log(http: httpx2.AsyncClient, process: Process) -> None:
    token = token_of("boss")
    for path in (f"/mcp?token={token}", f"/sse?access_token={token}", f"/messages/?session_id=0&authorization={token}"):
        assert await status(http, path) == 401
    assert [record["rule"] for record in process.records() if record.get("decision") == "deny"][-3:] == ["http:401"] * 3
    assert token not in process.printed


@asynccontextmanager
async def sse_session(http: httpx2.AsyncClient, token: str) -> AsyncIterator[tuple[str, AsyncIterator[str]]]:
    """An SSE stream: the path its messages are posted to, and its lines."""
    async with http.stream("GET", "/sse", headers=bearer(token)) as stream:
        lines = stream.aiter_lines()
        async for line in lines:
            if found := re.match(r"data: (/messages/\S+)", line):
                yield found[1], lines
                return


async def test_an_sse_session_belongs_to_its_caller(http: httpx2.AsyncClient) -> None:
    async with sse_session(http, token_of("reader")) as (path, lines):
        assert (await http.post(path, json=INITIALIZE, headers=bearer(token_of("boss")))).status_code == 404
        assert (await http.post(path, json=INITIALIZE, headers=bearer("wrong"))).status_code == 401
        assert (await http.post(path, json=INITIALIZE, headers=bearer(token_of("reader")))).status_code == 202
        async for line in lines:
            if line.startswith("data: "):
                assert json.loads(line[6:])["id"] == INITIALIZE["id"]
                break


async def test_a_streamable_http_session_belongs_to_its_caller(http: httpx2.AsyncClient) -> None:
    mine, other = dict(bearer(token_of("reader"))), dict(bearer(token_of("boss")))
    opened = await http.post("/mcp", json=INITIALIZE, headers=mine)
    session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    assert (await http.post("/mcp", json=INITIALIZED, headers=mine | session)).status_code == 202
    assert (await http.post("/mcp", json=LIST, headers=other | session)).status_code == 404
    assert (await http.get("/mcp", headers=other | session)).status_code == 404
    assert (await http.delete("/mcp", headers=other | session)).status_code == 404
    answer = await http.post("/mcp", json=LIST, headers=mine | session)
    assert (answer.status_code, "describe_secret" in answer.text) == (200, True)


@asynccontextmanager
async def client_of(
    process: Process, token: str, transport: str = "http", mode: str = "auto"
) -> AsyncIterator[Session]:
    kind, path = (SSETransport, "sse") if transport == "sse" else (StreamableHttpTransport, "mcp")
    async with Client(kind(f"{process.url}/{path}", auth=token), mode=mode) as client:
        yield Session(client)


async def test_sighup_reads_the_callers_anew_and_a_broken_file_changes_nothing_but_the_log(
    process: Process, http: httpx2.AsyncClient, file: Path
) -> None:
    async def reload(text: str, message: str) -> dict[str, Any]:
        file.write_text(text)
        before = len(process.records())
        process.process.send_signal(signal.SIGHUP)
        await until(lambda: any(r.get("logger") == "aws_ops.callers" for r in process.records()[before:]))
        (record,) = process.records()[before:]
        assert message in record["message"]
        return record

    alice, bob = caller("alice", "read", "write"), caller("bob", "read")
    assert await status(http, "/mcp", token_of("alice")) == 401
    await reload(FILE + alice, "read again")
    async with (
        client_of(process, token_of("alice"), "sse") as over_sse,
        client_of(process, token_of("alice"), mode="legacy") as over_http,
    ):
        for call in (over_sse, over_http):
            assert (await call("tag_secret", secret_id="app/db", tags={"a": "b"}, account="staging"))["success"]
        # Fewer scopes and accounts hold in sessions that are open already.
        await reload(FILE + caller("alice", "read", accounts=["production"]) + bob, "read again")
        for call in (over_sse, over_http):
            assert (await call("tag_secret", secret_id="app/db", tags={"a": "b"})).error_code == "ScopeRequired"
            assert (await call("list_secrets", account="staging")).error_code == "AccountNotAllowed"
        async with client_of(process, token_of("bob")) as call:
            assert (await call("list_secrets", account="staging"))["success"]
        await reload(FILE + bob, "read again")
        assert await status(http, "/mcp", token_of("alice")) == 401
        assert await status(http, "/sse", token_of("alice")) == 401

    for broken in (FILE + bob + alice.replace("write", "wipe"), "not TOML [", ""):
        record = await reload(broken, "not taken")
        assert "MCP_CALLERS_FILE" in record["reason"]
        assert record["level"] == "ERROR"
        async with client_of(process, token_of("bob")) as call:
            assert "list_secrets" in await tools_of(call)
        assert await status(http, "/mcp", TOKEN) != 401
    await reload(FILE, "read again")
    assert await status(http, "/mcp", token_of("bob")) == 401


async def test_no_token_and_no_digest_is_ever_printed(process: Process, http: httpx2.AsyncClient) -> None:
    for _, mode in WIRES[1:]:
        async with client_of(process, token_of("boss"), mode=mode) as call:
            assert (await call("list_accounts"))["success"]
    printed = process.printed
    for name in (*CALLERS, "alice", "bob", "nowhere"):
        assert token_of(name) not in printed
        assert digest_of(token_of(name)) not in printed
    assert TOKEN not in printed


async def test_wrong_tokens_are_in_the_audit_a_line_each_up_to_a_rate_and_a_right_token_is_not_slowed(
    standin: Standin, tmp_path: Path
) -> None:
    trail = tmp_path / "audit.jsonl"

    def refusals() -> list[dict[str, Any]]:
        records = [json.loads(line) for line in trail.read_text().splitlines()]
        return [record for record in records if record.get("decision") == "deny"]

    async with running(AUDIT_LOG=str(trail)) as server, server.http() as http:
        for path in PATHS:
            assert await status(http, path, "wrong") == 401
        for number, record in enumerate(refusals()):
            assert record["event"] == "audit"
            assert (record["outcome"], record["rule"], record["caller"]) == ("refused", "http:401", None)
            assert record["transport"] == ("streamable-http", "sse", "sse")[number]
            assert record["address"] == "127.0.0.1"
        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(status, http, "/mcp", f"wrong-{number}")
            await anyio.sleep(0.05)
            began = time.monotonic()
            async with server.session() as call:
                assert (await call("list_accounts"))["success"]
            assert time.monotonic() - began < 0.9
        assert len(refusals()) == 20
        assert "wrong-" not in trail.read_text()
