"""A replica's name in the ids of its sessions, so that a load balancer can bring a session's requests home.

SSE sessions and handshake-era /mcp sessions live in one process. Their ids are all that every client sends back
(clients built on Node keep no cookies), so the name goes in front of them:

- SSE: `POST /messages/?replica=NAME&session_id=...`, as the stream's first event tells the client;
- /mcp: `Mcp-Session-Id: NAME.<id>`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = b"mcp-session-id"
_ENDPOINT = b"session_id="


class NamedSessions:
    """Puts the name in front of session ids on their way out, and takes it off on their way in."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app, self._prefix, self._query = app, f"{name}.".encode(), f"replica={name}&".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [
            (key, value.removeprefix(self._prefix) if key == _HEADER else value) for key, value in scope["headers"]
        ]
        announced = scope["path"] != "/sse"

        async def named(message: Message) -> None:
            nonlocal announced
            if message["type"] == "http.response.start":
                outgoing = [(k, self._prefix + v if k.lower() == _HEADER else v) for k, v in message.get("headers", [])]
                message = {**message, "headers": outgoing}
            elif not announced and _ENDPOINT in message.get("body", b""):
                announced = True
                message = {**message, "body": message["body"].replace(_ENDPOINT, self._query + _ENDPOINT, 1)}
            await send(message)

        await self._app({**scope, "headers": headers}, receive, named)
