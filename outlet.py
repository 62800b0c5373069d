"""Lines to a descriptor, without ever waiting for its reader. What to do where it stalls is the caller's business."""

from __future__ import annotations

import os
import select
import socket
import stat
import threading
from collections.abc import Callable
from functools import cache

Send = Callable[[bytes], int]


class Outlet:
    """A descriptor that any thread writes whole lines to.

    A pipe, a terminal or a socket has room as long as somebody reads it. A line for which there is none is refused; one
    of which a part is gone already is held, and its rest goes before anything else, so that no line is cut by another.

    Args:
        fd: An open descriptor; it may be shared with other processes, and its flags stay as they are.
        torn: Whether what it leads to ends within a line, as a crash leaves a file.
    """

    def __init__(self, fd: int, *, torn: bool = False) -> None:
        self._fd, self._torn, self._rest = fd, torn, b""
        self._send: Send | None = None
        self._lock = threading.Lock()

    def write(self, line: bytes) -> bool:
        """Write a line that ends in a line's end; tell whether it is out whole, or its rest is held.

        Raises:
            BlockingIOError: there is no room now; nothing of the line is out.
            OSError: it could not be written. If a part of it was, the next line begins a new one.
        """
        with self._lock:
            self._send_rest()
            if self._rest:
                raise BlockingIOError
            self._rest = begun = b"\n" + line if self._torn else line
            self._send_rest()
            if self._rest == begun:
                self._rest = b""
                raise BlockingIOError
            return not self._rest

    def has_room(self) -> bool:
        """Tell whether the next line finds room, as far as can be told. Where the reader has left, writing tells.

        Raises:
            OSError: the rest of a line could not be written.
        """
        with self._lock:
            self._send_rest()
            return not self._rest and _is_ready(self._fd)

    def _send_rest(self) -> None:
        """Send as much of what is held as there is room for."""
        while self._rest:
            try:
                sent = self._write_some(self._rest)
            except BlockingIOError:
                return
            except OSError:
                self._rest = b""
                raise
            if sent == 0:
                return
            self._rest = self._rest[sent:]
            self._torn = bool(self._rest)

    def _write_some(self, data: bytes) -> int:
        if self._send is None:  # not before there is something to write: until then stdout may be closed, or another
            self._send = _sender(self._fd)
        return self._send(data)


@cache
def standard(fd: int) -> Outlet:
    """Return the process's one outlet for stdout (1) or stderr (2), so that what is written there stays in order."""
    return Outlet(fd)


def _is_ready(fd: int) -> bool:
    """Tell whether something can be written; of a file that is always true."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _sender(fd: int) -> Send:
    """Return what writes to a descriptor without waiting.

    Whether a write waits is a property of the open file, which a shell or a parent shares with us. So where it can be
    done the file is opened once more, for this alone.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or not os.get_blocking(fd):
        return lambda data: os.write(fd, data)
    if stat.S_ISSOCK(mode):
        peer = socket.socket(fileno=os.dup(fd))
        return lambda data: peer.send(data, socket.MSG_DONTWAIT)
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's pipe, as containers have it; no reader; or no /proc
        return lambda data: _send_where_ready(fd, data)
    return lambda data: os.write(own, data)


def _send_where_ready(fd: int, data: bytes) -> int:
    """Write as much as a pipe that is ready takes for certain."""
    if not _is_ready(fd):
        raise BlockingIOError
    return os.write(fd, data[: select.PIPE_BUF])
