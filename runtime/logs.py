"""One JSON line per log record, whoever wrote it; nothing that was submitted or fetched stands in any."""

from __future__ import annotations

import json
import logging
import logging.config
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

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
        return json.dumps(self.fields(record), default=str)


class TextLines(_Lines):
    """Formats a record as one line for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        head = " ".join(str(fields.pop(key)) for key in ("ts", "level", "logger", "message"))
        return " ".join([head, *(f"{key}={json.dumps(value, default=str)}" for key, value in fields.items())])


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
                    "class": "logging.StreamHandler",
                    "formatter": "lines",
                    "stream": f"ext://sys.{stream}",
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
