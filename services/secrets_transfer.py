"""AWS Secrets Manager: copying, comparing and patching secrets without showing a value.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import InvalidParameter, is_denial, is_missing, translate
from services._json_members import edit, members, parsed, same, to_json, type_of
from services._key_names import looks_like_a_name
from services._secret_values import Held, conflict, make, put_if_current, read
from services._secrets import (
    CURRENT,
    KMS_READ,
    KMS_WRITE,
    MAX_VALUE_BYTES,
    NAME,
    Generate,
    JsonText,
    KmsKeyId,
    Secret,
    SecretId,
    SecretJson,
    SecretName,
    VersionId,
    VersionStage,
    bearer,
    describe,
    place_of,
    reach,
)
from services.base import READ, REVEAL, WRITE, AWSModel, AWSServiceBase, Standing, Target, to_aws_tags, tool
from toolcall.call import Call

Key = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Keys = Annotated[list[Key], Field(min_length=1, max_length=100)]
To = Annotated[Target, "to_"]
Other = Annotated[Target, "other_"]


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
    unchanged: bool = Field(default=False, description="It held that value already: no version was written")
    replaced_version_id: str | None = Field(default=None, description="rollback_secret goes back to it")


class Comparison(AWSModel):
    """Whether two values are equal; for two JSON objects, the top-level keys that are not. Never a value."""

    equal: bool = Field(description="Byte for byte; JSON that is spelled differently may be unequal with no key named")
    kind: str
    other_kind: str
    fingerprint: str = Field(description="Of this answer alone: the same value has another in the next")
    other_fingerprint: str
    different: list[str] = []
    missing: list[str] = Field(default=[], description="Keys that only the other has")
    added: list[str] = Field(default=[], description="Keys that the other lacks")
    different_type: list[str] = []
    unnamed: dict[str, int] = Field(
        default={}, description="How many keys each list leaves out: odd-looking ones are shown with the scope reveal"
    )
    arn: str
    version_id: str
    other_arn: str
    other_version_id: str


class PatchedSecret(AWSModel):
    """The new version, the one it was made from, and the keys that changed."""

    name: str
    arn: str
    version_id: str
    from_version_id: str
    unchanged: bool = Field(default=False, description="It was like that already: no version was written")
    set_keys: list[str] = []
    generated_keys: list[str] = []
    renamed_keys: dict[str, str] = {}
    removed_keys: list[str] = []


def _goes_to_a_stranger(arguments: Mapping[str, Any], standing: Standing) -> bool:
    return standing.is_stranger(standing.account_id(arguments["destination"]), arguments["target"])


def _changes_a_key(arguments: Mapping[str, Any]) -> None:
    changes = [arguments[name] for name in ("set", "generate_keys", "rename", "remove")]
    if not any(changes):
        raise InvalidParameter("Give at least one of set, generate_keys, rename and remove.")
    touched = [key for change in changes if change for key in change]
    if len(set(touched)) < len(touched):
        raise InvalidParameter("One key stands in two of set, generate_keys, rename and remove.")
    if arguments["generate"] is not None and not arguments["generate_keys"]:
        raise InvalidParameter("generate: says how generate_keys are made, and none is given.")
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
        "secretsmanager:UpdateSecretVersionStage",
        "secretsmanager:UpdateSecret",
        "secretsmanager:TagResource",
        *KMS_WRITE,
        resource="secret_id",
        destructive=True,
        reveals_if=_goes_to_a_stranger,
        metered=True,
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
        """Copy a secret's value to another account, region or name, unseen. What no to_ argument names stays.

        To an account that is not configured here only with the scope `reveal`.

        Args:
            overwrite: Write a new version where the secret exists
            with_metadata: Take tags and description along
        """
        source, sink = reach(self, target, secret_id), self.client(destination)
        described = describe(source, secret_id)
        name = to_name or described.name
        if not re.fullmatch(NAME, name):
            raise InvalidParameter("to_name: is needed, since the secret's own name is one that AWS keeps for itself.")
        account, region = self._account_and_region(destination)
        if (name, region, account) == (described.name, *place_of(described.arn)):
            raise InvalidParameter("The copy would be the secret itself: name another account, region or to_name.")
        held = read(source, described.arn, version_id, version_stage)
        copy = _Copy(sink, name, held, described if with_metadata else None, to_kms_key_id)
        with Call.current().at(destination):
            there = _find(sink, name) if overwrite else None
            written = copy.create() if there is None else copy.replace(there, region)
        return CopiedSecret(
            source_arn=held.arn,
            source_version_id=held.version_id,
            name=name,
            to_account_id=account,
            to_region=region,
            **written,
        )

    @tool(READ, "secretsmanager:GetSecretValue", KMS_READ, resource="secret_id", metered=True)
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
        self._refuse_strangers(secret_id, target)
        self._refuse_strangers(other_secret_id or secret_id, target, other)
        one = read(reach(self, target, secret_id), secret_id, version_id, version_stage)
        other_id = other_secret_id or (secret_id if other == target else one.name)
        with Call.current().at(other):
            two = read(reach(self, other, other_id), other_id, other_version_id, other_version_stage)
        if (one.arn, one.version_id) == (two.arn, two.version_id):
            raise InvalidParameter("Both sides are one version of one secret.")
        # A key of this answer's own: kept, it would let whoever may write a guess hold it against fingerprints in
        # old answers, those of secrets out of his reach among them.
        key = secrets.token_bytes(32)
        return Comparison(
            equal=one.content == two.content,
            fingerprint=_fingerprint(key, one),
            other_fingerprint=_fingerprint(key, two),
            arn=one.arn,
            version_id=one.version_id,
            other_arn=two.arn,
            other_version_id=two.version_id,
            **_named(_differences(one, two), self._shows_plaintext),
        )

    @tool(
        WRITE,
        "secretsmanager:GetSecretValue",
        "secretsmanager:DescribeSecret",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
        "secretsmanager:GetRandomPassword",
        *KMS_WRITE,
        resource="secret_id",
        destructive=True,
        check=_changes_a_key,
    )
    def patch_secret(
        self,
        secret_id: SecretId,
        target: Target,
        set: Annotated[dict[Key, SecretJson], Field(max_length=100)] | None = None,
        generate_keys: Keys | None = None,
        generate: Generate | None = None,
        rename: Annotated[dict[Key, Key], Field(max_length=100)] | None = None,
        remove: Keys | None = None,
        version_id: VersionId | None = None,
    ) -> PatchedSecret:
        """Change keys of a JSON secret, unseen; the rest keeps its bytes. Fails if it changes meanwhile.

        Args:
            set: Values of any JSON type, by key
            generate: How values of generate_keys are made
            version_id: Only if this version is the current one
        """
        client = reach(self, target, secret_id)
        held = read(client, secret_id)
        if version_id is not None and held.version_id != version_id:
            raise conflict()
        put = {key: _json_text(value) for key, value in (set or {}).items()}
        edit(held.text, put=put, rename=rename or {}, remove=remove or [])  # refuse before anything is generated
        put |= {key: to_json(make(client, generate or Generate())) for key in generate_keys or []}
        text = edit(held.text, put=put, rename=rename or {}, remove=remove or [])
        if len(text.encode()) > MAX_VALUE_BYTES:
            raise InvalidParameter(f"The secret's value would be longer than {MAX_VALUE_BYTES} bytes.")
        unchanged = text == held.text
        written = held.version_id if unchanged else put_if_current(
            client, held.arn, held.version_id, {"SecretString": text}
        )  # fmt: skip
        return PatchedSecret(
            name=held.name,
            arn=held.arn,
            version_id=written,
            from_version_id=held.version_id,
            unchanged=unchanged,
            set_keys=list(set or {}),
            generated_keys=generate_keys or [],
            renamed_keys=rename or {},
            removed_keys=remove or [],
        )

    @property
    def _shows_plaintext(self) -> bool:
        return self.desk.settings.reveal and REVEAL in Call.current().caller.scopes

    def _refuse_strangers(self, secret_id: str, *targets: Target) -> None:
        """Refuse an ARN of an account that is neither configured nor one of the targets' own.

        Its owner chooses its value: a guess, to be held against a secret of ours.
        """
        if not secret_id.startswith("arn:"):
            return
        _, number = place_of(secret_id)
        if all(self.standing.is_stranger(number, own) for own in targets):
            raise InvalidParameter(
                "The ARN is of an account that is not configured here, so nothing is compared with that secret.",
                next_step="Compare secrets of configured accounts; list_accounts names them.",
            )

    def _account_and_region(self, target: Target) -> tuple[str, str]:
        call = Call.current()
        grant = call.grant(target)
        return self.desk.credentials.account_id(grant, call.caller), grant.region


class _Copy:
    """A value on its way to a name in another place, with its metadata where that is asked."""

    def __init__(self, sink: Any, name: str, held: Held, metadata: Secret | None, kms_key_id: str | None) -> None:
        self._sink, self._name, self._held, self._kms_key_id = sink, name, held, kms_key_id
        self._description = metadata.description if metadata is not None else None
        own = {key: value for key, value in metadata.tags.items() if not _is_awss(key)} if metadata is not None else {}
        self._tags = to_aws_tags(own)

    def create(self) -> dict[str, Any]:
        """Create the copy."""
        request = {
            "Description": self._description,
            "Tags": self._tags,
            "KmsKeyId": self._kms_key_id,
        }
        given = {name: value for name, value in request.items() if value}
        try:
            written = self._sink.create_secret(Name=self._name, **self._held.content, **given)
        except Exception as error:
            failure = translate(error)
            if failure.error_code == "ResourceExistsException":
                failure.next_step = "Look with compare_secrets; then repeat with overwrite=true, or a to_name."
            raise failure from None
        return {"arn": written["ARN"], "version_id": written["VersionId"], "created": True}

    def replace(self, there: Secret, region: str) -> dict[str, Any]:
        """Write the value as a new version of what is there, if that is still what it was; say what it replaced.

        The metadata goes first, so that whatever fails leaves the old value current, and the call can be repeated.
        """
        if there.primary_region not in (None, region):
            raise InvalidParameter(
                f"The secret there is a replica of the one in {there.primary_region}, so it takes no value.",
                next_step="Copy to the primary's region, or promote_replica first.",
            )
        self._write_metadata(there)
        current = bearer(there, CURRENT)
        answer = {"arn": there.arn, "created": False, "replaced_version_id": current}
        if current is None:  # it has no value yet
            version = self._sink.put_secret_value(SecretId=there.arn, **self._held.content)["VersionId"]
            return {**answer, "version_id": version}
        if self._is_there_already(there.arn, current):
            return {**answer, "version_id": current, "unchanged": True, "replaced_version_id": None}
        return {**answer, "version_id": put_if_current(self._sink, there.arn, current, self._held.content)}

    def _write_metadata(self, there: Secret) -> None:
        request = {"Description": self._description, "KmsKeyId": self._kms_key_id}
        if given := {name: value for name, value in request.items() if value}:
            self._sink.update_secret(SecretId=there.arn, **given)
        if self._tags:
            self._sink.tag_resource(SecretId=there.arn, Tags=self._tags)

    def _is_there_already(self, arn: str, version: str) -> bool:
        """Tell whether the value need not be written; an identity that may only write there writes."""
        try:
            return read(self._sink, arn, version).content == self._held.content
        except Exception as error:
            if not is_denial(translate(error)):
                raise
            return False


def _find(client: Any, name: str) -> Secret | None:
    try:
        return describe(client, name)
    except Exception as error:
        if is_missing(translate(error)):
            return None
        raise


def _is_awss(tag_key: str) -> bool:
    return tag_key.lower().startswith("aws:")


def _json_text(value: Any) -> str:
    text = str(value.get_secret_value())
    return text if isinstance(value, JsonText) else to_json(text)


def _fingerprint(key: bytes, held: Held) -> str:
    data = held.secret_binary if held.secret_binary is not None else held.text.encode()
    return hmac.digest(key, data, hashlib.sha256).hex()[:16]


def _kind(held: Held) -> str:
    if held.secret_binary is not None:
        return "binary"
    try:
        members(held.text)
    except InvalidParameter:
        return "string"
    return "json"


def _named(differences: Mapping[str, Any], all_of_them: bool) -> dict[str, Any]:
    """Return differences with the keys that may be named, and of the others their number: a value may stand as key."""
    if all_of_them:
        return dict(differences)
    lists = {name: keys for name, keys in differences.items() if isinstance(keys, list)}
    shown = {name: [key for key in keys if looks_like_a_name(key)] for name, keys in lists.items()}
    unnamed = {name: len(keys) - len(shown[name]) for name, keys in lists.items() if len(keys) > len(shown[name])}
    return {**differences, **shown, "unnamed": unnamed}


def _differences(one: Held, two: Held) -> dict[str, Any]:
    """Return what kind of values these are, and for JSON objects how their keys differ."""
    kinds = {"kind": _kind(one), "other_kind": _kind(two)}
    if set(kinds.values()) != {"json"}:
        return kinds
    left, right = parsed(one.text), parsed(two.text)
    shared = [key for key in left if key in right]
    alike = [key for key in shared if type_of(left[key]) == type_of(right[key])]
    return {
        **kinds,
        "missing": [key for key in right if key not in left],
        "added": [key for key in left if key not in right],
        "different_type": [key for key in shared if key not in alike],
        "different": [key for key in alike if not same(left[key], right[key])],
    }
