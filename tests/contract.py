"""What is made from the tools: the committed wire contract, the README's tables, docs/. `make contract` rewrites it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import services
from assembly import build
from config import Settings
from services.base import AWSServiceBase
from toolcall.tool import ServiceTool

ROOT = Path(__file__).resolve().parents[1]
SNAPSHOT = ROOT / "tests" / "tools.json"
README = ROOT / "README.md"
DEFAULT_TOOLSETS = ("accounts", "secrets")
# Client, where its configuration goes, and the file in clients/ that holds it.
CLIENTS = (
    ("Claude Code", ".mcp.json in a project", "claude-code.mcp.json"),
    ("Claude Desktop", "claude_desktop_config.json; through mcp-remote, which needs Node", "claude-desktop.json"),
    ("Cursor", ".cursor/mcp.json", "cursor.json"),
    ("VS Code", ".vscode/mcp.json; it asks for the token once", "vscode.json"),
    ("Codex", "~/.codex/config.toml; Streamable HTTP only", "codex.toml"),
    ("Gemini CLI", "~/.gemini/settings.json", "gemini.json"),
    ("OpenCode", "opencode.json", "opencode.json"),
    ("Anything that speaks stdio", "the client starts the server itself; no token, settings from .env", "stdio.json"),
)


def all_tools() -> dict[str, tuple[type[AWSServiceBase], ServiceTool]]:
    """Every tool of every toolset, by name."""
    desk = build(Settings.from_environment({"TOOLSETS": "all", "AUDIT_LOG": "/dev/null"})).desk
    managers = [service(desk) for service in services.service_classes()]
    return {tool.name: (type(manager), tool) for manager in managers for tool in manager.tools()}


def snapshot() -> str:
    """Each tool as a client is shown it."""
    shown = [
        tool.to_mcp_tool().model_dump(mode="json", by_alias=True, exclude_none=True) for _, tool in all_tools().values()
    ]
    return json.dumps(shown, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def tool_tables(*toolsets: str) -> str:
    """A table per toolset: tool, scope, what it does."""
    rows: dict[str, list[str]] = {}
    for service, tool in all_tools().values():
        scope = tool.spec.scope.value + (", `destroy` where asked" if len(tool.spec.scopes) > 1 else "")
        scope += " and `reveal` where it discloses" if tool.spec.reveals_if is not None else ""
        text = (tool.description or "").split("\n")[0]
        required = [f"`{name}`" for name in tool.parameters.get("required", [])]
        rows.setdefault(service.toolset, []).append(f"| `{tool.name}` | {scope} | {', '.join(required)} | {text} |")
    head = "| tool | scope | required arguments | what it does |\n|---|---|---|---|\n"
    shown = toolsets or sorted(rows)
    return "\n\n".join(f"### Toolset `{name}`\n\n{head}" + "\n".join(rows[name]) for name in shown)


def other_toolsets() -> str:
    """The toolsets that are not on by default, with the names of their tools."""
    names: dict[str, list[str]] = {}
    for service, tool in all_tools().values():
        names.setdefault(service.toolset, []).append(f"`{tool.name}`")
    rows = [f"| `{name}` | {', '.join(names[name])} |" for name in sorted(names) if name not in DEFAULT_TOOLSETS]
    return "### Further toolsets\n\n| toolset | tools |\n|---|---|\n" + "\n".join(rows)


def target_policy(*toolsets: str) -> str:
    """The permissions policy of a target role: the IAM actions of the tools, one statement per toolset and kind."""
    statements: dict[str, set[str]] = {}
    for service, tool in all_tools().values():
        kind = "Change" if tool.spec.scope.changes else "Reveal" if tool.spec.scope.value == "reveal" else "Read"
        sid = re.sub(r"\W", "", service.toolset.title()) + kind
        if not toolsets or service.toolset in toolsets:
            statements.setdefault(sid, set()).update(tool.spec.actions)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
            for sid, actions in sorted(statements.items())
            if actions
        ],
    }
    return json.dumps(policy, indent=2)


def client_configurations() -> str:
    """Each file of clients/, folded up under its client's name."""
    shown = []
    for client, where, name in CLIENTS:
        text = (ROOT / "clients" / name).read_text().strip()
        summary = f"<details><summary><b>{client}</b>: {where}</summary>"
        shown.append(f"{summary}\n\n```{name.rpartition('.')[2]}\n{text}\n```\n</details>")
    return "\n\n".join(shown)


def readme(text: str) -> str:
    """The README with what stands between its markers made anew."""
    bodies = {
        "clients": client_configurations(),
        "tools": f"{tool_tables(*DEFAULT_TOOLSETS)}\n\n{other_toolsets()}",
        "policy": f"```json\n{target_policy(*DEFAULT_TOOLSETS)}\n```",
    }
    for marker, body in bodies.items():
        begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
        text = re.sub(f"(?s){begin}.*?{end}", lambda _, b=begin, e=end, t=body: f"{b}\n{t}\n{e}", text)
    return text


def generated() -> dict[Path, str]:
    """Every committed file that is made from the tools, wholly or in part."""
    return {
        SNAPSHOT: snapshot(),
        README: readme(README.read_text()),
        ROOT / "docs/tools.md": f"# All tools\n\nBy toolset; written by `make contract`.\n\n{tool_tables()}\n",
        ROOT / "docs/target-role-policy.json": target_policy() + "\n",
    }


def cost(toolsets: str) -> dict[str, Any]:
    """What a client hands to its model of these toolsets: characters, and tokens at four characters each."""
    settings = Settings.from_environment({"TOOLSETS": toolsets, "AUDIT_LOG": "/dev/null"})
    tools = list(services.tools(build(settings).desk))
    shown = [{"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in tools]
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
    return {"tools": len(tools), "characters": len(text), "tokens": round(len(text) / 4)}


def main() -> None:
    for path, text in generated().items():
        path.write_text(text)
    print({name: cost(name) for name in ["accounts,secrets", *sorted(services.toolsets())]})


if __name__ == "__main__":
    main()
