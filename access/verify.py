"""Which lines of an audit trail a value touched: the other end of the trail's fingerprints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from access.audit import AuditTrail


def lines_that_touched(value: str, key: str, lines: Iterable[str]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield each audit record in which an argument, or a part of one, had this value, with the arguments' names.

    A line's end after the value, as `echo` puts it there, may be the value's own or not: both are sought.
    """
    trail = AuditTrail("stdout", key)
    spellings = (value, value.removesuffix("\n"))
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # a torn line, or a log line of another kind between them
            continue
        if not isinstance(record, dict) or record.get("event") != "audit":
            continue
        fingerprint, arguments = trail.fingerprint_for(str(record.get("request_id"))), record.get("arguments") or {}
        sought = [fingerprint(spelling) for spelling in spellings]
        names = [name for name, said in arguments.items() if _holds(said, sought)]
        if any(one["hmac"] in str(record.get("resource")) for one in sought):  # a long name, which is cut there
            names.append("resource")
        if names:
            yield record, names


def _holds(said: Any, sought: list[dict[str, Any]]) -> bool:
    """Tell whether what the trail says of an argument has a sought fingerprint in it, however deep."""
    if said in sought:
        return True
    parts = said.values() if isinstance(said, dict) else said if isinstance(said, list) else ()
    return any(_holds(part, sought) for part in parts)
