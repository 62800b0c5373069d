"""The audit of an account's secrets: each kind of finding, and that what cannot be looked at empties nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer, Session, aws_environment, boto, running
from tests.standin import Standin

AT: dict[str, Any] = {"account": "production"}
SETTINGS = {"TOOLSETS": "secrets-admin"}


@pytest.fixture
async def call(aws: str) -> AsyncIterator[Session]:
    async with running(**SETTINGS) as server, server.session() as session:
        yield session


def manager(region: str = "us-east-1") -> Any:
    return boto("secretsmanager", "production", region)


def found(audit: Answer, secret: str) -> set[str]:
    assert not audit.is_error, audit.content
    return {row["finding"] for row in audit["findings"] if row["secret"] == secret}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a secret be so many days older in some of its dates, or otherwise other, than moto can make it."""
    from moto.secretsmanager.models import FakeSecret

    changes: dict[str, dict[str, Any]] = {}
    shows = FakeSecret.to_dict

    def to_dict(secret: Any) -> dict[str, Any]:
        return {**shows(secret), **changes.get(secret.name, {})}

    def change(name: str, **members: Any) -> None:
        changes[name] = members

    monkeypatch.setattr(FakeSecret, "to_dict", to_dict)
    return change


def days(number: float) -> float:
    """A moment so many days from now."""
    return (datetime.now(UTC) + timedelta(days=number)).timestamp()


async def test_each_kind_of_trouble_is_found_with_what_to_do(
    call: Session, listed: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from moto.secretsmanager.models import SecretsManagerBackend

    quiet = {
        "KmsKeyId": "alias/own",
        "RotationEnabled": True,
        "NextRotationDate": days(5),
        "LastAccessedDate": days(-1),
    }

    def make(name: str, value: str | None = None, **members: Any) -> str:
        listed(name, **{**quiet, **members})
        return str(manager().create_secret(Name=name, SecretString=value or f"of {name}")["ARN"])

    make("fine")
    make("overdue", NextRotationDate=days(-3), LastRotatedDate=days(-40))
    make(
        "overdue-by-rule",
        NextRotationDate=None,
        LastRotatedDate=days(-40),
        RotationRules={"AutomaticallyAfterDays": 30},
    )
    make("waiting", LastRotatedDate=None)
    make("never", NextRotationDate=None, LastRotatedDate=None)
    make("no-rotation", RotationEnabled=False)
    make("unread", LastAccessedDate=days(-200))
    make("never-read", LastAccessedDate=None, CreatedDate=days(-200))
    make("default-key", KmsKeyId=None)
    make("awss-key", KmsKeyId="arn:aws:kms:us-east-1:111111111111:alias/aws/secretsmanager")
    make("stuck")
    manager().put_secret_value(SecretId="stuck", SecretString="half", VersionStages=["AWSPENDING"])
    listed("stuck", **quiet)
    make("replicated")
    manager("eu-west-1").create_secret(Name="replicated", SecretString="somebody else's")
    manager().replicate_secret_to_regions(SecretId="replicated", AddReplicaRegions=[{"Region": "eu-west-1"}])
    make("drifting")
    manager().replicate_secret_to_regions(SecretId="drifting", AddReplicaRegions=[{"Region": "eu-west-1"}])
    from moto.secretsmanager.models import secretsmanager_backends

    secretsmanager_backends["111111111111"]["us-east-1"].secrets["drifting"].replicas[0].config["Status"] = "Detached"
    for name, principal, condition in (
        ("public", "*", None),
        ("conditional", "*", {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}),
        ("foreign", {"AWS": ["arn:aws:iam::999999999999:role/x", "111111111111"]}, None),
        ("own", {"AWS": "arn:aws:iam::111111111111:root"}, None),
    ):
        make(name)
        one = {"Effect": "Allow", "Principal": principal, "Action": "*", "Resource": "*"}
        document = {"Statement": [one | ({"Condition": condition} if condition else {})]}
        manager().put_resource_policy(SecretId=name, ResourcePolicy=json.dumps(document))
    for name in ("twin-a", "twin-b"):
        make(name, value="the same")
    make("doomed")
    manager().delete_secret(SecretId="doomed", RecoveryWindowInDays=7)
    listed("doomed")
    old_versions(monkeypatch, SecretsManagerBackend)

    audit = await call("audit_secrets", compare_values=True, **AT)
    expected = {
        "fine": set(), "waiting": set(), "own": set(), "overdue": {"RotationOverdue"},
        "overdue-by-rule": {"RotationOverdue"}, "never": {"NeverRotated"}, "no-rotation": {"NoRotation"},
        "unread": {"Unused"}, "never-read": {"Unused"}, "default-key": {"DefaultKey"}, "awss-key": {"DefaultKey"},
        "stuck": {"RotationStuck"}, "replicated": {"ReplicaFailed"}, "drifting": {"ReplicaNotInSync"},
        "public": {"PublicPolicy"}, "conditional": {"ConditionalPolicy"}, "foreign": {"CrossAccountPolicy"},
        "twin-a": {"DuplicateValue"}, "twin-b": {"DuplicateValue"}, "doomed": {"PendingDeletion"},
    }  # fmt: skip
    assert {name: found(audit, name) for name in expected} == expected
    assert set(audit["to_do"]) == set.union(*expected.values())
    order = ["high", "medium", "low"]
    severities = [order.index(row["severity"]) for row in audit["findings"]]
    assert severities == sorted(severities)
    assert audit["counts"] == {name: severities.count(number) for number, name in enumerate(order)}
    assert (audit["secrets_seen"], audit["truncated"], audit["unchecked"]) == (len(expected), False, [])
    assert "the same value as twin-b" in {row["detail"] for row in audit["findings"] if row["secret"] == "twin-a"}
    assert "999999999999" in audit.text
    assert 'the same"' not in audit.text.replace("the same value", "")
    strict = await call("audit_secrets", unread_days=3650, pending_hours=720, **AT)
    assert not {"Unused", "RotationStuck", "DuplicateValue"} & {row["finding"] for row in strict["findings"]}


def old_versions(monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    lists = backend.list_secret_version_ids

    def list_secret_version_ids(self: Any, secret_id: str) -> str:
        answer = json.loads(lists(self, secret_id))
        for version in answer["Versions"]:
            version["CreatedDate"] = days(-3)
        return json.dumps(answer)

    monkeypatch.setattr(backend, "list_secret_version_ids", list_secret_version_ids)


async def test_regions_are_looked_at_as_asked_and_all_means_those_that_may_be_used(aws: str, tmp_path: Path) -> None:
    for region in ("us-east-1", "eu-west-1", "us-west-2"):
        manager(region).create_secret(Name=f"in/{region}", SecretString="the same")
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(
        '[accounts.listed]\nrole_arn = "arn:aws:iam::111111111111:role/listed"\nregions = ["us-west-2", "eu-west-1"]\n'
    )
    more = {"ALLOWED_REGIONS": "us-east-1,eu-west-1,us-west-2", "ACCOUNTS_FILE": str(accounts)}
    async with running(**SETTINGS, **more) as server, server.session() as call:
        here = await call("audit_secrets", **AT)
        assert (here["regions"], here["secrets_seen"]) == (["us-east-1"], 1)
        two = await call("audit_secrets", regions=["eu-west-1", "us-west-2", "eu-west-1"], compare_values=True, **AT)
        assert (two["regions"], two["secrets_seen"]) == (["eu-west-1", "us-west-2"], 2)
        assert "DuplicateValue" in found(two, "in/us-west-2"), "values are compared over regions"
        every = await call("audit_secrets", regions=["all"], **AT)
        assert every["regions"] == ["eu-west-1", "us-east-1", "us-west-2"]
        own = await call("audit_secrets", regions=["all"], account="listed")
        assert own["regions"] == ["eu-west-1", "us-west-2"]
        for wrong in ("eu-mars-1", "ap-south-1"):
            refused = await call("audit_secrets", regions=["us-east-1", wrong], **AT)
            assert refused.error_code == "RegionNotAllowed"


async def test_findings_and_secrets_are_cut_with_a_mark_and_narrowed_by_a_prefix(
    call: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        manager().create_secret(Name=f"app/{number}", SecretString="x")
    manager().create_secret(Name="other", SecretString="x")
    cut = await call("audit_secrets", max_findings=3, **AT)
    assert (len(cut["findings"]), cut["truncated"], cut["counts"]["low"]) == (3, True, 16)
    narrowed = await call("audit_secrets", name_prefix="app/", **AT)
    assert (narrowed["secrets_seen"], narrowed["truncated"]) == (7, False)
    monkeypatch.setattr("services.secrets_audit._MOST_PER_REGION", 5)
    some = await call("audit_secrets", **AT)
    assert (some["secrets_seen"], some["truncated"]) == (5, True)


async def test_progress_is_told_on_the_way_and_only_grows(aws: str) -> None:
    for number in range(45):
        manager().create_secret(Name=f"app/{number}", SecretString="x")
    told: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        told.append(done)

    async with running(**SETTINGS) as server, server.session(progress_handler=progress) as call:
        await call("audit_secrets", regions=["us-east-1", "eu-west-1"], **AT)
    assert len(told) >= 3
    assert told == sorted(set(told))


# --- what cannot be looked at --------------------------------------------------------------------------------------


@pytest.fixture
def faulty(faults: Standin, aws: str, monkeypatch: pytest.MonkeyPatch) -> Standin:
    for name, setting in aws_environment(faults.url).items():
        monkeypatch.setenv(name, setting)
    faults.reset()
    for number in range(4):
        manager().create_secret(Name=f"app/{number}", SecretString=f"{number // 2}")
    manager("eu-west-1").create_secret(Name="there", SecretString="x")
    return faults


async def test_a_check_that_is_denied_empties_nothing_and_is_named(faulty: Standin) -> None:
    faulty.fault("denied", operation="GetResourcePolicy", times=1)
    faulty.fault("denied", operation="GetSecretValue")
    async with running(**SETTINGS) as server, server.session() as call:
        audit = await call("audit_secrets", compare_values=True, **AT)
    assert audit["secrets_seen"] == 4
    assert all({"NoRotation", "DefaultKey"} <= found(audit, f"app/{number}") for number in range(4))
    refused = {row["check"]: row for row in audit["unchecked"]}
    assert {check: row["count"] for check, row in refused.items()} == {"policy": 1, "value": 4}
    assert {row["error_code"] for row in refused.values()} == {"AccessDeniedException"}
    assert sorted(refused["value"]["secrets"]) == [f"app/{number}" for number in range(4)]


async def test_a_region_that_fails_is_named_beside_what_the_others_show(faulty: Standin) -> None:
    faulty.fault("denied", operation="ListSecrets", times=1)
    async with running(**SETTINGS) as server, server.session() as call:
        audit = await call("audit_secrets", regions=["us-east-1", "eu-west-1"], **AT)
    assert len(audit["regions"]) == len(audit["failures"]) == 1
    assert audit["failures"][0]["error_code"] == "AccessDeniedException"
    assert audit["findings"]


async def test_an_audit_that_runs_out_of_time_says_what_it_has(faulty: Standin) -> None:
    faulty.fault("hang", operation="GetResourcePolicy", seconds=8)
    async with running(CALL_DEADLINE_SECONDS="4", **SETTINGS) as server, server.session() as call:
        audit = await call("audit_secrets", regions=["us-east-1", "eu-west-1"], **AT)
    assert not audit.is_error, audit.content
    assert audit["truncated"] or audit["failures"], audit.content
