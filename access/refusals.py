"""Refusals in the audit trail: a line each up to a rate, then one summary per source and minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from access.audit import AuditTrail
from errors import AuditUnavailable

log = logging.getLogger("aws_ops.audit")
_WINDOW_SECONDS = 60.0
# A minute. Whoever comes after so many shares one source, so that ever new addresses or subjects are no way round.
_MOST_SOURCES = 1_000
_OTHERS = "others"

_UNAUTHENTICATED: dict[str, Any] = {
    **dict.fromkeys(
        ("request_id", "caller", "tool", "class", "account", "account_id", "identity", "region", "resource")
    ),
    "event": "audit", "decision": "deny", "outcome": "refused", "error_code": None,
    "arguments": {}, "aws_request_ids": [], "attempts": 0, "duration_ms": 0.0,
}  # fmt: skip


def _transport(path: str) -> str:
    return "streamable-http" if path.startswith("/mcp") else "sse"


class RefusalLog:
    """Keeps a flood of refusals from flooding the trail. Sources are callers, or addresses before they are known."""

    def __init__(self, audit: AuditTrail, lines_per_minute: int) -> None:
        self._audit, self._most = audit, lines_per_minute
        self._counts: dict[str, int] = {}
        self._about: dict[str, dict[str, Any]] = {}

    def excessive(self, source: str) -> bool:
        """Tell whether a source has used up its lines of this minute."""
        return self._counts.get(self._counted_as(source), 0) > self._most

    def write_unauthenticated(self, address: str, path: str, status: int) -> bool:
        """Note a request that was refused before its caller was known; tell whether its address has had too many."""
        source = f"address {address}" if status != 404 else f"sessions from {address}"
        record = {**_UNAUTHENTICATED, "address": address, "transport": _transport(path), "rule": f"http:{status}"}
        try:
            self.write(source, record)
        except AuditUnavailable:
            log.error("an audit line was lost", extra={"address": address})
        return self.excessive(source)

    def write(self, source: str, record: Mapping[str, Any]) -> None:
        """Note one refusal of a source: by a line of its own, or in the summary at the minute's end."""
        source = self._counted_as(source)
        if source not in self._counts:
            self._counts[source] = 0
            kept = {} if source == _OTHERS else {key: record[key] for key in ("caller", "address") if key in record}
            self._about[source] = {"source": source, **kept}
            asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._summarise, source)
        self._counts[source] += 1
        if not self.excessive(source):
            self._audit.write(record)

    def flush(self) -> None:
        """Write the summaries of the minute at hand; for the end of the process."""
        for source in list(self._counts):
            self._summarise(source)

    def _counted_as(self, source: str) -> str:
        return source if source in self._counts or len(self._counts) < _MOST_SOURCES else _OTHERS

    def _summarise(self, source: str) -> None:
        left_out, about = self._counts.pop(source, 0) - self._most, self._about.pop(source, {})
        if left_out <= 0:
            return
        try:
            self._audit.write({"event": "audit_summary", **about, "decision": "deny", "refused": left_out})
        except AuditUnavailable:
            log.error("an audit summary was lost", extra={"refused": left_out})
