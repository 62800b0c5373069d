"""Patterns are read as regular expressions would read them, only without their time."""

from __future__ import annotations

import random
import re
from itertools import product

from services._policy_globs import OTHER, REST, RUN, Globs

TEXTS = ["".join(letters) for length in range(5) for letters in product("ab:/", repeat=length)]
MEANINGS = {"*": ".*", "?": ".", RUN: "[^:/]*", REST: ".*"}


def expression(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(MEANINGS.get(letter, re.escape(letter)) for letter in pattern))


def some(alphabet: str, longest: int, chance: random.Random) -> str:
    return "".join(chance.choice(alphabet) for _ in range(chance.randint(0, longest)))


def test_patterns_meet_a_text_that_any_of_them_describes() -> None:
    chance = random.Random(7)
    for _ in range(5_000):
        patterns, text = [some("ab:*?/", 6, chance) for _ in range(3)], some("ab:/", 8, chance)
        expected = any(expression(pattern).fullmatch(text) for pattern in patterns)
        assert Globs(patterns).meets(text) == expected, (patterns, text)


def test_patterns_meet_another_where_some_text_is_both() -> None:
    chance = random.Random(7)
    for _ in range(1_000):
        patterns, wanted = [some("ab:*?/", 3, chance) for _ in range(2)], some("a:/" + RUN + REST, 3, chance)
        shared = [text for text in TEXTS if expression(wanted).fullmatch(text)]
        if any(expression(pattern).fullmatch(text) for pattern in patterns for text in shared):
            assert Globs(patterns).meets(wanted), (patterns, wanted)
        elif not Globs(patterns).meets(wanted):
            continue
        else:  # a longer text than those tried
            assert any("*" in pattern for pattern in patterns), (patterns, wanted)
            assert {RUN, REST} & set(wanted), (patterns, wanted)


def test_a_variable_is_what_its_bearer_is_or_anything_and_three_signs_stand_for_themselves() -> None:
    assert Globs(["a/${aws:PrincipalTag/team}/*"]).meets(f"a/{RUN}/b")
    assert not Globs(["a/${aws:PrincipalTag/team}/*"]).meets(f"a/{OTHER}/b")
    assert Globs(["a/${aws:RequestTag/team}/*"]).meets(f"a/{OTHER}/b")
    assert Globs(["a/${aws:PrincipalTag/team, '*'}/*"]).meets(f"a/{OTHER}/b")
    for sign in "*?$":
        assert Globs(["a${" + sign + "}"]).meets("a" + sign)
        assert not Globs(["a${" + sign + "}"]).meets("ab")
    assert not Globs(["a"]).meets(f"a{OTHER}")
