"""How often a caller may call: a token bucket per caller, full at the start, refilled evenly."""

from __future__ import annotations

import time
from collections.abc import Callable

from cachetools import LRUCache

from errors import RateLimited

_MAX_CALLERS = 10_000


class RateLimit:
    """So many calls a minute for each caller, and no more at once than a minute's worth."""

    def __init__(self, per_minute: int, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._what, self._clock = per_minute, what, clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_CALLERS)

    def take(self, caller: str) -> None:
        """Count one call.

        Raises:
            RateLimited: it is one too many; `retry_after` says in how many seconds it would not be.
        """
        now = self._clock()
        tokens, since = self._buckets.get(caller, (float(self._per_minute), now))
        tokens = min(float(self._per_minute), tokens + (now - since) * self._per_minute / 60)
        if tokens < 1:
            wait = round((1 - tokens) * 60 / self._per_minute, 1)
            raise RateLimited(
                f"More than {self._per_minute} {self._what} a minute.",
                next_step=f"Retry in {wait} s.",
                retry_after=max(wait, 0.1),
            )
        self._buckets[caller] = (tokens - 1, now)
