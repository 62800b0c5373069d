"""Refusals in the trail: a flood of cheap ones takes no line from a call that changes, reveals or destroys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from access.audit import AuditTrail
from access.callers import Scope
from access.refusals import RefusalLog
from tests.conftest import TOKEN, Server, boto, running
from toolcall.tool import ServiceTool

READER = "the-token-of-a-reader-0123456789"
AT = {"account": "production"}


def records(path: Path, event: str = "audit") -> list[dict[str, Any]]:
    return [record for record in map(json.loads, path.read_text().splitlines()) if record["event"] == event]


@pytest.fixture
async def server(aws: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with running(AUDIT_LOG=str(tmp_path / "audit"), TOOLSETS="all") as started:
        yield started


async def flood(server: Server, tool: str = "no_such_tool", count: int = 105, token: str = TOKEN, **given: Any) -> None:
    async with server.session(token=token) as call:
        for _ in range(count):
            assert (await call(tool, **given)).is_error


@pytest.mark.parametrize(
    ("tool", "given"),
    [
        ("patch_secret", {"secret_id": "words", "set": {"a": "b"}}),  # refused by us, with the intent written
        ("update_secret", {"secret_id": "absent", "description": "x"}),  # refused by AWS
        ("get_secret_value", {"secret_id": "absent"}),
        ("get_object", {"bucket": "a-bucket", "key": "k", "max_bytes": 0}),
    ],
)
async def test_what_was_announced_has_its_outcome_line_after_any_flood(
    server: Server, tmp_path: Path, tool: str, given: dict[str, Any]
) -> None:
    boto("secretsmanager", "production").create_secret(Name="words", SecretString="no JSON")
    await flood(server)
    await flood(server, tool, 1, **given, **AT)
    lines = records(tmp_path / "audit")
    announced = {r["request_id"] for r in (*lines, *records(tmp_path / "audit", "audit_reveal")) if r["tool"] == tool}
    assert announced
    assert [r["outcome"] for r in lines if r["request_id"] in announced][-1] in ("error", "refused")


async def test_each_tool_that_reveals_or_destroys_has_lines_for_its_refusals_after_a_flood(
    server: Server, tmp_path: Path
) -> None:
    await flood(server)
    async with server.session() as call:
        tools = [tool for tool in await server.app.mcp.list_tools() if isinstance(tool, ServiceTool)]
        grave = [tool.name for tool in tools if tool.spec.scope in (Scope.REVEAL, Scope.DESTROY)]
        for name in grave:
            assert (await call(name, no_such_argument=1)).error_code == "InvalidParameter"
    lines = [record["tool"] for record in records(tmp_path / "audit")]
    assert [name for name in grave if name not in lines] == []
    assert {"get_secret_value", "presign_object", "terminate_instances", "delete_role"} <= set(grave)


def test_refused_reveals_and_destroys_have_a_rate_of_their_own_and_a_summary_that_says_which(tmp_path: Path) -> None:
    def refused(tool: str, scope: str, rule: str) -> dict[str, Any]:
        return {"request_id": "r", "caller": "c", "tool": tool, "class": scope, "rule": rule}

    async def many() -> list[int]:
        log = RefusalLog(AuditTrail(str(tmp_path / "audit"), None), 100)
        kinds = [
            ("a", "read", "X"),
            ("g", "reveal", "X"),
            ("d", "destroy", "Y"),
            ("w", "write", "X"),
            ("h", "reveal", "Y"),
        ]
        admitted = [sum(log.admit(refused(*kind), Scope(kind[1])) for _ in range(99)) for kind in kinds]
        for number in range(1_000):
            log.admit(refused(f"tool-{number}", "read", "Z"), Scope.READ)
        log.flush()
        return admitted

    assert asyncio.run(many()) == [99, 99, 99, 1, 1]
    summaries = {record["source"]: record for record in records(tmp_path / "audit", "audit_summary")}
    revealing = summaries["reveal by caller c"]
    assert (revealing["class"], revealing["caller"], revealing["refused"]) == ("reveal", "c", 98)
    assert revealing["by"] == [{"tool": "h", "rule": "Y", "refused": 98}]
    cheap = summaries["caller c"]
    assert cheap["refused"] == sum(entry["refused"] for entry in cheap["by"]) == 1_098
    assert cheap["by"][0] == {"tool": "w", "rule": "X", "refused": 98}
    assert max(map(len, (tmp_path / "audit").read_bytes().splitlines())) < 8_192
