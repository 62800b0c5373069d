"""The values of secrets: making, reading, and writing them under their stages."""

from __future__ import annotations

import base64
import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, SecretStr

from errors import IncompleteAnswer, InvalidParameter, VersionConflict, translate
from services._json_members import strictly_parsed
from services._secrets import CURRENT, MAX_VALUE_BYTES, PLACEHOLDER, Generate, bearer, describe, utf8
from services.base import AWSModel, Timestamp
from toolcall.call import Call

MOST_PLACEHOLDERS = 50
_LONG_ENOUGH_TO_HIDE = 4
log = logging.getLogger("aws_ops.secrets")


class Held(AWSModel):
    """One version's value while the work needs it; it is no result, and its repr shows nothing."""

    model_config = ConfigDict(hide_input_in_errors=True)

    name: str
    arn: str
    version_id: str
    secret_string: str | None = Field(default=None, repr=False)
    secret_binary: bytes | None = Field(default=None, repr=False)
    version_stages: list[str] = []
    created_date: Timestamp | None = None

    @property
    def content(self) -> dict[str, Any]:
        """The value as AWS's write operations take it."""
        if self.secret_binary is not None:
            return {"SecretBinary": self.secret_binary}
        return {"SecretString": self.text}

    @property
    def text(self) -> str:
        """The value where it is a string.

        Raises:
            InvalidParameter: it is binary.
        """
        if self.secret_string is None:
            raise InvalidParameter("The secret's value is binary, not text.")
        return self.secret_string


def read(client: Any, secret_id: str, version_id: str | None = None, version_stage: str | None = None) -> Held:
    """Read a version's value; AWSCURRENT if none is named."""
    if version_id is None and version_stage is None:
        version_stage = CURRENT
    request = {"SecretId": secret_id, "VersionId": version_id, "VersionStage": version_stage}
    answer = client.get_secret_value(**{name: value for name, value in request.items() if value is not None})
    held = Held.model_validate(answer)
    if held.secret_string is None and held.secret_binary is None:
        raise IncompleteAnswer
    _hide(held.secret_string)
    return held


def _hide(text: str | None) -> None:
    """Have a value taken out of whatever this call's failure may say, as if it had been submitted."""
    if text is not None and len(text) >= _LONG_ENOUGH_TO_HIDE:
        Call.current().secrets += (text,)


def one_value(arguments: Mapping[str, Any], *, required: bool) -> None:
    """Check that one way to a value is given.

    Raises:
        InvalidParameter: none where one is required, or several, or a template without a placeholder.
    """
    ways = [name for name in ("secret_value", "secret_binary", "generate") if arguments.get(name) is not None]
    if len(ways) > 1 or (required and not ways):
        raise InvalidParameter("Give one of secret_value, secret_binary and generate.")
    generate = arguments.get("generate")
    if generate is not None and generate.template is not None:
        _check_template(generate.template.get_secret_value())


def _check_template(template: str) -> None:
    try:
        strictly_parsed(template)
        utf8(template)
    except ValueError:
        raise InvalidParameter("generate: the template is not JSON.") from None
    keys: list[str] = []
    json.loads(template, parse_int=str, object_pairs_hook=lambda pairs: keys.extend(key for key, _ in pairs))
    if any(PLACEHOLDER in key for key in keys):
        raise InvalidParameter(f"generate: {PLACEHOLDER} stands in a key of the template; keys are shown.")
    if not 1 <= template.count(PLACEHOLDER) <= MOST_PLACEHOLDERS:
        raise InvalidParameter(f"generate: the template needs {PLACEHOLDER} 1 to {MOST_PLACEHOLDERS} times.")


def compose(
    client: Any, value: SecretStr | None, binary: SecretStr | None, generate: Generate | None
) -> dict[str, str | bytes]:
    """Return a new value as AWS's write operations take it; empty where none is given."""
    if value is not None:
        return {"SecretString": value.get_secret_value()}
    if binary is not None:
        return {"SecretBinary": base64.b64decode(binary.get_secret_value())}
    return {"SecretString": make(client, generate)} if generate is not None else {}


def make(client: Any, generate: Generate) -> str:
    """Return a value that AWS generates, in its template if it has one. It never leaves the server."""
    if generate.template is None:
        return _random(client, generate)
    first, *rest = generate.template.get_secret_value().split(PLACEHOLDER)
    # Within a JSON string on both sides, so what comes between is escaped and bears no quotes of its own.
    text = first + "".join(json.dumps(_random(client, generate))[1:-1] + part for part in rest)
    if len(text.encode()) > MAX_VALUE_BYTES:
        raise InvalidParameter(f"generate: the value would be longer than {MAX_VALUE_BYTES} bytes.")
    return text


def _random(client: Any, generate: Generate) -> str:
    made = str(client.get_random_password(**generate.request())["RandomPassword"])
    _hide(made)
    return made


def put_if_current(client: Any, arn: str, current: str, content: Mapping[str, Any]) -> str:
    """Write a new current version if `current` still is it; return its id.

    AWS has no conditional write, but it moves AWSCURRENT only from the version that the request names. So the value
    is put under a stage of its own first.

    Raises:
        VersionConflict: another version has become current since; nothing current was changed.
    """
    stage = f"aws-ops-{secrets.token_hex(8)}"
    version = str(client.put_secret_value(SecretId=arn, **content, VersionStages=[stage])["VersionId"])
    try:
        move_stage(client, arn, CURRENT, version, current)
    except VersionConflict as moved:
        moved.message += " What was written for this call bears no stage, and AWS removes it by and by."
        raise
    finally:
        _take_off(client, arn, stage, version)
    return version


def _take_off(client: Any, arn: str, stage: str, version: str) -> None:
    """Clear our stage away. What was done is done, whether or not this succeeds."""
    trace = Call.current().trace
    unsettled = list(trace.unsettled)
    try:
        client.update_secret_version_stage(SecretId=arn, VersionStage=stage, RemoveFromVersionId=version)
    except Exception as error:
        log.warning("a stage was left behind", extra={"stage": stage, "error": translate(error).error_code})
    trace.unsettled = unsettled


def move_stage(client: Any, arn: str, stage: str, to_version: str | None, from_version: str | None) -> None:
    """Put a stage on a version, move it, or (to None) take it off.

    Raises:
        VersionConflict: it is not where it was any more.
    """
    request = {"MoveToVersionId": to_version, "RemoveFromVersionId": from_version}
    given = {name: version for name, version in request.items() if version is not None}
    try:
        client.update_secret_version_stage(SecretId=arn, VersionStage=stage, **given)
    except Exception as error:
        if translate(error).error_code != "InvalidParameterException":
            raise
        # The stage is not where the request says. It may be that it was moved by our own first attempt, unanswered.
        bears_it = _bearer_now(client, arn, stage, error)
        Call.current().trace.unsettled = []
        if bears_it == from_version:
            raise
        if bears_it != to_version:
            raise conflict() from None


def _bearer_now(client: Any, arn: str, stage: str, error: Exception) -> str | None:
    try:
        return bearer(describe(client, arn), stage)
    except Exception:
        raise error from None


def conflict() -> VersionConflict:
    """Return the refusal of a write based on a version that is no longer the current one."""
    return VersionConflict(
        "The secret has changed since it was read. Its current version was left as it is.",
        next_step="Read its versions again, then repeat the call.",
    )
