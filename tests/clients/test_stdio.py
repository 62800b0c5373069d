"""The Python client over stdio, which starts the server itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from tests.clients.conftest import SECRET
from tests.conftest import ROLES, aws_environment, server_environment
from tests.processes import ROOT, clean_environment
from tests.standin import Standin


def transport(standin: Standin, tmp_path: Path) -> StdioTransport:
    """A server whose stdout is kept in `out` on its way to the client, and whose stderr is `err`."""
    settings = server_environment(AUDIT_LOG="stdout")
    del settings["MCP_AUTH_TOKEN"]  # a local client needs none
    environment = clean_environment(OUT=str(tmp_path / "out"), **settings, **aws_environment(standin.url))
    command = ["-c", '"$0" "$@" | tee "$OUT"', sys.executable, str(ROOT / "server.py"), "--stdio"]
    return StdioTransport("sh", command, env=environment, keep_alive=False, log_file=tmp_path / "err")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_local_client_reaches_each_account_and_stdout_carries_nothing_but_the_protocol(
    standin: Standin, tmp_path: Path, mode: str
) -> None:
    async with Client(transport(standin, tmp_path), mode=mode) as client:
        assert "get_secret_value" in {tool.name for tool in await client.list_tools()}
        for account in ROLES:
            answer = await client.call_tool("get_secret_value", {"secret_id": SECRET, "account": account})
            assert answer.structured_content["secret_value"] == f"of-{account}"
        failed = await client.call_tool("describe_secret", {"secret_id": "no/such"}, raise_on_error=False)
        assert (failed.is_error, failed.structured_content["error_code"]) == (True, "ResourceNotFoundException")
    messages = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert messages
    assert all(message["jsonrpc"] == "2.0" for message in messages)
    printed = [json.loads(line) for line in (tmp_path / "err").read_text().splitlines()]
    calls = [line for line in printed if line.get("event") == "audit"]
    assert [call["outcome"] for call in calls] == ["success", "success", "error"]
    assert {call["transport"] for call in calls} == {"stdio"}
    assert "of-production" not in (tmp_path / "err").read_text()
