"""What has no rate and is held: open streams and sessions. No caller's share keeps another caller out."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.authentication import UnauthenticatedUser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_SESSIONS = 1_000
# Of all callers together; the SDK refuses new ones from 10,000 on.
MOST_SESSIONS_OF_ALL = 9_000
_SESSION = b"mcp-session-id"


class Streams:
    """Caps the open SSE streams. uvicorn's own limit would refuse the probes as well.

    A caller who holds none gets one even where others have taken all. A request without a right token takes no place:
    it is about to be refused, and may be slowed first.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most, self._held = app, most, Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(scope.get("user"), UnauthenticatedUser):
            await self._app(scope, receive, send)
            return
        caller = caller_of(scope)
        if self._held[caller] and self._held.total() >= self._most:
            busy = PlainTextResponse("Too many open streams", 503, {"Retry-After": "10"})
            await busy(scope, receive, send)
            return
        self._held[caller] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._held[caller] -= 1
            if not self._held[caller]:
                del self._held[caller]


@dataclass
class _Session:
    scope: Scope  # of the request that opened it
    requests: int = 0


class Sessions:
    """Ends a caller's idlest /mcp session where it opens more than `most`, by the DELETE that a client would send.

    Stands inside authentication. Where all callers together hold too many, who holds most ends one.
    """

    def __init__(self, app: ASGIApp, most: int = MOST_SESSIONS, most_of_all: int = MOST_SESSIONS_OF_ALL) -> None:
        self._app, self._most, self._most_of_all = app, most, most_of_all
        self._held: dict[str, OrderedDict[bytes, _Session]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or isinstance(scope.get("user"), UnauthenticatedUser):
            await self._app(scope, receive, send)
            return
        caller, named = caller_of(scope), _value(scope["headers"], _SESSION)
        opened: list[bytes] = []

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                if named is None and (new := _value(message.get("headers", ()), _SESSION)) is not None:
                    opened.append(new)
                elif named is not None and (message["status"] == 404 or scope["method"] == "DELETE"):
                    self._forget(caller, named)
            await send(message)

        with self._in_use(caller, named):
            await self._app(scope, receive, watched)
        for session in opened:
            await self._keep(caller, session, scope)

    @contextmanager
    def _in_use(self, caller: str, named: bytes | None) -> Iterator[None]:
        sessions = self._held.get(caller, OrderedDict())
        if named is None or named not in sessions:
            yield
            return
        session = sessions[named]
        sessions.move_to_end(named)
        session.requests += 1
        try:
            yield
        finally:
            session.requests -= 1

    async def _keep(self, caller: str, session: bytes, scope: Scope) -> None:
        self._held.setdefault(caller, OrderedDict())[session] = _Session(scope)
        if len(self._held[caller]) > self._most:
            await self._end_idlest(caller)
        elif sum(map(len, self._held.values())) > self._most_of_all:
            await self._end_idlest(max(self._held, key=lambda name: len(self._held[name])))

    async def _end_idlest(self, caller: str) -> None:
        sessions = self._held[caller]
        idle = (name for name, session in sessions.items() if not session.requests)
        name = next(idle, next(iter(sessions)))
        headers = [(b"host", b"localhost"), (b"authorization", b"Bearer -"), (_SESSION, name)]
        scope = {**sessions[name].scope, "method": "DELETE", "headers": headers}
        self._forget(caller, name)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_: Message) -> None:
            pass

        await self._app(scope, receive, send)  # whose it is stands in the scope already

    def _forget(self, caller: str, session: bytes) -> None:
        sessions = self._held.get(caller, OrderedDict())
        sessions.pop(session, None)
        if not sessions:
            self._held.pop(caller, None)


def caller_of(scope: Scope) -> str:
    """Return under which name a request's caller holds what it holds; without authentication all are one."""
    user = scope.get("user")
    return str(user.display_name) if user is not None else ""


def _value(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in headers if name.lower() == wanted), None)
