"""Streams and sessions, which are held and have no rate: one caller's share keeps no other caller out."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import TOKEN, aws_environment, server_environment
from tests.processes import Process, server_process
from tests.raw_sessions import HANDSHAKE, INITIALIZE, SSE, Connection

OTHERS = {name: f"the-token-of-{name}-0123456789" for name in ("ann", "bob")}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    file = tmp_path_factory.mktemp("callers") / "callers.toml"
    file.write_text(
        "".join(
            f'[callers.{name}]\ntoken_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nscopes = ["read"]\n'
            for name, token in OTHERS.items()
        )
    )
    environment = server_environment(MCP_CALLERS_FILE=str(file), SSE_MAX_STREAMS="2")
    with server_process(**environment, **aws_environment("http://127.0.0.1:9")) as process:
        yield process


async def test_a_caller_who_holds_no_stream_gets_one_even_where_another_has_taken_all(running: Process) -> None:
    streams = [await SSE.idle(running.port, TOKEN) for _ in range(2)]
    for token in (TOKEN, *OTHERS.values()):
        if token != TOKEN:
            streams.append(await SSE.idle(running.port, token))
        with pytest.raises(ConnectionRefusedError):
            await SSE.idle(running.port, token)
    streams.pop().break_off()
    *_, bob = OTHERS.values()
    streams.append(await again(SSE.idle, running.port, bob))
    for stream in streams:
        stream.close()


async def again(function: Any, *arguments: Any) -> Any:
    """Try until it is not refused."""
    for _ in range(200):
        with contextlib.suppress(ConnectionRefusedError):
            return await function(*arguments)
        await asyncio.sleep(0.05)
    raise AssertionError


async def opened(connection: Connection) -> str:
    return (await connection.request("POST", "/mcp", INITIALIZE)).headers["mcp-session-id"]


async def is_open(connection: Connection, session: str) -> bool:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"Mcp_Session_Id": session, "MCP_Protocol_Version": HANDSHAKE}
    return (await connection.request("POST", "/mcp", ping, **headers)).status == 200


async def test_of_more_than_a_thousand_sessions_the_callers_idlest_goes_and_nobody_elses(running: Process) -> None:
    *_, bob = OTHERS.values()
    mine, his = await Connection.open(running.port, TOKEN), await Connection.open(running.port, bob)
    of_bob = await opened(his)
    listening, first, second = [await opened(mine) for _ in range(3)]
    stream = await Connection.open(running.port, TOKEN)
    await stream.send(
        "GET", "/mcp", Mcp_Session_Id=listening, MCP_Protocol_Version=HANDSHAKE, Accept="text/event-stream"
    )
    assert (await stream.head()).status == 200
    for number in range(999):
        await opened(mine)
        if number == 500:
            assert await is_open(mine, first), "used since, it is no longer the idlest"
    assert await is_open(mine, listening), "it has a stream open, so it is not idle"
    assert not await is_open(mine, second)
    assert await is_open(mine, first)
    assert await is_open(his, of_bob)
    assert not await is_open(his, first), "another's session is still none"
    for connection in (mine, his, stream):
        connection.close()


@pytest.mark.parametrize(
    ("site", "status"),
    [
        ("cross-site", 403), ("same-site", 403), ("Cross-Site", 403), (" same-site", 403), ("none, cross-site", 403),
        ("same-origin", 200), ("none", 200), (None, 200),
    ],
)  # fmt: skip
async def test_no_page_of_another_site_reaches_a_server_without_tokens(
    anonymous: Process, running: Process, site: str | None, status: int
) -> None:
    more = {} if site is None else {"Sec_Fetch_Site": site}
    for process, expected in ((anonymous, status), (running, 200)):
        for method, path, body in (("GET", "/sse", None), ("POST", "/mcp", INITIALIZE)):
            connection = await Connection.open(process.port, OTHERS["ann"])
            await connection.send(method, path, body, **more)
            assert (await connection.head()).status == expected, (path, expected)
            connection.break_off()
        assert process.get("/healthz", **{"Sec-Fetch-Site": "cross-site"})[0] == 200


@pytest.fixture(scope="module")
def anonymous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    environment = server_environment(MCP_ALLOW_ANONYMOUS="1")
    del environment["MCP_AUTH_TOKEN"]
    with server_process(**environment, **aws_environment("http://127.0.0.1:9")) as process:
        yield process
