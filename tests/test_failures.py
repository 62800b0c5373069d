"""What goes wrong below us becomes a failure that is true: whose fault, whether to try again, what to do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import botocore
import botocore.exceptions
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.retries import standard
from pydantic import TypeAdapter

from aws_codes import TABLE, meaning
from aws_failures import KINDS, Kind
from errors import translate
from services import service_classes
from services._secrets import ReplicationStatus
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Target, tool
from services.ec2 import InstanceDetail
from services.route53_health import Observation
from services.secrets_manager import Unread
from tests.conftest import Session, running, standin_alone
from tests.standin import Standin

EXCEPTIONS = [
    member
    for member in vars(botocore.exceptions).values()
    if isinstance(member, type) and issubclass(member, Exception) and not issubclass(member, Warning)
]
BIDS_TRY_AGAIN = re.compile(r"(?i)\b(wait|retr(y|ies)|again in|later)\b")


class _Anything(dict[str, Any]):
    def __missing__(self, _: str) -> str:
        return "hush"


def made(cls: type[Exception]) -> Exception:
    if issubclass(cls, ClientError):
        return cls({"Error": {"Code": "Odd", "Message": "hush"}}, "Operation")
    error = cls.__new__(cls)
    Exception.__init__(error, str(getattr(cls, "fmt", "")).format_map(_Anything()))
    return error


@pytest.mark.parametrize("cls", EXCEPTIONS, ids=lambda cls: cls.__name__)
def test_each_exception_of_botocore_is_told_as_who_can_mend_it(cls: type[Exception]) -> None:
    named = next((base for base in cls.__mro__ if base.__name__ in KINDS), None)
    assert named is not None, "decide in aws_failures.py"
    assert cls is BotoCoreError or named is not BotoCoreError, "decide in aws_failures.py"
    failure = translate(made(cls))
    assert (failure.error_code == "InternalError") == (KINDS[named.__name__] is Kind.OURS)
    if KINDS[named.__name__] is not Kind.ANSWER:
        assert "hush" not in f"{failure.message} {failure.next_step}"
    assert failure.retryable or not BIDS_TRY_AGAIN.search(f"{failure.message} {failure.next_step}")


def repeated_by_botocore() -> set[str]:
    """Every code that botocore sends again: by its lists, by its data, and by the models of the services used here."""
    found = {*standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES}
    found |= {*standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES}

    def look(value: Any) -> None:
        if isinstance(value, dict):
            found.update([value["service_error_code"]] if "service_error_code" in value else [])
            value = list(value.values())
        for item in value if isinstance(value, list) else []:
            look(item)

    look(json.loads((Path(botocore.__file__).parent / "data" / "_retry.json").read_text()))
    for service in {service.client_name for service in service_classes()} | {"sts", "organizations", "account"}:
        for name, shape in Loader().load_service_model(service, "service-2")["shapes"].items():
            found.update([shape.get("error", {}).get("code", name)] if "retryable" in shape else [])
    return found


@pytest.mark.parametrize("code", sorted(repeated_by_botocore()))
def test_what_botocore_sends_again_is_told_so_but_for_a_quota(code: str) -> None:
    told = meaning(code, "said", 400)
    assert told.retryable == (code != "LimitExceededException")
    assert bool(BIDS_TRY_AGAIN.search(told.next_step)) == told.retryable


def test_advice_bids_to_try_again_only_beside_what_is_worth_it() -> None:
    assert [row for row in TABLE if bool(BIDS_TRY_AGAIN.search(row.next_step)) != row.retryable] == []
    for code in ("AccessDenied", "Whatever", "VpcLimitExceeded", "ConflictException"):
        for status in (400, 403, 429, 500, 503):
            told = meaning(code, "m", status)
            assert bool(BIDS_TRY_AGAIN.search(told.next_step)) == told.retryable, (code, status)


# code, message, what the advice says, what it does not say
ADVICE = [
    (
        "InvalidRequestException",
        "You can't do this: the secret is scheduled for deletion.",
        "restore_secret",
        "Correct",
    ),
    ("LimitExceededException", "You have 500000 secrets", "quota", "retry"),
    ("VpcLimitExceeded", "The maximum number of VPCs has been reached.", "quota", "retry"),
    ("ServiceQuotaExceededException", "Too many", "quota", "retry"),
    ("InvalidSignatureException", "Signature expired: 20200101 is now earlier than 20200102", "clock", "Correct"),
    ("RequestTimeTooSkewed", "The difference is too large", "--check", "Correct"),
    ("AuthFailure", "AWS was not able to validate the provided access credentials", "clock", "Grant"),
    ("IncompleteSignature", "Authorization header requires 'Signature'", "--check", "Correct"),
    ("InvalidAccessKeyId", "The key does not exist in our records", "credentials", "Correct"),
    ("AccessDeniedException", "Access to KMS is not allowed", "kms:Decrypt", "named in the message"),
    ("AccessDenied", "Access Denied", "names no action", "action named"),
    ("AccessDenied", "User: u is not authorized to perform: s3:ListBucket", "action named in the message", "no action"),
    ("AccessDeniedException", "not authorized to perform: iam:X with an explicit deny in an SCP", "Deny", "Grant"),
    ("UnauthorizedOperation", "You are not authorized to perform this operation.", "names no action", "named in the"),
    ("AccessDenied", "Request has expired", "clock", "Grant"),
    ("HostedZoneNotEmpty", "The hosted zone holds records", "present state", "Correct"),
    (
        "AccessDenied",
        "User: u is not authorized to perform: s3:GetObject on resource: signature/key",
        "action named",
        "clock",
    ),
    ("InvalidObjectState", "The operation is not valid for the object's storage class", "restore it", "retry"),
]


@pytest.mark.parametrize(("code", "message", "advice", "not_said"), ADVICE, ids=lambda value: str(value)[:30])
def test_advice_is_true_of_the_code_and_of_the_message(code: str, message: str, advice: str, not_said: str) -> None:
    told = meaning(code, message, 400)
    assert not told.retryable
    assert advice in told.next_step
    assert not_said not in told.next_step


class _Said(AWSModel):
    user_id: str


class Faulty(AWSServiceBase):
    """A service with faults of its own, and one that reads what AWS did not send."""

    client_name = "sts"
    toolset = "faulty"

    @tool(READ, "sts:GetCallerIdentity")
    def own_key_error(self, target: Target) -> _Said:
        """Fail."""
        return _Said(user_id={"a": "b"}["c"])

    @tool(READ, "sts:GetCallerIdentity")
    def own_wrong_model(self, target: Target) -> _Said:
        """Fail."""
        return _Said(user_id=self.client(target).get_caller_identity()["Arn"].encode() and 7)  # type: ignore[arg-type]

    @tool(READ, "sts:GetCallerIdentity")
    def lacks_a_member(self, target: Target) -> _Said:
        """Read."""
        return _Said(user_id=self.client(target).get_caller_identity()["ResponseMetadata2"])

    @tool(READ, "sts:GetCallerIdentity")
    def lacks_a_models_member(self, target: Target) -> _Said:
        """Read."""
        return _Said.model_validate({"Other": self.client(target).get_caller_identity()["Arn"]})

    @tool(WRITE, "sts:GetCallerIdentity")
    def own_index_error(self, target: Target) -> _Said:
        """Fail."""
        return _Said(user_id=[""][7])


@pytest.fixture(scope="module")
def aws() -> Iterator[Standin]:
    with standin_alone(canned=True) as started:
        yield started


@pytest.fixture
async def call(aws: Standin) -> AsyncIterator[Session]:
    aws.reset()
    async with running(TOOLSETS="all") as server:
        added = {one.name: server.app.mcp.add_tool(one) for one in Faulty(server.app.desk).tools()}
        gate = next(one for one in server.app.mcp.middleware if hasattr(one, "tools"))
        gate.tools = {**gate.tools, **added}
        async with server.session() as session:
            yield session


@pytest.mark.parametrize("name", ["own_key_error", "own_wrong_model", "own_index_error"])
async def test_a_fault_of_ours_is_an_internal_error_which_nobody_repeats(call: Session, name: str) -> None:
    answer = await call(name)
    assert (answer.error_code, answer["retryable"]) == ("InternalError", False)


@pytest.mark.parametrize("name", ["lacks_a_member", "lacks_a_models_member"])
async def test_what_awss_answer_lacks_is_awss_fault(call: Session, name: str) -> None:
    answer = await call(name)
    assert (answer.error_code, answer["retryable"]) == ("ServiceUnavailable", True)


async def test_what_aws_says_is_one_printable_line(aws: Standin, call: Session) -> None:
    said = "no \x1b[31msuch\x1b[0m\r\nthing\u202e \x85here\u2028 \x9b\U000e0041"
    aws.fault("error", operation="DescribeSecret", code="ResourceNotFoundException", status=400, message=said)
    answer = await call("describe_secret", secret_id="app/db", account="production")
    assert answer["message"].startswith("no \\u001b[31msuch\\u001b[0m thing\\u202e here")
    for text in (answer.text, answer["message"]):
        assert text.isprintable()


@pytest.mark.parametrize("said", ["\x1b[2J" * 25_000, "long \u200b" * 20_000, "x" * 100_000])
async def test_what_aws_says_at_length_is_cut(aws: Standin, call: Session, said: str) -> None:
    aws.fault("error", operation="DescribeSecret", code="ResourceNotFoundException", status=400, message=said)
    answer = await call("describe_secret", secret_id="app/db", account="production")
    assert answer.error_code == "ResourceNotFoundException"
    assert answer.text.isprintable()
    assert answer["message"].endswith(" [cut]")
    assert len(answer.text) < 20_000


@pytest.mark.parametrize(
    "model", [Unread, ReplicationStatus, InstanceDetail, Observation], ids=lambda one: one.__name__
)
def test_what_aws_says_within_an_answer_is_one_printable_line_too(model: type[AWSModel]) -> None:
    told = [
        TypeAdapter(kind).validate_python("a\r\n\x1b\x9b\u202eb")
        for name, kind in get_type_hints(model, include_extras=True).items()
        if name in ("message", "status_message", "state_reason") or (model is Observation and name == "status")
    ]
    assert told == ["a \\u001b\\u009b\\u202eb"]


async def test_our_own_sentences_stand_whole_whatever_was_submitted(aws: Standin, call: Session) -> None:
    for name, text in (("no-json", "plain words"), ("a-list", "[1]")):
        made = await call("create_secret", name=name, secret_value=text, account="production")
        assert not made.is_error, made.text
        patched = await call("patch_secret", secret_id=name, set={"k": "is"}, account="production")
        assert patched.is_error
        assert "[redacted]" not in patched.text
    aws.fault("error", operation="GetSecretValue", code="Odd", status=400, message="is it the secret?")
    theirs = await call("patch_secret", secret_id="app/db", set={"k": "is"}, account="production")
    assert theirs["message"] == "[redacted]"
    aws.reset()
    ours = await call("create_secret", name="x", secret_value="is", generate={"length": 20}, account="production")
    assert ours.error_code == "InvalidParameter"
    assert "[redacted]" not in ours["message"]
