"""Words that others wrote, quoted so that nobody takes them for ours: visible, in ASCII, and of bounded length.

Names, descriptions and keys in AWS were chosen by whoever may write there. In a question to a person they could end the
quotation with a look-alike quote, turn the text round, or push what matters out of sight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

MOST_QUOTED = 64
_NAMED = 5


def quoted(text: object) -> str:
    """Return a text in quotes, escaped, cut to MOST_QUOTED characters with its own length said then."""
    whole = str(text)
    units, size = list[str](), 0
    for unit in map(_in_quotes, whole[: MOST_QUOTED + 1]):
        if (size := size + len(unit)) > MOST_QUOTED:
            return f'"{"".join(units)}" ({len(whole)} characters)'
        units.append(unit)
    return f'"{"".join(units)}"'


def listed(texts: Iterable[object], none: str = "none") -> str:
    """Return the first few of some texts, each quoted, and how many more there are."""
    all_of_them = list(texts)
    named = ", ".join(map(quoted, all_of_them[:_NAMED])) or none
    more = len(all_of_them) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def escaped(text: str, most: int) -> str:
    """Return a text as visible ASCII, reversibly; where it is longer than `most` as JSON, without its middle."""
    units = [_visible(character) for character in text]
    sizes = [_size(unit) for unit in units]
    if sum(sizes) <= most:
        return "".join(units)
    note = f" ({len(text)} characters)"
    half = (most - len(note) - len(" ... ")) // 2
    return f"{_first(units, sizes, half)} ... {_first(units[::-1], sizes[::-1], half, backwards=True)}{note}"


def cut(text: str, most: int) -> str:
    """Return our own words, with quotations in them, as visible ASCII of at most `most` characters as JSON.

    Where they are longer, their end goes, and no quotation is left open.
    """
    plain = "".join(character if _is_plain(character) else _visible(character) for character in text)
    if _size(plain) <= most:
        return plain
    note = f" ... ({len(text)} characters)"
    kept = plain[: max(most - len(note), 0)]
    while kept and _size(kept) > most - len(note):
        kept = kept[:-1]
    open_quotation = re.fullmatch(r'((?:[^"\\]|\\.|"(?:[^"\\]|\\.)*")*)(?:"(?:[^"\\]|\\.)*)?\\?', kept)
    return (open_quotation[1] if open_quotation else "") + note


def _size(text: str) -> int:
    return len(json.dumps(text)) - 2


def _first(units: list[str], sizes: list[int], most: int, *, backwards: bool = False) -> str:
    kept, size = list[str](), 0
    for unit, length in zip(units, sizes, strict=True):
        if (size := size + length) > most:
            break
        kept.append(unit)
    return "".join(kept[::-1] if backwards else kept)


def _is_plain(character: str) -> bool:
    return " " <= character <= "~"


def _visible(character: str) -> str:
    if character == "\\" or not _is_plain(character):
        return character.encode("unicode_escape").decode()
    return character


def _in_quotes(character: str) -> str:
    return '\\"' if character == '"' else _visible(character)
