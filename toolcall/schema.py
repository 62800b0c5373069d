"""The JSON schema of a tool's arguments, in the words that every model's API takes.

One keyword that an API does not know refuses the whole request, so only those stand here that all are known to take;
what is left out is checked by the server itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_OF_ALL = {"type", "description", "default", "anyOf"}
_OF_TYPE = {
    "string": {"enum", "pattern", "minLength", "maxLength", "format"},
    "integer": {"minimum", "maximum"},
    "number": {"minimum", "maximum"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
}
# pydantic writes a bound that follows a validator of one's own under the name that it has for texts.
_BOUNDS = {
    "array": {"minLength": "minItems", "maxLength": "maxItems"},
    "object": {"minLength": "minProperties", "maxLength": "maxProperties"},
}


def lean_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's schema without what a language model pays for and does not need, nor what APIs refuse."""
    schema = model.model_json_schema()
    defs = schema.get("$defs", {})
    properties = {name: _lean(value, defs) for name, value in schema.get("properties", {}).items()}
    lean: dict[str, Any] = {"type": "object", "properties": properties}
    if required := schema.get("required"):
        lean["required"] = required
    return lean


def _lean(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    if reference := schema.get("$ref"):  # inlined: many clients do not follow references
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _lean({**defs[reference.rsplit("/", 1)[-1]], **rest}, defs)
    if choices := [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        if len(choices) == 1:
            return _lean({**choices[0], **rest}, defs)
        return _known(rest, defs) | {"anyOf": [_lean(choice, defs) for choice in choices]}
    return _known(schema, defs)


def _known(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(schema.get("type"))
    renamed = {_BOUNDS.get(kind, {}).get(key, key): value for key, value in schema.items()}
    if kind == "string" and "const" in renamed:
        renamed["enum"] = [renamed["const"]]
    known = _OF_ALL | _OF_TYPE.get(kind, set())
    return {key: _part(key, value, defs) for key, value in renamed.items() if key in known and _says(key, value)}


def _says(key: str, value: Any) -> bool:
    """Tell whether a keyword is worth its place: a default of null is none, and a map's values need a type."""
    if key == "format":
        return bool(value == "date-time")
    if key == "additionalProperties":
        return isinstance(value, Mapping) and bool({"type", "anyOf", "$ref"} & set(value))
    return not (key == "default" and value is None) and not (key == "required" and not value)


def _part(key: str, value: Any, defs: Mapping[str, Any]) -> Any:
    if key == "properties":
        return {name: _lean(item, defs) for name, item in value.items()}
    return _lean(value, defs) if key in ("items", "additionalProperties") else value
