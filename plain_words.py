"""What is wrong with a value, in words of JSON and AWS, not of Python, which never quote it; and others' words."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_WORDS = {
    "string_type": "is not a string",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "finite_number": "is not a number",
    "bool_type": "is neither true nor false",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "list_type": "is not an array",
    "tuple_type": "is not an array",
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "literal_error": "is not one of {expected}",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is more than {le}",
    "string_too_short": "is shorter than {min_length}",
    "string_too_long": "is longer than {max_length}",
    "too_short": "is shorter than {min_length}",
    "too_long": "is longer than {max_length}",
    "string_pattern_mismatch": "does not match {pattern}",
    "string_unicode": "is not valid Unicode",
}


def in_plain_words(problem: ErrorDetails) -> str:
    """Return what one of pydantic's problems says; the words of our own validators are plain already."""
    words = _WORDS.get(problem["type"])
    if words:
        return words.format(**problem.get("ctx", {}))
    ours = problem["type"] in ("value_error", "assertion_error")
    return problem["msg"].partition(", ")[2] if ours else "cannot be understood"


def first_problem(error: ValidationError, where: str = "", renamed: Mapping[str, str] | None = None) -> str:
    """Return the first thing that is wrong, and with what: a variable, or a field of what `where` names."""
    problem = error.errors(include_input=False, include_url=False)[0]
    field = str(problem["loc"][0]) if problem["loc"] else ""
    field = (renamed or {}).get(field, field)
    place = where.replace("*", field.upper() or "*") if where.endswith("_*") else f"{where} {field}".strip()
    text = in_plain_words(problem)
    return f"{place}: {text}" if place else text


def printable(text: str) -> str:
    """Return a text on one line; what cannot be seen, or moves what can, stands as its escape in JSON."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"
