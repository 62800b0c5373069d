"""Running the app: a listening socket and uvicorn, until told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from errors import ConfigurationError
from runtime.shutdown import DrainingServer, InFlight


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off (40 ms an answer) only where it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not an address"
        raise ConfigurationError(f"MCP_HOST, MCP_PORT: cannot listen there ({reason})") from None
    return listener


def address_of(listener: socket.socket) -> str:
    """Return the base URL under which a client on this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what is bound to all is called by one
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(
    app: Starlette,
    listener: socket.socket,
    in_flight: InFlight,
    started: Callable[[], None],
    reload: Callable[[], None] | None,
) -> None:
    """Serve until a signal; return when the process may exit. SIGHUP calls `reload`.

    Keep-alive outlasts a load balancer's 60 s, so that it, not we, closes an idle connection.
    """
    config = uvicorn.Config(
        app,
        ws="none",
        log_config=None,
        access_log=False,  # it would log session ids
        server_header=False,
        proxy_headers=False,  # an address is what it is, not what a header claims
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )

    def listening() -> None:
        started()
        # A full collection stops every call, 0.7 s of them under load. What is here now stays, so none need look at it.
        gc.freeze()
        gc.set_threshold(10_000, 10, 5)

    async def run() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload or (lambda: None))
        await DrainingServer(config, in_flight, listening).serve(sockets=[listener])

    asyncio.run(run())
