"""One ASGI app: /sse and /messages/, /mcp, and the probes, which stand outside authentication and the Host guard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastmcp import FastMCP
from fastmcp.server.context import reset_transport, set_transport
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.border import Border
from runtime.hosts import Hosts
from runtime.malformed import InOurWords, JSONBodies
from runtime.replica import NamedSessions
from runtime.shares import Sessions, Streams

# With and without a port, which fastmcp compares as text.
LOOPBACK_ORIGINS = [
    f"{scheme}://{host}{port}"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1", "[[]::1]")
    for port in ("", ":*")
]
Readiness = Callable[[], Awaitable[dict[str, bool]]]


class _AsSSE:
    """Labels the borrowed routes; else a call over them would say it came over streamable-http."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = set_transport("sse")
        try:
            await self._app(scope, receive, send)
        finally:
            reset_transport(token)


def build_app(
    mcp: FastMCP,
    *,
    allowed_hosts: list[str],
    allowed_origins: list[str],
    sse_max_streams: int,
    ready: Readiness,
    refused: Callable[[str, str, int], bool],
    replica_name: str | None,
) -> Starlette:
    """Return the whole HTTP surface of one FastMCP app.

    Args:
        mcp: The app; its auth guards every MCP route.
        allowed_hosts: Host names, `*` globs allowed, beside loopback and the bind address.
        allowed_origins: Browser origins, beside loopback's, whatever name the server itself is called by.
        sse_max_streams: Open /sse streams; one more is answered 503, to a caller who holds one.
        ready: Returns the readiness checks by name.
        refused: Told of each refused request: address, path, status; see Border.
        replica_name: Stands in session ids, where there are several replicas; see NamedSessions.
    """
    # SSE first: the auth provider keeps the last path it is given, and /mcp is the canonical resource.
    # FastMCP's own http_app: the guards of an app that others launch stand elsewhere here.
    legacy = FastMCP.http_app(mcp, path="/sse", transport="sse")  # borrowed for its routes; its lifespan never runs
    inner = FastMCP.http_app(
        mcp,
        path="/mcp",
        transport="http",
        host_origin_protection=True,
        allowed_hosts=["*"],  # decided at the border already, which looks at ports too
        allowed_origins=[*LOOPBACK_ORIGINS, *allowed_origins],
        middleware=inside_authentication(),
    )
    inner.router.redirect_slashes = False  # it would send a token that came over TLS to plain http://
    inner.router.routes[:0] = _sse_routes(legacy, sse_max_streams)
    worded = InOurWords(inner)
    named = NamedSessions(worded, replica_name) if replica_name else worded
    border = Border(named, Hosts(allowed_hosts), refused, anonymous=mcp.auth is None)
    return Starlette(routes=[*_probes(ready), Mount("/", app=border)], lifespan=inner.lifespan)


def inside_authentication() -> list[Middleware]:
    """Return what a request with a right token passes, whichever route it takes."""
    return [Middleware(JSONBodies), Middleware(Sessions)]


def _sse_routes(legacy: Starlette, most: int) -> list[BaseRoute]:
    routes: list[BaseRoute] = []
    for route in legacy.routes:
        if isinstance(route, Route) and route.path == "/sse":
            routes.append(_get_only(Route("/sse", endpoint=Streams(_AsSSE(route.app), most), methods=["GET"])))
        elif isinstance(route, Mount) and route.path == "/messages":
            routes.append(Mount("/messages/", app=_AsSSE(route.app)))
    if len(routes) != 2:
        raise RuntimeError("fastmcp's SSE app changed shape")
    return routes


def _get_only(route: Route) -> Route:
    # Starlette adds HEAD to GET, and a HEAD of /sse would open a stream that nobody can hear.
    if route.methods is not None:
        route.methods.discard("HEAD")
    return route


def _probes(ready: Readiness) -> list[BaseRoute]:
    async def healthz(_: Request) -> Response:
        return PlainTextResponse("OK")

    async def readyz(_: Request) -> Response:
        checks = await ready()
        return JSONResponse({"ready": all(checks.values()), "checks": checks}, 200 if all(checks.values()) else 503)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
