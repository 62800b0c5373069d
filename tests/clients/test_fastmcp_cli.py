"""fastmcp's command line, as the README's quick start uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import SECRET
from tests.conftest import TOKEN
from tests.processes import ROOT, Process, clean_environment


def fastmcp(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("fastmcp"), *arguments], cwd=ROOT,
        env=clean_environment(FASTMCP_CHECK_FOR_UPDATES="off"), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("path", ["sse", "mcp"])
def test_it_calls_a_tool_in_an_account(server: Process, path: str) -> None:
    arguments = (f"secret_id={SECRET}", "account=staging", "--auth", TOKEN)
    ended = fastmcp("call", f"{server.url}/{path}", "get_secret_value", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["secret_value"] == "of-staging"


def test_it_inspects_the_module_without_any_configuration() -> None:
    ended = fastmcp("inspect", "server.py:mcp", "--format", "mcp")
    assert ended.returncode == 0, ended.stderr
    assert "get_secret_value" in {tool["name"] for tool in json.loads(ended.stdout)["tools"]}
