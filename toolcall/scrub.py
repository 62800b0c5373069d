"""Taking submitted secret values out of text that somebody else wrote, AWS's error messages above all."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
_SHORT = 4


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, in plain, JSON, URL, hex and base64 form, nor the parts of structured ones.

    A secret too short to be told from other text voids the whole text.
    """
    found = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    for form in found:
        if form in text:
            if len(form) < _SHORT:
                return REDACTED
            text = text.replace(form, REDACTED)
    return text


def _forms(secret: str) -> Iterator[str]:
    for part in _parts(secret):
        data = part.encode()
        yield from (part, json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], repr(part)[1:-1])
        yield from (quote(part, safe=""), quote_plus(part), data.hex(), data.hex().upper())
        yield from (base64.b64encode(data).decode().rstrip("="), base64.urlsafe_b64encode(data).decode().rstrip("="))


def _parts(secret: str) -> Iterator[str]:
    if secret:
        yield secret
    yield from (word for word in re.split(r"[\s,;:&=\"'{}\[\]]+", secret) if len(word) >= 2 * _SHORT)
    try:  # bytes, which were submitted so
        yield from (text for text in [base64.b64decode(secret, validate=True).decode()] if len(text) >= _SHORT)
    except ValueError:
        pass
    try:
        yield from (leaf for leaf in _leaves(json.loads(secret)) if len(leaf) >= _SHORT)
    except (ValueError, RecursionError):  # no JSON, or nested too deep to be read
        return


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
