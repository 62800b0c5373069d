"""How much a call may bring along: measured before anything else looks at its arguments, in bounded time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from errors import InvalidParameter

MOST_PARTS = 20_000
_SMALL_BYTES = 4 * 1024


def size_of(arguments: Mapping[str, Any], most_bytes: int) -> int:
    """Return how many bytes the arguments have as JSON in UTF-8, at least; counting ends where it is too many.

    A text is counted by its characters' bytes, without the escapes that the client chose.

    Raises:
        InvalidParameter: they have more than `most_bytes`, or more than MOST_PARTS values, keys included.
    """
    size, parts, rest = 0, 0, [arguments]
    while rest:
        value: Any = rest.pop()
        parts += 1
        if isinstance(value, str):
            size += _length(value, most_bytes) + 2
        elif isinstance(value, Mapping):
            parts += len(value)
            size += 4 * len(value) + 2
            if parts + len(rest) <= MOST_PARTS:
                size += sum(_length(key, most_bytes) for key in value)
                rest.extend(value.values())
        elif isinstance(value, (list, tuple)):
            size += len(value) + 2
            if parts + len(rest) + len(value) > MOST_PARTS:
                parts += len(value)
            else:
                rest.extend(value)
        else:
            size += value.bit_length() // 3 + 1 if isinstance(value, int) else 8
        if size > most_bytes or parts + len(rest) > MOST_PARTS:
            raise _too_much(most_bytes)
    return size


def is_small(size: int) -> bool:
    """Tell whether arguments of this size cost the event loop next to nothing to look at."""
    return size <= _SMALL_BYTES


def _length(text: str, most: int) -> int:
    return len(text) if len(text) > most or text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _too_much(most_bytes: int) -> InvalidParameter:
    return InvalidParameter(
        f"The arguments are more than this tool takes: {most_bytes // 1024} KB as JSON, {MOST_PARTS} values.",
        next_step="Send less at a time.",
    )
