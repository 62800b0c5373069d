"""AWS Secrets Manager: copying, comparing and patching secrets without showing a value.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints

from errors import InvalidParameter, is_missing, translate
from services._json_members import edit, members
from services._secrets import (
    Generate,
    Held,
    KmsKeyId,
    Secret,
    SecretId,
    SecretName,
    VersionId,
    VersionStage,
    conflict,
    make,
    put_if_current,
    read,
    to_aws_tags,
)
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Target, tool
from toolcall.call import Call

Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Keys = Annotated[list[Key], Field(min_length=1, max_length=100)]
To = Annotated[Target, "to_"]
Other = Annotated[Target, "other_"]
# Fingerprints are compared within one answer only, so the key lives as long as the process.
_FINGERPRINT_KEY = secrets.token_bytes(32)


class CopiedSecret(AWSModel):
    """Where the value went. `created` tells a new secret from a new version of one that was there."""

    source_arn: str
    source_version_id: str
    name: str
    arn: str
    version_id: str
    to_account_id: str
    to_region: str
    created: bool


class Comparison(AWSModel):
    """Whether two values are equal; for two JSON objects, the keys that are not. Never a value."""

    equal: bool
    kind: str
    fingerprint: str
    other_fingerprint: str
    different: list[str] = []
    missing: list[str] = Field(default=[], description="Keys that only the other has")
    added: list[str] = Field(default=[], description="Keys that the other lacks")
    different_type: list[str] = []
    version_id: str
    other_version_id: str


class PatchedSecret(AWSModel):
    """The new version, the one it was made from, and the keys that changed."""

    name: str
    arn: str
    version_id: str
    from_version_id: str
    set_keys: list[str] = []
    generated_keys: list[str] = []
    renamed_keys: dict[str, str] = {}
    removed_keys: list[str] = []


def _changes_a_key(arguments: Mapping[str, Any]) -> None:
    changes = [arguments[name] for name in ("set", "generate_keys", "rename", "remove")]
    if not any(changes):
        raise InvalidParameter("Give at least one of set, generate_keys, rename and remove.")
    touched = [key for change in changes if change for key in change]
    if len(set(touched)) < len(touched):
        raise InvalidParameter("One key stands in two of set, generate_keys, rename and remove.")
    if arguments["generate"] is not None and arguments["generate"].template is not None:
        raise InvalidParameter("generate: a key takes no template.")


class SecretsTransferService(AWSServiceBase):
    """Work on values that leaves them unseen."""

    client_name = "secretsmanager"
    toolset = "secrets"

    @tool(
        WRITE,
        "secretsmanager:GetSecretValue",
        "secretsmanager:DescribeSecret",
        "secretsmanager:CreateSecret",
        "secretsmanager:PutSecretValue",
        "secretsmanager:TagResource",
        resource="secret_id",
        destructive=True,
    )
    def copy_secret(
        self,
        secret_id: SecretId,
        target: Target,
        destination: To,
        to_name: SecretName | None = None,
        version_id: VersionId | None = None,
        version_stage: VersionStage | None = None,
        overwrite: bool = False,
        with_metadata: bool = False,
        to_kms_key_id: KmsKeyId | None = None,
    ) -> CopiedSecret:
        """Copy a secret's value to another account, region or name, unseen.

        Args:
            overwrite: Write a new version where the secret exists
            with_metadata: Take tags and description along
        """
        source, sink = self.client(target), self.client(destination)
        described = Secret.model_validate(source.describe_secret(SecretId=secret_id))
        name = to_name or described.name
        there = self._account_and_region(destination)
        if (name, *there) == (described.name, *self._account_and_region(target)):
            raise InvalidParameter("The copy would be the secret itself: name another account, region or to_name.")
        held = read(source, secret_id, version_id, version_stage)
        written, created = self._write(sink, name, held, described, overwrite, with_metadata, to_kms_key_id)
        return CopiedSecret(
            source_arn=held.arn,
            source_version_id=held.version_id,
            name=name,
            arn=written["ARN"],
            version_id=written["VersionId"],
            to_account_id=there[0],
            to_region=there[1],
            created=created,
        )

    @tool(READ, "secretsmanager:GetSecretValue", resource="secret_id")
    def compare_secrets(
        self,
        secret_id: SecretId,
        target: Target,
        other: Other,
        other_secret_id: SecretId | None = None,
        version_id: VersionId | None = None,
        version_stage: VersionStage | None = None,
        other_version_id: VersionId | None = None,
        other_version_stage: VersionStage | None = None,
    ) -> Comparison:
        """Tell whether two secrets' values are equal across accounts, regions or versions, and which JSON keys differ.

        Args:
            other_secret_id: The same name if not given
        """
        one = read(self.client(target), secret_id, version_id, version_stage)
        two = read(self.client(other), other_secret_id or secret_id, other_version_id, other_version_stage)
        if (one.arn, one.version_id) == (two.arn, two.version_id):
            raise InvalidParameter("Both sides are one version of one secret.")
        return Comparison(
            equal=one.content == two.content,
            fingerprint=_fingerprint(one),
            other_fingerprint=_fingerprint(two),
            version_id=one.version_id,
            other_version_id=two.version_id,
            **_differences(one, two),
        )

    @tool(
        WRITE,
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
        "secretsmanager:GetRandomPassword",
        resource="secret_id",
        destructive=True,
        check=_changes_a_key,
    )
    def patch_secret(
        self,
        secret_id: SecretId,
        target: Target,
        set: dict[Key, SecretStr] | None = None,
        generate_keys: Keys | None = None,
        generate: Generate | None = None,
        rename: dict[Key, Key] | None = None,
        remove: Keys | None = None,
        version_id: VersionId | None = None,
    ) -> PatchedSecret:
        """Change keys of a JSON secret, unseen; the rest keeps its bytes. Fails if it changes meanwhile.

        Args:
            generate: How values of generate_keys are made
            version_id: Only if this version is the current one
        """
        client = self.client(target)
        held = read(client, secret_id)
        if version_id is not None and held.version_id != version_id:
            raise conflict()
        put: dict[str, str] = {key: value.get_secret_value() for key, value in (set or {}).items()}
        edit(held.text, put=put, rename=rename or {}, remove=remove or [])  # refuse before anything is generated
        put |= {key: make(client, generate or Generate()) for key in generate_keys or []}
        text = edit(held.text, put=put, rename=rename or {}, remove=remove or [])
        if len(text.encode()) > 65_536:
            raise InvalidParameter("The secret's value would be longer than 65536 bytes.")
        return PatchedSecret(
            name=held.name,
            arn=held.arn,
            version_id=put_if_current(client, held, text),
            from_version_id=held.version_id,
            set_keys=list(set or {}),
            generated_keys=generate_keys or [],
            renamed_keys=rename or {},
            removed_keys=remove or [],
        )

    def _account_and_region(self, target: Target) -> tuple[str, str]:
        call = Call.current()
        grant = call.grant(target)
        return self.desk.credentials.account_id(grant, call.caller), grant.region

    def _write(
        self,
        sink: Any,
        name: str,
        held: Held,
        described: Secret,
        overwrite: bool,
        with_metadata: bool,
        kms_key_id: str | None,
    ) -> tuple[dict[str, Any], bool]:
        """Create the copy, or a new version of what is there where that is asked; say which."""
        if overwrite and _exists(sink, name):
            written = sink.put_secret_value(SecretId=name, **held.content)
            if with_metadata and described.tags:
                sink.tag_resource(SecretId=name, Tags=to_aws_tags(described.tags))
            return written, False
        request: dict[str, Any] = {"Name": name, **held.content}
        if with_metadata:
            request |= {"Description": described.description or "", "Tags": to_aws_tags(_own(described.tags))}
        if kms_key_id is not None:
            request["KmsKeyId"] = kms_key_id
        return sink.create_secret(**request), True


def _exists(client: Any, name: str) -> bool:
    try:
        client.describe_secret(SecretId=name)
    except Exception as error:
        if is_missing(translate(error)):
            return False
        raise
    return True


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags that a user can set; AWS's own stay behind."""
    return {key: value for key, value in tags.items() if not key.lower().startswith("aws:")}


def _fingerprint(held: Held) -> str:
    data = held.secret_binary if held.secret_binary is not None else held.text.encode()
    return hmac.digest(_FINGERPRINT_KEY, data, hashlib.sha256).hex()[:16]


def _differences(one: Held, two: Held) -> dict[str, Any]:
    """Return what kind of values these are, and for JSON objects how their keys differ."""
    if one.secret_binary is not None or two.secret_binary is not None:
        return {"kind": "binary"}
    try:
        members(one.text), members(two.text)
    except InvalidParameter:
        return {"kind": "string"}
    left, right = json.loads(one.text), json.loads(two.text)
    shared = [key for key in left if key in right]
    return {
        "kind": "json",
        "missing": [key for key in right if key not in left],
        "added": [key for key in left if key not in right],
        "different_type": [key for key in shared if type(left[key]) is not type(right[key])],
        "different": [key for key in shared if type(left[key]) is type(right[key]) and left[key] != right[key]],
    }
