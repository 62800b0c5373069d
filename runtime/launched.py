"""The app under other launchers (`fastmcp run server.py:mcp`, `mcp.run(...)`, `mcp.http_app()`): as closed as ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.http import StarletteWithLifespan
from starlette.routing import Route

from runtime.border import Border
from runtime.connections import Crowd
from runtime.hosts import Hosts
from runtime.http import LOOPBACK_ORIGINS, inside_authentication
from runtime.malformed import InOurWords
from runtime.serve import make_room_or_tell, protocol_options
from runtime.shares import Streams


@dataclass(frozen=True)
class Surface:
    """What an HTTP surface is made with beside the app; see `runtime.http.build_app`."""

    allowed_hosts: list[str]
    allowed_origins: list[str]
    sse_max_streams: int
    refused: Callable[[str, str, int], bool]
    prepare_logs: Callable[[bool], None]  # told whether it is for HTTP


class LaunchedMCP(FastMCP[Any]):
    """A FastMCP app that whoever serves it serves with our guards. `surface` is set by who builds it.

    Overrides FastMCP's `http_app`, which `run_http_async` calls, and the two methods that `run_async` chooses from.
    """

    surface: Surface | None = None

    def http_app(self, *arguments: Any, **named: Any) -> StarletteWithLifespan:
        """Return the app of one transport. What a launcher says of hosts and origins adds to the settings'."""
        surface = self._known_surface()
        hosts = [*surface.allowed_hosts, *(named.get("allowed_hosts") or [])]
        named["allowed_origins"] = [*LOOPBACK_ORIGINS, *surface.allowed_origins, *(named.get("allowed_origins") or [])]
        named |= {"allowed_hosts": ["*"], "host_origin_protection": True}  # Border decides on hosts
        named["middleware"] = [*(named.get("middleware") or []), *inside_authentication()]
        app = super().http_app(*arguments, **named)
        app.router.redirect_slashes = False
        if app.state.transport_type == "sse":
            stream = next(route for route in app.routes if isinstance(route, Route) and route.path == app.state.path)
            stream.app = Streams(stream.app, surface.sse_max_streams)
        app.add_middleware(InOurWords)
        app.add_middleware(Border, hosts=Hosts(hosts), refused=surface.refused, anonymous=self.auth is None)
        return app

    async def run_http_async(self, *arguments: Any, **named: Any) -> None:
        """Serve over HTTP with our patience for connections; `uvicorn_config` adds to it."""
        crowd = Crowd()
        asyncio.get_running_loop().set_exception_handler(partial(make_room_or_tell, crowd))
        named["uvicorn_config"] = {**protocol_options(crowd), "backlog": 256, **(named.get("uvicorn_config") or {})}
        self._known_surface().prepare_logs(True)
        await super().run_http_async(*arguments, **named)

    async def run_stdio_async(self, *arguments: Any, **named: Any) -> None:
        """Serve one local client; what is printed goes to stderr."""
        self._known_surface().prepare_logs(False)
        await super().run_stdio_async(*arguments, **named)

    def _known_surface(self) -> Surface:
        if self.surface is None:
            raise RuntimeError("An app without a surface is served by runtime.http.build_app alone.")
        return self.surface
