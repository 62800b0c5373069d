"""IAM's tools over moto; simulation and decoding, which moto lacks, over a small canned IAM."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.conftest import Server, Session, boto, session_of

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


async def test_a_trust_open_to_anybody_is_refused_and_a_change_shows_its_difference(call: Session) -> None:
    for principal in ("*", {"AWS": "*"}):
        open_trust = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": principal}]}  # type: ignore[dict-item]
        refused = await call("create_role", role_name="open", trust_policy=json.dumps(open_trust), **AT)
        assert refused.error_code == "InvalidParameter"
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


async def test_a_policy_that_allows_everything_is_confirmed_first(call: Session) -> None:
    everything = policy("*")
    asked = await call("create_policy", policy_name="admin", document=everything, **AT)
    assert asked.error_code == "ConfirmationRequired"
    assert (await call("list_policies", **AT))["policies"] == []
    made = await call.confirmed("create_policy", policy_name="admin", document=everything, **AT)
    await call("create_role", role_name="app", trust_policy=json.dumps(TRUST), **AT)
    await call.confirmed("put_role_policy", role_name="app", policy_name="p", document=everything, **AT)
    await call.confirmed("create_policy_version", policy_arn=made["arn"], document=everything, **AT)


async def test_policies_have_documents_and_versions(call: Session) -> None:
    made = await call("create_policy", policy_name="p", document=policy(), description="d", **AT)
    for number in range(4):
        written = await call("create_policy_version", policy_arn=made["arn"], document=policy(f"s3:Get{number}"), **AT)
        assert written["version_id"] == f"v{number + 2}"
    detail = await call("get_policy", policy_arn=made["arn"], **AT)
    assert detail["document"]["Statement"][0]["Action"] == "s3:Get3"
    assert len(detail["versions"]) == 5
    old = await call("get_policy", policy_arn=made["arn"], version_id="v1", **AT)
    assert old["document"]["Statement"][0]["Action"] == "s3:GetObject"
    full = await call("create_policy_version", policy_arn=made["arn"], document=policy(), **AT)
    assert full.error_code == "InvalidParameter"


async def test_users_and_their_keys_with_age_and_no_way_to_make_one(call: Session) -> None:
    iam = boto("iam", "production")
    iam.create_user(UserName="alice")
    iam.create_access_key(UserName="alice")
    (key,) = (await call("list_access_keys", **AT))["access_keys"]
    assert (key["user_name"], key["status"], key["age_days"]) == ("alice", "Active", 0)
    assert (await call("list_access_keys", user_name="alice", **AT))["count"] == 1
    assert [user["user_name"] for user in (await call("list_users", **AT))["users"]] == ["alice"]
    assert not [tool.name for tool in await call.client.list_tools() if "create_access" in tool.name]


async def test_roles_go_on_past_one_page(call: Session) -> None:
    for number in range(3):
        boto("iam", "production").create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=json.dumps(TRUST))
    first = await call("list_roles", max_results=2, **AT)
    assert (first["count"], first["truncated"]) == (2, True)
    rest = await call("list_roles", max_results=2, next_token=first["next_token"], **AT)
    assert {row["role_name"] for row in first["roles"] + rest["roles"]} == {"r0", "r1", "r2"}


BAD: list[tuple[str, dict[str, Any]]] = [
    ("create_role", {"role_name": "a b", "trust_policy": json.dumps(TRUST)}),
    ("create_role", {"role_name": "r", "trust_policy": "not json"}),
    ("create_role", {"role_name": "r", "trust_policy": "{}"}),
    ("create_role", {"role_name": "r", "trust_policy": policy()}),
    ("create_policy", {"policy_name": "p", "document": '{"Version": "2020-01-01", "Statement": []}'}),
    ("create_policy", {"policy_name": "p", "document": policy("s3:" + "x" * 6_200)}),
    ("create_policy", {"policy_name": "p", "document": '{"Statement": [{"Effect": "Perhaps", "Action": "*"}]}'}),
    ("attach_role_policy", {"role_name": "r", "policy_arn": "arn:aws:iam::1:policy/x"}),
    ("simulate_principal_policy", {"principal_arn": "me", "actions": ["s3:GetObject"]}),
    ("simulate_principal_policy", {"principal_arn": "arn:aws:iam::111111111111:role/x", "actions": ["S3"]}),
    ("explain_denial", {}),
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


class _CannedIAM(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        body = SIMULATED
        if sent["Action"] == ["DecodeAuthorizationMessage"]:
            text = json.dumps(DECODED).replace("&", "&amp;")
            body = (
                '<DecodeAuthorizationMessageResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                f"<DecodeAuthorizationMessageResult><DecodedMessage>{text}</DecodedMessage>"
                "</DecodeAuthorizationMessageResult></DecodeAuthorizationMessageResponse>"
            )
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def canned_iam(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An IAM shaped by AWS's API model, for what moto answers with 500."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _CannedIAM)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", url)
    yield url
    server.shutdown()
    server.server_close()


async def test_simulation_reads_results_per_resource(canned_iam: str, call: Session) -> None:
    answer = await call(
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


async def test_a_denial_is_explained_in_words(canned_iam: str, call: Session) -> None:
    text = (
        "User: arn:aws:sts::111111111111:assumed-role/app/alice is not authorized to perform: s3:GetObject "
        "on resource: arn:aws:s3:::b/k with an explicit deny in a service control policy"
    )
    answer = await call("explain_denial", error_message=text, **AT)
    assert answer["likely_reason"] == "a service control policy denies it explicitly"
    assert (answer["action"], answer["resource"], answer["simulated"]) == (
        "s3:GetObject",
        "arn:aws:s3:::b/k",
        "allowed",
    )


async def test_an_encoded_message_is_decoded(canned_iam: str, aws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with session_of("iam", ("http", "auto")) as call:
        await call("list_roles", **AT)  # from here on the role is assumed
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", canned_iam)
        answer = await call("explain_denial", encoded_message="opaque", account="production", region="eu-west-1")
    assert answer["explicit_deny"] is True
    assert answer["matched_statements"] == ["NoProd"]
    assert answer["action"] == "ec2:StopInstances"
