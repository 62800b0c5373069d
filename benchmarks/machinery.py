"""The processes that are measured: started on free ports against one stand-in for AWS, stopped by their ids."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.loopback import free_port
from tests.standin import Standin

ROOT = Path(__file__).resolve().parents[1]
ROLE = "arn:aws:iam::111111111111:role/bench"
TOKEN = "a-token-for-benchmarks-0123456789"
LATENCY_MS = 20


def environment(aws: Standin, **more: str) -> dict[str, str]:
    """What every measured process is given; the same for all."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {
        **keep,
        "PYTHONPATH": str(ROOT),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "BENCH_ROLE_ARN": ROLE,
        **more,
    }


def settings(port: int, audit: Path) -> dict[str, str]:
    """The real server's: all it does in production is on; the limits are out of the way."""
    return {
        "MCP_PORT": str(port),
        "MCP_AUTH_TOKEN": TOKEN,
        "ALLOWED_ROLE_ARNS": "arn:aws:iam::*:role/*",
        "AUDIT_LOG": str(audit),
        "LOG_LEVEL": "WARNING",
        "RATE_LIMIT_PER_MINUTE": "1000000",
        "MAX_CONCURRENT_CALLS_PER_IDENTITY": "64",
    }


class Running:
    """A server process and its port."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process, self.port = process, port

    @property
    def megabytes(self) -> float:
        """Its resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    @property
    def processor_seconds(self) -> float:
        """What all its threads have computed so far. Unlike time on the clock it does not tell who else was busy."""
        runs = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(run.read_text().split()[0]) for run in runs) / 1e9


@contextmanager
def _running(command: list[str], port: int, path: str, env: dict[str, str]) -> Iterator[Running]:
    with subprocess.Popen([sys.executable, *command], env=env, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until_answering(port, path, process)
            yield Running(process, port)
        finally:
            process.kill()


@contextmanager
def our_server(aws: Standin, folder: Path) -> Iterator[Running]:
    """The real server."""
    port = free_port()
    env = environment(aws, **settings(port, folder / "audit"))
    with _running([str(ROOT / "server.py")], port, "/healthz", env) as running:
        yield running


@contextmanager
def minimal_server(aws: Standin) -> Iterator[Running]:
    """benchmarks/minimal_server.py."""
    port = free_port()
    command = [str(ROOT / "benchmarks" / "minimal_server.py"), str(port)]
    with _running(command, port, "/mcp", environment(aws)) as running:
        yield running


def raw_boto3(aws: Standin, *arguments: int) -> dict[str, float]:
    """Run benchmarks/raw_boto3.py to its end."""
    command = [sys.executable, str(ROOT / "benchmarks" / "raw_boto3.py"), *map(str, arguments)]
    result: dict[str, float] = json.loads(subprocess.check_output(command, env=environment(aws)))
    return result


def seconds_to_healthz(aws: Standin, folder: Path) -> float:
    """From nothing to the first answer of /healthz."""
    began = time.perf_counter()
    with our_server(aws, folder):
        return time.perf_counter() - began


def seconds_to_import(aws: Standin) -> float:
    """What the bare imports take."""
    began = time.perf_counter()
    command = [sys.executable, "-c", "from fastmcp import FastMCP; import boto3"]
    subprocess.run(command, env=environment(aws), check=True)
    return time.perf_counter() - began


def wait_until_answering(port: int, path: str, process: subprocess.Popen[Any]) -> None:
    """Wait for any HTTP answer."""
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError("a server to be measured did not start")
