"""The one way a blocking call runs: bounded threads, a bulkhead per identity, a deadline over all of it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import anyio
import anyio.to_thread

from errors import DeadlineExceeded

T = TypeVar("T")


@dataclass
class _Bulkhead:
    """One identity's places, and how many calls hold or want one; forgotten when nobody does."""

    places: asyncio.Semaphore
    users: int = 0


class Execution:
    """Runs blocking functions in threads of their own.

    A call waits for a place among its identity's, then for one among all. One that runs out of time is answered and
    gives its common place back at once, while the identity's own place stays taken until its thread really ends. So
    an identity that hangs can hold its own places only.
    """

    def __init__(self, places: int, places_per_identity: int) -> None:
        self._limiter = anyio.CapacityLimiter(places)
        self._uncounted = anyio.CapacityLimiter(math.inf)  # the places are counted above, where a wait can be cancelled
        self._per_identity = places_per_identity
        self._bulkheads: dict[Hashable, _Bulkhead] = {}

    async def run(self, work: Callable[[], T], *, identity: Hashable, deadline: float, shield: bool = False) -> T:
        """Run `work` in a thread and return what it returns.

        Args:
            work: Blocking; it sees the caller's context variables.
            identity: Whose places it takes.
            deadline: On the monotonic clock; waiting for a place counts.
            shield: Once it runs, a client that cancels does not stop the wait for its end; for changes.

        Raises:
            DeadlineExceeded: no place, or no result, in time. The thread, if it runs, goes on to its own end.
        """
        bulkhead = self._bulkheads.setdefault(identity, _Bulkhead(asyncio.Semaphore(self._per_identity)))
        bulkhead.users += 1
        place = _Place(self, identity, bulkhead)
        try:
            with anyio.fail_after(deadline - time.monotonic()):
                await place.take()
                async with self._limiter:
                    with anyio.CancelScope(shield=shield, deadline=_on_loop_clock(deadline)):
                        return await anyio.to_thread.run_sync(
                            place.hand_over(work), limiter=self._uncounted, abandon_on_cancel=True
                        )
                    raise TimeoutError
        except TimeoutError:
            raise DeadlineExceeded("The call ran out of time.", next_step="Retry, or ask for less at a time.") from None
        finally:
            place.leave()

    def forget(self, identity: Hashable, bulkhead: _Bulkhead) -> None:
        """Count one user less of an identity's places."""
        bulkhead.users -= 1
        if bulkhead.users == 0 and self._bulkheads.get(identity) is bulkhead:
            del self._bulkheads[identity]


class _Place:
    """One place in a bulkhead, given back once: by the call that never ran, or by the thread when it ends."""

    def __init__(self, execution: Execution, identity: Hashable, bulkhead: _Bulkhead) -> None:
        self._execution, self._identity, self._bulkhead = execution, identity, bulkhead
        self._loop, self._lock = asyncio.get_running_loop(), threading.Lock()
        self._taken = self._running = self._left = False

    async def take(self) -> None:
        await self._bulkhead.places.acquire()
        self._taken = True

    def hand_over(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return `work` so wrapped that its end gives the place back, on the event loop's thread."""

        def run_then_leave() -> T:
            with self._lock:
                if self._left:  # cancelled on its way to the thread: the place is somebody else's by now
                    raise TimeoutError
                self._running = True
            try:
                return work()
            finally:
                self._running = False
                try:
                    self._loop.call_soon_threadsafe(self.leave)
                except RuntimeError:  # the loop has closed: the process is leaving, and nobody waits for places
                    pass

        return run_then_leave

    def leave(self) -> None:
        with self._lock:
            if self._running or self._left:
                return
            self._left = True
        if self._taken:
            self._bulkhead.places.release()
        self._execution.forget(self._identity, self._bulkhead)


def _on_loop_clock(deadline: float) -> float:
    return anyio.current_time() + deadline - time.monotonic()
