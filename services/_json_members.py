"""Editing a JSON object's members in its text: what is not touched keeps its bytes, formatting included."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from errors import InvalidParameter

_SPACE = re.compile(r"[ \t\n\r]*")


class Number(str):
    """A number as its text: 1.10 is not 1.1 here, and no digits are lost."""


# NaN and Infinity are no JSON, but stand in secrets that others wrote: what is left alone keeps them as they are.
_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number)
_TYPES = {str: "string", Number: "number", bool: "boolean", float: "number", dict: "object", list: "array"}


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
        if not isinstance(parsed(text), dict):
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


def parsed(text: str) -> Any:
    """Return what a JSON text says, numbers as their texts.

    Raises:
        ValueError: it is not JSON, or nested too deep to be read.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def finite(text: str) -> Number:
    """Return a number as its text.

    Raises:
        ValueError: JSON has no such number (NaN), or it reads as infinite (1e999).
    """
    if not math.isfinite(float(text)):
        raise ValueError("holds a number that JSON has not")
    return Number(text)


def strictly_parsed(text: str) -> Any:
    """Return what a JSON text says, numbers as their texts: however large, a number is one of JSON's.

    Raises:
        ValueError: it is not JSON, or nested too deep, or holds what is no number of JSON's (NaN, Infinity).
    """

    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=finite)
    except RecursionError:
        raise ValueError("is nested too deep") from None


def value_of(text: str, key: str) -> tuple[str, str]:
    """Return one member's value, a string's content or anything else as JSON text; and its JSON type.

    Raises:
        InvalidParameter: no JSON object, or no such key.
    """
    for member in members(text):
        if member.key == key:
            raw = text[member.value_start : member.value_end]
            value = parsed(raw)
            return (value if type(value) is str else raw), type_of(value)
    raise InvalidParameter("The secret's JSON has no such key.")


def type_of(value: Any) -> str:
    """Return the JSON type of a parsed value."""
    return _TYPES.get(type(value), "null")


def same(one: Any, two: Any) -> bool:
    """Tell whether two parsed values are the same to the last digit; Python alone takes true for 1."""
    if type(one) is not type(two):
        return False
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def edit(text: str, *, put: Mapping[str, str], rename: Mapping[str, str], remove: Collection[str]) -> str:
    """Return the text with members set, renamed and removed; new ones come last, set apart as the others are.

    Args:
        text: A JSON object.
        put: The JSON texts of values, by key.
        rename: New keys, by key.
        remove: Keys.

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


def _written(text: str, member: Member, put: Mapping[str, str], rename: Mapping[str, str]) -> str:
    key = to_json(rename[member.key]) if member.key in rename else text[member.key_start : member.key_end]
    value = put[member.key] if member.key in put else text[member.value_start : member.value_end]
    return key + text[member.key_end : member.value_start] + value


def _new(text: str, present: list[Member], key: str, value: str) -> str:
    colon = text[present[-1].key_end : present[-1].value_start] if present else ":"
    return to_json(key) + colon + value


def to_json(value: Any) -> str:
    """Return a value's JSON text, in UTF-8's letters where they can be written so.

    Raises:
        ValueError: a number in it is one that JSON has not, or too long to be written; the message quotes none.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise ValueError("holds a number that JSON has not, such as NaN or Infinity") from None
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: JSON can say it, UTF-8 cannot
        return json.dumps(value)
    return text
