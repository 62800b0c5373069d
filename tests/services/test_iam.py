"""IAM's tools over moto; simulation and decoding, which moto lacks, over a small canned IAM."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from moto.iam.exceptions import DeleteConflictException
from moto.iam.models import IAMBackend

from tests.conftest import ROLES, Server, Session, boto, session_of
from tests.contract import all_tools
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production"}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def policy(action: str = "s3:GetObject", resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
async def call(server: Server, empty_aws: None, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with server.session(*wire) as session:
        yield session


async def test_a_role_is_shown_in_one_answer(call: Session) -> None:
    await call("create_role", role_name="app", trust_policy=json.dumps(TRUST), tags={"Team": "x"}, **AT)
    await call("put_role_policy", role_name="app", policy_name="inline", document=policy(), **AT)
    made = await call("create_policy", policy_name="managed", document=policy("s3:ListBucket"), **AT)
    await call("attach_role_policy", role_name="app", policy_arn=made["arn"], **AT)
    role = await call("get_role", role_name="app", **AT)
    assert role["trust_policy"] == TRUST
    assert role["attached_policies"] == {"managed": made["arn"]}
    assert role["inline_policies"]["inline"]["Statement"][0]["Action"] == "s3:GetObject"
    assert role["tags"] == {"Team": "x"}
    await call("detach_role_policy", role_name="app", policy_arn=made["arn"], **AT)
    assert (await call("get_role", role_name="app", **AT))["attached_policies"] == {}
    assert (await call("get_role", role_name="app", account="staging")).error_code == "NoSuchEntity"


def trust(principal: Any, **condition: dict[str, Any]) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return json.dumps(
        {"Version": "2012-10-17", "Statement": [statement | ({"Condition": condition} if condition else {})]}
    )


GITHUB = {"Federated": "arn:aws:iam::111111111111:oidc-provider/token.actions.githubusercontent.com"}
COGNITO = {"Federated": "cognito-identity.amazonaws.com"}
OPEN_TRUSTS = [
    trust("*"),
    trust({"AWS": "*"}),
    trust({"AWS": ["arn:aws:iam::111111111111:root", "*"]}),
    trust({"AWS": "arn:aws:iam::*:root"}),
    trust({"AWS": "*"}, StringEquals={"sts:ExternalId": "not-a-secret"}),
    trust({"AWS": "*"}, StringLike={"aws:PrincipalOrgID": "*"}),
    trust({"AWS": "*"}, StringEqualsIfExists={"aws:PrincipalOrgID": "o-1234567890"}),
    trust({"AWS": "*"}, StringNotEquals={"aws:PrincipalAccount": "111111111111"}),
    trust({"AWS": "*"}, ArnLike={"aws:PrincipalArn": "arn:aws:iam::*:role/deploy"}),
    trust({"AWS": "*"}, IpAddress={"aws:SourceIp": "0.0.0.0/0"}),
    trust({"AWS": "*"}, Bool={"aws:SecureTransport": "true"}),
    trust(GITHUB),
    trust(GITHUB, StringEquals={"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}),
    trust(GITHUB, StringLike={"token.actions.githubusercontent.com:sub": "*"}),
    trust(COGNITO),
    json.dumps({**TRUST, "Statement": [{"Effect": "Allow", "NotPrincipal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}),
]
NARROW_TRUSTS = [
    trust({"AWS": "*"}, StringEquals={"aws:PrincipalOrgID": "o-1234567890"}),
    trust({"AWS": "*"}, ArnLike={"aws:PrincipalArn": "arn:aws:iam::111111111111:role/*"}),
    trust(GITHUB, StringLike={"token.actions.githubusercontent.com:sub": "repo:acme/shop:*"}),
    trust({"Federated": "arn:aws:iam::111111111111:saml-provider/corp"}),
]


async def test_a_trust_open_to_anybody_is_refused_whatever_its_condition_pretends(
    server: Server, empty_aws: None
) -> None:
    async with server.session() as call:
        for document in OPEN_TRUSTS:
            for tool in ("create_role", "update_assume_role_policy"):
                refused = await call(tool, role_name="open", trust_policy=document, **AT)
                assert refused.error_code == "InvalidParameter", document
                assert refused["message"].startswith("trust_policy: it "), document
        assert boto("iam", "production").list_roles()["Roles"] == []


async def test_a_trust_that_a_condition_ties_down_is_taken(server: Server, empty_aws: None) -> None:
    async with server.session() as call:
        for number, document in enumerate(NARROW_TRUSTS):
            assert (await call("create_role", role_name=f"r{number}", trust_policy=document, **AT))["arn"], document


async def test_a_change_of_trust_shows_its_difference(call: Session) -> None:
    await call("create_role", role_name="app", trust_policy=json.dumps(TRUST), **AT)
    new = json.dumps(TRUST).replace("ec2", "ecs-tasks")
    tried = await call("update_assume_role_policy", role_name="app", trust_policy=new, dry_run=True, **AT)
    assert (await call("get_role", role_name="app", **AT))["trust_policy"] == TRUST
    changed = await call("update_assume_role_policy", role_name="app", trust_policy=new, **AT)
    assert changed["diff"] == tried["diff"] != []
    assert any(line.startswith("+") and "ecs-tasks" in line for line in changed["diff"])


async def test_a_role_is_deleted_with_confirmation_and_all_that_is_its_own(call: Session) -> None:
    await call("create_role", role_name="doomed", trust_policy=json.dumps(TRUST), **AT)
    await call("put_role_policy", role_name="doomed", policy_name="inline", document=policy(), **AT)
    asked = await call("delete_role", role_name="doomed", **AT)
    await call("put_role_policy", role_name="doomed", policy_name="later", document=policy(), **AT)
    stale = await call("delete_role", role_name="doomed", confirm=asked["confirm"], **AT)
    assert stale.error_code == "ConfirmationInvalid"
    await call.confirmed("delete_role", role_name="doomed", **AT)
    assert (await call("get_role", role_name="doomed", **AT)).error_code == "NoSuchEntity"


async def test_a_role_that_must_stay_is_not_deleted(call: Session) -> None:
    iam = boto("iam", "production")
    iam.create_role(RoleName="held", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_instance_profile(InstanceProfileName="web")
    iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="held")
    iam.create_role(RoleName="aws-ops-target", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_role(RoleName="theirs", Path="/aws-service-role/x/", AssumeRolePolicyDocument=json.dumps(TRUST))
    for name, reason in (("held", "profile web"), ("aws-ops-target", "reaches the account"), ("theirs", "AWS's own")):
        refused = await call("delete_role", role_name=name, **AT)
        assert (refused.error_code, reason in refused["message"]) == ("InvalidParameter", True), name


async def test_a_deletion_that_fails_half_way_says_what_was_done(server: Server, empty_aws: None) -> None:
    async with server.session() as call:
        await call("create_role", role_name="half", trust_policy=json.dumps(TRUST), **AT)
        await call("put_role_policy", role_name="half", policy_name="inline", document=policy(), **AT)
        asked = await call("delete_role", role_name="half", **AT)
        assert "inline" in asked["plan"]["will_be_lost"]

        def refuse(self: Any, role_name: str) -> None:
            raise DeleteConflictException("Something came between.")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(IAMBackend, "delete_role", refuse)
            failed = await call("delete_role", role_name="half", confirm=asked["confirm"], **AT)
    assert failed.error_code == "DeleteConflict"
    assert failed["message"] == "Something came between. Done before that: inline policy inline was deleted."


DANGEROUS = [
    policy("*"),
    policy("*:*"),
    policy("iam:*"),
    policy("iam:PutRolePolicy"),
    policy("*", "arn:aws:*:*:*:*"),
    json.dumps({"Statement": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]}),
    json.dumps(
        {"Statement": {"Effect": "Allow", "Action": ["s3:Get*", "iam:Attach*"], "NotResource": "arn:aws:s3:::b"}}
    ),
]


async def test_a_policy_that_could_do_anything_is_confirmed_first(server: Server, empty_aws: None) -> None:
    async with server.session() as call:
        await call("create_role", role_name="app", trust_policy=json.dumps(TRUST), **AT)
        made = await call("create_policy", policy_name="plain", document=policy(), **AT)
        for document in DANGEROUS:
            for tool, where in (
                ("create_policy", {"policy_name": "admin"}),
                ("create_policy_version", {"policy_arn": made["arn"]}),
                ("put_role_policy", {"role_name": "app", "policy_name": "p"}),
            ):
                asked = await call(tool, document=document, **where, **AT)
                assert asked.error_code == "ConfirmationRequired", (tool, document)
                assert "every resource" in asked["plan"]["will_be_lost"]
                assert "undone" not in asked.text, "it can be"
        assert (await call("list_policies", **AT))["count"] == 1
        assert (await call("get_role", role_name="app", **AT))["inline_policies"] == {}


async def test_a_policy_that_could_do_anything_is_written_once_it_is_confirmed(call: Session) -> None:
    everything = policy("*")
    made = await call.confirmed("create_policy", policy_name="admin", document=everything, **AT)
    await call("create_role", role_name="app", trust_policy=json.dumps(TRUST), **AT)
    put = {"role_name": "app", "policy_name": "p", "document": everything}
    tried = await call("put_role_policy", **put, dry_run=True, **AT)
    assert (tried["dry_run"], tried["replaced"]) == (True, False)
    await call.confirmed("put_role_policy", **put, **AT)
    await call.confirmed("create_policy_version", policy_arn=made["arn"], document=everything, **AT)
    attach = {"role_name": "app", "policy_arn": made["arn"]}
    refused = await call("attach_role_policy", **attach, **AT)
    assert (refused.error_code, "allow_everything" in refused["next_step"]) == ("InvalidParameter", True)
    await call.confirmed("attach_role_policy", **attach, allow_everything=True, **AT)
    assert (await call("get_role", role_name="app", **AT))["attached_policies"] == {"admin": made["arn"]}


async def test_an_inline_policy_that_is_replaced_shows_its_difference(call: Session) -> None:
    await call("create_role", role_name="app", trust_policy=json.dumps(TRUST), **AT)
    put = {"role_name": "app", "policy_name": "p"}
    await call("put_role_policy", **put, document=policy(), **AT)
    changed = await call("put_role_policy", **put, document=policy("s3:ListBucket"), **AT)
    assert changed["replaced"] is True
    assert any(line.startswith("-") and "s3:GetObject" in line for line in changed["diff"])
    assert (await call("put_role_policy", **{**put, "role_name": "none"}, document=policy(), **AT)).is_error


async def test_policies_have_documents_and_versions(call: Session) -> None:
    made = await call("create_policy", policy_name="p", document=policy(), description="d", **AT)
    version = {"policy_arn": made["arn"]}
    tried = await call("create_policy_version", **version, document=policy("s3:Get0"), dry_run=True, **AT)
    for number in range(4):
        written = await call("create_policy_version", **version, document=policy(f"s3:Get{number}"), **AT)
        assert written["version_id"] == f"v{number + 2}"
        assert number or written["diff"] == tried["diff"] != []
    detail = await call("get_policy", **version, **AT)
    assert detail["document"]["Statement"][0]["Action"] == "s3:Get3"
    assert len(detail["versions"]) == 5
    old = await call("get_policy", **version, version_id="v1", **AT)
    assert old["document"]["Statement"][0]["Action"] == "s3:GetObject"
    full = await call("create_policy_version", **version, document=policy(), **AT)
    assert (full.error_code, "delete v1" in full["next_step"]) == ("InvalidParameter", True)
    sixth = await call.confirmed("create_policy_version", **version, document=policy(), replace_oldest=True, **AT)
    assert (sixth["version_id"], sixth["deleted_version_id"]) == ("v6", "v1")
    assert (await call("get_policy", **version, account="staging")).error_code == "NoSuchEntity"


async def test_users_and_their_keys_with_age_and_no_way_to_make_one(call: Session) -> None:
    iam = boto("iam", "production")
    iam.create_user(UserName="alice")
    iam.create_access_key(UserName="alice")
    (key,) = (await call("list_access_keys", **AT))["access_keys"]
    assert (key["user_name"], key["status"], key["age_days"]) == ("alice", "Active", 0)
    assert (await call("list_access_keys", user_name="alice", **AT))["count"] == 1
    assert [user["user_name"] for user in (await call("list_users", **AT))["users"]] == ["alice"]
    assert "last_used_service" not in key
    assert (await call("list_access_keys", account="staging"))["access_keys"] == []


def test_no_tool_may_make_an_access_key_or_a_password() -> None:
    actions = {action for _, tool in all_tools().values() for action in tool.spec.actions}
    assert not actions & {
        "iam:CreateAccessKey",
        "iam:UpdateAccessKey",
        "iam:CreateLoginProfile",
        "iam:UpdateLoginProfile",
    }


async def test_listings_go_on_past_one_page(call: Session) -> None:
    iam = boto("iam", "production")
    for number in range(3):
        iam.create_role(RoleName=f"n{number}", AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.create_policy(PolicyName=f"n{number}", PolicyDocument=policy())
    for tool, member, name in (
        ("list_roles", "roles", "role_name"),
        ("list_policies", "policies", "policy_name"),
    ):
        first = await call(tool, max_results=2, **AT)
        assert (first["count"], first["truncated"]) == (2, True), tool
        rest = await call(tool, max_results=2, next_token=first["next_token"], **AT)
        assert rest["truncated"] is False
        assert {row[name] for row in first[member] + rest[member]} == {"n0", "n1", "n2"}, tool


ODD = "/team:data/!~*[x]/"
STANDING: list[tuple[str, dict[str, Any]]] = [
    ("get_policy", {"policy_arn": f"arn:aws:iam::111111111111:policy{ODD}p"}),
    ("get_policy", {"policy_arn": f"arn:aws:iam::111111111111:policy/{'x' * 510}/{'p' * 128}"}),
    ("get_policy", {"policy_arn": "arn:aws:iam::aws:policy/ReadOnlyAccess", "version_id": "v7.rc-1"}),
    ("attach_role_policy", {"role_name": "r", "policy_arn": f"arn:aws:iam::111111111111:policy{ODD}p"}),
    ("detach_role_policy", {"role_name": "r", "policy_arn": f"arn:aws:iam::111111111111:policy{ODD}p"}),
    (
        "simulate_principal_policy",
        {"principal_arn": f"arn:aws:iam::111111111111:user{ODD}u", "actions": ["S3:GetObject"]},
    ),
    ("list_access_keys", {"user_name": "u" * 128}),
    ("list_roles", {"path_prefix": "/team:d"}),
]


async def test_what_stands_is_named_as_aws_may_name_it(call: Session) -> None:
    for tool, arguments in STANDING:
        answer = await call(tool, **arguments, **AT)
        assert answer.error_code != "InvalidParameter", (tool, answer.content)
    odd = f"arn:aws:iam::111111111111:role{ODD}r"
    answer = await call("list_roles", role_arn=odd)
    assert answer.error_code == "RoleNotAllowed", "it is a role's ARN, though not of ours"


BAD: list[tuple[str, dict[str, Any]]] = [
    ("create_role", {"role_name": "a b", "trust_policy": json.dumps(TRUST)}),
    ("create_role", {"role_name": "r", "trust_policy": "not json"}),
    ("create_role", {"role_name": "r", "trust_policy": "{}"}),
    ("create_role", {"role_name": "r", "trust_policy": policy()}),
    ("create_policy", {"policy_name": "p", "document": '{"Version": "2020-01-01", "Statement": []}'}),
    ("create_policy", {"policy_name": "p", "document": policy("s3:" + "x" * 6_200)}),
    ("create_policy", {"policy_name": "p", "document": '{"Statement": [{"Effect": "Perhaps", "Action": "*"}]}'}),
    ("create_policy", {"policy_name": "p", "document": json.dumps(TRUST)}),
    ("create_policy", {"policy_name": "p", "document": '{"Statement": {"Effect": "Allow", "Action": "s3:GetObject"}}'}),
    ("create_policy", {"policy_name": "p", "document": policy("GetObject")}),
    ("create_policy", {"policy_name": "p", "document": policy().replace('"Effect"', '"Effect": "Deny", "Effect"')}),
    ("put_role_policy", {"role_name": "r", "policy_name": "p", "document": policy("s3:" + "x" * 10_300)}),
    ("update_assume_role_policy", {"role_name": "r", "trust_policy": policy()}),
    ("update_assume_role_policy", {"role_name": "r", "trust_policy": json.dumps(TRUST) + " " * 2_048 + "x"}),
    ("create_role", {"role_name": "r", "trust_policy": trust({"AWS": "1" * 2_100})}),
    ("attach_role_policy", {"role_name": "r", "policy_arn": "arn:aws:iam::1:policy/x"}),
    ("simulate_principal_policy", {"principal_arn": "me", "actions": ["s3:GetObject"]}),
    ("simulate_principal_policy", {"principal_arn": "arn:aws:iam::111111111111:role/x", "actions": ["S3"]}),
    ("explain_denial", {}),
    *(
        (tool, {**where, "document": "[" * 20_000})  # too deep to be judged, which comes before all else
        for tool, where in (
            ("create_policy", {"policy_name": "p"}),
            ("put_role_policy", {"role_name": "r", "policy_name": "p"}),
        )
    ),
]


async def test_bad_input_is_refused(call: Session) -> None:
    for tool, arguments in BAD:
        assert (await call(tool, **arguments, **AT)).error_code == "InvalidParameter", (tool, arguments)


SIMULATED = """<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>
<member><EvalActionName>s3:GetObject</EvalActionName><EvalResourceName>*</EvalResourceName>
<EvalDecision>implicitDeny</EvalDecision><MatchedStatements/><MissingContextValues/>
<ResourceSpecificResults>
<member><EvalResourceName>arn:aws:s3:::b/k</EvalResourceName><EvalResourceDecision>allowed</EvalResourceDecision>
<MatchedStatements><member><SourcePolicyId>readers</SourcePolicyId></member></MatchedStatements>
<MissingContextValues/></member>
<member><EvalResourceName>arn:aws:s3:::c/k</EvalResourceName><EvalResourceDecision>explicitDeny</EvalResourceDecision>
<MatchedStatements/><MissingContextValues/></member>
</ResourceSpecificResults></member></EvaluationResults></SimulatePrincipalPolicyResult>
<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></SimulatePrincipalPolicyResponse>"""
DECODED = {
    "allowed": False, "explicitDeny": True,
    "matchedStatements": {"items": [{"statementId": "NoProd"}]},
    "context": {
        "principal": {"arn": "arn:aws:sts::111111111111:assumed-role/app/alice"},
        "action": "ec2:StopInstances", "resource": "arn:aws:ec2:us-east-1:111111111111:instance/i-1",
    },
}  # fmt: skip


def _result(action: str, content: str) -> str:
    return (
        f'<{action}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{action}Result>{content}</{action}Result>'
        f"<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></{action}Response>"
    )


def _users(sent: dict[str, list[str]]) -> str:
    """Two pages of a user each: moto has one page, whatever it is asked for."""
    name, more = ("bob", "") if sent.get("Marker") == ["more"] else ("alice", "<Marker>more</Marker>")
    made = "<CreateDate>2026-01-01T00:00:00Z</CreateDate>"
    user = f"<UserName>{name}</UserName><UserId>AIDA{name}</UserId><Arn>arn:aws:iam::1:user/{name}</Arn>{made}"
    cut = f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
    return _result("ListUsers", f"{cut}{more}<Users><member>{user}</member></Users>")


def _keys(sent: dict[str, list[str]]) -> str:
    (name,) = sent["UserName"]
    made = "<CreateDate>2026-01-01T00:00:00Z</CreateDate>"
    key = f"<UserName>{name}</UserName><AccessKeyId>AKIAAAAAAAAAAAAA{name}</AccessKeyId><Status>Active</Status>{made}"
    rows = f"<AccessKeyMetadata><member>{key}</member></AccessKeyMetadata>"
    return _result("ListAccessKeys", f"<IsTruncated>false</IsTruncated>{rows}")


def _last_used(sent: dict[str, list[str]]) -> str:
    never = "<ServiceName>N/A</ServiceName><Region>N/A</Region>"
    return _result("GetAccessKeyLastUsed", f"<UserName>x</UserName><AccessKeyLastUsed>{never}</AccessKeyLastUsed>")


def _role(sent: dict[str, list[str]]) -> str:
    (name,) = sent["RoleName"]
    made = "<CreateDate>2026-01-01T00:00:00Z</CreateDate>"
    arn = f"<Arn>arn:aws:iam::111111111111:role/{name}</Arn>"
    role = f"<Path>/</Path><RoleName>{name}</RoleName><RoleId>AROA</RoleId>{arn}{made}"
    return _result("GetRole", f"<Role>{role}</Role>")


USERS = {"GetRole": _role, "ListUsers": _users, "ListAccessKeys": _keys, "GetAccessKeyLastUsed": _last_used}


class _CannedIAM(Handler):
    def answer(self, body: bytes) -> None:
        sent = parse_qs(body.decode())
        answer = SIMULATED
        if sent["Action"][0] in USERS:
            answer = USERS[sent["Action"][0]](sent)
        if sent["Action"] == ["DecodeAuthorizationMessage"]:
            text = json.dumps(DECODED).replace("&", "&amp;")
            answer = (
                '<DecodeAuthorizationMessageResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                f"<DecodeAuthorizationMessageResult><DecodedMessage>{text}</DecodedMessage>"
                "</DecodeAuthorizationMessageResult></DecodeAuthorizationMessageResponse>"
            )
        self.reply(answer)


@pytest.fixture
def canned_iam(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An IAM shaped by AWS's API model, for what moto answers with 500."""
    with listening(_CannedIAM) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", url)
        yield url


@pytest.fixture
async def canned_call(canned_iam: str, wire: tuple[str, str]) -> AsyncIterator[Session]:
    """A session of a server of its own: a client keeps the endpoint that it was made for."""
    async with session_of("iam", wire) as session:
        yield session


async def test_users_and_their_keys_go_on_past_one_page(canned_call: Session) -> None:
    for tool, member in (("list_users", "users"), ("list_access_keys", "access_keys")):
        first = await canned_call(tool, max_results=1, **AT)
        assert ([row["user_name"] for row in first[member]], first["truncated"]) == (["alice"], True)
        rest = await canned_call(tool, max_results=1, next_token=first["next_token"], **AT)
        assert ([row["user_name"] for row in rest[member]], rest["truncated"]) == (["bob"], False)
    assert rest["access_keys"][0]["age_days"] > 300
    assert "last_used_service" not in rest["access_keys"][0]


async def test_simulation_reads_results_per_resource(canned_call: Session) -> None:
    answer = await canned_call(
        "simulate_principal_policy",
        principal_arn="arn:aws:iam::111111111111:role/app",
        actions=["s3:GetObject"],
        resources=["arn:aws:s3:::b/k", "arn:aws:s3:::c/k"],
        **AT,
    )
    decisions = {row["resource"]: row["decision"] for row in answer["results"]}
    assert decisions == {"arn:aws:s3:::b/k": "allowed", "arn:aws:s3:::c/k": "explicitDeny"}
    assert answer["results"][0]["matched_statements"] == ["readers"]
    assert answer["all_allowed"] is False


async def test_a_denial_is_explained_in_words(canned_call: Session) -> None:
    text = (
        "User: arn:aws:sts::111111111111:assumed-role/app/alice is not authorized to perform: s3:GetObject "
        "on resource: arn:aws:s3:::b/k with an explicit deny in a service control policy"
    )
    answer = await canned_call("explain_denial", error_message=text, **AT)
    assert answer["likely_reason"] == "a service control policy denies it explicitly"
    assert (answer["action"], answer["resource"], answer["simulated"]) == (
        "s3:GetObject",
        "arn:aws:s3:::b/k",
        "allowed",
    )


async def test_a_denial_that_says_too_little_is_not_explained_by_guessing(canned_call: Session) -> None:
    answer = await canned_call("explain_denial", error_message="Access Denied", **AT)
    assert answer["likely_reason"].startswith("unknown")
    assert answer["not_simulated"]


async def test_a_denial_says_why_iam_could_not_be_asked(call: Session) -> None:  # moto fails to simulate
    text = f"User: {ROLES['production']} is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k."
    answer = await call("explain_denial", error_message=text, **AT)
    assert (answer["resource"], "simulated" in answer.content) == ("arn:aws:s3:::b/k", False)
    assert answer["not_simulated"]
    assert "could not be asked" in answer["likely_reason"]
    allowed = f"{text} because no session policy allows the s3:GetObject action"
    assert (await call("explain_denial", error_message=allowed, **AT))["likely_reason"] == "no session policy allows it"


async def test_an_encoded_message_is_decoded(canned_iam: str, aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with session_of("iam", ("http", "auto")) as call:
        await call("list_roles", **AT)  # from here on the role is assumed
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", canned_iam)
        answer = await call("explain_denial", encoded_message="opaque", account="production", region="eu-west-1")
        text = "You are not authorized to perform this operation. Encoded authorization failure message: opaque"
        assert (await call("explain_denial", error_message=text, region="eu-west-1", **AT))["action"] == answer[
            "action"
        ]
    assert answer["explicit_deny"] is True
    assert answer["matched_statements"] == ["NoProd"]
    assert answer["action"] == "ec2:StopInstances"
