"""What stands before AWS answers too: proxies' pages, half answers, bytes that drip, ports that nobody serves."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.conftest import Answer, Server, Session, aws_environment, running
from tests.loopback import free_port
from tests.odd_endpoint import (
    OddEndpoint,
    Reply,
    cut,
    drip,
    hang_in_mid_body,
    http,
    leave,
    nobody_answers,
    odd_endpoint,
    reset,
)
from tests.standin import Standin

HTML = b"<!DOCTYPE html><html><body><h1>Sorry</h1></body></html>"
SECRET = {"ARN": "arn:aws:secretsmanager:us-east-1:111111111111:secret:app/db-AbCdEf", "Name": "app/db"}
JSON = json.dumps({**SECRET, "DeletionDate": 1760000000.5, "VersionId": "v" * 32}).encode()
WHOLE = http("200 OK", JSON)
GONE = http("400 Bad Request", b'{"__type": "InvalidRequestException", "Message": "scheduled for deletion"}')
# Each says nothing of what became of the request.
SILENT = {
    "closed": leave,
    "reset": reset,
    "a page with status 200": http("200 OK", HTML, "text/html"),
    "an empty 200": http("200 OK"),
    "half of a body without a length": cut("200 OK\r\nConnection: close", JSON[:40]),
    "no body and no length": cut("200 OK\r\nConnection: close", b""),
    "half a chunk": cut("200 OK\r\nTransfer-Encoding: chunked", b"ff\r\n" + JSON[:40]),
    "no last chunk": cut("200 OK\r\nTransfer-Encoding: chunked", b"14\r\n" + JSON[:20] + b"\r\n"),
    "bytes that are no HTTP": cut("\r\n\x00\xff", b"\x16\x03\x01"),
}
# status line -> (error code, retryable, attempts)
PAGES = {
    "500 Internal Server Error": ("InternalFailure", True, 3),
    "502 Bad Gateway": ("InternalFailure", True, 3),
    "503 Service Unavailable": ("InternalFailure", True, 3),
    "504 Gateway Timeout": ("InternalFailure", True, 3),
    "429 Too Many Requests": ("TooManyRequests", True, 3),
    "403 Forbidden": ("UnknownError", False, 1),
    "407 Proxy Authentication Required": ("UnknownError", False, 1),
}


@pytest.fixture(scope="module")
def aws() -> Iterator[OddEndpoint]:
    """STS as it should be, Secrets Manager odd."""
    with Standin(canned=True) as standin, odd_endpoint() as odd, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in aws_environment(standin.url).items():
            patch.setenv(name, value)
        patch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", odd.url)
        yield odd


@asynccontextmanager
async def serving(deadline: str = "15") -> AsyncIterator[tuple[Server, Session]]:
    settings = {"MAX_CONCURRENT_CALLS": "200", "ALLOWED_ROLE_ARNS": "*", "CALL_DEADLINE_SECONDS": deadline}
    async with running(**settings) as server, server.session() as call:
        yield server, call


@pytest.fixture(scope="module")
async def call(aws: OddEndpoint) -> AsyncIterator[Session]:
    async with serving() as (_, call):
        yield call


_numbers = count(400000000001)


class Secret:
    """A secret in an account of its own, about which the endpoint answers as told."""

    def __init__(self, aws: OddEndpoint, call: Session) -> None:
        self._aws, self._call, number = aws, call, next(_numbers)
        self._id = f"secret-{number}"
        self._target = {"secret_id": self._id, "role_arn": f"arn:aws:iam::{number}:role/aws-ops-target"}

    async def look(self, *replies: Reply) -> tuple[Answer, int]:
        """Describe it; return the answer and how many attempts it took."""
        return await self._ask("describe_secret", replies)

    async def delete(self, *replies: Reply) -> tuple[Answer, int]:
        return await self._ask("delete_secret", replies)

    async def _ask(self, tool: str, replies: tuple[Reply, ...]) -> tuple[Answer, int]:
        self._aws.answers(self._id, *replies)
        answer = await self._call(tool, **self._target)
        return answer, self._aws.requests[self._id]


async def at_once(check: Callable[[str], Awaitable[None]], cases: Iterable[str]) -> None:
    """Check all cases at once: most of their time is botocore's waiting between attempts."""

    async def one(case: str) -> None:
        try:
            await check(case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error

    async with asyncio.TaskGroup() as tasks:
        for case in cases:
            tasks.create_task(one(case))


async def test_an_answer_that_says_nothing_is_asked_for_again_and_never_passes_for_one(
    aws: OddEndpoint, call: Session
) -> None:
    async def check(silent: str) -> None:
        secret = Secret(aws, call)
        answer, attempts = await secret.look(SILENT[silent], WHOLE)
        assert not answer.is_error, answer.text
        assert attempts == 2
        answer, attempts = await secret.look(SILENT[silent])
        assert (answer.error_code, answer["retryable"], attempts) == ("ServiceUnavailable", True, 3)

    await at_once(check, SILENT)


async def test_a_change_that_got_no_answer_and_is_then_refused_is_no_plain_failure(
    aws: OddEndpoint, call: Session
) -> None:
    async def check(silent: str) -> None:
        secret = Secret(aws, call)
        answer, _ = await secret.delete(SILENT[silent], GONE)
        assert (answer.error_code, answer["retryable"]) == ("OutcomeUnknown", False)
        answer, _ = await secret.delete(SILENT[silent], WHOLE)
        assert not answer.is_error, answer.text

    await at_once(check, SILENT)


async def test_a_proxys_page_is_no_text_of_awss(aws: OddEndpoint, call: Session) -> None:
    async def check(status: str) -> None:
        secret, page = Secret(aws, call), http(status, HTML, "text/html", Retry_After="3600")
        for ask in (secret.look, secret.delete):
            answer, attempts = await ask(page)
            assert (answer.error_code, answer["retryable"], attempts) == PAGES[status]
            assert "<" not in answer.text

    await at_once(check, PAGES)


async def test_a_text_of_awss_that_quotes_angle_brackets_keeps_its_code(aws: OddEndpoint, call: Session) -> None:
    quoting = b'{"__type": "InvalidParameterException", "Message": "The value <b> is not allowed"}'
    answer, attempts = await Secret(aws, call).look(http("400 Bad Request", quoting))
    assert (answer.error_code, answer["message"], attempts) == (
        "InvalidParameterException", "The value <b> is not allowed", 1,
    )  # fmt: skip


async def test_a_change_that_aws_failed_at_and_then_refused_may_have_been_applied_and_a_denial_not(
    aws: OddEndpoint, call: Session
) -> None:
    failed = http("500 Internal Server Error", b'{"__type": "InternalServiceError"}')
    denied = http("400 Bad Request", b'{"__type": "AccessDeniedException", "Message": "no"}')
    secret = Secret(aws, call)
    assert (await secret.delete(failed, GONE))[0].error_code == "OutcomeUnknown"
    assert (await secret.delete(failed, denied))[0].error_code == "AccessDeniedException"
    assert (await secret.delete(GONE))[0].error_code == "InvalidRequestException"


async def test_expired_credentials_in_a_third_attempt_are_no_reason_for_a_fourth(
    aws: OddEndpoint, call: Session
) -> None:
    slow_down = http("400 Bad Request", b'{"__type": "ThrottlingException"}')
    expired = http("400 Bad Request", b'{"__type": "ExpiredTokenException"}')
    secret = Secret(aws, call)
    answer, attempts = await secret.look(slow_down, slow_down, expired)
    assert (answer.error_code, attempts) == ("ExpiredTokenException", 3)
    assert not (await secret.look(WHOLE))[0].is_error


async def test_a_body_that_never_ends_costs_a_call_its_deadline_and_no_thread_for_longer(aws: OddEndpoint) -> None:
    async with serving("1.5") as (server, call):

        async def check(how: str) -> None:
            secret, stuck = Secret(aws, call), {"drips": drip, "hangs": hang_in_mid_body}[how]
            began = time.monotonic()
            answer, _ = await secret.look(stuck)
            assert (answer.error_code, answer["retryable"]) == ("DeadlineExceeded", True)
            assert (await secret.delete(stuck))[0].error_code == "OutcomeUnknown"
            assert time.monotonic() - began < 2 * 1.5 + 2

        await at_once(check, ["drips", "hangs"])
        end = time.monotonic() + 4
        while server.app.desk.execution._bulkheads:
            assert time.monotonic() < end, "a thread still reads"
            await asyncio.sleep(0.05)


def endless(head: str, begin: bytes = b"") -> Reply:
    """An answer of 200 MB, for who reads so far."""

    def reply(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode())
        chunked = "chunked" in head
        for piece in (begin or b" ", *[b"a" * 65_536] * 3_200):
            connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunked else piece)
        connection.close()

    return reply


def kilobytes(what: str) -> int:
    return int(next(row.split()[1] for row in Path("/proc/self/status").read_text().splitlines() if what in row))


@pytest.mark.parametrize(
    "reply",
    [
        endless("200 OK\r\nContent-Length: 8000000000"),
        endless("200 OK\r\nConnection: close", b'{"Name": "'),
        endless("200 OK\r\nTransfer-Encoding: chunked", b'{"Name": "'),
        endless("400 Bad Request\r\nTransfer-Encoding: chunked", b'{"__type": "Odd", "Message": "'),
        endless("503 Slow Down\r\nConnection: close"),
        http("400 Bad Request", json.dumps({"__type": "Odd", "Message": "\x1b" * 1_000_000}).encode()),
        http("200 OK", gzip.compress(b"{" + b" " * 200_000_000, 1), Content_Encoding="gzip"),
    ],
    ids=["long", "closed", "chunked", "refused", "failed", "whole", "bomb"],
)
async def test_an_answer_is_read_to_a_bound_and_costs_no_more_memory(
    aws: OddEndpoint, call: Session, reply: Reply
) -> None:
    secret = Secret(aws, call)
    await secret.look(WHOLE)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = kilobytes("VmRSS")
    answer, _ = await secret.look(reply)
    assert (answer.error_code, answer["retryable"]) == ("ServiceUnavailable", True)
    assert (await secret.delete(reply))[0].error_code == "OutcomeUnknown"
    assert kilobytes("VmHWM") - before < 100_000


@pytest.mark.parametrize("where", ["refused", "unknown host"])
async def test_an_endpoint_that_cannot_be_reached_is_a_plain_and_retryable_failure_of_a_change_too(
    aws: OddEndpoint, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = "127.0.0.1" if where == "refused" else "secretsmanager.aws-ops.invalid"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://{host}:{free_port()}")
    async with serving() as (_, call):
        for answer, _ in await asyncio.gather(Secret(aws, call).look(), Secret(aws, call).delete()):
            assert (answer.error_code, answer["retryable"]) == ("ServiceUnavailable", True)
            assert "could not be reached" in answer["message"]


async def test_a_change_that_hangs_while_connecting_was_not_sent_so_its_outcome_is_known(
    aws: OddEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nobody_answers() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        async with serving("1.5") as (_, call):
            began = time.monotonic()
            for answer, _ in await asyncio.gather(Secret(aws, call).look(), Secret(aws, call).delete()):
                assert (answer.error_code, answer["retryable"]) == ("DeadlineExceeded", True)
            assert time.monotonic() - began < 3


async def test_whole_answers_leave_the_connection_open_for_the_next(aws: OddEndpoint, call: Session) -> None:
    secret = Secret(aws, call)
    chunks = f"{len(JSON):x}\r\n{JSON.decode()}\r\n0\r\n\r\n"
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await secret.look(WHOLE)
    connections = threading.active_count()  # the endpoint has a thread for each
    for reply in (WHOLE, lambda connection: connection.sendall((head + chunks).encode()), WHOLE):
        assert not (await secret.look(reply))[0].is_error
    assert threading.active_count() <= connections
