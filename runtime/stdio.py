"""Serving one client over stdin and stdout, until it leaves or a signal comes."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from fastmcp import FastMCP

from runtime.shutdown import InFlight


def serve(mcp: FastMCP[Any], in_flight: InFlight) -> None:
    """Return when the process may exit: after a signal, calls in flight are answered first, as over HTTP."""
    # The loop is left as it is: what reads stdin waits in a thread that only the client could end.
    asyncio.new_event_loop().run_until_complete(_until_client_or_signal(mcp, in_flight))


async def _until_client_or_signal(mcp: FastMCP[Any], in_flight: InFlight) -> None:
    loop, signalled, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def on_signal(number: int) -> None:
        if signalled.is_set() and number == signal.SIGINT:
            hurry.set()
        signalled.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    client = asyncio.ensure_future(FastMCP.run_stdio_async(mcp, show_banner=False))
    stop = asyncio.ensure_future(signalled.wait())
    await asyncio.wait({client, stop}, return_when=asyncio.FIRST_COMPLETED)
    if client.done():
        client.result()
    else:
        await in_flight.finish(hurry.is_set)
