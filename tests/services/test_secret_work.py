"""A day's work with secrets and no plaintext in it: made, copied, patched, compared, rotated, rolled back, audited."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference
from prometheus_client import generate_latest

from runtime import logs
from tests.conftest import Answer, Server, Session, boto, running, session_of
from tests.services import secret_day as day

AT: dict[str, Any] = {"account": "production"}
CANARY = day.CANARY


@pytest.fixture
async def call(aws: str, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with session_of("secrets,secrets-admin", wire) as session:
        yield session


def value(name: str, account: str = "production", **which: str) -> str:
    which = which or {"VersionStage": "AWSCURRENT"}
    return str(boto("secretsmanager", account).get_secret_value(SecretId=name, **which)["SecretString"])


class Recorder:
    """Everything that goes over the wire, both ways: paths, headers and bodies, events of a stream included."""

    def __init__(self, app: Any) -> None:
        self._app, self.seen = app, bytearray()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.seen += repr((scope["path"], scope["query_string"], scope["headers"])).encode()

        async def heard() -> Any:
            message = await receive()
            self.seen += message.get("body", b"")
            return message

        async def said(message: Any) -> None:
            self.seen += repr(message.get("headers", "")).encode() + message.get("body", b"")
            await send(message)

        await self._app(scope, heard, said)


async def test_a_whole_days_work_leaves_no_plaintext_anywhere(
    aws: str, wire: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("DEBUG", "json", "stdout")
    audit, told = tmp_path / "audit.log", list[str]()
    settings = {
        "TOOLSETS": "accounts,secrets,secrets-admin", "AUDIT_LOG": str(audit), "REVEAL": "0", "METRICS_PORT": "0",
        "ACCOUNT_DEVELOPMENT_ROLE_ARN": day.DEVELOPMENT,
    }  # fmt: skip
    day.seed()
    canaries = day.values_held()

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(f"{done} {total} {message}")

    with day.rotating():
        day.has_a_function("legacy/api")
        async with running(**settings) as server:
            wired = Recorder(server.web)
            async with Server(server.app, wired).session(*wire, progress_handler=progress) as session:

                async def work(tool: str, **arguments: Any) -> Answer:
                    answer = await session(tool, **arguments)
                    assert not answer.is_error, (tool, answer.content)
                    canaries.update(day.values_held())
                    return answer

                await day.unseen_day(work)
                await day.admin_day(work)
                await session("copy_secret", secret_id="day", to_account="staging", **AT)  # one that fails
                await session.client.read_resource("secret://production/us-east-1/legacy/api")
                names = {tool.name for tool in await session.client.list_tools()}
            measured = generate_latest(server.app.metrics._registry).decode()
    printed = capfd.readouterr()
    wire_text = bytes(wired.seen).decode(errors="replace")
    places = {
        "wire": wire_text, "progress": "\n".join(told), "audit": audit.read_text(), "metrics": measured,
        "stdout": printed.out, "stderr": printed.err,
    }  # fmt: skip
    assert not names & {"get_secret_value", "batch_get_secret_value"}
    assert len(canaries) >= 10
    assert any("rotating" in line for line in told), "a client that asked was told of the progress"
    assert all(place for name, place in places.items() if name != "stderr"), "each place has something to search"
    assert {name: day.hits(canaries, place) for name, place in places.items()} == dict.fromkeys(places, 0)


async def test_the_search_finds_what_is_shown_and_only_where_it_is_shown(
    aws: str, wire: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("DEBUG", "json", "stdout")
    audit = tmp_path / "audit.log"
    day.seed()
    async with running(AUDIT_LOG=str(audit)) as server:
        wired = Recorder(server.web)
        async with Server(server.app, wired).session(*wire) as session:
            await session("get_secret_value", secret_id="legacy/api", **AT)
            await session("get_secret_value", secret_id="legacy/binary", **AT)
            await session("update_secret", secret_id="legacy/0", secret_value=day.CANARY, **AT)
    printed = capfd.readouterr()
    canaries = {day.CANARY}
    assert day.hits(canaries, bytes(wired.seen).decode()) == 1
    assert [day.hits(canaries, place) for place in (audit.read_text(), printed.out, printed.err)] == [0, 0, 0]
    for form in day.forms(day.CANARY):
        assert day.hits(canaries, f"before {form} after") == 1


async def test_a_patch_keeps_the_bytes_of_what_it_does_not_touch(call: Session) -> None:
    text = '{\n  "user" : "a",\n  "rate": 1.10,\n  "big": 1e400\n}'
    await call("create_secret", name="exact", secret_value=text, **AT)
    patched = await call("patch_secret", secret_id="exact", set={"user": "b", "new": "c"}, rename={"rate": "r"}, **AT)
    assert value("exact") == '{\n  "user" : "b",\n  "r": 1.10,\n  "big": 1e400,\n  "new": "c"\n}'
    assert "secret_value" not in patched.content
    assert value("exact", VersionId=patched["from_version_id"]) == text


async def test_a_patch_of_a_version_that_moved_is_a_conflict_and_changes_nothing(
    call: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.secretsmanager.models import SecretsManagerBackend

    await call("create_secret", name="moved", secret_value='{"a": "1"}', **AT)
    stale = await call("patch_secret", secret_id="moved", set={"a": "2"}, version_id="0" * 36, **AT)
    assert stale.error_code == "VersionConflict"
    assert value("moved") == '{"a": "1"}'
    puts, sneaked = SecretsManagerBackend.put_secret_value, []

    def put_and_sneak(backend: Any, *args: Any, **kwargs: Any) -> Any:
        made = puts(backend, *args, **kwargs)
        if not sneaked:  # somebody else writes a current version between our read and our move
            sneaked.append(True)
            puts(backend, "moved", '{"a": "theirs"}', None, client_request_token=None, version_stages=["AWSCURRENT"])
        return made

    monkeypatch.setattr(SecretsManagerBackend, "put_secret_value", put_and_sneak)
    assert (await call("patch_secret", secret_id="moved", set={"a": "2"}, **AT)).error_code == "VersionConflict"
    assert value("moved") == '{"a": "theirs"}'


async def test_one_key_or_only_a_mask_of_a_value(call: Session) -> None:
    await call("create_secret", name="json", secret_value='{"a": "x", "rate": 1.10, "n": null}', **AT)
    assert (await call("get_secret_value", secret_id="json", key="rate", **AT))["secret_value"] == "1.10"
    assert (await call("get_secret_value", secret_id="json", key="a", **AT))["secret_value"] == "x"
    masked = await call("get_secret_value", secret_id="json", mask=True, **AT)
    assert "secret_value" not in masked.content
    assert masked["masked"] == {"type": "json", "length": 35, "keys": {"a": "string", "rate": "number", "n": "null"}}
    assert (await call("get_secret_value", secret_id="json", key="none", **AT)).error_code == "InvalidParameter"


async def test_binary_secrets_go_in_and_out(call: Session) -> None:
    encoded = base64.b64encode(b"\x00\xff").decode()
    await call("create_secret", name="binary", secret_binary=encoded, **AT)
    answer = await call("get_secret_value", secret_id="binary", **AT)
    assert (answer["secret_value"], answer["encoding"]) == (encoded, "base64")
    await call("copy_secret", secret_id="binary", to_name="binary2", **AT)
    assert (await call("compare_secrets", secret_id="binary", other_secret_id="binary2", **AT))["equal"] is True


async def test_a_copy_overwrites_only_when_asked_and_never_itself(call: Session) -> None:
    for account in ("production", "staging"):
        await call("create_secret", name="both", secret_value=account, account=account)
    assert (
        await call("copy_secret", secret_id="both", to_account="staging", **AT)
    ).error_code == "ResourceExistsException"
    assert value("both", "staging") == "staging"
    await call("copy_secret", secret_id="both", to_account="staging", overwrite=True, **AT)
    assert value("both", "staging") == "production"
    for itself in ({}, {"to_account": "production"}, {"to_region": "us-east-1"}):
        refused = await call(
            "copy_secret", secret_id="both", overwrite=True, **{**AT, **{"to_account": "production"}, **itself}
        )
        assert refused.error_code == "InvalidParameter"
    await call("delete_secret", secret_id="both", recovery_window_in_days=7, **AT)
    assert (await call("copy_secret", secret_id="both", to_name="x", **AT)).error_code == "InvalidRequestException"


async def test_custom_stages_and_rollback_to_a_named_version(call: Session) -> None:
    first = await call("create_secret", name="staged", secret_value="1", **AT)
    second = await call("update_secret", secret_id="staged", secret_value="2", **AT)
    at: dict[str, Any] = {"secret_id": "staged", "version_stage": "release", **AT}
    await call("update_secret_version_stage", **at, to_version_id=first["version_id"])
    moved = await call("update_secret_version_stage", **at, to_version_id=second["version_id"])
    assert moved["from_version_id"] == first["version_id"]
    stale = await call("update_secret_version_stage", **at, from_version_id=first["version_id"])
    assert stale.error_code == "VersionConflict"
    back = await call("rollback_secret", secret_id="staged", version_id=first["version_id"], **AT)
    assert (back["from_version_id"], value("staged")) == (second["version_id"], "1")
    own = await call("update_secret_version_stage", **{**at, "version_stage": "AWSCURRENT"}, to_version_id="0" * 36)
    assert own.error_code == "InvalidParameter"


async def test_policies_are_checked_before_they_are_put(call: Session) -> None:
    await call("create_secret", name="guarded", secret_value="x", **AT)

    def statement(effect: str, principal: Any, action: str = "secretsmanager:*", **more: Any) -> str:
        one = {"Effect": effect, "Principal": principal, "Action": action, "Resource": "*", **more}
        return json.dumps({"Version": "2012-10-17", "Statement": [one]})

    for wrong in ("{}", "no", statement("Allow", "*"), statement("Allow", {"AWS": "*"}), statement("Deny", "*")):
        refused = await call("put_secret_policy", secret_id="guarded", policy=wrong, **AT)
        assert refused.error_code == "InvalidParameter", wrong
    assert "policy" not in (await call("get_secret_policy", secret_id="guarded", **AT)).content
    right = statement("Allow", {"AWS": "arn:aws:iam::222222222222:root"}, "secretsmanager:GetSecretValue")
    await call("put_secret_policy", secret_id="guarded", policy=right, **AT)
    assert (await call("get_secret_policy", secret_id="guarded", **AT))["policy"] == json.loads(right)
    audit = await call("audit_secrets", **AT)
    found = {row["finding"]: row for row in audit["findings"]}
    assert "222222222222" in found["CrossAccountPolicy"]["detail"]
    await call("delete_secret_policy", secret_id="guarded", **AT)
    assert "policy" not in (await call("get_secret_policy", secret_id="guarded", **AT)).content


async def test_replicas_are_named_by_region_and_unknown_regions_refused(call: Session) -> None:
    await call("create_secret", name="spread", secret_value="x", **AT)
    assert (await call("replicate_secret", secret_id="spread", replicas=[{"region": "mars-1"}], **AT)).is_error
    made = await call("replicate_secret", secret_id="spread", replicas=[{"region": "eu-west-1"}], **AT)
    assert [row["region"] for row in made["replication_status"]] == ["eu-west-1"]
    gone = await call("remove_secret_replicas", secret_id="spread", regions=["eu-west-1"], **AT)
    assert gone["replication_status"] == []


BAD: list[tuple[str, dict[str, Any]]] = [
    ("create_secret", {"name": "x", "secret_value": "a", "generate": {}}),
    ("create_secret", {"name": "x", "generate": {"template": '{"a": "b"}'}}),
    ("create_secret", {"name": "x", "generate": {"template": "not json {{generate}}"}}),
    ("create_secret", {"name": "x", "generate": {"length": 0}}),
    ("create_secret", {"name": "x", "secret_binary": "%%%"}),
    ("patch_secret", {"secret_id": "text", "set": {"a": "b"}}),
    ("patch_secret", {"secret_id": "object"}),
    ("patch_secret", {"secret_id": "object", "remove": ["missing"]}),
    ("patch_secret", {"secret_id": "object", "rename": {"a": "b"}}),
    ("patch_secret", {"secret_id": "object", "set": {"a": "1"}, "remove": ["a"]}),
    ("patch_secret", {"secret_id": "object", "set": {"a": "x" * 65_536}}),
    ("compare_secrets", {"secret_id": "text"}),
    ("rotate_secret", {"secret_id": "text"}),
    ("rollback_secret", {"secret_id": "text"}),
    ("configure_rotation", {"secret_id": "text", "automatically_after_days": 30}),
    ("configure_rotation", {"secret_id": "text"}),
]


async def test_bad_input_is_coded_before_any_change(call: Session) -> None:
    await call("create_secret", name="text", secret_value="plain", **AT)
    await call("create_secret", name="object", secret_value='{"a": "1", "b": "2"}', **AT)
    for tool, arguments in BAD:
        extra = {"other_account": "production"} if tool == "compare_secrets" else {}
        answer = await call(tool, **arguments, **extra, **AT)
        assert answer.error_code == "InvalidParameter", (tool, arguments, answer.content)
    assert (value("text"), value("object")) == ("plain", '{"a": "1", "b": "2"}')


async def test_several_values_at_once_are_revealed_together_and_bounded(call: Session) -> None:
    for number in range(3):
        await call("create_secret", name=f"batch/{number}", secret_value=f"v{number}", **AT)
    answer = await call("batch_get_secret_value", secret_ids=["batch/0", "batch/2", "batch/none"], **AT)
    assert {row["name"]: row["secret_value"] for row in answer["secrets"]} == {"batch/0": "v0", "batch/2": "v2"}
    assert [row["secret_id"] for row in answer["errors"]] == ["batch/none"]
    assert (await call("batch_get_secret_value", secret_ids=["x"] * 21, **AT)).error_code == "InvalidParameter"


async def test_metadata_is_a_resource_by_a_name_with_slashes_spelled_either_way(call: Session) -> None:
    await call("create_secret", name="res/one", secret_value=CANARY, **AT)
    for spelled in ("res/one", "res%2Fone"):
        (content,) = await call.client.read_resource(f"secret://production/us-east-1/{spelled}")
        assert json.loads(content.text)["name"] == "res/one"
        assert CANARY not in content.text
    for missing in ("production/us-east-1/none", "nobody/us-east-1/res/one", "production/eu-mars-1/res/one"):
        with pytest.raises(MCPError):
            await call.client.read_resource(f"secret://{missing}")
    (template,) = await call.client.list_resource_templates()
    assert template.uri_template == "secret://{account}/{region}/{name*}"


async def test_accounts_regions_and_names_are_completed(call: Session) -> None:
    for name in ("res/one", "res/two", "other"):
        await call("create_secret", name=name, secret_value=CANARY, **AT)
    place = ResourceTemplateReference(type="ref/resource", uri="secret://{account}/{region}/{name*}")
    prompt = PromptReference(type="ref/prompt", name="promote_secret")
    here, at_from = {"account": "production", "region": "us-east-1"}, {"from_account": "production"}

    async def completed(ref: Any, argument: str, begun: str, context: dict[str, str] | None = None) -> list[str]:
        found = await call.client.complete(ref, {"name": argument, "value": begun}, context_arguments=context)
        return list(found.values)

    assert await completed(place, "account", "st") == ["staging"]
    assert await completed(prompt, "to_account", "") == ["production", "staging"]
    assert {"eu-west-1", "eu-west-2"} <= set(await completed(place, "region", "eu-"))
    assert sorted(await completed(place, "name", "res/", here)) == ["res/one", "res/two"]
    assert sorted(await completed(prompt, "secret_id", "", at_from)) == ["other", "res/one", "res/two"]
    assert await completed(place, "name", "", {"account": "staging", "region": "us-east-1"}) == []
    for wrong in ("!res", "a b"):
        assert await completed(place, "name", wrong, here) == []


async def test_the_usual_jobs_are_prompts_that_ask_for_no_value(call: Session) -> None:
    given = {
        "rotate_leaked_credential": {"secret_id": "app/db", "account": "production"},
        "promote_secret": {"secret_id": "app/db"},
        "find_secret_drift": {"name_prefix": "app/", "accounts": "production, staging"},
    }
    assert {prompt.name for prompt in await call.client.list_prompts()} == set(given)
    tools = {tool.name for tool in await call.client.list_tools()} | {"list_accounts", "lookup_events"}
    for name, arguments in given.items():
        (message,) = (await call.client.get_prompt(name, arguments)).messages
        text = message.content.text
        assert "get_secret_value" not in text
        assert all(value in text for value in arguments.values())
        assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)) <= {*tools, "resource_name", "with_metadata"}
