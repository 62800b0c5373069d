"""Profiles: every tool runs with one, of plain keys or of a role; and one without credentials borrows nobody's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import test_lost_answers as lost
from tests.access.test_credentials import pod_identity_agent
from tests.access.test_session_policies import calls_of, samples  # noqa: F401 - a fixture
from tests.conftest import Answer, Session, boto, running
from tests.contract import all_tools

BASE = "123456789012"
PROFILES = f"""
[profile keys]
aws_access_key_id = testing
aws_secret_access_key = testing
[profile role]
role_arn = arn:aws:iam::{BASE}:role/aws-ops-target
source_profile = keys
[profile bare]
region = eu-west-1
"""
ALLOWED = {"ALLOWED_PROFILES": "keys,role,bare", "ALLOWED_ROLE_ARNS": "arn:aws:iam::*:role/aws-ops-target"}
# What the table of changing tools leaves to others.
MORE: list[tuple[str, dict[str, Any]]] = [
    ("rotate_secret", {"secret_id": "app/db"}),
    ("create_hosted_zone", {"name": "new.example.com"}),
    ("change_resource_record_sets", {"hosted_zone_id": "{zone}", "changes": [
        {"action": "UPSERT", "name": "www.example.com", "type": "A", "ttl": 60, "resource_records": ["192.0.2.1"]}
    ]}),
    ("delete_hosted_zone", {"hosted_zone_id": "{empty_zone}"}),
]  # fmt: skip
# What tools need that takes the place of another argument.
ONE_OF_SEVERAL: dict[str, dict[str, Any]] = {
    "compare_secrets": {"other_secret_id": "app/other"},
    "explain_denial": {"encoded_message": "x" * 40},
}
# AWS itself may refuse what an earlier tool of the table has undone; these say that the call never got so far.
OURS = {"DeadlineExceeded", "InternalError", "InvalidParameter", "NoCredentials", "OutcomeUnknown", "UnknownError"}


@pytest.fixture
def profiles(aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(PROFILES)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.fixture
async def call(profiles: None) -> AsyncIterator[Session]:
    async with running(TOOLSETS="all", CALL_DEADLINE_SECONDS="10", **ALLOWED) as server, server.session() as session:
        yield session


@cache
def with_profiles(*, changing: bool) -> set[str]:
    tools = {name: tool for name, (_, tool) in all_tools().items() if "profile" in tool.parameters["properties"]}
    return {name for name, tool in tools.items() if tool.spec.scope.changes is changing}


def reached_aws(answer: Answer) -> bool:
    return answer["account_id"] == BASE if answer.content.get("success") else answer.error_code not in OURS


@pytest.mark.parametrize("profile", ["keys", "role"])
async def test_every_reading_tool_runs_as_a_profile(call: Session, samples: dict[str, Any], profile: str) -> None:  # noqa: F811 - the fixture
    wrong, ran = {}, set()
    for tool in await call.client.list_tools():
        if tool.name in with_profiles(changing=False):
            given = next(calls_of(tool, samples)) | ONE_OF_SEVERAL.get(tool.name, {})
            answer = await call(tool.name, **given, profile=profile)
            ran.add(tool.name)
            if not reached_aws(answer):
                wrong[tool.name] = answer.text
    assert wrong == {}
    assert {"presign_object", "get_secret_value", "explain_denial"} <= ran


@pytest.mark.parametrize("profile", ["keys", "role"])
async def test_every_changing_tool_runs_as_a_profile(call: Session, profile: str) -> None:
    ids = {"account": BASE, "role_arn": f"arn:aws:iam::{BASE}:role/aws-ops-target"}
    arranging = {
        "secretsmanager": lost._secrets,
        "ec2": lost._instances,
        "iam": lost._roles,
        "s3": lost._buckets,
    }
    for service, make in arranging.items():
        ids |= make(boto(service), BASE)
    for name in ("zone", "empty_zone"):
        zone = boto("route53").create_hosted_zone(Name="example.com", CallerReference=name)["HostedZone"]["Id"]
        ids[name] = zone.rpartition("/")[2]
    wrong, ran = {}, set()
    for name, arguments in [*((case.tool, case.arguments) for case in lost.CASES), *MORE]:
        given = {argument: lost.filled(value, ids) for argument, value in arguments.items()}
        answer = await call(name, **given, profile=profile)
        if answer.error_code == "ConfirmationRequired":
            answer = await call(name, **given, profile=profile, confirm=answer["confirm"])
        ran.add(name)
        if not reached_aws(answer):
            wrong[name] = answer.text
    assert wrong == {}
    assert ran == with_profiles(changing=True)


async def test_a_profile_without_credentials_does_not_borrow_the_containers(
    profiles: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    (tmp_path / "token").write_text("t")
    with pod_identity_agent(3600) as (url, _):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        async with running(**ALLOWED) as server, server.session() as call:
            assert (await call("list_secrets"))["success"]
            for tool in ("list_secrets", "get_caller_identity"):
                assert (await call(tool, profile="bare")).error_code == "NoCredentials"
