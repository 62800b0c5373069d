"""Whether a token or key is one that anybody would try. Of a digest nothing can be told: its maker must see to that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

MIN_LENGTH = 16
_FEWEST_CHARACTERS = 5
_ROWS = ("abcdefghijklmnopqrstuvwxyza", "01234567890", "9abcdef0", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_STEPS = frozenset(pair for row in _ROWS for pair in pairwise(row))
_BREAKS = 8  # a run may break off once in so many characters and is still one
_PLACEHOLDER = re.compile(
    r"(?<![a-z])(?:change|replace)[\W_]{0,2}(?:me|this|it)|(?<![a-z])your[\W_]|placeholder|dev[\W_]token"
    r"|(?:token|key|secret)[\W_]?here|(?<![a-z])(?:insert|put|enter|set)[\W_](?:a|the|your)(?![a-z])"
    r"|^\W*(?:todo|fixme)(?![a-z])|^<.*>$"
)


def weakness(text: str) -> str | None:
    """Return why a token or key is too weak, in words that quote nothing of it; None where it is not.

    What is random passes. What is long and easily guessed may pass too: it is the known that is looked for.
    """
    plain = text.strip().casefold()
    if len(plain) < MIN_LENGTH:
        return f"is blank or shorter than {MIN_LENGTH} characters"
    if _PLACEHOLDER.search(plain):
        return "is a placeholder: give it a random value"
    if len(set(plain)) < _FEWEST_CHARACTERS:
        return f"has fewer than {_FEWEST_CHARACTERS} different characters"
    if any(plain[unit:] == plain[:-unit] for unit in range(1, len(plain) // 2 + 1)):
        return "is one unit repeated"
    if any(_is_run(text) for text in (plain, plain[::-1], plain[::2] + plain[1::2], (plain[::2] + plain[1::2])[::-1])):
        return "is a run of the alphabet, of digits or of keys"
    return None


def _is_run(text: str) -> bool:
    return sum(_breaks(text)) <= max(2, len(text) // _BREAKS)


def _breaks(text: str) -> Iterator[bool]:
    return (pair not in _STEPS and pair[0] != pair[1] for pair in pairwise(text))
