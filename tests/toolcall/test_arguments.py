"""Arguments that are wrong whatever they mean."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from errors import InvalidParameter
from services.secrets_manager import SecretsManagerService
from tests.conftest import TOKEN, Server, boto
from toolcall.arguments import arguments_of


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [5, 100])
async def test_an_argument_nested_out_of_all_reason_is_refused_as_any_wrong_type_is(
    running_server: Server, depth: int
) -> None:
    async with running_server.session() as call:
        answer = await call("tag_secret", secret_id="app/db", tags=nested(depth))
    assert (answer.error_code, answer.is_error) == ("InvalidParameter", True)


@pytest.mark.parametrize("depth", [400, 10_000])
def test_nesting_deeper_than_the_python_client_can_send_is_refused_too(depth: int) -> None:
    arguments = arguments_of(SecretsManagerService.tag_secret, confirmable=False)
    with pytest.raises(InvalidParameter, match=r"nested|not a string"):
        arguments.parse({"secret_id": "app/db", "tags": nested(depth)})


# --- how much, and what JSON cannot hold ----------------------------------------------------------------------------

TOO_MUCH: dict[str, dict[str, Any]] = {
    "one long text": {"secret_id": "x" * 300_000},
    "many short texts": {"secret_id": "x", "tags": {str(number): "v" for number in range(15_000)}},
    "many lists": {"tags": [[[]] for _ in range(12_000)]},
    "one long name": {"y" * 300_000: 1},
    "many numbers": {"tags": list(range(25_000))},
    "a long number": {"tags": 10**4_000, "secret_id": "\U0001f600" * 66_000},
}


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_more_than_a_call_may_bring_is_refused_at_once_whatever_it_is(running_server: Server, what: str) -> None:
    async with running_server.session() as call:
        for tool in ("tag_secret", "list_accounts", "create_secret"):
            answer = await call(tool, **TOO_MUCH[what])
            assert (answer.error_code, answer.is_error) == ("InvalidParameter", True), tool
            assert "256 KB" in answer["message"]


async def test_the_largest_that_aws_takes_passes(call: Any) -> None:
    value = "\u00e4\x01" + "v" * 65_533
    assert (await call("create_secret", name="big", secret_value=value))["success"]
    assert (await call("get_secret_value", secret_id="big"))["secret_value"] == value
    boto("s3").create_bucket(Bucket="box")
    body = base64.b64encode(bytes(1_048_576)).decode()
    assert (await call("put_object", bucket="box", key="k", body_base64=body))["success"]
    assert (await call("put_object", bucket="box", key="text", body="\u00e4" * 524_288))["success"]
    tags = {f"{number:03}" + "k" * 125: "v" * 256 for number in range(50)}
    assert (await call("tag_secret", secret_id="big", tags=tags))["success"]


NO_JSON = ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize("number", NO_JSON)
async def test_a_number_that_json_has_not_is_refused_wherever_it_stands(running_server: Server, number: str) -> None:
    boto("secretsmanager").create_secret(Name="app/db", SecretString='{"n": 1}')
    calls = {
        "patch_secret": '{"secret_id": "app/db", "set": {"n": {"deep": [%s]}}}',
        "delete_secret": '{"secret_id": "app/db", "recovery_window_in_days": %s}',
        "list_secrets": '{"max_results": %s}',
    }
    for tool, arguments in calls.items():
        answer = await sent_by_hand(running_server, tool, arguments % number)
        assert answer["error_code"] == "InvalidParameter", tool
    assert boto("secretsmanager").get_secret_value(SecretId="app/db")["SecretString"] == '{"n": 1}'


async def test_a_whole_number_keeps_all_its_digits(running_server: Server) -> None:
    boto("secretsmanager").create_secret(Name="app/db", SecretString="{}")
    arguments = '{"secret_id": "app/db", "set": {"n": 12345678901234567890123}}'
    assert (await sent_by_hand(running_server, "patch_secret", arguments))["success"]
    written = boto("secretsmanager").get_secret_value(SecretId="app/db", VersionStage="AWSCURRENT")["SecretString"]
    assert written == '{"n":12345678901234567890123}'


async def sent_by_hand(server: Server, tool: str, arguments: str) -> Any:
    """Return the structured content of a modern call whose JSON no client would write."""
    meta = (
        '{"io.modelcontextprotocol/protocolVersion": "2026-07-28", '
        '"io.modelcontextprotocol/clientInfo": {"name": "hand", "version": "1"}, '
        '"io.modelcontextprotocol/clientCapabilities": {}}'
    )
    body = (
        f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", '
        f'"params": {{"name": "{tool}", "arguments": {arguments}, "_meta": {meta}}}}}'
    )
    async with server.http() as http:
        answer = await http.post(
            "http://127.0.0.1/mcp",
            content=body,
            headers={
                "Authorization": f"Bearer {TOKEN}",
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": "tools/call",
                "Mcp-Name": tool,
            },
        )
    text = answer.text
    if text.startswith(("event:", "data:", ":", "id:")):
        text = next(line[6:] for line in text.splitlines() if line.startswith("data: {"))
    return json.loads(text)["result"]["structuredContent"]
