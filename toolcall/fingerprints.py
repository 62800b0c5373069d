"""What the audit trail says of a call's arguments: names, and of each value no more than length and keyed HMAC."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, SecretStr

from lines import Fingerprint, cut, encode, fair_share, left_out

# In bytes of JSON: what a resource may have, and it and the arguments together; the rest of a line needs 2,000.
_RESOURCE_BYTES, _BOTH_BYTES, _ARGUMENTS_BYTES = 4_000, 6_200, 2_200
_NAME_CHARACTERS = 512
_LEAST_BYTES, _FINGERPRINT_BYTES = 160, 100


def resource(fingerprint: Fingerprint, parts: Sequence[Sequence[str]] | None) -> str | None:
    """Return a resource as the trail names it: each name to the letter, a long one cut by itself, with its fingerprint.

    Many names share the room, so that none hides another; of too many the last are counted.
    """
    if not parts:
        return None
    most = fair_share((_size_of(name) for part in parts for name in part), _RESOURCE_BYTES)
    room = _RESOURCE_BYTES
    said = list[str]()
    for part in parts:
        shown = list[str]()
        for name in part:
            shown.append(_shown(fingerprint, name, max(most, _LEAST_BYTES)))
            room -= len(encode(shown[-1])) - 1
            if room < 0:
                whole = ",".join(part)
                shown[-1] = f"...[{len(part) - len(shown) + 1} more, hmac {fingerprint(whole)['hmac']}]"
                break
        said.append(",".join(shown))
    return "/".join(said)


def _size_of(name: str) -> int:
    """Return how many bytes a name takes among others, once it is cut for its length."""
    return len(encode(name[:_NAME_CHARACTERS])) + (_FINGERPRINT_BYTES if len(name) > _NAME_CHARACTERS else 0)


def _shown(fingerprint: Fingerprint, name: str, room: int) -> str:
    long = len(name) > _NAME_CHARACTERS
    return cut(name, min(room, _size_of(name)) - 2, fingerprint, always=long)


def of_checked(fingerprint: Fingerprint, values: Mapping[str, Any], beside: str | None = None) -> dict[str, Any]:
    """Return what is said of checked arguments. Numbers and flags stand as they are: no secret is of such a type.

    Args:
        fingerprint: The request's.
        values: By name.
        beside: The resource that stands on the same line.
    """
    given = {name: value for name, value in values.items() if value is not None}
    room = max(_BOTH_BYTES - len(encode(beside)), _ARGUMENTS_BYTES) // _FINGERPRINT_BYTES
    most = fair_share((_parts_of(value) for value in given.values()), room)
    return {name: _said(fingerprint, value, max(most, 1)) for name, value in given.items()}


def of_unchecked(fingerprint: Fingerprint, raw: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return what is said of arguments that were refused: the known ones, and not even a number as it is."""
    return {name: fingerprint(_text(raw[name])) for name in names if raw.get(name) is not None}


def whole(values: Mapping[str, Any]) -> str:
    """Return checked arguments as one text, secrets and all, the same for the same values: for a keyed digest alone."""
    return json.dumps(values, sort_keys=True, default=_plain)


def _parts_of(value: Any) -> int:
    """Return how many fingerprints all of a value takes."""
    if isinstance(value, BaseModel):
        return sum(_parts_of(item) for _, item in value if item is not None)
    if isinstance(value, (list, tuple)):
        return max(sum(map(_parts_of, value)), 1)
    if isinstance(value, dict):
        return max(sum(1 + _parts_of(item) for item in value.values()), 1)
    return 1


def _said(fingerprint: Fingerprint, value: Any, most: int) -> Any:
    """Each part of a list, each key and value of an object, has a fingerprint of its own: a value can be looked for.

    Where there are more parts than `most`, those left out are counted, beside a fingerprint of the whole.
    """
    if isinstance(value, (bool, int)):
        return value
    fits = _parts_of(value) <= most
    if isinstance(value, BaseModel):
        given = {name: item for name, item in value if item is not None}
        share = most if fits else fair_share(map(_parts_of, given.values()), most)
        return {name: _said(fingerprint, item, max(share, 1)) for name, item in given.items()}
    if isinstance(value, (list, tuple, dict)) and (fits or most > 2):
        return _said_of_parts(fingerprint, value, most if fits else most - 1)
    return fingerprint(_text(value))


def _said_of_parts(fingerprint: Fingerprint, value: Any, most: int) -> list[Any]:
    said, parts = list[Any](), list(value.items() if isinstance(value, dict) else value)
    for part in parts:
        takes = 1 + _parts_of(part[1]) if isinstance(value, dict) else _parts_of(part)
        if takes > most:
            return [*said, left_out(len(parts) - len(said), _text(value), fingerprint)]
        if isinstance(value, dict):
            said.append([fingerprint(part[0]), _said(fingerprint, part[1], takes)])
        else:
            said.append(_said(fingerprint, part, takes))
        most -= takes
    return said


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON has no form of: a secret itself, for a mask would be the same for all; a model's fields; a moment."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return dict(value) if isinstance(value, BaseModel) else str(value)
