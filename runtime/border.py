"""The outermost layer of the MCP routes: refuses foreign names and ambiguous headers, notes every refusal, slows a
source of many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.hosts import LONGEST_NAME, Hosts

# Wrong token, Origin, session, body size, Host. What a client merely misspells (400, 405) is none of these.
REFUSALS = frozenset({401, 403, 404, 413, 421})
_SPELLINGS = {"/mcp/": "/mcp", "/sse/": "/sse", "/messages": "/messages/"}
_LONGEST_ORIGIN = LONGEST_NAME + len("chrome-extension://[]:65535/")
_SLOW_SECONDS = 1.0
_MOST_SLOWED = 200


class Border:
    """Passes requests on, and looks at the status of what comes back.

    Args:
        app: The guarded app.
        hosts: The names under which it is reached.
        anonymous: Whether the app asks for no tokens, so that a page of any site must not reach it. Some requests of
            pages bear no Origin.
        refused: Told the source's address, the path and the status of a refusal; answers whether the source has had
            too many. A right token is never slowed: many callers may share an address.
    """

    def __init__(
        self, app: ASGIApp, hosts: Hosts, refused: Callable[[str, str, int], bool], *, anonymous: bool = False
    ) -> None:
        self._app, self._hosts, self._refused, self._anonymous, self._slowed = app, hosts, refused, anonymous, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if path := _SPELLINGS.get(scope["path"]):
            scope = {**scope, "path": path, "raw_path": path.encode()}

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in REFUSALS:
                await self._note(scope, message["status"])
            await send(message)

        with suppress(ClientDisconnect):  # in the middle of a body, or put out for waiting with it
            await (self._refusal(scope) or self._app)(scope, receive, watched)

    def _refusal(self, scope: Scope) -> Response | None:
        if not self._hosts.admit(scope):
            return PlainTextResponse("Misdirected Request", 421)
        # Whoever reads only one of two such headers may read the wrong one. A long one would meet globs.
        origins = _values(scope, b"origin")
        if len(origins) > 1 or any(len(origin) > _LONGEST_ORIGIN for origin in origins):
            return PlainTextResponse("Forbidden Origin", 403)
        if self._anonymous and any(_is_of_a_page_elsewhere(value) for value in _values(scope, b"sec-fetch-site")):
            return PlainTextResponse("Forbidden Site", 403)
        if len(_values(scope, b"authorization")) > 1:
            return PlainTextResponse("", 401, {"WWW-Authenticate": "Bearer"})
        return None

    async def _note(self, scope: Scope, status: int) -> None:
        address = scope["client"][0] if scope.get("client") else "unknown"
        excessive = self._refused(address, scope["path"], status)
        # A 404 comes after a right token: a session that is gone, or another's.
        if not excessive or status == 404 or self._slowed >= _MOST_SLOWED:
            return
        self._slowed += 1
        try:
            await anyio.sleep(_SLOW_SECONDS)
        finally:
            self._slowed -= 1


def _is_of_a_page_elsewhere(sec_fetch_site: bytes) -> bool:
    return sec_fetch_site.strip().lower() not in (b"same-origin", b"none")


def _values(scope: Scope, header: bytes) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == header]
