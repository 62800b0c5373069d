"""READ_ONLY, REVEAL and TOOLSETS: which tools exist, and that nothing a client sends brings one back."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.utilities.tests import ASGIServer

import services
from access.callers import Scope
from tests.conftest import TOKEN, Server, Session, aws_environment, running, server_environment, standin_alone
from tests.contract import all_tools
from tests.processes import ROOT, clean_environment
from tests.standin import Standin

SEEDS_CHANGES = {"create_secret", "update_secret", "delete_secret", "restore_secret", "tag_secret", "untag_secret"}
DB = {"secret_id": "app/db", "account": "production"}
# What a right call of each would be.
CHANGES: dict[str, dict[str, Any]] = {
    "create_secret": {"name": "app/db", "secret_value": "x", "account": "production"},
    "update_secret": {**DB, "secret_value": "x"},
    "delete_secret": DB,
    "restore_secret": DB,
    "tag_secret": {**DB, "tags": {"a": "b"}},
    "untag_secret": {**DB, "tag_keys": ["a"]},
}
# Words by which other servers, or this one's own environment, might be talked round.
LOOSENING = {
    "READ_ONLY": "0", "X-MCP-Readonly": "false", "X-Read-Only": "0", "X-MCP-Toolsets": "all", "X-MCP-Tools": "*",
    "X-MCP-Scopes": "read reveal write destroy", "X-HTTP-Method-Override": "PUT",
}  # fmt: skip
META = {name.lower(): value for name, value in LOOSENING.items()} | {"read_only": False, "scopes": ["write"]}


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with standin_alone(canned=True) as started:
        yield started


@pytest.fixture(scope="module")
async def read_only(standin: Standin) -> AsyncIterator[Server]:
    async with running(READ_ONLY="1", TOOLSETS="all") as server:
        yield server


@cache
def every_tool() -> dict[str, tuple[Scope, str]]:
    """Every tool's class and toolset."""
    return {name: (tool.spec.scope, service.toolset) for name, (service, tool) in all_tools().items()}


@pytest.fixture(scope="module")
async def no_reveal(standin: Standin) -> AsyncIterator[Server]:
    async with running(REVEAL="0", TOOLSETS="all") as server:
        yield server


def names(*scopes: Scope) -> set[str]:
    """The tools of these classes, of every toolset."""
    return {name for name, (scope, _) in every_tool().items() if scope in scopes}


def of_toolsets(*toolsets: str) -> set[str]:
    return {name for name, (_, toolset) in every_tool().items() if toolset in toolsets}


async def listed(call: Session) -> set[str]:
    return {tool.name for tool in await call.client.list_tools()}


async def refused(call: Session, tool: str, arguments: dict[str, Any]) -> None:
    result = await call.client.call_tool(tool, arguments, raise_on_error=False, meta=META)
    assert result.is_error, tool
    assert result.structured_content["error_code"] == "InvalidParameter", tool
    assert "plan" not in result.structured_content


@asynccontextmanager
async def talking(server: Server, wire: tuple[str, str]) -> AsyncIterator[Session]:
    """A session whose every request bears the loosening headers and query."""
    transport, mode = wire
    path = "sse" if transport == "sse" else "mcp"
    url = f"http://127.0.0.1/{path}?READ_ONLY=0&readonly=false&toolsets=all"
    asgi = ASGIServer(url=url, app=server.web, transport_type=transport)
    headers = {**LOOSENING, "Authorization": f"Bearer {TOKEN}"}
    async with asgi.client(headers=headers, mode=mode) as opened:
        yield Session(opened)


async def test_read_only_has_no_changing_tool_and_every_other(read_only: Server, wire: tuple[str, str]) -> None:
    changing = names(Scope.WRITE, Scope.DESTROY)
    assert changing >= SEEDS_CHANGES
    async with read_only.session(*wire) as call:
        tools = {tool.name: tool for tool in await call.client.list_tools()}
    assert set(tools) == names(Scope.READ, Scope.REVEAL)
    assert not set(tools) & changing
    assert all(tool.annotations.read_only_hint for tool in tools.values())


async def test_nothing_that_a_client_sends_brings_a_changing_tool_back(
    read_only: Server, wire: tuple[str, str], standin: Standin
) -> None:
    standin.forget_calls()
    async with talking(read_only, wire) as call:
        assert await listed(call) == names(Scope.READ, Scope.REVEAL)
        for tool in sorted(names(Scope.WRITE, Scope.DESTROY)):
            arguments = CHANGES.get(tool, DB)
            await refused(call, tool, {**arguments, "read_only": False, "READ_ONLY": "0", "confirm": "yes"})
            if tool in CHANGES:
                await refused(call, tool, arguments)
        await refused(call, "delete_secret", {**DB, "force_delete_without_recovery": True, "confirm": "yes"})
        for spelling in (
            "Create_Secret",
            "create-secret",
            " create_secret",
            "create_secret\n",
            "aws-ops_create_secret",
        ):
            await refused(call, spelling, CHANGES["create_secret"])
        assert standin.calls() == []
        assert (await call("describe_secret", **DB))["success"]
        assert (await call("get_secret_value", **DB))["success"]
    assert {call.operation for call in standin.calls()} <= {"AssumeRole", "DescribeSecret", "GetSecretValue"}


async def test_raw_modern_requests_for_a_changing_tool_do_nothing_either(read_only: Server, standin: Standin) -> None:
    standin.forget_calls()
    version = "2026-07-28"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        **META,
    }
    tool = {"name": "create_secret", "arguments": CHANGES["create_secret"], "_meta": meta}
    headers = {
        **LOOSENING, "authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version, "mcp-method": "tools/call",
    }  # fmt: skip
    async with read_only.http() as http:
        for named in ("create_secret", "describe_secret"):  # the header and the body may name two tools
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": tool}
            answer = await http.post("/mcp?READ_ONLY=0", json=body, headers={**headers, "mcp-name": named})
            assert '"success":true' not in answer.text.replace(" ", "")
        # A batch is not of any era that is spoken here.
        answer = await http.post("/mcp", json=[body, body], headers={**headers, "mcp-name": "create_secret"})
        assert answer.status_code == 400
    assert standin.calls() == []


async def test_without_reveal_no_tool_returns_a_plaintext_value(
    no_reveal: Server, wire: tuple[str, str], standin: Standin
) -> None:
    standin.forget_calls()
    async with talking(no_reveal, wire) as call:
        assert await listed(call) == names(Scope.READ, Scope.WRITE, Scope.DESTROY)
        assert "get_secret_value" not in await listed(call)
        for tool in names(Scope.REVEAL):
            await refused(call, tool, DB)
        assert standin.calls() == []
        assert (await call("tag_secret", **CHANGES["tag_secret"]))["success"]


async def test_both_switches_leave_metadata(standin: Standin) -> None:
    async with running(READ_ONLY="1", REVEAL="0", TOOLSETS="all") as server, server.session() as call:
        assert await listed(call) == names(Scope.READ)


@pytest.mark.parametrize("toolset", sorted(services.toolsets()))
async def test_a_toolset_is_its_own_tools_and_no_other_can_be_called(standin: Standin, toolset: str) -> None:
    standin.forget_calls()
    own = of_toolsets(toolset)
    async with running(TOOLSETS=f" {toolset} ,") as server, server.session() as call:
        assert await listed(call) == own
        for tool in {*CHANGES, "get_secret_value", "describe_secret", "list_accounts"} - own:
            await refused(call, tool, CHANGES.get(tool, DB))
    assert standin.calls() == []


async def test_the_default_toolsets_are_accounts_and_secrets(standin: Standin) -> None:
    default = of_toolsets("accounts", "secrets")
    async with running() as server, server.session() as call:
        assert await listed(call) == default
    assert default >= SEEDS_CHANGES | {"list_accounts", "get_secret_value"}


async def test_the_switches_hold_under_stdio_too(standin: Standin) -> None:
    standin.forget_calls()
    more = {"READ_ONLY": "1", "REVEAL": "0", "TOOLSETS": "secrets"}
    environment = clean_environment(**server_environment(**more), **aws_environment(standin.url))
    transport = StdioTransport(
        sys.executable, [str(ROOT / "server.py"), "--stdio"], env=environment, keep_alive=False,
        log_file=Path(os.devnull),
    )  # fmt: skip
    async with Client(transport) as client:
        call = Session(client)
        assert await listed(call) == of_toolsets("secrets") & names(Scope.READ)
        for tool in (*CHANGES, "get_secret_value", "list_accounts"):
            await refused(call, tool, CHANGES.get(tool, DB))
        assert standin.calls() == []
        assert (await call("describe_secret", **DB))["success"]
