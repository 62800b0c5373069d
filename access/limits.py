"""How often a caller may call: a token bucket per caller, full at the start, refilled evenly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from cachetools import LRUCache

from errors import RateLimited

_MAX_CALLERS = 10_000
_ROUNDING = 1e-9  # what sums of floats may be short of, when one has waited just as long as told


class RateLimit:
    """So many calls a minute for each caller, and no more at once than a minute's worth.

    Who is refused has used nothing up, so that waiting as long as told is always enough.
    """

    def __init__(self, per_minute: int, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._what, self._clock = per_minute, what, clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_CALLERS)

    def take(self, caller: str, cost: int = 1) -> None:
        """Count one call. One that costs more than is left may overdraw, and the next waits for that as well.

        Raises:
            RateLimited: it is one too many; `retry_after` says in how many seconds it would not be.
        """
        now = self._clock()
        tokens, since = self._buckets.get(caller, (float(self._per_minute), now))
        tokens = min(float(self._per_minute), tokens + (now - since) * self._per_minute / 60)
        if tokens < 1 - _ROUNDING:
            wait = math.ceil((1 - tokens) * 600 / self._per_minute) / 10
            raise RateLimited(
                f"More than {self._per_minute} {self._what} a minute.",
                next_step=f"Retry in {wait} s.",
                retry_after=wait,
            )
        self._buckets[caller] = (tokens - cost, now)
