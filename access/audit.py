"""The audit trail: one JSON line per call, written before its answer leaves. No submitted value stands in it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import anyio

import lines
from errors import AuditUnavailable, ConfigurationError
from lines import Fingerprint
from outlet import Outlet, standard

# A reader that is briefly behind holds up a call's line, and nobody else, for so long; then the trail counts as down.
_PATIENCE_SECONDS, _LOOK_SECONDS = 0.5, 0.01
_WHOLE = ("resource",)  # was made to fit where it was named


class _Written(Enum):
    WHOLE, BEGUN, NOT = range(3)


class AuditTrail:
    """Appends lines to a file, or to an open descriptor for `stdout`; never waits for a reader on the event loop.

    Each line goes out in one write. A file that was renamed away is opened anew under its name before the next line,
    so that rotation by an outside tool loses none. After a time in which none could be written, the first says how
    many were lost; the outcome of a call whose intent or reveal line is there is kept, and written then.
    """

    def __init__(self, destination: str, hmac_key: str | None, *, stdout: int = 1) -> None:
        self._path = None if destination == "stdout" else destination
        self._outlet: Outlet | None = None
        if self._path is None:
            self._outlet = standard(stdout) if stdout in (1, 2) else Outlet(stdout)
        self._fd = -1
        self._opened: tuple[int, int] | None = None
        self._hmac = hmac.new((hmac_key or secrets.token_hex(32)).encode(), digestmod=hashlib.sha256)
        self._lock = threading.Lock()
        self._down_since: str | None = None
        self._lost = 0
        self._announced: set[str] = set()
        self._owed: dict[str, bytes] = {}

    def open(self) -> None:
        """Write the first line.

        Raises:
            ConfigurationError: the destination cannot be written.
        """
        try:
            self.write({"event": "audit_started"})
        except AuditUnavailable:
            raise ConfigurationError("AUDIT_LOG: cannot be written") from None

    def rehearse(self) -> None:
        """See whether the destination could be written, and leave nothing behind.

        Raises:
            ConfigurationError: it could not.
        """
        if self._path is None:
            return
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK))
        except FileNotFoundError:
            if not os.access(os.path.dirname(self._path) or ".", os.W_OK | os.X_OK):
                raise ConfigurationError("AUDIT_LOG: cannot be written") from None
        except OSError:
            raise ConfigurationError("AUDIT_LOG: cannot be written") from None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line, now or not at all.

        Raises:
            AuditUnavailable: it could not be written whole.
        """
        line = self._line(record)
        if (written := self._try(record, line)) is not _Written.WHOLE:
            raise self._lose(record, line, begun=written is _Written.BEGUN, keep=True)

    async def append(self, record: Mapping[str, Any], *, required: bool = True) -> None:
        """Append a call's line; where the reader is but a little behind, wait for it.

        Args:
            record: What it says.
            required: Whether something happens only with the line. An outcome that comes to pass without it is kept.

        Raises:
            AuditUnavailable: it could not be written whole.
        """
        line = self._line(record)
        if (written := self._try(record, line)) is _Written.WHOLE:
            return
        end = time.monotonic() + _PATIENCE_SECONDS
        with anyio.CancelScope(shield=True):  # a client that leaves takes no line with it
            while self._down_since is None and time.monotonic() < end:
                await anyio.sleep(_LOOK_SECONDS)
                written = self._try(record, line, begun=written is _Written.BEGUN)
                if written is _Written.WHOLE:
                    return
        raise self._lose(record, line, begun=written is _Written.BEGUN, keep=not required)

    def awaits_outcome(self, request_id: str) -> bool:
        """Tell whether the trail has a request's intent or reveal line, and not its outcome yet."""
        return request_id in self._announced

    async def require(self) -> None:
        """Refuse what must not happen unrecorded.

        Raises:
            AuditUnavailable: the trail cannot be written now.
        """
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self.check():
            if self._down_since is not None or time.monotonic() > end:
                raise _unavailable()
            await anyio.sleep(_LOOK_SECONDS)

    def check(self) -> bool:
        """Tell whether the trail can be written: tries it where the last line failed, or the file has moved."""
        with self._lock:
            try:
                if self._reopen_if_moved():
                    self._put(self._line({"event": "audit_continued"}))
                self._resume()
                return self._outlet is not None and self._outlet.has_room()
            except BlockingIOError:
                return False
            except OSError:
                self._fell()
                return False

    def fingerprint_for(self, request_id: str) -> Fingerprint:
        """Return what makes of a submitted text all that the lines of a request say of it: length and keyed HMAC.

        The HMAC is over the request's id and the text: another request's lines bear others, so that nobody who has
        guesses fingerprinted on lines of their own finds them on anybody else's.
        """
        keyed = self._hmac.copy()  # hmac.digest() gives the interpreter's lock away, which costs 0.2 ms under load
        keyed.update(request_id.encode() + b"\0")

        def fingerprint(text: str) -> dict[str, Any]:
            data, one = text.encode("utf-8", "surrogatepass"), keyed.copy()
            one.update(data)
            return {"length": len(data), "hmac": one.hexdigest()}

        return fingerprint

    def _line(self, record: Mapping[str, Any]) -> bytes:
        fingerprint = self.fingerprint_for(str(record.get("request_id")))
        return lines.line({"ts": _now(), **record}, fingerprint, _WHOLE)

    def _try(self, record: Mapping[str, Any], line: bytes, *, begun: bool = False) -> _Written:
        """Write a line, or the rest of one that was begun."""
        with self._lock:
            try:
                self._reopen_if_moved()
                if begun:
                    whole = self._outlet is not None and self._outlet.has_room()
                else:
                    self._resume()
                    whole = self._put(line)
            except BlockingIOError:
                return _Written.BEGUN if begun else _Written.NOT
            except OSError:
                self._fell()
                return _Written.NOT
        if not whole:
            return _Written.BEGUN
        if _announces(record):
            self._announced.add(record["request_id"])
        elif self._announced:
            self._announced.discard(record.get("request_id", ""))
        return _Written.WHOLE

    def _lose(self, record: Mapping[str, Any], line: bytes, *, begun: bool, keep: bool) -> AuditUnavailable:
        """Note that a line is not there, and return the failure that says so. One that was begun will be there."""
        with self._lock:
            self._fell()
            request_id = str(record.get("request_id"))
            if begun and _announces(record):
                self._announced.add(request_id)
            elif request_id in self._announced:
                if keep:  # else this did not come to pass, and the outcome that did is yet to be written
                    self._owed[request_id] = line
            elif not begun:
                self._lost += 1
        return _unavailable()

    def _fell(self) -> None:
        self._down_since = self._down_since or _now()

    def _resume(self) -> None:
        """Where the trail was down, say so, and write the outcomes that are owed."""
        if self._down_since is not None:
            if self._outlet is not None and not self._outlet.has_room():  # a corner is left, which one line would fill
                raise BlockingIOError
            self._put(self._line({"event": "audit_resumed", "since": self._down_since, "lost": self._lost}))
            self._down_since, self._lost = None, 0
        for request_id, line in list(self._owed.items()):
            self._put(line)
            del self._owed[request_id]
            self._announced.discard(request_id)

    def _put(self, line: bytes) -> bool:
        """Write a line; tell whether it is out whole.

        Raises:
            OSError: it is not out at all, or torn.
        """
        if self._outlet is None:
            raise FileNotFoundError
        return self._outlet.write(line)

    def _reopen_if_moved(self) -> bool:
        """Open the file where it is not the one that is open; tell whether that was so."""
        if self._path is None:
            return False
        if self._fd >= 0:
            try:
                there = os.stat(self._path)
                if (there.st_dev, there.st_ino) == self._opened:
                    return False
            except FileNotFoundError:
                pass
            os.close(self._fd)
            self._fd, self._outlet = -1, None
        # Not blocking: it may be a pipe by name, which would wait for a reader to open it.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(self._path, flags, 0o600)
        here = os.fstat(self._fd)
        self._opened = (here.st_dev, here.st_ino)
        torn = stat.S_ISREG(here.st_mode) and _ends_torn(self._path, here.st_size)
        self._outlet = Outlet(self._fd, torn=torn)
        return True


def _announces(record: Mapping[str, Any]) -> bool:
    """Tell whether an outcome line is to follow this one."""
    return record.get("outcome") == "intent" or record["event"] == "audit_reveal"


def _ends_torn(path: str, size: int) -> bool:
    """Tell whether a file's last line has no end, as a crash or a full disk leaves it."""
    if size == 0:
        return False
    try:
        with open(path, "rb") as file:
            file.seek(size - 1)
            return file.read(1) != b"\n"
    except OSError:  # it may be written and not read; an empty line harms nobody
        return True


def _unavailable() -> AuditUnavailable:
    return AuditUnavailable(
        "The audit trail cannot be written, so changes and reveals are refused.",
        next_step="Tell the server's operator; /readyz shows when it is back.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
