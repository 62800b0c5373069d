"""Versions, stages, rolling back and rotating: what moves, what is stuck, and what is refused before anything moves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Server, Session, boto, running
from tests.services import secret_day as day
from tests.standin import Standin

AT: dict[str, Any] = {"account": "production"}


@pytest.fixture
async def call(running_server: Server) -> AsyncIterator[Session]:
    async with running_server.session() as session:
        yield session


def stages(name: str) -> dict[str, list[str]]:
    return dict(boto("secretsmanager", "production").describe_secret(SecretId=name)["VersionIdsToStages"])


def pending(name: str) -> str:
    """Leave a version of a rotation that ended badly."""
    put = boto("secretsmanager", "production").put_secret_value(
        SecretId=name, SecretString="half made", VersionStages=["AWSPENDING"]
    )
    return str(put["VersionId"])


async def test_a_rollback_says_what_moved_and_a_second_one_undoes_it(call: Session) -> None:
    first = await call("create_secret", name="v", secret_value="1", **AT)
    second = await call("update_secret", secret_id="v", secret_value="2", **AT)
    back = await call("rollback_secret", secret_id="v", **AT)
    assert (back["from_version_id"], back["to_version_id"]) == (second["version_id"], first["version_id"])
    assert stages("v") == {first["version_id"]: ["AWSCURRENT"], second["version_id"]: ["AWSPREVIOUS"]}
    await call("rollback_secret", secret_id="v", **AT)
    assert stages("v") == {first["version_id"]: ["AWSPREVIOUS"], second["version_id"]: ["AWSCURRENT"]}


async def test_a_version_that_has_lost_its_stages_can_be_gone_back_to_by_its_id(call: Session) -> None:
    first = await call("create_secret", name="v", secret_value="1", **AT)
    for number in "23":
        await call("update_secret", secret_id="v", secret_value=number, **AT)
    listed = await call("list_secret_versions", secret_id="v", include_deprecated=True, **AT)
    assert first["version_id"] in {row["version_id"] for row in listed["versions"]}
    back = await call("rollback_secret", secret_id="v", version_id=first["version_id"], **AT)
    assert back["to_version_id"] == first["version_id"]
    assert "AWSCURRENT" in stages("v")[first["version_id"]]


async def test_what_cannot_be_gone_back_to_is_refused_before_anything_moves(call: Session) -> None:
    made = await call("create_secret", name="v", secret_value="1", **AT)
    half = pending("v")
    for version in (None, made["version_id"], half, "0" * 36):
        refused = await call("rollback_secret", secret_id="v", **({"version_id": version} if version else {}), **AT)
        assert refused.error_code == "InvalidParameter", version
    assert stages("v") == {made["version_id"]: ["AWSCURRENT"], half: ["AWSPENDING"]}


async def test_a_stage_is_put_moved_taken_off_and_found_where_it_is(call: Session) -> None:
    first = (await call("create_secret", name="v", secret_value="1", **AT))["version_id"]
    second = (await call("update_secret", secret_id="v", secret_value="2", **AT))["version_id"]
    at: dict[str, Any] = {"secret_id": "v", "version_stage": "release", **AT}
    put = await call("update_secret_version_stage", to_version_id=first, **at)
    assert put.content.get("from_version_id") is None
    again = await call("update_secret_version_stage", to_version_id=first, **at)
    assert (again.is_error, stages("v")[first]) == (False, ["AWSPREVIOUS", "release"])
    moved = await call("update_secret_version_stage", to_version_id=second, from_version_id=first, **at)
    assert (moved["from_version_id"], moved["to_version_id"]) == (first, second)
    stale = await call("update_secret_version_stage", to_version_id=second, from_version_id=first, **at)
    assert stale.error_code == "VersionConflict"
    unknown = await call("update_secret_version_stage", to_version_id="0" * 36, **at)
    assert unknown.error_code == "InvalidParameter"
    assert stages("v")[second] == ["AWSCURRENT", "release"]
    await call("update_secret_version_stage", from_version_id=second, **at)
    assert stages("v") == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}


async def test_aws_own_stages_stay_where_they_are_but_for_a_stuck_awspending(call: Session) -> None:
    made = (await call("create_secret", name="v", secret_value="1", **AT))["version_id"]
    half = pending("v")
    for stage, move in (
        ("AWSCURRENT", {"to_version_id": half}),
        ("AWSCURRENT", {"from_version_id": made}),
        ("AWSPREVIOUS", {"to_version_id": half}),
        ("AWSPENDING", {"to_version_id": made}),
        ("mine", {}),
    ):
        refused = await call("update_secret_version_stage", secret_id="v", version_stage=stage, **move, **AT)
        assert refused.error_code == "InvalidParameter", stage
    freed = await call(
        "update_secret_version_stage", secret_id="v", version_stage="AWSPENDING", from_version_id=half, **AT
    )
    assert not freed.is_error
    assert stages("v")[half] == []


# --- rotation ------------------------------------------------------------------------------------------------------


async def test_a_rotation_is_waited_for_and_told_of(running_server: Server) -> None:
    told: list[str] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(f"{message} {done <= (total or 0)}")

    with day.rotating():
        day.seed()
        day.has_a_function("legacy/api")
        async with running_server.session(progress_handler=progress) as call:
            rotated = await call("rotate_secret", secret_id="legacy/api", **AT)
            assert (rotated["finished"], rotated.content.get("advice")) == (True, None)
            assert stages("legacy/api")[rotated["version_id"]] == ["AWSCURRENT"]
            begun = await call("rotate_secret", secret_id="legacy/api", wait=False, **AT)
    assert (begun["finished"], "describe_secret" in begun["advice"]) == (False, True)
    assert told == ["rotating True"]


async def test_a_rotation_whose_function_fails_is_not_finished_within_the_deadline(aws: str) -> None:
    day.seed()
    with day.rotating(ends=False):
        day.has_a_function("legacy/api")
        async with running(CALL_DEADLINE_SECONDS="5") as server, server.session() as call:
            failed = await call("rotate_secret", secret_id="legacy/api", **AT)
            assert (failed.is_error, failed["finished"]) == (False, False)
            assert f"from_version_id={failed['version_id']}" in failed["advice"]
            stuck = await call("rotate_secret", secret_id="legacy/api", **AT)
    assert stuck.error_code == "InvalidParameter"
    assert f"from_version_id={failed['version_id']}" in stuck["next_step"]


async def test_a_rotation_without_a_function_is_refused_with_what_to_do(call: Session) -> None:
    await call("create_secret", name="bare", secret_value="v", **AT)
    refused = await call("rotate_secret", secret_id="bare", **AT)
    assert refused.error_code == "InvalidParameter"
    assert "configure_rotation" in refused["next_step"]
    assert len(stages("bare")) == 1


async def test_a_secret_that_an_aws_service_rotates_needs_no_function(call: Session) -> None:
    with day.rotating():
        boto("secretsmanager", "production").create_secret(
            Name="rds!db",
            SecretString="v",
            Tags=[{"Key": "aws:secretsmanager:owningService", "Value": "rds"}],
        )
        assert (await call("rotate_secret", secret_id="rds!db", **AT))["finished"] is True


async def test_a_version_that_has_been_pending_for_too_long_comes_with_awss_advice(
    call: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.secretsmanager.models import SecretsManagerBackend

    await call("create_secret", name="v", secret_value="1", **AT)
    half = pending("v")
    fresh = await call("list_secret_versions", secret_id="v", **AT)
    assert "advice" not in fresh.content, "a rotation may be at work"
    days_ago(monkeypatch, SecretsManagerBackend, 3)
    stuck = await call("list_secret_versions", secret_id="v", **AT)
    assert "CloudWatch" in stuck["advice"]
    assert half in stuck["advice"]


def days_ago(monkeypatch: pytest.MonkeyPatch, backend: Any, days: float) -> None:
    """Have versions be so old; moto says that all were made just now."""
    lists = backend.list_secret_version_ids

    def list_secret_version_ids(self: Any, secret_id: str) -> str:
        answer = json.loads(lists(self, secret_id))
        for version in answer["Versions"]:
            version["CreatedDate"] = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        return json.dumps(answer)

    monkeypatch.setattr(backend, "list_secret_version_ids", list_secret_version_ids)


# --- when AWS's answer is lost -------------------------------------------------------------------------------------


async def test_a_rollback_whose_answer_is_lost_is_done_once_and_said(faulty: Session, faults: Standin) -> None:
    first = (await faulty("create_secret", name="v", secret_value="1", **AT))["version_id"]
    second = (await faulty("update_secret", secret_id="v", secret_value="2", **AT))["version_id"]
    faults.fault("lost", operation="UpdateSecretVersionStage", times=1)
    back = await faulty("rollback_secret", secret_id="v", **AT)
    assert not back.is_error, back.content
    assert stages("v") == {first: ["AWSCURRENT"], second: ["AWSPREVIOUS"]}
