"""Every request of MCP, tool calls apart: counted, in scope, and never failing in a library's words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from access.policy import Policy
from tests.conftest import TOKEN, WIRES, Server, Session, boto, running

READER, WRITER = "a-readers-token-0123456789", "a-writers-token-0123456789"


@pytest.fixture
async def server(aws: str, tmp_path: Path) -> AsyncIterator[Server]:
    """A server with a caller who may read, one who may only write, and a rate for each."""
    callers, audit = tmp_path / "callers.toml", tmp_path / "audit.log"
    lines = [
        f'[callers.{name}]\ntoken_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nscopes = ["{scope}"]\n'
        for name, token, scope in (("reader", READER, "read"), ("writer", WRITER, "write"))
    ]
    callers.write_text("".join(lines))
    async with running(
        MCP_CALLERS_FILE=str(callers), AUDIT_LOG=str(audit), RATE_LIMIT_PER_MINUTE="5", TOOLSETS="accounts,secrets"
    ) as started:
        started.audit = audit  # type: ignore[attr-defined]
        yield started


async def complete(call: Session, name: str, value: str = "") -> list[str]:
    reference = PromptReference(type="ref/prompt", name="promote_secret")
    return list((await call.client.complete(reference, {"name": name, "value": value})).values)


async def test_a_caller_without_read_completes_nothing(server: Server, wire: tuple[str, str]) -> None:
    boto("secretsmanager").create_secret(Name="app/db", SecretString="v")
    async with server.session(*wire, token=READER) as call:
        assert await complete(call, "from_account") == ["production", "staging"]
        assert "us-east-1" in await complete(call, "region", "us-")
    async with server.session(*wire, token=WRITER) as call:
        for name in ("from_account", "account", "region", "secret_id", "name"):
            assert await complete(call, name) == []
        reference = ResourceTemplateReference(type="ref/resource", uri="secret://{account}/{region}/{name*}")
        assert (await call.client.complete(reference, {"name": "account", "value": ""})).values == []


async def test_lists_and_prompts_count_in_a_bucket_of_their_own_beside_calls(
    server: Server, wire: tuple[str, str]
) -> None:
    async with server.session(*wire, token=READER) as call:
        answers = [await call("list_accounts") for _ in range(7)]
        assert [answer.error_code for answer in answers] == [None] * 5 + ["RateLimited"] * 2
        assert await call.client.list_tools()  # who is out of calls still lists
        with pytest.raises(MCPError) as refused:
            await one_too_many(call)
        assert refused.value.data["error_code"] == "RateLimited"
        assert refused.value.data["retry_after"] > 0
        assert -32_768 <= refused.value.code <= -32_000
    async with server.session(*wire, token=TOKEN) as other:
        assert await other.client.list_tools()
    last = [json.loads(line) for line in server.audit.read_text().splitlines()]  # type: ignore[attr-defined]
    assert any(line.get("error_code") == "RateLimited" and line["tool"] in KNOWN for line in last)


KNOWN = {"tools/list", "prompts/list", "prompts/get", "resources/list", "completion/complete"}
REQUESTS: list[Callable[[Session], Awaitable[Any]]] = [
    lambda call: call.client.list_tools(),
    lambda call: call.client.list_prompts(),
    lambda call: call.client.list_resources(),
    lambda call: call.client.get_prompt("promote_secret", {"secret_id": "x"}),
    lambda call: complete(call, "from_account"),
]


async def test_a_prompt_without_a_required_argument_names_it(server: Server, wire: tuple[str, str]) -> None:
    async with server.session(*wire) as call:
        for prompt in await call.client.list_prompts():
            needed = [argument.name for argument in prompt.arguments or [] if argument.required]
            for name in needed:
                with pytest.raises(MCPError, match=name) as refused:
                    await call.client.get_prompt(prompt.name, {other: "x" for other in needed if other != name})
                assert refused.value.code == -32_602
            assert await call.client.get_prompt(prompt.name, dict.fromkeys(needed, "x"))


async def one_too_many(call: Session) -> None:
    for number in range(70):
        await REQUESTS[number % len(REQUESTS)](call)


class _Broken(Policy):
    """A policy that fails where it should say where a call would have run, or what there is to complete."""

    def place(self, *_: Any) -> Any:
        raise OSError("/home/operator/.aws/config")

    accounts_of = decide = place


@pytest.mark.parametrize("wire", WIRES)
async def test_what_breaks_while_a_failure_is_told_is_a_fault_of_ours_with_a_line_in_the_trail(
    server: Server, wire: tuple[str, str]
) -> None:
    desk = server.app.desk
    object.__setattr__(desk, "policy", _Broken(desk.settings, desk.credentials))
    async with server.session(*wire) as call:
        for tool in ("create_secret", "describe_secret", "list_accounts"):
            answer = await call(tool, name="x", secret_value="v")
            assert (answer.error_code, answer["retryable"], answer["account"]) == ("InternalError", False, None) or (
                answer.error_code == "InvalidParameter"
            )
            assert {"message", "next_step", "request_id", "region"} <= set(answer.content)
            assert ".aws" not in answer.text
            lines = [json.loads(line) for line in server.audit.read_text().splitlines()]  # type: ignore[attr-defined]
            assert (lines[-1]["request_id"], lines[-1]["tool"]) == (answer["request_id"], tool)
        with pytest.raises(MCPError) as failed:
            await complete(call, "from_account")
        assert ".aws" not in str(failed.value)
        assert -32_768 <= failed.value.code <= -32_000
