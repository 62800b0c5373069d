"""Two replicas behind a real load balancer, configured by deploy/haproxy.cfg: what may be lost with one, and what not.

tests/replicas_setup.sh installs haproxy.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from fastmcp.client.transports import SSETransport, StreamableHttpTransport

from tests.conftest import TOKEN, WIRES, Session, aws_environment, server_environment
from tests.loopback import free_port
from tests.processes import ROOT, Process, clean_environment, server_process
from tests.raw_sessions import KINDS, SSE, Handshake, Modern
from tests.standin import Standin

pytestmark = pytest.mark.balancer
NAMES = ("a", "b")
KEY = "a-key-that-both-replicas-share-0123456789"
SECRET = "replicas/db"


@dataclass
class Cluster:
    """Two replicas and the balancer's port."""

    port: int
    replicas: dict[str, Process]
    logs: dict[str, Path]

    def port_of(self, name: str) -> int:
        return self.replicas[name].port

    def answered(self) -> Counter[str]:
        """How many calls each replica has answered with success so far."""
        return Counter({name: _successes(log) for name, log in self.logs.items()})

    def client(self, transport: str, mode: str, **options: Any) -> Client[Any]:
        """The Python client, in front of the balancer."""
        path, kind = ("sse", SSETransport) if transport == "sse" else ("mcp", StreamableHttpTransport)
        return Client(kind(f"http://127.0.0.1:{self.port}/{path}", auth=TOKEN), mode=mode, **options)


def _successes(log: Path) -> int:
    return sum(json.loads(line).get("outcome") == "success" for line in log.read_text().splitlines())


@pytest.fixture(scope="module")
def aws() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def cluster(aws: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Both replicas, for tests that kill none."""
    with balanced(aws, tmp_path_factory.mktemp("cluster")) as cluster:
        asyncio.run(arrange(cluster))
        yield cluster


@contextmanager
def balanced(aws: Standin, folder: Path) -> Iterator[Cluster]:
    logs = {name: folder / f"audit-{name}" for name in NAMES}
    with ExitStack() as stack:
        replicas = {
            name: stack.enter_context(
                server_process(
                    **server_environment(REPLICA_NAME=name, AUDIT_HMAC_KEY=KEY, AUDIT_LOG=str(log)),
                    **aws_environment(aws.url),
                )
            )
            for name, log in logs.items()
        }
        port = stack.enter_context(balancer([replica.url for replica in replicas.values()]))
        yield Cluster(port, replicas, logs)


@contextmanager
def balancer(urls: list[str]) -> Iterator[int]:
    """haproxy as deploy/haproxy.cfg has it."""
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert haproxy, "run tests/replicas_setup.sh first, as root"
    port = free_port()
    a, b = (url.removeprefix("http://") for url in urls)
    environment = clean_environment(LISTEN=f"127.0.0.1:{port}", REPLICA_A=a, REPLICA_B=b)
    # -db: in the foreground, so that it is this one process that ends.
    command = [haproxy, "-db", "-f", str(ROOT / "deploy" / "haproxy.cfg")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process)
            yield port
        finally:
            process.kill()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, "haproxy has ended"
            assert time.monotonic() < end, "haproxy does not listen"
            time.sleep(0.05)


async def arrange(cluster: Cluster) -> None:
    """Make the secret that the tests describe, and have both replicas hold the account's credentials."""
    for name in NAMES:
        session = await Modern.open(cluster.port_of(name), TOKEN)
        await session.call("create_secret", name=SECRET, secret_value="x", account="production")
        assert (await describe(session)).ok
        session.close()


def describe(session: Any) -> Any:
    return session.call("describe_secret", secret_id=SECRET, account="production")


# --- sessions find home ----------------------------------------------------------------------------------------------


async def test_modern_calls_go_to_either_replica_in_turn(cluster: Cluster) -> None:
    before = cluster.answered()
    session = await Modern.open(cluster.port, TOKEN)
    for _ in range(10):
        assert (await describe(session)).ok
    session.close()
    now = cluster.answered()
    assert {name: now[name] - before[name] for name in NAMES} == {"a": 5, "b": 5}


async def test_sessions_of_both_older_wires_name_their_replica(cluster: Cluster) -> None:
    streams = [await SSE.idle(cluster.port, TOKEN) for _ in range(4)]
    handshakes = [await Handshake.open(cluster.port, TOKEN) for _ in range(4)]
    homes = {stream.endpoint.partition("replica=")[2].partition("&")[0] for stream in streams}
    assert homes == {handshake.session_id.partition(".")[0] for handshake in handshakes} == set(NAMES)
    for session in (*streams, *handshakes):
        session.close()


@pytest.mark.parametrize("wire", WIRES, ids="-".join)
async def test_python_clients_work_through_the_balancer_on_every_wire(cluster: Cluster, wire: tuple[str, str]) -> None:
    before = cluster.answered()

    async def work() -> None:
        async with cluster.client(*wire) as client:
            assert len(await client.list_tools()) > 5
            for _ in range(5):
                assert (await Session(client)("describe_secret", secret_id=SECRET, account="production"))["success"]

    await asyncio.gather(*(work() for _ in range(6)))
    now = cluster.answered()
    assert sum(now.values()) - sum(before.values()) == 30
    assert all(now[name] > before[name] for name in NAMES)


@pytest.mark.parametrize("kind", KINDS)
async def test_many_sessions_interleave_through_the_balancer(cluster: Cluster, kind: str) -> None:
    sessions = await asyncio.gather(*(KINDS[kind].open(cluster.port, TOKEN) for _ in range(20)))
    for _ in range(3):
        assert all(answer.ok for answer in await asyncio.gather(*map(describe, sessions)))
    for session in sessions:
        session.close()


# --- confirmations ---------------------------------------------------------------------------------------------------


async def created(cluster: Cluster, name: str) -> tuple[dict[str, Modern], dict[str, Any]]:
    """A session to each replica itself, and the arguments that delete a new secret for good."""
    sessions = {replica: await Modern.open(cluster.port_of(replica), TOKEN) for replica in NAMES}
    assert (await sessions["a"].call("create_secret", name=name, secret_value="x", account="production")).ok
    return sessions, {"secret_id": name, "force_delete_without_recovery": True, "account": "production"}


async def test_a_confirmation_that_one_replica_issued_is_taken_by_the_other(cluster: Cluster) -> None:
    sessions, act = await created(cluster, "replicas/confirmed")
    asked = await sessions["a"].call("delete_secret", **act)
    assert asked.error_code == "ConfirmationRequired"
    altered = await sessions["b"].call(
        "delete_secret", **{**act, "secret_id": SECRET}, confirm=asked.content["confirm"]
    )
    assert altered.error_code == "ConfirmationInvalid"
    assert (await sessions["b"].call("delete_secret", **act, confirm=asked.content["confirm"])).ok
    again = await sessions["a"].call("delete_secret", **act, confirm=asked.content["confirm"])
    assert again.error_code == "ConfirmationInvalid"


async def test_a_question_of_one_replica_is_answered_to_the_other(cluster: Cluster) -> None:
    _, act = await created(cluster, "replicas/asked")
    questions: list[str] = []

    async def yes(message: str, *_: Any) -> dict[str, Any]:
        questions.append(message)
        return {"confirm": True}

    async with cluster.client("http", "auto", elicitation_handler=yes) as client:
        # Round robin: the question and the answer to it go to different replicas.
        assert (await Session(client)("delete_secret", **act))["success"]
    assert len(questions) == 1


async def test_a_race_of_one_confirmation_over_both_replicas_deletes_once_and_never_what_was_made_since(
    cluster: Cluster, aws: Standin
) -> None:
    name = "replicas/raced"
    sessions, act = await created(cluster, name)
    asked = await sessions["a"].call("delete_secret", **act)
    act["confirm"] = asked.content["confirm"]
    racers = [await Modern.open(cluster.port_of(replica), TOKEN) for replica in NAMES * 5]
    answers = await asyncio.gather(*(racer.call("delete_secret", **act) for racer in racers))
    # Each replica lets one pass at most; AWS takes the second for a deletion of nothing.
    assert 1 <= sum(answer.ok for answer in answers) <= 2
    assert {answer.error_code for answer in answers if not answer.ok} <= {
        "ConfirmationInvalid",
        "ResourceNotFoundException",
    }
    gone = await sessions["b"].call("describe_secret", secret_id=name, account="production")
    assert gone.error_code == "ResourceNotFoundException"
    assert (await sessions["a"].call("create_secret", name=name, secret_value="y", account="production")).ok
    for session in sessions.values():
        assert (await session.call("delete_secret", **act)).error_code == "ConfirmationInvalid"
    assert (await sessions["b"].call("describe_secret", secret_id=name, account="production")).ok


# --- one replica goes ------------------------------------------------------------------------------------------------


@dataclass
class Made:
    """A call of the load: on which wire, when, and what came of it: `ok`, an error code, or `lost`."""

    kind: str
    begun: float
    ended: float
    came: str


class Load:
    """Clients that call without pause, and begin a new session where one is lost."""

    def __init__(self, port: int) -> None:
        self._port, self._on = port, True
        self.calls: list[Made] = []

    async def _client(self, kind: str) -> None:
        session: Any = None
        while self._on:
            begun, came = time.monotonic(), "lost"
            try:
                session = session or await KINDS[kind].open(self._port, TOKEN)
                begun = time.monotonic()
                answer = await asyncio.wait_for(describe(session), 10)
                came = "ok" if answer.ok else answer.error_code or "lost"
            except (OSError, asyncio.IncompleteReadError, KeyError, ValueError):  # broken off, or not MCP
                session = None
            self.calls.append(Made(kind, begun, time.monotonic(), came))
            if came == "lost":
                await asyncio.sleep(0.05)
        if session is not None:
            session.close()

    async def run(self, kinds: list[str], meanwhile: Callable[[], None]) -> float:
        """Make calls, do `meanwhile` after a second, go on for two; return when it was done."""
        clients = [asyncio.create_task(self._client(kind)) for kind in kinds]
        await asyncio.sleep(1)
        meanwhile()
        done = time.monotonic()
        await asyncio.sleep(2)
        self._on = False
        await asyncio.gather(*clients)
        return done

    def of(self, *kinds: str, came: str = "lost", after: float = 0) -> list[Made]:
        return [made for made in self.calls if made.kind in kinds and made.came == came and made.begun > after]


async def test_a_replica_killed_under_load_costs_its_own_calls_in_flight_and_sessions_begin_anew_on_the_other(
    aws: Standin, tmp_path: Path
) -> None:
    with balanced(aws, tmp_path) as cluster:
        await arrange(cluster)
        load = Load(cluster.port)
        killed = await load.run([*["modern"] * 12, *["sse", "handshake"] * 6], cluster.replicas["a"].process.kill)
    print(Counter((made.kind, made.came) for made in load.calls))
    assert {made.came for made in load.calls} <= {"ok", "lost"}
    in_flight = [made for made in load.calls if made.kind == "modern" and made.begun <= killed <= made.ended]
    assert len(load.of("modern")) <= len(in_flight)
    assert not load.of("modern", after=killed + 0.2)
    # Half of 12 sessions were at home there; each is lost with one call, if not in flight just then, then the next.
    assert len(load.of("sse", "handshake")) <= 12
    assert not load.of("sse", "handshake", after=killed + 1.5)
    for kind in KINDS:
        assert load.of(kind, came="ok", after=killed + 1.5)


async def test_a_replica_that_is_asked_to_stop_costs_no_call(aws: Standin, tmp_path: Path) -> None:
    with balanced(aws, tmp_path) as cluster:
        await arrange(cluster)
        load = Load(cluster.port)
        await load.run(["modern"] * 16, cluster.replicas["a"].process.terminate)
        came = Counter(made.came for made in load.calls)
        print(came)
        # One call on each connection that was open already, at most, is told to come again; haproxy has two threads
        # here, each with idle connections of its own.
        assert set(came) <= {"ok", "ShuttingDown"}
        assert came["ShuttingDown"] <= 2 * 16
        assert cluster.replicas["a"].process.wait(10) == 0
