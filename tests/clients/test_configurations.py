"""Each file in clients/ brings a client to the server; what the clients themselves would fill in is filled in here."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from tests.clients.conftest import NODE_MODULES, SECRET
from tests.conftest import TOKEN, Answer, aws_environment, server_environment
from tests.processes import ROOT, Process, clean_environment
from tests.standin import Standin

FILES = sorted((ROOT / "clients").iterdir())
# ${VAR}, ${env:VAR}, {env:VAR}, $VAR, ${input:...}: each client has its own way to name the token.
TOKEN_NAMES = re.compile(r"\$?\{(env:)?MCP_AUTH_TOKEN\}|\$MCP_AUTH_TOKEN|\$\{input:[\w-]+\}|YOUR_AUTH_TOKEN")


def entry_of(path: Path, server: Process) -> dict[str, Any]:
    """The file's one server, as the client would read it."""
    text = TOKEN_NAMES.sub(TOKEN, path.read_text())
    text = text.replace("${AWS_OPS_URL:-http://localhost:8100}", server.url).replace(
        "http://localhost:8100", server.url
    )
    document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    servers = next(document[name] for name in ("mcpServers", "servers", "mcp", "mcp_servers") if name in document)
    (entry,) = servers.values()
    return dict(entry)


def over_http(entry: dict[str, Any]) -> dict[str, Any]:
    if variable := entry.get("bearer_token_env_var"):
        assert variable == "MCP_AUTH_TOKEN"
        entry["headers"] = {"Authorization": f"Bearer {TOKEN}"}
    return {"url": entry["url"], "headers": entry["headers"]}


def over_stdio(entry: dict[str, Any], standin: Standin, home: Path) -> dict[str, Any]:
    """The command, with what is installed here in the place of what npx would fetch, or of a path."""
    arguments = [argument.replace("/path/to/tool.aws-ops", str(ROOT)) for argument in entry["args"]]
    settings = {**server_environment(), **aws_environment(standin.url), **entry.get("env", {})}
    environment = {**clean_environment(**settings), "HOME": str(home)}  # where mcp-remote keeps its notes
    if entry["command"] == "npx":
        assert arguments[:2] == ["-y", "mcp-remote"]
        remote = str(NODE_MODULES / "mcp-remote/dist/proxy.js")
        return {
            "command": str(Path(sys.executable).with_name("node")),
            "args": [remote, *arguments[2:]],
            "env": environment,
        }
    assert entry["command"].endswith("/.venv/bin/python")
    return {"command": sys.executable, "args": arguments, "env": environment}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
async def test_the_configuration_reaches_the_server(
    path: Path, server: Process, standin: Standin, tmp_path: Path
) -> None:
    entry = entry_of(path, server)
    settings = over_http(entry) if "url" in entry else over_stdio(entry, standin, tmp_path)
    async with Client({"mcpServers": {"aws-ops": settings}}) as client:
        answer = Answer(await client.call_tool("get_secret_value", {"secret_id": SECRET, "account": "staging"}))
    assert answer["secret_value"] == "of-staging"
