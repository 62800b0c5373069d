"""Asking many accounts or regions at once, where one that fails does not empty the answer."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Generic, TypeVar

from access.identity import Target
from errors import AWSOpsError, DeadlineExceeded, translate
from toolcall.call import Call
from toolcall.results import AWSModel

T = TypeVar("T")
MOST_AT_ONCE = 8
# Who has not answered after so long no longer keeps the next from being asked, up to so many threads.
_PATIENCE_SECONDS, _MOST_THREADS = 1.0, 64
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


class _Places:
    """So many at a time; but whoever takes long gives the place up, so that those who hang do not hold up the rest."""

    def __init__(self) -> None:
        self._held: dict[Future[Any], float] = {}

    def wait(self, end: float) -> None:
        """Wait for a place, or for the end of the time."""
        while True:
            now = time.monotonic()
            self._held = {future: until for future, until in self._held.items() if until > now and not future.done()}
            if len(self._held) < MOST_AT_ONCE or now >= end:
                return
            wait(self._held, timeout=min(end, *self._held.values()) - now, return_when=FIRST_COMPLETED)

    def take(self, future: Future[Any]) -> None:
        self._held[future] = time.monotonic() + _PATIENCE_SECONDS


class _Count:
    """Reports how many have been asked, from their threads, until the answer is made."""

    def __init__(self, call: Call, total: int) -> None:
        self._call, self._total, self._done, self._over = call, total, 0, False
        self._lock, self._context = threading.Lock(), contextvars.copy_context()  # a report is told by its context

    def one_more(self, _: Future[Any]) -> None:
        with self._lock:
            self._done += 1
            if not self._over:
                said = f"{self._done} of {self._total} asked"
                self._context.run(self._call.progress, self._done, self._total, said)

    def stop(self) -> None:
        with self._lock:
            self._over = True


def gather(
    targets: Iterable[Target], ask: Callable[[Target], T], *, progress: bool = True, share: float = 1.0
) -> Gathered[T]:
    """Call `ask` for each target in threads of its own, within the call's deadline.

    Each target passes the policy by itself; those that fail, are refused or come too late stand in `failures`.

    Args:
        targets: Where to ask.
        ask: Blocking.
        progress: Whether to report each target; not where `ask` reports finer steps of its own.
        share: Of the time that is left, where the call has more to do than this.
    """
    call, asked, futures = Call.current(), list(targets), list[Future[T]]()
    now = time.monotonic()
    end = now + (call.trace.deadline - now - _KEPT_FOR_THE_ANSWER_SECONDS) * share
    places, count = _Places(), _Count(call, len(asked))
    pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="fan-out")
    try:
        for target in asked:
            places.wait(end)
            if time.monotonic() >= end:
                break
            futures.append(pool.submit(contextvars.copy_context().run, ask, target))
            places.take(futures[-1])
            if progress:
                futures[-1].add_done_callback(count.one_more)
        wait(futures, timeout=max(end - time.monotonic(), 0))
    finally:
        count.stop()
        pool.shutdown(wait=False, cancel_futures=True)
    return _gathered(asked, futures)


def _gathered(asked: Sequence[Target], futures: Sequence[Future[T]]) -> Gathered[T]:
    gathered: Gathered[T] = Gathered([], [])
    for target, future in zip_longest(asked, futures):
        if future is None or future.cancelled() or not future.done():
            gathered.failures.append(_failure(target, DeadlineExceeded("It did not answer in time.")))
        elif (error := future.exception()) is not None:
            gathered.failures.append(_failure(target, translate(error)))
        else:
            gathered.answers.append((target, future.result()))
    return gathered


def _failure(target: Target, failure: AWSOpsError) -> TargetFailure:
    return TargetFailure(
        account=target.account, region=target.region, error_code=failure.error_code, message=failure.message
    )
