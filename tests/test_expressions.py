"""No regular expression of ours takes a time that grows with the square of a text's length."""

from __future__ import annotations

import ast
import importlib
import re
import time

import pytest

from tests.test_house import modules

LENGTH = 6_000  # at which a square is seconds, and a line well under a millisecond
UNITS = [*"aA1 -.*:/\\[_\"'=%<|", "\t", "\n", "a-", "a.", "1.", "a:", "a/", ":*", "\\a", '" ', '"a"', " a", "a\n    "]
HEADS = [
    "",
    "a",
    '"',
    "    a: ",
    "arn:aws:iam::111111111111:role/",
    "User: a is not authorized to perform: a on resource: ",
]
SCANNING = {"search", "sub", "subn", "split", "findall", "finditer"}


def expressions() -> dict[tuple[str, int], set[str]]:
    """Every pattern of ours, with the methods that it is used by somewhere."""
    found: dict[tuple[str, int], set[str]] = {}
    for name, tree in modules():
        named = {} if name == "server" else vars(importlib.import_module(name))
        for key, pattern in named.items():
            if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
                methods = found.setdefault((pattern.pattern, pattern.flags & ~re.UNICODE), {"fullmatch"})
                methods |= {
                    call.attr for call in ast.walk(tree)
                    if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.value.id == key
                } & (SCANNING | {"match"})  # fmt: skip
        for call in ast.walk(tree):
            if (
                isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
                and isinstance(call.func.value, ast.Name) and call.func.value.id == "re"
                and call.args and isinstance(call.args[0], ast.Constant) and call.func.attr != "compile"
            ):  # fmt: skip
                found.setdefault((str(call.args[0].value), 0), set()).add(call.func.attr)
    return found


IN_USE = expressions()
OF_OUR_OWN_TEXTS = {r"\n\s*(?:Args|Returns|Raises|Source):\s*\n"}  # docstrings


@pytest.mark.parametrize("expression", sorted(IN_USE), ids=lambda expression: expression[0][:40])
def test_no_expression_takes_the_square_of_a_texts_length(expression: tuple[str, int]) -> None:
    if expression[0] in OF_OUR_OWN_TEXTS:
        return
    pattern = re.compile(*expression)
    for method in IN_USE[expression]:
        ask = pattern.search if method in SCANNING else getattr(pattern, method)
        for text in (head + (unit * LENGTH)[:LENGTH] + "\x00" for head in HEADS for unit in UNITS):
            began = time.process_time()
            ask(text)
            assert time.process_time() - began < 0.1, (method, text[:60])
