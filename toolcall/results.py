"""What a tool answers: models shaped by AWS's API, lists that admit where they were cut, and the wire's schema."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Self, get_type_hints

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)
from pydantic.alias_generators import to_pascal

from errors import IncompleteAnswer
from plain_words import printable

_FAILURE: dict[str, Any] = {
    "error_code": {"type": "string"},
    "message": {"type": "string"},
    "next_step": {"type": ["string", "null"]},
    "retryable": {"type": "boolean"},
    "request_id": {"type": ["string", "null"]},
    "account": {"type": ["string", "null"]},
}


def aws_name(field: str) -> str:
    """Return AWS's name of a member: LastChangedDate, and ARN where it stands alone."""
    return "ARN" if field == "arn" else to_pascal(field)


class AWSModel(BaseModel):
    """A result: read by AWS's member names, answered in snake case. A missing member is an error."""

    model_config = ConfigDict(
        alias_generator=aws_name, validate_by_name=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Read an answer of AWS's. One that does not fit is AWS's fault; of arguments to the class it is ours."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError:
            raise IncompleteAnswer from None


class Page(AWSModel):
    """A list that says whether there is more: `next_token` continues it."""

    truncated: bool = False
    next_token: str | None = None

    @model_serializer(mode="wrap")
    def _say_where_it_was_cut(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**handler(self), "next_token": self.next_token}


Timestamp = AwareDatetime
"""A moment in UTC, ISO 8601 on the wire."""

Said = Annotated[str, AfterValidator(printable)]
"""A sentence of AWS's about what it did or did not do: one printable line, as its refusals are told."""


def as_json(content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return content as JSON text, and the content that the text says.

    AWS's answers may hold what JSON in UTF-8 cannot: half of a surrogate pair becomes its escape, and NaN null.
    """
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        content = _sayable(content)
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return text, content


def _sayable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_sayable(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_sayable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def output_schema(result: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a tool's structured content: the result or the failure, told apart by `success`.

    Only `success` is required: clients of the TypeScript SDK 1.x hold failures against this schema too.
    """
    schema = result.model_json_schema(mode="validation", by_alias=False)
    properties = {
        "success": {"type": "boolean"},
        "account_id": {"type": ["string", "null"]},
        "region": {"type": ["string", "null"]},
        **schema.get("properties", {}),
    }
    for name, failure in _FAILURE.items():
        properties[name] = {"anyOf": [properties[name], failure]} if name in properties else failure
    combined: dict[str, Any] = {"type": "object", "properties": _untitled(properties), "required": ["success"]}
    if "$defs" in schema:
        combined["$defs"] = _untitled(schema["$defs"])
    return combined


def result_model(method: Callable[..., Any]) -> type[BaseModel]:
    """Return the model that a tool's method is annotated to return."""
    result = get_type_hints(method).get("return")
    if not (inspect.isclass(result) and issubclass(result, BaseModel)):
        raise TypeError(f"{method.__qualname__}: a tool answers a model")
    return result


def _untitled(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(item) for name, item in value.items()} if key == "properties" else _untitled(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
