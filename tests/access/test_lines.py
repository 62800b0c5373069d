"""A line of the trail or the log: at most 8 KB whatever is sent, and everything in it can be seen."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

import lines
from access.audit import AuditTrail
from access.verify import lines_that_touched
from runtime.logs import JsonLines, TextLines
from tests.conftest import Server, boto, running
from toolcall.tool import ServiceTool

KEY = "a-key-for-fingerprints-0123456789"
MOST = 8_192
AT = {"account": "production"}
UNSEEN = "\u009b\u202e\u200b\u00a0\u3164\ufe0f\u2066\u00ad\u3000\x1b\x7f\U000e0041\u2800"
TONGUES = "ä é ł ж 漢字 カナ 한글 नमस्ते שלום عربي ไทย ἀγορά 😀"


@pytest.fixture
async def server(aws: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with running(AUDIT_LOG=str(tmp_path / "audit"), AUDIT_HMAC_KEY=KEY, TOOLSETS="all") as started:
        yield started


def written(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    assert max(map(len, data.splitlines(keepends=True))) <= MOST
    assert data.decode().replace("\n", "").isprintable()
    return [json.loads(line) for line in data.splitlines()]


def much_of(schema: dict[str, Any], text: str) -> Any:
    """A value as large as a schema lets it be, or nearly."""
    if "anyOf" in schema:
        return much_of(schema["anyOf"][0], text)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "array":
        return [much_of(schema["items"], f"{n}{text}") for n in range(min(schema.get("maxItems", 60), 60))]
    if kind == "object":
        named = {name: much_of(part, text) for name, part in schema.get("properties", {}).items()}
        return named or {f"{n}{text[:100]}": text for n in range(50)}
    if kind in ("integer", "number"):
        return schema.get("maximum", 10**15)
    return True if kind == "boolean" else text[: min(schema.get("maxLength", 2_000), 2_000)]


@pytest.mark.parametrize("text", ["x" * 2_000, UNSEEN * 150], ids=["plain", "unseen"])
async def test_no_line_of_any_tool_is_over_8_kb_whatever_is_sent(server: Server, tmp_path: Path, text: str) -> None:
    where = dict.fromkeys(("account", "profile", "role_arn", "region"))
    tools = [tool for tool in await server.app.mcp.list_tools() if isinstance(tool, ServiceTool)]
    async with server.session() as call:
        for tool in tools:
            properties = tool.parameters["properties"]
            for given in (
                {name: much_of(schema, text) for name, schema in properties.items()},
                {name: much_of(schema, text) for name, schema in properties.items() if name not in where} | AT,
                {name: much_of(properties[name], text) for name in tool.parameters.get("required", [])},
                dict.fromkeys(properties, text * 5),
            ):
                server.app.flush()  # or refusals would share a line
                with suppress(MCPError):  # a body over the limit: 413, before any tool
                    await call(tool.name, **given)
    assert len(written(tmp_path / "audit")) >= 3 * len(tools)


async def test_each_of_many_names_is_seen_and_none_hides_another(server: Server, tmp_path: Path) -> None:
    boto("secretsmanager", "production").create_secret(Name="app/db", SecretString="v")
    long = [f"{letter}" * 2_000 for letter in "abcdefghijklmnopqrs"]
    names = [*long[:9], "app/db", *long[9:]]
    async with server.session() as call:
        assert (await call("batch_get_secret_value", secret_ids=names, **AT))["success"]
    found = [record for record in written(tmp_path / "audit") if record.get("tool") == "batch_get_secret_value"]
    assert [record["event"] for record in found] == ["audit_reveal", "audit"]
    for record in found:
        shown = record["resource"].replace(", hmac", " hmac").split(",")
        assert (len(shown), shown[9]) == (20, "app/db")
        assert [part[:50] for part in shown if part != "app/db"] == [name[:50] for name in long]
        assert all("2000 characters" in part for part in shown if part != "app/db")
    touched = [(record["event"], names) for record, names in lines_that_touched(long[3], KEY, map(json.dumps, found))]
    assert touched == [("audit", ["secret_ids", "resource"])]


@pytest.mark.parametrize("length", [1, 511, 512, 513, 1_024])
@pytest.mark.parametrize("letter", ["k", '"', "\x01", "\u009b"])
async def test_a_name_stands_to_the_letter_up_to_512_characters(
    server: Server, tmp_path: Path, length: int, letter: str
) -> None:
    if len(letter.encode()) * length > 1_024:
        length = 512
    key = letter * length
    async with server.session() as call:
        await call("head_object", bucket="a-bucket", key=key, **AT)
    said = written(tmp_path / "audit")[-1]["resource"]
    if length <= 512:
        assert said == f"a-bucket/{key}"
    else:
        assert said.startswith(f"a-bucket/{letter * 512}")
        assert f"[{length} characters, hmac " in said


async def test_what_is_not_seen_is_an_escape_and_letters_of_any_tongue_stay(server: Server, tmp_path: Path) -> None:
    async with server.session() as call:
        await call("head_object", bucket="a-bucket", key=f"{TONGUES}{UNSEEN}", **AT)
    assert written(tmp_path / "audit")[-1]["resource"] == f"a-bucket/{TONGUES}{UNSEEN}"
    text = (tmp_path / "audit").read_text()
    assert TONGUES in text
    assert not set(UNSEEN) & set(text)
    assert "\\u009b\\u202e\\u200b" in text


def test_a_record_of_very_many_members_becomes_one_line_of_8_kb_at_most_too() -> None:
    record = {"event": "audit", **{f"member-{n}": TONGUES for n in range(900)}}
    assert len(lines.line(record, AuditTrail("stdout", KEY).fingerprint_for("a request"))) <= MOST


@pytest.mark.parametrize("lines_of", [JsonLines, TextLines])
def test_a_log_line_is_no_longer_either_and_can_be_seen(lines_of: type[logging.Formatter]) -> None:
    extra = {"reason": UNSEEN * 2_000, "name_of_it": "x" * 20_000, "many": list(range(20_000))}
    record = logging.makeLogRecord({"msg": f"a message {TONGUES}\n{UNSEEN}" + "y" * 50_000, "name": "n", **extra})
    text = lines_of().format(record)
    assert len(text.encode()) < MOST
    assert text.isprintable()
    assert "a message" in text
