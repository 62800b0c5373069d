"""The audit trail: one JSON line per call, written before its answer leaves. No submitted value stands in it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from errors import AuditUnavailable, ConfigurationError

Fingerprint = Callable[[str], dict[str, Any]]
_LINE_BREAKS = str.maketrans({"\u2028": "\\u2028", "\u2029": "\\u2029", "\u0085": "\\u0085"})


class AuditTrail:
    """Appends lines to a file, or to an open descriptor for `stdout`.

    Each line goes out in one write. A file that was renamed away is opened anew under its name before the next line,
    so that rotation by an outside tool loses none. After a time in which none could be written, the first says how
    many were lost.
    """

    def __init__(self, destination: str, hmac_key: str | None, *, stdout: int = 1) -> None:
        self._path = None if destination == "stdout" else destination
        self._fd = stdout if self._path is None else -1
        self._opened: tuple[int, int] | None = None
        self._hmac = hmac.new((hmac_key or secrets.token_hex(32)).encode(), digestmod=hashlib.sha256)
        self._lock = threading.Lock()
        self._torn = False
        self._down, self._lost = False, 0
        self._announced: set[str] = set()

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
        """Append one line.

        Raises:
            AuditUnavailable: it could not be written whole.
        """
        with self._lock:
            try:
                self._reopen_if_moved()
                self._resume()
                self._write_whole(_line(record))
            except OSError:
                self._down, self._lost = True, self._lost + 1
                raise _unavailable() from None
            self._remember(record)

    async def append(self, record: Mapping[str, Any]) -> None:
        """Append a call's line.

        Raises:
            AuditUnavailable: it could not be written whole.
        """
        self.write(record)

    def awaits_outcome(self, request_id: str) -> bool:
        """Tell whether the trail has a request's intent or reveal line, and not its outcome yet."""
        return request_id in self._announced

    def _remember(self, record: Mapping[str, Any]) -> None:
        if record.get("outcome") == "intent" or record["event"] == "audit_reveal":
            self._announced.add(record["request_id"])
        elif record["event"] == "audit":
            self._announced.discard(record.get("request_id", ""))

    async def require(self) -> None:
        """Refuse what must not happen unrecorded.

        Raises:
            AuditUnavailable: the trail cannot be written now.
        """
        if not self.check():
            raise _unavailable()

    def check(self) -> bool:
        """Tell whether the trail can be written: tries it where the last line failed, or the file has moved."""
        with self._lock:
            try:
                if self._reopen_if_moved():
                    self._write_whole(_line({"event": "audit_continued"}))
                self._resume()
            except OSError:
                self._down = True
                return False
        return True

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

    def _resume(self) -> None:
        if self._down:
            self._write_whole(_line({"event": "audit_resumed", "lost": self._lost}))
            self._down, self._lost = False, 0

    def _write_whole(self, line: bytes) -> None:
        if self._torn:  # a line was cut by a full disk; what follows it starts on a line of its own
            line = b"\n" + line
        written = os.write(self._fd, line)
        while 0 < written < len(line):
            self._torn = True
            line = line[written:]
            written = os.write(self._fd, line)
        self._torn = False

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
            self._fd = -1
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        here = os.fstat(self._fd)
        self._opened = (here.st_dev, here.st_ino)
        self._torn = stat.S_ISREG(here.st_mode) and _ends_torn(self._path, here.st_size)
        return True


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


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps({"ts": _now(), **record}, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.translate(_LINE_BREAKS).encode("utf-8", "backslashreplace") + b"\n"


def _unavailable() -> AuditUnavailable:
    return AuditUnavailable(
        "The audit trail cannot be written, so changes and reveals are refused.",
        next_step="Tell the server's operator; /readyz shows when it is back.",
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
