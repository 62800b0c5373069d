"""A body that is no JSON-RPC is refused without a word of it: the SDK's answer over /mcp quotes it, secrets and all."""

from __future__ import annotations

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_QUOTING = ("Parse error", "Validation error")


class Unquoted:
    """Cuts the quotation out of answers with status 400, and leaves every other answer as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def cut(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 400:
                held.append(message)
                return
            if held:
                start = held.pop()
                body = _without_quotation(message.get("body", b""))
                headers = [(k, v) for k, v in start["headers"] if k != b"content-length"]
                await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
                message = {**message, "body": body}
            await send(message)

        await self._app(scope, receive, cut)


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
