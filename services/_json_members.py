"""Editing a JSON object's members in its text: what is not touched keeps its bytes, formatting included."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from errors import InvalidParameter

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Member:
    """One top-level member: its key, its value's text, and where both stand."""

    key: str
    key_start: int
    key_end: int
    value_start: int
    value_end: int


def members(text: str) -> list[Member]:
    """Return a JSON object's top-level members in their order.

    Raises:
        InvalidParameter: the text is no JSON object, or a key stands in it twice.
    """
    try:
        if not isinstance(json.loads(text), dict):
            raise ValueError
    except ValueError:
        raise InvalidParameter("The secret's value is not a JSON object.") from None
    found: list[Member] = []
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        key, key_end = _DECODER.raw_decode(text, at)
        value_start = _skip(text, _skip(text, key_end) + 1)
        _, value_end = _DECODER.raw_decode(text, value_start)
        found.append(Member(key, at, key_end, value_start, value_end))
        at = _skip(text, value_end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    if len({member.key for member in found}) < len(found):
        raise InvalidParameter("The secret's JSON has one key twice, so it is not clear which is meant.")
    return found


def value_of(text: str, key: str) -> str:
    """Return one member's value: a string's content, anything else as JSON text.

    Raises:
        InvalidParameter: no JSON object, or no such key.
    """
    for member in members(text):
        if member.key == key:
            raw = text[member.value_start : member.value_end]
            return str(json.loads(raw)) if raw.startswith('"') else raw
    raise InvalidParameter("The secret's JSON has no such key.")


def edit(text: str, *, put: Mapping[str, Any], rename: Mapping[str, str], remove: Collection[str]) -> str:
    """Return the text with members set, renamed and removed; new ones come last, set apart as the others are.

    Raises:
        InvalidParameter: no JSON object; a key to rename or remove is missing; a new name is taken.
    """
    present = members(text)
    keys = [member.key for member in present]
    if missing := (set(rename) | set(remove)) - set(keys):
        raise InvalidParameter(f"The secret's JSON lacks {len(missing)} of the keys to rename or remove.")
    names = [rename.get(key, key) for key in keys if key not in remove]
    names += [key for key in put if key not in keys or key in remove]
    if len(set(names)) < len(names):
        raise InvalidParameter("A key would stand in the secret's JSON twice.")
    kept = [
        (_before(text, present, i), _written(text, m, put, rename))
        for i, m in enumerate(present)
        if m.key not in remove
    ]
    kept += [
        (_separator(text, present), _new(text, present, key, put[key]))
        for key in put
        if key not in keys or key in remove
    ]
    head, tail = _ends(text, present)
    body = "".join((separator if number else "") + member for number, (separator, member) in enumerate(kept))
    return head + body + tail


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _ends(text: str, present: list[Member]) -> tuple[str, str]:
    if not present:
        return text[: text.index("{") + 1], text[text.rindex("}") :]
    return text[: present[0].key_start], text[present[-1].value_end :]


def _before(text: str, present: list[Member], number: int) -> str:
    return text[present[number - 1].value_end : present[number].key_start] if number else _separator(text, present)


def _separator(text: str, present: list[Member]) -> str:
    if len(present) > 1:
        return text[present[-2].value_end : present[-1].key_start]
    return "," + (text[text.index("{") + 1 : present[0].key_start] if present else "")


def _written(text: str, member: Member, put: Mapping[str, Any], rename: Mapping[str, str]) -> str:
    key = _dump(rename[member.key]) if member.key in rename else text[member.key_start : member.key_end]
    value = _dump(put[member.key]) if member.key in put else text[member.value_start : member.value_end]
    return key + text[member.key_end : member.value_start] + value


def _new(text: str, present: list[Member], key: str, value: Any) -> str:
    colon = text[present[-1].key_end : present[-1].value_start] if present else ":"
    return _dump(key) + colon + _dump(value)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
