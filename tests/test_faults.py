"""What a caller gets when AWS fails: each fault, once, twice and for ever, under a read and under changes.

All cases run at once, each in an account of its own, so that the whole table takes as long as its slowest row. With
`-s` it is printed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import boto3
import pytest

from tests.conftest import ROLES, Answer, Session, running, standin_alone
from tests.standin import Call, Standin

PATIENT, IMPATIENT = "15", "4"  # CALL_DEADLINE_SECONDS: room for all retries; and for none, where AWS never answers
AT_ONCE = 40

READ, WITH_TOKEN, WITHOUT_TOKEN = "describe_secret", "update_secret", "tag_secret"
OTHER_CHANGES = ("create_secret", "untag_secret", "delete_secret", "restore_secret")
OPERATIONS = {
    "describe_secret": "DescribeSecret",
    "create_secret": "CreateSecret",
    "update_secret": "UpdateSecret",
    "tag_secret": "TagResource",
    "untag_secret": "UntagResource",
    "delete_secret": "DeleteSecret",
    "restore_secret": "RestoreSecret",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "describe_secret": {"secret_id": "app/db"},
    "create_secret": {"name": "app/db", "secret_value": "new"},
    "update_secret": {"secret_id": "app/db", "secret_value": "new"},
    "tag_secret": {"secret_id": "app/db", "tags": {"new": "tag"}},
    "untag_secret": {"secret_id": "app/db", "tag_keys": ["old"]},
    "delete_secret": {"secret_id": "app/db"},
    "restore_secret": {"secret_id": "app/db"},
}
# What AWS's own error says; the others leave no error of AWS's.
CODES = {
    "throttle": "ThrottlingException",
    "http500": "InternalServiceError",
    "http503": "ServiceUnavailable",
    "denied": "AccessDeniedException",
    "expired": "ExpiredTokenException",
}
STS_CODES = {"throttle": "Throttling", "http500": "InternalFailure", "denied": "AccessDenied"}
UNANSWERED = ("reset", "garbage", "truncate", "lost")
PASSING = ("throttle", "http500", "http503", *UNANSWERED)
SILENT = ("hang", "slow")
TIMES = (1, 2, None)
SESSION = boto3.Session()  # it loads each service's model once
_accounts = count(300000000001)


@dataclass(frozen=True)
class Case:
    """A fault that meets so many requests of one tool's call (None: all), in an account of its own."""

    fault: str
    times: int | None
    tool: str
    account: str
    at_sts: bool = False

    @property
    def role_arn(self) -> str:
        return f"arn:aws:iam::{self.account}:role/aws-ops-target"

    @property
    def changes(self) -> bool:
        return self.tool != READ

    def __str__(self) -> str:
        often = {1: "once", 2: "twice", None: "for ever"}[self.times]
        return f"{self.fault} {often}, {self.tool}{' at AssumeRole' if self.at_sts else ''}"


@dataclass(frozen=True)
class Outcome:
    """What the caller got, what the audit trail says, what AWS saw, and how often the change took effect."""

    answer: Answer
    audit: dict[str, Any]
    calls: list[Call]
    assumed: list[Call]
    effects: int

    def came_back(self, tried: int) -> str:
        if not self.answer.is_error:
            return f"{tried}x success"
        return f"{tried}x {self.answer.error_code}{', retryable' if self.answer['retryable'] else ''}"


def _cases(faults: Iterable[str], tools: Iterable[str], times: Iterable[int | None] = TIMES, **more: Any) -> list[Case]:
    return [Case(f, n, t, str(next(_accounts)), **more) for f in faults for n in times for t in tools]


CASES = [
    *_cases((*PASSING, "empty", "denied", "expired"), (READ, WITH_TOKEN, WITHOUT_TOKEN)),
    *_cases(("lost", "truncate"), OTHER_CHANGES),
    *_cases(("empty",), OTHER_CHANGES, [None]),
    *_cases((*PASSING, "empty", "denied"), (READ,), at_sts=True),
    *_cases(("lost", "http500", "denied"), (WITH_TOKEN,), [None], at_sts=True),
]
SILENT_CASES = [
    *_cases(SILENT, (READ, WITH_TOKEN, WITHOUT_TOKEN)),
    *_cases(["hang"], (READ, WITH_TOKEN), [None], at_sts=True),
]
AT_AWS = [case for case in (*CASES, *SILENT_CASES) if not case.at_sts]
AT_STS = [case for case in (*CASES, *SILENT_CASES) if case.at_sts]
CHANGES = [case for case in AT_AWS if case.changes]


def expected(case: Case) -> tuple[str | None, bool, int]:
    """Return the error code (None: success), whether it is retryable, and how many attempts it took."""
    lost = "OutcomeUnknown" if case.changes else "ServiceUnavailable"
    tried = 3 if case.times is None else case.times + 1
    if case.fault in SILENT:
        return ("OutcomeUnknown", False, 1) if case.changes else ("DeadlineExceeded", True, 1)
    if case.fault == "denied":
        return CODES["denied"], False, 1
    if case.fault == "expired":
        return (None, False, 2) if case.times == 1 else (CODES["expired"], False, 2)
    if case.fault == "empty":
        # AWS's own answer to tagging is empty.
        return (None, False, 1) if case.tool.endswith("tag_secret") else (lost, not case.changes, 1)
    if case.times is not None:
        return None, False, tried
    return (lost, not case.changes, 3) if case.fault in UNANSWERED else (CODES[case.fault], True, 3)


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with standin_alone(ALLOWED_ROLE_ARNS="*") as started:
        yield started


def _server(audit_log: str, deadline: str, **environment: str) -> Any:
    return running(
        AUDIT_LOG=audit_log,
        CALL_DEADLINE_SECONDS=deadline,
        MAX_CONCURRENT_CALLS="200",
        ALLOWED_ROLE_ARNS="*",
        **environment,
    )


@pytest.fixture(scope="module")
def outcomes(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Case, Outcome]]:
    """Every case's outcome; the cases run at once."""
    table = anyio.run(_run_all, standin, tmp_path_factory.mktemp("faults"))
    yield table
    print("\n" + _printed(table))


async def _run_all(standin: Standin, directory: Path) -> dict[Case, Outcome]:
    patient, impatient = str(directory / "patient.jsonl"), str(directory / "impatient.jsonl")
    answers: dict[Case, Answer] = {}
    async with AsyncExitStack() as stack:
        calls: dict[Case, Session] = {}
        for log, deadline, cases in ((patient, PATIENT, CASES), (impatient, IMPATIENT, SILENT_CASES)):
            server = await stack.enter_async_context(_server(log, deadline))
            session = await stack.enter_async_context(server.session())
            calls |= dict.fromkeys(cases, session)

        async def prepare(case: Case) -> None:
            await _prepare(calls[case], case)

        async def run(case: Case) -> None:
            answers[case] = await calls[case](case.tool, **ARGUMENTS[case.tool], role_arn=case.role_arn)

        await _all(prepare, AT_AWS, 8)
        for case in AT_STS:
            boto_at(case).create_secret(Name="app/db", SecretString="old")
        standin.forget_calls()
        for case in calls:
            where = {"role_arn": case.role_arn} if case.at_sts else {"account": case.account}
            operation = "AssumeRole" if case.at_sts else OPERATIONS[case.tool]
            applied = case.fault == "empty" and not case.at_sts
            standin.fault(case.fault, operation=operation, times=case.times, ms=10_000, applied=applied, **where)
        await _all(run, [*SILENT_CASES, *CASES], AT_ONCE)
        seen = standin.calls()
        standin.clear()
    audit = {
        (record["identity"], record["tool"]): record
        for record in (*_lines(patient), *_lines(impatient))
        if record["outcome"] != "intent"
    }
    return {
        case: Outcome(
            answers[case],
            audit[case.role_arn, case.tool],
            [call for call in seen if call.account == case.account],
            [call for call in seen if call.role_arn == case.role_arn],
            _effects(case) if case.changes and not case.at_sts else 0,
        )
        for case in calls
    }


async def _all(work: Callable[[Case], Awaitable[None]], cases: Iterable[Case], at_once: int) -> None:
    places = anyio.Semaphore(at_once)

    async def one(case: Case) -> None:
        async with places:
            await work(case)

    async with anyio.create_task_group() as tasks:
        for case in cases:
            tasks.start_soon(one, case)


async def _prepare(call: Session, case: Case) -> None:
    """Put the secret there that the call is about; the identity's credentials are at hand from here on."""
    if case.tool == "create_secret":
        ready = await call("list_secrets", role_arn=case.role_arn)
    else:
        ready = await call(
            "create_secret", name="app/db", secret_value="old", tags={"old": "tag"}, role_arn=case.role_arn
        )
    assert not ready.is_error, ready.text
    if case.tool == "restore_secret":
        await call("delete_secret", secret_id="app/db", role_arn=case.role_arn)


def boto_at(case: Case) -> Any:
    """A plain boto3 client in the case's account, for arranging and for looking behind the server's back."""
    sts = SESSION.client("sts", region_name="us-east-1")
    keys = sts.assume_role(RoleArn=case.role_arn, RoleSessionName="look")["Credentials"]
    return SESSION.client(
        "secretsmanager",
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def _effects(case: Case) -> int:
    """Look how often the change was applied."""
    aws = boto_at(case)
    if case.tool == "create_secret":
        return len(aws.list_secrets()["SecretList"])
    if case.tool == "update_secret":
        return len(aws.list_secret_version_ids(SecretId="app/db", IncludeDeprecated=True)["Versions"]) - 1
    found = aws.describe_secret(SecretId="app/db")
    tags = {tag["Key"] for tag in found.get("Tags", [])}
    applied = {
        "tag_secret": "new" in tags,
        "untag_secret": "old" not in tags,
        "delete_secret": "DeletedDate" in found,
        "restore_secret": "DeletedDate" not in found,
    }
    return int(applied[case.tool])


def _lines(path: str) -> Iterator[dict[str, Any]]:
    for line in Path(path).read_text().splitlines():
        record = json.loads(line)
        if record["event"] == "audit":
            yield record


def _printed(table: dict[Case, Outcome]) -> str:
    """Return the table for people: a row per fault and number of times, a column per kind of call."""
    columns = {READ: "read", WITH_TOKEN: "change with a token", WITHOUT_TOKEN: "change without one", "": "AssumeRole"}
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for case, outcome in table.items():
        often, tool = str(case).split(",")[0], case.tool
        if case.at_sts and case.changes:
            continue
        if tool in columns:
            tried = outcome.assumed if case.at_sts else outcome.calls
            cells.setdefault((case.fault, often), {})["" if case.at_sts else tool] = outcome.came_back(len(tried))
    lines = ["| fault | " + " | ".join(columns.values()) + " |", "|---" * (len(columns) + 1) + "|"]
    for (_, often), row in cells.items():
        lines.append(f"| {often} | " + " | ".join(row.get(tool, "") for tool in columns) + " |")
    lines += ["", "| fault and change | what came back | effects |", "|---|---|---|"]
    others = [(case, outcome) for case, outcome in table.items() if case.tool in OTHER_CHANGES]
    lines += [f"| {case} | {o.came_back(len(o.calls))} | {o.effects} |" for case, o in others]
    return "\n".join(lines)


@pytest.mark.parametrize("case", [c for c in AT_AWS if c.tool not in OTHER_CHANGES], ids=str)
def test_each_fault_is_tried_so_often_and_comes_back_as_success_or_a_coded_failure(
    case: Case, outcomes: dict[Case, Outcome]
) -> None:
    code, retryable, attempts = expected(case)
    outcome = outcomes[case]
    assert outcome.answer.error_code == code, outcome.answer.text
    assert outcome.answer.is_error == (code is not None)
    assert outcome.answer["success"] == (code is None)
    assert bool(outcome.answer.content.get("retryable")) == retryable
    assert len(outcome.calls) == attempts


@pytest.mark.parametrize("case", [*AT_AWS, *AT_STS], ids=str)
def test_the_audit_line_has_the_attempts_and_aws_own_ids_of_those_it_answered(
    case: Case, outcomes: dict[Case, Outcome]
) -> None:
    outcome = outcomes[case]
    answered = [c for c in outcome.calls if c.status is not None and (not c.fault or case.fault in CODES)]
    assert outcome.audit["outcome"] == ("error" if outcome.answer.is_error else "success")
    assert outcome.audit["error_code"] == outcome.answer.error_code
    assert outcome.audit["attempts"] == len(outcome.calls)
    assert len(outcome.audit["aws_request_ids"]) == (0 if case.fault in SILENT else len(answered))


def test_no_call_makes_more_than_three_attempts(outcomes: dict[Case, Outcome]) -> None:
    assert not [str(case) for case, o in outcomes.items() if len(o.calls) > 3 or len(o.assumed) > 3]


def test_expired_credentials_are_renewed_once_and_silently(outcomes: dict[Case, Outcome]) -> None:
    for case, outcome in outcomes.items():
        if not case.at_sts:
            assert len(outcome.assumed) == (case.fault == "expired"), case
        if case.fault == "expired":
            first, second = outcome.calls
            assert first.access_key != second.access_key, case


@pytest.mark.parametrize("case", [c for c in CHANGES if c.tool in ("create_secret", "update_secret")], ids=str)
def test_the_idempotency_token_is_the_same_in_every_attempt(case: Case, outcomes: dict[Case, Outcome]) -> None:
    tokens = {call.client_token for call in outcomes[case].calls}
    assert len(tokens) == 1
    assert tokens != {None}


@pytest.mark.parametrize("case", CHANGES, ids=str)
def test_a_change_has_one_effect_or_none_and_a_plain_failure_means_none(
    case: Case, outcomes: dict[Case, Outcome]
) -> None:
    outcome = outcomes[case]
    if not outcome.answer.is_error:
        assert outcome.effects == 1
    elif outcome.answer.error_code == "OutcomeUnknown":
        assert outcome.effects in (0, 1)
        assert outcome.answer["retryable"] is False
        assert outcome.answer["next_step"]
    else:
        assert outcome.effects == 0


@pytest.mark.parametrize("case", [c for c in CHANGES if c.fault in ("lost", "truncate", *SILENT)], ids=str)
def test_a_change_whose_answer_was_lost_is_never_a_plain_failure(case: Case, outcomes: dict[Case, Outcome]) -> None:
    assert outcomes[case].answer.error_code in (None, "OutcomeUnknown")
    if case.times is None:
        assert outcomes[case].answer.is_error


@pytest.mark.parametrize("case", AT_STS, ids=str)
def test_a_fault_of_assume_role_is_retried_likewise_and_a_change_that_was_never_sent_is_plainly_failed(
    case: Case, outcomes: dict[Case, Outcome]
) -> None:
    outcome = outcomes[case]
    if case.fault == "hang":
        code, attempts = "DeadlineExceeded", 1
    elif case.fault == "denied":
        code, attempts = "AccessDenied", 1
    else:
        code, attempts = STS_CODES.get(case.fault, "ServiceUnavailable"), 3
    if case.times is not None and case.fault != "denied":
        assert not outcome.answer.is_error, outcome.answer.text
        assert (len(outcome.assumed), len(outcome.calls)) == (case.times + 1, 1)
        return
    assert (outcome.answer.error_code, len(outcome.calls)) == (code, 0)
    assert outcome.answer["retryable"] == (case.fault != "denied")
    assert len(outcome.assumed) == attempts


@pytest.mark.parametrize(
    ("fault", "times", "code"),
    [
        ("garbage", 1, None),
        ("truncate", 1, None),
        ("empty", 1, None),
        ("throttle", 1, None),
        ("truncate", None, "ServiceUnavailable"),
        ("throttle", None, "Throttling"),
    ],
)
async def test_a_fault_of_get_caller_identity_is_retried_and_its_half_answer_names_no_account(
    fault: Any, times: int | None, code: str | None, standin: Standin, tmp_path: Path
) -> None:
    standin.reset()
    standin.fault(fault, operation="GetCallerIdentity", times=times)
    async with _server(str(tmp_path / "audit"), PATIENT) as server, server.session() as call:
        answer = await call("list_secrets")
        assert answer.error_code == code, answer.text
        assert answer.is_error or answer["account_id"] == "123456789012"
        assert len(standin.calls("GetCallerIdentity")) == (times + 1 if times else 3)
        assert len(standin.calls("ListSecrets")) == (0 if code else 1)


async def test_an_error_answer_that_was_cut_off_is_no_error_code_but_a_broken_connection(
    standin: Standin, tmp_path: Path
) -> None:
    standin.reset()
    standin.fault("truncate", service="secretsmanager", times=1)
    async with _server(str(tmp_path / "audit"), PATIENT) as server, server.session() as call:
        missing = await call("describe_secret", secret_id="nope", role_arn=f"arn:aws:iam::{next(_accounts)}:role/x")
        assert missing.error_code == "ResourceNotFoundException"
        assert len(standin.calls("DescribeSecret")) == 2


async def test_a_read_that_runs_out_of_time_in_its_last_attempt_is_deadline_exceeded_too(
    standin: Standin, tmp_path: Path
) -> None:
    standin.reset()
    standin.fault("throttle", operation="ListSecrets", times=2)
    standin.fault("hang", operation="ListSecrets")
    async with _server(str(tmp_path / "audit"), "4") as server, server.session() as call:
        answer = await call("list_secrets", role_arn=f"arn:aws:iam::{next(_accounts)}:role/x")
        assert (answer.error_code, answer["retryable"]) == ("DeadlineExceeded", True)


# Values for the arguments that reading tools require.
SAMPLES: dict[str, Any] = {
    "secret_id": "app/db",
    "secret_ids": ["app/db"],
    "instance_id": "i-0123456789abcdef0",
    "address": "10.0.0.1",
    "role_name": "reader",
    "policy_arn": "arn:aws:iam::111111111111:policy/p",
    "principal_arn": "arn:aws:iam::111111111111:role/reader",
    "actions": ["s3:GetObject"],
    "bucket": "a-bucket",
    "key": "k",
    "zone_id": "Z0123456789ABCDEFGHIJ",
    "hosted_zone_id": "Z0123456789ABCDEFGHIJ",
    "change_id": "C0123456789ABCDEFGHIJ",
    "record_name": "www.example.com",
    "record_type": "A",
    "name": "www.example.com",
}
# Of these AWS is asked by HEAD, whose answer has no body that could be cut.
BODILESS = {"head_object", "presign_object"}
# What is no whole argument by itself: the arguments of a tool that takes one of several.
ARGUMENTS_OF: dict[str, dict[str, Any]] = {
    "explain_denial": {"encoded_message": "x" * 40},
    "compare_secrets": {"secret_id": "app/db", "other_account": "production"},
}


@pytest.mark.parametrize("fault", ["empty", "truncate"])
async def test_part_of_an_answer_never_passes_as_success_for_any_reading_tool(
    fault: Any, standin: Standin, tmp_path: Path
) -> None:
    standin.reset()
    answers: dict[str, Answer] = {}
    async with _server(str(tmp_path / "audit"), PATIENT, TOOLSETS="all") as server, server.session() as call:
        tools = [
            tool
            for tool in await call.client.list_tools()
            if tool.annotations.read_only_hint
            and "role_arn" in tool.input_schema["properties"]
            and tool.name not in BODILESS
        ]
        roles = {tool.name: f"arn:aws:iam::{next(_accounts)}:role/aws-ops-target" for tool in tools}
        for role_arn in roles.values():
            await call("create_secret", name="app/db", secret_value="x", role_arn=role_arn)
        for account in ROLES:  # what asks many accounts asks these; all hold their credentials now
            await call("list_secrets", account=account)
        standin.fault(fault)

        async def ask(tool: Any) -> None:
            required = {name: SAMPLES.get(name) for name in tool.input_schema.get("required", [])}
            arguments = ARGUMENTS_OF.get(tool.name, required)
            answers[tool.name] = await call(tool.name, **arguments, role_arn=roles[tool.name])

        async with anyio.create_task_group() as tasks:
            for tool in tools:
                tasks.start_soon(ask, tool)
    assert len(answers) > 30
    unasked = [name for name, answer in answers.items() if answer.error_code == "InvalidParameter"]
    assert not unasked, "give SAMPLES a value for what these require"
    admitted = ("failures", "unknown")  # what tools that ask for many things say of those they did not get
    whole = {name: answer.content for name, answer in answers.items() if not answer.is_error}
    taken = {name: content for name, content in whole.items() if not any(content.get(name) for name in admitted)}
    assert not taken, "these took part of an answer for a success"
