"""AWS's answers as services read them: what one lacks, or holds of another kind, is AWS's fault and said to be so.

A service reads `answer["Name"]`. Where AWS did not send it that raises `IncompleteAnswer`, while a KeyError of anything
else is a fault of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from errors import AWSOpsError, IncompleteAnswer

# botocore's JSON parser hands these on as they come; the others it makes itself.
_SCALARS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "character": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (datetime,),
}


class Answer(dict[str, Any]):
    """A structure or map of an answer. `get` and `in` are as ever."""

    def __missing__(self, name: str) -> NoReturn:
        raise IncompleteAnswer


class Rows(list[Any]):
    """A list of an answer."""

    def __getitem__(self, place: Any) -> Any:
        try:
            return super().__getitem__(place)
        except IndexError:
            raise IncompleteAnswer from None


class CheckedParsers:
    """botocore's maker of parsers, whose parsers give answers of the above."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def create_parser(self, protocol: str) -> Any:
        """Return a parser of one protocol."""
        return _Parser(self._factory.create_parser(protocol))


class _Parser:
    def __init__(self, parser: Any) -> None:
        self._parser = parser

    def parse(self, response: Mapping[str, Any], shape: Any) -> Any:
        """Return what an HTTP answer says.

        Raises:
            IncompleteAnswer: it cannot be read as what the operation answers.
        """
        failed = response["status_code"] >= 300
        try:
            parsed = self._parser.parse(response, shape)
            return parsed if failed or shape is None else _held(parsed, shape)
        except AWSOpsError:
            raise
        except Exception:
            if failed:
                raise
            raise IncompleteAnswer from None


def _held(value: Any, shape: Any) -> Any:
    """Return a value as services read it."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False) or shape.serialization.get("eventstream"):
            return value
        members = shape.members
        return Answer(
            {
                name: _held(item, members[name]) if name in members and item is not None else item
                for name, item in _of(dict, value).items()
            }
        )
    if kind == "list":
        return Rows([_held(item, shape.member) if item is not None else item for item in _of(list, value)])
    if kind == "map":
        return Answer({name: _held(item, shape.value) for name, item in _of(dict, value).items()})
    if (types := _SCALARS.get(kind)) is not None and not shape.serialization.get("jsonvalue"):
        return _of(types, value)
    return value


def _of(types: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, types):
        raise IncompleteAnswer
    return value
