"""What HTTP refuses is said in our words: the SDK quotes bodies, secrets and all, and fastmcp talks of registering."""

from __future__ import annotations

import json

from starlette.authentication import UnauthenticatedUser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_QUOTING = ("Parse error", "Validation error")
_JSON = b"application/json"
_UNKNOWN_TOKEN = "The token is not known here."
_CHALLENGE = f'Bearer error="invalid_token", error_description="{_UNKNOWN_TOKEN}"'.encode()


class InOurWords:
    """Replaces the body of an answer with status 401, cuts the quotation out of one with 400, and leaves the others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def reworded(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 401):
                held.append(message)
                return
            if held:
                start = held.pop()
                body = message.get("body", b"")
                if start["status"] == 400:
                    body = _without_quotation(body)
                elif body:
                    plain = [(k, v) for k, v in start["headers"] if k != b"www-authenticate"]
                    start = {**start, "headers": [*plain, (b"www-authenticate", _CHALLENGE)]}
                    body = json.dumps({"error": "invalid_token", "error_description": _UNKNOWN_TOKEN}).encode()
                headers = [(k, v) for k, v in start["headers"] if k != b"content-length"]
                await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, reworded)


class JSONBodies:
    """Refuses a POST of anything but JSON with 415, and spells the type as the SDK knows it: types have no case.

    Stands inside authentication: who has no right token is told that alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and not isinstance(scope.get("user"), UnauthenticatedUser)
        ):
            types = [value for name, value in scope["headers"] if name == b"content-type"]
            if len(types) != 1 or types[0].partition(b";")[0].strip().lower() != _JSON:
                error = {"code": -32600, "message": "Content-Type must be application/json"}
                refused = JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 415)
                await refused(scope, receive, send)
                return
            others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
            scope = {**scope, "headers": [*others, (b"content-type", _JSON)]}
        await self._app(scope, receive, send)


def _without_quotation(body: bytes) -> bytes:
    try:
        answer = json.loads(body)
        kind = str(answer["error"]["message"]).partition(":")[0]
    except (ValueError, KeyError, TypeError):
        return body
    if kind not in _QUOTING:
        return body
    answer["error"] = {"code": answer["error"]["code"], "message": f"{kind}: the body is no JSON-RPC message"}
    return json.dumps(answer).encode()
