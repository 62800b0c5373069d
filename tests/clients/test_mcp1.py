"""The Python SDK 1.x."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOKEN
from tests.processes import Process, clean_environment

HERE = Path(__file__).parent


@pytest.mark.parametrize("path", ["sse", "mcp"])
def test_the_python_sdk_1_lists_calls_and_sees_failures(server: Process, path: str) -> None:
    assert (HERE / ".mcp1/mcp").exists(), "run `make clients` first"
    transport = {"sse": "sse", "mcp": "http"}[path]
    ended = subprocess.run(
        [sys.executable, HERE / "mcp1.py", transport, f"{server.url}/{path}"],
        env=clean_environment(PYTHONPATH=str(HERE / ".mcp1"), MCP_AUTH_TOKEN=TOKEN),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert "list_accounts" in seen["tools"]
    assert seen["production"]["structuredContent"]["secret_value"] == "of-production"
    assert seen["staging"]["structuredContent"]["secret_value"] == "of-staging"
    assert seen["nowhere"]["isError"] is True
    assert seen["nowhere"]["structuredContent"]["error_code"] == "UnknownAccount"
