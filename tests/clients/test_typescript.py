"""npm's TypeScript SDKs: 1.x, which most clients are built on, and 2.x."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.conftest import Run
from tests.conftest import TOKEN
from tests.processes import Process

SCRIPT = Path(__file__).with_name("typescript.mjs")


def url(server: Process, path: str) -> str:
    """As configurations spell it; Node may try ::1 for it first."""
    return f"{server.url.replace('127.0.0.1', 'localhost')}/{path}"


@pytest.mark.parametrize("path", ["sse", "mcp"])
@pytest.mark.parametrize("generation", ["sdk", "client"])
def test_the_typescript_sdk_lists_calls_and_sees_failures(
    server: Process, node: Run, generation: str, path: str
) -> None:
    transport = {"sse": "sse", "mcp": "http"}[path]
    ended = node(SCRIPT, generation, transport, url(server, path), MCP_AUTH_TOKEN=TOKEN)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert seen["server"] == "aws-ops"
    assert {"list_accounts", "get_secret_value"} <= set(seen["tools"])
    for account, number in (("production", "111111111111"), ("staging", "222222222222")):
        value = seen[account]["structuredContent"]
        assert (value["account_id"], value["secret_value"]) == (number, f"of-{account}")
        assert json.loads(seen[account]["content"][0]["text"]) == value
    for failure, code in (
        ("refused", "UnknownAccount"),
        ("missing", "ResourceNotFoundException"),
        ("destroyed", "ConfirmationRequired"),
    ):
        assert seen[failure]["isError"] is True
        assert seen[failure]["structuredContent"]["error_code"] == code
    assert seen["destroyed"]["structuredContent"]["confirm"] in seen["destroyed"]["content"][0]["text"]


@pytest.mark.parametrize("path", ["sse", "mcp"])
def test_a_wrong_token_reaches_the_typescript_sdk_as_401(server: Process, node: Run, path: str) -> None:
    transport = {"sse": "sse", "mcp": "http"}[path]
    ended = node(SCRIPT, "sdk", transport, url(server, path), MCP_AUTH_TOKEN=f"{TOKEN}x")
    assert ended.returncode != 0
    assert "401" in ended.stderr
