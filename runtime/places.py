"""Places that several callers share: a free one goes to who holds fewest, so that no queue is longer for being asked
more often."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque


class FairPlaces:
    """So many places, for the event loop's thread alone.

    A caller who is alone may have them all. Where several wait, each free place goes to the one who holds fewest; among
    equals in turn.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many are held."""
        return self._held.total()

    async def acquire(self, caller: str) -> None:
        """Wait for a place."""
        if self.taken < self._most:  # then nobody waits
            self._held[caller] += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had been given one already
                self.release(caller)
            else:
                self._forget(caller, turn)
            raise

    def release(self, caller: str) -> None:
        """Give a place back."""
        self._held[caller] -= 1
        if self._held[caller] <= 0:
            del self._held[caller]
        while self._waiting:
            following = min(self._waiting, key=lambda one: self._held[one])  # the first of equals has waited longest
            turn = self._next(following)
            if not turn.done():  # else it was cancelled, and has not heard of it yet
                self._held[following] += 1
                turn.set_result(None)
                return

    def _next(self, caller: str) -> asyncio.Future[None]:
        queue = self._waiting[caller]
        turn = queue.popleft()
        if queue:
            self._waiting.move_to_end(caller)
        else:
            del self._waiting[caller]
        return turn

    def _forget(self, caller: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(caller, deque())
        if turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[caller]
