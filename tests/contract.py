"""The wire contract as committed text: tests/tools.json, and the README's tables. `make contract` rewrites both."""

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


def tool_tables() -> str:
    """A table per toolset: tool, class, what it does."""
    toolsets: dict[str, list[str]] = {}
    for service, tool in all_tools().values():
        scope = tool.spec.scope.value + (", `destroy` when forced" if tool.spec.destroys_if else "")
        text = (tool.description or "").split("\n")[0]
        required = [f"`{name}`" for name in tool.parameters.get("required", [])]
        toolsets.setdefault(service.toolset, []).append(f"| `{tool.name}` | {scope} | {', '.join(required)} | {text} |")
    head = "| tool | scope | required arguments | what it does |\n|---|---|---|---|\n"
    return "\n\n".join(f"### Toolset `{name}`\n\n{head}" + "\n".join(rows) for name, rows in sorted(toolsets.items()))


def target_policy() -> str:
    """The permissions policy of a target role: the IAM actions of the tools, one statement per toolset and kind."""
    statements: dict[str, set[str]] = {}
    for service, tool in all_tools().values():
        kind = "Change" if tool.spec.scope.changes else "Reveal" if tool.spec.scope.value == "reveal" else "Read"
        sid = re.sub(r"\W", "", service.toolset.title()) + kind
        statements.setdefault(sid, set()).update(tool.spec.actions)
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
            for sid, actions in sorted(statements.items())
            if actions
        ],
    }
    return "```json\n" + json.dumps(policy, indent=2) + "\n```"


def readme(text: str) -> str:
    """The README with what stands between its markers made anew."""
    for marker, body in (("tools", tool_tables()), ("policy", target_policy())):
        begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
        text = re.sub(f"(?s){begin}.*?{end}", lambda _, b=begin, e=end, t=body: f"{b}\n{t}\n{e}", text)
    return text


def cost(toolsets: str) -> dict[str, Any]:
    """What a client hands to its model of these toolsets: characters, and tokens at four characters each."""
    settings = Settings.from_environment({"TOOLSETS": toolsets, "AUDIT_LOG": "/dev/null"})
    tools = list(services.tools(build(settings).desk))
    shown = [{"name": tool.name, "description": tool.description, "input_schema": tool.parameters} for tool in tools]
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
    return {"tools": len(tools), "characters": len(text), "tokens": round(len(text) / 4)}


def main() -> None:
    SNAPSHOT.write_text(snapshot())
    README.write_text(readme(README.read_text()))
    print({name: cost(name) for name in ["accounts,secrets", *sorted(services.toolsets())]})


if __name__ == "__main__":
    main()
