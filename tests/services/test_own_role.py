"""The role by which this server comes to an account is not changed by this server, however it is addressed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Session, boto, running

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)
HANDED_OVER = TRUST.replace('{"Service": "ec2.amazonaws.com"}', '{"AWS": "666666666666"}')
NUMBER = "111111111111"


def policy(effect: str, action: str = "*") -> str:
    statement = {"Effect": effect, "Action": action, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def changes(role: str, arn: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """Every tool that changes a role."""
    yield "update_assume_role_policy", {"role_name": role, "trust_policy": TRUST.replace("ec2", "ecs")}
    yield "update_assume_role_policy", {"role_name": role, "trust_policy": HANDED_OVER}
    yield "put_role_policy", {"role_name": role, "policy_name": "p", "document": policy("Deny")}
    yield "put_role_policy", {"role_name": role, "policy_name": "p", "document": policy("Allow")}
    yield "attach_role_policy", {"role_name": role, "policy_arn": arn}
    yield "attach_role_policy", {"role_name": role, "policy_arn": arn, "allow_everything": True}
    yield "detach_role_policy", {"role_name": role, "policy_arn": arn}
    yield "delete_role", {"role_name": role}


def arrange(*roles: str, account: str | None = "production") -> str:
    """Make roles, given with their paths, and a policy for them."""
    iam = boto("iam", account)
    for role in roles:
        path, _, name = role.rpartition("/")
        iam.create_role(RoleName=name, Path=f"{path}/", AssumeRolePolicyDocument=TRUST)
    return str(iam.create_policy(PolicyName="deny", PolicyDocument=policy("Deny", "s3:*"))["Policy"]["Arn"])


async def is_spared(call: Session, role: str, arn: str, **at: Any) -> None:
    for tool, arguments in changes(role, arn):
        refused = await call(tool, **arguments, **at)
        assert refused.error_code == "InvalidParameter", (tool, role, refused.text)
        assert refused["message"].startswith("role_name: this server reaches the account"), (tool, refused.text)


async def is_free(call: Session, role: str, arn: str, **at: Any) -> None:
    assert (await call("put_role_policy", role_name=role, policy_name="p", document=policy("Deny"), **at))["diff"]
    assert (await call("attach_role_policy", role_name=role, policy_arn=arn, **at))["attached"]


async def test_the_roles_of_all_accounts_of_a_number_are_spared_in_any_case_and_path(aws: str) -> None:
    arn = arrange("/aws-ops-target", "/team/auditor", "/other")
    second = f"arn:aws:iam::{NUMBER}:role/team/auditor"
    async with running(TOOLSETS="iam", ACCOUNT_AUDIT_ROLE_ARN=second) as server, server.session() as call:
        for account in ("production", "audit"):
            for role in ("aws-ops-target", "AWS-Ops-Target", "auditor", "AUDITOR"):
                await is_spared(call, role, arn, account=account)
        await is_free(call, "other", arn, account="production")
        arrange("/auditor", account="staging")  # of another number: nothing that this server comes by
        await is_free(call, "auditor", arn.replace(NUMBER, "222222222222"), account="staging")
    assert boto("iam", "production").list_role_policies(RoleName="aws-ops-target")["PolicyNames"] == []


async def test_trying_out_a_change_of_ones_own_role_is_answered(aws: str) -> None:
    arrange("/aws-ops-target")
    where = {"role_name": "aws-ops-target", "account": "production", "dry_run": True}
    async with running(TOOLSETS="iam") as server, server.session() as call:
        assert (await call("update_assume_role_policy", **where, trust_policy=HANDED_OVER))["diff"]
        assert (await call("put_role_policy", **where, policy_name="p", document=policy("Deny")))["diff"]


async def test_a_role_that_is_spelled_out_or_assumed_by_a_profile_is_spared(
    aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spelled, first, last = (f"arn:aws:iam::{NUMBER}:role/{name}" for name in ("break/glass", "first", "team/last"))
    config = tmp_path / "config"
    config.write_text(
        "[profile keys]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
        f"[profile via]\nrole_arn = {first}\nsource_profile = keys\n"
        f"[profile ops]\nrole_arn = {last}\nsource_profile = via\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    arn = arrange("/break/glass", "/first", "/team/last", "/other")
    allowed = {"ALLOWED_ROLE_ARNS": f"arn:aws:iam::{NUMBER}:role/*", "ALLOWED_PROFILES": "ops,via,keys"}
    async with running(TOOLSETS="iam", **allowed) as server, server.session() as call:
        await is_spared(call, "glass", arn, role_arn=spelled)
        await is_free(call, "glass", arn, account="production")  # that call comes by another
        for role in ("last", "first"):
            await is_spared(call, role, arn, profile="ops")
        await is_free(call, "other", arn, profile="ops")


async def test_the_role_that_the_server_starts_from_is_spared(aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"RoleArn": f"arn:aws:iam::{NUMBER}:role/path/Base", "RoleSessionName": "server"}
    arn = arrange("/path/Base", "/other")
    keys = boto("sts").assume_role(**base)["Credentials"]
    for name, part in (("ACCESS_KEY_ID", "AccessKeyId"), ("SECRET_ACCESS_KEY", "SecretAccessKey")):
        monkeypatch.setenv(f"AWS_{name}", keys[part])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    async with running(TOOLSETS="iam") as server, server.session() as call:
        for at in ({}, {"account": "production"}):
            for role in ("Base", "base"):
                await is_spared(call, role, arn, **at)
        await is_free(call, "other", arn)


async def test_a_policy_that_the_servers_own_role_has_gets_no_new_default_version(aws: str) -> None:
    arn = arrange("/aws-ops-target", "/other")
    iam = boto("iam", "production")
    bound = iam.create_policy(PolicyName="bound", PolicyDocument=policy("Allow", "s3:*"))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="aws-ops-target", PolicyArn=arn)
    iam.put_role_permissions_boundary(RoleName="aws-ops-target", PermissionsBoundary=bound)
    async with running(TOOLSETS="iam") as server, server.session() as call:
        for policy_arn in (arn, bound):
            for document in (policy("Deny"), policy("Allow")):
                act = {"policy_arn": policy_arn, "document": document, "account": "production"}
                refused = await call("create_policy_version", **act)
                assert refused.error_code == "InvalidParameter", refused.text
                assert "reaches the account" in refused["message"]
        act = {"policy_arn": arn, "document": policy("Deny"), "account": "production"}
        assert (await call("create_policy_version", **act, dry_run=True))["diff"]
        assert (await call("create_policy_version", **act, set_as_default=False))["version_id"] == "v2"
        iam.detach_role_policy(RoleName="aws-ops-target", PolicyArn=arn)
        iam.attach_role_policy(RoleName="other", PolicyArn=arn)
        assert (await call("create_policy_version", **act))["version_id"] == "v3"
