"""Refusals in the audit trail: a line each up to a rate, then one summary per source and minute."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from access.audit import AuditTrail
from access.callers import Scope
from errors import AuditUnavailable

log = logging.getLogger("aws_ops.audit")
_WINDOW_SECONDS = 60.0
# A minute. An address that comes after so many is counted as its network, and whoever comes after so many networks, or
# subjects, as one source: ever new ones are no way round the rate.
_MOST_SOURCES = 1_000
_OTHERS = "others"
# What was refused here might have disclosed or destroyed, so no flood of cheaper refusals takes its lines away.
_GRAVE = (Scope.REVEAL, Scope.DESTROY)
_MOST_KINDS = 50

_UNAUTHENTICATED: dict[str, Any] = {
    **dict.fromkeys(
        ("request_id", "caller", "tool", "class", "account", "account_id", "identity", "region", "resource")
    ),
    "event": "audit", "decision": "deny", "outcome": "refused", "error_code": None,
    "arguments": {}, "aws_request_ids": [], "attempts": 0, "duration_ms": 0.0,
}  # fmt: skip


def _transport(path: str) -> str:
    return "streamable-http" if path.startswith("/mcp") else "sse"


@dataclass
class _Source:
    """What has come from one source this minute; `left_out` by tool and rule, of what has no line of its own."""

    about: Mapping[str, Any]
    count: int = 0
    left_out: Counter[tuple[str | None, str]] = field(default_factory=Counter)


class RefusalLog:
    """Keeps a flood of refusals from flooding the trail. Sources are callers, or addresses before they are known."""

    def __init__(self, audit: AuditTrail, lines_per_minute: int) -> None:
        self._audit, self._most = audit, lines_per_minute
        self._sources: dict[str, _Source] = {}

    def write_unauthenticated(self, address: str, path: str, status: int) -> bool:
        """Note a request that was refused before its caller was known; tell whether its address has had too many."""
        kind, network = "address" if status != 404 else "sessions from", _network_of(address)
        source = self._source(f"{kind} {address}", {"address": address}, network and f"{kind} {network}")
        record = {**_UNAUTHENTICATED, "address": address, "transport": _transport(path), "rule": f"http:{status}"}
        if self._counts(source, record):
            try:
                self._audit.write(record)
            except AuditUnavailable:
                log.error("an audit line was lost", extra={"address": address})
        return source.count > self._most

    def admit(self, record: Mapping[str, Any], scope: Scope) -> bool:
        """Count a refused call; tell whether it gets a line of its own, or a place in the summary at the minute's end.

        A reveal or destroy, as `scope` says, is counted among its own kind.
        A call that has an intent or reveal line always gets its own: without, nobody could tell what became of it.
        """
        if self._audit.awaits_outcome(record["request_id"]):
            return True
        name, about = f"caller {record['caller']}", {"caller": record["caller"]}
        if scope in _GRAVE:
            name, about = f"{scope} by {name}", {**about, "class": scope.value}
        return self._counts(self._source(name, about), record)

    def flush(self) -> None:
        """Write the summaries of the minute at hand; for the end of the process."""
        for name in list(self._sources):
            self._summarise(name)

    def _counts(self, source: _Source, record: Mapping[str, Any]) -> bool:
        source.count += 1
        if source.count > self._most:
            source.left_out[record["tool"], record["rule"]] += 1
        return source.count <= self._most

    def _source(self, name: str, about: Mapping[str, Any], network: str | None = None) -> _Source:
        """Return a source by its name; where there are too many, that of its network, or that of all others."""
        if name not in self._sources and len(self._sources) >= _MOST_SOURCES:
            about, room = {}, network is not None and len(self._sources) < 2 * _MOST_SOURCES
            name = network if network is not None and (room or network in self._sources) else _OTHERS
        if name not in self._sources:
            self._sources[name] = _Source({"source": name, **about})
            asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._summarise, name)
        return self._sources[name]

    def _summarise(self, name: str) -> None:
        source = self._sources.pop(name, None)
        if source is None or not source.left_out:
            return
        most, total = source.left_out.most_common(_MOST_KINDS), source.left_out.total()
        by = [{"tool": tool, "rule": rule, "refused": count} for (tool, rule), count in most]
        if (rest := total - sum(count for _, count in most)) > 0:
            by.append({"tool": _OTHERS, "rule": _OTHERS, "refused": rest})
        try:
            self._audit.write(
                {"event": "audit_summary", **source.about, "decision": "deny", "refused": total, "by": by}
            )
        except AuditUnavailable:
            log.error("an audit summary was lost", extra={"refused": total})


def _network_of(address: str) -> str | None:
    """Return the network that an address is counted as: what one party can be expected to hold."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    known = getattr(known, "ipv4_mapped", None) or known
    return str(ipaddress.ip_network((known, 24 if known.version == 4 else 64), strict=False))
