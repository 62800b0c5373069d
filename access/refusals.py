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


_UNAUTHENTICATED: dict[str, Any] = dict.fromkeys(
    ("request_id", "caller", "tool", "class", "account", "account_id", "identity", "region", "resource", "error_code")
) | {"event": "audit", "decision": "deny", "outcome": "refused", "arguments": {}, "aws_request_ids": [], "attempts": 0}


def _transport(path: str) -> str:
    return "streamable-http" if path.startswith("/mcp") else "sse"


class RefusalLog:
    """Keeps a flood of refusals from flooding the trail. Sources are callers, or addresses before they are known."""

    def __init__(self, audit: AuditTrail, lines_per_minute: int) -> None:
        self._audit, self._most = audit, lines_per_minute
        self._counts: dict[str, int] = {}

    def excessive(self, source: str) -> bool:
        """Tell whether a source has used up its lines of this minute."""
        return self._counts.get(source, 0) > self._most

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
        if source not in self._counts:
            self._counts[source] = 0
            asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._summarise, source, dict(record))
        self._counts[source] += 1
        if not self.excessive(source):
            self._audit.write(record)

    def _summarise(self, source: str, first: Mapping[str, Any]) -> None:
        left_out = self._counts.pop(source) - self._most
        if left_out <= 0:
            return
        kept = {key: first[key] for key in ("caller", "address", "transport") if key in first}
        try:
            self._audit.write({"event": "audit_summary", **kept, "decision": "deny", "refused": left_out})
        except AuditUnavailable:
            log.error("an audit summary was lost", extra={"refused": left_out})
