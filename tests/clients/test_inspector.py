"""The MCP Inspector's command line, over each way into the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.conftest import NODE_MODULES, SECRET, Run
from tests.conftest import TOKEN, aws_environment, server_environment
from tests.processes import ROOT, Process
from tests.standin import Standin

LAUNCHER = NODE_MODULES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
Inspect = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(params=["sse", "http", "stdio"])
def inspect(request: pytest.FixtureRequest, node: Run, standin: Standin) -> Inspect:
    """Run `mcp-inspector --cli` against the server, in one of three ways."""
    if request.param == "stdio":
        settings = {**server_environment(), **aws_environment(standin.url)}
        options = [option for name, value in settings.items() for option in ("-e", f"{name}={value}")]
        target = [sys.executable, str(ROOT / "server.py"), "--stdio"]
        return lambda *method: node(LAUNCHER, "--cli", *options, *target[:2], *method, "--", *target[2:])
    server: Process = request.getfixturevalue("server")
    url = f"{server.url}/{'sse' if request.param == 'sse' else 'mcp'}"
    header = f"Authorization: Bearer {TOKEN}"
    return lambda *method: node(LAUNCHER, "--cli", url, "--transport", request.param, "--header", header, *method)


def answer_of(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.returncode == 0, ended.stderr or ended.stdout
    return json.loads(ended.stdout)


def test_the_inspector_finds_every_tools_schema_portable(inspect: Inspect) -> None:
    tools = answer_of(inspect("--method", "tools/list", "--strict"))["tools"]
    assert {"list_accounts", "get_secret_value"} <= {tool["name"] for tool in tools}


def test_the_inspector_calls_a_tool(inspect: Inspect) -> None:
    arguments = ("--tool-arg", f"secret_id={SECRET}", "account=staging")
    answer = answer_of(inspect("--method", "tools/call", "--tool-name", "get_secret_value", *arguments))
    assert answer["structuredContent"]["account_id"] == "222222222222"
    assert answer["structuredContent"]["secret_value"] == "of-staging"
