"""Bulkheads, deadlines and cancels: what one identity, or one client that leaves, may cost the others. Nothing."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errors import DeadlineExceeded
from runtime.execution import Execution, sleep
from runtime.places import FairPlaces
from tests.conftest import ROLES, TOKEN, Server, Session, aws_environment, running, server_environment, until
from tests.processes import open_sockets, server_process
from tests.raw_sessions import SSE, Modern
from tests.standin import Standin

PRODUCTION, STAGING = (role.split(":")[4] for role in ROLES.values())
LOOK = ("describe_secret", {"secret_id": "app/db"})
CHANGE = ("update_secret", {"secret_id": "app/db", "secret_value": "x"})
PROMPT = 2.0  # seconds; every deadline here is well above it, or is what is waited for


@pytest.fixture(scope="module")
def started() -> Iterator[Standin]:
    with Standin(canned=True) as standin, pytest.MonkeyPatch.context() as patch:
        for name, value in aws_environment(standin.url).items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        yield standin


@pytest.fixture
def aws(started: Standin) -> Standin:
    started.reset()
    return started


@asynccontextmanager
async def serving(*, deadline: float, calls: int = 64, per_identity: int = 8, **more: str) -> AsyncIterator[Server]:
    """A server that has both accounts' credentials already."""
    environment = {
        "CALL_DEADLINE_SECONDS": str(deadline),
        "MAX_CONCURRENT_CALLS": str(calls),
        "MAX_CONCURRENT_CALLS_PER_IDENTITY": str(per_identity),
        **more,
    }
    async with running(**environment) as server:
        async with server.session() as call:
            for account in ROLES:
                while (ready := await describe(call, account)).error_code == "DeadlineExceeded":
                    pass  # a cold start on a busy machine may take longer than some deadlines here
                assert not ready.is_error, ready.text
            await until(lambda: everything_is_back(server))
        yield server


def describe(call: Session, account: str) -> Any:
    return call("describe_secret", secret_id="app/db", account=account)


def update(call: Session, account: str, secret_id: str = "app/db") -> Any:
    return call("update_secret", secret_id=secret_id, secret_value="x", account=account)


def seen(aws: Standin, operation: str, account: str) -> int:
    return len(aws.calls(operation, account=account))


def everything_is_back(server: Server) -> bool:
    execution = server.app.desk.execution
    return not execution._bulkheads and execution.common.taken == 0


# --- one identity's trouble ----------------------------------------------------------------------------------------


async def test_an_identity_that_hangs_in_all_its_places_leaves_another_identity_answered_promptly(aws: Standin) -> None:
    async with serving(deadline=6, calls=12) as server, server.session() as call:
        aws.forget_calls()
        aws.fault("hang", account=PRODUCTION, seconds=6)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):  # more than its own places, and more than there are in common
                tasks.start_soon(describe, call, "production")
            await until(lambda: seen(aws, "DescribeSecret", PRODUCTION) == 8)
            begun = time.monotonic()
            for _ in range(5):
                assert not (await describe(call, "staging")).is_error
                assert not (await update(call, "staging")).is_error
            assert time.monotonic() - begun < PROMPT
            assert seen(aws, "DescribeSecret", PRODUCTION) == 8
            tasks.cancel_scope.cancel()


async def test_an_identity_that_hangs_keeps_its_places_until_its_threads_end_but_no_common_one(aws: Standin) -> None:
    async with serving(deadline=1, calls=2, per_identity=2) as server, server.session() as call:
        hanging = aws.fault("hang", account=PRODUCTION, seconds=2.5)
        lost = await asyncio.gather(*(describe(call, "production") for _ in range(2)))
        assert {answer.error_code for answer in lost} == {"DeadlineExceeded"}
        assert not (await describe(call, "staging")).is_error
        aws.clear(hanging)
        await until(lambda: everything_is_back(server))
        assert not (await describe(call, "production")).is_error


async def test_an_identity_that_is_throttled_for_ever_leaves_another_its_retries(aws: Standin) -> None:
    async with serving(deadline=20, calls=128, per_identity=64) as server, server.session() as call:
        aws.fault("throttle", account=PRODUCTION)
        throttled = await asyncio.gather(*(describe(call, "production") for _ in range(60)))
        assert {answer.error_code for answer in throttled} == {"ThrottlingException"}
        aws.forget_calls()
        await describe(call, "production")
        assert seen(aws, "DescribeSecret", PRODUCTION) < 3, "its own retries were to be used up"
        aws.fault("throttle", account=STAGING, times=2)
        assert not (await describe(call, "staging")).is_error
        assert seen(aws, "DescribeSecret", STAGING) == 3


# --- waiting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("calls", "per_identity"), [(8, 2), (2, 2)])
async def test_calls_over_a_limit_wait_and_are_not_refused(aws: Standin, calls: int, per_identity: int) -> None:
    async with serving(deadline=20, calls=calls, per_identity=per_identity) as server, server.session() as call:
        aws.forget_calls()
        aws.fault("slow", ms=150)
        accounts = ["production"] * 9 if calls > 2 else ["production", "staging", "production"] * 3
        answers = await asyncio.gather(*(describe(call, account) for account in accounts))
        assert not [answer.text for answer in answers if answer.is_error]
        began = sorted(made.time for made in aws.calls("DescribeSecret"))
        assert all(third - first > 0.1 for first, third in zip(began, began[2:], strict=False))


async def in_turn(*calls: Any) -> list[Any]:
    """Start the calls so that they queue in this order; return their answers."""
    tasks = []
    for call in calls:
        tasks.append(asyncio.create_task(call))
        await asyncio.sleep(0.05)
    return await asyncio.gather(*tasks)


async def test_waiting_for_a_place_counts_against_the_deadline_and_what_never_ran_left_no_trace(aws: Standin) -> None:
    async with serving(deadline=1.5, per_identity=1) as server, server.session() as call:
        aws.forget_calls()
        # The second call has half its time left when it begins to hang, so its thread outlasts those behind it.
        aws.fault("slow", ms=700, times=1)
        aws.fault("hang", seconds=5)
        begun = time.monotonic()
        first, *others = await in_turn(
            describe(call, "production"),
            describe(call, "production"),
            describe(call, "production"),
            update(call, "production"),
        )
        assert not first.is_error
        assert [answer.error_code for answer in others] == ["DeadlineExceeded"] * 3
        assert all(answer["retryable"] for answer in others)
        assert time.monotonic() - begun < 1.5 + PROMPT
        assert [made.operation for made in aws.calls(account=PRODUCTION)] == ["DescribeSecret"] * 2


async def test_a_change_that_hangs_is_outcome_unknown_and_one_that_never_left_the_queue_is_not(aws: Standin) -> None:
    async with serving(deadline=1.5, per_identity=1) as server, server.session() as call:
        aws.fault("slow", ms=700, times=1)
        aws.fault("hang", seconds=5)
        _, sent, queued = await in_turn(
            describe(call, "production"), update(call, "production", "sent"), update(call, "production", "queued")
        )
        assert (sent.error_code, sent["retryable"]) == ("OutcomeUnknown", False)
        assert queued.error_code == "DeadlineExceeded"
        assert seen(aws, "UpdateSecret", PRODUCTION) == 1


# --- clients that leave --------------------------------------------------------------------------------------------


@asynccontextmanager
async def left_behind(server: Server, wire: tuple[str, str], work: Callable[[Session], Any]) -> AsyncIterator[Any]:
    """A client in the middle of `work`; calling what is yielded cancels it."""

    async def go() -> None:
        async with server.session(*wire) as call:
            await work(call)

    task = asyncio.create_task(go())

    async def leave() -> None:
        task.cancel()
        await asyncio.wait([task])

    yield leave
    await leave()


def outcomes(log: Path, tool: str) -> list[tuple[str, str | None]]:
    """The audited outcomes of a tool's calls, intents included."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [(line["outcome"], line["resource"]) for line in lines if line.get("tool") == tool]


async def test_a_read_whose_client_leaves_gives_its_common_place_back_at_once(
    aws: Standin, wire: tuple[str, str]
) -> None:
    async with serving(deadline=8, calls=1, per_identity=1) as server, server.session() as call:
        aws.forget_calls()
        aws.fault("hang", account=PRODUCTION, seconds=2)
        async with left_behind(server, wire, lambda call: describe(call, "production")) as leave:
            await until(lambda: seen(aws, "DescribeSecret", PRODUCTION))
            waiting = asyncio.create_task(describe(call, "staging"))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            begun = time.monotonic()
            await leave()
            assert not (await waiting).is_error
            assert time.monotonic() - begun < PROMPT / 2


async def test_a_read_whose_client_has_left_asks_aws_for_nothing_more(aws: Standin) -> None:
    async with serving(deadline=8) as server:
        aws.forget_calls()
        aws.fault("throttle", account=PRODUCTION)
        async with left_behind(server, ("http", "auto"), lambda call: describe(call, "production")) as leave:
            await until(lambda: seen(aws, "DescribeSecret", PRODUCTION))
            await leave()
        attempts = seen(aws, "DescribeSecret", PRODUCTION)
        await until(lambda: everything_is_back(server))
        assert seen(aws, "DescribeSecret", PRODUCTION) == attempts


async def test_a_change_whose_client_leaves_runs_to_its_end_and_its_outcome_is_audited(
    aws: Standin, wire: tuple[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "audit"
    async with serving(deadline=8, per_identity=1, AUDIT_LOG=str(log)) as server, server.session() as call:
        aws.fault("slow", operation="UpdateSecret", ms=600)
        async with left_behind(server, wire, lambda call: update(call, "production", "kept")) as leave:
            await until(lambda: seen(aws, "UpdateSecret", PRODUCTION))
            await leave()
            await until(lambda: len(outcomes(log, "update_secret")) == 2)
        assert outcomes(log, "update_secret") == [("intent", "kept"), ("success", "kept")]
        assert seen(aws, "UpdateSecret", PRODUCTION) == 1
        await until(lambda: everything_is_back(server))
        assert not (await describe(call, "production")).is_error


async def test_a_change_whose_client_leaves_is_retried_to_its_end_too(aws: Standin, tmp_path: Path) -> None:
    log = tmp_path / "audit"
    async with serving(deadline=8, AUDIT_LOG=str(log)) as server:
        aws.fault("lost", operation="UpdateSecret", times=1)
        async with left_behind(server, ("http", "auto"), lambda call: update(call, "production")) as leave:
            await until(lambda: seen(aws, "UpdateSecret", PRODUCTION))
            await leave()
            await until(lambda: ("success", "app/db") in outcomes(log, "update_secret"))


async def test_a_queued_change_whose_client_left_is_not_run(
    aws: Standin, wire: tuple[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "audit"
    async with serving(deadline=8, per_identity=1, AUDIT_LOG=str(log)) as server, server.session() as call:
        aws.forget_calls()
        aws.fault("slow", operation="DescribeSecret", account=PRODUCTION, ms=800)
        first = asyncio.create_task(describe(call, "production"))
        await until(lambda: seen(aws, "DescribeSecret", PRODUCTION))
        async with left_behind(server, wire, lambda call: update(call, "production", "queued")) as leave:
            await until(lambda: outcomes(log, "update_secret"))
            await asyncio.sleep(0.05)
            await leave()
            assert not (await first).is_error
        await until(lambda: everything_is_back(server))
        assert seen(aws, "UpdateSecret", PRODUCTION) == 0
        assert outcomes(log, "update_secret") == [("intent", "queued"), ("cancelled", "queued")]


async def test_clients_that_leave_in_every_state_leave_all_places_behind(aws: Standin) -> None:
    async with serving(deadline=3, calls=4, per_identity=2) as server:
        aws.fault("slow", ms=300)
        for wire in (("sse", "auto"), ("http", "auto"), ("http", "legacy")):

            async def work(call: Session) -> None:
                calls = (f(call, account) for account in ROLES for f in (describe, update) for _ in range(3))
                await asyncio.gather(*calls)

            for seconds in (0.02, 0.15, 0.4):
                async with left_behind(server, wire, work) as leave:
                    await asyncio.sleep(seconds)
                    await leave()
        await until(lambda: everything_is_back(server))
        assert server.app.desk.in_flight.calls == 0


# --- a process whose clients break off -------------------------------------------------------------------------------


def held(pid: int) -> tuple[int, int]:
    """Return a process's threads and open sockets."""
    status = Path(f"/proc/{pid}/status").read_text()
    threads = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))
    return threads, open_sockets(pid)


async def settled(aws: Standin) -> None:
    """Wait until no more calls arrive."""
    before, now = -1, 0
    while before != now:
        await asyncio.sleep(0.4)
        before, now = now, len(aws.calls())


async def test_abrupt_disconnects_leave_no_thread_and_no_socket_behind(aws: Standin) -> None:
    settings = {"CALL_DEADLINE_SECONDS": "3", "MAX_CONCURRENT_CALLS": "16"}
    with server_process(**server_environment(**settings), **aws_environment(aws.url)) as server:
        port = server.port

        async def a_round() -> tuple[int, int]:
            aws.fault("slow", service="secretsmanager", ms=250)
            streams = [await SSE.idle(port, TOKEN) for _ in range(10)]
            calling = [await Modern.open(port, TOKEN) for _ in range(32)]
            for number, session in enumerate(calling):
                tool, arguments = CHANGE if number % 4 == 0 else LOOK
                await session.start(tool, **arguments, account=list(ROLES)[number % 2])
            await until(lambda: len(aws.calls(service="secretsmanager")) >= 16)
            for broken in [*(stream.stream for stream in streams), *calling]:
                broken.break_off()
            aws.clear()
            await settled(aws)
            aws.forget_calls()
            return held(server.process.pid)

        threads, sockets = await a_round()
        for _ in range(2):
            more_threads, more_sockets = await a_round()
            assert more_threads <= threads + 2
            assert more_sockets <= sockets + 2
        assert sockets < 40
        assert server.get("/healthz")[0] == 200


# --- Execution itself ----------------------------------------------------------------------------------------------

PLACES, PER_IDENTITY = 4, 2
JOB = st.tuples(
    st.sampled_from("abc"),  # identity
    st.sampled_from([0.0, 0.004, 0.03]),  # how long it works
    st.booleans(),  # whether it fails
    st.sampled_from([-1.0, 0.01, 5.0]),  # seconds to its deadline
    st.sampled_from([None, "scope", "task"]),  # how it is cancelled
    st.sampled_from([0.0, 0.002, 0.015]),  # when
    st.booleans(),  # whether it is shielded
    st.booleans(),  # whether it waits without a place
    st.sampled_from("xy"),  # whose it is
)


class Works:
    """Blocking work that counts how many threads each identity has at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def of(self, identity: str, seconds: float, fails: bool, waits: bool) -> Callable[[], str]:
        def work() -> str:
            with self._at_work(identity):
                time.sleep(seconds)
            if waits:
                sleep(0.01)
            with self._at_work(identity):
                if fails:
                    raise ValueError("as asked")
                return identity

        return work

    @contextmanager
    def _at_work(self, identity: str) -> Iterator[None]:
        with self._lock:
            self._now[identity] += 1
            self.most[identity] = max(self.most[identity], self._now[identity])
        try:
            yield
        finally:
            with self._lock:
                self._now[identity] -= 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(jobs=st.lists(JOB, min_size=1, max_size=14))
def test_no_mix_of_ends_leaks_a_place_and_no_identity_has_more_threads_than_places(jobs: list[Any]) -> None:
    works = Works()

    async def main() -> None:
        execution = Execution(PLACES, PER_IDENTITY)

        async def one(
            identity: str, seconds: float, fails: bool, left: float, cancel: str | None, after: float, shield: bool,
            waits: bool, caller: str,
        ) -> None:  # fmt: skip
            async def run() -> None:
                work, how = works.of(identity, seconds, fails, waits), {"identity": identity, "caller": caller}
                try:
                    deadline = time.monotonic() + left
                    assert await execution.run(work, **how, deadline=deadline, shield=shield) == identity
                except ValueError:
                    assert fails
                except DeadlineExceeded:
                    assert left < 5

            if cancel == "scope":
                with anyio.move_on_after(after):
                    await run()
                return
            task = asyncio.create_task(run())
            if cancel == "task":
                await asyncio.sleep(after)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await task

        await asyncio.gather(*(one(*job) for job in jobs))
        await until(lambda: not execution._bulkheads)
        assert execution.common.taken == 0
        results = (
            execution.run(lambda: "free", identity=identity, caller="x", deadline=time.monotonic() + 5)
            for identity in "abc" * PER_IDENTITY
        )
        assert await asyncio.gather(*results) == ["free"] * 3 * PER_IDENTITY

    asyncio.run(main())
    assert all(most <= PER_IDENTITY for most in works.most.values())


async def test_a_free_place_goes_to_the_caller_who_holds_fewest_and_among_equals_in_turn() -> None:
    places, order = FairPlaces(4), list[str]()

    async def use(caller: str) -> None:
        await places.acquire(caller)
        order.append(caller)

    for caller in "aaaa":  # who is alone has them all
        await use(caller)
    waiting = [asyncio.create_task(use(caller)) for caller in "aaaaabbbccc"]
    await asyncio.sleep(0)
    gone = asyncio.create_task(use("b"))
    await asyncio.sleep(0)
    gone.cancel()
    for _ in range(4):
        places.release("a")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert order[4:] == list("bcab")
    for caller in "abbc":
        places.release(caller)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert (places.taken, len(order)) == (4, 12)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert places.taken == 4


async def test_one_callers_queue_keeps_another_waiting_for_no_more_than_a_place_and_waiting_itself_holds_none() -> None:
    execution, begun = Execution(8, 2), list[str]()

    def work(caller: str, *, waits: bool) -> Callable[[], None]:
        def run() -> None:
            begun.append(caller)
            if waits:
                sleep(30)
            time.sleep(0.02)

        return run

    async def ask(caller: str, *, waits: bool = False) -> None:
        how = {"identity": "shared", "caller": caller, "deadline": time.monotonic() + 1}
        with suppress(DeadlineExceeded):
            await execution.run(work(caller, waits=waits), **how)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(ask("greedy", waits=True))
        await until(lambda: len(begun) == 20)  # ten times as many as there are places
        for _ in range(20):
            tasks.create_task(ask("greedy"))
        await asyncio.sleep(0)
        await ask("modest")
        assert begun.index("modest") <= 23
