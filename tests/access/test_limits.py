"""How often a caller may call: rates per caller, a lower one for reveals, and what counts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from access.limits import RateLimit
from errors import RateLimited
from tests.conftest import TOKEN, WIRES, Answer, Server, boto, running, standin_alone
from tests.standin import Standin

NAMES = [f"app/{number}" for number in range(20)]
AGENT = "the-token-of-an-agent-0123456789"
REVEALS: dict[str, dict[str, Any]] = {
    "get_secret_value": {"secret_id": NAMES[0]},
    "batch_get_secret_value": {"secret_ids": NAMES[:1]},
    "get_object": {"bucket": "box", "key": "k"},
    "presign_object": {"bucket": "box", "key": "k"},
}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    callers = tmp_path_factory.mktemp("callers") / "callers.toml"
    digest = hashlib.sha256(AGENT.encode()).hexdigest()
    callers.write_text(f'[callers.agent]\ntoken_sha256 = "{digest}"\nscopes = ["read", "reveal"]\n')
    with standin_alone(MCP_CALLERS_FILE=str(callers)) as started:
        for name in NAMES:
            boto("secretsmanager").create_secret(Name=name, SecretString="v")
        boto("s3").create_bucket(Bucket="box")
        boto("s3").put_object(Bucket="box", Key="k", Body=b"content")
        yield started


@pytest.fixture
async def limited(standin: Standin) -> AsyncIterator[Callable[..., Any]]:
    """Start a server with rates, and a clock that stands still."""
    async with AsyncExitStack() as stack:

        async def start(calls: int, reveals: int) -> tuple[Server, Clock]:
            rates = {"RATE_LIMIT_PER_MINUTE": str(calls), "REVEAL_LIMIT_PER_MINUTE": str(reveals)}
            server = await stack.enter_async_context(
                running(TOOLSETS="secrets,s3", MCP_CALLERS_FILE=os.environ["MCP_CALLERS_FILE"], **rates)
            )
            clock = Clock()
            object.__setattr__(server.app.desk, "calls", RateLimit(calls, "calls", clock))
            object.__setattr__(server.app.desk, "reveals", RateLimit(reveals, "reveals", clock))
            return server, clock

        yield start


def refused(answer: Answer) -> float:
    """Assert that a call came too soon; return in how many seconds it would not have."""
    assert (answer.is_error, answer.error_code, answer["retryable"]) == (True, "RateLimited", True)
    assert f"{answer['retry_after']} s" in answer.text
    return float(answer["retry_after"])


async def test_one_call_too_many_is_refused_and_waiting_as_long_as_told_is_enough(
    limited: Callable[..., Any], standin: Standin, wire: tuple[str, str]
) -> None:
    server, clock = await limited(7, 100)
    async with server.session(*wire) as call:
        for _ in range(7):
            assert (await call("describe_secret", secret_id=NAMES[0]))["success"]
        standin.forget_calls()
        for _ in range(3):
            wait = refused(await call("describe_secret", secret_id=NAMES[0]))
        assert standin.calls() == []
        assert 8.5 < wait <= 8.6  # 60 / 7
        clock.now += wait
        assert (await call("describe_secret", secret_id=NAMES[0]))["success"]
        refused(await call("describe_secret", secret_id=NAMES[0]))


@pytest.mark.parametrize("tool", REVEALS)
async def test_reveals_have_a_lower_limit_that_all_of_them_share(
    limited: Callable[..., Any], standin: Standin, tool: str
) -> None:
    server, clock = await limited(1_000, 4)
    async with server.session() as call:
        for other, arguments in REVEALS.items():
            assert (await call(other, **arguments))["success"], other
        standin.forget_calls()
        wait = refused(await call(tool, **REVEALS[tool]))
        assert standin.calls() == []
        assert wait == 15
        assert (await call("describe_secret", secret_id=NAMES[0]))["success"]
        clock.now += wait
        assert (await call(tool, **REVEALS[tool]))["success"]
        refused(await call(tool, **REVEALS[tool]))


async def test_a_batch_counts_as_many_reveals_as_it_names_secrets(limited: Callable[..., Any]) -> None:
    server, clock = await limited(1_000, 30)
    async with server.session() as call:
        for _ in range(2):  # 40 of 30: the second may overdraw, and what follows waits for all of it
            assert len((await call("batch_get_secret_value", secret_ids=NAMES))["secrets"]) == 20
        assert refused(await call("get_secret_value", **REVEALS["get_secret_value"])) == 22
        clock.now += 21.9
        refused(await call("batch_get_secret_value", secret_ids=NAMES[:1]))
        clock.now += 0.1
        assert (await call("get_secret_value", **REVEALS["get_secret_value"]))["success"]


async def test_a_batch_larger_than_the_limit_is_possible_once_in_its_time(limited: Callable[..., Any]) -> None:
    server, clock = await limited(1_000, 5)
    async with server.session() as call:
        assert (await call("batch_get_secret_value", secret_ids=NAMES))["success"]
        wait = refused(await call("batch_get_secret_value", secret_ids=NAMES))
        clock.now += wait
        assert (await call("batch_get_secret_value", secret_ids=NAMES))["success"]
        assert wait == (20 - 5 + 1) * 12


async def test_one_callers_limit_is_not_anothers(limited: Callable[..., Any]) -> None:
    server, _ = await limited(3, 1)
    async with server.session() as call, server.session(*WIRES[0], token=AGENT) as agent:
        for _ in range(10):
            await call("get_secret_value", **REVEALS["get_secret_value"])
        refused(await call("describe_secret", secret_id=NAMES[0]))
        assert (await agent("get_secret_value", **REVEALS["get_secret_value"]))["success"]
        assert (await agent("describe_secret", secret_id=NAMES[0]))["success"]


async def test_a_callers_sessions_share_one_limit(limited: Callable[..., Any]) -> None:
    server, _ = await limited(6, 100)
    answers: list[Answer] = []

    async def ask(transport: str, mode: str) -> None:
        async with server.session(transport, mode, token=TOKEN) as call:
            answers.extend([await call("describe_secret", secret_id=NAMES[0]) for _ in range(5)])

    async with anyio.create_task_group() as tasks:
        for wire in WIRES:
            tasks.start_soon(ask, *wire)
    assert sorted(str(answer.error_code) for answer in answers) == ["None"] * 6 + ["RateLimited"] * 9


async def test_what_is_refused_for_its_arguments_or_its_scope_counts_and_what_is_refused_for_the_rate_does_not(
    limited: Callable[..., Any],
) -> None:
    server, clock = await limited(6, 2)
    async with server.session(token=AGENT) as call:
        for _ in range(2):
            assert (await call("delete_secret", secret_id=NAMES[0])).error_code == "ScopeRequired"
        assert (await call("describe_secret", secrt=1)).error_code == "InvalidParameter"
        assert (await call("describe_secret", secret_id="x", account="absent")).error_code == "UnknownAccount"
        assert (await call("no_such_tool")).error_code == "InvalidParameter"
        # Names of no secret reveal nothing, but whoever guesses at them is slowed as well.
        assert (await call("get_secret_value", secret_id="absent")).error_code == "ResourceNotFoundException"
        waits = {refused(await call("describe_secret", secret_id=NAMES[0])) for _ in range(5)}
        assert waits == {10}
        assert refused(await call("no_such_tool")) == 10
        # Out of reach it is all the same, rate or no rate.
        assert (await call("delete_secret", secret_id=NAMES[0])).error_code == "ScopeRequired"
        clock.now += 10
        assert (await call("get_secret_value", secret_id=NAMES[0]))["success"]


# --- the bucket itself --------------------------------------------------------------------------------------------


@given(
    st.integers(1, 1_000_000),
    st.lists(st.tuples(st.floats(0, 120), st.integers(1, 20)), min_size=1, max_size=60),
)
def test_after_retry_after_a_call_always_passes_and_no_minute_has_more_than_its_share(
    rate: int, calls: list[tuple[float, int]]
) -> None:
    clock, taken = Clock(), list[tuple[float, int]]()
    limit = RateLimit(rate, "calls", clock)
    for pause, cost in calls:
        clock.now += pause
        try:
            limit.take("a", cost)
        except RateLimited as error:
            wait = error.details["retry_after"]
            assert wait > 0
            clock.now += wait
            limit.take("a", cost)
        taken.append((clock.now, cost))
    for start, _ in taken:
        within = [cost for when, cost in taken if start <= when < start + 60]
        # A bucket that was full at the start, a minute's refill, and the last one's overdraft.
        assert sum(within) <= 2 * rate + 20


def test_callers_do_not_gather_without_bound_and_one_who_is_remembered_is_not_forgiven() -> None:
    clock = Clock()
    limit = RateLimit(1, "calls", clock)
    limit.take("the flooded")
    for number in range(20_000):
        limit.take(f"subject {number}")
        if number % 5_000 == 0:
            with pytest.raises(RateLimited):
                limit.take("the flooded")
    assert len(limit._buckets) == 10_000
