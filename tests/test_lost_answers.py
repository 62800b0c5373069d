"""Every changing tool, with AWS's answer lost after the effect: never a plain failure, never a second effect.

All tools run at once, each in an account of its own: with every answer to a change lost, then with the first alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

import anyio
import boto3
import pytest

from tests.conftest import Answer, Session, running, standin_alone
from tests.contract import all_tools
from tests.standin import Call, Standin

CHANGES = (
    *("Create*", "Update*", "Put*", "Delete*", "Tag*", "Untag*", "Restore*", "Rotate*", "Cancel*", "Replicate*"),
    *("Remove*", "Start*", "Stop*", "Reboot*", "Terminate*", "Authorize*", "Revoke*", "Attach*", "Detach*", "Change*"),
    *("PUT *", "POST *", "DELETE *", "Associate*", "Disassociate*"),
)
DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
)
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
SECRET_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                "Action": "secretsmanager:GetSecretValue",
                "Resource": "*",
            }
        ],
    }
)
LAMBDA = "arn:aws:lambda:us-east-1:111111111111:function:rotate"
SESSION = boto3.Session()  # it loads each service's model once
_accounts = count(800000000001)


@dataclass(frozen=True)
class Case:
    """A tool's call, by the name of the toolset's arrangement."""

    tool: str
    arguments: dict[str, Any]
    confirmed: bool = False


# What stands in braces is an id that `arrange` returns.
CASES = [
    Case("create_secret", {"name": "new", "secret_value": "x"}),
    Case("update_secret", {"secret_id": "app/db", "secret_value": "x"}),
    Case("delete_secret", {"secret_id": "app/db"}),
    Case("delete_secret", {"secret_id": "app/db", "force_delete_without_recovery": True}, confirmed=True),
    Case("restore_secret", {"secret_id": "deleted"}),
    Case("tag_secret", {"secret_id": "app/db", "tags": {"a": "b"}}),
    Case("untag_secret", {"secret_id": "app/db", "tag_keys": ["old"]}),
    Case("copy_secret", {"secret_id": "app/db", "to_name": "copy", "to_role_arn": "{role_arn}"}),
    Case(
        "copy_secret", {"secret_id": "app/db", "to_name": "replicated", "overwrite": True, "to_role_arn": "{role_arn}"}
    ),
    Case("patch_secret", {"secret_id": "app/db", "set": {"a": "2"}}),
    Case("rollback_secret", {"secret_id": "app/db"}),
    Case("update_secret_version_stage", {"secret_id": "app/db", "version_stage": "mine", "to_version_id": "{version}"}),
    Case("configure_rotation", {"secret_id": "app/db", "rotation_lambda_arn": LAMBDA, "automatically_after_days": 30}),
    Case("cancel_rotation", {"secret_id": "app/db"}),
    Case("replicate_secret", {"secret_id": "app/db", "replicas": [{"region": "eu-west-1"}]}),
    Case("remove_secret_replicas", {"secret_id": "replicated", "regions": ["eu-west-1"]}),
    Case("promote_replica", {"secret_id": "replicated", "region": "eu-west-1"}),
    Case("put_secret_policy", {"secret_id": "app/db", "policy": SECRET_POLICY}),
    Case("delete_secret_policy", {"secret_id": "app/db"}),
    Case("start_instances", {"instance_ids": ["{instance}"]}),
    Case("stop_instances", {"instance_ids": ["{instance}"]}),
    Case("reboot_instances", {"instance_ids": ["{instance}"]}),
    Case("terminate_instances", {"instance_ids": ["{instance}"]}, confirmed=True),
    Case("create_snapshot", {"volume_id": "{volume}"}),
    Case("create_tags", {"resource_ids": ["{volume}"], "tags": {"a": "b"}}),
    Case("delete_tags", {"resource_ids": ["{volume}"], "tag_keys": ["old"]}),
    Case(
        "authorize_security_group_ingress",
        {"group_id": "{group}", "ip_protocol": "tcp", "from_port": 443, "to_port": 443, "cidr": "10.0.0.0/8"},
    ),
    Case(
        "revoke_security_group_ingress",
        {"group_id": "{group}", "ip_protocol": "tcp", "from_port": 22, "to_port": 22, "cidr": "10.0.0.0/8"},
    ),
    Case("create_role", {"role_name": "new", "trust_policy": TRUST}),
    Case("update_assume_role_policy", {"role_name": "target", "trust_policy": TRUST}),
    Case("delete_role", {"role_name": "target"}, confirmed=True),
    Case("create_policy", {"policy_name": "new", "document": DOCUMENT}),
    Case("create_policy_version", {"policy_arn": "{policy}", "document": DOCUMENT}),
    Case("attach_role_policy", {"role_name": "target", "policy_arn": "{policy}"}),
    Case("detach_role_policy", {"role_name": "target", "policy_arn": "{policy}"}),
    Case("put_role_policy", {"role_name": "target", "policy_name": "new", "document": DOCUMENT}),
    Case("put_object", {"bucket": "{bucket}", "key": "new", "body": "x"}),
    Case("put_object", {"bucket": "{bucket}", "key": "k", "body": "x", "overwrite": True}),
    Case("copy_object", {"bucket": "{bucket}", "key": "k", "to_bucket": "{bucket}", "to_key": "copy"}),
    Case("delete_object", {"bucket": "{bucket}", "key": "k"}),
    Case("delete_object", {"bucket": "{bucket}", "key": "k", "version_id": "{object_version}"}, confirmed=True),
    Case("restore_object_version", {"bucket": "{bucket}", "key": "k", "version_id": "{object_version}"}),
    Case("create_bucket", {"bucket": "new-{account}"}),
    Case("delete_bucket", {"bucket": "{empty}"}, confirmed=True),
]
# moto rotates by a real Lambda only; RotateSecret bears a token, as test_every_repeated_request shows of the others.
# Route 53's read back what became of the change, which tests/services/test_route53_answers.py shows.
ELSEWHERE = {"rotate_secret", "change_resource_record_sets", "create_hosted_zone", "delete_hosted_zone"}


@dataclass
class Run:
    """A case that was run in an account, and what came of it."""

    case: Case
    account: str
    arranged: dict[str, str]
    before: dict[str, int]
    answer: Answer | None = None
    calls: tuple[Call, ...] = ()
    after: dict[str, int] | None = None

    @property
    def role_arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role/aws-ops-target"

    def added(self) -> dict[str, int]:
        """How many things of each kind there are more than before."""
        assert self.after is not None
        return {kind: number - self.before[kind] for kind, number in self.after.items()}


def clients(account: str) -> Any:
    """A function that returns plain boto3 clients in an account."""
    sts = SESSION.client("sts", region_name="us-east-1")
    role_arn = f"arn:aws:iam::{account}:role/aws-ops-target"
    keys = sts.assume_role(RoleArn=role_arn, RoleSessionName="arrange")["Credentials"]
    return lambda service: SESSION.client(
        service, "us-east-1", aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
    )  # fmt: skip


@cache
def every_tool() -> dict[str, tuple[str, bool]]:
    """Every tool's service, and whether it changes anything."""
    return {name: (service.client_name, tool.spec.scope.changes) for name, (service, tool) in all_tools().items()}


def service_of(tool: str) -> str:
    return every_tool()[tool][0]


def arrange(case: Case) -> Run:
    """Make what the tool's service needs to have there."""
    account = str(next(_accounts))
    service, client = service_of(case.tool), clients(account)
    ids = {"secretsmanager": _secrets, "ec2": _instances, "iam": _roles, "s3": _buckets}[service](
        client(service), account
    )
    ids |= {"account": account, "role_arn": f"arn:aws:iam::{account}:role/aws-ops-target"}
    return Run(case, account, ids, number_of_things(client(service), service, ids))


def _secrets(aws: Any, account: str) -> dict[str, str]:
    made = aws.create_secret(Name="app/db", SecretString='{"a": "1"}', Tags=[{"Key": "old", "Value": "tag"}])
    aws.put_secret_value(SecretId="app/db", SecretString='{"a": "0"}')
    aws.create_secret(Name="deleted", SecretString="x")
    aws.delete_secret(SecretId="deleted")
    aws.create_secret(Name="replicated", SecretString="x", AddReplicaRegions=[{"Region": "eu-west-1"}])
    return {"version": made["VersionId"]}


def _instances(aws: Any, account: str) -> dict[str, str]:
    instance = aws.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    volume = aws.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    group = aws.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["default"]}])["SecurityGroups"][0]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    aws.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule])
    return {"instance": instance, "volume": volume, "group": group["GroupId"]}


def _roles(aws: Any, account: str) -> dict[str, str]:
    policy = aws.create_policy(PolicyName="p", PolicyDocument=DOCUMENT)["Policy"]["Arn"]
    aws.create_role(RoleName="target", AssumeRolePolicyDocument=TRUST)
    aws.attach_role_policy(RoleName="target", PolicyArn=policy)
    return {"policy": policy}


def _buckets(aws: Any, account: str) -> dict[str, str]:
    bucket, empty = f"bucket-{account}", f"empty-{account}"
    for name in (bucket, empty):
        aws.create_bucket(Bucket=name)
    aws.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = aws.put_object(Bucket=bucket, Key="k", Body=b"1")["VersionId"]
    aws.put_object(Bucket=bucket, Key="k", Body=b"2")
    return {"bucket": bucket, "empty": empty, "object_version": first}


def number_of_things(aws: Any, service: str, ids: dict[str, str]) -> dict[str, int]:
    """Count what a request that is repeated could make one too many of."""
    if service == "secretsmanager":
        try:
            aws.describe_secret(SecretId="app/db")  # moto breaks down over the versions of a secret that is gone
        except aws.exceptions.ResourceNotFoundException:
            return {"versions": 0}
        return {"versions": len(aws.list_secret_version_ids(SecretId="app/db", IncludeDeprecated=True)["Versions"])}
    if service == "ec2":
        return {"snapshots": len(aws.describe_snapshots(OwnerIds=["self"])["Snapshots"])}
    if service == "iam":
        return {"policy versions": len(aws.list_policy_versions(PolicyArn=ids["policy"])["Versions"])}
    listed = aws.list_object_versions(Bucket=ids["bucket"])
    return {kind: len(listed.get(kind, [])) for kind in ("Versions", "DeleteMarkers")}


def filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    return value.format(**ids) if isinstance(value, str) and not value.startswith('{"') else value


async def make(call: Session, run: Run) -> None:
    arguments = {name: filled(value, run.arranged) for name, value in run.case.arguments.items()}
    ask = call.confirmed if run.case.confirmed else call
    run.answer = await ask(run.case.tool, **arguments, role_arn=run.role_arn)


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with standin_alone() as started:
        yield started


@pytest.fixture(scope="module")
def runs(standin: Standin) -> tuple[list[Run], list[Run]]:
    """All cases with every answer to a change lost, and all with the first one lost."""
    with ThreadPoolExecutor(8) as threads:
        arranged = list(threads.map(arrange, [*CASES, *CASES]))
        always, once = arranged[: len(CASES)], arranged[len(CASES) :]
        anyio.run(_run_all, standin, always, once)
        list(threads.map(_look, arranged))
    return always, once


async def _run_all(standin: Standin, always: list[Run], once: list[Run]) -> None:
    settings = {"TOOLSETS": "all", "ALLOWED_ROLE_ARNS": "*", "MAX_CONCURRENT_CALLS": "200"}
    async with running(**settings) as server, server.session() as call:
        standin.forget_calls()
        for operation in CHANGES:
            standin.fault("lost", operation=operation, service="[!s]*")  # all but sts
            standin.fault("lost", operation=operation, service="s[!t]*")
        await _at_once(call, always)
        standin.clear()
        seen = standin.calls()
        for run in always:
            run.calls = tuple(made for made in seen if made.account == run.account)
        for first, run in zip(always, once, strict=True):
            operation = next((made.operation for made in first.calls if made.fault), None)
            assert operation, f"{first.case.tool} was to change something: {first.answer and first.answer.text}"
            standin.fault("lost", operation=operation.replace(first.account, run.account), account=run.account, times=1)
        standin.forget_calls()
        await _at_once(call, once)
        standin.clear()
        seen = standin.calls()
        for run in once:
            run.calls = tuple(made for made in seen if made.account == run.account)


async def _at_once(call: Session, runs: list[Run]) -> None:
    async with anyio.create_task_group() as tasks:
        for run in runs:
            tasks.start_soon(make, call, run)


def _look(run: Run) -> None:
    service = service_of(run.case.tool)
    run.after = number_of_things(clients(run.account)(service), service, run.arranged)


def test_the_table_has_every_changing_tool() -> None:
    changing = {name for name, (_, changes) in every_tool().items() if changes}
    assert changing - {case.tool for case in CASES} == ELSEWHERE, "give CASES a right call of each new changing tool"


def test_a_change_whose_answers_are_all_lost_has_an_unknown_outcome(runs: tuple[list[Run], list[Run]]) -> None:
    wrong = {run.case.tool: run.answer and run.answer.text for run in runs[0] if _code(run) != "OutcomeUnknown"}
    assert not wrong


def test_a_change_whose_first_answer_is_lost_succeeds_or_has_an_unknown_outcome(
    runs: tuple[list[Run], list[Run]],
) -> None:
    wrong = {
        run.case.tool: run.answer and run.answer.text for run in runs[1] if _code(run) not in (None, "OutcomeUnknown")
    }
    assert not wrong
    unknown = [run.case.tool for run in runs[1] if _code(run)]
    print(f"\none answer lost: {len(runs[1]) - len(unknown)} succeed, unknown: {', '.join(unknown)}")


def test_no_change_has_a_second_effect(runs: tuple[list[Run], list[Run]]) -> None:
    wrong = {
        (run.case.tool, kind): number
        for run in (*runs[0], *runs[1])
        for kind, number in run.added().items()
        if number > 1
    }
    assert not wrong


def test_every_repeated_request_bears_one_token_or_sets_a_state(runs: tuple[list[Run], list[Run]]) -> None:
    """A request that is repeated either bears an idempotency token, the same each time, or is on the list above it."""
    for run in (*runs[0], *runs[1]):
        requests: dict[str | None, list[Call]] = {}
        for made in run.calls:
            requests.setdefault(made.invocation_id, []).append(made)
        for attempts in requests.values():
            assert len({made.client_token for made in attempts}) == 1, run.case.tool
            assert len({made.body_sha256 for made in attempts}) == 1, run.case.tool


def _code(run: Run) -> str | None:
    assert run.answer is not None
    return run.answer.error_code
