"""Setting up rotation, replicas and policies: what is refused before any change, and what is told afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services._policies import Policy, locks_out
from tests.conftest import ROLES, Session, boto, running
from tests.services import secret_day as day

AT: dict[str, Any] = {"account": "production"}
ROLE = ROLES["production"]
PUT = "secretsmanager:PutResourcePolicy"


@pytest.fixture
async def call(aws: str) -> AsyncIterator[Session]:
    async with running(TOOLSETS="secrets,secrets-admin") as server, server.session() as session:
        yield session


def manager(region: str = "us-east-1") -> Any:
    return boto("secretsmanager", "production", region)


def policy(effect: str, principal: Any, action: str = "secretsmanager:*", **more: Any) -> str:
    who = {} if principal is None else {"Principal": principal}
    one = {"Effect": effect, **who, "Action": action, "Resource": "*", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [one]})


# --- policies ------------------------------------------------------------------------------------------------------


REFUSED = [
    "no",
    "{}",
    "[]",
    "[" * 20_000,
    '{"Statement": []}',
    policy("Allow", "*"),
    policy("Allow", {"AWS": "*"}),
    policy("Allow", {"AWS": ["222222222222", "*"]}),
    policy("Allow", None, NotPrincipal={"AWS": "222222222222"}),
    policy("Deny", "*"),
    policy("Deny", {"AWS": ROLE}),
    policy("Deny", {"AWS": "111111111111"}, PUT),
    policy("Deny", {"AWS": "arn:aws:iam::111111111111:root"}, "secretsmanager:Put*"),
    policy("Deny", {"AWS": "arn:aws:sts::111111111111:assumed-role/aws-ops-target/aws-ops-default"}),
    policy("Deny", None, NotPrincipal={"AWS": "arn:aws:iam::222222222222:root"}),
    policy("Deny", None, NotPrincipal={"AWS": "arn:aws:iam::111111111111:root"}),
    policy("Allow", {"AWS": "222222222222"}, Sid="ü" * 10_300),
]


async def test_a_policy_that_opens_up_or_locks_out_is_refused_before_it_is_put(call: Session) -> None:
    manager().create_secret(Name="guarded", SecretString="x")
    for refused in REFUSED:
        answer = await call("put_secret_policy", secret_id="guarded", policy=refused, **AT)
        assert answer.error_code == "InvalidParameter", refused[:200]
    assert "ResourcePolicy" not in manager().get_resource_policy(SecretId="guarded")


ADMITTED = [
    policy("Allow", {"AWS": "222222222222"}),
    policy("Allow", "*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}),
    policy("Deny", {"AWS": "222222222222"}),
    policy("Deny", {"AWS": ROLE}, "secretsmanager:GetSecretValue"),
    policy("Deny", "*", "secretsmanager:DeleteSecret"),
    policy("Deny", "*", Condition={"Bool": {"aws:SecureTransport": "false"}}),
    policy("Deny", None, NotPrincipal={"AWS": [ROLE, "111111111111"]}),
]


async def test_a_policy_that_does_neither_is_put_read_and_deleted(call: Session) -> None:
    manager().create_secret(Name="guarded", SecretString="x")
    for admitted in ADMITTED:
        put = await call("put_secret_policy", secret_id="guarded", policy=admitted, **AT)
        assert not put.is_error, put.content
        assert (await call("get_secret_policy", secret_id="guarded", **AT))["policy"] == json.loads(admitted)
        await call("delete_secret_policy", secret_id="guarded", **AT)
        assert "policy" not in (await call("get_secret_policy", secret_id="guarded", **AT)).content


@pytest.mark.parametrize("path", ["team", "team:data", "a/b:222222222222:c"])
def test_a_role_with_a_path_is_the_role_of_its_sessions(path: str) -> None:
    role = f"arn:aws:iam::111111111111:role/{path}/ops"
    session = "arn:aws:sts::111111111111:assumed-role/ops/somebody"
    for principal in (role, session):
        for named in (role, session, "arn:aws:iam::111111111111:role/ops"):
            if principal == session and named == role:
                continue  # a session's ARN does not tell its role's path
            assert locks_out(Policy(policy("Deny", {"AWS": named})), PUT, principal), (principal, named)
        assert not locks_out(Policy(policy("Deny", {"AWS": "arn:aws:iam::111111111111:role/other"})), PUT, principal)


# --- replicas ------------------------------------------------------------------------------------------------------


async def test_what_failed_to_replicate_is_named_by_region_and_the_rest_is_there(call: Session) -> None:
    manager().create_secret(Name="spread", SecretString="x")
    manager("us-west-2").create_secret(Name="spread", SecretString="somebody else's")
    regions = [{"region": region} for region in ("eu-west-1", "us-west-2", "eu-central-1")]
    made = await call("replicate_secret", secret_id="spread", replicas=regions, **AT)
    assert not made.is_error
    assert [line.split(":")[0] for line in made["failed"]] == ["us-west-2"]
    assert {row["region"]: row["status"] for row in made["replication_status"]} == {
        "eu-west-1": "InSync", "us-west-2": "Failed", "eu-central-1": "InSync",
    }  # fmt: skip
    assert manager("us-west-2").get_secret_value(SecretId="spread")["SecretString"] == "somebody else's"
    gone = await call("remove_secret_replicas", secret_id="spread", regions=["eu-west-1", "us-west-2"], **AT)
    assert [row["region"] for row in gone["replication_status"]] == ["eu-central-1"]


async def test_a_secret_that_a_replica_would_replace_is_confirmed_first(call: Session) -> None:
    boto("secretsmanager", "production").create_secret(Name="spread", SecretString="v")
    there = boto("secretsmanager", "production", "eu-west-1")
    arn = there.create_secret(Name="spread", SecretString="another")["ARN"]
    act = {"secret_id": "spread", "replicas": [{"region": "eu-west-1"}], "force_overwrite": True, "wait": False, **AT}
    asked = await call("replicate_secret", **act)
    assert (asked.error_code, asked["plan"]["target"]) == ("ConfirmationRequired", arn)
    assert there.get_secret_value(SecretId="spread")["SecretString"] == "another"
    there.put_secret_value(SecretId="spread", SecretString="newer")
    assert (await call("replicate_secret", **act, confirm=asked["confirm"])).error_code == "ConfirmationInvalid"
    assert (await call.confirmed("replicate_secret", **act))["success"]
    assert there.get_secret_value(SecretId="spread")["SecretString"] == "v"


async def test_a_replication_under_way_is_waited_for(call: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.secretsmanager.models import ReplicaSecret, SecretsManagerBackend

    replicates, describes = SecretsManagerBackend.replicate_secret_to_regions, SecretsManagerBackend.describe_secret
    replicas: list[ReplicaSecret] = []

    def replicate(backend: Any, secret_id: str, *args: Any, **kwargs: Any) -> Any:
        answer = replicates(backend, secret_id, *args, **kwargs)
        replicas.extend(backend.secrets[secret_id].replicas)
        for replica in replicas:
            replica.config["Status"] = "InProgress"
        return answer

    def describe(backend: Any, secret_id: str) -> Any:
        for replica, status in zip(replicas, ("InSync", "Failed"), strict=False):
            replica.config["Status"] = status
        return describes(backend, secret_id)

    manager().create_secret(Name="spread", SecretString="x")
    both = [{"region": "eu-west-1"}, {"region": "eu-central-1"}]
    monkeypatch.setattr(SecretsManagerBackend, "replicate_secret_to_regions", replicate)
    begun = await call("replicate_secret", secret_id="spread", replicas=both, wait=False, **AT)
    assert (begun["under_way"], begun["failed"]) == (["eu-west-1", "eu-central-1"], [])
    manager().remove_regions_from_replication(SecretId="spread", RemoveReplicaRegions=["eu-west-1", "eu-central-1"])
    replicas.clear()
    monkeypatch.setattr(SecretsManagerBackend, "describe_secret", describe)
    made = await call("replicate_secret", secret_id="spread", replicas=both, **AT)
    assert (made["under_way"], [line.split(":")[0] for line in made["failed"]]) == ([], ["eu-central-1"])


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("replicate_secret", {"replicas": [{"region": "eu-mars-1"}]}, "RegionNotAllowed"),
    ("replicate_secret", {"replicas": [{"region": "eu-west-1"}, {"region": "eu-mars-1"}]}, "RegionNotAllowed"),
    ("replicate_secret", {"replicas": [{"region": "us-east-1"}]}, "InvalidParameter"),
    ("replicate_secret", {"replicas": [{"region": "eu-west-1"}] * 2}, "InvalidParameter"),
    ("replicate_secret", {"replicas": []}, "InvalidParameter"),
    ("replicate_secret", {"replicas": [{"regoin": "eu-west-1"}]}, "InvalidParameter"),
    ("remove_secret_replicas", {"regions": ["eu-west-1"]}, "InvalidParameter"),
    ("remove_secret_replicas", {"regions": ["eu-mars-1"]}, "RegionNotAllowed"),
    ("promote_replica", {}, "InvalidParameter"),
    ("promote_replica", {"region": "eu-west-1"}, "ResourceNotFoundException"),
    ("configure_rotation", {"automatically_after_days": 30}, "InvalidParameter"),
    ("configure_rotation", {"rotation_lambda_arn": day.FUNCTION}, "InvalidParameter"),
    (
        "configure_rotation",
        {"automatically_after_days": 1, "schedule_expression": "rate(4 hours)"},
        "InvalidParameter",
    ),
    (
        "configure_rotation",
        {"schedule_expression": "often", "rotation_lambda_arn": day.FUNCTION},
        "InvalidParameter",
    ),
    (
        "configure_rotation",
        {"automatically_after_days": 0, "rotation_lambda_arn": day.FUNCTION},
        "InvalidParameter",
    ),
    ("configure_rotation", {"automatically_after_days": 1, "rotation_lambda_arn": "rotate"}, "InvalidParameter"),
]


async def test_bad_input_is_coded_before_any_change(call: Session) -> None:
    manager().create_secret(Name="set", SecretString="x")
    before = manager().describe_secret(SecretId="set")
    for tool, arguments, code in BAD:
        answer = await call(tool, secret_id="set", **{**AT, **arguments})
        assert answer.error_code == code, (tool, arguments, answer.content)
    after = manager().describe_secret(SecretId="set")
    assert {**after, "ResponseMetadata": 0} == {**before, "ResponseMetadata": 0}


async def test_a_replica_is_promoted_in_its_own_region(call: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.secretsmanager.responses import SecretsManagerResponse

    def stop_replication_to_replica(self: Any) -> str:  # moto does not know it
        return json.dumps({"ARN": self.backend.secrets[self._get_param("SecretId")].arn})

    monkeypatch.setattr(
        SecretsManagerResponse, "stop_replication_to_replica", stop_replication_to_replica, raising=False
    )
    manager().create_secret(Name="spread", SecretString="x", AddReplicaRegions=[{"Region": "eu-west-1"}])
    made = await call("promote_replica", secret_id="spread", region="eu-west-1", **AT)
    assert not made.is_error, made.content
    assert (made["region"], made["arn"].split(":")[3]) == ("eu-west-1", "eu-west-1")


# --- rotation ------------------------------------------------------------------------------------------------------


async def test_rotation_is_set_up_shown_and_switched_off_and_names_what_it_leaves_pending(call: Session) -> None:
    manager().create_secret(Name="turning", SecretString="x")
    with day.rotating():
        setting = await call(
            "configure_rotation",
            secret_id="turning",
            rotation_lambda_arn=day.FUNCTION,
            schedule_expression="rate(10 days)",
            duration="3h",
            **AT,
        )
    assert (setting["rotation_enabled"], setting["rotation_lambda_arn"]) == (True, day.FUNCTION)
    half = manager().put_secret_value(SecretId="turning", SecretString="y", VersionStages=["AWSPENDING"])["VersionId"]
    off = await call("cancel_rotation", secret_id="turning", **AT)
    assert (off["rotation_enabled"], off["pending_version_id"]) == (False, half)
    assert half in off["advice"]


async def test_a_secret_that_an_aws_service_rotates_is_scheduled_without_a_function(call: Session) -> None:
    tags = [{"Key": "aws:secretsmanager:owningService", "Value": "rds"}]
    manager().create_secret(Name="rds!db", SecretString="x", Tags=tags)
    with day.rotating():
        setting = await call("configure_rotation", secret_id="rds!db", automatically_after_days=30, **AT)
    assert not setting.is_error, setting.content


@pytest.mark.parametrize("theirs", ["arn:aws:lambda:us-east-1:666666666666:function:rotate:live"])
async def test_rotation_by_a_function_of_an_account_that_is_not_configured_here_is_asked(
    call: Session, theirs: str, tmp_path: Path
) -> None:
    token, callers = "the-token-of-a-writer-0123456789", tmp_path / "callers.toml"
    digest = hashlib.sha256(token.encode()).hexdigest()
    callers.write_text(f'[callers.writer]\ntoken_sha256 = "{digest}"\nscopes = ["read", "write"]\n')
    manager().create_secret(Name="turning", SecretString="x")
    configure = {"secret_id": "turning", "automatically_after_days": 30, **AT}
    rotate = {"secret_id": "turning", **AT}
    settings = {"TOOLSETS": "secrets,secrets-admin", "MCP_CALLERS_FILE": str(callers)}
    async with running(**settings) as server, server.session(token=token) as writer:
        with day.rotating():
            refused = await writer("configure_rotation", **configure, rotation_lambda_arn=theirs)
            assert refused.error_code == "ScopeRequired"
            for ours in (day.FUNCTION, day.FUNCTION.replace("111111111111", "222222222222")):
                assert not (await writer("configure_rotation", **configure, rotation_lambda_arn=ours)).is_error
                assert (await writer("rotate_secret", **rotate))["finished"]
            done = await call.confirmed("configure_rotation", **configure, rotation_lambda_arn=theirs)
            assert done["rotation_lambda_arn"] == theirs
            for tool, arguments in (("configure_rotation", configure), ("rotate_secret", rotate)):
                assert (await writer(tool, **arguments)).error_code == "ScopeRequired"
                asked = await call(tool, **arguments)
                assert "666666666666" in asked["plan"]["will_be_lost"]
                assert not (await call(tool, **arguments, confirm=asked["confirm"])).is_error
