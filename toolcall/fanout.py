"""Asking many accounts or regions at once, where one that fails does not empty the answer."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from access.identity import Target
from errors import AWSOpsError, DeadlineExceeded, translate
from toolcall.call import Call
from toolcall.results import AWSModel

T = TypeVar("T")
MOST_AT_ONCE = 8
_KEPT_FOR_THE_ANSWER_SECONDS = 0.5


class TargetFailure(AWSModel):
    """A target that could not be asked, and why."""

    account: str | None = None
    region: str | None = None
    error_code: str
    message: str


@dataclass(frozen=True)
class Gathered(Generic[T]):
    """What each target answered, in the order asked, and what failed."""

    answers: list[tuple[Target, T]]
    failures: list[TargetFailure]


def gather(targets: Iterable[Target], ask: Callable[[Target], T], *, progress: bool = True) -> Gathered[T]:
    """Call `ask` for each target in threads of its own, within the call's deadline.

    Each target passes the policy by itself; those that fail, are refused or come too late stand in `failures`.

    Args:
        targets: Where to ask.
        ask: Blocking.
        progress: Whether to report each target; not where `ask` reports finer steps of its own.
    """
    call, asked = Call.current(), list(targets)
    pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="fan-out")
    futures = [pool.submit(contextvars.copy_context().run, ask, target) for target in asked]
    gathered: Gathered[T] = Gathered([], [])
    try:
        for number, (target, future) in enumerate(zip(asked, futures, strict=True), 1):
            left = call.trace.deadline - time.monotonic() - _KEPT_FOR_THE_ANSWER_SECONDS
            wait([future], timeout=max(left, 0))
            if not future.done():
                late = DeadlineExceeded("It did not answer in time.")
                gathered.failures.append(_failure(target, late))
                continue
            if (error := future.exception()) is not None:
                gathered.failures.append(_failure(target, translate(error)))
            else:
                gathered.answers.append((target, future.result()))
            if progress:
                call.progress(number, len(asked), f"{number} of {len(asked)} asked")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return gathered


def _failure(target: Target, failure: AWSOpsError) -> TargetFailure:
    return TargetFailure(
        account=target.account, region=target.region, error_code=failure.error_code, message=failure.message
    )
