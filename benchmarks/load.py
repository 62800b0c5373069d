"""A load generator: raw HTTP/1.1 POSTs of modern tools/call to /mcp, so that the client costs as little as may be."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.raw_sessions import SSE

_VERSION = "2026-07-28"


@dataclass
class Result:
    """What one run saw; times in seconds."""

    calls: int
    seconds: float
    errors: int
    latencies: list[float] = field(repr=False)

    @property
    def rate(self) -> float:
        return self.calls / self.seconds

    @property
    def median(self) -> float:
        return median(self.latencies)


def request(port: int, token: str, tool: str, arguments: dict[str, Any]) -> bytes:
    """Return one whole HTTP request."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": _VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    }
    params = {"name": tool, "arguments": arguments, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {_VERSION}\r\nMcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


async def run(
    port: int, token: str, tool: str, arguments: Callable[[int], dict[str, Any]], *, concurrency: int, calls: int
) -> Result:
    """Make so many calls over so many connections; `arguments` is told each call's number."""
    numbers = iter(range(calls))
    latencies: list[float] = []
    errors = 0

    async def one() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            writer.write(request(port, token, tool, arguments(number)))
            started = time.perf_counter()
            body = await _answer(reader)
            latencies.append(time.perf_counter() - started)
            errors += b'"isError":true' in body or b'"result"' not in body
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(concurrency)))
    return Result(calls, time.perf_counter() - started, errors, latencies)


async def run_sse(
    port: int, token: str, tool: str, arguments: Callable[[int], dict[str, Any]], *, concurrency: int, calls: int
) -> Result:
    """As `run`, over so many SSE sessions."""
    numbers = iter(range(calls))
    latencies: list[float] = []
    errors = 0
    sessions = await asyncio.gather(*(SSE.open(port, token) for _ in range(concurrency)))

    async def one(session: SSE) -> None:
        nonlocal errors
        for number in numbers:
            started = time.perf_counter()
            answer = await session.call(tool, **arguments(number))
            latencies.append(time.perf_counter() - started)
            errors += not answer.ok

    started = time.perf_counter()
    await asyncio.gather(*(one(session) for session in sessions))
    seconds = time.perf_counter() - started
    for session in sessions:
        session.close()
    return Result(calls, seconds, errors, latencies)
