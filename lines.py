"""One line of JSON, of at most 8 KB, in which all can be seen: what the audit trail and the logs are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

# Collectors skip or cut what is longer; the line's end counts.
MOST_BYTES = 8_192
# Printable by Unicode's word, and yet not seen: fillers, variation selectors, inherent vowels, a blank of Braille.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
_MARK_BYTES = 128

Fingerprint = Callable[[str], dict[str, Any]]


def line(record: Mapping[str, Any], fingerprint: Fingerprint | None = None, whole: Collection[str] = ()) -> bytes:
    """Return a record as one line, which every reader takes for one.

    Where it would be too long, its longest members are cut: what is left out is counted, and has its fingerprint.

    Args:
        record: What JSON has no form of stands as text.
        fingerprint: Of what is left out.
        whole: Members that are not cut; they must leave the others room.
    """
    data = encode(record)
    if len(data) < MOST_BYTES:
        return data + b"\n"
    kept = {name: record[name] for name in whole if name in record}
    others = {name: value for name, value in record.items() if name not in kept}
    shorter = _shortened(others, MOST_BYTES - len(encode(kept)) - 1, fingerprint)
    data = encode({name: kept[name] if name in kept else shorter[name] for name in record})
    if len(data) >= MOST_BYTES:  # so many members that not even their names fit
        data = encode(left_out(len(record), data.decode(), fingerprint))
    return data + b"\n"


def encode(value: Any) -> bytes:
    """Return JSON in UTF-8, with an escape for each character that is not printable or cannot be seen."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return seen(text).encode()


def seen(text: str) -> str:
    """Return text with JSON's escapes for all that is not printable or cannot be seen; letters of any tongue stay."""
    if text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None):
        return text
    return "".join(char if char.isprintable() and not _UNSEEN.match(char) else json.dumps(char)[1:-1] for char in text)


def fair_share(sizes: Iterable[int], room: int) -> int:
    """Return the most that each may have, so that together they have no more than the room; small ones stay whole."""
    sizes = sorted(sizes)
    for number, size in enumerate(sizes):
        if size * (len(sizes) - number) > room:
            return max(room, 0) // (len(sizes) - number)
        room -= size
    return sizes[-1] if sizes else 0


def cut(text: str, room: int, fingerprint: Fingerprint | None = None, *, always: bool = False) -> str:
    """Return a text whole where its JSON has `room` bytes; else, or `always`, its beginning, length and fingerprint."""
    if not always and len(text) <= room and len(encode(text)) - 2 <= room:
        return text
    said = f"{len(text)} characters" + (f", hmac {fingerprint(text)['hmac']}" if fingerprint else "")
    return f"{_beginning(text, room - len(said) - 5)}...[{said}]"


def left_out(count: int, whole: str, fingerprint: Fingerprint | None = None) -> dict[str, Any]:
    """Return what stands for parts that are left out: their number, and the fingerprint of the whole."""
    return {"left_out": count, **(fingerprint(whole) if fingerprint else {})}


def _beginning(text: str, room: int) -> str:
    """Return as much of a text as has `room` bytes in JSON."""
    text = text[: max(room, 0)]
    for count, char in enumerate(text):
        room -= len(encode(char)) - 2
        if room < 0:
            return text[:count]
    return text


def _shortened(record: Mapping[str, Any], room: int, fingerprint: Fingerprint | None) -> dict[str, Any]:
    sizes = {name: len(encode({name: value})) - 1 for name, value in record.items()}
    most = fair_share(sizes.values(), room - 2)
    return {
        name: value if sizes[name] <= most else _cut_value(value, most - len(encode(name)) - 2, fingerprint)
        for name, value in record.items()
    }


def _cut_value(value: Any, room: int, fingerprint: Fingerprint | None) -> Any:
    if isinstance(value, Mapping) and len(value) * _MARK_BYTES <= room:
        return _shortened(value, room, fingerprint)
    if isinstance(value, Mapping):
        return left_out(len(value), encode(value).decode(), fingerprint)
    if isinstance(value, (list, tuple)):
        return _cut_list(value, room, fingerprint)
    return cut(str(value), room - 2, fingerprint)


def _cut_list(items: Sequence[Any], room: int, fingerprint: Fingerprint | None) -> list[Any]:
    """Keep a list's beginning. What it says at its end to be left out already is counted in."""
    *parts, last = items
    if not isinstance(last, Mapping) or "left_out" not in last:
        parts, last = list(items), left_out(0, encode(items).decode(), fingerprint)
    kept, room = list[Any](), room - _MARK_BYTES - 2
    for part in parts:
        room -= len(encode(part)) + 1
        if room < 0:
            break
        kept.append(part)
    return [*kept, {**last, "left_out": last["left_out"] + len(parts) - len(kept)}]
