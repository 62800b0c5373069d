"""The server as a process of its own: started, waited for, stopped by its process id."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def clean_environment(**more: str) -> dict[str, str]:
    """The least that a process needs, and `more`; nothing of this machine's AWS or MCP settings."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**keep, **more}


def open_sockets(pid: int) -> int:
    """How many sockets a process has."""
    sockets = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets += entry.readlink().name.startswith("socket:")
        except FileNotFoundError:  # closed meanwhile
            continue
    return sockets


def run_server(*arguments: str, timeout: float = 20, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python server.py` to its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / "server.py"), *arguments],
        env=clean_environment(**environment), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


class Process:
    """A running server: `url`, `port`, `process`, and all that it has printed."""

    def __init__(self, process: subprocess.Popen[bytes], output: Any) -> None:
        self.process, self._output = process, output
        self.url = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def printed(self) -> str:
        self._output.seek(0)
        return str(self._output.read().decode())

    def records(self) -> list[dict[str, Any]]:
        """The JSON lines printed so far."""
        return [json.loads(line) for line in self.printed.splitlines() if line.startswith('{"')]

    def wait_until_listening(self, timeout: float = 40) -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(r'listening\W+url\W+(http://[^"\s]+)', self.printed):
                self.url = found[1]
                return
            time.sleep(0.02)
        raise AssertionError(f"the server did not start: {self.printed}")

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def server_process(*arguments: str, **environment: str) -> Iterator[Process]:
    """A server process on a free port; killed at the end if it still runs."""
    with TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "server.py"), *arguments],
            env=clean_environment(**{"MCP_PORT": "0", **environment}), stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        running = Process(process, output)
        try:
            running.wait_until_listening()
            yield running
        finally:
            process.kill()
            process.wait()
