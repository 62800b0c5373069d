"""Odd things that stdout and stderr may be: closed, not for writing, one place for both, a parent's to change."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

import outlet
from outlet import Outlet
from tests.conftest import server_environment
from tests.processes import ROOT, clean_environment


def started(redirection: str, *arguments: str, **settings: str) -> subprocess.Popen[bytes]:
    """Run the server as a shell does with a redirection."""
    command = f'exec "$@" {redirection}'
    return subprocess.Popen(
        ["/bin/sh", "-c", command, "sh", sys.executable, str(ROOT / "server.py"), *arguments],
        env=clean_environment(**server_environment(MCP_PORT="0", **settings)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("redirection", [">&-", "1</dev/null", ">/dev/full", ">&- 0<&-"])
def test_a_trail_on_a_stdout_that_cannot_be_written_does_not_start(redirection: str) -> None:
    process = started(redirection, AUDIT_LOG="stdout")
    try:
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, told.decode()) == (2, "aws-ops cannot start: AUDIT_LOG: cannot be written\n")


def test_what_is_closed_at_the_start_is_never_a_connection_of_ours(tmp_path: Path) -> None:
    trail = tmp_path / "audit"
    process = started("<&- >&- 2>&-", AUDIT_LOG=str(trail))
    try:
        end = time.monotonic() + 60
        while not trail.exists() or not any(
            os.readlink(entry).startswith("socket:") for entry in Path(f"/proc/{process.pid}/fd").iterdir()
        ):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.1)
        for fd in range(3):
            assert os.readlink(f"/proc/{process.pid}/fd/{fd}") == os.devnull
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def test_under_stdio_a_client_that_reads_no_more_does_not_hold_up_the_end(tmp_path: Path) -> None:
    process = started("", "--stdio", AUDIT_LOG=str(tmp_path / "audit"))
    assert process.stdin is not None
    try:
        name = '{"name":"c","version":"1"},"protocolVersion":"2025-06-18","capabilities":{}'
        lines = [f'{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"clientInfo":{name}}}}}']
        lines.append('{"jsonrpc":"2.0","method":"notifications/initialized"}')
        lines += [f'{{"jsonrpc":"2.0","id":{n},"method":"tools/list"}}' for n in range(1, 9)]
        process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        process.stdin.flush()
        full, end = process.stdout, time.monotonic() + 60
        assert full is not None
        while _waiting_in(full.fileno()) < 60_000:  # of 64 KB: the next answer does not fit
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


def _waiting_in(fd: int) -> int:
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])


@pytest.mark.parametrize("ours", [True, False], ids=["our pipe", "another user's pipe"])
@pytest.mark.parametrize("first", [False, True], ids=["not blocking at first", "blocking at first"])
def test_a_parent_that_changes_whether_writes_wait_makes_nobody_wait(
    monkeypatch: pytest.MonkeyPatch, first: bool, ours: bool
) -> None:
    if not ours:  # it may be written, and not opened
        monkeypatch.setattr(outlet, "_name_of", lambda fd: "/nowhere/at/all")
    reader, given = os.pipe()
    os.set_blocking(given, first)
    out = Outlet(given)
    out.write(b"a line\n")
    os.set_blocking(given, not first)
    filled = threading.Event()

    def fill() -> None:
        try:
            while True:
                out.write(b"x" * 5_000 + b"\n")
        except BlockingIOError:
            filled.set()

    threading.Thread(target=fill, daemon=True).start()
    assert filled.wait(30)
    assert os.get_blocking(given) is not first  # nor is the parent's choice changed
    os.close(reader)
    os.close(given)


def test_a_line_on_stdout_is_not_cut_by_one_on_stderr_where_both_are_one_pipe() -> None:
    script = (
        "import sys; from runtime.logs import release_streams; from outlet import standard; release_streams('stdout')\n"
        "try:\n"
        "    while True: standard(1).write(b'a' * 4_999 + b'\\n')\n"
        "except BlockingIOError: pass\n"
        "sys.stdin.readline()\n"
        "print('b' * 99, file=sys.stderr); standard(1).has_room()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=clean_environment(PYTHONPATH=str(ROOT)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    end = time.monotonic() + 30
    while _waiting_in(process.stdout.fileno()) < 50_000:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.2)
    text = os.read(process.stdout.fileno(), 65_536)
    text += process.communicate(b"\n", timeout=30)[0]
    *whole, last = text.decode().split("\n")
    assert (set(whole), last) == ({"a" * 4_999, "b" * 99}, "")
