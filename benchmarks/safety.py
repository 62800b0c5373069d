"""What audit and policy cost a call, in microseconds: each step alone, and a call in process with and without them.

`python -m benchmarks.safety`. It is this process's CPU time, which neither a busy machine nor a slow AWS changes.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from fastmcp import Client
from pydantic import SecretStr

from access.audit import AuditTrail
from access.callers import Caller, Scope
from access.confirmation import Act, Confirmations, Plan
from access.identity import Grant, Identity, Target
from access.limits import RateLimit
from assembly import App, build
from benchmarks.machinery import ROLE, environment
from config import Settings
from lines import Fingerprint
from tests.standin import Standin
from toolcall import fingerprints

ROUNDS, CALLS_A_ROUND, STEPS = 9, 100, 2_000
KEY = "a-key-for-benchmarks-0123456789"
CALLER = Caller("bench")
GRANT = Grant(Identity(role_arn=ROLE), "us-east-1", "bench")
_RECORD: dict[str, Any] = {
    "event": "audit", "request_id": "0123456789abcdef", "caller": "bench", "transport": "streamable-http",
    "tool": "describe_secret", "class": "read", "account": "bench", "account_id": "111111111111", "identity": ROLE,
    "region": "us-east-1", "resource": "app/db", "arguments": {"secret_id": {"length": 6, "hmac": "0" * 64}},
    "decision": "allow", "rule": "scope:read", "outcome": "success", "error_code": None,
    "aws_request_ids": ["57a4d1n0-0000-4000-8000-000000000000"], "attempts": 1, "duration_ms": 21.5,
}  # fmt: skip


class NoAudit(AuditTrail):
    """Writes nothing down."""

    def write(self, record: Mapping[str, Any]) -> None: ...

    async def append(self, record: Mapping[str, Any], *, required: bool = True) -> None: ...

    def check(self) -> bool:
        return True

    def fingerprint_for(self, request_id: str) -> Fingerprint:
        return lambda _text: {}


class NoPolicy:
    """Grants the one identity."""

    def require_scope(self, *_: Any) -> None: ...

    def decide(self, *_: Any) -> Grant:
        return GRANT


def microseconds(step: Callable[[], Any]) -> float:
    """Return the median over rounds of the CPU time that a step takes."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(STEPS):
            step()
        taken.append((time.process_time() - began) / STEPS * 1e6)
    return median(taken)


def steps(app: App, folder: Path) -> dict[str, Callable[[], Any]]:
    """What is measured alone."""
    policy, audit, limit = app.desk.policy, AuditTrail(str(folder / "steps"), KEY), RateLimit(1_000_000, "calls")
    confirmations, plan = Confirmations(KEY), Plan("arn", "all of it", {"versions": ["a", "b"]})
    act = Act(CALLER, "delete_secret", (GRANT,), confirmations.digest("{}"))
    small, target = {"secret_id": "app/db", "target": Target(account="bench")}, Target(account="bench")
    large = {**small, "secret_value": SecretStr("x" * 65_536)}

    def admit() -> None:
        policy.require_scope(CALLER, Scope.READ)
        limit.take("bench")

    return {
        "policy: the decision for an account": lambda: policy.decide(CALLER, target),
        "policy: the scope, and the caller's rate": admit,
        "audit: fingerprints of two short arguments": lambda: fingerprints.of_checked(
            audit.fingerprint_for("0" * 16), small
        ),
        "audit: the same with a value of 65,536 bytes": lambda: fingerprints.of_checked(
            audit.fingerprint_for("0" * 16), large
        ),
        "audit: a line to a file": lambda: audit.write(_RECORD),
        "confirmation: a token made and checked": lambda: confirmations.check(confirmations.issue(act, plan), act),
    }


async def a_call(app: App, calls: int) -> float:
    """Return the CPU microseconds of a call in process, client and boto3 included."""
    async with Client(app.mcp) as client:
        await client.call_tool("describe_secret", {"secret_id": "app/db", "account": "bench"})
        began = time.process_time()
        for _ in range(calls):
            await client.call_tool("describe_secret", {"secret_id": "app/db", "account": "bench"})
        return (time.process_time() - began) / calls * 1e6


def both_ways(settings: Settings) -> tuple[list[float], list[float]]:
    """Measure calls with audit and policy, and without, in turns."""
    with_them, without = build(settings), build(settings)
    for name, nothing in (("audit", NoAudit(os.devnull, KEY)), ("policy", NoPolicy())):
        object.__setattr__(without.desk, name, nothing)
    rounds = [[asyncio.run(a_call(app, CALLS_A_ROUND)) for app in (with_them, without)] for _ in range(ROUNDS)]
    return [one for one, _ in rounds], [other for _, other in rounds]


def main() -> None:
    """Measure, and print."""
    with Standin(canned=True) as aws, tempfile.TemporaryDirectory() as folder:
        more = {"ACCOUNT_BENCH_ROLE_ARN": ROLE, "AUDIT_LOG": f"{folder}/audit", "AUDIT_HMAC_KEY": KEY}
        os.environ.update(environment(aws, **more))
        settings = Settings.from_environment({**more, "RATE_LIMIT_PER_MINUTE": "1000000", "AWS_REGION": "us-east-1"})
        app = build(settings)
        for name, step in steps(app, Path(folder)).items():
            print(f"{microseconds(step):8.1f} us  {name}")
        with_them, without = both_ways(settings)
        ratio = median(one / other for one, other in zip(with_them, without, strict=True))
        print(f"{median(with_them):8.0f} us  a call in process with audit and policy")
        print(f"{median(without):8.0f} us  the same without; ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
