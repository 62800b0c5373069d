"""What the audit trail says of a call's arguments: names, and of each value no more than length and keyed HMAC."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from lines import Fingerprint

# A list or object of more parts is one fingerprint, so that no line grows without bound.
_MOST_PARTS = 100


def of_checked(fingerprint: Fingerprint, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of checked arguments. Numbers and flags stand as they are: no secret is of such a type."""
    return {name: _said(fingerprint, value) for name, value in values.items() if value is not None}


def of_unchecked(fingerprint: Fingerprint, raw: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return what is said of arguments that were refused: the known ones, and not even a number as it is."""
    return {name: fingerprint(_text(raw[name])) for name in names if raw.get(name) is not None}


def whole(values: Mapping[str, Any]) -> str:
    """Return checked arguments as one text, secrets and all, the same for the same values: for a keyed digest alone."""
    return json.dumps(values, sort_keys=True, default=_plain)


def _said(fingerprint: Fingerprint, value: Any) -> Any:
    """Each part of a list, each key and value of an object, has a fingerprint of its own: a value can be looked for."""
    if isinstance(value, (bool, int)):
        return value
    if isinstance(value, BaseModel):
        return {name: _said(fingerprint, item) for name, item in value if item is not None}
    if isinstance(value, (list, tuple)) and len(value) <= _MOST_PARTS:
        return [_said(fingerprint, item) for item in value]
    if isinstance(value, dict) and len(value) <= _MOST_PARTS:
        return [[fingerprint(key), _said(fingerprint, item)] for key, item in value.items()]
    return fingerprint(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON has no form of: a secret itself, for a mask would be the same for all; a model's fields; a moment."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return dict(value) if isinstance(value, BaseModel) else str(value)
