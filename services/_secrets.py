"""What the files of Secrets Manager share: argument types, results, and making, reading and writing values."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from errors import InvalidParameter, VersionConflict, translate
from services.base import AWSModel, Tags, Timestamp

MAX_VALUE_BYTES = 65_536
PLACEHOLDER = "{{generate}}"
CURRENT, PREVIOUS, PENDING = "AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"
_NAME = r"[A-Za-z0-9/_+=.@-]+"
_ID = re.compile(rf"arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{{12}}:secret:[A-Za-z0-9/_+=.@!-]+|{_NAME}")


def _fits_a_secret(value: SecretStr) -> SecretStr:
    size = len(value.get_secret_value().encode())
    if not 1 <= size <= MAX_VALUE_BYTES:
        raise ValueError(f"is {size} bytes long; AWS takes 1 to {MAX_VALUE_BYTES}")
    return value


def _is_base64(value: SecretStr) -> SecretStr:
    try:
        size = len(base64.b64decode(value.get_secret_value(), validate=True))
    except binascii.Error:
        raise ValueError("is not base64") from None
    if not 1 <= size <= MAX_VALUE_BYTES:
        raise ValueError(f"is {size} bytes long; AWS takes 1 to {MAX_VALUE_BYTES}")
    return value


def _are_aws_tags(tags: dict[str, str]) -> dict[str, str]:
    if not 1 <= len(tags) <= 50:
        raise ValueError("takes 1 to 50 tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise ValueError("a tag's key has 1 to 128 characters, its value at most 256")
        if key.lower().startswith("aws:"):
            raise ValueError("tag keys that start with aws: are AWS's own")
    return tags


def _is_name_or_arn(value: str) -> str:
    if not _ID.fullmatch(value):
        raise ValueError("is neither a secret's name nor its ARN")
    return value


SecretName = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=f"^{_NAME}$")]
SecretId = Annotated[str, StringConstraints(min_length=1, max_length=2048), AfterValidator(_is_name_or_arn)]
SecretValue = Annotated[SecretStr, AfterValidator(_fits_a_secret)]
SecretBytes = Annotated[SecretStr, AfterValidator(_is_base64)]
Description = Annotated[str, StringConstraints(max_length=2048)]
KmsKeyId = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
NewTags = Annotated[dict[str, str], AfterValidator(_are_aws_tags)]
VersionId = Annotated[str, StringConstraints(min_length=32, max_length=64)]
VersionStage = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class Generate(BaseModel):
    """How a value is made in place by AWS's GetRandomPassword."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    length: int = Field(default=32, ge=1, le=4096)
    exclude_characters: str | None = Field(default=None, max_length=4096)
    exclude_lowercase: bool = False
    exclude_uppercase: bool = False
    exclude_numbers: bool = False
    exclude_punctuation: bool = False
    include_space: bool = False
    template: SecretStr | None = Field(
        default=None, description=f'JSON in which each "{PLACEHOLDER}" string becomes a value of its own'
    )

    def request(self) -> dict[str, Any]:
        """Return GetRandomPassword's arguments."""
        return {
            "PasswordLength": self.length,
            "ExcludeCharacters": self.exclude_characters or "",
            "ExcludeLowercase": self.exclude_lowercase,
            "ExcludeUppercase": self.exclude_uppercase,
            "ExcludeNumbers": self.exclude_numbers,
            "ExcludePunctuation": self.exclude_punctuation,
            "IncludeSpace": self.include_space,
        }


class SecretVersion(AWSModel):
    """A secret, and the version that was written."""

    name: str
    arn: str
    version_id: str | None = None


class ReplicationStatus(AWSModel):
    region: str
    status: str | None = None
    status_message: str | None = None
    kms_key_id: str | None = None
    last_accessed_date: Timestamp | None = None


class RotationRules(AWSModel):
    automatically_after_days: int | None = None
    duration: str | None = None
    schedule_expression: str | None = None


class Secret(AWSModel):
    """A secret's metadata, never its value."""

    name: str
    arn: str
    description: str | None = None
    kms_key_id: str | None = None
    rotation_enabled: bool | None = None
    rotation_lambda_arn: str | None = Field(default=None, alias="RotationLambdaARN")
    rotation_rules: RotationRules | None = None
    created_date: Timestamp | None = None
    last_rotated_date: Timestamp | None = None
    last_changed_date: Timestamp | None = None
    last_accessed_date: Timestamp | None = None
    deleted_date: Timestamp | None = None
    next_rotation_date: Timestamp | None = None
    tags: Tags = {}
    version_ids_to_stages: dict[str, list[str]] | None = None
    owning_service: str | None = None
    primary_region: str | None = None
    replication_status: list[ReplicationStatus] | None = None


class Held(AWSModel):
    """One version's value while the work needs it; it is no result, and its repr shows nothing."""

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
        raise KeyError("SecretString")
    return held


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
        json.loads(template)
    except ValueError:
        raise InvalidParameter("generate: the template is not JSON.") from None
    if json.dumps(PLACEHOLDER) not in template:
        raise InvalidParameter(f'generate: the template has no "{PLACEHOLDER}" in it.')


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
    parts = generate.template.get_secret_value().split(json.dumps(PLACEHOLDER))
    text = parts[0] + "".join(json.dumps(_random(client, generate)) + part for part in parts[1:])
    if len(text.encode()) > MAX_VALUE_BYTES:
        raise InvalidParameter(f"generate: the value would be longer than {MAX_VALUE_BYTES} bytes.")
    return text


def _random(client: Any, generate: Generate) -> str:
    return str(client.get_random_password(**generate.request())["RandomPassword"])


def put_if_current(client: Any, held: Held, text: str) -> str:
    """Write a new current version if the one that was read still is it; return its id.

    AWS has no conditional write, but it moves AWSCURRENT only from the version that the request names. So the value
    is put under a stage of its own first.

    Raises:
        VersionConflict: another version has become current since; nothing current was changed.
    """
    stage = f"aws-ops-{secrets.token_hex(8)}"
    version = str(client.put_secret_value(SecretId=held.arn, SecretString=text, VersionStages=[stage])["VersionId"])
    try:
        move_stage(client, held.arn, CURRENT, version, held.version_id)
    finally:
        client.update_secret_version_stage(SecretId=held.arn, VersionStage=stage, RemoveFromVersionId=version)
    return version


def move_stage(client: Any, secret_id: str, stage: str, to_version: str, from_version: str | None) -> None:
    """Move a stage from one version to another.

    Raises:
        VersionConflict: it is not on that version any more.
    """
    request = {"SecretId": secret_id, "VersionStage": stage, "MoveToVersionId": to_version}
    if from_version is not None:
        request["RemoveFromVersionId"] = from_version
    try:
        client.update_secret_version_stage(**request)
    except Exception as error:
        if translate(error).error_code == "InvalidParameterException":
            raise conflict() from None
        raise


def conflict() -> VersionConflict:
    """Return the refusal of a write based on a version that is no longer the current one."""
    return VersionConflict(
        "The secret has changed since it was read. Its current version was left as it is.",
        next_step="Read its versions again, then repeat the call.",
    )


def to_aws_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as AWS's list of Key and Value."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
