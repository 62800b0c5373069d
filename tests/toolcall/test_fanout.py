"""Asking many accounts at once: those that hang hold up neither the rest nor what the call has still to do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import boto3
import pytest

from tests.conftest import aws_environment, running
from tests.standin import Standin

HANGING = {f"hanging-{number}": f"arn:aws:iam::9000000000{number}:role/aws-ops-target" for number in range(10, 22)}
HEALTHY = {f"well-{number}": f"arn:aws:iam::7000000000{number}:role/aws-ops-target" for number in range(10, 14)}


@pytest.fixture(scope="module")
def aws() -> Iterator[Standin]:
    with Standin() as standin, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "ACCOUNT_", "MCP_"))]:
            patch.delenv(name)
        for name, value in aws_environment(standin.url).items():
            patch.setenv(name, value)
        yield standin


async def test_a_dozen_accounts_that_hang_do_not_keep_the_others_from_being_asked(aws: Standin) -> None:
    reports: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        reports.append(progress)

    aws.fault("hang", service="route53", account="9*")
    accounts = {
        f"ACCOUNT_{name.upper().replace('-', '_')}_ROLE_ARN": role for name, role in {**HANGING, **HEALTHY}.items()
    }
    settings = {"TOOLSETS": "route53", "CALL_DEADLINE_SECONDS": "7", **accounts}
    async with running(**settings) as server, server.session(progress_handler=note) as call:
        content = (await call("find_zone_owner", name="www.example.com")).content
    assert content["asked"] == 18
    assert {failure["account"] for failure in content["failures"]} == set(HANGING)
    assert {failure["error_code"] for failure in content["failures"]} == {"DeadlineExceeded"}
    assert reports == sorted(reports)
    assert reports[-1] >= 6


async def test_accounts_that_hang_do_not_empty_the_organizations_list(aws: Standin) -> None:
    aws.clear()
    organizations = boto3.client("organizations", region_name="us-east-1")
    organizations.create_organization(FeatureSet="ALL")
    made = [
        organizations.create_account(AccountName=f"a-{number}", Email=f"{number}@example.com")["CreateAccountStatus"]
        for number in range(2)
    ]
    roles = {f"ACCOUNT_MEMBER{n}_ROLE_ARN": f"arn:aws:iam::{one['AccountId']}:role/r" for n, one in enumerate(made)}
    aws.fault("hang", operation="AssumeRole", role_arn=f"arn:aws:iam::{made[0]['AccountId']}:role/r")
    async with running(TOOLSETS="accounts", CALL_DEADLINE_SECONDS="7", **roles) as server, server.session() as session:
        begun = time.monotonic()
        answer = await session("discover_accounts")
        assert time.monotonic() - begun < 6
    rows = {row["id"]: row for row in answer["accounts"]}
    assert (rows[made[0]["AccountId"]]["reachable"], rows[made[1]["AccountId"]]["reachable"]) == (False, True)
    assert rows[made[0]["AccountId"]]["reason"] == "DeadlineExceeded"


@pytest.mark.parametrize(
    ("tool", "arguments"), [("find_zone_owner", {"name": "a.example"}), ("find_ip_owner", {"address": "10.0.0.1"})]
)
async def test_who_may_not_use_the_default_credentials_may_still_ask_all_accounts(
    aws: Standin, tool: str, arguments: dict[str, str]
) -> None:
    aws.clear()
    async with running(TOOLSETS="all", ALLOW_DEFAULT_CREDENTIALS="0") as server, server.session() as session:
        answer = await session(tool, **arguments)
        assert (answer["asked"], answer.content.get("failures", [])) == (2, [])
        assert answer["account_id"] == "111111111111"
        assert (await session("list_secrets")).error_code == "NoCredentials"
