"""What cannot be undone: asked first, on every wire; confirmed by just the one yes that was asked for, and once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import boto3
import pytest
from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport

from access.callers import Caller
from access.confirmation import LIFETIME_SECONDS, Act, Confirmations, Plan
from access.identity import Grant, Identity
from errors import ConfirmationInvalid
from tests.conftest import (
    ROLES,
    TOKEN,
    WIRES,
    Answer,
    Server,
    Session,
    aws_environment,
    running,
    server_environment,
    standin_alone,
)
from tests.contract import all_tools
from tests.processes import ROOT, clean_environment
from tests.standin import Standin

KEY = "a-key-that-replicas-share-0123456789"
PRODUCTION = "111111111111"
TOKENS = {name: f"the-token-of-{name}-0123456789" for name in ("bob", "wanda")}
_numbers = count(1)


class AWS:
    """The AWS behind the servers, seen and changed past them."""

    def __init__(self, standin: Standin) -> None:
        self.standin = standin
        session = boto3.Session()
        sts = session.client("sts", region_name="us-east-1")
        self.secrets = {}
        for account, role_arn in ROLES.items():
            keys = sts.assume_role(RoleArn=role_arn, RoleSessionName="arrange")["Credentials"]
            names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
            arguments = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
            signed = {argument: keys[name] for argument, name in zip(arguments, names, strict=True)}
            self.secrets[account] = session.client("secretsmanager", region_name="us-east-1", **signed)

    @property
    def production(self) -> Any:
        return self.secrets["production"]

    def secret(self) -> dict[str, Any]:
        """Create a secret of a new name in production; return what a forced deletion of it takes."""
        name = f"app/db-{next(_numbers)}"
        self.production.create_secret(Name=name, SecretString="v", Description="d")
        return {"secret_id": name, "account": "production", "force_delete_without_recovery": True}

    def arn(self, secret: dict[str, Any]) -> str:
        return str(self.production.describe_secret(SecretId=secret["secret_id"])["ARN"])

    def stands(self, secret: dict[str, Any], account: str = "production") -> bool:
        """Tell whether it is there, and not about to go."""
        aws = self.secrets[account]
        try:
            return "DeletedDate" not in aws.describe_secret(SecretId=secret["secret_id"])
        except aws.exceptions.ResourceNotFoundException:
            return False

    def deletions(self) -> int:
        return len(self.standin.calls("DeleteSecret"))


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with standin_alone() as started:
        yield started


@pytest.fixture(scope="module")
def behind(standin: Standin) -> AWS:
    return AWS(standin)


@pytest.fixture
def aws(behind: AWS) -> AWS:
    behind.standin.forget_calls()
    return behind


@pytest.fixture(scope="module")
async def servers(behind: AWS, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Callable[..., Server]]:
    """Servers by their settings, each started once."""
    callers = tmp_path_factory.mktemp("callers") / "callers.toml"
    scopes = {"bob": ["read", "write", "destroy"], "wanda": ["read", "reveal", "write"]}
    tables = [
        f'[callers.{name}]\ntoken_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nscopes = {scopes[name]}\n'
        for name, token in TOKENS.items()
    ]
    callers.write_text("\n".join(tables))
    async with AsyncExitStack() as stack:
        settings = {
            "one": {"AUDIT_HMAC_KEY": KEY},
            "replica": {"AUDIT_HMAC_KEY": KEY},
            "stranger": {"AUDIT_HMAC_KEY": KEY[::-1]},
            "keyless": {},
            "human": {"AUDIT_HMAC_KEY": KEY, "REQUIRE_HUMAN_CONFIRM": "1"},
        }
        started = {
            name: await stack.enter_async_context(running(MCP_CALLERS_FILE=str(callers), **environment))
            for name, environment in settings.items()
        }
        yield started.__getitem__


@pytest.fixture(scope="module")
def server(servers: Callable[..., Server]) -> Server:
    return servers("one")


async def planned(call: Session, secret: dict[str, Any]) -> str:
    """The first call; return its token."""
    answer = await call("delete_secret", **secret)
    assert answer.error_code == "ConfirmationRequired", answer.text
    return str(answer["confirm"])


# --- a token for the second call ---------------------------------------------------------------------------------


async def test_force_delete_names_exactly_what_will_be_lost_and_does_nothing_until_it_is_confirmed(
    server: Server, aws: AWS, wire: tuple[str, str]
) -> None:
    secret = aws.secret()
    arn = aws.arn(secret)
    async with server.session(*wire) as call:
        first = await call("delete_secret", **secret)
        assert (first.is_error, first.error_code) == (True, "ConfirmationRequired")
        assert first["plan"]["target"] == arn
        assert (first["plan"]["account"], first["plan"]["account_id"]) == ("production", PRODUCTION)
        assert first["plan"]["region"] == "us-east-1"
        assert "1 version" in first["plan"]["will_be_lost"]
        assert first["confirm"] in first.text
        for said in (arn, "production", PRODUCTION, "cannot be restored"):
            assert said in first.text
        assert first["retryable"] is False
        assert (aws.stands(secret), aws.deletions()) == (True, 0)
        second = await call("delete_secret", **secret, confirm=first["confirm"])
        assert (second["success"], second["force_deleted"], second["arn"]) == (True, True, arn)
    assert (aws.stands(secret), aws.deletions()) == (False, 1)


async def test_two_spellings_of_one_act_are_one_act(server: Server, aws: AWS) -> None:
    secret = aws.secret()
    by_role = {**secret, "role_arn": ROLES["production"], "region": "us-east-1"}
    del by_role["account"]
    async with server.session() as call, server.session("sse") as other_session:
        token = await planned(call, {**secret, "account": "PRODUCTION"})
        assert (await other_session("delete_secret", **by_role, confirm=token))["success"]


async def test_a_plain_delete_can_be_undone_so_it_needs_no_confirmation(
    server: Server, aws: AWS, wire: tuple[str, str]
) -> None:
    secret = {**aws.secret(), "force_delete_without_recovery": False}
    async with server.session(*wire, token=TOKENS["wanda"]) as call:
        assert (await call("delete_secret", **secret, recovery_window_in_days=7))["force_deleted"] is False
        assert (await call("restore_secret", secret_id=secret["secret_id"], account="production"))["success"]
    assert aws.stands(secret)


async def test_a_caller_without_destroy_gets_no_plan(server: Server, aws: AWS, wire: tuple[str, str]) -> None:
    secret = aws.secret()
    async with server.session() as call:
        others = await planned(call, secret)
    aws.standin.forget_calls()
    async with server.session(*wire, token=TOKENS["wanda"], elicitation_handler=saying("accept")) as call:
        for confirm in ({}, {"confirm": others}):
            answer = await call("delete_secret", **secret, **confirm)
            assert answer.error_code == "ScopeRequired"
            assert not {"plan", "confirm"} & set(answer.content)
    assert aws.standin.calls() == []


def other_character(token: str, place: int) -> str:
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


ALTERED: dict[str, Callable[[str], str]] = {
    "its first character": lambda token: other_character(token, 0),
    "its signature": lambda token: other_character(token, token.index(".") + 1),
    "its last character": lambda token: other_character(token, len(token) - 1),
    "cut": lambda token: token[:-1],
    "padded": lambda token: token + "=",
    "continued": lambda token: token + ".",
    "turned round": lambda token: ".".join(reversed(token.split("."))),
    "without a signature": lambda token: token.split(".")[0] + ".",
    "in spaces": lambda token: f" {token} ",
    "nothing": lambda token: "",
    "a yes": lambda token: "true",
    "of another script": lambda token: "ж" + token[1:],
}


@pytest.mark.parametrize("how", ALTERED)
async def test_an_altered_token_is_invalid_and_nothing_happens(server: Server, aws: AWS, how: str) -> None:
    secret = aws.secret()
    async with server.session() as call:
        token = await planned(call, secret)
        answer = await call("delete_secret", **secret, confirm=ALTERED[how](token))
        assert answer.error_code == "ConfirmationInvalid"
        assert not {"plan", "confirm"} & set(answer.content)
        assert (aws.stands(secret), aws.deletions()) == (True, 0)
        assert (await call("delete_secret", **secret, confirm=token))["success"]  # a wrong one spoils no right one


async def test_a_token_is_good_for_its_own_target_and_arguments_alone(server: Server, aws: AWS) -> None:
    mine, other = aws.secret(), aws.secret()
    aws.secrets["staging"].create_secret(Name=mine["secret_id"], SecretString="v")
    async with server.session() as call:
        token = await planned(call, mine)
        elsewhere: list[dict[str, Any]] = [
            other,
            {**mine, "account": "staging"},
            {**mine, "role_arn": ROLES["staging"]},
            {**mine, "region": "eu-west-1"},
            {**mine, "secret_id": aws.arn(mine)},
        ]
        for arguments in elsewhere:
            answer = await call("delete_secret", **arguments, confirm=token)
            assert answer.error_code == "ConfirmationInvalid", arguments
    assert aws.deletions() == 0
    assert aws.stands(mine)
    assert aws.stands(mine, "staging")


async def test_another_callers_token_is_invalid(server: Server, aws: AWS, wire: tuple[str, str]) -> None:
    secret = aws.secret()
    async with server.session(*wire) as default, server.session(*wire, token=TOKENS["bob"]) as bob:
        token = await planned(default, secret)
        assert (await bob("delete_secret", **secret, confirm=token)).error_code == "ConfirmationInvalid"
        assert (aws.stands(secret), aws.deletions()) == (True, 0)


async def test_a_token_is_good_once(server: Server, aws: AWS, wire: tuple[str, str]) -> None:
    secret = aws.secret()
    async with server.session(*wire) as call:
        token = await planned(call, secret)
        assert (await call("delete_secret", **secret, confirm=token))["success"]
        assert (await call("delete_secret", **secret, confirm=token)).error_code == "ConfirmationInvalid"
        aws.production.create_secret(Name=secret["secret_id"], SecretString="v", Description="d")
        assert (await call("delete_secret", **secret, confirm=token)).error_code == "ConfirmationInvalid"
    assert (aws.stands(secret), aws.deletions()) == (True, 1)


def recreate(aws: Any, name: str) -> None:
    aws.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    aws.create_secret(Name=name, SecretString="v", Description="d")


CHANGES: dict[str, Callable[[Any, str], Any]] = {
    "a version was added": lambda aws, name: aws.put_secret_value(SecretId=name, SecretString="new"),
    "a version was staged": lambda aws, name: aws.put_secret_value(
        SecretId=name, SecretString="new", VersionStages=["mine"]
    ),
    "its description": lambda aws, name: aws.update_secret(SecretId=name, Description="other"),
    "its tags": lambda aws, name: aws.tag_resource(SecretId=name, Tags=[{"Key": "keep", "Value": "yes"}]),
    "its deletion was scheduled": lambda aws, name: aws.delete_secret(SecretId=name, RecoveryWindowInDays=7),
    "it was re-created": recreate,
    "it is gone": lambda aws, name: aws.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_token_is_void_once_the_resource_has_changed(server: Server, aws: AWS, change: str) -> None:
    secret = aws.secret()
    async with server.session() as call:
        token = await planned(call, secret)
        CHANGES[change](aws.production, secret["secret_id"])
        before = aws.deletions()
        assert (await call("delete_secret", **secret, confirm=token)).error_code == "ConfirmationInvalid"
        assert aws.deletions() == before


async def test_reading_the_secret_meanwhile_voids_no_token(server: Server, aws: AWS) -> None:
    secret = aws.secret()
    async with server.session() as call:
        token = await planned(call, secret)
        aws.production.get_secret_value(SecretId=secret["secret_id"])
        assert (await call("delete_secret", **secret, confirm=token))["success"]


async def test_of_fifty_calls_with_one_token_one_succeeds(server: Server, aws: AWS) -> None:
    secret = aws.secret()
    outcomes: list[str | None] = []

    async def confirm(call: Session) -> None:
        outcomes.append((await call("delete_secret", **secret, confirm=token)).error_code)

    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(server.session(*wire)) for wire in WIRES]
        token = await planned(sessions[0], secret)
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(confirm, sessions[number % len(sessions)])
    assert (outcomes.count(None), outcomes.count("ConfirmationInvalid")) == (1, 49)
    assert aws.deletions() == 1


async def test_a_token_lasts_for_five_minutes(aws: AWS) -> None:
    now = [time.time()]
    async with running(AUDIT_HMAC_KEY=KEY) as server, server.session() as call:
        object.__setattr__(server.app.desk, "confirmations", Confirmations(KEY, clock=lambda: now[0]))
        in_time, late = aws.secret(), aws.secret()
        tokens = [await planned(call, secret) for secret in (in_time, late)]
        now[0] += LIFETIME_SECONDS - 1
        assert (await call("delete_secret", **in_time, confirm=tokens[0]))["success"]
        now[0] += 1
        assert (await call("delete_secret", **late, confirm=tokens[1])).error_code == "ConfirmationInvalid"
        now[0] -= 3600  # a clock set back
        assert (await call("delete_secret", **in_time, confirm=tokens[0])).error_code == "ConfirmationInvalid"
    assert LIFETIME_SECONDS == 300
    assert (aws.stands(late), aws.deletions()) == (True, 1)


async def test_replicas_that_share_the_key_take_each_others_tokens_and_no_other_server_does(
    servers: Callable[..., Server], aws: AWS
) -> None:
    secret = aws.secret()
    async with AsyncExitStack() as stack:
        names = ("one", "replica", "stranger", "keyless")
        at = {name: await stack.enter_async_context(servers(name).session()) for name in names}
        token = await planned(at["one"], secret)
        for name in ("stranger", "keyless"):
            assert (await at[name]("delete_secret", **secret, confirm=token)).error_code == "ConfirmationInvalid"
            others = await planned(at[name], secret)
            assert (await at["one"]("delete_secret", **secret, confirm=others)).error_code == "ConfirmationInvalid"
        assert aws.deletions() == 0
        assert (await at["replica"]("delete_secret", **secret, confirm=token))["success"]
        assert (await at["one"]("delete_secret", **secret, confirm=token)).error_code == "ConfirmationInvalid"
    assert aws.deletions() == 1


def test_no_single_character_of_a_token_can_be_another() -> None:
    confirmations = Confirmations(KEY)
    act = Act(
        Caller("alice"), "delete_secret", (Grant(Identity(role_arn=ROLES["production"]), "us-east-1"),), "a digest"
    )
    token = confirmations.issue(act, Plan("arn", "all of it", {"version": 1}))
    for place in range(len(token)):
        with pytest.raises(ConfirmationInvalid):
            confirmations.check(other_character(token, place), act)
    confirmations.check(token, act)


# --- promises about all tools ------------------------------------------------------------------------------------

TAKES_AWAY = re.compile(
    r"[\w-]+:(Batch)?(Delete|Terminate|Purge|Destroy|Release|Remove|Revoke|Schedule|Disable|Deregister)"
)
# What takes something away and can be undone, by what.
UNDONE = {
    "delete_object": "the version under the marker", "delete_tags": "create_tags",
    "revoke_security_group_ingress": "authorize_security_group_ingress, with the rules before in the answer",
    "delete_secret_policy": "put_secret_policy", "remove_secret_replicas": "replicate_secret, from the primary",
}  # fmt: skip


TOOLS = all_tools()


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_that_takes_something_away_for_good_is_confirmed(name: str) -> None:
    service, tool = TOOLS[name]
    takes_away = [action for action in tool.spec.actions if TAKES_AWAY.match(action)]
    if takes_away and name not in UNDONE:
        assert tool.spec.may_destroy, (
            f"{name} may call {takes_away}: let it be DESTROY, or say in UNDONE what undoes it"
        )
    if tool.spec.may_destroy:
        assert callable(getattr(service, f"plan_{name}"))
        assert "confirm" in tool.parameters["properties"]


# --- the person is asked -----------------------------------------------------------------------------------------


def saying(action: Any, yes: Any = True, asked: list[str] | None = None, meanwhile: Any = None) -> Any:
    """A client's user: answers whichever field it is asked for."""

    async def answer(message: str, response_type: Any, params: Any, context: Any) -> ElicitResult:
        if asked is not None:
            asked.append(message)
        if meanwhile is not None:
            meanwhile()
        (field,) = params.requested_schema["properties"]
        return ElicitResult(action=action, content={field: yes} if action == "accept" else None)

    return answer


async def test_the_person_is_asked_about_the_exact_target_and_a_yes_does_it(
    servers: Callable[..., Server], aws: AWS, wire: tuple[str, str]
) -> None:
    for name in ("one", "human"):
        secret, asked = aws.secret(), list[str]()
        arn = aws.arn(secret)
        async with servers(name).session(*wire, elicitation_handler=saying("accept", asked=asked)) as call:
            assert (await call("delete_secret", **secret))["success"]
        (question,) = asked
        for said in (arn, "production", PRODUCTION, "us-east-1", "cannot be restored"):
            assert said in question
        assert not aws.stands(secret)


@pytest.mark.parametrize(("action", "yes"), [("decline", None), ("cancel", None), ("accept", False)])
async def test_anything_but_a_yes_does_nothing_and_leaves_no_token_behind(
    server: Server, aws: AWS, wire: tuple[str, str], action: str, yes: bool | None
) -> None:
    secret = aws.secret()
    async with server.session(*wire, elicitation_handler=saying(action, yes)) as call:
        answer = await call("delete_secret", **secret)
    assert answer.error_code == "ConfirmationRequired"
    assert answer["plan"]["target"] == aws.arn(secret)
    assert "confirm" not in answer.content
    assert (aws.stands(secret), aws.deletions()) == (True, 0)


@pytest.mark.parametrize("wire", [("sse", "auto"), ("http", "legacy")], ids="-".join)
async def test_a_client_that_fails_to_ask_or_answers_nonsense_has_not_said_yes(
    server: Server, aws: AWS, wire: tuple[str, str]
) -> None:
    async def fails(*_: Any) -> ElicitResult:
        raise RuntimeError("there is no window to ask in")

    for handler in (fails, saying("accept", "perhaps"), saying("accept", [True])):
        secret = aws.secret()
        async with server.session(*wire, elicitation_handler=handler) as call:
            answer = await call("delete_secret", **secret)
        assert (answer.error_code, "confirm" in answer.content) == ("ConfirmationRequired", False)
        assert (aws.stands(secret), aws.deletions()) == (True, 0)


@pytest.mark.parametrize("change", ["a version was added", "it was re-created"])
async def test_a_yes_is_void_if_the_resource_changed_while_the_person_thought(
    server: Server, aws: AWS, wire: tuple[str, str], change: str
) -> None:
    secret = aws.secret()

    def meanwhile() -> None:
        CHANGES[change](aws.production, secret["secret_id"])

    async with server.session(*wire, elicitation_handler=saying("accept", meanwhile=meanwhile)) as call:
        answer = await call("delete_secret", **secret)
    assert answer.error_code == "ConfirmationInvalid"
    assert aws.stands(secret)


async def test_where_only_a_person_counts_there_is_no_token_and_one_from_elsewhere_does_not_help(
    servers: Callable[..., Server], aws: AWS, wire: tuple[str, str]
) -> None:
    secret = aws.secret()
    async with servers("one").session(*wire) as elsewhere, servers("human").session(*wire) as call:
        token = await planned(elsewhere, secret)
        for confirm in ({}, {"confirm": token}):
            answer = await call("delete_secret", **secret, **confirm)
            assert answer.error_code == "ConfirmationRequired"
            assert answer["plan"]["target"] == aws.arn(secret)
            assert "confirm" not in answer.content
            assert "confirm=" not in answer.text
    async with servers("human").session(*wire, elicitation_handler=saying("decline")) as call:
        answer = await call("delete_secret", **secret, confirm=token)
        assert answer.error_code == "ConfirmationRequired"
    assert (aws.stands(secret), aws.deletions()) == (True, 0)


# --- the modern era's request state, by hand --------------------------------------------------------------------

VERSION = "2026-07-28"
YES = {"confirm": {"action": "accept", "content": {"confirm": True}}}


async def modern(server: Server, secret: dict[str, Any], *, token: str = TOKEN, **more: Any) -> dict[str, Any]:
    """Call delete_secret as a client that can ask its user; return the JSON-RPC answer."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    }
    params = {"name": "delete_secret", "arguments": secret, "_meta": meta, **more}
    headers = {
        "authorization": f"Bearer {token}", "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION, "mcp-method": "tools/call", "mcp-name": "delete_secret",
    }  # fmt: skip
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    async with server.http() as http:
        answer = await http.post("/mcp", json=body, headers=headers)
    data = [line[5:] for line in answer.text.splitlines() if line.startswith("data:")]
    return dict(json.loads(data[-1] if data else answer.text))


async def question(server: Server, secret: dict[str, Any]) -> str:
    answer = (await modern(server, secret))["result"]
    assert answer["resultType"] == "input_required"
    assert answer["inputRequests"]["confirm"]["method"] == "elicitation/create"
    return str(answer["requestState"])


def done(answer: dict[str, Any]) -> bool:
    return bool((answer.get("result", {}).get("structuredContent") or {}).get("success"))


async def test_a_yes_with_the_request_state_does_it_once(servers: Callable[..., Server], aws: AWS) -> None:
    secret, server = aws.secret(), servers("one")
    state = await question(server, secret)
    assert done(await modern(servers("replica"), secret, inputResponses=YES, requestState=state))
    aws.production.create_secret(Name=secret["secret_id"], SecretString="v", Description="d")
    for name in ("one", "replica"):
        assert not done(await modern(servers(name), secret, inputResponses=YES, requestState=state))
    assert (aws.stands(secret), aws.deletions()) == (True, 1)


async def test_a_request_state_that_was_altered_or_belongs_elsewhere_does_nothing(
    servers: Callable[..., Server], aws: AWS
) -> None:
    secret, other, server = aws.secret(), aws.secret(), servers("one")
    state = await question(server, secret)
    async with server.session() as call:
        token = await planned(call, secret)
    wrong = ["", token, state[:-1], other_character(state, len(state) // 2), other_character(state, len(state) - 1)]
    for altered in wrong:
        assert not done(await modern(server, secret, inputResponses=YES, requestState=altered)), altered
    assert not done(await modern(server, secret, inputResponses=YES))
    assert not done(await modern(server, other, inputResponses=YES, requestState=state))
    assert not done(await modern(server, {**secret, "account": "staging"}, inputResponses=YES, requestState=state))
    assert not done(await modern(server, secret, token=TOKENS["bob"], inputResponses=YES, requestState=state))
    assert not done(await modern(servers("stranger"), secret, inputResponses=YES, requestState=state))
    assert not done(await modern(server, {**secret, "confirm": state}))
    CHANGES["its tags"](aws.production, secret["secret_id"])
    assert not done(await modern(server, secret, inputResponses=YES, requestState=state))
    assert (aws.stands(secret), aws.stands(other), aws.deletions()) == (True, True, 0)


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"other": YES["confirm"]},
        {"confirm": {"action": "accept"}},
        {"confirm": {"action": "accept", "content": {}}},
        {"confirm": {"action": "accept", "content": {"confirm": "true"}}},
        {"confirm": {"action": "accept", "content": {"confirm": 1}}},
        {"confirm": {"action": "decline", "content": {"confirm": True}}},
        {"confirm": {"action": "cancel"}},
    ],
    ids=json.dumps,
)
async def test_an_answer_that_is_no_yes_does_nothing_and_uses_the_question_up(
    server: Server, aws: AWS, answers: dict[str, Any]
) -> None:
    secret = aws.secret()
    state = await question(server, secret)
    assert not done(await modern(server, secret, inputResponses=answers, requestState=state))
    assert (aws.stands(secret), aws.deletions()) == (True, 0)


async def test_a_decline_uses_the_request_state_up(server: Server, aws: AWS) -> None:
    secret = aws.secret()
    state = await question(server, secret)
    no = {"confirm": {"action": "decline"}}
    declined = await modern(server, secret, inputResponses=no, requestState=state)
    assert declined["result"]["structuredContent"]["error_code"] == "ConfirmationRequired"
    again = await modern(server, secret, inputResponses=YES, requestState=state)
    assert again["result"]["structuredContent"]["error_code"] == "ConfirmationInvalid"
    assert (aws.stands(secret), aws.deletions()) == (True, 0)


# --- stdio -------------------------------------------------------------------------------------------------------


async def test_under_stdio_the_local_user_is_asked_alike(aws: AWS) -> None:
    secret = aws.secret()
    environment = clean_environment(**server_environment(), **aws_environment(aws.standin.url))
    command = [str(ROOT / "server.py"), "--stdio"]
    stdio = StdioTransport(sys.executable, command, env=environment, keep_alive=False, log_file=Path(os.devnull))
    async with Client(stdio) as client:
        call = Session(client)
        token = await planned(call, secret)
        altered = await call("delete_secret", **secret, confirm=other_character(token, 3))
        assert altered.error_code == "ConfirmationInvalid"
        assert (aws.stands(secret), aws.deletions()) == (True, 0)
        confirmed: Answer = await call("delete_secret", **secret, confirm=token)
        assert confirmed["success"]
    assert not aws.stands(secret)
