"""The one way a blocking call runs: bounded threads, a bulkhead per identity, a deadline over all of it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

import anyio
import anyio.to_thread

from errors import DeadlineExceeded
from runtime.places import FairPlaces

T = TypeVar("T")
# One asleep has a thread still, so a caller may have no more than this many without a place.
_MOST_ASLEEP = 64


@dataclass
class _Bulkhead:
    """One identity's places, and how many calls hold or want one; forgotten when nobody does."""

    places: FairPlaces
    users: int = 0


class Execution:
    """Runs blocking functions in threads of their own.

    A call waits for a place among its identity's, then for one among all; of both a free one goes to the caller who
    holds fewest. One that runs out of time is answered and gives its common place back at once, while the identity's
    own place stays taken until its thread really ends. So an identity that hangs can hold its own places only.
    """

    def __init__(self, places: int, places_per_identity: int) -> None:
        self.common = FairPlaces(places)
        self._uncounted = anyio.CapacityLimiter(math.inf)  # the places are counted above, where a wait can be cancelled
        self._per_identity = places_per_identity
        self._bulkheads: dict[Hashable, _Bulkhead] = {}
        self.asleep: Counter[str] = Counter()

    async def run(
        self, work: Callable[[], T], *, identity: Hashable, caller: str, deadline: float, shield: bool = False
    ) -> T:
        """Run `work` in a thread and return what it returns.

        Args:
            work: Blocking; it sees the caller's context variables.
            identity: Whose places it takes.
            caller: Who shares those places with others.
            deadline: On the monotonic clock; waiting for a place counts.
            shield: Once it runs, a client that cancels does not stop the wait for its end; for changes.

        Raises:
            DeadlineExceeded: no place, or no result, in time. The thread, if it runs, goes on to its own end.
        """
        bulkhead = self._bulkheads.setdefault(identity, _Bulkhead(FairPlaces(self._per_identity)))
        bulkhead.users += 1
        place = _Place(self, identity, bulkhead, caller, deadline)
        try:
            with anyio.fail_after(deadline - time.monotonic()):
                await place.take()
                with anyio.CancelScope(shield=shield, deadline=_on_loop_clock(deadline)):
                    return await anyio.to_thread.run_sync(
                        place.hand_over(work), limiter=self._uncounted, abandon_on_cancel=True
                    )
                raise TimeoutError
        except TimeoutError:
            raise _out_of_time() from None
        finally:
            place.answered()

    def forget(self, identity: Hashable, bulkhead: _Bulkhead) -> None:
        """Count one user less of an identity's places."""
        bulkhead.users -= 1
        if bulkhead.users == 0 and self._bulkheads.get(identity) is bulkhead:
            del self._bulkheads[identity]


class _Place:
    """One call's place among its identity's, and one among all. Given back once each, on the event loop's thread.

    The common one goes with the answer; the identity's with the end of the thread, or with the call that never ran.
    """

    def __init__(
        self, execution: Execution, identity: Hashable, bulkhead: _Bulkhead, caller: str, deadline: float
    ) -> None:
        self._execution, self._identity, self._bulkhead = execution, identity, bulkhead
        self._caller, self._deadline = caller, deadline
        self._loop, self._lock = asyncio.get_running_loop(), threading.Lock()
        self._own = self._common = self._running = self._answered = self._left = False
        self._thread = 0

    async def take(self) -> None:
        """Wait for both places."""
        await self._bulkhead.places.acquire(self._caller)
        self._own = True
        await self._execution.common.acquire(self._caller)
        self._common = True

    def hand_over(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return `work` so wrapped that its end gives the identity's place back."""

        def run_then_leave() -> T:
            with self._lock:
                if self._answered:  # cancelled on its way to the thread: the place is somebody else's by now
                    raise TimeoutError
                self._running = True
            self._thread = threading.get_ident()
            token = _current.set(self)
            try:
                return work()
            finally:
                _current.reset(token)
                self._running = False
                self._on_loop(self._leave)

        return run_then_leave

    def answered(self) -> None:
        """Give the common place back, and the identity's too where no thread has it."""
        with self._lock:
            self._answered = True
            running = self._running
        self._give_common()
        if not running:
            self._leave()

    def sleep(self, seconds: float) -> None:
        """Sleep without a place, in the work's own thread.

        Raises:
            DeadlineExceeded: no place was to be had again in time.
        """
        asleep = self._execution.asleep
        if threading.get_ident() != self._thread or asleep[self._caller] >= _MOST_ASLEEP:
            time.sleep(seconds)  # another thread of this work may be at AWS
            return
        asleep[self._caller] += 1
        self._on_loop(self._give_both)
        try:
            time.sleep(seconds)
        finally:
            asleep[self._caller] -= 1
        retake = self._retake()
        try:
            retaking = asyncio.run_coroutine_threadsafe(retake, self._loop)
        except RuntimeError:  # the loop has closed, and nobody waits for the answer
            retake.close()
            raise _out_of_time() from None
        try:
            retaking.result(max(self._deadline - time.monotonic(), 0))
        except TimeoutError:
            retaking.cancel()
            raise _out_of_time() from None

    async def _retake(self) -> None:
        if self._answered:
            raise _out_of_time()
        await self.take()
        if self._answered:  # while it waited: what is done from here on is nobody's
            self._give_common()

    def _give_both(self) -> None:
        self._give_common()
        self._give_own()

    def _give_common(self) -> None:
        if self._common:
            self._common = False
            self._execution.common.release(self._caller)

    def _give_own(self) -> None:
        if self._own:
            self._own = False
            self._bulkhead.places.release(self._caller)

    def _leave(self) -> None:
        if self._left:
            return
        self._left = True
        self._give_own()
        self._execution.forget(self._identity, self._bulkhead)

    def _on_loop(self, act: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(act)
        except RuntimeError:  # the loop has closed: the process is leaving, and nobody waits for places
            pass


_current: ContextVar[_Place | None] = ContextVar("current_place", default=None)


def sleep(seconds: float) -> None:
    """Sleep in a tool's thread; its places are others' meanwhile.

    Raises:
        DeadlineExceeded: no place was to be had again in time.
    """
    place = _current.get()
    if place is None:
        time.sleep(seconds)
    else:
        place.sleep(seconds)


def _out_of_time() -> DeadlineExceeded:
    return DeadlineExceeded("The call ran out of time.", next_step="Retry, or ask for less at a time.")


def _on_loop_clock(deadline: float) -> float:
    return anyio.current_time() + deadline - time.monotonic()
