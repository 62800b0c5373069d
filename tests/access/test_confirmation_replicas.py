"""A yes among several processes that share the key: how often, how long and where it is good."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import boto3
import pytest

from access.confirmation import ELSEWHERE_SECONDS, LIFETIME_SECONDS, Confirmations
from tests.access.test_confirmation import YES, done, modern, question
from tests.conftest import Session, running, standin_alone
from tests.contract import all_tools
from tests.standin import Standin

KEY = "a-key-that-replicas-share-0123456789"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with standin_alone() as started:
        yield started


@asynccontextmanager
async def process(clock: Callable[[], float] = time.time, key: str | None = KEY) -> AsyncIterator[Session]:
    """A session with a server process that begins now."""
    shared = {"AUDIT_HMAC_KEY": key} if key else {}
    async with running(TOOLSETS="all", **shared) as server:
        if clock is not time.time:
            object.__setattr__(server.app.desk, "confirmations", Confirmations(key, clock=clock))
        async with server.session() as session:
            yield session


def aws(service: str) -> Any:
    return boto3.Session().client(service, region_name="us-east-1")


@pytest.fixture
def opening(standin: Standin) -> dict[str, Any]:
    """What opens a new security group: it can be taken back, and then done again."""
    ec2 = aws("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName=f"g-{time.monotonic_ns()}", Description="d", VpcId=vpc)["GroupId"]
    return {"group_id": group, "ip_protocol": "tcp", "from_port": 22, "to_port": 22, "cidr": "0.0.0.0/0"}


@pytest.fixture
def granting(standin: Standin) -> dict[str, Any]:
    """What gives a new role everything."""
    name = f"role-{time.monotonic_ns()}"
    aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    return {"role_name": name, "policy_name": "all", "document": json.dumps(EVERYTHING)}


def take_back(tool: str, act: dict[str, Any]) -> None:
    if tool == "put_role_policy":
        aws("iam").delete_role_policy(RoleName=act["role_name"], PolicyName=act["policy_name"])
    else:
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        aws("ec2").revoke_security_group_ingress(GroupId=act["group_id"], IpPermissions=[rule])


async def planned(call: Session, tool: str, act: dict[str, Any]) -> str:
    answer = await call(tool, **act)
    assert answer.error_code == "ConfirmationRequired", answer.text
    return str(answer["confirm"])


@pytest.mark.parametrize("tool", ["put_role_policy", "authorize_security_group_ingress"])
async def test_a_used_yes_is_no_yes_after_a_restart(
    opening: dict[str, Any], granting: dict[str, Any], tool: str
) -> None:
    act = granting if tool == "put_role_policy" else opening
    async with process() as call:
        token = await planned(call, tool, act)
        assert (await call(tool, **act, confirm=token))["success"]
        take_back(tool, act)
        assert (await call(tool, **act, confirm=token)).error_code == "ConfirmationInvalid"
    async with process() as restarted:
        assert (await restarted(tool, **act, confirm=token)).error_code == "ConfirmationInvalid"
        assert (await restarted(tool, **act, confirm=await planned(restarted, tool, act)))["success"]


async def test_a_yes_that_was_never_used_is_good_at_no_process_that_began_later(granting: dict[str, Any]) -> None:
    async with process() as old:
        token = await planned(old, "put_role_policy", granting)
        async with process() as new:
            assert (await new("put_role_policy", **granting, confirm=token)).error_code == "ConfirmationInvalid"
        assert (await old("put_role_policy", **granting, confirm=token))["success"]


async def test_a_question_that_a_process_did_not_live_to_ask_is_no_yes_of_its_own(standin: Standin) -> None:
    aws("secretsmanager").create_secret(Name="app/asked", SecretString="v")
    act = {"secret_id": "app/asked", "force_delete_without_recovery": True}
    async with running(AUDIT_HMAC_KEY=KEY) as old:
        state = await question(old, act)
        async with running(AUDIT_HMAC_KEY=KEY) as new:
            refused = await modern(new, act, inputResponses=YES, requestState=state)
            assert refused["result"]["structuredContent"]["error_code"] == "ConfirmationInvalid"
        assert done(await modern(old, act, inputResponses=YES, requestState=state))


async def test_what_can_be_done_again_is_taken_elsewhere_in_its_first_minute_alone(granting: dict[str, Any]) -> None:
    now = [time.time()]
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(process(lambda: now[0])) for _ in range(2)]
        now[0] += 1
        for after, elsewhere in ((0, True), (ELSEWHERE_SECONDS - 1, True), (ELSEWHERE_SECONDS, False), (299, False)):
            token = await planned(one, "put_role_policy", granting)
            now[0] += after
            answer = await two("put_role_policy", **granting, confirm=token)
            assert answer.error_code == (None if elsewhere else "ConfirmationInvalid")
            if not elsewhere:
                assert (await one("put_role_policy", **granting, confirm=token))["success"]
            take_back("put_role_policy", granting)
            for process_ in (two, *(() if elsewhere else (one,))):
                again = await process_("put_role_policy", **granting, confirm=token)
                assert again.error_code == "ConfirmationInvalid"  # each process takes a token once


async def test_a_yes_from_a_clock_that_is_ahead_is_not_good_for_longer(granting: dict[str, Any]) -> None:
    now = [time.time()]
    async with process(lambda: now[0]) as behind, process(lambda: now[0] + 3600) as ahead:
        token = await planned(ahead, "put_role_policy", granting)
        now[0] += 1
        assert (await behind("put_role_policy", **granting, confirm=token)).error_code == "ConfirmationInvalid"


def _secret() -> tuple[dict[str, Any], Callable[[], Any]]:
    aws("secretsmanager").create_secret(Name="app/again", SecretString="v")
    again = {"secret_id": "app/again", "force_delete_without_recovery": True}
    return again, lambda: aws("secretsmanager").create_secret(Name="app/again", SecretString="v")


def _role() -> tuple[dict[str, Any], Callable[[], Any]]:
    make = {"RoleName": "again", "AssumeRolePolicyDocument": TRUST}
    aws("iam").create_role(**make)
    return {"role_name": "again"}, lambda: aws("iam").create_role(**make)


def _bucket() -> tuple[dict[str, Any], Callable[[], Any]]:
    aws("s3").create_bucket(Bucket="made-again")
    time.sleep(1.1)  # S3 tells to the second when a bucket was made
    return {"bucket": "made-again"}, lambda: aws("s3").create_bucket(Bucket="made-again")


def _null_version() -> tuple[dict[str, Any], Callable[[], Any]]:
    aws("s3").create_bucket(Bucket="written-again")
    put = {"Bucket": "written-again", "Key": "k", "Body": b"the same"}
    aws("s3").put_object(**put)
    time.sleep(1.1)
    return {"bucket": "written-again", "key": "k", "version_id": "null"}, lambda: aws("s3").put_object(**put)


MADE_ANEW = {
    "delete_secret": _secret, "delete_role": _role, "delete_bucket": _bucket, "delete_object": _null_version,
}  # fmt: skip
# A new one has another id, which is what the call names.
NEVER_THE_SAME = {"terminate_instances", "delete_hosted_zone"}


def test_a_tool_voids_the_state_for_good_only_where_that_is_shown_here() -> None:
    said = {name for name, (_, tool) in all_tools().items() if tool.spec.voids_state}
    assert said == {*MADE_ANEW, *NEVER_THE_SAME}


@pytest.mark.parametrize("tool", MADE_ANEW)
async def test_what_is_gone_for_good_is_deleted_once_over_all_processes_for_five_minutes(
    standin: Standin, tool: str
) -> None:
    now = [time.time()]
    act, make_anew = MADE_ANEW[tool]()
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(process(lambda: now[0])) for _ in range(3)]
        now[0] += 1
        token = await planned(one, tool, act)
        now[0] += LIFETIME_SECONDS - 1
        assert (await two(tool, **act, confirm=token))["success"]
        make_anew()
        for process_ in (one, two, three):
            assert (await process_(tool, **act, confirm=token)).error_code == "ConfirmationInvalid"


async def test_without_a_shared_key_a_yes_is_good_where_it_was_planned_alone(granting: dict[str, Any]) -> None:
    async with process(key=None) as one, process(key=None) as two:
        token = await planned(one, "put_role_policy", granting)
        assert (await two("put_role_policy", **granting, confirm=token)).error_code == "ConfirmationInvalid"
        assert (await one("put_role_policy", **granting, confirm=token))["success"]


async def test_a_clock_that_is_set_back_revives_no_used_token(granting: dict[str, Any]) -> None:
    now = [time.time()]
    async with process(lambda: now[0]) as call:
        used = await planned(call, "put_role_policy", granting)
        assert (await call("put_role_policy", **granting, confirm=used))["success"]
        take_back("put_role_policy", granting)
        now[0] += LIFETIME_SECONDS  # it is forgotten with the next one that is used
        other = await planned(call, "put_role_policy", granting)
        assert (await call("put_role_policy", **granting, confirm=other))["success"]
        take_back("put_role_policy", granting)
        now[0] -= LIFETIME_SECONDS
        assert (await call("put_role_policy", **granting, confirm=used)).error_code == "ConfirmationInvalid"
