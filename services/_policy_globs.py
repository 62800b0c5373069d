"""Patterns of actions and resources, with `*` and `?` as IAM reads them, held against texts or against other patterns.

All patterns of a list are read in one pass whose length is the text's, each step a few operations on one number that
has a bit for each place in the patterns: no pattern, however it is made, takes longer than another of its length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# In what a pattern is held against: any run within a part of an ARN, any run at all, and a character that nobody names.
RUN, REST, OTHER = "\0", "\1", "\2"
_ANY, _MANY, _OPAQUE = "any", "many", "opaque"
# What a policy variable stands for: these are facts of whoever asks, a text that is not known here; any other variable,
# or one with a default, may stand for anything.
_OF_THE_ASKER = ("aws:principaltag/", "aws:username", "aws:userid", "aws:principalaccount", "aws:principalorgid")


class Globs:
    """A list of patterns; a `meets` is about any of them."""

    def __init__(self, patterns: Iterable[str]) -> None:
        places: dict[str, list[int]] = {_ANY: [], _MANY: [], _OPAQUE: []}
        starts, ends, place = [], [], 0
        for pattern in patterns:
            starts.append(place)
            for symbol in _symbols(pattern):
                places.setdefault(symbol, []).append(place)
                place += 1
            ends.append(place)
            place += 1
        one_of_any = _bits(places.pop(_ANY))
        self._many, opaque = _bits(places.pop(_MANY)), _bits(places.pop(_OPAQUE))
        letters = {letter: _bits(at) for letter, at in places.items()}
        self._takes = {letter: bits | one_of_any for letter, bits in letters.items()}
        self._takes_other = one_of_any
        self._start, self._end = _bits(starts), _bits(ends)
        self._run = one_of_any | self._many | opaque
        for letter, bits in letters.items():
            self._run |= bits if letter not in ":/" else 0
        self._rest = self._run | letters.get(":", 0) | letters.get("/", 0)

    def meets(self, wanted: str) -> bool:
        """Tell whether there is a text that fits `wanted`, which may hold RUN, REST and OTHER, and a pattern too."""
        at = self._skip(self._start)
        for symbol in wanted:
            if symbol in (RUN, REST):
                at = _flood(at, self._run if symbol == RUN else self._rest)
            else:
                takes = self._takes.get(symbol, self._takes_other)
                at = self._skip(((at & takes) << 1) | (at & self._many))
            if not at:
                return False
        return bool(at & self._end)

    def _skip(self, at: int) -> int:
        """Go past a `*` without taking anything; two in a row are one."""
        return at | ((at & self._many) << 1)


def _symbols(pattern: str) -> Iterator[str]:
    place, before = 0, ""
    while place < len(pattern):
        symbol, place = _symbol(pattern, place)
        if symbol and not (symbol == before == _MANY):
            yield symbol
        before = symbol


def _symbol(pattern: str, place: int) -> tuple[str, int]:
    letter = pattern[place]
    if pattern.startswith("${", place) and (end := pattern.find("}", place)) > 0:
        return _variable(pattern[place + 2 : end].lower()), end + 1
    if letter in (RUN, REST, OTHER):  # no ARN has it
        return _OPAQUE, place + 1
    return {"*": _MANY, "?": _ANY}.get(letter, letter), place + 1


def _variable(name: str) -> str:
    if name in ("*", "?", "$"):  # so are these three written where they stand for themselves
        return name
    return _OPAQUE if name.startswith(_OF_THE_ASKER) and "," not in name else _MANY


def _bits(places: Iterable[int]) -> int:
    found = 0
    for place in places:
        found |= 1 << place
    return found


def _flood(at: int, passable: int) -> int:
    """Go on from each place at hand as far as there are passable ones: the carry of an addition runs through them."""
    return at | (((at & passable) + passable) ^ passable)
