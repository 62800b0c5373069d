"""Knowing where you are: identities, the organization, and CloudTrail (canned: moto has none)."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.session import Session as BotocoreSession

from services import accounts
from services._trail import GLOBAL_REGIONS
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
    events: list[dict[str, Any]] = [EVENT]
    more = True

    def answer(self, body: bytes) -> None:
        ASKED.append(json.loads(body))
        cut = self.more and "NextToken" not in ASKED[-1]
        self.reply_json({"Events": self.events, **({"NextToken": "more"} if cut else {})})


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


async def test_a_name_is_not_cut_out_of_another_kind_of_arn(
    canned_trail: None, call: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = {**EVENT, "Resources": [{"ResourceName": "arn:aws:iam::111111111111:role/app-backup"}]}
    monkeypatch.setattr(_CannedTrail, "events", [role])
    for name, count in (("app", 0), ("app-backup", 1), ("prod/db", 1)):
        found = await call("lookup_events", event_name="GetSecretValue", resource_name=name, account="production")
        assert found["count"] == count, name


DEEP = '{"userIdentity": {"arn": "arn:x"}, "requestParameters": ' + '{"a":' * 6_000 + "1" + "}" * 6_000 + "}"
ODD_DETAILS: dict[str, Any] = {
    "nested": DEEP,
    "half a pair": json.dumps({"userAgent": "agent \ud800", "requestParameters": {"secretName": "\udfff"}}),
    "numbers": '{"errorCode": NaN, "userAgent": 1e999, "sourceIPAddress": ' + "9" * 5_000 + "}",
    "wrong types": json.dumps({"userIdentity": ["x"], "awsRegion": {}, "errorCode": 7, "requestParameters": "all"}),
    "a list": "[1]", "a cut": '{"userIdentity": {"arn"', "nothing": "", "a null": "null",
    "wrong inside": json.dumps({"userIdentity": {"arn": 5, "sessionContext": "s"}, "requestParameters": {"id": [1]}}),
}  # fmt: skip


async def test_an_event_that_cannot_be_read_goes_without_its_details_and_hides_no_other(
    canned_trail: None, call: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [{**EVENT, "EventId": name, "CloudTrailEvent": detail} for name, detail in ODD_DETAILS.items()]
    odd.append({**EVENT, "EventId": "outside", "Username": "user\ud801", "Resources": [{"ResourceName": "r\udc00"}]})
    monkeypatch.setattr(_CannedTrail, "events", [EVENT, *odd, EVENT])
    answer = await call("lookup_events", account="production")
    assert [row["event_id"] for row in answer["events"]] == ["e-1", *ODD_DETAILS, "outside", "e-1"]
    for row in answer["events"][1:-2]:
        assert {"user_agent", "error_code", "source_ip", "principal_arn"}.isdisjoint(row), row
        assert (row["event_name"], row["resources"]) == ("GetSecretValue", ["prod/db"])
    assert "username" not in answer["events"][-2]
    assert answer["events"][-1]["source_ip"] == "192.0.2.1"
    json.dumps(answer.content).encode()


@pytest.mark.parametrize(
    ("region", "elsewhere"),
    [("eu-west-1", "us-east-1"), ("us-east-1", None), ("ap-southeast-2", "us-east-1")],
)
async def test_a_lookup_that_finds_nothing_says_where_the_rest_is(
    canned_trail: None, call: Session, monkeypatch: pytest.MonkeyPatch, region: str, elsewhere: str | None
) -> None:
    monkeypatch.setattr(_CannedTrail, "events", [])
    monkeypatch.setattr(_CannedTrail, "more", False)
    note = (await call("lookup_events", resource_name="role", region=region, account="production"))["note"]
    assert (f"events are in {elsewhere}" in note) == (elsewhere is not None)
    assert f"Nothing was found in {region}" in note
    old = await call("lookup_events", start_time="2020-01-01T00:00:00Z", region=region, account="production")
    assert "90 days" in old["note"]
    monkeypatch.setattr(_CannedTrail, "events", [EVENT])
    assert "note" not in (await call("lookup_events", region=region, account="production")).content
    old = await call("lookup_events", start_time="2020-01-01T00:00:00Z", region=region, account="production")
    assert ("90 days" in old["note"], "Nothing" in old["note"]) == (True, False)


def test_each_partition_has_its_own_region_for_what_has_none() -> None:
    known = BotocoreSession().get_component("data_loader").load_data("endpoints")["partitions"]

    def signed_in(partition: dict[str, Any], service: str) -> str | None:
        about = partition["services"].get(service, {})
        scope = about.get("endpoints", {}).get(about.get("partitionEndpoint"), {}).get("credentialScope")
        return scope["region"] if scope else None

    for partition in known:
        iam = signed_in(partition, "iam")
        if iam is not None:
            here = GLOBAL_REGIONS[partition["partition"]]
            assert here == (iam, signed_in(partition, "route53") or iam), partition["partition"]


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
