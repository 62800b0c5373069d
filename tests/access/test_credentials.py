"""Credentials under load and trouble: assumed once, renewed ahead, kept while STS is down, and never anybody else's."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import boto3
import pytest
from botocore.credentials import ReadOnlyCredentials

from access import renewal
from access.renewal import Obtained, RenewingCredentials
from access.trace import Trace, current_trace
from errors import DeadlineExceeded
from tests import raw_sessions
from tests.conftest import TOKEN, Session, aws_environment, know_only, running, server_environment, until
from tests.loopback import Handler, listening
from tests.processes import Process, server_process
from tests.standin import BASE_ACCOUNT, Standin

ONE, TWO, THREE = (f"arn:aws:iam::{number * 111111111111}:role/aws-ops-target" for number in (3, 4, 5))
BASE_KEY = "testing"
PROMPT = 2.0  # seconds; every deadline here is well above it


@pytest.fixture(scope="module")
def started() -> Iterator[Standin]:
    with Standin(canned=True) as standin:
        yield standin


@pytest.fixture
def aws(started: Standin, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """A fresh AWS, and an environment in which botocore knows nothing else."""
    started.reset()
    know_only(monkeypatch, **aws_environment(started.url))
    return started


@pytest.fixture
def without_keys(aws: Standin, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """The same, with no base credentials in the environment."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return aws


class Clock:
    """The clock that credentials are renewed by, which a test may set; AWS keeps its own."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(renewal, "time", clock)
    return clock


@asynccontextmanager
async def serving(**environment: str) -> AsyncIterator[Session]:
    """A session with a server that may assume any role, with as many calls at once as a test likes."""
    wide = {
        "ALLOWED_ROLE_ARNS": "*",
        "ALLOWED_PROFILES": "red,green,blue,typed,chained",
        "MAX_CONCURRENT_CALLS": "64",
        "MAX_CONCURRENT_CALLS_PER_IDENTITY": "64",
        "CALL_DEADLINE_SECONDS": "15",
    }
    async with running(**{**wide, **environment}) as server, server.session() as call:
        yield call


async def describe(call: Session, role_arn: str | None = ONE, **more: Any) -> Any:
    target = {"role_arn": role_arn} if role_arn else {}
    return await call("describe_secret", secret_id="app/db", **target, **more)


async def succeed(call: Session, role_arn: str | None = ONE, **more: Any) -> None:
    answer = await describe(call, role_arn, **more)
    assert not answer.is_error, answer.text


@contextmanager
def serving_process(aws: Standin, **environment: str) -> Iterator[Process]:
    """The same as a process of its own."""
    settings = server_environment(**{"ALLOWED_ROLE_ARNS": "*", **environment})
    with server_process(**settings, **aws_environment(aws.url)) as server:
        yield server


async def asked(
    server: Process, tool: str, roles: list[str], at_once: int = 16
) -> AsyncIterator[tuple[str, raw_sessions.Answer]]:
    """Ask about a secret as each of the roles, so many at a time; yield the answers as they come."""
    waiting = list(reversed(roles))
    answers: asyncio.Queue[tuple[str, raw_sessions.Answer]] = asyncio.Queue()

    async def work() -> None:
        session = await raw_sessions.Modern.open(server.port, TOKEN)
        while waiting:
            role_arn = waiting.pop()
            answers.put_nowait((role_arn, await session.call(tool, secret_id="app/db", role_arn=role_arn)))
        session.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(work())
        for _ in roles:
            role_arn, answer = await answers.get()
            assert answer.ok, answer.message
            yield role_arn, answer


def assumed(aws: Standin, role_arn: str | None = None) -> int:
    return len([c for c in aws.calls("AssumeRole") if role_arn in (None, c.role_arn)])


# --- once ---------------------------------------------------------------------------------------------------------


async def test_fifty_concurrent_first_calls_of_one_identity_cause_one_assume_role(aws: Standin) -> None:
    aws.fault("slow", operation="AssumeRole", ms=300)
    async with serving() as call:
        await asyncio.gather(*(succeed(call) for _ in range(50)))
    assert assumed(aws) == 1
    assert len(aws.calls("DescribeSecret")) == 50


async def test_thirty_threads_that_meet_expired_token_at_once_cause_one_renewal(aws: Standin, clock: Clock) -> None:
    clock.ahead = -3600  # our clock is slow: the keys look good to us when AWS calls them expired
    aws.lifetime(1)
    async with serving() as call:
        await succeed(call)
        await asyncio.sleep(1.1)
        aws.lifetime(None)
        aws.forget_calls()
        aws.fault("slow", operation="DescribeSecret", times=30, ms=800)
        await asyncio.gather(*(succeed(call) for _ in range(30)))
    assert assumed(aws, ONE) == 1
    keys = Counter(made.access_key for made in aws.calls("DescribeSecret"))
    met, renewed = sorted(keys.values())
    assert renewed == 30
    assert met > 15, "on a busy machine some begin after the renewal"


async def test_expired_base_credentials_are_renewed_silently_too(aws: Standin) -> None:
    aws.fault("expired", operation="AssumeRole", times=1)
    async with serving() as call:
        await succeed(call)
    assert assumed(aws) == 2


async def test_an_account_id_costs_one_get_caller_identity_per_profile_and_default_identity(
    aws: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = ("red", "blue")
    keys = "aws_access_key_id = AKIA{0}\naws_secret_access_key = x\n"
    (tmp_path / "credentials").write_text("".join(f"[{name}]\n{keys.format(name.upper())}" for name in profiles))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    aws.fault("slow", operation="GetCallerIdentity", ms=200)
    async with serving() as call:
        for _ in range(2):
            await asyncio.gather(*(succeed(call, None) for _ in range(8)))
            for profile in profiles:
                await asyncio.gather(*(succeed(call, None, profile=profile) for _ in range(8)))
    asked = Counter(made.access_key for made in aws.calls("GetCallerIdentity"))
    assert asked == {BASE_KEY: 1, "AKIARED": 1, "AKIABLUE": 1}


async def test_sts_is_called_in_the_servers_region_wherever_the_call_runs(aws: Standin) -> None:
    async with serving(AWS_REGION="eu-central-1") as call:
        await succeed(call, region="ap-southeast-2")
        await succeed(call, None, region="ap-southeast-2")
    assert {made.region for made in aws.calls(service="sts")} == {"eu-central-1"}
    assert {made.operation for made in aws.calls(service="sts")} == {"AssumeRole", "GetCallerIdentity"}
    assert {made.region for made in aws.calls("DescribeSecret")} == {"ap-southeast-2"}


# --- ahead of expiry ----------------------------------------------------------------------------------------------


class Source:
    """Where credentials come from; a test may shut its gate or break it."""

    def __init__(self, clock: Clock, lifetime: float) -> None:
        self.clock, self.lifetime = clock, lifetime
        self.gate = threading.Event()
        self.gate.set()
        self.broken: Exception | None = None
        self.asked = 0

    def __call__(self) -> Obtained:
        self.asked += 1
        number = self.asked
        assert self.gate.wait(10)
        if self.broken is not None:
            raise self.broken
        return Obtained(ReadOnlyCredentials(f"KEY{number}", "x", "y"), self.clock.time() + self.lifetime)


@pytest.mark.parametrize("lifetime", [900, 3600])
async def test_a_session_is_renewed_ahead_of_its_end_without_anybody_waiting(clock: Clock, lifetime: int) -> None:
    source = Source(clock, lifetime)
    credentials = RenewingCredentials(source)
    assert credentials.access_key == "KEY1"
    clock.ahead += lifetime * 0.75
    assert [credentials.access_key for _ in range(5)] == ["KEY1"] * 5
    assert source.asked == 1

    source.gate.clear()
    clock.ahead += lifetime * 0.1
    begun = time.monotonic()
    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(lambda _: credentials.access_key, range(100))) == {"KEY1"}
    assert time.monotonic() - begun < PROMPT
    assert source.asked == 2
    source.gate.set()
    await until(lambda: credentials.access_key == "KEY2")
    assert source.asked == 2


def test_a_session_that_has_ended_is_never_served_and_thirty_wait_for_one_renewal(clock: Clock) -> None:
    source = Source(clock, 900)
    credentials = RenewingCredentials(source)
    assert credentials.access_key == "KEY1"
    clock.ahead += 901
    with ThreadPoolExecutor(30) as threads:
        assert set(threads.map(lambda _: credentials.access_key, range(30))) == {"KEY2"}
    assert source.asked == 2


async def test_sessions_end_again_and_again_and_no_call_notices(aws: Standin) -> None:
    aws.lifetime(1)
    async with serving() as call:
        end = time.monotonic() + 2.5

        async def go_on() -> None:
            while time.monotonic() < end:
                await succeed(call)
                await asyncio.sleep(0.02)

        await asyncio.gather(*(go_on() for _ in range(4)))
    assert 2 <= assumed(aws, ONE) <= 6
    assert not [made for made in aws.calls("DescribeSecret") if made.status != 200]


# --- while STS is down --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["throttle", "http503", "reset", "hang", "garbage", "denied"])
async def test_credentials_still_valid_serve_while_sts_is_down(aws: Standin, clock: Clock, fault: Any) -> None:
    # A role of its own: its renewals go on behind for a while after the test.
    async with serving() as call:
        await succeed(call, THREE)
        clock.ahead = 3600 * 0.85
        aws.fault(fault, operation="AssumeRole", seconds=1)
        begun = time.monotonic()
        for _ in range(10):
            await succeed(call, THREE)
        assert time.monotonic() - begun < PROMPT
        await until(lambda: assumed(aws, THREE) >= 2)
        await succeed(call, THREE)


async def test_a_renewal_that_failed_while_the_session_lasted_does_not_fail_the_calls_after_its_end(
    clock: Clock,
) -> None:
    source = Source(clock, 10)
    credentials = RenewingCredentials(source)
    assert credentials.access_key == "KEY1"
    source.broken = ConnectionError("STS is away for a moment")
    clock.ahead += 9
    assert credentials.access_key == "KEY1"
    await until(lambda: source.asked == 2)
    source.broken = None
    clock.ahead += 1.5
    assert credentials.access_key == "KEY3"


async def test_a_failed_sts_answer_is_remembered_but_not_for_five_seconds(aws: Standin, clock: Clock) -> None:
    refusing = aws.fault("denied", operation="AssumeRole")
    async with serving() as call:
        for _ in range(2):
            answers = await asyncio.gather(*(describe(call) for _ in range(10)))
            assert {answer.error_code for answer in answers} == {"AccessDenied"}
        assert assumed(aws, ONE) == 1
        aws.clear(refusing)
        clock.ahead += 5
        await succeed(call)
        assert assumed(aws, ONE) == 2


async def test_one_role_that_sts_throttles_for_ever_costs_another_nothing(aws: Standin) -> None:
    aws.fault("throttle", operation="AssumeRole", role_arn=ONE)
    aws.fault("throttle", operation="AssumeRole", role_arn=TWO, times=2)
    async with serving() as call:
        spoilt = asyncio.gather(*(describe(call, ONE) for _ in range(20)))
        await succeed(call, TWO)
        assert {answer.error_code for answer in await spoilt} == {"Throttling"}
    assert assumed(aws, TWO) == 3
    assert assumed(aws, ONE) <= 3


# --- callers that leave, or run out of time -----------------------------------------------------------------------


async def test_a_caller_who_leaves_during_assume_role_harms_no_other(aws: Standin) -> None:
    aws.fault("slow", operation="AssumeRole", ms=700)
    async with serving() as call:
        first = asyncio.create_task(describe(call))
        await until(lambda: assumed(aws))
        others = [asyncio.create_task(describe(call)) for _ in range(5)]
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        assert not [answer.text for answer in await asyncio.gather(*others) if answer.is_error]
    assert assumed(aws) == 1


async def test_a_caller_whose_time_runs_out_during_assume_role_harms_no_other(aws: Standin) -> None:
    aws.fault("hang", operation="AssumeRole", times=1)
    async with serving(CALL_DEADLINE_SECONDS="2") as call:
        first = asyncio.create_task(describe(call))
        await until(lambda: assumed(aws))
        await asyncio.sleep(1)
        second = asyncio.create_task(describe(call))
        assert (await first).error_code == "DeadlineExceeded"
        assert not (answer := await second).is_error, answer.text
        await succeed(call)


# --- never anybody else's -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["denied", "throttle", "garbage", "empty", "expired"])
async def test_a_call_that_failed_to_get_its_own_credentials_runs_with_no_others(aws: Standin, fault: Any) -> None:
    aws.fault(fault, operation="AssumeRole", role_arn=ONE)
    async with serving() as call:
        await succeed(call, TWO)
        await succeed(call, None)
        aws.forget_calls()
        for _ in range(2):
            assert (await describe(call, ONE)).is_error
            changed = await call("update_secret", secret_id="app/db", secret_value="x", role_arn=ONE)
            assert changed.error_code not in (None, "OutcomeUnknown")
    seen = {(made.operation, made.access_key, made.role_arn) for made in aws.calls() if made.role_arn != THREE}
    assert seen == {("AssumeRole", BASE_KEY, ONE)}


async def test_a_thousand_calls_of_twenty_roles_are_each_answered_from_their_own_account(aws: Standin) -> None:
    roles = [f"arn:aws:iam::{500000000000 + number}:role/ops-{number}" for number in range(20)]
    with serving_process(aws) as server:
        async for role_arn, answer in asked(server, "get_secret_value", roles * 50, at_once=32):
            account, role, _ = answer.content["secret_value"].split()
            assert [account, role] == [role_arn.split(":")[4], role_arn.rpartition("/")[2]]
            assert answer.content["account_id"] == account
    assert assumed(aws) == 20


# --- where base credentials come from -----------------------------------------------------------------------------


class Mount:
    """A projected volume as kubelet writes it: `token` -> `..data/token`; `..data` -> a directory, swapped whole."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.token = directory, directory / "token"
        self._versions = 0
        self.token.symlink_to("..data/token")

    def write(self, text: str) -> None:
        self._versions += 1
        fresh = self.directory / f"..v{self._versions}"
        fresh.mkdir()
        (fresh / "token").write_text(text)
        (self.directory / "..new").symlink_to(fresh.name)
        (self.directory / "..new").rename(self.directory / "..data")

    def remove(self) -> None:
        (self.directory / "..data").unlink()


@pytest.fixture
def mount(without_keys: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mount:
    """What EKS gives a pod with a service account's role."""
    mount = Mount(tmp_path)
    monkeypatch.setenv("AWS_ROLE_ARN", f"arn:aws:iam::{BASE_ACCOUNT}:role/aws-ops")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(mount.token))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    return mount


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def test_a_web_identity_token_that_is_rotated_or_briefly_absent_fails_no_call(
    without_keys: Standin, mount: Mount
) -> None:
    aws = without_keys
    mount.write("first")
    aws.lifetime(3)  # renewed from 2.4 s on
    done = False
    async with serving(AWS_REGION="eu-west-1") as call:

        async def go_on() -> None:
            while not done:
                await succeed(call)
                await succeed(call, None)
                await asyncio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            tasks.start_soon(go_on)
            await until(lambda: tokens(aws))
            await asyncio.sleep(2.1)
            mount.remove()
            await asyncio.sleep(0.5)
            mount.write("second")
            await until(lambda: sha256("second") in tokens(aws))
            mount.write("third")
            await until(lambda: sha256("third") in tokens(aws))
            done = True
    assert list(dict.fromkeys(tokens(aws))) == [sha256(text) for text in ("first", "second", "third")]
    assert {made.region for made in aws.calls("AssumeRole")} == {"eu-west-1"}
    assert {made.signer_role_arn for made in aws.calls("AssumeRole")} == {os.environ["AWS_ROLE_ARN"]}


def tokens(aws: Standin) -> list[str | None]:
    return [made.web_identity_sha256 for made in aws.calls("AssumeRoleWithWebIdentity")]


async def test_a_web_identity_token_that_is_missing_from_the_start_is_no_credentials_until_it_comes(
    without_keys: Standin, mount: Mount, clock: Clock
) -> None:
    async with serving() as call:
        for role_arn in (ONE, None):
            assert (await describe(call, role_arn)).error_code == "NoCredentials"
        mount.write("at last")
        clock.ahead += 5
        for role_arn in (ONE, None):
            await succeed(call, role_arn)


async def test_fifty_first_calls_cause_one_exchange_of_the_web_identity_token(
    without_keys: Standin, mount: Mount
) -> None:
    mount.write("token")
    without_keys.fault("slow", operation="AssumeRoleWithWebIdentity", ms=300)
    async with serving() as call:
        await asyncio.gather(*(succeed(call, role_arn) for role_arn in (ONE, TWO, None) for _ in range(16)))
    assert len(tokens(without_keys)) == 1


@contextmanager
def pod_identity_agent(lifetime: float) -> Iterator[tuple[str, list[str | None]]]:
    """EKS's agent on loopback: its URL, and the Authorization headers it saw."""
    seen: list[str | None] = []

    class Agent(Handler):
        def answer(self, _: bytes) -> None:
            seen.append(self.headers.get("Authorization"))
            end = datetime.now(UTC) + timedelta(seconds=lifetime)
            keys = {"AccessKeyId": f"ASIAPOD{len(seen)}", "SecretAccessKey": "x", "Token": "t"}
            self.reply_json({**keys, "AccountId": BASE_ACCOUNT, "Expiration": f"{end:%Y-%m-%dT%H:%M:%SZ}"})

    with listening(Agent) as url:
        yield f"{url}/v1/credentials", seen


async def test_eks_pod_identity_serves_as_base_credentials_and_its_token_may_be_rotated(
    without_keys: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    with pod_identity_agent(3600) as (url, seen):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
        async with serving() as call:
            await asyncio.gather(*(succeed(call, role_arn) for role_arn in (ONE, None) for _ in range(10)))
            assert seen == ["first"]
            assert {made.access_key for made in without_keys.calls("AssumeRole")} == {"ASIAPOD1"}
            token.write_text("second")
            clock.ahead += 3601
            await succeed(call)
            assert seen == ["first", "second"]
            assert without_keys.calls("AssumeRole")[-1].access_key == "ASIAPOD2"


def ready(server: Process) -> bool:
    return server.get("/readyz")[0] == 200


async def test_readyz_notices_base_credentials_that_appear_or_vanish_within_ten_seconds(
    aws: Standin, tmp_path: Path
) -> None:
    file = tmp_path / "credentials"
    environment = {name: value for name, value in aws_environment(aws.url).items() if "KEY" not in name}
    environment |= {"AWS_SHARED_CREDENTIALS_FILE": str(file)}
    with server_process(**server_environment(), **environment) as server:
        assert not ready(server)
        file.write_text("[default]\naws_access_key_id = AKIALATE\naws_secret_access_key = x\n")
        await until(lambda: ready(server))
        file.unlink()
        await until(lambda: not ready(server))


async def test_readyz_answers_within_a_kubelets_second_while_sts_hangs_and_notices_when_it_answers(
    without_keys: Standin, mount: Mount
) -> None:
    mount.write("token")
    hanging = without_keys.fault("hang", operation="AssumeRoleWithWebIdentity")
    async with running() as server, server.http() as http:
        for _ in range(3):
            begun = time.monotonic()
            assert (await http.get("/readyz")).status_code == 503
            assert time.monotonic() - begun < 1
        without_keys.clear(hanging)
        end = time.monotonic() + 20
        while (await http.get("/readyz")).status_code != 200:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)


async def test_keys_that_are_written_anew_are_noticed_and_the_account_that_they_mean_is_told(
    aws: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write_keys_of(role_arn: str) -> None:
        sts = boto3.Session().client("sts", region_name="us-east-1")
        keys = sts.assume_role(RoleArn=role_arn, RoleSessionName="person")["Credentials"]
        file.write_text(
            f"[red]\naws_access_key_id = {keys['AccessKeyId']}\naws_secret_access_key = {keys['SecretAccessKey']}\n"
            f"aws_session_token = {keys['SessionToken']}\n"
        )

    write_keys_of(ONE)
    async with serving() as call:
        assert (await describe(call, None, profile="red"))["account_id"] == ONE.split(":")[4]
        write_keys_of(TWO)
        clock.ahead += 400

        async def two() -> bool:
            answer = await describe(call, None, profile="red")
            assert answer["account_id"] == answer["tags"]["account"]
            return bool(answer["account_id"] == TWO.split(":")[4])

        end = time.monotonic() + 5
        while not await two():
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_a_profile_that_wants_a_code_typed_in_is_no_credentials_and_asks_nobody(
    aws: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile typed]\nrole_arn = {ONE}\nsource_profile = default\nmfa_serial = arn:aws:iam::1:mfa/me\n"
        "[default]\naws_access_key_id = AKIABASE\naws_secret_access_key = x\n"
        f"[profile chained]\nrole_arn = {TWO}\nsource_profile = typed\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("somebody was asked for a code"))
    async with serving() as call:
        for profile in ("typed", "chained"):
            answer = await describe(call, None, profile=profile)
            assert (answer.error_code, "MFA" in answer["message"]) == ("NoCredentials", True)


def test_who_waits_for_anothers_renewal_that_never_ends_waits_for_his_own_deadline_only(clock: Clock) -> None:
    source = Source(clock, 900)
    source.gate.clear()
    credentials = RenewingCredentials(source)
    leader = threading.Thread(target=credentials.get_frozen_credentials, daemon=True)
    leader.start()
    token = current_trace.set(Trace(deadline=time.monotonic() + 0.3))
    try:
        with pytest.raises(DeadlineExceeded):
            credentials.get_frozen_credentials()
    finally:
        current_trace.reset(token)
        source.gate.set()
        leader.join()


# --- many ---------------------------------------------------------------------------------------------------------


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


async def test_a_thousand_roles_cost_a_thousand_assume_roles_and_at_most_60_megabytes(aws: Standin) -> None:
    roles = [f"arn:aws:iam::{600000000000 + number}:role/ops" for number in range(1000)]
    first = [f"arn:aws:iam::{700000000000 + number}:role/ops" for number in range(16)]
    with serving_process(aws, ALLOWED_ROLE_ARNS="arn:aws:iam::*:role/ops") as server:
        assert len([answer async for _, answer in asked(server, "describe_secret", first)]) == 16
        aws.forget_calls()
        before = resident_megabytes(server.process.pid)
        for _ in range(2):
            async for role_arn, answer in asked(server, "describe_secret", roles):
                assert answer.content["tags"] == {"account": role_arn.split(":")[4]}
            assert assumed(aws) == 1000
        grown = resident_megabytes(server.process.pid) - before
        sockets = sum("socket:" in os.readlink(entry) for entry in Path(f"/proc/{server.process.pid}/fd").iterdir())
    print(f"\n1,000 roles: {grown:.1f} MB on top of {before:.1f}")
    assert grown <= 60
    assert sockets < 400, "clients that fell out of the cache were to close their connections"
