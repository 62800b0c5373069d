"""HTTP/1.1 over asyncio streams, with the ways to end a connection badly that frameworks do not offer."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus

LARGEST_BODY = 64 * 1024 * 1024


@dataclass(slots=True)
class Request:
    """A request, read whole. `headers` keeps order, spelling and repetition; `get` does not care for case."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    _lower: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._lower = {name.lower(): value for name, value in self.headers}

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def get(self, name: str) -> str | None:
        """Return the header of this lower-case name."""
        return self._lower.get(name)


@dataclass(slots=True)
class Answer:
    """An answer. `cut` sends half of the body that its Content-Length promises, then closes.

    A Content-Length among `headers` stands where there is no body to measure (HEAD); otherwise it is replaced.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    reason: str | None = None
    cut: bool = False


@dataclass(slots=True)
class NoAnswer:
    """Hold the socket until the peer leaves, for so many seconds at most; then reset it."""

    seconds: float = 0


Handler = Callable[[Request], Awaitable[Answer | NoAnswer]]


class BadRequest(Exception):
    """Bytes that are no HTTP request."""


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
    """Answer the requests of one connection, one after the other, until either side ends it."""
    try:
        while await _serve_one(reader, writer, handle):
            pass
    except BadRequest as error:
        writer.write(_head(Answer(400, [("Connection", "close")], str(error).encode()), "GET") + str(error).encode())
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the peer left, or speaks something else: there is nobody to tell
    finally:
        writer.close()


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handle: Handler) -> bool:
    """Serve one request; return whether the connection can serve another."""
    request = _parse(await reader.readuntil(b"\r\n\r\n"))
    if (request.get("expect") or "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.body = await _read_body(reader, request)
    answer = await handle(request)
    if isinstance(answer, NoAnswer):
        await _hold(reader, answer.seconds)
        _reset(writer)
        return False
    head = _head(answer, request.method)
    if answer.cut:
        writer.write(head + answer.body[: len(answer.body) // 2])
        return False
    writer.write(head if request.method == "HEAD" else head + answer.body)
    await writer.drain()
    return (request.get("connection") or "").lower() != "close"


def _parse(head: bytes) -> Request:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise BadRequest("no request line") from None
    if version != "HTTP/1.1":
        raise BadRequest("HTTP/1.1 only")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest("a header without a colon")
        headers.append((name, value.strip()))
    return Request(method, target, headers)


async def _read_body(reader: asyncio.StreamReader, request: Request) -> bytes:
    if "chunked" in (request.get("transfer-encoding") or "").lower():
        return await _read_chunks(reader)
    length = request.get("content-length") or "0"
    if not length.isdecimal() or int(length) > LARGEST_BODY:
        raise BadRequest("a Content-Length that is no number, or too large")
    return await reader.readexactly(int(length)) if length != "0" else b""


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    """Return a chunked body without its chunks; trailer fields are dropped."""
    body = bytearray()
    while size := await _chunk_size(reader):
        if len(body) + size > LARGEST_BODY:
            raise BadRequest("a body too large")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return bytes(body)


async def _chunk_size(reader: asyncio.StreamReader) -> int:
    line = await reader.readuntil(b"\r\n")
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise BadRequest("a chunk without a size") from None


def _head(answer: Answer, method: str) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {answer.reason or _reason(answer.status)}"]
    measured = method != "HEAD"
    for name, value in answer.headers:
        if not (measured and name.lower() == "content-length"):
            lines.append(f"{name}: {value}")
    if measured and answer.status not in (204, 304):
        # Half of nothing would be whole: a cut answer promises a byte at least.
        lines.append(f"Content-Length: {max(len(answer.body), 1 if answer.cut else 0)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


async def _hold(reader: asyncio.StreamReader, seconds: float) -> None:
    if seconds > 0:
        try:
            # Ends early where the peer closes; it has nothing to send while it waits for an answer.
            await asyncio.wait_for(reader.read(1), seconds)
        except (TimeoutError, ConnectionError):
            pass


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: a linger of zero seconds throws away what is unsent and says so."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
