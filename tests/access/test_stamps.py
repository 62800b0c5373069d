"""Who CloudTrail will see: session names, stamps and session policies, as STS was asked for them."""

from __future__ import annotations

import hashlib
import json
import logging.config
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

import server as front_door
import services
from access.callers import Caller
from tests.conftest import ROLES, TOKEN, Server, running, server_environment, standin_alone
from tests.standin import Call, Standin

# As callers files and issuers spell them; the last was chosen to look like what "a b" is mapped to.
NAMES = [
    "alice", "bob@example.com", "a b", "a-b", "a|b", "auth0|64f0c3", "jürgen", "x" * 56, "x" * 57,
    f"a-b-{hashlib.sha256(b'a b').hexdigest()[:16]}",
]  # fmt: skip
MORE_NAMES = [
    "Alice", "a_b", "google-oauth2|64f0c3", "j\u0075\u0308rgen", "山田", "https://idp.example/users/42", "x" * 58,
    "system:serviceaccount:ops:agent", "x" * 56 + " ", "é" * 200, "é" * 201, "64f0c3d2-7c1b-4a51-9e4e-2f1c8a5d3b90",
]  # fmt: skip
LEGAL = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
PROFILES = """
[profile chained]
role_arn = arn:aws:iam::444444444444:role/chained
credential_source = Environment
"""


def token_of(name: str) -> str:
    return hashlib.sha256(b"token of " + name.encode()).hexdigest()


def table(name: str) -> str:
    digest = hashlib.sha256(token_of(name).encode()).hexdigest()
    scopes = '["read", "reveal", "write", "destroy"]'
    return f"[callers.{json.dumps(name)}]\ntoken_sha256 = '{digest}'\nscopes = {scopes}\n"


@pytest.fixture(scope="module")
def running_standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    directory = tmp_path_factory.mktemp("stamps")
    (directory / "config").write_text(PROFILES)
    (directory / "callers.toml").write_text("\n".join(map(table, NAMES)))
    files = {"AWS_CONFIG_FILE": str(directory / "config"), "MCP_CALLERS_FILE": str(directory / "callers.toml")}
    with standin_alone(canned=True, **files) as started:
        yield started


@pytest.fixture
def standin(running_standin: Standin) -> Standin:
    running_standin.reset()
    return running_standin


@pytest.fixture
async def start(standin: Standin) -> AsyncIterator[Callable[..., Any]]:
    """Start a server that knows all the callers and has assumed no role yet."""
    async with AsyncExitStack() as stack:

        async def run(**environment: str) -> Server:
            file = os.environ["MCP_CALLERS_FILE"]
            settings = {
                "MCP_CALLERS_FILE": file,
                "ACCOUNT_PRODUCTION_EXTERNAL_ID": "ours:42",
                "ALLOWED_PROFILES": "chained",
                "ALLOWED_ROLE_ARNS": ",".join([*ROLES.values(), "arn:aws:iam::444444444444:role/chained"]),
                **environment,
            }
            return await stack.enter_async_context(running(**settings))

        yield run


async def describe(server: Server, name: str | None, **target: str) -> None:
    token = TOKEN if name is None else token_of(name)
    async with server.session(token=token) as call:
        answer = await call("describe_secret", secret_id="app/db", **(target or {"account": "staging"}))
        assert answer["success"], answer.text


def assumed(standin: Standin, role_arn: str = ROLES["staging"]) -> list[Call]:
    return [call for call in standin.calls("AssumeRole") if call.role_arn == role_arn]


async def test_the_session_name_is_the_callers_and_no_two_callers_ever_share_a_session(
    start: Callable[..., Any], standin: Standin
) -> None:
    server = await start()
    async with anyio.create_task_group() as tasks:
        for name in NAMES * 2:
            tasks.start_soon(describe, server, name)
    sessions, signed = assumed(standin), standin.calls("DescribeSecret")
    expected = {Caller(name).session_name for name in NAMES}
    assert len(sessions) == len(expected) == len(NAMES)
    assert {call.session_name for call in sessions} == {call.signer_session_name for call in signed} == expected
    assert len({call.access_key for call in signed}) == len(NAMES)


def test_odd_names_become_legal_and_distinct_session_names_and_plain_ones_stay_readable() -> None:
    names = {name: Caller(name).session_name for name in [*NAMES, *MORE_NAMES]}
    assert [name for name, session_name in names.items() if not LEGAL.fullmatch(session_name)] == []
    assert len(set(names.values())) == len(NAMES) + len(MORE_NAMES)
    for plain in ("alice", "Alice", "bob@example.com", "a-b", "x" * 56, "64f0c3d2-7c1b-4a51-9e4e-2f1c8a5d3b90"):
        assert names[plain] == f"aws-ops-{plain}"
    assert names["auth0|64f0c3"].startswith("aws-ops-auth0-64f0c3-")


async def test_nothing_is_stamped_unless_it_is_asked_for_and_a_role_is_assumed_once(
    start: Callable[..., Any], standin: Standin
) -> None:
    server = await start(ROLE_SESSION_SECONDS="1800")
    for _ in range(2):
        await describe(server, "alice")
    (session,) = assumed(standin)
    assert (session.source_identity, session.tags, session.transitive_tag_keys) == (None, {}, [])
    assert (session.policy, session.policy_arns, session.external_id) == (None, [], None)
    assert session.duration_seconds == 1800


async def test_the_external_id_is_sent_however_the_account_is_spelled(
    start: Callable[..., Any], standin: Standin
) -> None:
    for target in ({"account": "production"}, {"role_arn": ROLES["production"]}):
        await describe(await start(), "alice", **target)
    first, second = assumed(standin, ROLES["production"])
    assert first.external_id == second.external_id == "ours:42"


async def test_stamps_carry_the_caller_along_role_chains(start: Callable[..., Any], standin: Standin) -> None:
    server = await start(STAMP_CALLER="1")
    for name in ("alice", "auth0|64f0c3", None):
        await describe(server, name)
    sessions = assumed(standin)
    names = ["aws-ops-alice", Caller("auth0|64f0c3").session_name, "aws-ops-default"]
    assert [call.session_name for call in sessions] == names
    assert [call.source_identity for call in sessions] == names
    assert [call.tags for call in sessions] == [{"aws-ops-caller": name} for name in names]
    assert all(call.transitive_tag_keys == ["aws-ops-caller"] for call in sessions)


async def test_a_profile_that_assumes_a_role_carries_the_caller_too(
    start: Callable[..., Any], standin: Standin
) -> None:
    server = await start(STAMP_CALLER="1")
    for name in ("alice", "a b"):
        await describe(server, name, profile="chained")
    names = [call.session_name for call in assumed(standin, "arn:aws:iam::444444444444:role/chained")]
    assert names == ["aws-ops-alice", Caller("a b").session_name]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "describe_secret": {"secret_id": "app/db"},
    "list_secrets": {},
    "get_secret_value": {"secret_id": "app/db"},
    "tag_secret": {"secret_id": "app/db", "tags": {"a": "b"}},
    "update_secret": {"secret_id": "app/db", "secret_value": "x"},
}


async def test_a_reading_tool_has_a_session_that_can_do_nothing_else(
    start: Callable[..., Any], standin: Standin
) -> None:
    server = await start(SESSION_POLICIES="1", STAMP_CALLER="1")
    async with server.session(token=token_of("alice")) as call:
        for tool, arguments in [*ARGUMENTS.items()] * 2:
            assert (await call(tool, **arguments, account="staging"))["success"]
    sessions = assumed(standin)
    policies = [call.policy for call in sessions]
    assert [json.loads(policy or "null") for policy in policies] == [
        allowing("secretsmanager:DescribeSecret"), allowing("secretsmanager:ListSecrets"), None,
    ]  # fmt: skip
    assert {call.session_name for call in sessions} == {call.source_identity for call in sessions} == {"aws-ops-alice"}
    keys: dict[str, set[str | None]] = {}
    for seen in standin.calls(service="secretsmanager"):
        keys.setdefault(seen.operation, set()).add(seen.access_key)
    changing = keys["GetSecretValue"] | keys["TagResource"] | keys["UpdateSecret"]
    assert [len(found) for found in (changing, keys["DescribeSecret"], keys["ListSecrets"])] == [1, 1, 1]
    assert not (keys["DescribeSecret"] | keys["ListSecrets"]) & changing


CHANGING = re.compile(
    r".*[*?].*|[\w-]+:(Put|Create|Update|Delete|Tag|Untag|Restore|Attach|Detach|Start|Stop|Run|Pass).*"
)


def allowing(*actions: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


async def test_every_reading_tool_has_a_policy_of_just_its_actions_and_no_other_tool_has_one(
    start: Callable[..., Any],
) -> None:
    server = await start(SESSION_POLICIES="1", TOOLSETS="all")
    for tool in services.tools(server.app.desk):
        policy = tool.spec.session_policy
        if tool.spec.scope.value != "read":
            assert policy is None, tool.name
        elif tool.spec.actions:
            assert policy is not None
            assert json.loads(policy) == allowing(*tool.spec.actions), tool.name
            assert not any(CHANGING.fullmatch(action) for action in tool.spec.actions), tool.name
            assert len(policy) <= 2048
        else:
            assert json.loads(policy or "")["Statement"][0]["Effect"] == "Deny", tool.name


@pytest.fixture
def doctor(standin: Standin, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, dict[str, str]]]]:
    """Run `--check` with two accounts; return its status and its lines by what they are about."""
    with pytest.MonkeyPatch.context() as patch:

        def run(**environment: str) -> tuple[int, dict[str, str]]:
            patch.delenv("MCP_CALLERS_FILE", raising=False)
            for name, value in server_environment(**environment).items():
                patch.setenv(name, value)
            status = front_door.main(["--check"])
            lines = capsys.readouterr().out.splitlines()
            return status, {line[6:].partition(":")[0]: line for line in lines}

        yield run
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}})


# The stand-in's rules know an AssumeRole by its role alone, not by its stamps. So they count: of each account the
# doctor asks plainly first, then with the source identity alone, then with the tags alone.
DENIALS = [
    ({"after": 1, "times": 1}, ["sts:SetSourceIdentity"]),
    ({"after": 2, "times": 1}, ["sts:TagSession"]),
    ({"after": 1}, ["sts:SetSourceIdentity", "sts:TagSession"]),
]


@pytest.mark.parametrize(("rule", "missing"), DENIALS, ids=lambda value: "+".join(value) if "sts" in str(value) else "")
def test_the_doctor_names_the_permission_that_a_trust_policy_lacks_for_the_stamps(
    doctor: Callable[..., tuple[int, dict[str, str]]], standin: Standin, rule: dict[str, int], missing: list[str]
) -> None:
    fault = standin.fault("denied", operation="AssumeRole", role_arn=ROLES["staging"], **rule)
    status, lines = doctor(STAMP_CALLER="1")
    assert status == 1
    assert lines["account staging"].startswith("FAIL")
    for action in ("sts:SetSourceIdentity", "sts:TagSession"):
        assert (action in lines["account staging"]) == (action in missing)
    assert lines["account production"].startswith("ok")
    denied = [call for call in assumed(standin) if call.fault == fault]
    asked = [action for call in denied for action in asked_for(call)]
    assert asked == missing
    plain = [call for call in assumed(standin) if not asked_for(call)]
    assert len(plain) == 1


def asked_for(call: Call) -> list[str]:
    """The permissions that an AssumeRole's stamps need."""
    return ["sts:SetSourceIdentity"] * (call.source_identity is not None) + ["sts:TagSession"] * bool(call.tags)


def test_the_doctor_is_content_with_roles_that_take_the_stamps_and_asks_for_none_unless_they_are_on(
    doctor: Callable[..., tuple[int, dict[str, str]]], standin: Standin
) -> None:
    for stamped in ("0", "1"):
        standin.forget_calls()
        status, lines = doctor(STAMP_CALLER=stamped)
        assert (status, {line[:2] for line in lines.values()}) == (0, {"ok"})
        assert any(asked_for(call) for call in standin.calls("AssumeRole")) == (stamped == "1")


def test_a_role_that_denies_everything_is_told_from_one_that_denies_the_stamps(
    doctor: Callable[..., tuple[int, dict[str, str]]], standin: Standin
) -> None:
    standin.fault("denied", operation="AssumeRole", role_arn=ROLES["staging"])
    status, lines = doctor(STAMP_CALLER="1")
    assert status == 1
    assert "AccessDenied" in lines["account staging"]
    assert "sts:TagSession" not in lines["account staging"]
