"""The host's AWS files: broken ones, keys beside them, and the roles that their profiles assume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp.types import PromptReference

from access.callers import Caller
from access.credentials import CredentialStore
from access.identity import Target
from access.policy import Policy
from config import Settings
from errors import ConfigurationError
from tests.conftest import ROLES, running
from tests.processes import run_server

KEYS = "aws_access_key_id = testing\naws_secret_access_key = testing\n"
GOOD = f"[profile ops]\n{KEYS}"
# How a file breaks, and what --check says of it.
BROKEN: dict[str, tuple[bytes, str]] = {
    "a profile that stands twice": (b"[profile a]\nregion = us-east-1\n[profile a]\nregion = us-east-1\n", "line 3"),
    "a key that stands twice": (b"[profile a]\nregion = us-east-1\nregion = us-east-2\n", "line 3"),
    "a byte order mark": (b"\xef\xbb\xbf[profile a]\nregion = us-east-1\n", "line 1"),
    "UTF-16": ("[profile a]\nregion = us-east-1\n".encode("utf-16"), ""),
    "Latin-1": (b"[profile a]\n# Kl\xe4ger\nregion = us-east-1\n", "UTF-8"),
    "no section": (b"region = us-east-1\n", "line 1"),
    "text": (b"[profile a]\nthis is no member\n", "line 2"),
    "zeros": (b"\0" * 64, ""),
}
PLACES = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"]


def broken_file(path: Path, how: str) -> str:
    path.write_bytes(BROKEN[how][0])
    return str(path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", BROKEN)
async def test_a_broken_file_is_no_credentials_in_every_call_and_nothing_of_the_host_is_told(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, place: str
) -> None:
    path, audit = tmp_path / "aws-file", tmp_path / "audit.log"
    monkeypatch.setenv(place, broken_file(path, how))
    async with running(ACCOUNT_OPS_PROFILE="ops", AUDIT_LOG=str(audit)) as server, server.session() as call:
        asked = {
            "role": await call("create_secret", name="x", secret_value="v", account="production"),
            "profile": await call("list_secrets", profile="ops"),
            "account": await call("list_secrets", account="ops"),
            "default": await call("create_secret", name="x", secret_value="v"),
        }
        assert {answer.error_code for answer in asked.values()} <= {"NoCredentials", None}, asked["role"].text
        assert asked["profile"].error_code == asked["account"].error_code == "NoCredentials"
        assert (await call("list_secrets", account="nope")).error_code == "UnknownAccount"
        assert (await call("list_accounts"))["count"] == 3
        regions = await call.client.complete(
            PromptReference(type="ref/prompt", name="promote_secret"), {"name": "region", "value": "us-"}
        )
        assert "us-east-1" in regions.values
        told = [answer.text for answer in asked.values()]
        assert not [text for text in told if str(tmp_path) in text or "configparser" in text]
        ids = {json.loads(line).get("request_id") for line in audit.read_text().splitlines()}
        assert {answer["request_id"] for answer in asked.values() if answer.is_error} <= ids
        # Mended, it works again without a restart.
        path.write_text(GOOD if place == "AWS_CONFIG_FILE" else GOOD.replace("profile ", ""))
        assert (await call("list_secrets", account="ops"))["success"]
        assert (await call("create_secret", name="x", secret_value="v", account="production"))["success"]


async def test_a_file_that_breaks_while_the_server_runs_stops_profiles_alone(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text(GOOD)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    async with running(ACCOUNT_OPS_PROFILE="ops") as server, server.session() as call:
        assert (await call("list_secrets", account="ops"))["success"]
        broken_file(path, "a profile that stands twice")
        for account in ROLES:  # one of which has not been asked before
            assert (await call("list_secrets", account=account))["success"]
        assert (await call("list_secrets"))["success"]
        for target in ({"account": "ops"}, {"profile": "ops"}):
            assert (await call("list_secrets", **target)).error_code == "NoCredentials"
        async with server.http() as http:
            assert (await http.get("http://127.0.0.1/readyz")).status_code == 200


@pytest.mark.parametrize("place", PLACES)
def test_the_doctor_names_file_and_line(tmp_path: Path, place: str) -> None:
    how = "a profile that stands twice"
    path = broken_file(tmp_path / "aws-file", how)
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    run = run_server("--check", MCP_AUTH_TOKEN="a-token-for-tests-0123456789", **{**keys, place: path})
    assert run.returncode == 1
    line = next(line for line in run.stdout.splitlines() if "configuration" in line)
    assert line.startswith("FAIL")
    assert path in line
    assert BROKEN[how][1] in line


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_wrong_with_a_file_is_told_by_file_and_line(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from access.doctor import examine

    monkeypatch.setenv("AWS_CONFIG_FILE", broken_file(tmp_path / "config", how))
    first = next(iter(examine(Settings.from_environment({}))))
    assert (first.ok, first.what) == (False, "configuration")
    assert str(tmp_path / "config") in first.detail
    assert BROKEN[how][1] in first.detail


def test_a_blank_aws_profile_stops_the_start() -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        with pytest.raises(ConfigurationError, match=f"^{name} "):
            Settings.from_environment({name: " "})


async def test_an_aws_profile_that_is_none_is_no_credentials_and_is_not_named(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "some-bodys-own")
    async with running() as server, server.session() as call:
        for target in ({}, {"account": "production"}):
            answer = await call("list_secrets", **target)
            assert answer.error_code == "NoCredentials"
            assert "some-bodys-own" not in answer.text


# --- a code typed in ------------------------------------------------------------------------------------------------

TYPED = f"""
[profile admin]
role_arn = {ROLES["production"]}
source_profile = default
mfa_serial = arn:aws:iam::123456789012:mfa/me
[default]
{KEYS}"""


async def test_keys_in_the_environment_sign_whatever_code_aws_profile_asks_for(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(TYPED)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "admin")
    async with running(ALLOWED_PROFILES="admin") as server, server.session() as call:
        assert (await call("list_secrets"))["success"]
        assert (await call("list_secrets", account="staging"))["success"]
        async with server.http() as http:
            assert (await http.get("http://127.0.0.1/readyz")).status_code == 200
        answer = await call("list_secrets", profile="admin")
        assert (answer.error_code, "MFA" in answer["message"]) == ("NoCredentials", True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    async with running() as server, server.session() as call:
        answer = await call("list_secrets", account="staging")
        assert (answer.error_code, "MFA" in answer["message"]) == ("NoCredentials", True)


# --- the roles on a profile's way -----------------------------------------------------------------------------------

ADMIN, READER = "arn:aws:iam::111111111111:role/admin", ROLES["production"]
CHAINS = f"""
[profile keys]
{KEYS}
[profile ops]
role_arn = {ADMIN}
source_profile = keys
[profile chained]
role_arn = {READER}
source_profile = ops
[profile token]
role_arn = {ADMIN}
web_identity_token_file = /nowhere
[profile environment]
role_arn = {ADMIN}
credential_source = Environment
[profile reader]
role_arn = {READER}
source_profile = keys
[profile own]
role_arn = {READER}
source_profile = own
{KEYS}
[profile beyond]
role_arn = {READER}
source_profile = kept
[profile kept]
role_arn = {ADMIN}
{KEYS}
"""
EVERY = "keys,ops,chained,token,environment,reader,own,beyond"
RULES: list[tuple[dict[str, str], dict[str, str | None]]] = [
    (  # a list of roles holds for what profiles assume
        {"ALLOWED_ROLE_ARNS": READER, "ALLOWED_PROFILES": EVERY},
        dict.fromkeys(("ops", "chained", "token", "environment"), "RoleNotAllowed")
        | dict.fromkeys(("keys", "reader", "own", "beyond")),
    ),
    (  # and so for those of accounts
        {"ALLOWED_ROLE_ARNS": READER, "ACCOUNT_OPS_PROFILE": "ops", "ACCOUNT_READER_PROFILE": "reader"},
        {"ops": "RoleNotAllowed", "reader": None, "keys": "ProfileNotAllowed", "own": "ProfileNotAllowed"},
    ),
    (  # without a list an account's own profile is the account's, and no other profile is anybody's
        {"ACCOUNT_OPS_PROFILE": "ops"},
        {"ops": None, "chained": "ProfileNotAllowed", "keys": "ProfileNotAllowed"},
    ),
    (  # ALLOWED_PROFILES names the profile, not the roles that it assumes
        {"ACCOUNT_OPS_PROFILE": "ops", "ALLOWED_PROFILES": EVERY},
        {"ops": None, "chained": None, "beyond": None, "reader": None, "keys": None},
    ),
]


@pytest.mark.parametrize(("rules", "expected"), RULES)
async def test_a_role_that_a_profile_assumes_passes_the_rule_for_roles(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: dict[str, str], expected: dict[str, str | None]
) -> None:
    (tmp_path / "config").write_text(CHAINS)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with running(**rules) as server, server.session() as call:
        for profile, code in expected.items():
            assert (await call("list_secrets", profile=profile)).error_code == code, profile


async def test_where_nothing_is_listed_any_profile_may_be_named(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(CHAINS)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    settings = Settings.from_environment({})
    policy = Policy(settings, CredentialStore(settings))
    for profile in EVERY.split(","):
        assert policy.decide(Caller("c"), Target(profile=profile)).identity.profile == profile
