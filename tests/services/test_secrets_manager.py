"""Secrets Manager's tools, over every wire, against two accounts."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Server, boto

PRODUCTION, STAGING = "111111111111", "222222222222"


@pytest.fixture
def two_secrets_of_one_name(aws: str) -> str:
    for account in ("production", "staging"):
        boto("secretsmanager", account).create_secret(Name="app/db", SecretString=f"of {account}")
    return "app/db"


async def test_secret_of_one_name_is_answered_from_the_account_that_the_call_names(
    call: Any, two_secrets_of_one_name: str
) -> None:
    for account, number in (("production", PRODUCTION), ("staging", STAGING), ("PRODUCTION", PRODUCTION)):
        answer = await call("get_secret_value", secret_id="app/db", account=account)
        assert answer["secret_value"] == f"of {account.lower()}"
        assert (answer["success"], answer["account_id"], answer["region"]) == (True, number, "us-east-1")


async def test_secret_in_one_account_is_not_found_in_another(call: Any) -> None:
    boto("secretsmanager", "staging").create_secret(Name="only/here", SecretString="x")
    answer = await call("describe_secret", secret_id="only/here", account="production")
    assert answer.is_error
    assert answer.error_code == "ResourceNotFoundException"
    assert answer["account"] == "production"
    assert answer["region"] == "us-east-1"
    assert answer["retryable"] is False
    assert (await call("describe_secret", secret_id="only/here")).error_code == "ResourceNotFoundException"


async def test_text_and_structured_content_say_the_same(call: Any, two_secrets_of_one_name: str) -> None:
    answer = await call("describe_secret", secret_id="app/db", account="staging")
    assert json.loads(answer.text) == answer.content
    missing = await call("describe_secret", secret_id="app/nothing", account="staging")
    assert "ResourceNotFoundException" in missing.text
    assert "staging" in missing.text


async def test_a_secret_lives_its_whole_life(call: Any) -> None:
    at: dict[str, Any] = {"account": "staging", "region": "eu-west-1"}
    made = await call(
        "create_secret", name="life", secret_value="first", description="d", tags={"Team": "platform"}, **at
    )
    assert made["arn"].startswith(f"arn:aws:secretsmanager:eu-west-1:{STAGING}:secret:life-")
    second = await call("update_secret", secret_id="life", secret_value="second", **at)
    assert second["version_id"] != made["version_id"]
    assert (await call("get_secret_value", secret_id="life", **at))["secret_value"] == "second"
    previous = await call("get_secret_value", secret_id="life", version_stage="AWSPREVIOUS", **at)
    assert previous["secret_value"] == "first"
    chosen = await call("get_secret_value", secret_id="life", version_id=made["version_id"], **at)
    assert chosen["version_stages"] == ["AWSPREVIOUS"]

    await call("tag_secret", secret_id="life", tags={"Env": "test"}, **at)
    assert (await call("describe_secret", secret_id="life", **at))["tags"] == {"Team": "platform", "Env": "test"}
    await call("untag_secret", secret_id="life", tag_keys=["Team"], **at)
    described = await call("describe_secret", secret_id="life", **at)
    assert described["tags"] == {"Env": "test"}
    assert described["description"] == "d"
    assert "secret_value" not in described.content

    deleted = await call("delete_secret", secret_id="life", recovery_window_in_days=7, **at)
    assert deleted["force_deleted"] is False
    assert "deleted_date" in (await call("describe_secret", secret_id="life", **at)).content
    await call("restore_secret", secret_id="life", **at)
    assert "deleted_date" not in (await call("describe_secret", secret_id="life", **at)).content


@pytest.fixture
def aws_clears_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS takes an empty description for one; moto takes it for none given."""
    from moto.secretsmanager.models import SecretsManagerBackend

    updates = SecretsManagerBackend.update_secret

    def update_secret(backend: Any, *args: Any, **kwargs: Any) -> Any:
        answer = updates(backend, *args, **kwargs)
        if kwargs.get("description") == "":
            backend.secrets[kwargs["secret_id"]].description = None
        return answer

    monkeypatch.setattr(SecretsManagerBackend, "update_secret", update_secret)


@pytest.mark.usefixtures("aws_clears_descriptions")
async def test_an_empty_description_clears_it_and_leaves_the_value_alone(call: Any) -> None:
    await call("create_secret", name="described", secret_value="v", description="old", account="staging")
    await call("update_secret", secret_id="described", description="", account="staging")
    assert not (await call("describe_secret", secret_id="described", account="staging")).content.get("description")
    assert (await call("get_secret_value", secret_id="described", account="staging"))["secret_value"] == "v"


async def test_a_binary_secret_comes_as_base64(call: Any) -> None:
    boto("secretsmanager", "staging").create_secret(Name="binary", SecretBinary=b"\x00\xff\x10")
    answer = await call("get_secret_value", secret_id="binary", account="staging")
    assert answer["encoding"] == "base64"
    assert base64.b64decode(answer["secret_value"]) == b"\x00\xff\x10"


async def test_a_list_says_where_it_was_cut_and_continues_there(running_server: Server) -> None:
    manager = boto("secretsmanager", "production")
    for number in range(130):
        manager.create_secret(Name=f"many/{number:03}", SecretString="x")
    manager.create_secret(Name="other", SecretString="x")
    async with running_server.session() as call:
        first = await call("list_secrets", account="production", name_prefix="many/", max_results=120)
        assert first["count"] == len(first["secrets"]) == 120
        assert first["truncated"] is True
        rest = await call(
            "list_secrets", account="production", name_prefix="many/", max_results=500, next_token=first["next_token"]
        )
        assert (rest["truncated"], rest["next_token"]) == (False, None)
        names = {row["name"] for row in first["secrets"] + rest["secrets"]}
        assert names == {f"many/{number:03}" for number in range(130)}


async def test_secrets_planned_for_deletion_are_listed_on_request_only(call: Any) -> None:
    await call("create_secret", name="doomed", secret_value="x", account="staging")
    await call("delete_secret", secret_id="doomed", account="staging")
    assert (await call("list_secrets", account="staging"))["secrets"] == []
    listed = await call("list_secrets", account="staging", include_planned_deletion=True)
    assert [row["name"] for row in listed["secrets"]] == ["doomed"]


BAD = [
    ("create_secret", {"name": "has space", "secret_value": "x"}),
    ("create_secret", {"name": "ümlaut", "secret_value": "x"}),
    ("create_secret", {"name": "x" * 513, "secret_value": "x"}),
    ("create_secret", {"name": "x", "secret_value": ""}),
    ("create_secret", {"name": "x", "secret_value": "x" * 65_537}),
    ("create_secret", {"name": "x", "secret_value": "ü" * 32_769}),
    ("create_secret", {"name": "x", "secret_value": 7}),
    ("create_secret", {"name": "x", "secret_value": {"a": "b"}}),
    ("create_secret", {"name": "x"}),
    ("create_secret", {"name": "x", "secret_value": "y", "tags": ["a"]}),
    ("create_secret", {"name": "x", "secret_value": "y", "tags": {"aws:x": "1"}}),
    ("create_secret", {"name": "x", "secret_value": "y", "surprise": 1}),
    ("update_secret", {"secret_id": "x"}),
    ("delete_secret", {"secret_id": "x", "recovery_window_in_days": 6}),
    ("delete_secret", {"secret_id": "x", "recovery_window_in_days": 31}),
    ("delete_secret", {"secret_id": "x", "recovery_window_in_days": "7"}),
    ("delete_secret", {"secret_id": "x", "recovery_window_in_days": 7, "force_delete_without_recovery": True}),
    ("list_secrets", {"max_results": 0}),
    ("list_secrets", {"max_results": 501}),
    ("list_secrets", {"max_results": True}),
    ("describe_secret", {"secret_id": ""}),
    ("tag_secret", {"secret_id": "x", "tags": {}}),
    ("untag_secret", {"secret_id": "x", "tag_keys": []}),
    ("describe_secret", {"secret_id": "x", "role_arn": "arn:aws:iam::1:role/x"}),
    ("describe_secret", {"secret_id": "x", "region": "Frankfurt"}),
    ("describe_secret", {"secret_id": "x", "account": ""}),
    ("describe_secret", {"secret_id": "x", "profile": ""}),
    ("describe_secret", {"secret_id": "x", "role_arn": ""}),
    ("describe_secret", {"secret_id": "x", "region": ""}),
]


async def test_bad_input_is_refused_in_the_one_shape_before_any_aws_call(call: Any, aws: str) -> None:
    for tool, arguments in BAD:
        answer = await call(tool, **arguments)
        assert answer.is_error, (tool, arguments)
        assert answer.error_code == "InvalidParameter", (tool, arguments, answer.content)
        assert set(answer.content) >= {
            "success",
            "message",
            "next_step",
            "retryable",
            "request_id",
            "account",
            "region",
        }
        assert answer["success"] is False
    assert boto("secretsmanager").list_secrets()["SecretList"] == []


async def test_a_submitted_value_is_never_echoed(call: Any) -> None:
    hush = "hush-7f3a9c"
    for arguments in (
        {"name": "x y", "secret_value": hush},
        {"name": "x", "secret_value": [hush]},
        {"name": "x", "secret_value": hush + "x" * 70_000},
        {"name": "x", "secret_vaule": hush},
        {"name": "x", hush: "secret_value"},
        {"name": "x", "secret_value": "y", "tags": {hush: 7}},
    ):
        answer = await call("create_secret", **arguments)
        assert answer.is_error
        assert hush not in answer.text + json.dumps(answer.content), arguments


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=20, max_size=20))
async def test_any_string_comes_back_byte_for_byte(running_server: Server, values: list[str]) -> None:
    async with running_server.session() as call:
        await call("create_secret", name="any", secret_value="first", account="production")
        for value in values:
            await call("update_secret", secret_id="any", secret_value=value, account="production")
            assert (await call("get_secret_value", secret_id="any", account="production"))["secret_value"] == value


@pytest.mark.parametrize("value", ["1.10", "1e400", '{"a":1,"a":2}', " {} ", "null", "\u2028\x00\n", "x" * 65_536])
async def test_values_that_look_like_json_are_not_rewritten(call: Any, value: str) -> None:
    await call("create_secret", name="exact", secret_value=value, account="production")
    assert (await call("get_secret_value", secret_id="exact", account="production"))["secret_value"] == value
