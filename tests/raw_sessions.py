"""MCP sessions spoken by hand over sockets: cheap enough for hundreds, and able to break off as no library would.

`KINDS[kind].open(port, token)` opens a session of one of the three kinds; each has `call`, `close` and `break_off`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
_CLIENT = {"name": "raw", "version": "1"}
INITIALIZE = {
    "jsonrpc": "2.0", "id": 0, "method": "initialize",
    "params": {"protocolVersion": HANDSHAKE, "capabilities": {}, "clientInfo": _CLIENT},
}  # fmt: skip
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
_META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": _CLIENT,
}


@dataclass
class Reply:
    """An HTTP answer; `body` is read whole, or empty for a stream that stays open."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC response in it, whether it came as JSON or as the last event of a stream."""
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            return dict(json.loads(self.body))
        data = [line[5:] for line in self.body.splitlines() if line.startswith(b"data:")]
        return dict(json.loads(data[-1]))


class Connection:
    """One keep-alive HTTP/1.1 connection; requests follow one another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self.reader, self.writer = reader, writer
        host, port = writer.get_extra_info("peername")[:2]
        self._always = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"

    @classmethod
    async def open(cls, port: int, token: str) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port), token)

    async def send(self, method: str, path: str, message: Any = None, **headers: str) -> None:
        body = b"" if message is None else json.dumps(message).encode()
        lines = [f"{method} {path} HTTP/1.1\r\n", self._always]
        if message is not None:
            lines.append("Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n")
            lines.append(f"Content-Length: {len(body)}\r\n")
        lines += [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        self.writer.write("".join([*lines, "\r\n"]).encode() + body)
        await self.writer.drain()

    async def head(self) -> Reply:
        """Read an answer up to its body."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].decode().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return Reply(int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs})

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read a chunked body as it comes."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    async def reply(self) -> Reply:
        """Read an answer whole."""
        reply = await self.head()
        if reply.headers.get("transfer-encoding") == "chunked":
            reply.body = b"".join([chunk async for chunk in self.chunks()])
        else:
            reply.body = await self.reader.readexactly(int(reply.headers.get("content-length", "0")))
        return reply

    async def request(self, method: str, path: str, message: Any = None, **headers: str) -> Reply:
        await self.send(method, path, message, **headers)
        return await self.reply()

    def close(self) -> None:
        self.writer.close()

    def break_off(self) -> None:
        """Leave with RST."""
        opened = self.writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Answer:
    """A tool's answer."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message
        self.content: dict[str, Any] = message.get("result", {}).get("structuredContent") or {}

    @property
    def ok(self) -> bool:
        return self.content.get("success") is True

    @property
    def error_code(self) -> str | None:
        return self.content.get("error_code")


def _call(number: int, tool: str, arguments: dict[str, Any], **meta: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, **({"_meta": meta} if meta else {})}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


class Modern:
    """/mcp of 2026-07-28: each call stands for itself; the session is the connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, port: int, token: str) -> Modern:
        return cls(await Connection.open(port, token))

    async def start(self, tool: str, **arguments: Any) -> None:
        headers = {"MCP_Protocol_Version": MODERN, "Mcp_Method": "tools/call", "Mcp_Name": tool}
        await self.connection.send("POST", "/mcp", _call(1, tool, arguments, **_META), **headers)

    async def call(self, tool: str, **arguments: Any) -> Answer:
        await self.start(tool, **arguments)
        return Answer((await self.connection.reply()).message)

    def close(self) -> None:
        self.connection.close()

    def break_off(self) -> None:
        self.connection.break_off()


class Handshake:
    """/mcp of 2025-11-25: initialize, then calls that bear the session's id."""

    def __init__(self, connection: Connection, session_id: str) -> None:
        self.connection, self.session_id = connection, session_id
        self._headers = {"Mcp_Session_Id": session_id, "MCP_Protocol_Version": HANDSHAKE}

    @classmethod
    async def open(cls, port: int, token: str) -> Handshake:
        connection = await Connection.open(port, token)
        reply = await connection.request("POST", "/mcp", INITIALIZE)
        session = cls(connection, reply.headers["mcp-session-id"])
        await connection.request("POST", "/mcp", INITIALIZED, **session._headers)
        return session

    async def start(self, tool: str, **arguments: Any) -> None:
        await self.connection.send("POST", "/mcp", _call(1, tool, arguments), **self._headers)

    async def call(self, tool: str, **arguments: Any) -> Answer:
        await self.start(tool, **arguments)
        return Answer((await self.connection.reply()).message)

    def close(self) -> None:
        self.connection.close()

    def break_off(self) -> None:
        self.connection.break_off()


class SSE:
    """/sse and /messages/: one connection for the stream, one for the messages."""

    def __init__(self, stream: Connection, messages: Connection | None, head: Reply) -> None:
        self.stream, self._messages, self.head = stream, messages, head
        self.endpoint = ""
        self.pings: list[float] = []
        self.ended = asyncio.Event()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0
        self._announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, token: str) -> SSE:
        """Open a session, initialized; the stream alone costs less: `idle`."""
        session = await cls.idle(port, token)
        session._messages = await Connection.open(port, token)
        await session._ask(INITIALIZE)
        await session._post(INITIALIZED)
        return session

    @classmethod
    async def idle(cls, port: int, token: str) -> SSE:
        """Open a stream and nothing else."""
        stream = await Connection.open(port, token)
        await stream.send("GET", "/sse")
        head = await stream.head()
        if head.status != 200:
            stream.close()
            raise ConnectionRefusedError(f"GET /sse: {head.status}")
        session = cls(stream, None, head)
        session.endpoint = await asyncio.wait_for(asyncio.shield(session._announced), 30)
        return session

    async def _read(self) -> None:
        buffer = b""
        try:
            async for chunk in self.stream.chunks():
                *events, buffer = (buffer + chunk).split(b"\r\n\r\n")
                for event in events:
                    self._take(event.decode())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended.set()
            for waiting in (*self._answers.values(), self._announced):
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the stream has ended"))
                    waiting.exception()  # nobody need be waiting

    def _take(self, event: str) -> None:
        if event.startswith(": ping"):
            self.pings.append(asyncio.get_running_loop().time())
            return
        fields = dict(line.split(": ", 1) for line in event.splitlines())
        if fields["event"] == "endpoint":
            self._announced.set_result(fields["data"])
            return
        message = json.loads(fields["data"])
        if (waiting := self._answers.pop(message.get("id"), None)) is not None and not waiting.done():
            waiting.set_result(message)

    async def _post(self, message: Any) -> Reply:
        assert self._messages is not None
        return await self._messages.request("POST", self.endpoint, message)

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        waiting = self._answers[message["id"]] = asyncio.get_running_loop().create_future()
        reply = await self._post(message)
        if reply.status != 202:
            raise ConnectionError(f"POST {self.endpoint}: {reply.status} {reply.body!r}")
        return await waiting

    async def start(self, tool: str, **arguments: Any) -> None:
        """Send a call and do not wait for its answer."""
        self._last += 1
        await self._post(_call(self._last, tool, arguments))

    async def call(self, tool: str, **arguments: Any) -> Answer:
        self._last += 1
        return Answer(await self._ask(_call(self._last, tool, arguments)))

    def close(self) -> None:
        self._reading.cancel()
        for connection in (self.stream, self._messages):
            if connection is not None:
                connection.close()

    def break_off(self) -> None:
        self._reading.cancel()
        for connection in (self.stream, self._messages):
            if connection is not None:
                connection.break_off()


Session = Modern | Handshake | SSE
KINDS: dict[str, type[Modern] | type[Handshake] | type[SSE]] = {"sse": SSE, "modern": Modern, "handshake": Handshake}
