"""What becomes of policy documents of any spelling, by every tool that writes one: refused, asked about, written."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, Session, boto, running

AT: dict[str, Any] = {"account": "production"}  # 111111111111; staging, 222222222222, is configured as well
STRANGER = "666666666666"
Case = tuple[Any, dict[str, Any]]
OWN_PROVIDERS = "arn:aws:iam::111111111111:oidc-provider/"
GITHUB = "token.actions.githubusercontent.com"
SERVICE = {"Service": "lambda.amazonaws.com"}


def anyone(key: str, *values: Any, operator: str = "StringLike", **more: Any) -> Case:
    """Principal `*`, and one condition on it."""
    return "*", {operator: {key: list(values) if len(values) != 1 else values[0]}, **more}


def login(issuer: str, claim: str, *values: str, operator: str = "StringLike") -> Case:
    """Logins at an account's own provider for an issuer, with one condition on a claim."""
    condition = {operator: {f"{issuer}:{claim}": list(values) if len(values) != 1 else values[0]}} if claim else {}
    return {"Federated": OWN_PROVIDERS + issuer}, condition


def at(provider: str, claim: str, *values: str) -> Case:
    return {"Federated": provider}, {"StringEquals": {f"{provider}:{claim}": list(values)}}


OPEN: list[Case] = [
    ("*", {}),
    ({"AWS": "*"}, {}),
    ({"AWS": ["arn:aws:iam::111111111111:root", "*"]}, {}),
    ({"AWS": "arn:aws:iam::11111111111?:root"}, {}),
    ({"Federated": "*"}, {}),
    anyone("aws:PrincipalOrgID", "o-*"),
    anyone("aws:PrincipalOrgID", "o-a1b2c3d4e?"),
    anyone("aws:PrincipalOrgID", "o-a1b2c3d4e5", "o-f*"),
    anyone("AWS:principalorgid", "${aws:PrincipalOrgID}"),
    ("*", {"StringLike": {"aws:PrincipalOrgID": "o-a1b2c3d4e5", "aws:principalorgid": "*"}}),
    anyone("aws:PrincipalOrgID", "o-a1b2c3d4e5", operator="ForAllValues:StringEquals"),
    anyone("aws:PrincipalOrgID", "o-a1b2c3d4e5", operator="StringEqualsIfExists"),
    anyone("aws:PrincipalOrgID", "o-a1b2c3d4e5", operator="StringNotEquals"),
    anyone("aws:PrincipalOrgID", "false", operator="Null"),
    anyone("aws:PrincipalOrgID"),
    anyone("aws:SourceOrgID", "o-*"),
    anyone("aws:PrincipalOrgPaths", "o-*/r-ab12/*", operator="ForAnyValue:StringLike"),
    anyone("aws:PrincipalOrgPaths", "o-a1b2c3d4e5*", operator="ForAnyValue:StringLike"),
    anyone("aws:PrincipalOrgPaths", "o-a1b2c3d4e5/*", "*/r-ab12/*", operator="ForAnyValue:StringLike"),
    anyone("aws:PrincipalAccount", "11111111*"),
    anyone("aws:PrincipalAccount", "111111111111", "22222222222?"),
    anyone("kms:CallerAccount", "1*"),
    anyone("aws:PrincipalArn", "arn:aws:iam::1*:role/ops", operator="ArnLike"),
    anyone("aws:PrincipalArn", "arn:*:iam::111111111111:role/x"),  # a role's path may hold colons and any digits
    anyone("aws:PrincipalArn", "arn:aws:iam::111111111111:role/a", "arn:aws:iam::*:role/a", operator="ArnLike"),
    anyone("aws:SourceArn", "arn:aws:s3:::acme-*"),
    anyone("aws:SourceArn", "arn:aws:sns:us-east-1:*:topic", operator="ArnLike"),
    anyone("aws:userid", "AROAEXAMPLE*"),
    anyone("aws:userid", "*:i-0123456789abcdef0"),
    anyone("aws:userid", "AROAEXAMPLEEXAMPLE00:*", "A?DAEXAMPLEEXAMPLE00"),
    anyone("aws:SourceVpce", "vpce-*"),
    anyone("aws:SourceVpc", "vpc-0a1b2c3d", "vpc-?"),
    anyone("aws:username", "alice"),
    anyone("sts:ExternalId", "a-name-and-no-secret", operator="StringEquals"),
    anyone("aws:SourceIp", "0.0.0.0/1", "128.0.0.0/1", operator="IpAddress"),
    anyone("aws:SourceIp", "20.0.0.0/8", "21.0.0.0/24", operator="IpAddress"),
    anyone("aws:SourceIp", *(f"{n}.0.0.0/10" for n in range(20, 25)), operator="IpAddress"),
    anyone("aws:SourceIp", "2001:db8::/32", "2001:db9::/32", operator="IpAddress"),
    anyone("aws:SourceIp", "::ffff:0.0.0.0/96", operator="IpAddress"),
    anyone("aws:SourceIp", "203.0.113.0/24", "anywhere", operator="IpAddress"),
    anyone("aws:SourceIp", "0.0.0.0/0", operator="NotIpAddress"),
    login(GITHUB, ""),
    login(GITHUB, "aud", "sts.amazonaws.com"),
    login(GITHUB, "sub", "*"),
    login(GITHUB, "sub", "repo:*"),
    login(GITHUB, "sub", "repo:acme*/shop:*"),
    login(GITHUB, "sub", "repo:acm?/shop:*"),
    login(GITHUB, "sub", "r*:acme/shop:*"),
    login(GITHUB, "sub", "repo:acme@*/shop@*:ref:refs/heads/main"),
    login(GITHUB, "sub", "repo:acme/shop:*", "repo:*/shop:*"),
    login(GITHUB, "sub", "repo:${aws:PrincipalTag/x}/shop:*"),
    login(GITHUB, "sub", "environment:production"),
    login(GITHUB, "job_workflow_ref", "acme/shop/.github/workflows/deploy.yml@refs/heads/main"),
    login(GITHUB, "sub", "repo:acme/shop:*", operator="StringLikeIfExists"),
    login(GITHUB, "sub", "repo:acme/shop:*", operator="ForAllValues:StringLike"),
    login(GITHUB.upper(), "sub", "repo:*/shop:*"),
    ({"Federated": OWN_PROVIDERS + GITHUB}, {"StringLike": {"gitlab.com:sub": "project_path:acme/*"}}),
    login("gitlab.com", "sub", "project_path:*"),
    login("gitlab.com", "sub", "project_path:acme*/shop:*"),
    login("app.terraform.io", "sub", "organization:*:project:x:workspace:y:run_phase:*"),
    login("app.terraform.io", "sub", "organization:acme*"),
    login("agent.buildkite.com", "sub", "organization:?cme:pipeline:deploy:*"),
    login("oidc.codefresh.io", "sub", "account:*"),
    login("scalr.io", "sub", "account:*:environment:prod:*"),
    login("proidc.upbound.io", "sub", "mcp:*/prod:provider:provider-aws"),
    login("oidc.vercel.com", "sub", "owner:*:project:shop:environment:production"),
    login("oidc.vercel.com", "aud", "https://vercel.com/*"),
    login("api.pulumi.com/oidc", "sub", "pulumi:deploy:org:*:project:shop:*"),
    login("api.pulumi.com/oidc", "aud", "a*"),
    login("oidc.eks.eu-west-1.amazonaws.com/id/ABC", "sub", "*"),
    ({"Federated": "cognito-identity.amazonaws.com"}, {}),
    at("accounts.google.com", "aud", "1234*.apps.googleusercontent.com"),
    at("www.amazon.com", "user_id", "amzn1.account.X"),
    ({"Federated": "graph.facebook.com"}, {"StringLike": {"graph.facebook.com:app_id": ["1234", "*"]}}),
]
ASKED: list[Case] = [
    *(
        ({"AWS": named}, {})
        for named in (
            STRANGER,
            f"arn:aws:iam::{STRANGER}:root",
            f"arn:aws:iam::{STRANGER}:role/team/deploy",
            f"arn:aws:iam::{STRANGER}:user/bob",
            f"arn:aws:sts::{STRANGER}:assumed-role/deploy/session",
            f"arn:aws:sts::{STRANGER}:federated-user/bob",
            f"arn:aws-cn:iam::{STRANGER}:root",
            ["arn:aws:iam::111111111111:root", STRANGER],
        )
    ),
    (STRANGER, {}),  # without a type, whatever AWS makes of it
    ({"AWS": f"arn:aws:iam::{STRANGER}:root"}, {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}),
    ({"AWS": f"arn:aws:iam::{STRANGER}:root"}, {"StringEquals": {"sts:ExternalId": "agreed"}}),
    ({"Service": "lambda.amazonaws.com", "AWS": STRANGER}, {}),
    ({"Federated": f"arn:aws:iam::{STRANGER}:saml-provider/corp"}, {}),
    (
        {"Federated": f"arn:aws:iam::{STRANGER}:oidc-provider/{GITHUB}"},
        {"StringLike": {f"{GITHUB}:sub": "repo:acme/shop:*"}},
    ),
    anyone("aws:PrincipalAccount", STRANGER, operator="StringEquals"),
    anyone("aws:PrincipalAccount", "111111111111", STRANGER),
    anyone("kms:CallerAccount", STRANGER),
    anyone("aws:SourceOwner", STRANGER),
    anyone("aws:PrincipalArn", f"arn:aws:iam::{STRANGER}:role/*", operator="ArnLike"),
    anyone("aws:SourceArn", f"arn:aws:sns:*:{STRANGER}:*", operator="ArnLike"),
    anyone("aws:userid", f"{STRANGER}:*"),
    ("*", {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5", "aws:PrincipalAccount": STRANGER}}),
    (SERVICE, {"StringEquals": {"aws:SourceAccount": STRANGER}}),
]
# What is asked about, and no account's number can be told.
ASKED_WITHOUT_NUMBER: list[tuple[Case, str]] = [
    (({"CanonicalUser": "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"}, {}), "79a59df900b949e5"),
    (({"AWS": "AROAEXAMPLEEXAMPLE00"}, {}), "AROAEXAMPLEEXAMPLE00"),
    (({"AWS": "arn:aws:iam::cloudfront:user/x"}, {}), "cloudfront"),
    (at("cognito-identity.amazonaws.com", "aud", "us-east-1:9f8e7d6c"), "cognito-identity.amazonaws.com"),
    (at("www.amazon.com", "app_id", "amzn1.application-oa2-client.1"), "www.amazon.com"),
    (at("graph.facebook.com", "app_id", "1234567890"), "graph.facebook.com"),
    (at("accounts.google.com", "aud", "1234.apps.googleusercontent.com"), "accounts.google.com"),
]
PLAIN: list[Case] = [
    ({"AWS": "111111111111"}, {}),
    ({"AWS": ["arn:aws:iam::222222222222:role/deploy", "arn:aws:sts::111111111111:assumed-role/app/x"]}, {}),
    (SERVICE, {}),
    (SERVICE, {"StringEquals": {"aws:SourceAccount": "111111111111"}}),
    (SERVICE, {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:222222222222:*"}}),
    ({"Federated": "arn:aws:iam::111111111111:saml-provider/corp"}, {}),
    anyone("aws:PrincipalOrgID", "o-a1b2c3d4e5", operator="StringEquals"),
    anyone("aws:PrincipalOrgID", "o-a1b2c3d4e5"),
    anyone("aws:PrincipalOrgPaths", "o-a1b2c3d4e5/*", operator="ForAnyValue:StringLike"),
    anyone("aws:PrincipalOrgPaths", "o-a1b2c3d4e5/r-ab12/ou-ab12-*/*", operator="ForAnyValue:StringLike"),
    anyone("aws:PrincipalAccount", "111111111111", "222222222222"),
    anyone("aws:PrincipalArn", "arn:aws:iam::111111111111:role/*", operator="ArnLike"),
    anyone("aws:PrincipalArn", "arn:aws:iam::222222222222:role/ops-?"),
    anyone("aws:SourceArn", "arn:aws:s3:::acme-uploads", "arn:aws:s3:::acme-uploads/*"),
    anyone("aws:SourceArn", "arn:aws:events:*:111111111111:rule/*", operator="ArnLike"),
    anyone("aws:userid", "AROAEXAMPLEEXAMPLE00:*"),
    anyone("aws:userid", "AIDAEXAMPLEEXAMPLE00"),
    anyone("aws:SourceVpce", "vpce-0a1b2c3d4e5f"),
    anyone("aws:SourceVpc", "vpc-0a1b2c3d", "vpc-1a1b2c3d"),
    anyone("aws:SourceIp", "203.0.113.0/24", "198.51.100.0/24", "192.0.2.7", operator="IpAddress"),
    anyone("aws:SourceIp", "20.0.0.0/8", "20.1.0.0/16", operator="IpAddress"),
    anyone("aws:SourceIp", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "20.0.0.0/8", operator="IpAddress"),
    anyone("aws:SourceIp", "2001:db8::/32", "203.0.113.0/24", operator="IpAddress"),
    anyone("aws:SourceIp", "203.0.113.0/24", operator="IpAddress", Bool={"aws:SecureTransport": True}),
    login(GITHUB, "sub", "repo:acme/shop:*"),
    login(GITHUB, "sub", "repo:acme/*"),
    login(GITHUB, "sub", "repo:acme@1234/shop@5678:*"),
    login(GITHUB, "sub", "repo:acme/shop:ref:refs/heads/main", "repo:acme/shop:environment:*", operator="StringLike"),
    login(GITHUB, "sub", "repo:acme/shop:ref:refs/heads/main", operator="StringEquals"),
    login(GITHUB, "sub", "repository_owner:acme:*"),
    login(f"{GITHUB}/acme-corp", "sub", "repo:*"),  # an enterprise's own issuer is nobody else's
    login(f"{GITHUB}/acme-corp", "aud", "sts.amazonaws.com"),
    login("gitlab.com", "sub", "project_path:acme/*"),
    login("gitlab.com", "sub", "project_path:acme/shop:ref_type:branch:ref:*"),
    login("app.terraform.io", "sub", "organization:acme:project:*:workspace:*:run_phase:*"),
    login("agent.buildkite.com", "sub", "organization:acme:pipeline:*"),
    login("oidc.codefresh.io", "sub", "account:5f30ebd3:pipeline:*"),
    login("scalr.io", "sub", "account:acme:environment:*"),
    login("proidc.upbound.io", "sub", "mcp:acme/*"),
    login("oidc.vercel.com", "sub", "owner:acme:project:*"),
    login("oidc.vercel.com/acme", "sub", "owner:acme:project:*"),
    login("api.pulumi.com/oidc", "sub", "pulumi:environments:org:acme:env:*"),
    login("api.pulumi.com/oidc", "aud", "aws:acme", operator="StringEquals"),
    login("oidc.circleci.com/org/1-2-3", "sub", "org/1-2-3/project/*"),
    login("api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc", "aud", "ari:cloud:bitbucket::1"),
    login("acme.app.spacelift.io", "sub", "space:prod-*"),
    login("oidc.eks.eu-west-1.amazonaws.com/id/ABC", "sub", "system:serviceaccount:ns:app-*"),
    login("acme.okta.com", "aud", "0oa1"),
    login("cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Pool", "aud", "client"),
]


def _statement(case: Case, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    principal, condition = case
    login_or_not = "Federated" in principal if isinstance(principal, dict) else False
    action = "sts:AssumeRoleWithWebIdentity" if login_or_not else "sts:AssumeRole"
    one = {"Effect": effect, "Principal": principal, "Action": action, **more}
    return one | ({"Condition": condition} if condition else {})


def trust(*cases: Case, effect: str = "Allow") -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [_statement(case, effect) for case in cases]})


def secret_policy(*cases: Case, effect: str = "Allow", action: str = "secretsmanager:GetSecretValue") -> str:
    statements = [_statement(case, effect) | {"Action": action, "Resource": "*"} for case in cases]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def writes(number: int, *cases: Case, effect: str = "Allow") -> Iterable[tuple[str, dict[str, Any]]]:
    """Every tool that writes a document which says who is let in."""
    document = trust(*cases, effect=effect)
    yield "create_role", {"role_name": f"new-{number}", "trust_policy": document}
    yield "update_assume_role_policy", {"role_name": "app", "trust_policy": document}
    yield "put_secret_policy", {"secret_id": "guarded", "policy": secret_policy(*cases, effect=effect)}


def fives(cases: list[Case]) -> Iterable[list[Case]]:
    """Groups of five or so, of which no two were neighbours: networks of one document count together."""
    groups = len(cases) // 5 + 1
    return (cases[start::groups] for start in range(groups))


def arrange() -> None:
    boto("iam", "production").create_role(RoleName="app", AssumeRolePolicyDocument=trust((SERVICE, {})))
    boto("secretsmanager", "production").create_secret(Name="guarded", SecretString="x")


@pytest.fixture
async def call(server: Server, empty_aws: None) -> AsyncIterator[Session]:
    arrange()
    async with server.session() as session:
        yield session


def untouched() -> bool:
    iam, secrets = boto("iam", "production"), boto("secretsmanager", "production")
    (role,) = iam.list_roles()["Roles"]
    kept = role["AssumeRolePolicyDocument"] == json.loads(trust((SERVICE, {})))
    return kept and "ResourcePolicy" not in secrets.get_resource_policy(SecretId="guarded")


async def test_what_is_open_to_everyone_is_refused_however_it_is_spelled(call: Session) -> None:
    for number, case in enumerate(OPEN):
        for tool, arguments in writes(number, case):
            answer = await call(tool, **arguments, **AT)
            assert answer.error_code == "InvalidParameter", (tool, case, answer.text)
            assert answer["message"].startswith(("trust_policy: it ", "policy: it ")), (tool, case, answer.text)
    assert untouched()


async def test_networks_of_many_statements_are_taken_together(call: Session) -> None:
    eighths = [anyone("aws:SourceIp", f"{n}.0.0.0/9", operator="IpAddress") for n in (20, 21, 22)]
    for tool, arguments in writes(0, *eighths):
        assert (await call(tool, **arguments, **AT)).error_code == "InvalidParameter", tool
    for tool, arguments in writes(1, eighths[0], eighths[1]):
        assert not (await call(tool, **arguments, **AT)).is_error, tool


async def test_a_stranger_who_is_let_in_is_asked_about_by_number(call: Session) -> None:
    numbered = [(case, STRANGER) for case in ASKED]
    for number, (case, named) in enumerate([*numbered, *ASKED_WITHOUT_NUMBER]):
        for tool, arguments in writes(number, case):
            answer = await call(tool, **arguments, **AT)
            assert answer.error_code == "ConfirmationRequired", (tool, case, answer.text)
            assert named in answer["plan"]["will_be_lost"], (tool, case, answer.text)
            assert "111111111111" not in answer["plan"]["will_be_lost"]
    assert untouched()


async def test_a_stranger_is_let_in_once_that_is_confirmed(call: Session) -> None:
    for tool, arguments in writes(0, ({"AWS": STRANGER}, {})):
        assert (await call.confirmed(tool, **arguments, **AT))["success"], tool


async def test_whom_one_knows_is_let_in_without_a_question(call: Session) -> None:
    for number, cases in enumerate(fives(PLAIN)):  # one that were not plain would show among others
        for tool, arguments in writes(number, *cases):
            answer = await call(tool, **arguments, **AT)
            assert not answer.is_error, (tool, cases, answer.text)


async def test_a_denial_of_whomever_is_no_question(call: Session) -> None:
    for number, cases in enumerate(fives([*ASKED, *(case for case, _ in ASKED_WITHOUT_NUMBER), ("*", {})])):
        for tool, arguments in writes(number, *cases, effect="Deny"):
            answer = await call(tool, **arguments, **AT)
            assert not answer.is_error, (tool, cases, answer.text)


async def test_the_account_that_a_call_runs_in_is_no_stranger_there(call: Session) -> None:
    own = {"AWS": "arn:aws:iam::123456789012:root"}
    tried = await call("create_role", role_name="mine", trust_policy=trust((own, {})))
    assert tried["arn"].startswith("arn:aws:iam::123456789012:")
    elsewhere = await call("create_role", role_name="theirs", trust_policy=trust((own, {})), **AT)
    assert "account 123456789012" in elsewhere["plan"]["will_be_lost"]


async def test_trying_a_trust_out_asks_nothing(call: Session) -> None:
    document = trust(({"AWS": STRANGER}, {}))
    tried = await call("update_assume_role_policy", role_name="app", trust_policy=document, dry_run=True, **AT)
    assert (tried["dry_run"], untouched()) == (True, True)


# --- what a permissions policy gives ----------------------------------------------------------------------------------


def allow(actions: Any, resources: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


ROLES, USERS = "arn:aws:iam::*:role/*", "arn:aws:iam::*:user/*"
SECRET = "arn:aws:secretsmanager:*:*:secret:"
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
GIVES_MORE: list[list[dict[str, Any]]] = [
    [allow("*")],
    [allow("*:*")],
    [allow("i?m:*")],
    [allow(["s3:*", "EC2:*"])],
    [allow("s3:*"), allow("ec2:*")],
    [allow("s3:Delete*", "arn:aws:s3:::*"), allow("ec2:t*", "arn:aws:ec2:*:111111111111:instance/*")],
    [allow(["s3:DeleteBucket", "rds:Delete*"], ["arn:aws:s3:::*", "arn:aws:rds:eu-west-1:*:cluster:*"])],
    [allow(["s3:*", "kms:*"], [f"arn:aws:s3:::{c}*" for c in ALPHABET] + ["arn:aws:kms:*:*:key/*"])],
    [{"Effect": "Allow", "NotAction": ["iam:*", "sts:*", "rds:*"], "Resource": "*"}],
    [
        {
            "Effect": "Allow",
            "NotAction": [f"{name}:*" for name in ("iam", "sts", "s3", "ec2", "kms", "rds", "secretsmanager", "ssm")],
            "Resource": "*",
        }
    ],
    [{"Effect": "Allow", "Action": ["s3:*", "ec2:*"], "NotResource": "arn:aws:s3:::precious"}],
    [allow("iam:*", ROLES)],
    [allow("IAM:PUTROLEPOLICY", "arn:aws:iam::111111111111:role/*")],
    [allow("iam:*RolePolicy", "arn:aws:iam::111111111111:role/app-*")],
    [allow("iam:AttachRolePolicy", "arn:aws:iam::*:role/team/?dmin")],
    [allow("iam:UpdateAssumeRole*", "arn:*:*:*:*:*")],
    [allow("iam:CreateAccessKey", USERS)],
    [allow("iam:CreateAccessKey", "arn:aws:iam::111111111111:user/*${aws:username}")],
    [allow("iam:CreateAccessKey", "arn:aws:iam::111111111111:user/${aws:PrincipalTag/owner}")],
    [allow("iam:CreateLoginProfile", "arn:aws:iam::111111111111:user/b*")],
    [allow("iam:*UserPolicy", "arn:aws:iam::111111111111:user/${aws:username}")],  # not one's keys, but one's power
    [allow("iam:CreatePolicyVersion", "arn:aws:iam::111111111111:policy/*")],
    [allow("iam:AddUserToGroup", ["arn:aws:iam::111111111111:group/dev", "arn:aws:iam::111111111111:group/a*"])],
    [allow("iam:DeleteRolePermissionsBoundary")],
    [{"Effect": "Allow", "Action": "iam:PutUserPolicy", "NotResource": "arn:aws:iam::*:user/root"}],
    [{"Effect": "Allow", "Action": "iam:PutUserPolicy", "NotResource": "arn:aws:iam::999999999999:user/*"}],
    [{"Effect": "Allow", "NotAction": ["s3:*", "ec2:*", "kms:*", "rds:*", "sts:*"], "Resource": ROLES}],
    [allow(["iam:PassRole", "lambda:CreateFunction"])],
    [allow("iam:Pass*", ROLES), allow("ec2:Run*")],
    [allow("iam:PassRole", "arn:aws:iam::*:role/app-*"), allow("ecs:RunTask", "arn:aws:ecs:*:*:task-definition/a:*")],
    *(
        [allow("iam:PassRole"), allow(action)]
        for action in (
            "cloudformation:CreateStack", "glue:*", "codebuild:createproject", "sagemaker:CreateNotebook*",
            "states:CreateStateMachine", "datapipeline:*", "ssm:StartAutomationExecution",
        )
    ),
    [allow("sts:AssumeRole")],
    [allow("sts:*", "arn:aws:iam::222222222222:role/*")],
    [allow("sts:Assume*", ["arn:aws:iam::222222222222:role/deploy", "arn:aws:iam::222222222222:role/ops-?"])],
    [{"Effect": "Allow", "Action": "sts:AssumeRole", "NotResource": "arn:aws:iam::222222222222:role/admin"}],
    [allow("secretsmanager:GetSecretValue")],
    [allow("secretsmanager:*", f"{SECRET}*")],
    [allow("secretsmanager:Get*", f"{SECRET}?*-??????")],
    [allow("secretsmanager:Get*", "arn:aws:secretsmanager:us-east-1:111111111111:*")],
    [allow("secretsmanager:GetSecretValue", [f"{SECRET}{c}*" for c in ALPHABET])],
    [allow("secretsmanager:GetSecretValue", f"{SECRET}*e*")],
    [{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "NotResource": f"{SECRET}prod/*"}],
    [allow("ssm:GetParameter*", "arn:aws:ssm:*:*:parameter/*")],
    [allow("ssm:GetParametersByPath")],
    [allow("secretsmanager:GetSecretValue", "*", Condition={"Bool": {"aws:SecureTransport": "true"}})],
]  # fmt: skip
GIVES_ITS_WORK: list[list[dict[str, Any]]] = [
    [allow("s3:*")],
    [allow("logs:*")],
    [allow(["s3:*", "logs:*"])],
    [allow("ec2:*")],
    [allow("lambda:*")],
    [allow(["iam:Get*", "iam:List*", "ec2:Describe*", "s3:Get*", "kms:List*", "rds:Describe*", "sts:Get*"])],
    [allow(["s3:*", "ec2:*"], ["arn:aws:s3:::acme-*", "arn:aws:ec2:*:*:instance/i-0abc"])],
    [allow(["s3:*", "kms:*"], ["arn:aws:s3:::acme", "arn:aws:s3:::acme/*", "arn:aws:kms:*:*:key/1234abcd-*"])],
    [allow(["s3:*", "iam:PutRolePolicy"], ["arn:aws:s3:::*", "arn:aws:iam::111111111111:role/app"])],
    [allow("iam:*", "arn:aws:iam::111111111111:role/team/app")],
    [allow("iam:AttachRolePolicy", "arn:aws:iam::*:role/app")],
    [allow("iam:*AccessKey*", "arn:aws:iam::*:user/${aws:username}")],
    [allow(["iam:ChangePassword", "iam:UpdateLoginProfile"], "arn:aws:iam::*:user/staff/${aws:userName}")],
    [allow("iam:PassRole")],
    [allow("iam:PassRole", "arn:aws:iam::111111111111:role/task"), allow(["ecs:*", "lambda:*"])],
    [allow("ec2:RunInstances"), allow("iam:PassRole", "arn:aws:iam::*:role/web")],
    [allow("sts:AssumeRole", "arn:aws:iam::*:role/deploy")],
    [allow("sts:AssumeRole", ["arn:aws:iam::222222222222:role/a", "arn:aws:iam::333333333333:role/b"])],
    [allow(["sts:GetCallerIdentity", "sts:TagSession"])],
    [allow("secretsmanager:*", f"{SECRET}prod/orders/*")],
    [allow("secretsmanager:GetSecretValue", f"{SECRET}orders-??????")],
    [allow("secretsmanager:GetSecretValue", SECRET + "${aws:PrincipalTag/team}/*")],
    [allow(["secretsmanager:ListSecrets", "secretsmanager:DescribeSecret", "secretsmanager:BatchGetSecretValue"])],
    [allow("ssm:Get*", "arn:aws:ssm:*:*:parameter/orders/*"), allow("ssm:DescribeParameters")],
    [{"Effect": "Allow", "NotAction": "*", "Resource": "*"}],
    [{"Effect": "Allow", "NotAction": "s3:Delete*", "Resource": ["arn:aws:s3:::acme", "arn:aws:s3:::acme/*"]}],
    [{"Effect": "Allow", "Action": "*", "NotResource": "*"}],
    [{"Effect": "Deny", "Action": "*", "Resource": "*"}],
    [{"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}],
]  # fmt: skip


def permissions(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def grants(number: int, document: str, arn: str) -> Iterable[tuple[str, dict[str, Any]]]:
    """Every tool that writes a permissions policy."""
    yield "create_policy", {"policy_name": f"new-{number}", "document": document}
    yield "put_role_policy", {"role_name": "app", "policy_name": "inline", "document": document}
    yield "create_policy_version", {"policy_arn": arn, "document": document, "set_as_default": False}


def made(name: str, statements: list[dict[str, Any]]) -> str:
    policy = boto("iam", "production").create_policy(PolicyName=name, PolicyDocument=permissions(statements))
    return str(policy["Policy"]["Arn"])


async def test_a_policy_that_gives_more_than_its_bearers_work_is_asked_about(call: Session) -> None:
    arn = made("standing", [allow("s3:Get*")])
    for number, statements in enumerate(GIVES_MORE):
        for tool, arguments in grants(number, permissions(statements), arn):
            answer = await call(tool, **arguments, **AT)
            assert answer.error_code == "ConfirmationRequired", (tool, statements, answer.text)
    assert (await call("list_policies", **AT))["count"] == 1
    assert (await call("get_role", role_name="app", **AT))["inline_policies"] == {}


async def test_a_policy_that_gives_its_bearers_work_is_written_without_a_question(call: Session) -> None:
    arns = [made(f"standing-{number}", [allow("s3:Get*")]) for number in range(len(GIVES_ITS_WORK) // 12 + 1)]
    for number, statements in enumerate(GIVES_ITS_WORK):  # by one tool each in turn: the decision is one
        tool, arguments = list(grants(number, permissions(statements), arns[number // 12]))[number % 3]
        answer = await call(tool, **arguments, **AT)
        assert not answer.is_error, (tool, statements, answer.text)


async def test_attaching_is_asked_about_where_a_policy_gives_everything_alone(call: Session) -> None:
    for number, statements in enumerate(([allow("*")], [allow("IAM:Put*", ROLES)], [allow("s3:*"), allow("iam:*")])):
        refused = await call("attach_role_policy", role_name="app", policy_arn=made(f"all-{number}", statements), **AT)
        assert (refused.error_code, "allow_everything" in refused["next_step"]) == ("InvalidParameter", True)
    for number, statements in enumerate(([allow(["s3:*", "ec2:*"])], [allow("ssm:*")], *GIVES_ITS_WORK[:9])):
        attached = await call("attach_role_policy", role_name="app", policy_arn=made(f"p-{number}", statements), **AT)
        assert attached["attached"], statements


async def test_a_caller_who_may_write_alone_writes_what_is_plain_alone(aws: str, tmp_path: Path) -> None:
    token, file = "the-writers-token-0123456789", tmp_path / "callers.toml"
    digest = sha256(token.encode()).hexdigest()
    file.write_text(f'[callers.writer]\ntoken_sha256 = "{digest}"\nscopes = ["read", "write"]\n')
    arrange()
    arn = made("standing", [allow("s3:Get*")])
    async with running(TOOLSETS="all", MCP_CALLERS_FILE=str(file)) as server, server.session(token=token) as call:
        for tool, arguments in [*writes(0, ASKED[0]), *grants(0, permissions(GIVES_MORE[0]), arn)]:
            assert (await call(tool, **arguments, **AT)).error_code == "ScopeRequired", tool
        for tool, arguments in [*writes(1, PLAIN[0]), *grants(1, permissions(GIVES_ITS_WORK[0]), arn)]:
            assert not (await call(tool, **arguments, **AT)).is_error, tool


STARS = "*a" * 2_300 + "*"
COSTLY: list[list[dict[str, Any]]] = [
    [allow(f"iam:{STARS}", STARS)],
    [allow("iam:*", "${" * 4_000)],
    [allow(["secretsmanager:Get*", "ssm:Get*"], [f"arn:aws:*:*:*:*{n}*" for n in range(400)])],
    [allow("a:b", f"a{n}") for n in range(150)],
    [allow("iam:PassRole", "*"), allow([f"a{n}:*" for n in range(1_000)], "*")],
]


@pytest.mark.parametrize("number", range(len(COSTLY)))
async def test_no_document_that_iam_takes_is_judged_for_long(call: Session, number: int) -> None:
    document = {"role_name": "app", "policy_name": "p", "document": permissions(COSTLY[number])}
    began = time.process_time()
    answer = await call("put_role_policy", **document, **AT)
    assert answer.error_code in (None, "ConfirmationRequired", "MalformedPolicyDocument"), answer.text[:200]
    assert time.process_time() - began < 2
