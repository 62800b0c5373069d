"""A tool's arguments: from the method's signature to a flat JSON schema, and from raw JSON to checked values.

We check them ourselves, before the framework could quote a submitted value in an error, a log or a span.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from access.identity import Target
from errors import InvalidParameter
from plain_words import in_plain_words
from toolcall.schema import lean_schema

_CONFIG = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, frozen=True)


class Arguments:
    """What one tool takes. `Target` parameters are flat on the wire and whole in the method."""

    def __init__(self, method: Callable[..., Any], *, confirmable: bool = False) -> None:
        hints = get_type_hints(method, include_extras=True)
        described = parameter_descriptions(method)
        fields: dict[str, Any] = {}
        self._targets: dict[str, str] = {}
        for name, parameter in inspect.signature(method).parameters.items():
            if name == "self":
                continue
            hint = hints[name]
            if (prefix := _target_prefix(hint)) is not None:
                self._targets[name] = prefix
            else:
                default = ... if parameter.default is parameter.empty else parameter.default
                fields[name] = (Annotated[hint, Field(description=described.get(name))], default)
        for prefix in self._targets.values():
            fields |= spread_target(prefix, taken=fields, tool=method.__qualname__)
        if confirmable:
            fields["confirm"] = (Annotated[str | None, Field(description="From the plan", max_length=1024)], None)
        self._model = create_model(method.__name__, __config__=_CONFIG, **fields)
        self.schema = lean_schema(self._model)
        self.names = tuple(self._model.model_fields)
        self._known = set(_property_names(self.schema))

    def parse(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the method's keyword arguments.

        Raises:
            InvalidParameter: an argument is unknown, missing or of the wrong form. Names it, never its value; and not
                even an unknown one's name, since a secret may stand where a name belongs.
        """
        for name, value in raw.items():
            if (problem := _unfit(name, value)) is not None:
                place = f"{name}:" if name in self.names else "An argument"
                raise InvalidParameter(f"{place} {problem}.", next_step="Correct it and call again.")
        try:
            parsed = self._model.model_validate(self._plain(raw))
        except ValidationError as error:
            raise _invalid(error, self.names, self._known) from None
        values = {name: getattr(parsed, name) for name in self.names}
        for name, prefix in self._targets.items():
            values[name] = Target(**{field: values.pop(prefix + field) for field in Target.model_fields})
        main = next((values[name] for name, prefix in self._targets.items() if not prefix), None)
        return {name: _beside(main, value) if name in self._targets else value for name, value in values.items()}

    def _plain(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Read what generators of calls mean: null for what is left out, and 3.0, an integer to JSON Schema, for 3."""
        fields = self._model.model_fields
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in raw.items()
            if value is not None or name not in fields or fields[name].is_required()
        }

    def flat(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked arguments under the names they have on the wire: a Target's fields apart."""
        flat: dict[str, Any] = {}
        for name, value in values.items():
            if (prefix := self._targets.get(name)) is None:
                flat[name] = value
            else:
                flat |= {prefix + field: item for field, item in value}
        return flat


def _beside(main: Target | None, target: Target) -> Target:
    """Return a second target with what it leaves open taken from the call's own: who, and where.

    A copy that names another region only stays in its account; it never lands in that of the default credentials.
    """
    if main is None or target is main:
        return target
    given = {name: value for name, value in target if value is not None}
    inherited = {"region": main.region} if set(given) - {"region"} else dict(main)
    return Target(**{**inherited, **given})


def _unfit(name: str, value: Any) -> str | None:
    """Return what is wrong with an argument whatever it means, or None."""
    try:
        return _flaw([name, value])
    except RecursionError:
        return "is nested too deeply"


def _flaw(value: Any) -> str | None:
    """Return why a value cannot be sent on, however deep the reason lies.

    JSON can hold half of a surrogate pair, which UTF-8, so AWS, cannot; and Python's reader takes NaN, Infinity and
    1e999, which are no JSON.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is not valid Unicode"
    elif isinstance(value, dict):
        return next((flaw for pair in value.items() for one in pair if (flaw := _flaw(one))), None)
    elif isinstance(value, list):
        return next((flaw for one in value if (flaw := _flaw(one))), None)
    elif isinstance(value, float) and not math.isfinite(value):
        return "is no number that JSON has"
    return None


@cache
def arguments_of(function: Callable[..., Any], *, confirmable: bool) -> Arguments:
    """Return what a service's function takes as a tool; worked out once, however many servers a process builds."""
    return Arguments(function, confirmable=confirmable)


def _target_prefix(hint: Any) -> str | None:
    """Return "" for `Target`, the prefix for `Annotated[Target, "to_"]`, None for anything else."""
    if hint is Target:
        return ""
    if get_origin(hint) is Annotated and get_args(hint)[0] is Target:
        return str(get_args(hint)[1])
    return None


def spread_target(prefix: str, *, taken: Mapping[str, Any], tool: str) -> dict[str, Any]:
    """Return a Target's fields as flat parameters; a method parameter of the same name fails at import."""
    fields = {
        prefix + name: (Annotated[str | None, Field(description=None if prefix else field.description)], None)
        for name, field in Target.model_fields.items()
    }
    if collision := set(fields) & set(taken):
        raise TypeError(f"{tool}: {', '.join(sorted(collision))} already comes with Target")
    return fields


def _property_names(schema: Any) -> Iterator[str]:
    """Yield the name of every member that a schema knows, however deep."""
    if isinstance(schema, list):
        for item in schema:
            yield from _property_names(item)
    elif isinstance(schema, dict):
        yield from schema.get("properties", {})
        for item in schema.values():
            yield from _property_names(item)


def _path(location: tuple[int | str, ...], known: set[str]) -> str:
    """Return where a problem is, such as changes[1].ttl; up to the first name that is none of ours."""
    path = str(location[0])
    for step in location[1:]:
        if isinstance(step, str) and step not in known:
            break
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path


def _invalid(error: ValidationError, names: Sequence[str], known: set[str]) -> InvalidParameter:
    problem = error.errors(include_input=False, include_url=False)[0]
    place = problem["loc"][0] if problem["loc"] else None
    path = _path(problem["loc"], known) if place in names else ""
    if problem["type"] == "extra_forbidden" and path:
        return InvalidParameter(f"{path}: it does not take one of the members given.")
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place), names, n=1, cutoff=0.7)
        hint = f"Did you mean {near[0]}?" if near else f"It takes: {', '.join(names)}."
        return InvalidParameter("This tool does not take one of the arguments given.", next_step=hint)
    text = in_plain_words(problem)
    return InvalidParameter(f"{path}: {text}." if path else f"{text}.")


def parameter_descriptions(method: Callable[..., Any]) -> dict[str, str]:
    """Return the texts of a docstring's `Args:` section."""
    _, _, section = (inspect.getdoc(method) or "").partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", section, maxsplit=1)[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}


def description(method: Callable[..., Any]) -> str:
    """Return what stands in a docstring before its `Args:`, on one line per paragraph."""
    text = re.split(r"\n\s*(?:Args|Returns|Raises|Source):\s*\n", inspect.getdoc(method) or "", maxsplit=1)[0]
    return "\n\n".join(re.sub(r"\s+", " ", paragraph).strip() for paragraph in text.split("\n\n") if paragraph.strip())
