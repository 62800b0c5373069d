"""Running the app: a listening socket and uvicorn, until told to stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette

from errors import ConfigurationError
from runtime.connections import ACCEPTED_AT_ONCE, LONGEST_HEAD, Connection, Crowd, OncePerMinute
from runtime.shutdown import DrainingServer, InFlight

_WAITING_TO_BE_ACCEPTED = 2048
# What accept() says where there is no descriptor, or no memory, for one more connection.
_SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def listen(host: str, port: int, variables: str = "MCP_HOST, MCP_PORT") -> socket.socket:
    """Bind and listen where `variables` say.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off (40 ms an answer) only where it is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_WAITING_TO_BE_ACCEPTED)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not an address"
        raise ConfigurationError(f"{variables}: cannot listen there ({reason})") from None
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
    crowd = Crowd()
    config = uvicorn.Config(app, **protocol_options(crowd))

    def listening() -> None:
        # asyncio accepts as many at once as it lets wait, so it was told of few: see Crowd.
        listener.listen(_WAITING_TO_BE_ACCEPTED)
        started()
        # A full collection stops every call, 0.7 s of them under load. What is here now stays, so none need look at it.
        gc.freeze()
        gc.set_threshold(10_000, 10, 5)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, reload or (lambda: None))
        loop.set_exception_handler(partial(make_room_or_tell, crowd))
        await DrainingServer(config, in_flight, listening).serve(sockets=[listener])

    asyncio.run(run())


def protocol_options(crowd: Crowd) -> dict[str, Any]:
    """Return how uvicorn is to treat connections, whoever starts it."""
    logging.getLogger("uvicorn.error").addFilter(OncePerMinute())
    return {
        "http": partial(Connection, crowd=crowd),
        "h11_max_incomplete_event_size": LONGEST_HEAD,
        "backlog": ACCEPTED_AT_ONCE,
        "ws": "none",
        "log_config": None,
        "access_log": False,  # it would log session ids
        "server_header": False,
        "proxy_headers": False,  # an address is what it is, not what a header claims
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": 2,
    }


def make_room_or_tell(crowd: Crowd, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what no task answers for; asyncio would log up to 2,048 times that it has no descriptor."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in _SCARCE and "socket" in context:
        crowd.accept_failed()  # asyncio tries again a second later
    else:
        loop.default_exception_handler(context)
