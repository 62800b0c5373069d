"""A file of settings that is wrong is refused in our words, whichever member it is and whatever stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic_core import PydanticKnownError
from pydantic_core._pydantic_core import list_all_errors

from access.callers_file import read_callers
from errors import ConfigurationError
from named_accounts import read_accounts
from plain_words import in_plain_words

GOOD = {
    "MCP_CALLERS_FILE": {"token_sha256": "0123456789abcdef" * 4, "scopes": ["read"], "accounts": ["x"]},
    "ACCOUNTS_FILE": {
        "role_arn": "arn:aws:iam::111111111111:role/x", "profile": "p", "region": "eu-west-1", "external_id": "an-id",
        "regions": ["eu-west-1"], "tags": {"a": "b"},
    },
}  # fmt: skip
WRONG = [
    "true",
    "7",
    "1.5",
    "nan",
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    '""',
    '"hush"',
    "[]",
    "[7]",
    '["hush"]',
    "[[]]",
    "{}",
    "{a=1}",
]
LIBRARYS = re.compile(r"[Ii]nput|should|pydantic|instance|type=|valid (string|list|tuple|dict)|\bdict|\btuple|\blist\b")
MEMBERS = [(variable, member) for variable, members in GOOD.items() for member in (*members, "surprise")]


def refusal(variable: str, text: str, path: Path) -> str | None:
    path.write_text(text)
    try:
        if variable == "ACCOUNTS_FILE":
            read_accounts({variable: str(path)})
        else:
            read_callers(path, {"x"})
    except ConfigurationError as error:
        return error.message
    return None


@pytest.mark.parametrize(("variable", "member"), MEMBERS)
def test_each_wrong_member_of_each_file_is_told_in_one_line_of_plain_words(
    variable: str, member: str, tmp_path: Path
) -> None:
    table = "callers" if variable == "MCP_CALLERS_FILE" else "accounts"
    refusals = 0
    for wrong in WRONG:
        lines = [f"{name} = {toml(value)}" for name, value in GOOD[variable].items() if name != member]
        text = "\n".join([f"[{table}.jo]", *lines, f"{member} = {wrong}"])
        if (told := refusal(variable, text, tmp_path / "file.toml")) is None:
            continue
        refusals += 1
        assert told.startswith(f"{variable} [{table}.jo] {member}"), told
        assert not LIBRARYS.search(told), told
        assert "\n" not in told
    assert refusals >= len(WRONG) - 4


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize("variable", GOOD)
@pytest.mark.parametrize("what", ["7", '"hush"', "[]", "[[]]"])
def test_so_is_a_table_that_is_none(variable: str, what: str, tmp_path: Path) -> None:
    table = "callers" if variable == "MCP_CALLERS_FILE" else "accounts"
    for text in (f"[{table}]\njo = {what}", f"{table} = {what}", f"{what.strip('[]')}x = {what}"):
        told = refusal(variable, text, tmp_path / "file.toml")
        assert told is not None
        assert told.startswith(variable)
        assert not LIBRARYS.search(told), told


def test_no_problem_that_the_library_knows_is_told_in_its_words() -> None:
    for error in list_all_errors():
        context = error.get("example_context") or {}
        if error["type"] in ("value_error", "assertion_error"):
            continue  # the words of our own validators
        known = PydanticKnownError(error["type"], context)
        details = {"type": error["type"], "loc": (), "msg": known.message(), "input": None, "ctx": context}
        assert not LIBRARYS.search(in_plain_words(details)), error["type"]  # type: ignore[arg-type]
