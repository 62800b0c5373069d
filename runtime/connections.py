"""What a connection may cost before it is a request: seconds, bytes, descriptors. None of it waits for a token."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger("aws_ops.connections")
LONGEST_HEAD = 16 * 1024
_MOST_LINES = 256  # of a head that did not come at once; each costs h11 some microseconds
# What is read at once. h11 takes 3 ms for a kilobyte of the shortest chunks, and others wait meanwhile.
_READ_BYTES = 4 * 1024
ACCEPTED_AT_ONCE = 32
MOST_WITHOUT_A_HEAD = 1_000
_LOG_SECONDS = 60.0


class Phase(Enum):
    """What a connection waits for."""

    HEAD = "head"
    BODY = "body"
    IDLE = "idle"  # between requests: uvicorn's keep-alive counts the seconds
    ANSWER = "answer"
    END = "end"  # the client's: it has its answer, and what it still sends is dropped
    CLOSED = "closed"


@dataclass(frozen=True)
class Patience:
    """In seconds."""

    head: float = 10.0
    body: float = 30.0
    unread: float = 30.0  # an answer of which not a byte is taken
    closing: float = 5.0

    def during(self, phase: Phase) -> float | None:
        return {Phase.HEAD: self.head, Phase.BODY: self.body, Phase.END: self.closing, Phase.CLOSED: self.closing}.get(
            phase
        )


class Crowd:
    """The connections of one server by what they wait for, each kind in the order in which it came to that.

    When descriptors run short, the oldest that have been refused or have no head yet go first, then idle ones, then
    those that owe a body.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._members: dict[Phase, dict[Connection, None]] = {
            phase: {} for phase in (Phase.END, Phase.HEAD, Phase.IDLE, Phase.BODY)
        }
        self._told_at, self._cut_off = float("-inf"), 0

    def move(self, connection: Connection, before: Phase, after: Phase) -> None:
        """Note that a connection waits for something else now."""
        self._members.get(before, {}).pop(connection, None)
        if after in self._members:
            self._members[after][connection] = None

    def welcome(self, connection: Connection, descriptor: int) -> None:
        """Make room where a new connection's descriptor, the lowest that was free, shows that few are left."""
        if descriptor >= _scarce_from() or len(self._members[Phase.HEAD]) > MOST_WITHOUT_A_HEAD:
            self._cut_off_oldest(connection)

    def accept_failed(self) -> None:
        """Make room for as many connections as are taken at once: there was no descriptor for one."""
        for _ in range(ACCEPTED_AT_ONCE):
            self._cut_off_oldest(None)
        self._tell()

    def _cut_off_oldest(self, but: Connection | None) -> None:
        for members in self._members.values():
            if (oldest := next((one for one in members if one is not but), None)) is not None:
                self._cut_off += 1
                oldest.abandon()
                self._tell()
                return

    def _tell(self) -> None:
        if time.monotonic() - self._told_at > _LOG_SECONDS:
            log.warning("descriptors or places run short: the oldest connections without a request are closed",
                        extra={"closed": self._cut_off})  # fmt: skip
            self._told_at, self._cut_off = time.monotonic(), 0


def _scarce_from() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most - min(256, most // 4) if most != resource.RLIM_INFINITY else 2**30


class OncePerMinute(logging.Filter):
    """Lets each warning through once a minute: strangers cause uvicorn's, one for each of their requests."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        now = time.monotonic()
        if now - self._told.get(record.msg, float("-inf")) < _LOG_SECONDS:
            return False
        self._told[record.msg] = now
        return True


class Connection(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's protocol on h11, with an end to its patience.

    Relies on H11Protocol's `conn`, `transport`, `headers`, `cycle`, `flow`, `data_received`, `on_response_complete`,
    `send_400_response`, `timeout_keep_alive_handler` and `shutdown`. As an asyncio.BufferedProtocol it reads little at
    a time.
    """

    def __init__(self, *arguments: Any, crowd: Crowd, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._crowd, self._phase = crowd, Phase.CLOSED
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._buffer = bytearray(_READ_BYTES)
        self._lines, self._began, self._deaf = 0, False, False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._enter(Phase.HEAD)
        self._crowd.welcome(self, transport.get_extra_info("socket").fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.move(self, self._phase, Phase.CLOSED)
        for timer in (self._timer, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if not self._deaf:
            self.data_received(bytes(memoryview(self._buffer)[:nbytes]))

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception:  # whatever h11 and uvicorn stumble over, it was no request
            self.logger.warning("A request could not be read.", exc_info=True)
            self.send_400_response("A request could not be read.")
            return
        self._look()
        if self._phase is Phase.HEAD:
            self._lines += data.count(b"\n")
            if self._lines > _MOST_LINES:
                self.send_400_response("Too many lines before a request's head ends.")

    def on_response_complete(self) -> None:
        too_early = self.conn.their_state is h11.SEND_BODY and self._is_chunked()
        super().on_response_complete()
        if too_early and not self.transport.is_closing():
            # To go on parsing the chunks of what was refused would cost more than the refusal did.
            self._hang_up()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request. Closed at once, as upstream does it, it might take the answer along."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.abandon()
                return
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-length: {len(msg)}\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-type: text/plain; charset=utf-8\r\n\r\n{msg}".encode("ascii"))
        self._hang_up()
        self._look()

    def _hang_up(self) -> None:
        self._deaf = True
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self.transport.write_eof()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._look()

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except h11.LocalProtocolError:  # it has sent nonsense, and 400 as its answer
            self.abandon()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def abandon(self) -> None:
        """Close it at once, whatever was still to be sent."""
        self._enter(Phase.CLOSED)
        self.transport.abort()

    def _look(self) -> None:
        """See what the connection waits for now."""
        self._began = self._began or self.conn.their_state is not h11.IDLE
        if self.transport.is_closing():
            phase = Phase.CLOSED
        elif self._deaf:
            phase = Phase.END
        elif self.conn.their_state is h11.SEND_BODY:
            phase = Phase.BODY
        elif self.conn.their_state is not h11.IDLE:
            phase = Phase.ANSWER
        else:
            phase = Phase.IDLE if self._began and not self.conn.trailing_data[0] else Phase.HEAD
        if phase is not self._phase:
            self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        self._crowd.move(self, self._phase, phase)
        self._phase, self._lines = phase, 0
        if self._timer is not None:
            self._timer.cancel()
        seconds = self._crowd.patience.during(phase)
        self._timer = self.loop.call_later(seconds, self.abandon) if seconds else None

    def _is_chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers)

    def _watch_reader(self, unsent: int) -> None:
        def look_again() -> None:
            left = self.transport.get_write_buffer_size()
            if left < unsent:
                self._watch_reader(left)
            else:
                self.abandon()

        self._unread = self.loop.call_later(self._crowd.patience.unread, look_again)
