"""Whether this process should be given calls: what /readyz answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio.to_thread

from runtime.shutdown import InFlight

_MEMORY_SECONDS = 3.0


class Readiness:
    """Checks base credentials, audit sink and draining; the first, which may block, at most every few seconds."""

    def __init__(self, in_flight: InFlight, credentials: Callable[[], bool], audit: Callable[[], bool]) -> None:
        self._in_flight, self._credentials, self._audit = in_flight, credentials, audit
        self._lock = asyncio.Lock()
        self._known: tuple[float, bool] = (float("-inf"), False)

    async def __call__(self) -> dict[str, bool]:
        """Return each check by name."""
        return {
            "credentials": await self._base_credentials(),
            "audit": self._audit(),
            "accepting": not self._in_flight.draining,
        }

    async def _base_credentials(self) -> bool:
        if self._in_flight.draining:
            return self._known[1]
        async with self._lock:
            if time.monotonic() - self._known[0] > _MEMORY_SECONDS:
                found = await anyio.to_thread.run_sync(self._credentials, abandon_on_cancel=True)
                self._known = (time.monotonic(), found)
        return self._known[1]
