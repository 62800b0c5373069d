"""Whether this process should be given calls: what /readyz answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio.to_thread

from runtime.shutdown import InFlight

_MEMORY_SECONDS = 3.0
_PATIENCE_SECONDS = 0.7  # kubelet's probe waits for a second


class Readiness:
    """Checks base credentials, audit sink and draining.

    The first may block, and for long where STS hangs. It is made at most every few seconds, and a probe that would wait
    for it longer than it has patience is answered with what was found last.
    """

    def __init__(self, in_flight: InFlight, credentials: Callable[[], bool], audit: Callable[[], bool]) -> None:
        self._in_flight, self._credentials, self._audit = in_flight, credentials, audit
        self._known, self._found_at = False, float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self) -> dict[str, bool]:
        """Return each check by name."""
        return {
            "credentials": await self._base_credentials(),
            "audit": self._audit(),
            "accepting": not self._in_flight.draining,
        }

    async def _base_credentials(self) -> bool:
        if self._in_flight.draining:
            return self._known
        if self._looking is None and time.monotonic() - self._found_at > _MEMORY_SECONDS:
            self._looking = asyncio.create_task(self._look())
        if self._looking is not None:
            await asyncio.wait([self._looking], timeout=_PATIENCE_SECONDS)
        return self._known

    async def _look(self) -> None:
        try:
            self._known = await anyio.to_thread.run_sync(self._credentials, abandon_on_cancel=True)
        finally:
            self._found_at, self._looking = time.monotonic(), None
