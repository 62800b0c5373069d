"""Connections that never become a request, or do not end as one: how long they stay, and whom they keep out."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.responses import PlainTextResponse, Response

from runtime.connections import Crowd, Patience
from runtime.serve import protocol_options
from tests.conftest import TOKEN, aws_environment, server_environment
from tests.processes import Process, open_sockets, server_process

HEAD = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n"
WITHOUT_A_HEAD = {
    "nothing": b"",
    "a letter": b"P",
    "a line": b"GET /healthz HTTP/1.1\r\n",
    "all but the end": HEAD + b"Content-Length: 3\r\n",
    "a second head's first byte": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nG",
    "a second head's half, sent with the first": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + HEAD,
}
WITHOUT_A_BODY = {
    "none of it": HEAD + b"Content-Length: 3\r\n\r\n",
    "a part": HEAD + b"Content-Length: 3\r\n\r\n{}",
    "a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "after 100-continue": HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
}


@pytest.fixture(scope="module")
def running() -> Iterator[Process]:
    with server_process(**server_environment(), **aws_environment("http://127.0.0.1:9")) as process:
        yield process


@contextlib.contextmanager
def connected(port: int, data: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as opened:
        opened.sendall(data)
        yield opened


def seconds_until_closed(opened: socket.socket, drip: bytes = b"") -> float:
    """Read to the end, sending `drip` every now and then."""
    began = time.monotonic()
    opened.settimeout(0.5)
    while time.monotonic() - began < 60:
        with contextlib.suppress(TimeoutError, ConnectionError):
            if opened.recv(65536) == b"":
                break
        try:
            opened.send(drip)
        except OSError:
            break
    return time.monotonic() - began


def test_a_head_that_does_not_come_is_waited_for_10_seconds(running: Process) -> None:
    before = open_sockets(running.process.pid)
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connected(running.port, data)) for data in WITHOUT_A_HEAD.values()]
        dripping = stack.enter_context(connected(running.port, HEAD))
        assert 8 < seconds_until_closed(dripping, drip=b"A") < 25, "a byte now and then is no more patience"
        for name, opened in zip(WITHOUT_A_HEAD, silent, strict=True):
            assert seconds_until_closed(opened) < 10, name
        time.sleep(0.2)
        assert open_sockets(running.process.pid) <= before


@pytest.mark.parametrize("data", WITHOUT_A_BODY.values(), ids=WITHOUT_A_BODY)
@pytest.mark.parametrize("early", [True, False])
async def test_a_body_that_does_not_come_is_waited_for_so_long_and_no_longer(early: bool, data: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not early:
            while (await receive()).get("more_body"):
                pass
        await PlainTextResponse("", 401)(scope, receive, send)

    async with serving(app, Patience(body=0.5)) as port:
        with connected(port, data) as opened:
            assert await asyncio.to_thread(seconds_until_closed, opened) < 10


async def test_an_answer_that_nobody_takes_is_given_up_and_one_taken_slowly_is_not() -> None:
    body = b"x" * 8_000_000

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Response(body)(scope, receive, send)

    async with serving(app, Patience(unread=1.0)) as port:
        with connected(port, HEAD + b"\r\n") as stalled, connected(port, HEAD + b"\r\n") as slow:

            def take_slowly() -> int:
                taken = 0
                while taken < len(body) and (got := len(slow.recv(500_000))):
                    taken += got
                    time.sleep(0.15)
                return taken

            assert await asyncio.to_thread(take_slowly) >= len(body)
            await asyncio.sleep(1.5)
            assert await asyncio.to_thread(
                lambda: sum(len(part) for part in iter(lambda: received(stalled), b""))
            ) < len(body)


def received(opened: socket.socket) -> bytes:
    try:
        return opened.recv(1_000_000)
    except ConnectionError:
        return b""


async def test_an_idle_connection_and_a_stream_outlast_every_patience_but_keep_alives() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(2)
        await send({"type": "http.response.start", "status": 200, "headers": []}) if scope["path"] == "/" else None
        await send({"type": "http.response.body", "body": b"end"})

    async with serving(app, Patience(0.4, 0.4, 0.4, 0.4)) as port:
        idle, stream = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for (_, writer), path in ((idle, "/"), (stream, "/stream")):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert b"end" in await asyncio.wait_for(stream[0].readuntil(b"end"), 10)
        await idle[0].readuntil(b"end")
        idle[1].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"end" in await asyncio.wait_for(idle[0].readuntil(b"end"), 10)
        for _, writer in (idle, stream):
            writer.close()


@contextlib.asynccontextmanager
async def serving(app: Any, patience: Patience) -> AsyncIterator[int]:
    """An app of a few lines behind the connections under test."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, **protocol_options(Crowd(patience)), lifespan="off"))
    task = asyncio.create_task(server._serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    yield listener.getsockname()[1]
    server.should_exit = server.force_exit = True
    await task


UNFINISHED = {
    "no head": b"",
    "half a head": HEAD,
    "a head, no body": HEAD + b"Content-Length: 30\r\n\r\n",
    "idle after a request": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("data", UNFINISHED.values(), ids=UNFINISHED)
def test_whatever_more_connections_than_descriptors_do_the_probe_answers_and_the_log_says_it_once(data: bytes) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with (
        server_process(**server_environment(), **aws_environment("http://127.0.0.1:9")) as process,
        contextlib.ExitStack() as stack,
    ):
        resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        end, opened, slowest = time.monotonic() + 3, 0, 0.0
        while time.monotonic() < end:
            for _ in range(50):
                if opened < 600:
                    with contextlib.suppress(ConnectionError):
                        stack.enter_context(connected(process.port, data))
                    opened += 1
            began = time.monotonic()
            assert process.get("/healthz") == (200, "OK")
            slowest = max(slowest, time.monotonic() - began)
        assert opened >= 500
        assert slowest < 5
        said = process.printed
        assert said.count("run short") == 1
        assert "Traceback" not in said
        assert len(said) < 4_000


@pytest.mark.parametrize("size", [30_000, 4_000_000])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"A", b"400"), (b"a:\r\n", b"400"), (HEAD + b"X: ", b"400"), (HEAD + b"\xff\r\n", b"400"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", b"401"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nx", b"400"), (HEAD + b"Content-Length: 9000000\r\n\r\n", b"401"),
    ],
)  # fmt: skip
def test_who_sends_on_still_reads_what_is_wrong(running: Process, data: bytes, status: bytes, size: int) -> None:
    with connected(running.port) as opened:
        sender = threading.Thread(target=lambda: opened.sendall(data + b"1\r\na\r\n" * (size // 6)), daemon=True)
        sender.start()
        assert opened.recv(4096)[9:12] == status
        sender.join(20)
        assert not sender.is_alive()


def test_requests_without_sense_are_told_once_a_minute_too(running: Process) -> None:
    for data in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"A" * 40_000, b"a:\r\n" * 9_000) * 5:
        with connected(running.port, data) as opened:
            assert received(opened)[:12] in (b"HTTP/1.1 400", b"")
    for _ in range(5):
        upgrade = b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        with connected(running.port, upgrade) as opened:
            assert received(opened)[:12] == b"HTTP/1.1 401"
    assert running.printed.count("Invalid HTTP request") <= 1
    assert running.printed.count("upgrade") <= 1


@pytest.mark.parametrize("more", [b"", b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n"])
def test_who_leaves_in_the_middle_of_a_body_is_no_failure_of_ours(running: Process, more: bytes) -> None:
    before = running.printed
    for path in (b"/mcp", b"/messages/?session_id=0123456789abcdef0123456789abcdef"):
        head = HEAD.replace(b"/mcp", path) + b"Authorization: Bearer " + TOKEN.encode() + b"\r\n" + more
        accept = b"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        with connected(running.port, head + accept + b"Content-Length: 30\r\n\r\n{"):
            time.sleep(0.3)
    time.sleep(0.3)
    assert running.get("/healthz")[0] == 200
    assert "ERROR" not in running.printed.removeprefix(before)


def test_no_connection_however_far_it_came_delays_the_end() -> None:
    with (
        server_process(**server_environment(), **aws_environment("http://127.0.0.1:9")) as process,
        contextlib.ExitStack() as stack,
    ):
        for data in (*WITHOUT_A_HEAD.values(), *WITHOUT_A_BODY.values(), b"\x00\r\n\r\n", b"a:\r\n" * 2_000):
            stack.enter_context(connected(process.port, data))
        time.sleep(0.3)
        process.process.terminate()
        assert process.process.wait(20) == 0
        assert "Traceback" not in process.printed
        assert "exception" not in process.printed
