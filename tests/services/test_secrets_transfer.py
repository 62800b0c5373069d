"""Copying, comparing and patching: what is written where, what is left alone, and what is refused before any change."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, TypeAdapter, ValidationError

from errors import InvalidParameter
from services._json_members import edit, members, to_json, value_of
from services._secrets import SecretValue
from tests.conftest import Answer, Server, Session, boto, running
from tests.standin import Standin

AT: dict[str, Any] = {"account": "production"}
PRODUCTION, STAGING, BASE = "111111111111", "222222222222", "123456789012"


@pytest.fixture
async def call(running_server: Server) -> AsyncIterator[Session]:
    async with running_server.session() as session:
        yield session


def value(name: str, account: str | None = "production", region: str = "us-east-1", **which: str) -> str:
    which = which or {"VersionStage": "AWSCURRENT"}
    return str(boto("secretsmanager", account, region).get_secret_value(SecretId=name, **which)["SecretString"])


def stages(name: str, account: str = "production") -> dict[str, list[str]]:
    described = boto("secretsmanager", account).describe_secret(SecretId=name)
    return {version: held for version, held in described["VersionIdsToStages"].items() if held}


def names(account: str | None, region: str = "us-east-1") -> list[str]:
    return [row["Name"] for row in boto("secretsmanager", account, region).list_secrets()["SecretList"]]


async def test_a_copy_stays_where_no_to_argument_says_otherwise(call: Session) -> None:
    at: dict[str, Any] = {"account": "staging", "region": "eu-west-1"}
    await call("create_secret", name="home", secret_value="v", **at)
    for more, account, region in (
        ({"to_name": "other"}, STAGING, "eu-west-1"),
        ({"to_region": "us-west-2"}, STAGING, "us-west-2"),
        ({"to_account": "production"}, PRODUCTION, "eu-west-1"),
    ):
        copied = await call("copy_secret", secret_id="home", **at, **more)
        assert (copied["to_account_id"], copied["to_region"], copied["created"]) == (account, region, True)
    for region in ("us-east-1", "eu-west-1", "us-west-2"):
        assert names(None, region) == [], "the default credentials' account is nobody's destination by accident"
    same = await call("compare_secrets", secret_id="home", other_region="us-west-2", **at)
    assert same["equal"] is True
    assert same["other_arn"].startswith(f"arn:aws:secretsmanager:us-west-2:{STAGING}:secret:home-")


async def test_both_ends_of_a_copy_are_audited_under_the_names_that_the_call_gave(aws: str, tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    async with running(AUDIT_LOG=str(audit)) as server, server.session() as call:
        await call("create_secret", name="seen", secret_value="v", **AT)
        await call("copy_secret", secret_id="seen", to_account="staging", **AT)
    line = json.loads(audit.read_text().splitlines()[-1])
    assert (line["tool"], line["account"], line["account_id"]) == ("copy_secret", "production", PRODUCTION)
    (further,) = line["further_targets"]
    assert (further["account"], further["identity"][13:25]) == ("staging", STAGING)
    assert {"account", "to_account"} <= set(line["arguments"])
    assert line["arguments"]["account"] != line["arguments"]["to_account"]
    assert "to_region" not in line["arguments"], "it was not given"


async def test_neither_end_may_be_an_account_that_the_caller_may_not_use(aws: str, tmp_path: Path) -> None:
    audit, callers, token = tmp_path / "audit.log", tmp_path / "callers.toml", "token-of-the-limited-one"
    callers.write_text(
        f'[callers.limited]\ntoken_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
        'scopes = ["read", "write"]\naccounts = ["staging"]\n'
    )
    boto("secretsmanager", "staging").create_secret(Name="mine", SecretString="v")
    boto("secretsmanager", "production").create_secret(Name="mine", SecretString="v")
    settings = {"MCP_CALLERS_FILE": str(callers), "AUDIT_LOG": str(audit)}
    async with running(**settings) as server, server.session(token=token) as call:
        for tool, there in (("copy_secret", "to_account"), ("compare_secrets", "other_account")):
            for ends in ({"account": "staging", there: "production"}, {"account": "production", there: "staging"}):
                assert (await call(tool, secret_id="mine", **ends)).error_code == "AccountNotAllowed"
        default = await call("copy_secret", secret_id="mine", to_name="x", account="staging")
        assert not default.is_error, "what no to_ argument names stays in the caller's account"
    refused = [line for line in map(json.loads, audit.read_text().splitlines()) if line.get("outcome") == "refused"]
    assert refused
    assert {line["attempts"] for line in refused} == {0}, "AWS was not called"


async def test_a_copy_that_exists_already_is_refused_with_what_to_do(call: Session) -> None:
    for account in ("production", "staging"):
        await call("create_secret", name="both", secret_value=account, account=account)
    refused = await call("copy_secret", secret_id="both", to_account="staging", **AT)
    assert refused.error_code == "ResourceExistsException"
    assert "overwrite=true" in refused["next_step"]
    assert value("both", "staging") == "staging"


async def test_a_failure_names_the_end_where_it_happened(call: Session) -> None:
    for account in ("production", "staging"):
        await call("create_secret", name="both", secret_value=account, account=account)
    await call("create_secret", name="here", secret_value="v", **AT)
    for tool, arguments, account, region in (
        ("copy_secret", {"secret_id": "both", "to_account": "staging"}, "staging", "us-east-1"),
        ("copy_secret", {"secret_id": "none", "to_account": "staging"}, "production", "us-east-1"),
        ("compare_secrets", {"secret_id": "here", "other_region": "eu-west-1"}, "production", "eu-west-1"),
        ("compare_secrets", {"secret_id": "here", "other_account": "staging"}, "staging", "us-east-1"),
    ):
        failed = await call(tool, **arguments, **AT)
        assert failed["error_code"].startswith("Resource")
        assert (failed["account"], failed["region"]) == (account, region)
        assert f"({account} in {region})" in failed.text


async def test_an_overwrite_says_what_it_replaced_and_can_be_rolled_back(call: Session) -> None:
    old = {}
    for account in ("production", "staging"):
        made = await call("create_secret", name="both", secret_value=account, account=account)
        old[account] = made["version_id"]
    copied = await call("copy_secret", secret_id="both", to_account="staging", overwrite=True, **AT)
    assert (copied["created"], copied["replaced_version_id"]) == (False, old["staging"])
    assert stages("both", "staging") == {old["staging"]: ["AWSPREVIOUS"], copied["version_id"]: ["AWSCURRENT"]}
    again = await call("copy_secret", secret_id="both", to_account="staging", overwrite=True, **AT)
    assert (again["unchanged"], again["version_id"]) == (True, copied["version_id"]), "it held the value already"
    await call("rollback_secret", secret_id="both", account="staging")
    assert value("both", "staging") == "staging"


async def test_tags_description_and_key_go_along_whether_or_not_the_copy_exists(
    call: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"Team": "x", "Stage": "1"}
    await call("create_secret", name="rich", secret_value="v", description="what for", tags=tags, **AT)
    boto("secretsmanager", "production").tag_resource(
        SecretId="rich", Tags=[{"Key": "aws:cloudformation:stack-name", "Value": "s"}]
    )
    key = "alias/of-staging"
    await call("create_secret", name="rich", secret_value="old", tags={"Own": "y"}, account="staging")
    for place in ({"to_account": "staging"}, {"to_region": "eu-west-1"}):
        more = {"with_metadata": True, "overwrite": True, "to_kms_key_id": key}
        assert not (await call("copy_secret", secret_id="rich", **place, **more, **AT)).is_error
    there = await call("describe_secret", secret_id="rich", account="staging")
    assert (there["description"], there["kms_key_id"]) == ("what for", key)
    assert there["tags"] == {**tags, "Own": "y"}
    made = await call("describe_secret", secret_id="rich", region="eu-west-1", **AT)
    assert (made["description"], made["kms_key_id"], made["tags"]) == ("what for", key, tags)
    await call("copy_secret", secret_id="rich", to_name="plain", **AT)
    plain = await call("describe_secret", secret_id="plain", **AT)
    assert not {"description", "kms_key_id"} & set(plain.content), "only on request"
    assert plain["tags"] == {}


async def test_a_chosen_version_is_what_is_copied(call: Session) -> None:
    first = await call("create_secret", name="v", secret_value="1", **AT)
    await call("update_secret", secret_id="v", secret_value="2", **AT)
    by_id = await call("copy_secret", secret_id="v", to_name="by-id", version_id=first["version_id"], **AT)
    assert by_id["source_version_id"] == first["version_id"]
    await call("copy_secret", secret_id="v", to_name="by-stage", version_stage="AWSPREVIOUS", **AT)
    await call("copy_secret", secret_id="v", to_name="current", **AT)
    assert [value(name) for name in ("by-id", "by-stage", "current")] == ["1", "1", "2"]


async def test_a_secret_pending_deletion_is_neither_copied_nor_overwritten(call: Session) -> None:
    for account in ("production", "staging"):
        await call("create_secret", name="doomed", secret_value=account, account=account)
    await call("delete_secret", secret_id="doomed", recovery_window_in_days=7, account="staging")
    onto = await call("copy_secret", secret_id="doomed", to_account="staging", overwrite=True, **AT)
    assert onto.error_code == "InvalidRequestException"
    away = await call("copy_secret", secret_id="doomed", account="staging", to_region="eu-west-1")
    assert away.error_code == "InvalidRequestException"
    assert names("staging", "eu-west-1") == []
    await call("restore_secret", secret_id="doomed", account="staging")
    assert value("doomed", "staging") == "staging"


async def test_a_replica_takes_no_copy_but_gives_one(call: Session) -> None:
    manager = boto("secretsmanager", "production")
    manager.create_secret(Name="primary", SecretString="p", AddReplicaRegions=[{"Region": "eu-west-1"}])
    onto = await call("copy_secret", secret_id="primary", to_region="eu-west-1", overwrite=True, **AT)
    assert onto.error_code == "InvalidParameter"
    assert "replica" in onto["message"]
    await call("copy_secret", secret_id="primary", region="eu-west-1", to_account="staging", **AT)
    assert value("primary", "staging", "eu-west-1") == "p"


async def test_a_secret_is_never_copied_onto_itself(call: Session) -> None:
    made = await call("create_secret", name="self", secret_value="v", **AT)
    for spelled in ({}, {"to_account": "PRODUCTION"}, {"to_region": "us-east-1"}, {"to_name": "self"}):
        refused = await call("copy_secret", secret_id="self", overwrite=True, **spelled, **AT)
        assert refused.error_code == "InvalidParameter"
    assert list(stages("self")) == [made["version_id"]]


async def test_65536_bytes_are_copied_patched_and_compared_and_one_more_is_refused(call: Session) -> None:
    text = json.dumps({"a": "x" * (65_536 - 20), "b": "1234"}, separators=(",", ":"))
    text = text[:-2] + "5" * (65_536 - len(text)) + text[-2:]
    assert len(text) == 65_536
    await call("create_secret", name="full", secret_value=text, **AT)
    await call("copy_secret", secret_id="full", to_name="copy", **AT)
    assert value("copy") == text
    assert (await call("compare_secrets", secret_id="full", other_secret_id="copy", **AT))["equal"] is True
    patched = await call("patch_secret", secret_id="full", rename={"b": "c"}, **AT)
    assert not patched.is_error
    assert (await call("patch_secret", secret_id="full", rename={"c": "cc"}, **AT)).error_code == "InvalidParameter"
    assert list(stages("full")[patched["version_id"]]) == ["AWSCURRENT"]


# --- comparing -----------------------------------------------------------------------------------------------------


PAIRS: list[tuple[str, str, dict[str, Any]]] = [
    ('{"a": 1, "b": "x"}', '{"a": 2, "c": "x"}', {"different": ["a"], "added": ["b"], "missing": ["c"]}),
    ('{"a": 1}', '{"a": "1"}', {"different_type": ["a"]}),
    ('{"a": 1}', '{"a": 1.0}', {"different": ["a"]}),
    ('{"a": {"b": 1}}', '{"a": {"b": true}}', {"different": ["a"]}),
    ('{"a": 1e400}', '{"a": 1e401}', {"different": ["a"]}),
    ('{"a": [1, 2]}', '{"a": [1]}', {"different": ["a"]}),
    ('{"a": null}', '{"a": false}', {"different_type": ["a"]}),
    ('{"a": 1}', '{ "a":1 }', {}),
    ('{"a": "\\u00e9"}', '{"a": "é"}', {}),
    ('{"a": 1, "a": 2}', '{"a": 2}', {"kind": "string"}),
    ("[" * 60_000, '{"a": 2}', {"kind": "string"}),
    ("plain", "other", {"kind": "string", "other_kind": "string"}),
]


async def test_the_keys_that_differ_are_named(call: Session) -> None:
    nothing = {"different": [], "added": [], "missing": [], "different_type": [], "kind": "json", "other_kind": "json"}
    for number, (one, two, expected) in enumerate(PAIRS):
        await call("create_secret", name=f"one/{number}", secret_value=one, **AT)
        await call("create_secret", name=f"two/{number}", secret_value=two, **AT)
        pair = {"secret_id": f"one/{number}", "other_secret_id": f"two/{number}"}
        answer = await call("compare_secrets", **pair, **AT)
        assert {name: answer[name] for name in nothing} == {**nothing, **expected}, (one[:20], two[:20])
        assert answer["equal"] is False
        assert answer["fingerprint"] != answer["other_fingerprint"]


async def test_a_text_and_a_binary_are_told_apart(call: Session) -> None:
    await call("create_secret", name="text", secret_value="{}", **AT)
    await call("create_secret", name="bytes", secret_binary="e30=", **AT)
    answer = await call("compare_secrets", secret_id="text", other_secret_id="bytes", **AT)
    assert (answer["equal"], answer["kind"], answer["other_kind"]) == (False, "json", "binary")


async def test_a_fingerprint_is_worth_nothing_outside_its_answer(call: Session) -> None:
    for name in ("one", "two"):
        await call("create_secret", name=name, secret_value="hunter22", **AT)
    answers = [await call("compare_secrets", secret_id="one", other_secret_id="two", **AT) for _ in range(2)]
    prints = [answer["fingerprint"] for answer in answers]
    assert [answer["other_fingerprint"] for answer in answers] == prints
    assert prints[0] != prints[1], "one that stays could be held against guesses later"
    plain = {hashlib.new(name, b"hunter22").hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    assert not [digest for digest in plain for shown in prints if shown in digest]


async def test_versions_of_one_secret_are_compared_but_not_one_with_itself(call: Session) -> None:
    await call("create_secret", name="v", secret_value='{"a": "1"}', **AT)
    await call("update_secret", secret_id="v", secret_value='{"a": "2"}', **AT)
    answer = await call("compare_secrets", secret_id="v", other_version_stage="AWSPREVIOUS", **AT)
    assert answer["different"] == ["a"]
    for itself in ({}, {"other_account": "production"}, {"other_version_stage": "AWSCURRENT"}):
        assert (await call("compare_secrets", secret_id="v", **itself, **AT)).error_code == "InvalidParameter"


async def test_an_arn_names_the_same_secret_elsewhere_by_its_name(call: Session) -> None:
    arns = {}
    for account in ("production", "staging"):
        arns[account] = (await call("create_secret", name="app/db", secret_value="v", account=account))["arn"]
    answer = await call("compare_secrets", secret_id=arns["production"], other_account="staging", **AT)
    assert (answer["equal"], answer["arn"], answer["other_arn"]) == (True, arns["production"], arns["staging"])


# --- patching ------------------------------------------------------------------------------------------------------


async def test_a_patch_sets_values_of_any_json_type_and_echoes_none(aws: str, tmp_path: Path) -> None:
    audit = tmp_path / "audit.log"
    async with running(AUDIT_LOG=str(audit)) as server, server.session() as call:
        await call("create_secret", name="typed", secret_value='{"port": 5432,\r\n "h": "x"}', **AT)
        put = {
            "port": 65431234,
            "tls": True,
            "n": None,
            "rate": 1.5,
            "o": {"k": ["inner-value"]},
            "t": "5432",
            "q": '"',
        }
        patched = await call("patch_secret", secret_id="typed", set=put, **AT)
        assert json.loads(value("typed")) == {"h": "x", **put}
        assert value("typed").startswith('{"port": 65431234,\r\n "h": "x",')
        assert patched["set_keys"] == list(put)
    for shown in (patched.text, audit.read_text()):
        assert "65431234" not in shown
        assert "inner-value" not in shown


async def test_a_patch_that_changes_nothing_writes_no_version(call: Session) -> None:
    made = await call("create_secret", name="same", secret_value='{"a": "1"}', **AT)
    patched = await call("patch_secret", secret_id="same", set={"a": "1"}, **AT)
    assert (patched["unchanged"], patched["version_id"]) == (True, made["version_id"])
    assert list(stages("same")) == [made["version_id"]]


async def test_a_patch_generates_as_it_is_told_and_two_keys_differ(call: Session) -> None:
    await call("create_secret", name="made", secret_value='{"a": "1"}', **AT)
    rules = {"length": 12, "exclude_punctuation": True, "exclude_characters": "0O1lI"}
    await call("patch_secret", secret_id="made", generate_keys=["a", "b"], generate=rules, **AT)
    made = json.loads(value("made"))
    assert made["a"] != made["b"]
    for text in made.values():
        assert len(text) == 12
        assert text.isalnum()
        assert not set(text) & set("0O1lI")


async def test_a_patch_is_of_the_version_that_was_read(call: Session) -> None:
    made = await call("create_secret", name="read", secret_value='{"a": "1"}', **AT)
    await call("update_secret", secret_id="read", secret_value='{"a": "2"}', **AT)
    stale = await call("patch_secret", secret_id="read", set={"a": "3"}, version_id=made["version_id"], **AT)
    assert stale.error_code == "VersionConflict"
    assert value("read") == '{"a": "2"}'


async def test_two_patches_at_once_lose_neither_change(call: Session, running_server: Server) -> None:
    import anyio

    await call("create_secret", name="race", secret_value="{}", **AT)
    answers: list[Answer] = []

    async def patch(number: int) -> None:
        async with running_server.session() as session:
            answers.append(await session("patch_secret", secret_id="race", set={f"k{number}": "v"}, **AT))

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(patch, number)
    done = [key for answer in answers if not answer.is_error for key in answer["set_keys"]]
    assert done
    assert {answer.error_code for answer in answers if answer.is_error} <= {"VersionConflict"}
    assert sorted(json.loads(value("race"))) == sorted(done)
    assert not [held for held in stages("race").values() if any(stage.startswith("aws-ops") for stage in held)]


def test_half_a_surrogate_pair_is_no_text_and_is_refused_without_showing_it() -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(SecretValue, config=ConfigDict(hide_input_in_errors=True)).validate_python("hush-\ud83d")
    assert "Unicode" in str(refused.value)
    assert "hush" not in str(refused.value)
    assert to_json("half-\ud83d") == '"half-\\ud83d"', "JSON can say it"


BAD: list[tuple[str, dict[str, Any]]] = [
    ("patch_secret", {"secret_id": "text", "set": {"a": "b"}}),
    ("patch_secret", {"secret_id": "deep", "set": {"a": "b"}}),
    ("patch_secret", {"secret_id": "twice", "set": {"a": "b"}}),
    ("patch_secret", {"secret_id": "bom", "set": {"a": "b"}}),
    ("patch_secret", {"secret_id": "binary", "set": {"a": "b"}}),
    ("patch_secret", {"secret_id": "object"}),
    ("patch_secret", {"secret_id": "object", "set": {}}),
    ("patch_secret", {"secret_id": "object", "remove": ["missing"]}),
    ("patch_secret", {"secret_id": "object", "rename": {"missing": "x"}}),
    ("patch_secret", {"secret_id": "object", "rename": {"a": "b"}}),
    ("patch_secret", {"secret_id": "object", "rename": {"a": "c", "b": "c"}}),
    ("patch_secret", {"secret_id": "object", "set": {"c": "1"}, "rename": {"a": "c"}}),
    ("patch_secret", {"secret_id": "object", "set": {"a": "1"}, "remove": ["a"]}),
    ("patch_secret", {"secret_id": "object", "set": {"a": "1"}, "generate": {}}),
    ("patch_secret", {"secret_id": "object", "generate_keys": ["a"], "generate": {"template": '"{{generate}}"'}}),
    ("patch_secret", {"secret_id": "object", "set": {"a": "x" * 65_536}}),
    ("copy_secret", {"secret_id": "text", "to_name": "has space"}),
    ("copy_secret", {"secret_id": "text", "to_region": "eu-mars-1"}),
    ("compare_secrets", {"secret_id": "text"}),
]


async def test_bad_input_is_coded_before_any_change(call: Session) -> None:
    held = {
        "text": "plain", "object": '{"a": "1", "b": "2"}', "twice": '{"a": 1, "a": 2}', "bom": '\ufeff{"a": "1"}',
        "deep": '{"a": ' + "[" * 60_000 + "]" * 5_000 + "}",
    }  # fmt: skip
    for name, text in held.items():
        await call("create_secret", name=name, secret_value=text, **AT)
    await call("create_secret", name="binary", secret_binary="AP8=", **AT)
    for tool, arguments in BAD:
        answer = await call(tool, **arguments, **AT)
        code = "RegionNotAllowed" if "to_region" in arguments else "InvalidParameter"
        assert answer.error_code == code, (tool, arguments, answer.content)
        assert answer["retryable"] is False
    assert {name: value(name) for name in held} == held
    assert {name: len(stages(name)) for name in held} == dict.fromkeys(held, 1)
    assert sorted(names("production")) == sorted([*held, "binary"])


# --- when AWS fails midway -----------------------------------------------------------------------------------------


async def test_a_patch_whose_last_step_fails_is_done_and_says_so(faulty: Session, faults: Standin) -> None:
    await faulty("create_secret", name="steps", secret_value='{"a": "1"}', **AT)
    faults.fault("denied", operation="UpdateSecretVersionStage", after=1)  # after AWSCURRENT moved
    patched = await faulty("patch_secret", secret_id="steps", set={"a": "2"}, **AT)
    assert not patched.is_error
    assert value("steps") == '{"a": "2"}'


@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage"])
async def test_a_patch_step_whose_answer_is_lost_is_repeated_to_one_effect(
    faulty: Session, faults: Standin, operation: str
) -> None:
    made = await faulty("create_secret", name="lost", secret_value='{"a": "1"}', **AT)
    faults.fault("lost", operation=operation, times=1)
    patched = await faulty("patch_secret", secret_id="lost", set={"a": "2"}, **AT)
    assert not patched.is_error, patched.content
    assert value("lost") == '{"a": "2"}'
    assert stages("lost") == {made["version_id"]: ["AWSPREVIOUS"], patched["version_id"]: ["AWSCURRENT"]}
    tokens = {sent.client_token for sent in faults.calls("PutSecretValue")}
    assert len(tokens) == 1


async def test_a_patch_that_may_not_move_the_stage_leaves_the_current_version(faulty: Session, faults: Standin) -> None:
    made = await faulty("create_secret", name="denied", secret_value='{"a": "1"}', **AT)
    faults.fault("denied", operation="UpdateSecretVersionStage")
    patched = await faulty("patch_secret", secret_id="denied", set={"a": "2"}, **AT)
    assert patched.error_code == "AccessDeniedException"
    assert value("denied") == '{"a": "1"}'
    assert "AWSCURRENT" in stages("denied")[made["version_id"]]


async def test_an_update_applied_but_unanswered_is_told_by_its_version(faulty: Session, faults: Standin) -> None:
    await faulty("create_secret", name="told", secret_value="1", **AT)
    faults.fault("lost", operation="UpdateSecret", times=1)
    # AWS takes no UpdateSecret twice with one token, as moto would.
    faults.fault("error", operation="UpdateSecret", code="ResourceExistsException", times=1)
    updated = await faulty("update_secret", secret_id="told", secret_value="2", **AT)
    assert not updated.is_error, updated.content
    assert stages("told")[updated["version_id"]] == ["AWSCURRENT"]
    assert value("told") == "2"


async def test_a_copy_that_may_not_be_read_there_is_written_all_the_same(faulty: Session, faults: Standin) -> None:
    for account in ("production", "staging"):
        await faulty("create_secret", name="blind", secret_value=account, account=account)
    faults.fault("denied", operation="GetSecretValue", account=STAGING)
    copied = await faulty("copy_secret", secret_id="blind", to_account="staging", overwrite=True, **AT)
    assert not copied.is_error, copied.content
    faults.clear()
    assert value("blind", "staging") == "production"


async def test_a_value_that_was_read_is_taken_out_of_awss_error_as_if_it_had_been_submitted(
    faulty: Session, faults: Standin
) -> None:
    boto("secretsmanager", "production").create_secret(Name="loud", SecretString='{"password": "hush-8d1f"}')
    says = "rejected: hush-8d1f"
    faults.fault("error", operation="CreateSecret", code="InvalidParameterException", message=says)
    faults.fault("error", operation="PutSecretValue", code="InvalidParameterException", message=says)
    for tool, more in (("copy_secret", {"to_name": "x"}), ("patch_secret", {"set": {"a": "b"}})):
        answer = await faulty(tool, secret_id="loud", **more, **AT)
        assert answer.error_code == "InvalidParameterException"
        assert "hush" not in answer.text + json.dumps(answer.content)


# --- the text that is edited ---------------------------------------------------------------------------------------

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, JSON, max_size=6), st.sampled_from([None, 2, 4]), st.data())
def test_an_edit_is_the_same_as_on_the_parsed_object(
    before: dict[str, Any], indent: int | None, data: st.DataObject
) -> None:
    text = json.dumps(before, indent=indent, ensure_ascii=data.draw(st.booleans()))
    assert [member.key for member in members(text)] == list(before)
    removed = data.draw(st.sets(st.sampled_from(sorted(before)))) if before else set[str]()
    put = {key: item for key, item in data.draw(st.dictionaries(KEYS, JSON, max_size=3)).items() if key not in removed}
    edited = edit(text, put={key: to_json(item) for key, item in put.items()}, rename={}, remove=removed)
    assert json.loads(edited) == {**{k: v for k, v in before.items() if k not in removed}, **put}
    assert edit(text, put={}, rename={}, remove=[]) == text


@pytest.mark.parametrize(
    ("text", "change", "after"),
    [
        ("{ }", {"put": {"a": "1"}}, '{"a":1}'),
        ('{"a" : 1e400 ,"b": "\\u0041"}', {"rename": {"a": "b", "b": "a"}}, '{"b" : 1e400 ,"a": "\\u0041"}'),
        ('{\r\n\t"a": 1,\r\n\t"b": 2\r\n}', {"remove": ["a"]}, '{\r\n\t"b": 2\r\n}'),
        ('{"\\u0061": 1}', {"put": {"a": "2"}}, '{"\\u0061": 2}'),
        ('{"a": {"a": 1.10}}', {"put": {"b": "[]"}}, '{"a": {"a": 1.10},"b": []}'),
    ],
)
def test_what_an_edit_does_not_touch_keeps_its_bytes(text: str, change: dict[str, Any], after: str) -> None:
    assert edit(text, **{"put": {}, "rename": {}, "remove": [], **change}) == after


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[]", "x", '"a"', "", '\ufeff{"a": 1}', "[" * 60_000])
def test_what_is_no_plain_object_is_not_edited(text: str) -> None:
    with pytest.raises(InvalidParameter):
        value_of(text, "a")
