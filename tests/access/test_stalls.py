"""Readers of stdout or stderr that stall: nobody waits for them, and the trail tells the gap once they read again."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

import outlet
from access.audit import AuditTrail
from errors import AuditUnavailable
from outlet import Outlet
from tests.conftest import ROLES, TOKEN, Session, aws_environment, boto, server_environment, standin_alone
from tests.processes import ROOT, Process, clean_environment
from tests.standin import Standin

DB = {"secret_id": "app/db", "account": "production"}
CHANGES_AND_REVEALS: list[tuple[str, dict[str, Any]]] = [
    ("update_secret", {**DB, "description": "x"}),
    ("get_secret_value", DB),
    ("delete_secret", {**DB, "force_delete_without_recovery": True}),
    ("restore_secret", DB),
]


@pytest.fixture(scope="module")
def running_standin() -> Iterator[Standin]:
    with standin_alone() as started:
        for account in ROLES:
            boto("secretsmanager", account).create_secret(Name="app/db", SecretString='{"user": "u"}')
        yield started


@pytest.fixture
def standin(running_standin: Standin) -> Standin:
    running_standin.clear()
    running_standin.forget_calls()
    return running_standin


class Reader:
    """The other end of a process's output, which reads only while it is told to."""

    def __init__(self, kind: str) -> None:
        if kind == "socket":
            one, other = socket.socketpair()
            self._end, self.handed_over = one.detach(), other.detach()
        elif kind == "terminal":
            self._end, self.handed_over = os.openpty()
        else:
            self._end, self.handed_over = os.pipe()
        self._seen, self._stalled, self._over = b"", threading.Lock(), False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            if not select.select([self._end], [], [], 0.1)[0]:
                if self._over:
                    return
                continue
            with self._stalled:
                try:
                    got = os.read(self._end, 4_096) if select.select([self._end], [], [], 0)[0] else None
                except OSError:
                    return
                if got == b"":
                    return
                self._seen += got or b""

    @property
    def text(self) -> str:
        return self._seen.decode(errors="replace")

    def stall(self) -> None:
        self._stalled.acquire()

    def go_on(self) -> None:
        if self._stalled.locked():
            self._stalled.release()

    def finish(self) -> None:
        """Read what is left, once all who write have ended."""
        self.go_on()
        self._over = True
        self._thread.join(10)
        assert not self._thread.is_alive()
        os.close(self.handed_over)
        os.close(self._end)

    def fill(self) -> None:
        """Leave no room, as a neighbour's output would."""
        self.stall()
        sender = outlet._sender(self.handed_over)
        for size in (4_096, 512, 1):
            try:
                while True:
                    sender(b" " * (size - 1) + b"\n")
            except BlockingIOError:
                pass

    def records(self, event: str) -> list[dict[str, Any]]:
        """The lines of an event. Every line must be JSON, or blank."""
        whole = [line.strip() for line in self.text.split("\n")[:-1]]
        return [r for r in (json.loads(line) for line in whole if line) if r.get("event") == event]


@contextmanager
def server(standin: Standin, reader: Reader, **more: str) -> Iterator[Process]:
    environment = {**server_environment(AUDIT_LOG="stdout"), **aws_environment(standin.url), "MCP_PORT": "0", **more}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "server.py")],
        env=clean_environment(**environment), stdout=reader.handed_over, stderr=reader.handed_over,
    )  # fmt: skip
    try:
        end, started = time.monotonic() + 40, Process(process, None)
        while (found := re.search(r'listening\W+url\W+(http://[^"\s]+)', reader.text)) is None:
            assert time.monotonic() < end, reader.text
            time.sleep(0.05)
        started.url = found[1]
        yield started
    finally:
        process.kill()
        process.wait()
        reader.go_on()
        reader.finish()


def until_ready(process: Process, ready: int, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while process.get("/readyz")[0] != ready:
        assert time.monotonic() < end
        time.sleep(0.1)


async def test_a_reader_that_stalls_stops_changes_and_reveals_alone_until_it_reads_again(standin: Standin) -> None:
    reader = Reader("pipe")
    with server(standin, reader) as process:
        async with Client(f"{process.url}/mcp", auth=TOKEN) as client:
            call = Session(client)
            assert (await call("update_secret", **DB, description="before"))["success"]
            reader.stall()
            for _ in range(500):  # its own lines fill it
                assert (await call("describe_secret", **DB))["success"]
                if (await call("restore_secret", secret_id="absent", account="production")).error_code == (
                    "AuditUnavailable"
                ):
                    break
            standin.forget_calls()
            for tool, arguments in CHANGES_AND_REVEALS:
                answer = await call(tool, **arguments)
                assert (answer.error_code, answer["retryable"]) == ("AuditUnavailable", True), tool
            assert standin.calls() == []
            assert (await call("describe_secret", **DB))["success"]
            assert (await call("list_accounts"))["success"]
            assert process.get("/healthz") == (200, "OK")
            assert (process.get("/readyz")[0], process.get("/mcp")[0]) == (503, 401)
            reader.go_on()
            until_ready(process, 200)
            assert (await call("update_secret", **DB, description="after"))["success"]
            assert (await call("get_secret_value", **DB))["success"]
    (resumed, *_) = reader.records("audit_resumed")
    assert resumed["lost"] >= 1
    assert resumed["since"] < resumed["ts"]
    assert [r["outcome"] for r in reader.records("audit")][-3:] == ["intent", "success", "success"]


async def test_a_change_in_flight_has_its_outcome_line_once_there_is_room_again(standin: Standin) -> None:
    reader = Reader("pipe")
    standin.fault("slow", operation="TagResource", ms=1_500)
    standin.fault("slow", operation="GetSecretValue", ms=1_500)
    answers: dict[str, Any] = {}
    with server(standin, reader) as process:
        async with Client(f"{process.url}/mcp", auth=TOKEN) as client, anyio.create_task_group() as tasks:
            call = Session(client)

            async def make(tool: str, **arguments: Any) -> None:
                answers[tool] = await call(tool, **DB, **arguments)

            tasks.start_soon(lambda: make("tag_secret", tags={"a": "b"}))
            tasks.start_soon(make, "get_secret_value")
            while not (standin.calls("TagResource") and standin.calls("GetSecretValue")):
                await anyio.sleep(0.02)
            reader.fill()
        assert answers["tag_secret"]["success"]
        assert answers["get_secret_value"].error_code == "AuditUnavailable"  # seen by nobody, so written down by nobody
        reader.go_on()
        until_ready(process, 200)
    (foretold,) = reader.records("audit_reveal")
    outcomes = {(r["tool"], r["outcome"]): r for r in reader.records("audit")}
    assert set(outcomes) == {("tag_secret", "intent"), ("tag_secret", "success"), ("get_secret_value", "refused")}
    assert outcomes["get_secret_value", "refused"]["request_id"] == foretold["request_id"]
    assert reader.records("audit_resumed")[0]["lost"] == 0


async def test_a_reader_that_is_a_little_behind_costs_no_line_and_no_change(standin: Standin) -> None:
    reader = Reader("pipe")
    with server(standin, reader) as process:
        async with Client(f"{process.url}/mcp", auth=TOKEN) as client, anyio.create_task_group() as tasks:
            call, answers = Session(client), []

            async def change(number: int) -> None:
                answers.append(await call("tag_secret", **DB, tags={"n": str(number)}))

            reader.fill()
            for number in range(5):
                tasks.start_soon(change, number)
            await anyio.sleep(0.2)
            reader.go_on()
        assert [answer["success"] for answer in answers] == [True] * 5
    assert reader.records("audit_resumed") == []
    assert sorted(r["outcome"] for r in reader.records("audit")) == ["intent"] * 5 + ["success"] * 5


@pytest.mark.parametrize("audit", ["stdout", "a file"])
async def test_under_stdio_a_client_that_ignores_stderr_is_served_on(
    standin: Standin, tmp_path: Path, audit: str
) -> None:
    reader = Reader("pipe")
    where = audit if audit == "stdout" else str(tmp_path / "audit")
    more = server_environment(AUDIT_LOG=where, LOG_LEVEL="DEBUG")
    environment = clean_environment(**more, **aws_environment(standin.url))
    command = [str(ROOT / "server.py"), "--stdio"]
    with os.fdopen(os.dup(reader.handed_over), "w") as errors:
        stdio = StdioTransport(sys.executable, command, env=environment, keep_alive=False, log_file=errors)
        async with Client(stdio) as client:
            call = Session(client)
            assert (await call("update_secret", **DB, description="before"))["success"]
            reader.fill()
            for _ in range(150):
                assert (await call("describe_secret", **DB))["success"]
            answer = await call("update_secret", **DB, description="x")
            assert answer.error_code == (None if audit == "a file" else "AuditUnavailable")
            reader.go_on()
            with anyio.fail_after(15):
                while (await call("update_secret", **DB, description="after")).is_error:
                    await anyio.sleep(0.2)
    reader.finish()


async def test_a_named_pipe_is_not_waited_for_either(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    audit = AuditTrail(str(path), None)
    assert audit.check() is False  # nobody has opened it to read
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    audit.open()
    assert audit.check() is True
    written = 0
    with suppress(AuditUnavailable):
        while True:
            audit.write({"event": "audit", "number": written + 1})
            written += 1
    assert audit.check() is False
    with pytest.raises(AuditUnavailable):
        await audit.require()
    text = b""
    while not audit.check():
        text += os.read(reader, 65_536)
    audit.write({"event": "audit", "number": -1})
    text += os.read(reader, 65_536)
    records = [json.loads(line) for line in text.splitlines()]
    numbers = [record["number"] for record in records if record["event"] == "audit"]
    assert numbers == [*range(1, written + 1), -1]
    assert [record["lost"] for record in records if record["event"] == "audit_resumed"] == [0, 1]


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal", "another user's pipe"])
def test_no_line_is_cut_by_another_where_half_of_it_found_room(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if kind == "another user's pipe":  # which may be written, and not opened
        monkeypatch.setattr(outlet, "_sender", lambda fd: lambda data: outlet._send_where_ready(fd, data))
    reader, given = Reader(kind), list[bytes]()
    out = Outlet(reader.handed_over)
    reader.stall()
    for number in range(400):
        line = f"{number} ".encode() + b"x" * (number * 37 % 4_000) + b"\n"
        try:
            out.write(line)
        except BlockingIOError:
            assert not out.has_room()
            reader.go_on()
            while not out.has_room():
                time.sleep(0.01)
            reader.stall()
        else:
            given.append(line)
    reader.go_on()
    while not out.has_room():
        time.sleep(0.01)
    reader.finish()
    assert 0 < len(given) < 400
    assert reader.text.replace("\r", "") == b"".join(given).decode()
