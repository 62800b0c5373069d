"""Why AWS denied a call: today's wordings of denials, and an IAM and STS that answer, or deny, as told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import pytest

from tests.conftest import Answer, Session, session_of
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production"}
NUMBER = "111111111111"
USER = f"arn:aws:iam::{NUMBER}:user/people/bob"
SESSION = f"arn:aws:sts::{NUMBER}:assumed-role/app/alice@example.com"
ROLE = f"arn:aws:iam::{NUMBER}:role/teams/shop/app"
KEY = "arn:aws:s3:::mine/a folder/a.txt"
POLICY = "arn:aws:organizations::999999999999:policy/o-a1b2c3d4e5/service_control_policy/p-0123abcd"


class IAM:
    """What IAM and STS answer: a decision, a role's ARN, a decoded message; or a denial of an action."""

    def __init__(self) -> None:
        self.url = ""
        self.decision, self.role, self.more = "implicitDeny", ROLE, ""
        self.decoded: Any = None
        self.denied: set[str] = set()
        self.asked: list[dict[str, list[str]]] = []

    def answer(self, sent: dict[str, list[str]]) -> tuple[int, str]:
        action = sent["Action"][0]
        if action in self.denied:
            denied = f"<Error><Code>AccessDenied</Code><Message>No {action}.</Message></Error>"
            return 403, f"<ErrorResponse>{denied}</ErrorResponse>"
        if action == "GetRole":
            made = "<CreateDate>2026-01-01T00:00:00Z</CreateDate>"
            role = (
                f"<Path>/</Path><RoleName>app</RoleName><RoleId>AROAAAAAAAAAAAAAA</RoleId><Arn>{self.role}</Arn>{made}"
            )
            return 200, _result(action, f"<Role>{role}</Role>")
        if action == "DecodeAuthorizationMessage":
            text = self.decoded if isinstance(self.decoded, str) else json.dumps(self.decoded)
            return 200, _result(action, f"<DecodedMessage>{escape(text)}</DecodedMessage>")
        self.asked.append(sent)
        row = f"<EvalActionName>a:B</EvalActionName><EvalDecision>{self.decision}</EvalDecision>{self.more}"
        return 200, _result(action, f"<EvaluationResults><member>{row}</member></EvaluationResults>")


def _result(action: str, content: str) -> str:
    return f"<{action}Response><{action}Result>{content}</{action}Result></{action}Response>"


@pytest.fixture
def iam(environment: None, empty_aws: None) -> Iterator[IAM]:
    canned = IAM()

    class Answering(Handler):
        def answer(self, body: bytes) -> None:
            status, answer = canned.answer(parse_qs(body.decode()))
            self.reply(answer, status)

    with listening(Answering) as url, pytest.MonkeyPatch.context() as patch:
        canned.url = url
        patch.setenv("AWS_ENDPOINT_URL_IAM", url)
        yield canned


@pytest.fixture
async def call(iam: IAM, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    async with session_of("iam", ("http", "auto")) as session:
        await session("list_roles", **AT)  # from here on the role is assumed
        iam.asked.clear()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", iam.url)
        yield session


async def explain(call: Session, text: str, **more: Any) -> Answer:
    """Explain a denial's text; the region is another than the role was assumed in, so that STS is asked anew."""
    answer = await call("explain_denial", error_message=text, region="eu-west-1", **more, **AT)
    assert not answer.is_error, answer.content
    return answer


S3 = f"User: {USER} is not authorized to perform: s3:GetObject on resource: "
NO_ALLOW = " because no identity-based policy allows the s3:GetObject action"
# wording -> principal, action, resource, part of the likely reason, part of what to do
WORDINGS: dict[str, tuple[str | None, str | None, str | None, str, str]] = {
    f'{S3}"{KEY}"{NO_ALLOW}': (USER, "s3:GetObject", KEY, "no identity-based policy allows it", "attach or extend"),
    f'{S3}\\"{KEY}\\"{NO_ALLOW}': (USER, "s3:GetObject", KEY, "no identity-based policy", "attach"),
    f"{S3}{KEY}{NO_ALLOW}": (USER, "s3:GetObject", KEY, "no identity-based policy", "attach"),
    f'{S3}"{KEY}"': (USER, "s3:GetObject", KEY, "no policy of the identity allows it", "attach"),
    f'{S3}"arn:aws:s3:::b/say "hi" to me.txt"{NO_ALLOW}': (
        USER, "s3:GetObject", 'arn:aws:s3:::b/say "hi" to me.txt', "no identity-based", "attach",
    ),
    f'{S3}"arn:aws:s3:::b"\n  with an explicit deny\n  in an identity-based policy': (
        USER, "s3:GetObject", "arn:aws:s3:::b", "an identity-based policy denies it", "remove or narrow",
    ),
    f'{S3}"arn:aws:s3:::b" with an explicit deny in a resource-based policy (Service: S3, Status Code: 403)': (
        USER, "s3:GetObject", "arn:aws:s3:::b", "a resource-based policy denies it", "remove or narrow",
    ),
    f"{S3}arn:aws:s3:::b/k with an explicit deny in a service control policy: {POLICY}.": (
        USER, "s3:GetObject", "arn:aws:s3:::b/k", "a service control policy denies it", POLICY,
    ),
    f"User: {SESSION} is not authorized to perform: sts:AssumeRole on resource: {ROLE} with an explicit deny in the "
    "role trust policy": (SESSION, "sts:AssumeRole", ROLE, "a role trust policy denies it", "remove or narrow"),
    f"User: {SESSION} is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext "
    "because the resource does not exist in this Region, no resource-based policies allow access, or a "
    "resource-based policy explicitly denies access": (
        SESSION, "kms:Decrypt", None, "key's policy does not let", "region",
    ),
    f"User: {SESSION} is not authorized to perform: kms:Decrypt on the resource associated with this ciphertext "
    "because no identity-based policy allows the kms:Decrypt action": (
        SESSION, "kms:Decrypt", None, "no identity-based policy allows it", "attach",
    ),
    "An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation: Not authorized to perform "
    "sts:AssumeRoleWithWebIdentity": (None, "sts:AssumeRoleWithWebIdentity", None, "`sub` and `aud`", "trust policy"),
    '{"Message":"User: anonymous is not authorized to perform: es:ESHttpGet on resource: arn:aws:es:us-east-1:'
    f'{NUMBER}:domain/d/ because no resource-based policy allows the es:ESHttpGet action"}}': (
        "anonymous", "es:ESHttpGet", f"arn:aws:es:us-east-1:{NUMBER}:domain/d/", "not signed", "sign the request",
    ),
    f"Access denied: User `{USER}' is not authorized to perform `ses:SendRawEmail' on resource "
    f"`arn:aws:ses:eu-west-1:{NUMBER}:identity/a@example.com'": (
        USER, "ses:SendRawEmail", f"arn:aws:ses:eu-west-1:{NUMBER}:identity/a@example.com", "no policy of", "attach",
    ),
    f"You are not authorized to perform this operation. User: {USER} is not authorized to perform: ec2:RunInstances on "
    f"resource: arn:aws:ec2:eu-west-1:{NUMBER}:instance/* with an explicit deny in a permissions boundary: "
    f"arn:aws:iam::{NUMBER}:policy/edge.": (
        USER, "ec2:RunInstances", f"arn:aws:ec2:eu-west-1:{NUMBER}:instance/*", "a permissions boundary denies it",
        f"arn:aws:iam::{NUMBER}:policy/edge) and remove",
    ),
    f"User: {USER} is not authorized to perform: s3:PutBucketPolicy on resource: \"arn:aws:s3:::b\" because public "
    "policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access": (
        USER, "s3:PutBucketPolicy", "arn:aws:s3:::b", "BlockPublicPolicy", "names",
    ),
}  # fmt: skip


async def test_every_wording_of_a_denial_is_read(iam: IAM, call: Session) -> None:
    for text, (principal, action, resource, reason, to_do) in WORDINGS.items():
        answer = await explain(call, text)
        read = tuple(answer.content.get(name) for name in ("principal", "action", "resource"))
        assert read == (principal, action, resource), text
        assert reason in answer["likely_reason"], (text, answer.content)
        assert to_do in answer["to_do"], (text, answer.content)
        assert ("explicit deny" in text) == (answer.content.get("explicit_deny") is True), text
        if answer.content.get("explicit_deny"):
            assert "attach" not in answer["to_do"]


async def test_iam_is_asked_about_the_resource_that_was_denied_and_never_about_every_one(
    iam: IAM, call: Session
) -> None:
    await explain(call, f'{S3}"{KEY}"{NO_ALLOW}')
    assert [sent["ResourceArns.member.1"] for sent in iam.asked] == [[KEY]]
    iam.asked.clear()
    for unknown in (
        f"User: {USER} is not authorized to perform: sqs:SendMessage",
        f"User: {USER} is not authorized to perform: secretsmanager:GetSecretValue on resource: prod/db",
        f"User: {USER} is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:us-east-1:"
        "********1111:abc/prod/GET/",
    ):
        answer = await explain(call, unknown)
        assert "no policy of the identity" not in answer["likely_reason"]
        assert "resource" in answer["not_simulated"]
    assert iam.asked == []
    every = await explain(call, f"User: {USER} is not authorized to perform: ecr:GetAuthorizationToken on resource: *")
    assert (every["simulated"], iam.asked[0]["ResourceArns.member.1"]) == ("implicitDeny", ["*"])


async def test_a_sessions_role_is_asked_about_by_the_arn_that_iam_has_for_it(iam: IAM, call: Session) -> None:
    text = f'User: {SESSION} is not authorized to perform: s3:GetObject on resource: "{KEY}"'
    assert (await explain(call, text))["simulated"] == "implicitDeny"
    assert iam.asked[0]["PolicySourceArn"] == [ROLE]
    iam.asked.clear()
    iam.role = ROLE.replace(NUMBER, "222222222222")
    assert NUMBER in (await explain(call, text))["not_simulated"]
    iam.denied = {"GetRole"}
    denied = await explain(call, f"{text}{NO_ALLOW}")
    assert "GetRole" in denied["not_simulated"]
    assert denied["likely_reason"] == "no identity-based policy allows it"
    assert iam.asked == []


async def test_a_step_that_fails_takes_nothing_along_that_is_known(iam: IAM, call: Session) -> None:
    text = f'{S3}"{KEY}"{NO_ALLOW}. Encoded authorization failure message: opaque-1'
    iam.denied = {"DecodeAuthorizationMessage", "SimulatePrincipalPolicy"}
    answer = await explain(call, text)
    assert answer["likely_reason"] == "no identity-based policy allows it"
    assert (answer["principal"], answer["resource"]) == (USER, KEY)
    assert "DecodeAuthorizationMessage" in answer["not_decoded"]
    assert "SimulatePrincipalPolicy" in answer["not_simulated"]
    alone = await call("explain_denial", encoded_message="opaque-1", region="eu-west-1", **AT)
    assert alone.error_code == "AccessDenied", "there is nothing else to explain"
    iam.denied = set()
    for odd in ("{", "[1]", '{"context": 7}', "[" * 5000, '{"allowed": false}'):
        iam.decoded = odd
        answer = await explain(call, text)
        assert (answer["resource"], "not_decoded" in answer.content) == (KEY, True), odd


async def test_a_decoded_deny_without_a_name_goes_without_one(iam: IAM, call: Session) -> None:
    resource = f"arn:aws:ec2:eu-west-1:{NUMBER}:instance/i-0123"
    context = {"principal": {"arn": USER}, "action": "ec2:StopInstances", "resource": resource}
    statement = {"statementId": "", "effect": "DENY", "actions": {"items": [{"value": "ec2:*"}]}}
    iam.decoded = {
        "explicitDeny": True,
        "matchedStatements": {"items": [statement, {"effect": "DENY"}]},
        "context": context,
    }
    answer = await call("explain_denial", encoded_message="opaque-2", region="eu-west-1", **AT)
    assert "None" not in json.dumps(answer.content)
    assert (answer["explicit_deny"], answer["resource"]) == (True, resource)
    assert "Deny" in answer["to_do"]


async def test_what_iam_decided_says_no_more_than_it_knows(iam: IAM, call: Session) -> None:
    text = f'{S3}"{KEY}"'
    iam.more = "<MissingContextValues><member>aws:SourceVpc</member></MissingContextValues>"
    assert "aws:SourceVpc" in (await explain(call, text))["likely_reason"]
    organization = "<AllowedByOrganizations>false</AllowedByOrganizations>"
    iam.more = f"<OrganizationsDecisionDetail>{organization}</OrganizationsDecisionDetail>"
    assert "service control policy" in (await explain(call, text))["likely_reason"]
    boundary = "<AllowedByPermissionsBoundary>false</AllowedByPermissionsBoundary>"
    iam.more = f"<PermissionsBoundaryDecisionDetail>{boundary}</PermissionsBoundaryDecisionDetail>"
    assert "boundary" in (await explain(call, text))["likely_reason"]
    statement = "<member><SourcePolicyId>no-mine</SourcePolicyId></member>"
    iam.decision, iam.more = "explicitDeny", f"<MatchedStatements>{statement}</MatchedStatements>"
    assert "no-mine" in (await explain(call, text))["to_do"]


async def test_a_long_text_is_read_at_once(iam: IAM, call: Session) -> None:
    for text in ("x" * 16_000, "not authorized to perform " * 600, f'{S3}"' + '" because ' * 1500):
        assert (await explain(call, text))["likely_reason"]
