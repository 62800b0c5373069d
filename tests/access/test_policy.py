"""Where a call runs: priority, spellings, allow-lists, regions; all decided before AWS is asked anything."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.callers import Caller
from access.identity import Grant, Identity, Target
from access.policy import Policy
from config import Settings
from errors import AccountNotAllowed, ConfigurationError, InvalidParameter, Refusal, RoleNotAllowed
from tests.conftest import ROLES, Session, boto, running, server_environment

ELSEWHERE = "arn:aws:iam::333333333333:role/elsewhere"
CONFIG = """
[profile laptop]
region = eu-central-1
role_arn = arn:aws:iam::222222222222:role/aws-ops-target
credential_source = Environment
[profile no-profile]
aws_access_key_id = somebody
aws_secret_access_key = somebody
"""


@pytest.fixture
def profiles(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    path.write_text(CONFIG)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    return path


@pytest.fixture
async def call(profiles: Path) -> AsyncIterator[Session]:
    for account in ("production", "staging"):
        boto("secretsmanager", account).create_secret(Name="where", SecretString=account)
    boto("secretsmanager").create_secret(Name="where", SecretString="base")
    boto("secretsmanager", "staging", "eu-central-1").create_secret(Name="where", SecretString="staging, Frankfurt")
    async with (
        running(ACCOUNT_LAPTOP_PROFILE="laptop", ALLOWED_PROFILES="laptop,no-profile,no-role,fresh") as server,
        server.session() as session,
    ):
        yield session


async def where(call: Session, **target: str) -> str:
    answer = await call("get_secret_value", secret_id="where", **target)
    return str(answer.error_code if answer.is_error else answer["secret_value"])


async def test_profile_goes_before_role_and_role_before_default(call: Session) -> None:
    assert await where(call) == "base"
    assert await where(call, role_arn=ROLES["production"]) == "production"
    assert await where(call, role_arn=ROLES["production"], profile="laptop") == "staging, Frankfurt"


async def test_what_a_call_spells_out_wins_over_the_accounts_own(call: Session) -> None:
    assert await where(call, account="laptop") == "staging, Frankfurt"
    assert await where(call, account="laptop", region="us-east-1") == "staging"
    assert await where(call, account="laptop", role_arn=ROLES["production"]) == "production"
    assert await where(call, account="production", profile="laptop") == "staging, Frankfurt"


async def test_account_names_are_matched_without_regard_to_case_or_dashes(call: Session) -> None:
    assert [await where(call, account=name) for name in ("production", "PRODUCTION", "Production")] == [
        "production"
    ] * 3


async def test_what_is_unknown_or_not_allowed_is_refused_by_name(call: Session) -> None:
    assert await where(call, account="nowhere") == "UnknownAccount"
    assert await where(call, role_arn=ELSEWHERE) == "RoleNotAllowed"
    assert await where(call, role_arn=ELSEWHERE, profile="laptop") == "RoleNotAllowed"
    assert await where(call, profile="nobody") == "ProfileNotAllowed"
    assert await where(call, region="us-east-9") == "RegionNotAllowed"
    assert await where(call, region="eu_west_1") == "InvalidParameter"
    assert await where(call, role_arn="production") == "InvalidParameter"


async def test_a_profile_whose_name_is_a_filler_is_itself_and_not_the_base_identity(call: Session) -> None:
    assert await where(call, profile="no-profile") == "base"  # moto: unknown keys are the base account
    answer = await call("get_secret_value", secret_id="where", profile="no-role")
    assert answer.error_code == "ProfileNotAllowed"


async def test_list_accounts_says_how_each_is_reached(call: Session) -> None:
    listed = {account["name"]: account for account in (await call("list_accounts"))["accounts"]}
    assert listed["production"] == {
        "name": "production", "account_id": "111111111111", "region": "us-east-1", "role_arn": ROLES["production"],
    }  # fmt: skip
    assert listed["laptop"]["profile"] == "laptop"
    assert listed["laptop"]["region"] == "eu-central-1"


async def test_a_profile_added_to_the_hosts_files_is_known_without_a_restart(call: Session, profiles: Path) -> None:
    assert await where(call, profile="fresh") == "ProfileNotAllowed"
    profiles.write_text(CONFIG + "[profile fresh]\naws_access_key_id = x\naws_secret_access_key = y\n")
    os.utime(profiles, ns=(1, 1))
    assert await where(call, profile="fresh") == "base"


@pytest.mark.parametrize(
    ("environment", "target", "code"),
    [
        ({"ALLOW_DEFAULT_CREDENTIALS": "0"}, {}, "NoCredentials"),
        ({"ALLOWED_PROFILES": ""}, {"profile": "laptop"}, "ProfileNotAllowed"),
        ({"ALLOWED_PROFILES": "other"}, {"profile": "laptop"}, "ProfileNotAllowed"),
        ({"ALLOWED_ROLE_ARNS": ""}, {"account": "production"}, "RoleNotAllowed"),
        ({"ALLOWED_ROLE_ARNS": "arn:aws:iam::222222222222:role/*"}, {"account": "production"}, "RoleNotAllowed"),
        ({"ALLOWED_REGIONS": "eu-west-1"}, {"account": "production"}, "RegionNotAllowed"),
    ],
)
async def test_the_allow_lists_hold_for_every_spelling(
    profiles: Path, environment: dict[str, str], target: dict[str, Any], code: str
) -> None:
    async with running(**environment) as server, server.session() as call:
        assert await where(call, **target) == code


class _Host:
    def profiles(self) -> frozenset[str]:
        return frozenset()

    def profile_region(self, profile: str) -> str | None:
        return None

    def regions(self) -> frozenset[str]:
        return frozenset({"us-east-1", "eu-west-1"})


def decide(target: Target, **environment: str) -> Grant:
    return Policy(Settings.from_environment(environment), _Host()).decide(Caller("c"), target)


def test_a_role_spelled_out_is_the_configured_accounts_identity_with_its_external_id() -> None:
    configured = {"ACCOUNT_PROD_ROLE_ARN": ELSEWHERE, "ACCOUNT_PROD_EXTERNAL_ID": "shared"}
    by_name, by_role = decide(Target(account="prod"), **configured), decide(Target(role_arn=ELSEWHERE), **configured)
    assert by_name.identity == by_role.identity == Identity(role_arn=ELSEWHERE, external_id="shared")
    assert by_role.account == "prod"
    assert "shared" not in repr(by_role)


def test_globs_match_the_whole_arn() -> None:
    allowed = {"ALLOWED_ROLE_ARNS": "arn:aws:iam::*:role/ops-*"}
    assert decide(Target(role_arn="arn:aws:iam::333333333333:role/ops-read"), **allowed)
    with pytest.raises(RoleNotAllowed):
        decide(Target(role_arn="arn:aws:iam::333333333333:role/x/ops-read"), **allowed)


def test_without_any_account_configured_any_role_may_be_assumed() -> None:
    assert decide(Target(role_arn=ELSEWHERE)).identity.role_arn == ELSEWHERE


@given(st.text(max_size=80))
def test_no_text_is_taken_for_a_role_that_is_none(text: str) -> None:
    try:
        granted = decide(Target(role_arn=text), ALLOWED_ROLE_ARNS="arn:aws:iam::333333333333:role/*")
    except (InvalidParameter, RoleNotAllowed):
        return
    assert granted.identity.account_id == "333333333333"


@given(st.sampled_from(["role/x\n", "role/x\u0661", "role/", "user/x", "role/x y", "role/" + "x" * 513]))
def test_an_arn_with_a_tail_or_a_foreign_digit_is_malformed(resource: str) -> None:
    with pytest.raises(InvalidParameter):
        decide(Target(role_arn=f"arn:aws:iam::333333333333:{resource}"))


@pytest.mark.parametrize(
    ("arguments", "account", "region"),
    [
        ({"account": "Production"}, "production", "us-east-1"),
        ({"account": "production", "region": "eu-west-1"}, "production", "eu-west-1"),
        ({"account": "production", "region": "moon"}, "production", None),
        ({"account": "production", "role_arn": ELSEWHERE}, "production", None),
        ({"account": "hush", "region": "eu-west-1"}, None, "eu-west-1"),
        ({"role_arn": ROLES["staging"]}, "staging", "us-east-1"),
        ({"account": ["hush"]}, None, None),
        ({}, None, "us-east-1"),
    ],
)
async def test_a_failure_before_any_aws_call_says_where_the_call_would_have_run(
    call: Session, arguments: dict[str, Any], account: str | None, region: str | None
) -> None:
    refused = await call("create_secret", name="no name", secret_value="x", **arguments)
    assert refused.is_error
    assert (refused["account"], refused["region"]) == (account, region)
    where = " in ".join(part for part in (account, region) if part)
    assert refused.text.startswith(f"{refused['error_code']} ({where}): " if where else f"{refused['error_code']}: ")
    assert refused["next_step"]
    assert "hush" not in refused.text


CHAIN = """
[profile keys]
aws_access_key_id = x
aws_secret_access_key = y
[profile via]
role_arn = arn:aws:iam::111111111111:role/admin
source_profile = keys
[profile ops]
role_arn = arn:aws:iam::222222222222:role/aws-ops-target
source_profile = via
[profile web]
role_arn = arn:aws:iam::333333333333:role/admin
web_identity_token_file = /nowhere
[profile odd]
aws_access_key_id = x
aws_secret_access_key = y
region = us-east-1a
[profile china]
aws_access_key_id = x
aws_secret_access_key = y
region = cn-north-1
"""


async def decided(environment: dict[str, str], target: dict[str, str]) -> str | None:
    """Decide on a target; return the code of the refusal, if it is one."""
    async with running(**environment) as server:
        try:
            server.app.desk.policy.decide(server.app.desk.caller(), Target(**target))
        except Refusal as refused:
            return refused.error_code
        return None


@pytest.mark.parametrize(
    ("settings", "profile", "code"),
    [
        ({}, "keys", "ProfileNotAllowed"),
        ({"ALLOWED_PROFILES": "ops,web"}, "ops", "RoleNotAllowed"),
        ({"ALLOWED_PROFILES": "ops,web"}, "web", "RoleNotAllowed"),
        ({"ACCOUNT_X_PROFILE": "ops", "ALLOWED_ROLE_ARNS": ROLES["staging"]}, "ops", "RoleNotAllowed"),
        ({"ALLOWED_PROFILES": "keys"}, "keys", None),
        ({"ACCOUNT_X_PROFILE": "ops"}, "ops", None),
        (
            {"ALLOWED_PROFILES": "ops", "ALLOWED_ROLE_ARNS": f"{ROLES['staging']},arn:aws:iam::*:role/admin"},
            "ops",
            None,
        ),
        ({"ALLOWED_PROFILES": "odd"}, "odd", "InvalidParameter"),
    ],
    ids=str,
)
async def test_each_role_on_a_profiles_way_passes_the_rule_for_roles(
    profiles: Path, settings: dict[str, str], profile: str, code: str | None
) -> None:
    profiles.write_text(CHAIN)
    assert await decided(settings, {"profile": profile}) == code


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ({"region": "cn-north-1"}, "RegionNotAllowed"),
        ({"account": "production", "region": "us-gov-west-1"}, "RegionNotAllowed"),
        ({"role_arn": "arn:aws-cn:iam::444444444444:role/x", "region": "us-east-1"}, "RegionNotAllowed"),
        ({"profile": "keys", "region": "eusc-de-east-1"}, "RegionNotAllowed"),
        ({"role_arn": "arn:aws-cn:iam::444444444444:role/x", "region": "cn-northwest-1"}, None),
        ({"profile": "china"}, None),
        ({"account": "production", "region": "ap-southeast-2"}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("listed", [{}, {"ALLOWED_REGIONS": "us-east-1,ap-southeast-2,cn-north-1,cn-northwest-1"}])
async def test_no_identity_is_taken_to_another_partition(
    profiles: Path, listed: dict[str, str], target: dict[str, str], code: str | None
) -> None:
    profiles.write_text(CHAIN)
    assert await decided({"ALLOWED_ROLE_ARNS": "*", "ALLOWED_PROFILES": "keys,china", **listed}, target) == code


OUTSIDE: list[dict[str, str]] = [
    {"account": "production"},
    {"account": "no-such"},
    {"account": "333333333333"},
    {"profile": "laptop"},
    {"profile": "no-such"},
    {"role_arn": ROLES["production"]},
    {"role_arn": ELSEWHERE},
    {"account": "staging", "profile": "laptop"},
    {"account": "no-such", "region": "no-region-1"},
    {},
]


async def test_whatever_lies_outside_a_confined_callers_accounts_is_refused_in_the_same_words(profiles: Path) -> None:
    mine, said = Caller("jo", accounts=frozenset({"staging"})), set()
    async with running(ACCOUNT_LAPTOP_PROFILE="laptop", ALLOWED_ROLE_ARNS="arn:aws:iam::111111111111:role/*") as server:
        policy = server.app.desk.policy
        for target in OUTSIDE:
            with pytest.raises(AccountNotAllowed) as refused:
                policy.decide(mine, Target(**target))
            said.add((refused.value.message, refused.value.next_step))
            assert policy.place(mine, Target(**target)) == (None, None)
    assert len(said) == 1


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION", "ALLOWED_REGIONS", "ACCOUNT_STAGING_REGION"])
def test_a_region_that_nobody_knows_stops_the_start_and_is_named_by_its_variable(variable: str) -> None:
    environment = {name: value for name, value in server_environment().items() if name != "AWS_REGION"}
    with pytest.raises(ConfigurationError, match=variable):
        Settings.from_environment({**environment, variable: "us-east-9"})
