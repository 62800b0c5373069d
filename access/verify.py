"""Which lines of an audit trail a value touched: the other end of the trail's fingerprints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from access.audit import AuditTrail


def lines_that_touched(value: str, key: str, lines: Iterable[str]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield each audit record in which an argument had this value, with the arguments' names."""
    sought = AuditTrail("stdout", key).fingerprint(value)
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # a torn line, or a log line of another kind between them
            continue
        if not isinstance(record, dict) or record.get("event") != "audit":
            continue
        arguments = record.get("arguments") or {}
        if names := [name for name, fingerprint in arguments.items() if fingerprint == sought]:
            yield record, names
