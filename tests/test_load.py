"""Many at once: hundreds of sessions on every wire, clients that break off, a cap on streams, and long silences.

One server stands silent for twenty seconds (pings, keep-alive) while the other tests run.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from runtime.serve import listen
from tests.conftest import ROLES, TOKEN, aws_environment, server_environment
from tests.processes import Process, open_sockets, server_process
from tests.raw_sessions import KINDS, SSE, Connection, Handshake, Modern, Session
from tests.standin import Standin

pytestmark = pytest.mark.alone
SESSIONS, CALLS = 300, 5000
PING_SECONDS = 20.0  # the contract's; a silence of SILENCE would pass it
SILENCE = 21.0
# Asks for /healthz every 100 ms over new connections; a process of its own, since the clients' is busy.
SAMPLER = """
import sys, time, urllib.request
while True:
    began = time.monotonic()
    with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
        assert answer.read() == b"OK"
    print(time.monotonic() - began, flush=True)
    time.sleep(max(0, 0.1 - (time.monotonic() - began)))
"""


@pytest.fixture(scope="module", autouse=True)
def silences() -> Iterator[Future[dict[str, Any]]]:
    """What was seen on connections on which nothing happens; it is waited for while the other tests run."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(asyncio.run, keep_silent())


@pytest.fixture(scope="module")
def aws() -> Iterator[Standin]:
    with Standin(canned=True) as standin:
        yield standin


@pytest.fixture(scope="module")
def running(aws: Standin) -> Iterator[Process]:
    with serving(aws) as process:
        yield process


@contextmanager
def serving(aws: Standin, **settings: str) -> Iterator[Process]:
    with server_process(**server_environment(**settings), **aws_environment(aws.url)) as process:
        yield process


@asynccontextmanager
async def sessions(running: Process, kinds: list[Any]) -> AsyncIterator[list[Session]]:
    """So many open sessions, closed at the end."""
    opened: list[Session] = []
    try:
        opened.extend([await kind.open(running.port, TOKEN) for kind in kinds])
        yield opened
    finally:
        for session in opened:
            session.close()


@contextmanager
def sampled_health(running: Process) -> Iterator[list[float]]:
    """How long /healthz took, every 100 ms; filled at the end."""
    seconds: list[float] = []
    command = [sys.executable, "-c", SAMPLER, f"{running.url}/healthz"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sampler:
        try:
            yield seconds
            assert sampler.poll() is None, "/healthz failed"
        finally:
            sampler.terminate()
            printed, _ = sampler.communicate()
            seconds += [float(line) for line in printed.splitlines()]


# --- load ------------------------------------------------------------------------------------------------------------


async def test_300_sessions_on_all_wires_make_5000_calls_without_an_error_and_healthz_answers_throughout(
    running: Process, aws: Standin
) -> None:
    numbers = iter(range(CALLS))
    accounts = cycle(ROLES)
    wrong: list[Any] = []

    async def work(session: Session) -> None:
        for number in numbers:
            answer = await session.call("describe_secret", secret_id=f"app/{number}", account=next(accounts))
            if not answer.ok or answer.content["name"] != f"app/{number}":
                wrong.append(answer.message)

    async with sessions(running, list(KINDS.values()) * (SESSIONS // 3)) as opened:
        aws.forget_calls()
        with sampled_health(running) as seconds:
            began = time.monotonic()
            await asyncio.gather(*(work(session) for session in opened))
            took = time.monotonic() - began
    assert not wrong
    assert len(aws.calls("DescribeSecret")) == CALLS
    seconds.sort()
    p95 = seconds[int(len(seconds) * 0.95)]
    print(f"{CALLS / took:.0f} calls/s; /healthz: {len(seconds)} samples, p95 {p95:.3f} s, longest {seconds[-1]:.3f} s")
    assert len(seconds) > 10
    # The machine is shared: one sample in twenty may be the neighbours'. Alone, the longest is 0.3 s.
    assert p95 < 0.5
    assert seconds[-1] < 3


# --- clients that break off ------------------------------------------------------------------------------------------


def held(pid: int) -> dict[str, int]:
    """A process's threads, open sockets and KiB of memory."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {"threads": int(status["Threads"]), "sockets": open_sockets(pid), "memory": int(status["VmRSS"].split()[0])}


async def break_off_in_mid_call(running: Process, aws: Standin) -> None:
    """A hundred sessions leave: most with a call at AWS or in the queue, some with an idle stream."""
    aws.fault("slow", service="secretsmanager", ms=200)
    async with sessions(running, [SSE] * 25 + [Modern] * 50) as opened:
        idle = await asyncio.gather(*(SSE.idle(running.port, TOKEN) for _ in range(25)))
        for session, account in zip(opened, cycle(ROLES), strict=False):
            await session.start("describe_secret", secret_id="app/db", account=account)
        await asyncio.sleep(0.3)
        for left in (*opened, *idle):
            left.break_off()
    aws.clear()
    before, now = -1, 0
    while before != now:  # threads run to their end
        await asyncio.sleep(0.4)
        before, now = now, len(aws.calls())


async def test_clients_that_break_off_leave_no_thread_no_socket_and_no_memory_behind(
    running: Process, aws: Standin
) -> None:
    await break_off_in_mid_call(running, aws)
    before = held(running.process.pid)
    for _ in range(3):
        await break_off_in_mid_call(running, aws)
    after = held(running.process.pid)
    print(before, after)
    assert after["threads"] <= before["threads"] + 2
    assert after["sockets"] <= before["sockets"] + 2
    assert after["memory"] - before["memory"] < 6 * 1024, "KiB, of 300 sessions"


async def test_a_handshake_session_that_is_never_ended_costs_little_until_it_times_out(running: Process) -> None:
    async with sessions(running, [Handshake] * 10):
        before = held(running.process.pid)
    async with sessions(running, [Handshake] * 200) as opened:
        for session in opened:
            session.break_off()
    await asyncio.sleep(0.3)
    after = held(running.process.pid)
    print(before, after)
    assert after["sockets"] <= before["sockets"]
    assert after["memory"] - before["memory"] < 200 * 150, "KiB per session"


# --- the cap on streams ----------------------------------------------------------------------------------------------


async def test_a_stream_over_the_cap_is_refused_while_the_probes_and_the_other_wire_answer(aws: Standin) -> None:
    with serving(aws, SSE_MAX_STREAMS="5") as running:
        streams = [await SSE.idle(running.port, TOKEN) for _ in range(5)]
        connection = await Connection.open(running.port, TOKEN)
        refused = await connection.request("GET", "/sse")
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        for path in ("/healthz", "/readyz"):
            assert (await connection.request("GET", path)).status == 200
        modern = Modern(connection)
        assert (await modern.call("describe_secret", secret_id="app/db", account="production")).ok
        streams[0].break_off()
        streams[1].close()
        streams += [await again(SSE.idle, running.port, TOKEN) for _ in range(2)]
        assert (await connection.request("GET", "/sse")).status == 503
        for stream in (*streams, modern):
            stream.close()


async def again(function: Any, *arguments: Any, seconds: float = 3) -> Any:
    """Try until it is not refused."""
    end = time.monotonic() + seconds
    while True:
        try:
            return await function(*arguments)
        except ConnectionRefusedError:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_a_stream_without_a_token_takes_no_place(aws: Standin) -> None:
    with serving(aws, SSE_MAX_STREAMS="1") as running:
        for _ in range(3):
            connection = await Connection.open(running.port, "wrong")
            assert (await connection.request("GET", "/sse")).status == 401
            connection.close()
        (await SSE.idle(running.port, TOKEN)).close()


# --- silence ---------------------------------------------------------------------------------------------------------


async def keep_silent() -> dict[str, Any]:
    """Open one connection of each kind, let nothing happen for longer than a ping may take, and tell what came."""
    with Standin(canned=True) as aws, serving(aws, CALL_DEADLINE_SECONDS="60") as running:
        sse, handshake, modern = [await kind.open(running.port, TOKEN) for kind in (SSE, Handshake, Modern)]
        assert (await modern.call("describe_secret", secret_id="app/db", account="production")).ok
        idle = await Connection.open(running.port, TOKEN)
        await idle.request("GET", "/healthz")
        aws.fault("slow", service="secretsmanager", ms=SILENCE * 1000)
        began = asyncio.get_running_loop().time()
        for session in (handshake, modern):
            await session.start("describe_secret", secret_id="app/db", account="production")
        heard = await asyncio.gather(listen_to(handshake.connection), listen_to(modern.connection), asyncio.sleep(16))
        assert [json.loads(data)["result"]["structuredContent"]["success"] for data, _, _ in heard[:2]] == [True, True]
        seen = {
            "silence on /sse": longest_silence(began, [*sse.pings, asyncio.get_running_loop().time()]),
            "silence on /mcp, handshake": longest_silence(began, heard[0][1]),
            "silence on /mcp, modern": longest_silence(began, heard[1][1]),
            "buffering": {h["x-accel-buffering"] for h in (sse.head.headers, heard[0][2], heard[1][2])},
            "idle connection": (await idle.request("GET", "/healthz")).status,
        }
        for session in (sse, handshake, modern, idle):
            session.close()
        return seen


async def listen_to(connection: Connection) -> tuple[str, list[float], dict[str, str]]:
    """The last event's data on a stream, when anything came, and the headers."""
    loop = asyncio.get_running_loop()
    head = await connection.head()
    times, data = [loop.time()], ""
    async for chunk in connection.chunks():
        times.append(loop.time())
        data = next((line[5:] for line in chunk.decode().splitlines() if line.startswith("data:")), data)
    return data, times, head.headers


def longest_silence(began: float, times: list[float]) -> float:
    return max(after - before for before, after in zip([began, *times], times, strict=False))


def test_no_wire_is_silent_for_20_seconds_while_a_call_lasts_or_a_stream_stands_idle(
    silences: Future[dict[str, Any]],
) -> None:
    seen = silences.result(SILENCE + 30)
    print(seen)
    assert all(value < PING_SECONDS for name, value in seen.items() if name.startswith("silence"))


def test_a_keep_alive_connection_is_still_open_after_20_idle_seconds(silences: Future[dict[str, Any]]) -> None:
    assert silences.result(SILENCE + 30)["idle connection"] == 200


def test_streams_tell_proxies_not_to_hold_them_back(silences: Future[dict[str, Any]]) -> None:
    assert silences.result(SILENCE + 30)["buffering"] == {"no"}


async def test_small_answers_do_not_wait_for_an_acknowledgement() -> None:
    """Nagle's algorithm, which costs 40 ms an answer, is off on the connections that the listener takes."""
    listener = listen("127.0.0.1", 0)
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(writer.get_extra_info("socket"))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(take, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert (await accepted.get()).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        writer.close()
