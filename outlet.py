"""Lines to a descriptor, without ever waiting for its reader. What to do where it stalls is the caller's business."""

from __future__ import annotations

import errno
import fcntl
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
    """Return the process's one outlet for stdout (1) or stderr (2), so that what is written there stays in order.

    Where both lead to one place they share one outlet, else the rest of a line of one would be cut by the other's.
    """
    if fd == 2 and _leads_to(1) == _leads_to(2) is not None:
        return standard(1)
    return Outlet(fd)


def occupy_closed() -> None:
    """Put something that cannot be written where stdin, stdout or stderr is closed.

    Else the next socket or file takes the number, and log lines go into a client's or AWS's connection.
    """
    for fd in range(3):
        if _leads_to(fd) is None:
            opened = os.open(os.devnull, os.O_RDONLY)  # takes the lowest number that is free: this one
            os.set_inheritable(opened, True)


def _leads_to(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_ready(fd: int) -> bool:
    """Tell whether something can be written; of a file that is always true."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _sender(fd: int) -> Send:
    """Return what writes to a descriptor without waiting.

    Whether a write waits is a property of the open file, which a shell or a parent shares with us, and may change at
    any time. So where it can be done the file is opened once more, for this alone.

    Raises:
        OSError: it is not open for writing. To open it once more would give a right that nobody gave.
    """
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return lambda data: os.write(fd, data)
    if stat.S_ISSOCK(mode):
        peer = socket.socket(fileno=os.dup(fd))
        return lambda data: peer.send(data, socket.MSG_DONTWAIT)
    try:
        own = os.open(_name_of(fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's pipe, as containers have it; no reader; or no /proc
        return lambda data: _send_where_ready(fd, data)
    return lambda data: os.write(own, data)


def _name_of(fd: int) -> str:
    """Return a name to open a descriptor's file by."""
    try:
        os.tcgetpgrp(fd)
    except OSError:
        return f"/proc/self/fd/{fd}"
    return "/dev/tty"  # the terminal that we run at, which may be opened after a change of user too


def _send_where_ready(fd: int, data: bytes) -> int:
    """Write as much as a pipe that is ready takes for certain."""
    if not _is_ready(fd):
        raise BlockingIOError
    part = data[: select.PIPE_BUF]
    try:
        return os.pwritev(fd, [part], -1, os.RWF_NOWAIT)  # another that writes to the pipe may have been quicker
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ESPIPE):
            raise
    return os.write(fd, part)
