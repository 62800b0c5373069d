"""Starts the stand-in: `python -m tests.standin [--port N] [--latency-ms N] [--canned]`; SIGTERM ends it."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading

from tests.standin.admin import Admin
from tests.standin.endpoint import AWS, Endpoint
from tests.standin.keyring import Keyring
from tests.standin.wire import serve_connection


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.standin", description="An AWS endpoint that can fail.")
    parser.add_argument("--port", type=int, default=0, help="any free one by default")
    parser.add_argument("--latency-ms", type=float, default=0, help="how long every AWS answer takes at least")
    parser.add_argument("--canned", action="store_true", help="answer from constants instead of moto")
    parser.add_argument("--leashed", action="store_true", help="end when stdin does")
    options = parser.parse_args()
    asyncio.run(serve(options))


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM, SIGINT or, leashed, the end of stdin."""
    keyring = Keyring()
    admin = Admin(Endpoint(_aws(options.canned), keyring, options.latency_ms))
    server = await asyncio.start_server(
        lambda reader, writer: serve_connection(reader, writer, admin.handle), "127.0.0.1", options.port, backlog=1024
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if options.leashed:
        threading.Thread(target=_follow_stdin, args=(loop, ended), daemon=True).start()
    print(f"standin http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    # Nothing here is worth an orderly end, and moto's threads would delay it.
    sys.stdout.flush()
    os._exit(0)


def _aws(canned: bool) -> AWS:
    """Return the AWS to stand in for. moto takes a second to import, and benchmarks do without it."""
    if canned:
        from tests.standin.canned import CannedAWS

        return CannedAWS()
    from tests.standin.embedded import EmbeddedAWS

    return EmbeddedAWS()


def _follow_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    main()
