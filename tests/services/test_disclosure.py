"""What carries plaintext away, or tells something of it: who may, how often, and what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from services._key_names import looks_like_a_name
from tests.conftest import TOKEN, Server, Session, boto, running, standin_alone
from tests.standin import Standin

AT: dict[str, Any] = {"account": "production"}
STRANGER, STAGING = "666666666666", "222222222222"
THEIR_ROLE = f"arn:aws:iam::{STRANGER}:role/aws-ops-target"
WRITER, READER = "the-token-of-a-writer-0123456789", "the-token-of-a-reader-0123456789"
PROFILES = f"""
[profile theirs]
role_arn = {THEIR_ROLE}
source_profile = keys
[profile keys]
aws_access_key_id = testing
aws_secret_access_key = testing
[profile ours]
role_arn = arn:aws:iam::{STAGING}:role/aws-ops-target
source_profile = keys
"""


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    directory = tmp_path_factory.mktemp("disclosure")
    scopes = {WRITER: ["read", "write", "destroy"], READER: ["read"]}
    digests = {token: hashlib.sha256(token.encode()).hexdigest() for token in scopes}
    tables = [
        f'[callers.c{number}]\ntoken_sha256 = "{digests[token]}"\nscopes = {scopes[token]}\n'
        for number, token in enumerate(scopes)
    ]
    (directory / "callers.toml").write_text("\n".join(tables))
    (directory / "config").write_text(PROFILES)
    with standin_alone(AWS_CONFIG_FILE=str(directory / "config")) as started:
        for account in ("production", "staging"):
            secrets = boto("secretsmanager", account)
            secrets.create_secret(Name="app/db", SecretString='{"password": "hunter22", "port": 1}')
            boto("s3", account).create_bucket(Bucket=f"{account}-box")
        boto("s3", "production").put_object(Bucket="production-box", Key="k", Body=b"content")
        started.directory = directory  # type: ignore[attr-defined]
        yield started


@pytest.fixture
async def session(standin: Standin) -> AsyncIterator[Callable[..., Any]]:
    """Open a session with a server of these settings."""
    async with AsyncExitStack() as stack:

        async def start(token: str = TOKEN, **more: str) -> Session:
            settings = {
                "TOOLSETS": "all", "ALLOWED_ROLE_ARNS": "arn:aws:iam::*:role/aws-ops-target",
                "ALLOWED_PROFILES": "theirs,ours,keys",
                "MCP_CALLERS_FILE": str(standin.directory / "callers.toml"),  # type: ignore[attr-defined]
            }  # fmt: skip
            server: Server = await stack.enter_async_context(running(**{**settings, **more}))
            return await stack.enter_async_context(server.session(token=token))

        yield start


def value(name: str, account: str) -> str:
    """The current value, asked for as moto needs it: without a stage it takes the oldest for current."""
    client = boto("secretsmanager", account)
    return str(client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")["SecretString"])


def to_strangers(number: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every way in which a plaintext leaves our accounts by `write`."""
    secret = {"secret_id": "app/db", "to_name": f"copy/{number}", **AT}
    box = {"bucket": "production-box", "key": "k", "to_bucket": "their-box", "to_key": f"copy/{number}", **AT}
    return {
        "a role": ("copy_secret", {**secret, "to_role_arn": THEIR_ROLE}),
        "a profile that assumes a role": ("copy_secret", {**secret, "to_profile": "theirs"}),
        "a profile whose account STS alone knows": ("copy_secret", {**secret, "to_profile": "keys"}),
        "another region of theirs": ("copy_secret", {**secret, "to_role_arn": THEIR_ROLE, "to_region": "eu-west-1"}),
        "a bucket's owner": ("copy_object", {**box, "to_expected_bucket_owner": STRANGER}),
    }


WAYS = list(to_strangers(0))


@pytest.mark.parametrize("way", WAYS)
async def test_a_copy_to_an_account_that_is_not_configured_here_needs_reveal(
    session: Callable[..., Any], standin: Standin, way: str
) -> None:
    boto("s3").create_bucket(Bucket="their-box")
    tool, arguments = to_strangers(WAYS.index(way))[way]
    for token, settings in ((WRITER, {}), (TOKEN, {"REVEAL": "0"})):
        call = await session(token, **settings)
        standin.forget_calls()
        assert (await call(tool, **arguments)).error_code == "ScopeRequired"
        assert {made.operation for made in standin.calls()} <= {"AssumeRole", "GetCallerIdentity"}
    limited = await session(REVEAL_LIMIT_PER_MINUTE="1")
    assert (await limited(tool, **arguments)).error_code is None
    assert (await limited("get_secret_value", secret_id="app/db", **AT)).error_code == "RateLimited"


async def test_a_copy_among_configured_accounts_needs_no_reveal(session: Callable[..., Any]) -> None:
    for settings in ({}, {"REVEAL": "0"}):
        call = await session(WRITER, **settings)
        name = f"plain/{len(settings)}"
        for place in ({"to_account": "staging"}, {"to_profile": "ours", "to_region": "eu-west-1"}, {"to_name": name}):
            copied = await call("copy_secret", **{"secret_id": "app/db", "to_name": name, **AT, **place})
            assert copied.error_code is None, copied.text
        box = {"bucket": "production-box", "key": "k", "to_bucket": "staging-box", "to_key": name, **AT}
        copied = await call("copy_object", **box, to_expected_bucket_owner=STAGING)
        assert copied.error_code is None, copied.text
    # From a stranger's account to another place in it, or home, nothing of ours goes anywhere.
    boto("secretsmanager").create_secret(Name="base", SecretString="v")
    assert (await call("copy_secret", secret_id="base", to_name="base/2")).error_code is None


async def test_comparing_and_copying_take_from_the_allowance_of_reveals(session: Callable[..., Any]) -> None:
    acts: dict[str, dict[str, Any]] = {
        "compare_secrets": {"secret_id": "app/db", "other_account": "staging", **AT},
        "copy_secret": {"secret_id": "app/db", "to_account": "staging", "overwrite": True, **AT},
        "audit_secrets": {"compare_values": True, **AT},
    }
    for tool, arguments in acts.items():
        call = await session(REVEAL_LIMIT_PER_MINUTE="1")
        assert (await call(tool, **arguments)).error_code is None
        for other, others in {**acts, "get_secret_value": {"secret_id": "app/db", **AT}}.items():
            assert (await call(other, **others)).error_code == "RateLimited", (tool, other)
        for _ in range(3):  # what is no oracle is not limited so
            assert (await call("patch_secret", secret_id="app/db", set={"port": 1}, **AT))["unchanged"]
            assert not (await call("audit_secrets", **AT)).is_error
            assert not (await call("describe_secret", secret_id="app/db", **AT)).is_error


async def test_an_audit_compares_values_for_those_alone_who_may_see_them(session: Callable[..., Any]) -> None:
    call = await session(READER)
    assert not (await call("audit_secrets", **AT)).is_error
    assert (await call("audit_secrets", compare_values=True, **AT)).error_code == "ScopeRequired"
    none = await session(REVEAL="0")
    assert (await none("audit_secrets", compare_values=True, **AT)).error_code == "ScopeRequired"


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
async def test_neither_side_of_a_comparison_is_an_arn_of_an_account_that_is_not_ours(
    session: Callable[..., Any], standin: Standin, region: str
) -> None:
    call = await session(READER)
    arn = f"arn:aws:secretsmanager:{region}:{STRANGER}:secret:guess-AbCdEf"
    standin.forget_calls()
    for sides in (
        {"secret_id": arn},
        {"secret_id": "app/db", "other_secret_id": arn},
        {"secret_id": "app/db", "other_secret_id": arn, "other_account": "staging"},
        {"secret_id": arn, "other_secret_id": "app/db", "other_region": "eu-west-1"},
        {"secret_id": arn, "other_secret_id": arn},
    ):
        assert (await call("compare_secrets", **sides, **AT)).error_code == "InvalidParameter", sides
    assert standin.calls() == []


@pytest.mark.parametrize("name", ["my-database", "app/some-sixsix", "a-b-c-d-e-f", "ends-with-AbCdEf"])
async def test_a_secret_named_by_its_arn_is_compared_under_its_whole_name(
    session: Callable[..., Any], name: str
) -> None:
    arns = {}
    for account in ("production", "staging"):
        arns[account] = boto("secretsmanager", account).create_secret(Name=name, SecretString="v")["ARN"]
    call = await session(READER)
    partial = arns["production"].rpartition("-")[0]
    for arn in (partial, arns["production"]):
        answer = await call("compare_secrets", secret_id=arn, other_account="staging", **AT)
        assert (answer["equal"], answer["other_arn"]) == (True, arns["staging"])


NAMES = ["user", "DB_HOST", "tls.ca-file", "key2", "a" * 64, "api_v1.2.3", "Password"]
ODD = ["hunter22!", "4111111111111111", "AKIAEXAMPLE", "ghp_abc", "a" * 65, "v1.2.3.4", "sk-proj-abc", "", "clé", "a b"]


@pytest.mark.parametrize("key", NAMES)
def test_a_name_is_told_to_whoever_may_read(key: str) -> None:
    assert looks_like_a_name(key)


async def test_keys_that_may_be_values_are_told_as_a_number_to_who_may_not_see_values(
    session: Callable[..., Any],
) -> None:
    odd = [key for key in ODD if key]
    left = dict.fromkeys([*NAMES, *odd], 1)
    right = dict.fromkeys(NAMES, "1") | {"pg-" + key: 1 for key in odd} | dict.fromkeys(odd[:3], 2)
    secrets = boto("secretsmanager", "production")
    for name, value in (("keys/one", left), ("keys/two", right)):
        secrets.create_secret(Name=name, SecretString=json.dumps(value, ensure_ascii=False))
    pair = {"secret_id": "keys/one", "other_secret_id": "keys/two", **AT}
    for token, settings in ((READER, {}), (WRITER, {}), (TOKEN, {"REVEAL": "0"})):
        call = await session(token, **settings)
        answer = await call("compare_secrets", **pair)
        assert answer["different_type"] == NAMES
        assert (answer["different"], answer["added"]) == ([], [])
        assert answer["missing"] == [f"pg-{key}" for key in odd if looks_like_a_name(f"pg-{key}")]
        assert answer["unnamed"] == {
            "different": 3, "added": len(odd) - 3, "missing": len(odd) - len(answer["missing"]),
        }  # fmt: skip
        for key in odd[:5]:
            assert key not in answer.text.replace(f"pg-{key}", "")
    seen = await (await session())("compare_secrets", **pair)
    assert (seen["added"], seen["different"], seen["unnamed"]) == (odd[3:], odd[:3], {})


# --- numbers that JSON has not -------------------------------------------------------------------------------------


async def by_hand(server: Server, tool: str, arguments: str) -> dict[str, Any]:
    """Call a tool with arguments spelled as no client of a library spells them; return what it answers."""
    meta = (
        '{"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}, '
    )
    meta += '"io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"}}'
    body = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": '
    body += f'{{"name": "{tool}", "_meta": {meta}, "arguments": {arguments}}}}}'
    headers = {
        "authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream",
        "content-type": "application/json", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call",
        "mcp-name": tool,
    }  # fmt: skip
    async with server.http() as http:
        answer = await http.post("/mcp", content=body, headers=headers)
    data = [line[5:] for line in answer.text.splitlines() if line.startswith("data:")]
    return dict(json.loads(data[-1] if data else answer.text, parse_constant=_no_json))


def _no_json(text: str) -> Any:
    raise AssertionError(f"the server wrote {text}")


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "NaN", "-Infinity", '{"deep": [1, {"er": 2e308}]}', "9" * 5_000], ids=lambda v: v[:30]
)
async def test_a_number_that_json_has_not_is_refused_and_the_secret_is_as_it_was(standin: Standin, number: str) -> None:
    before = '{"n": 1, "password": "hunter22"}'
    name = f"numbers/{hashlib.sha256(number.encode()).hexdigest()[:8]}"
    boto("secretsmanager", "staging").create_secret(Name=name, SecretString=before)
    async with running() as server:
        arguments = f'{{"secret_id": "{name}", "account": "staging", "set": {{"n": {number}}}}}'
        answer = await by_hand(server, "patch_secret", arguments)
    refused = answer["error"] if "error" in answer else answer["result"]["structuredContent"]
    assert refused.get("error_code", "InvalidParameter") == "InvalidParameter"
    assert "code" in refused or "hunter22" not in json.dumps(refused)
    assert value(name, "staging") == before


async def test_a_large_integer_is_written_digit_for_digit(standin: Standin) -> None:
    boto("secretsmanager", "staging").create_secret(Name="large", SecretString="{}")
    digits = "12345678901234567890123"
    async with running() as server:
        arguments = f'{{"secret_id": "large", "account": "staging", "set": {{"n": {digits}, "m": [-{digits}]}}}}'
        assert (await by_hand(server, "patch_secret", arguments))["result"]["structuredContent"]["success"]
    assert value("large", "staging") == f'{{"n":{digits},"m":[-{digits}]}}'


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": [Infinity, -Infinity]}', '{"a": 1e999, "b": -1e999}'])
async def test_what_others_wrote_is_equal_to_itself_and_a_patch_leaves_it(
    session: Callable[..., Any], text: str
) -> None:
    names = [f"{text[6:9]}/{side}".replace("[", "") for side in "ab"]
    for name in names:
        boto("secretsmanager", "production").create_secret(Name=name, SecretString=text)
    call = await session()
    answer = await call("compare_secrets", secret_id=names[0], other_secret_id=names[1], **AT)
    assert (answer["equal"], answer["different"], answer["different_type"]) == (True, [], [])
    assert not (await call("patch_secret", secret_id=names[0], set={"new": "x"}, **AT)).is_error
    held = value(names[0], "production")
    assert held.startswith(text[:-1])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_a_template_holds_json_numbers_alone(session: Callable[..., Any], number: str) -> None:
    call = await session()
    template = f'{{"k": "{{{{generate}}}}", "deep": [{{"n": {number}}}]}}'
    answer = await call("create_secret", name="made", generate={"template": template}, **AT)
    assert answer.error_code == "InvalidParameter"
    large = '{"k": "{{generate}}", "n": 12345678901234567890123, "x": 1.10, "y": 1e999}'
    made = await call(
        "create_secret", name=f"made/{number.strip('-')}{len(number)}", generate={"template": large}, **AT
    )
    held = value(made["arn"], "production")
    assert held.endswith('"n": 12345678901234567890123, "x": 1.10, "y": 1e999}')


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
async def test_a_policy_holds_json_numbers_alone(session: Callable[..., Any], standin: Standin, number: str) -> None:
    one = {"Effect": "Allow", "Action": "s3:GetObject", "Condition": {"NumericEquals": {"s3:max-keys": [1]}}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [{**one, "Resource": "*"}]})
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{**one, "Principal": {"AWS": STAGING}}]})
    call = await session()
    standin.forget_calls()
    for tool, name, text in (
        ("create_policy", "document", document),
        ("create_role", "trust_policy", trust),
        ("put_secret_policy", "policy", trust),
    ):
        named = {"create_policy": {"policy_name": "p"}, "create_role": {"role_name": "r"}}.get(tool, {"secret_id": "s"})
        refused = await call(tool, **{**named, **AT, name: text.replace("[1]", f"[{number}]")})
        assert refused.error_code == "InvalidParameter", tool
    assert standin.calls() == []
