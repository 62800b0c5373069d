"""The outermost layer of the MCP routes: refuses ambiguous credentials, notes every refusal, slows a source of many."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Wrong token, Origin, session, body size, Host. What a client merely misspells (400, 405) is none of these.
REFUSALS = frozenset({401, 403, 404, 413, 421})
_SLOW_SECONDS = 1.0
_MOST_SLOWED = 200


class Border:
    """Passes requests on, and looks at the status of what comes back.

    Args:
        app: The guarded app.
        refused: Told the source's address, the path and the status of a refusal; answers whether the source has had
            too many. A right token is never slowed: many callers may share an address.
    """

    def __init__(self, app: ASGIApp, refused: Callable[[str, str, int], bool]) -> None:
        self._app, self._refused, self._slowed = app, refused, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in REFUSALS:
                await self._note(scope, message["status"])
            await send(message)

        # Whoever reads only one of two Authorization headers may read the wrong one.
        if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
            await PlainTextResponse("", 401, {"WWW-Authenticate": "Bearer"})(scope, receive, watched)
            return
        await self._app(scope, receive, watched)

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
