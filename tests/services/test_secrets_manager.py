"""Secrets Manager's tools, over every wire, against two accounts."""

from __future__ import annotations

import base64
import json
import re
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services._secrets import Generate
from tests.conftest import Server, boto, running

ONE_WIRE = pytest.mark.parametrize("wire", [("http", "auto")], ids=["http-auto"])
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


async def test_null_is_left_out_and_a_whole_number_may_have_a_point(running_server: Server) -> None:
    async with running_server.session() as call:
        for plain in ({"max_results": 3.0}, {"max_results": None, "include_planned_deletion": None, "account": None}):
            assert not (await call("list_secrets", **plain)).is_error
        assert (await call("tag_secret", secret_id="x", tags=None)).error_code == "InvalidParameter"
        for wrong in (3.5, "3", True, 501.0):
            answer = await call("list_secrets", max_results=wrong)
            assert answer.error_code == "InvalidParameter"
            assert answer.text.startswith("InvalidParameter (us-east-1): max_results: is ")


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
    ("untag_secret", {"secret_id": "x", "tag_keys": ["aws:cloudformation:stack-name"]}),
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


# What each tool needs besides the secret's id, so that nothing but the place is wrong.
NEEDED: dict[str, dict[str, Any]] = {
    "update_secret": {"description": "d"},
    "tag_secret": {"tags": {"a": "b"}},
    "untag_secret": {"tag_keys": ["a"]},
    "copy_secret": {"to_name": "x"},
    "compare_secrets": {"other_secret_id": "x"},
    "patch_secret": {"set": {"a": "b"}},
    "update_secret_version_stage": {"version_stage": "mine", "to_version_id": "0" * 36},
    "configure_rotation": {
        "automatically_after_days": 30,
        "rotation_lambda_arn": "arn:aws:lambda:us-east-1:111111111111:function:rotate",
    },
    "replicate_secret": {"replicas": [{"region": "us-west-2"}]},
    "remove_secret_replicas": {"regions": ["us-west-2"]},
    "put_secret_policy": {
        "policy": '{"Statement": [{"Effect": "Allow", "Action": "*", "Principal": {"AWS": "222222222222"}}]}'
    },
}


async def test_no_tool_answers_for_an_arn_of_another_account_or_region(aws: str, wire: tuple[str, str]) -> None:
    places = {("staging", "us-east-1"): "account", ("production", "eu-west-1"): "region"}
    for account, region in (*places, ("production", "us-east-1")):
        boto("secretsmanager", account, region).create_secret(Name="app/db", SecretString='{"of": "x"}')
    async with running(TOOLSETS="all") as server, server.session(*wire) as call:
        tools = {tool.name: tool for tool in await call.client.list_tools()}
        named = {name: "secret_id" for name, tool in tools.items() if "secret_id" in tool.input_schema["properties"]}
        assert len(named) > 20
        for tool, argument in {**named, "batch_get_secret_value": "secret_ids"}.items():
            for (account, region), what in places.items():
                arn = boto("secretsmanager", account, region).describe_secret(SecretId="app/db")["ARN"]
                given: Any = [arn] if argument == "secret_ids" else arn
                more = {**NEEDED.get(tool, {}), argument: given, "account": "production"}
                answer = await call(tool, **more)
                assert answer.error_code == "InvalidParameter", (tool, answer.content)
                assert what in answer["next_step"], (tool, answer.content)
                if tool == "delete_secret":
                    forced = await call(tool, force_delete_without_recovery=True, **more)
                    assert forced.error_code == "InvalidParameter"


@ONE_WIRE
async def test_an_arn_works_in_its_own_place_and_a_foreign_one_is_awss_to_decide(call: Any) -> None:
    made = await call("create_secret", name="app/db", secret_value="v", account="production", region="eu-west-1")
    here = await call("get_secret_value", secret_id=made["arn"], account="production", region="eu-west-1")
    assert here["secret_value"] == "v"
    shared = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:theirs-AbCdEf"
    answer = await call("describe_secret", secret_id=shared, account="production", region="eu-west-1")
    assert answer.error_code == "ResourceNotFoundException", "a resource policy might have let us in"


@ONE_WIRE
async def test_secrets_that_aws_services_own_are_found_by_their_names(call: Any) -> None:
    boto("secretsmanager", "staging").create_secret(Name="rds!db-1", SecretString="x")
    assert (await call("describe_secret", secret_id="rds!db-1", account="staging"))["name"] == "rds!db-1"
    listed = await call("list_secrets", name_prefix="rds!", account="staging")
    assert [row["name"] for row in listed["secrets"]] == ["rds!db-1"]
    assert (await call("create_secret", name="rds!x", secret_value="v", account="staging")).error_code == (
        "InvalidParameter"
    )


@ONE_WIRE
async def test_a_prefix_means_the_beginning_of_the_name_and_nothing_else(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.secretsmanager import models

    for name in ("app/db", "App/db", "my/app", "app"):
        boto("secretsmanager", "staging").create_secret(Name=name, SecretString="x")
    wider = {**models._filter_functions, "name": lambda secret, names: names[0] in secret.name.lower()}
    for filters in (models._filter_functions, wider):
        monkeypatch.setattr(models, "_filter_functions", filters)
        for size in (1, 100):
            names, token = list[str](), {}
            while token is not None:
                page = await call("list_secrets", name_prefix="app", max_results=size, account="staging", **token)
                names += [row["name"] for row in page["secrets"]]
                token = {"next_token": page["next_token"]} if page["truncated"] else None
            assert sorted(names) == ["app", "app/db"]
    for prefix in ("!app", "a b", "ä", ""):
        assert (await call("list_secrets", name_prefix=prefix, account="staging")).error_code == "InvalidParameter"


@ONE_WIRE
async def test_a_change_of_description_or_key_alone_writes_no_version(call: Any) -> None:
    made = await call("create_secret", name="meta", secret_value="v", account="staging")
    for change in ({"description": "d"}, {"kms_key_id": "alias/k"}, {"description": "e", "kms_key_id": "alias/l"}):
        updated = await call("update_secret", secret_id="meta", account="staging", **change)
        assert updated.content.get("version_id") in (None, made["version_id"])
    described = await call("describe_secret", secret_id="meta", account="staging")
    assert list(described["version_ids_to_stages"]) == [made["version_id"]]
    assert (described["description"], described["kms_key_id"]) == ("e", "alias/l")
    assert (await call("get_secret_value", secret_id="meta", account="staging"))["secret_value"] == "v"


@ONE_WIRE
async def test_no_tags_are_tags_too_when_a_secret_is_made(call: Any) -> None:
    made = await call("create_secret", name="bare", secret_value="v", tags={}, description="", account="staging")
    assert not made.is_error, made.content
    many = {f"k{number}": "v" for number in range(51)}
    for tool, name in (("create_secret", {"name": "x", "secret_value": "v"}), ("tag_secret", {"secret_id": "bare"})):
        assert (await call(tool, tags=many, account="staging", **name)).error_code == "InvalidParameter"


@ONE_WIRE
async def test_values_that_are_nested_deep_fail_like_any_other(call: Any) -> None:
    await call("create_secret", name="deep", secret_value="[" * 60_000, account="staging")
    again = await call("create_secret", name="deep", secret_value="[" * 60_000, account="staging")
    assert again.error_code == "ResourceExistsException"
    masked = await call("get_secret_value", secret_id="deep", mask=True, account="staging")
    assert masked["masked"] == {"type": "string", "length": 60_000}
    assert (await call("get_secret_value", secret_id="deep", key="a", account="staging")).error_code == (
        "InvalidParameter"
    )


@ONE_WIRE
async def test_a_mask_tells_type_and_length_and_nothing_of_the_value(call: Any) -> None:
    held = '{"n": 1.10, "s": "hush-1", "o": {"k": "hush-2"}, "l": [1], "b": true, "z": null}'
    await call("create_secret", name="masked", secret_value=held, account="staging")
    masked = (await call("get_secret_value", secret_id="masked", mask=True, account="staging"))["masked"]
    types = {"n": "number", "s": "string", "o": "object", "l": "array", "b": "boolean", "z": "null"}
    assert masked == {"type": "json", "length": len(held), "keys": types}
    for key, kind in types.items():
        one = await call("get_secret_value", secret_id="masked", key=key, mask=True, account="staging")
        assert one["masked"]["type"] == kind
        assert "hush" not in one.text
    assert (await call("get_secret_value", secret_id="masked", key="n", account="staging"))["secret_value"] == "1.10"
    assert (await call("get_secret_value", secret_id="masked", key="o", account="staging"))["secret_value"] == (
        '{"k": "hush-2"}'
    )
    await call("create_secret", name="bytes", secret_binary="AP8=", account="staging")
    masked = (await call("get_secret_value", secret_id="bytes", mask=True, account="staging"))["masked"]
    assert masked == {"type": "binary", "length": 2}


@ONE_WIRE
async def test_bytes_come_in_the_one_base64_that_they_would_go_out_in(call: Any) -> None:
    for encoded in ["AP9=", "AP8", "A P8=", "AP8=\n", "AP-_", "ä", "", base64.b64encode(b"x" * 65_537).decode()]:
        answer = await call("create_secret", name="bytes", secret_binary=encoded, account="staging")
        assert answer.error_code == "InvalidParameter", encoded[:9]
    assert (await call("list_secrets", account="staging"))["secrets"] == []


async def test_65536_bytes_of_binary_go_in_and_out(running_server: Server) -> None:
    encoded = base64.b64encode(b"\xff" * 65_536).decode()
    async with running_server.session() as call:
        await call("create_secret", name="bytes", secret_binary=encoded, account="staging")
        assert (await call("get_secret_value", secret_id="bytes", account="staging"))["secret_value"] == encoded


# --- generated in place --------------------------------------------------------------------------------------------


def held(name: str) -> str:
    return str(boto("secretsmanager", "staging").get_secret_value(SecretId=name)["SecretString"])


@pytest.mark.parametrize(
    ("rules", "alphabet", "length"),
    [
        ({}, "", 32),
        ({"length": 4}, "", 4),
        ({"length": 4096, "exclude_punctuation": True}, string.ascii_letters + string.digits, 4096),
        (
            {"exclude_lowercase": True, "exclude_uppercase": True, "exclude_punctuation": True, "length": 9},
            string.digits,
            9,
        ),
        (
            {"exclude_characters": string.punctuation + string.ascii_letters + "01234", "length": 8},
            "56789",
            8,
        ),
    ],
)
async def test_a_value_is_made_of_the_characters_asked_for(
    running_server: Server, rules: dict[str, Any], alphabet: str, length: int
) -> None:
    async with running_server.session() as call:
        made = await call("create_secret", name="made", generate=rules, account="staging")
        assert not made.is_error, made.content
        assert held("made") not in made.text
        assert len(held("made")) == length
        assert not alphabet or set(held("made")) <= set(alphabet)


@pytest.mark.parametrize(
    ("length", "rules", "each"),
    [
        (32, {}, True),
        (1, {}, False),
        (3, {}, False),
        (5, {}, True),
        (2, {"exclude_punctuation": True, "exclude_numbers": True, "exclude_uppercase": True}, True),
        (32, {"exclude_characters": "0123456789"}, True),
    ],
)
def test_aws_is_asked_for_each_class_only_where_they_all_fit(length: int, rules: dict[str, Any], each: bool) -> None:
    request = Generate(length=length, **rules).request()
    assert request["RequireEachIncludedType"] is each
    assert request["ExcludeNumbers"] is ("exclude_numbers" in rules or "exclude_characters" in rules)


async def test_a_template_keeps_its_bytes_and_each_placeholder_gets_a_value_of_its_own(
    running_server: Server,
) -> None:
    template = (
        '{"user": "app",\r\n "a": "{{generate}}", "deep": {"list": ["{{generate}}"]}, "rate": 1.10,\n'
        '  "url": "postgres://app:{{generate}}@h:5432/db?x=\\u0041", "big": 1e400}'
    )
    rules = {"length": 20, "exclude_punctuation": True, "template": template}
    async with running_server.session() as call:
        for tool, name in (("create_secret", {"name": "made"}), ("update_secret", {"secret_id": "made"})):
            await call(tool, generate=rules, account="staging", **name)
            first, *parts = re.split(r"\{\{generate\}\}", template)
            made = re.fullmatch("(.{20})".join(map(re.escape, [first, *parts])), held("made"), re.DOTALL)
            assert made is not None
            assert len(set(made.groups())) == 3
    assert json.loads(held("made"))["deep"]["list"] == [made[2]]


async def test_a_generated_value_is_escaped_as_json_needs_it(running_server: Server) -> None:
    rules = {
        "length": 400, "exclude_numbers": True, "exclude_lowercase": True, "exclude_uppercase": True,
        "template": '{"a": "{{generate}}"}',
    }  # fmt: skip
    async with running_server.session() as call:
        await call("create_secret", name="made", generate=rules, account="staging")
    made = json.loads(held("made"))["a"]
    assert len(made) == 400
    assert {'"', "\\"} <= set(made)


UNMADE: list[dict[str, Any]] = [
    {"length": 0},
    {"length": 4097},
    {"length": "8"},
    {"surprise": True},
    {
        "exclude_lowercase": True, "exclude_uppercase": True, "exclude_numbers": True,
        "exclude_characters": string.punctuation,
    },
    {"template": "{{generate}}"},
    {"template": '{"a": "b"}'},
    {"template": '{"a": {{generate}}}'},
    {"template": '{"{{generate}}": "a"}'},
    {"template": '{"a": {"x{{generate}}": "{{generate}}"}}'},
    {"template": json.dumps(["{{generate}}"] * 51)},
    {"template": "[" * 60_000 + "{{generate}}"},
    {"template": json.dumps(["{{generate}}", "x" * 65_536])},
]  # fmt: skip


@ONE_WIRE
async def test_what_cannot_be_generated_is_refused_before_any_change(call: Any) -> None:
    for rules in UNMADE:
        answer = await call("create_secret", name="made", generate=rules, account="staging")
        assert answer.error_code == "InvalidParameter", rules
    assert (await call("list_secrets", account="staging"))["secrets"] == []
