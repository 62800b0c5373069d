"""Promises about all tools: one test over all of them each."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest

from access.identity import Target
from tests import contract
from tests.conftest import running

TOOLS = contract.all_tools()
EVERY_TOOL = pytest.mark.parametrize("name", sorted(TOOLS))


def test_the_wire_contract_and_what_else_is_made_from_the_tools_is_the_committed_one() -> None:
    for path, text in contract.generated().items():
        assert path.read_text() == text, f"{path.name}: if the change is meant: make contract"


def test_the_target_roles_whole_policy_fits_into_a_managed_policy() -> None:
    assert len(json.dumps(json.loads(contract.target_policy()), separators=(",", ":"))) <= 6144


def test_the_default_toolsets_cost_a_model_at_most_6000_tokens() -> None:
    assert contract.cost("accounts,secrets")["characters"] <= 6000 * 3.5


@EVERY_TOOL
def test_a_tool_has_a_short_description_and_true_hints(name: str) -> None:
    _, tool = TOOLS[name]
    shown = tool.to_mcp_tool()
    assert 10 <= len(shown.description or "") <= 400
    hints = shown.annotations
    assert hints is not None
    assert hints.title
    assert hints.read_only_hint is not tool.spec.scope.changes
    assert not (hints.read_only_hint and hints.destructive_hint)
    assert None not in (hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)


@EVERY_TOOL
def test_an_aws_tool_takes_the_four_target_arguments_flat_and_optional(name: str) -> None:
    _, tool = TOOLS[name]
    properties, required = tool.parameters["properties"], tool.parameters.get("required", [])
    if tool.spec.actions:
        assert set(Target.model_fields) <= set(properties)
    assert not set(Target.model_fields) & set(required)


KEYWORDS = {
    "string": {"enum", "pattern", "minLength", "maxLength", "format"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
}


def check_schema(schema: dict[str, Any], where: str) -> None:
    """Assert that every model's API takes a schema: few keywords, each of its type, and bounds on what has parts."""
    if "anyOf" in schema:
        assert set(schema) <= {"anyOf", "description", "default"}, where
        for number, choice in enumerate(schema["anyOf"]):
            check_schema(choice, f"{where}|{number}")
        return
    kind = schema["type"]
    assert set(schema) - {"type", "description", "default"} <= KEYWORDS[kind], where
    assert schema.get("format", "date-time") == "date-time", where
    assert all(isinstance(one, str) and one for one in schema.get("enum", ["x"])), where
    if kind == "array":
        assert schema["maxItems"] >= 1, where
        check_schema(schema["items"], f"{where}[]")
    elif kind == "object" and "properties" not in schema:
        assert schema["maxProperties"] >= 1, where
    if "additionalProperties" in schema:
        check_schema(schema["additionalProperties"], f"{where}.*")
    assert set(schema.get("required", schema.get("properties", ()))) <= set(schema.get("properties", ())), where
    assert schema.get("required") != [], where
    for name, member in schema.get("properties", {}).items():
        check_schema(member, f"{where}.{name}")


@EVERY_TOOL
def test_a_tools_input_schema_has_no_keyword_that_a_models_api_refuses_and_bounds_what_has_parts(name: str) -> None:
    schema = TOOLS[name][1].to_mcp_tool().input_schema
    assert "properties" in schema
    check_schema(schema, name)


@EVERY_TOOL
def test_a_tools_output_schema_requires_success_alone_and_admits_the_failure(name: str) -> None:
    schema = TOOLS[name][1].output_schema
    assert schema is not None
    assert schema["required"] == ["success"]
    assert {"error_code", "message", "next_step", "retryable", "request_id", "account", "region"} <= set(
        schema["properties"]
    )


@EVERY_TOOL
def test_a_tool_names_iam_actions_of_services_that_exist(name: str) -> None:
    service, tool = TOOLS[name]
    known = set(botocore.session.Session().get_available_services())
    assert tool.spec.actions or not tool.spec.open_world or service.toolset == "accounts"
    for action in tool.spec.actions:
        prefix, _, operation = action.partition(":")
        assert prefix in known, action
        assert operation[:1].isupper(), action


async def test_the_annotations_say_the_same_over_the_wire(aws: str) -> None:
    async with running(TOOLSETS="all") as server, server.session() as session:
        listed = {tool.name: tool for tool in await session.client.list_tools()}
    assert set(listed) == set(TOOLS)
    for name, tool in listed.items():
        assert json.loads(json.dumps(tool.input_schema)) == TOOLS[name][1].parameters
