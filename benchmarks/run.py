"""`python -m benchmarks.run [--quick]`: measures, prints a table of ratios, writes docs/benchmarks.md and .png.

Everything that is compared runs in turns within one round, so that a ratio is of two runs on the same machine at
almost the same time; what is reported is the median over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import load
from benchmarks.machinery import (
    LATENCY_MS,
    ROLE,
    TOKEN,
    Running,
    minimal_server,
    our_server,
    raw_boto3,
    seconds_to_healthz,
    seconds_to_import,
)
from benchmarks.report import write
from tests.standin import Standin

CALLS = {1: 100, 4: 400, 16: 1000, 64: 2000}
NEW_ROLES = 50
ACCOUNTS = (0, 100, 1000)


@dataclass
class Plan:
    """How much is measured."""

    rounds: int = 5
    share: float = 1.0  # of CALLS

    def calls(self, concurrency: int) -> int:
        return max(int(CALLS[concurrency] * self.share), 2 * concurrency)


@dataclass
class Measured:
    """Every figure by its name, a list entry a round; seconds, calls a second, megabytes."""

    figures: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, value: float) -> None:
        self.figures[name].append(value)

    def median(self, name: str) -> float:
        return median(self.figures[name])

    def ratio(self, name: str, to: str) -> list[float]:
        """One figure over another, round by round."""
        return [one / other for one, other in zip(self.figures[name], self.figures[to], strict=True)]


def arguments(_: int) -> dict[str, Any]:
    return {"secret_id": "app/db", "role_arn": ROLE}


def new_role(first: int) -> Callable[[int], dict[str, Any]]:
    """Arguments that name a role per call, none of them seen before."""
    return lambda number: {"secret_id": "app/db", "role_arn": f"arn:aws:iam::{first + number:012}:role/bench"}


def served(running: Running, concurrency: int, calls: int, *, sse: bool = False, **options: Any) -> load.Result:
    """Load one server; any error voids the run."""
    run = load.run_sse if sse else load.run
    asked = options.get("arguments", arguments)
    result = asyncio.run(run(running.port, TOKEN, "describe_secret", asked, concurrency=concurrency, calls=calls))
    if result.errors:
        raise RuntimeError(f"{result.errors} of {calls} calls failed")
    return result


@dataclass(frozen=True)
class Contestant:
    """A server, over one of its transports."""

    name: str
    running: Running
    sse: bool = False

    def compete(self, concurrency: int, calls: int, measured: Measured) -> None:
        """Make so many calls; note rate, median, and the processor's time for one."""
        before = self.running.processor_seconds
        result = served(self.running, concurrency, calls, sse=self.sse)
        measured.add(f"{self.name}: processor at {concurrency}", (self.running.processor_seconds - before) / calls)
        measured.add(f"{self.name}: rate at {concurrency}", result.rate)
        measured.add(f"{self.name}: median at {concurrency}", result.median)


def measure_calls(plan: Plan, aws: Standin, folder: Path, measured: Measured) -> None:
    """Throughput and latency by concurrency, over each server and raw boto3 in turns."""
    with our_server(aws, folder) as ours, minimal_server(aws) as minimal:
        contestants = [
            Contestant("ours", ours),
            Contestant("minimal", minimal),
            Contestant("ours, SSE", ours, sse=True),
        ]
        for contestant in contestants:
            served(contestant.running, 64, 300, sse=contestant.sse)
        for number in range(plan.rounds):
            for concurrency in CALLS:
                calls = plan.calls(concurrency)
                for contestant in contestants[number % 3 :] + contestants[: number % 3]:
                    contestant.compete(concurrency, calls, measured)
                raw = raw_boto3(aws, concurrency, calls)
                measured.add(f"boto3: rate at {concurrency}", raw["rate"])
                measured.add(f"boto3: median at {concurrency}", raw["median"])
            for name in ("ours", "minimal", "ours, SSE", "boto3"):
                added = measured.figures[f"{name}: median at 1"][-1] - LATENCY_MS / 1000
                measured.add(f"{name}: added at 1", added)


def measure_cold(plan: Plan, aws: Standin, folder: Path, measured: Measured) -> None:
    """The first call of new roles, one after the other, beside the same server's warm calls and STS alone."""
    with our_server(aws, folder) as ours:
        served(ours, 1, 5)
        for number in range(plan.rounds):
            cold = served(ours, 1, NEW_ROLES, arguments=new_role(number * NEW_ROLES + 1)).median
            warm = served(ours, 1, NEW_ROLES).median
            sts = raw_boto3(aws, NEW_ROLES)["median"]
            measured.add("cold", cold)
            measured.add("warm", warm)
            measured.add("STS alone", sts)
            measured.add("cold: ours", cold - warm - sts)


def measure_memory(plan: Plan, aws: Standin, folder: Path, measured: Measured) -> None:
    """Resident memory after one call of each of so many roles."""
    for _ in range(min(plan.rounds, 3)):
        with our_server(aws, folder) as ours:
            served(ours, 8, 50)
            seen = 0
            for count in ACCOUNTS:
                if count > seen:
                    served(ours, 8, count - seen, arguments=new_role(seen + 1))
                seen = count
                time.sleep(0.2)
                measured.add(f"memory with {count}", ours.megabytes)


def measure_start(plan: Plan, aws: Standin, folder: Path, measured: Measured) -> None:
    """Start to /healthz and the bare imports, in turns."""
    for _ in range(plan.rounds + 2):
        measured.add("imports", seconds_to_import(aws))
        measured.add("start", seconds_to_healthz(aws, folder))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="What a call costs, as ratios.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and calls: a look, not a figure")
    parser.add_argument("--no-write", action="store_true", help="print only; leave docs/ as it is")
    options = parser.parse_args()
    plan = Plan(rounds=2, share=0.25) if options.quick else Plan()
    measured = Measured()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        aws = stack.enter_context(Standin(canned=True, latency_ms=LATENCY_MS))
        for step in (measure_start, measure_calls, measure_cold, measure_memory):
            print(f"{step.__name__.removeprefix('measure_')} ...", flush=True)
            step(plan, aws, folder, measured)
    write(measured, plan.rounds, None if options.no_write else Path("docs"))


if __name__ == "__main__":
    main()
