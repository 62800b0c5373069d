"""How a process ends: calls in flight are answered on every wire, then idle streams end, then the process, with 0."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TOKEN, aws_environment, server_environment
from tests.processes import ROOT, Process, clean_environment, server_process
from tests.raw_sessions import HANDSHAKE, KINDS, SSE, Connection, Handshake, Modern, Session
from tests.standin import Standin

DRAIN_SECONDS = 20.0  # the contract's
DESCRIBE = ("describe_secret", {"secret_id": "app/db", "account": "production"})
# 20 on SSE, 20 on /mcp of both eras.
FORTY = [SSE] * 20 + [Modern] * 10 + [Handshake] * 10


@pytest.fixture(scope="module")
def aws() -> Iterator[Standin]:
    with Standin(canned=True) as standin:
        yield standin


@pytest.fixture(scope="module", autouse=True)
def drained_for_ever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[tuple[int, float]]]:
    """The exit status of a process whose calls hang, and how long it took; it drains while the other tests run."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(asyncio.run, drain_for_ever(tmp_path_factory.mktemp("hanging") / "audit"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@contextmanager
def serving(aws: Standin, log: Path, **more: str) -> Iterator[Process]:
    """A server that holds the account's credentials already."""
    aws.reset()
    settings = {"AUDIT_LOG": str(log), "MAX_CONCURRENT_CALLS_PER_IDENTITY": "64", **more}
    with server_process(**server_environment(**settings), **aws_environment(aws.url)) as running:
        yield running


def port(running: Process) -> int:
    return int(running.url.rpartition(":")[2])


def describe(session: Session) -> Any:
    return session.call(DESCRIBE[0], **DESCRIBE[1])


@asynccontextmanager
async def busy(running: Process, aws: Standin, kinds: list[Any], **fault: Any) -> AsyncIterator[list[Any]]:
    """Sessions, each with a call at AWS that meets a fault; yields the calls' tasks."""
    sessions = await asyncio.gather(*(kind.open(port(running), TOKEN) for kind in kinds))
    assert (await describe(sessions[0])).ok
    aws.fault(**{"kind": "slow", "service": "secretsmanager", "ms": 1000, **fault})
    calls = [asyncio.create_task(describe(session)) for session in sessions]
    await until(lambda: len(aws.calls("DescribeSecret")) == len(calls) + 1)
    try:
        yield calls
    finally:
        for session in sessions:
            session.close()
        for task in calls:
            task.cancel()
        await asyncio.wait(calls)


async def until(condition: Any, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.02)


async def exit_status(running: Process, seconds: float) -> int:
    return await asyncio.to_thread(running.process.wait, seconds)


async def drain_for_ever(log: Path) -> tuple[int, float]:
    with Standin(canned=True) as aws, serving(aws, log, CALL_DEADLINE_SECONDS="600") as running:
        async with busy(running, aws, [SSE, Modern], kind="hang"):
            running.process.terminate()
            told = time.monotonic()
            return await exit_status(running, DRAIN_SECONDS + 15), time.monotonic() - told


async def until_refused(running: Process) -> None:
    """Wait until no new connection is taken."""
    while True:
        try:
            connection = await Connection.open(port(running), TOKEN)
        except ConnectionRefusedError:
            return
        connection.close()
        await asyncio.sleep(0.05)


async def late_call(session: Session) -> str | None:
    """The error code that a call on an open session gets; `refused` where the connection is."""
    try:
        return (await asyncio.wait_for(describe(session), 5)).error_code
    except (ConnectionError, asyncio.IncompleteReadError):
        return "refused"


def outcomes(log: Path, tool: str = DESCRIBE[0]) -> Counter[str]:
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return Counter(line["outcome"] for line in lines if line.get("tool") == tool)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_forty_calls_in_flight_are_answered_and_audited_while_a_hundred_streams_stand_idle(
    aws: Standin, log: Path, name: str
) -> None:
    with serving(aws, log) as running:
        idle = await asyncio.gather(*(SSE.idle(port(running), TOKEN) for _ in range(100)))
        late = [await kind.open(port(running), TOKEN) for kind in KINDS.values()]
        probe = await Connection.open(port(running), TOKEN)
        async with busy(running, aws, FORTY, ms=2000) as calls:
            running.process.send_signal(signal.Signals[name])
            told = time.monotonic()
            assert (await probe.request("GET", "/readyz")).status == 503
            await until_refused(running)
            assert time.monotonic() - told < 1
            assert {await late_call(session) for session in late} <= {"ShuttingDown", "refused"}
            assert not any(call.done() for call in calls), "the calls were to be still at AWS"
            assert not any(stream.ended.is_set() for stream in idle), "a stream ended before the answers had left"
            answers = await asyncio.wait_for(asyncio.gather(*calls), 10)
            assert sum(answer.ok for answer in answers) == 40
            assert await exit_status(running, 5) == 0
            await asyncio.wait_for(asyncio.gather(*(stream.ended.wait() for stream in idle)), 2)
        for session in (*idle, *late, probe):
            session.close()
    assert outcomes(log)["success"] == 1 + 40
    assert set(outcomes(log)) <= {"success", "refused"}


async def test_calls_that_wait_for_a_place_are_answered_too(aws: Standin, log: Path) -> None:
    with serving(aws, log, MAX_CONCURRENT_CALLS_PER_IDENTITY="8") as running:
        sessions = await asyncio.gather(*(kind.open(port(running), TOKEN) for kind in FORTY))
        aws.fault("slow", service="secretsmanager", ms=400)
        calls = [asyncio.create_task(describe(session)) for session in sessions]
        await until(lambda: len(aws.calls("DescribeSecret")) == 8)
        await asyncio.sleep(0.2)
        running.process.terminate()
        answers = await asyncio.wait_for(asyncio.gather(*calls), 15)
        assert sum(answer.ok for answer in answers) == 40
        assert await exit_status(running, 5) == 0
        for session in sessions:
            session.close()
    assert outcomes(log) == Counter(success=40)


async def test_a_second_sigterm_cuts_nothing(aws: Standin, log: Path) -> None:
    with serving(aws, log) as running:
        async with busy(running, aws, FORTY) as calls:
            for _ in range(3):
                running.process.terminate()
                await asyncio.sleep(0.25)
            assert all(answer.ok for answer in await asyncio.wait_for(asyncio.gather(*calls), 10))
            assert await exit_status(running, 5) == 0
    assert outcomes(log) == Counter(success=1 + 40)


async def test_sigint_after_sigterm_ends_at_once(aws: Standin, log: Path) -> None:
    with serving(aws, log) as running:
        async with busy(running, aws, [SSE, Modern, Handshake], kind="hang"):
            running.process.terminate()
            await asyncio.sleep(0.5)
            assert running.process.poll() is None
            running.process.send_signal(signal.SIGINT)
            told = time.monotonic()
            await exit_status(running, 5)
            assert time.monotonic() - told < 2.5


def test_a_call_that_hangs_for_ever_keeps_the_process_for_the_drain_and_no_longer(
    drained_for_ever: Future[tuple[int, float]],
) -> None:
    status, seconds = drained_for_ever.result(DRAIN_SECONDS + 20)
    assert status == 0
    assert DRAIN_SECONDS - 1 < seconds < DRAIN_SECONDS + 5


# --- stdio -----------------------------------------------------------------------------------------------------------


class StdioServer:
    """A server that speaks over its stdin and stdout, initialized."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.stdin, self.stdout = process, process.stdin, process.stdout
        params = {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        self.say({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
        assert b'"serverInfo"' in self.stdout.readline()
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def say(self, message: dict[str, Any]) -> None:
        self.stdin.write(json.dumps(message).encode() + b"\n")
        self.stdin.flush()

    def update(self) -> None:
        arguments = {"secret_id": "app/db", "secret_value": "x", "account": "production"}
        params = {"name": "update_secret", "arguments": arguments}
        self.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})

    def end(self, how: str) -> int:
        """Return the exit status after the end of stdin or a signal."""
        if how == "EOF":
            self.stdin.close()
        else:
            self.process.send_signal(signal.Signals[how])
        return self.process.wait(5)


@contextmanager
def stdio_server(aws: Standin, log: Path) -> Iterator[StdioServer]:
    aws.reset()
    environment = clean_environment(**server_environment(AUDIT_LOG=str(log)), **aws_environment(aws.url))
    command, pipe = [sys.executable, str(ROOT / "server.py"), "--stdio"], subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            yield StdioServer(process)
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["EOF", "SIGTERM", "SIGINT"])
def test_a_stdio_server_ends_with_its_client_or_a_signal(aws: Standin, log: Path, how: str) -> None:
    with stdio_server(aws, log) as server:
        assert server.end(how) == 0


@pytest.mark.parametrize("how", ["EOF", "SIGTERM"])
async def test_a_change_in_flight_when_a_stdio_server_ends_is_done_and_audited(
    aws: Standin, log: Path, how: str
) -> None:
    with stdio_server(aws, log) as server:
        aws.fault("slow", service="secretsmanager", ms=1000)
        server.update()
        await until(lambda: aws.calls("UpdateSecret"))
        assert server.end(how) == 0
        if how == "SIGTERM":  # the client is still there, and gets its answer
            assert b'"success":true' in server.stdout.readline()
    assert outcomes(log, "update_secret") == {"intent": 1, "success": 1}


async def test_sigint_after_sigterm_ends_a_stdio_server_at_once(aws: Standin, log: Path) -> None:
    with stdio_server(aws, log) as server:
        aws.fault("hang", service="secretsmanager")
        server.update()
        await until(lambda: aws.calls("UpdateSecret"))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert server.end("SIGINT") == 0
