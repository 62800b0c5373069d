"""Drain, then exit: calls in flight finish and their answers leave before any stream is ended."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from sse_starlette.sse import AppStatus

from errors import ShuttingDown

log = logging.getLogger("aws_ops.shutdown")
DRAIN_SECONDS = 20.0
_LAST_BYTES_SECONDS = 0.3


class InFlight:
    """Counts the calls at hand, and knows whether new ones are still taken."""

    def __init__(self) -> None:
        self._count = 0
        self.draining = False

    @property
    def calls(self) -> int:
        return self._count

    @contextmanager
    def count(self) -> Iterator[None]:
        """Count one call while it lasts."""
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1

    def refuse_when_draining(self) -> None:
        """Refuse a call that came too late."""
        if self.draining:
            raise ShuttingDown("The server is shutting down.", next_step="Retry; another replica answers.")

    async def finish(self, cut_short: Callable[[], bool]) -> None:
        """Take no more calls; wait for the end of those at hand, DRAIN_SECONDS at most, and for their last bytes."""
        self.draining = True
        log.info("draining", extra={"calls": self.calls})
        end = time.monotonic() + DRAIN_SECONDS
        while self.calls and time.monotonic() < end and not cut_short():
            await asyncio.sleep(0.02)
        if not cut_short():
            await asyncio.sleep(_LAST_BYTES_SECONDS)


class DrainingServer(uvicorn.Server):
    """A uvicorn server that ends in order: listeners, calls in flight, idle streams, process.

    A second SIGTERM changes nothing; SIGINT after SIGTERM ends at once.
    """

    def __init__(self, config: uvicorn.Config, in_flight: InFlight, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._in_flight, self._when_started = in_flight, started
        # sse-starlette would cut every stream half a second after SIGTERM, in-flight answers with them.
        AppStatus.disable_automatic_graceful_drain()  # type: ignore[no-untyped-call]  # it has no annotations

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        # uvicorn's own would raise the signal again at the end; a drained process has done as asked and exits with 0.
        self._in_flight.draining = True
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._when_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        # Whoever speaks on over an open connection gets an answer, and turns elsewhere with the next call.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await self._in_flight.finish(lambda: self.force_exit)
        AppStatus.should_exit = True
        await super().shutdown(sockets)
        log.info("stopped", extra={"calls": self._in_flight.calls})
