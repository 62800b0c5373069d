"""Knowing where you are: identities, the organization, and CloudTrail (canned: moto has none)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from services import accounts
from tests.conftest import ROLES, Session, running, session_of
from tests.loopback import Handler, listening


@pytest.fixture
async def call(aws: str, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with session_of("accounts", wire) as session:
        yield session


async def test_a_caller_learns_who_it_is_in_an_account(call: Session) -> None:
    here = await call("get_caller_identity", account="staging")
    assert (here["account"], here["name"], here["account_id"]) == ("222222222222", "staging", "222222222222")
    assert here["arn"].endswith("assumed-role/aws-ops-target/aws-ops-default")
    base = await call("get_caller_identity")
    assert base["account"] == "123456789012"
    assert "name" not in base.content


PROFILES = """
[profile keys]
region = eu-central-1
aws_access_key_id = somebody
aws_secret_access_key = somebody
[profile role]
role_arn = arn:aws:iam::222222222222:role/aws-ops-target
source_profile = keys
[profile lost]
credential_process = sleep 20
"""


async def test_a_profiles_account_number_is_in_the_list_and_a_profile_that_hangs_delays_it_little(
    aws: str, wire: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(PROFILES)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(accounts, "_NUMBERS_SECONDS", 2)
    profiles = {f"ACCOUNT_{name.upper()}_PROFILE": name for name in ("keys", "role", "lost")}
    async with running(TOOLSETS="accounts", **profiles) as server, server.session(*wire) as call:
        first = await call("list_accounts")
        begun = time.monotonic()
        again = await call("list_accounts")
        assert time.monotonic() - begun < 1.5, "the one that hangs was asked again"
    for answer in (first, again):
        numbers = {row["name"]: row.get("account_id") for row in answer["accounts"]}
        assert (numbers["keys"], numbers["role"], numbers["lost"]) == ("123456789012", "222222222222", None)
        assert {"account_id", "region"}.isdisjoint(answer.content)


async def test_the_organization_is_shown_with_paths_tags_and_what_is_configured(
    aws: str, wire: tuple[str, str]
) -> None:
    organizations = boto3.client("organizations", region_name="us-east-1")
    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    unit = organizations.create_organizational_unit(ParentId=root, Name="Workloads")["OrganizationalUnit"]["Id"]
    made = organizations.create_account(
        AccountName="shop", Email="shop@example.com", Tags=[{"Key": "Team", "Value": "x"}]
    )
    number = made["CreateAccountStatus"]["AccountId"]
    organizations.move_account(AccountId=number, SourceParentId=root, DestinationParentId=unit)
    role = f"arn:aws:iam::{number}:role/aws-ops-target"
    async with running(TOOLSETS="accounts", ACCOUNT_SHOP_ROLE_ARN=role) as server, server.session(*wire) as call:
        answer = await call("discover_accounts")
    rows = {row["name"]: row for row in answer["accounts"]}
    assert rows["shop"]["path"] == "/Root/Workloads"
    assert rows["shop"]["tags"] == {"Team": "x"}
    assert (rows["shop"]["configured_as"], rows["shop"]["reachable"]) == ("shop", True)
    assert "configured_as" not in rows["master"]
    assert answer["truncated"] is False


EVENT = {
    "EventId": "e-1", "EventName": "GetSecretValue", "ReadOnly": "true", "EventTime": 1795000000.0,
    "EventSource": "secretsmanager.amazonaws.com", "Username": "aws-ops-alice",
    "Resources": [{"ResourceType": "AWS::SecretsManager::Secret", "ResourceName": "prod/db"}],
    "CloudTrailEvent": json.dumps(
        {
            "userIdentity": {
                "arn": "arn:aws:sts::111111111111:assumed-role/aws-ops-target/aws-ops-alice",
                "sessionContext": {"sourceIdentity": "aws-ops-alice"},
            },
            "requestParameters": {"secretId": "arn:aws:secretsmanager:us-east-1:111111111111:secret:prod/db-AbCdEf"},
            "userAgent": "aws-ops", "sourceIPAddress": "192.0.2.1", "awsRegion": "us-east-1",
            "errorCode": "AccessDenied",
        }
    ),
}  # fmt: skip
ASKED: list[dict[str, Any]] = []


class _CannedTrail(Handler):
    def answer(self, body: bytes) -> None:
        ASKED.append(json.loads(body))
        self.reply_json({"Events": [EVENT], **({} if "NextToken" in ASKED[-1] else {"NextToken": "more"})})


@pytest.fixture
def canned_trail(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ASKED.clear()
    with listening(_CannedTrail) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDTRAIL", url)
        yield


async def test_cloudtrail_says_who_did_what_to_a_resource(canned_trail: None, call: Session) -> None:
    at: dict[str, Any] = {"resource_name": "prod/db", "start_time": "2026-11-01T00:00:00Z", "account": "production"}
    first = await call("lookup_events", **at)
    (event,) = first["events"]
    assert (event["event_name"], event["source_identity"], event["error_code"]) == (
        "GetSecretValue", "aws-ops-alice", "AccessDenied",
    )  # fmt: skip
    assert (event["read_only"], event["resources"], event["source_ip"]) == (
        True,
        ["prod/db", "arn:aws:secretsmanager:us-east-1:111111111111:secret:prod/db-AbCdEf"],
        "192.0.2.1",
    )
    assert first["truncated"] is True
    rest = await call("lookup_events", **at, next_token=first["next_token"])
    assert rest["truncated"] is False
    assert ASKED[0]["LookupAttributes"] == [{"AttributeKey": "ResourceName", "AttributeValue": "prod/db"}]


async def test_who_read_a_secret_last_is_found_by_name_or_arn_among_all_reads(
    canned_trail: None, call: Session
) -> None:
    for name in ("prod/db", EVENT["CloudTrailEvent"].split('"')[5]):
        found = await call("lookup_events", event_name="GetSecretValue", resource_name="prod/db", account="production")
        assert found["events"][0]["event_id"] == "e-1", name
    assert ASKED[0]["LookupAttributes"] == [{"AttributeKey": "EventName", "AttributeValue": "GetSecretValue"}]
    ASKED.clear()
    other = await call("lookup_events", event_name="GetSecretValue", resource_name="prod", account="production")
    assert (other["events"], other["truncated"]) == ([], False)
    assert len(ASKED) == 2  # it went on past the page that held nothing of it
    key = await call("lookup_events", access_key_id="AKIA1", account="production")
    assert key["count"] == 1
    assert ASKED[-1]["LookupAttributes"] == [{"AttributeKey": "AccessKeyId", "AttributeValue": "AKIA1"}]


class _CannedOrganization(Handler):
    """An organization of today: State without Status, and a caller who may see neither tags nor parents."""

    def answer(self, body: bytes) -> None:
        sent = json.loads(body)
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        status, answer = 400, dict[str, Any](__type="AccessDeniedException", Message="No.")
        if operation == "ListAccounts":
            number, state = ("222222222222", "SUSPENDED") if "NextToken" in sent else ("111111111111", "ACTIVE")
            more = {} if "NextToken" in sent else {"NextToken": "more"}
            status, answer = 200, {"Accounts": [{"Id": number, "Name": number, "State": state}], **more}
        self.reply_json(answer, status)


async def test_what_aws_denies_of_an_account_does_not_empty_the_answer(
    aws: str, wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = {"ACCOUNT_ADMIN_ROLE_ARN": "arn:aws:iam::111111111111:role/admin"}
    with listening(_CannedOrganization) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_ORGANIZATIONS", url)
        async with running(TOOLSETS="accounts", **second) as server, server.session(*wire) as call:
            first = await call("discover_accounts", max_results=1)
            rest = await call("discover_accounts", max_results=1, next_token=first["next_token"])
    (row,) = first["accounts"]
    assert {row["configured_as"], *row["also_configured_as"]} == {"production", "admin"}
    assert (row["state"], row["reachable"]) == ("ACTIVE", True)
    assert row["unknown"] == {"path": "AccessDeniedException", "tags": "AccessDeniedException"}
    assert (first["truncated"], rest["truncated"], rest["accounts"][0]["state"]) == (True, False, "SUSPENDED")


async def test_bad_input_is_refused(call: Session) -> None:
    for arguments in (
        {"start_time": "yesterday"},
        {"start_time": "2026-11-01T00:00:00"},
        {"start_time": "2026-11-02T00:00:00Z", "end_time": "2026-11-01T00:00:00Z"},
        {"max_results": 51},
    ):
        answer = await call("lookup_events", account="production", **arguments)
        assert answer.error_code == "InvalidParameter", arguments
    assert set(ROLES) == {"production", "staging"}
