"""One JSON line per log record, whoever wrote it; nothing that was submitted or fetched stands in any.

Nobody waits for whoever reads them: what finds no room is dropped, and counted.
"""

from __future__ import annotations

import io
import logging
import logging.config
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

import lines
from outlet import Outlet, standard

_FRAMES = 12
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
# These print arguments, bodies, secrets or STS keys below WARNING, and the last two even above it.
_PINNED = {
    "botocore": "WARNING", "boto3": "WARNING", "urllib3": "WARNING", "fastmcp": "WARNING", "mcp": "WARNING",
    "asyncio": "WARNING", "sse_starlette": "WARNING", "httpcore2": "WARNING", "httpx2": "WARNING",
    "mcp.server.sse": "CRITICAL", "mcp.server.streamable_http": "CRITICAL", "botocore.credentials": "CRITICAL",
    "fastmcp.server.server": "CRITICAL",
}  # fmt: skip

_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")


class _Lines(logging.Formatter):
    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {
            "ts": when.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {
            key: value for key, value in vars(record).items() if key not in _STANDARD and not key.startswith("_")
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields["exception"] = _where(record.exc_info[1], record.exc_info[2])
        return fields


class JsonLines(_Lines):
    """Formats a record as one JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        return lines.line(self.fields(record)).decode().rstrip("\n")


class TextLines(_Lines):
    """Formats a record as one line for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        head = " ".join(lines.seen(str(fields.pop(key))) for key in ("ts", "level", "logger", "message"))
        text = " ".join([head, *(f"{key}={lines.encode(value).decode()}" for key, value in fields.items())])
        return lines.cut(text, lines.MOST_BYTES - 1)


class OutletHandler(logging.Handler):
    """Writes records to stdout (1) or stderr (2). The first after some that found no room says how many those were."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._outlet, self._lost = standard(fd), 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._lost:
                told = {"levelno": 30, "levelname": "WARNING", "name": __name__, "msg": "log lines were lost"}
                self._write(logging.makeLogRecord({**told, "lost": self._lost}))
                self._lost = 0
            self._write(record)
        except Exception:  # no room, no reader, or a message that does not fit its arguments
            self._lost += 1

    def _write(self, record: logging.LogRecord) -> None:
        self._outlet.write(self.format(record).encode("utf-8", "backslashreplace") + b"\n")


class _Stream(io.TextIOBase):
    """What stands in for sys.stdout or sys.stderr: prints and tracebacks that nobody reads hold up nobody."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, fd: int, outlet: Outlet) -> None:
        self._fd, self._outlet = fd, outlet

    def write(self, text: str) -> int:
        try:
            self._outlet.write(text.encode("utf-8", "backslashreplace"))
        except OSError:
            pass  # there is nobody to be told
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd


def _where(error: BaseException, trace: TracebackType | None) -> list[str]:
    """The exception's type and frames. Its text is left out: it may quote what was submitted."""
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    places = [f"{frame.name} ({frame.filename.rsplit('/', 2)[-1]}:{frame.lineno})" for frame in frames]
    return [type(error).__name__, *places]


def configure(level: str, style: Literal["json", "text"], stream: Literal["stdout", "stderr"]) -> None:
    """Send every logger to one stream. Call it after fastmcp was imported, which installs handlers of its own."""
    logging.captureWarnings(True)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"lines": {"()": JsonLines if style == "json" else TextLines}},
            "handlers": {
                "out": {
                    "()": OutletHandler,
                    "formatter": "lines",
                    "fd": 1 if stream == "stdout" else 2,
                    "level": level,  # here too: fastmcp emits records past its loggers' levels
                }
            },
            "root": {"level": level, "handlers": ["out"]},
            "loggers": {
                **{name: {"handlers": [], "propagate": True, "level": pinned} for name, pinned in _PINNED.items()},
                **{name: {"handlers": [], "propagate": True} for name in _UVICORN},
            },
        }
    )  # fmt: skip


def release_streams(stream: Literal["stdout", "stderr"]) -> None:
    """Let no print or traceback wait for a reader. Under stdio, where logs go to stderr, stdout is the protocol's."""
    sys.stderr = _Stream(2, standard(2))
    if stream == "stdout":
        if sys.stdout is not None:  # it was closed before the start
            sys.stdout.flush()
        sys.stdout = _Stream(1, standard(1))
