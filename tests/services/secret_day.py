"""A day's work with secrets, twice: by the tools that show no value, and by those that do.

The test plays the first and searches for values; `benchmarks.transcript` plays both and counts what a model reads.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from unittest.mock import patch
from urllib.parse import quote, quote_plus

from tests.conftest import boto

ACCOUNTS = ("production", "staging", "development")
DEVELOPMENT = "arn:aws:iam::333333333333:role/aws-ops-target"
AT: dict[str, Any] = {"account": "production"}
FUNCTION = "arn:aws:lambda:us-east-1:111111111111:function:rotate"
# What was there before the day begins; nobody who works through the server has typed it.
CANARY = 'canary-5f1c-Zq!7/+ü"\\'
_LONG_ENOUGH = 8


class Answered(Protocol):
    """An answer, as far as the day needs it."""

    def __getitem__(self, name: str) -> Any: ...


Work = Callable[..., Awaitable[Any]]


def seed(certificate: str = "") -> None:
    """Put into AWS what the day finds there."""
    manager = boto("secretsmanager", "production")
    body = {"user": "svc", "password": CANARY, **({"certificate": certificate} if certificate else {})}
    manager.create_secret(Name="legacy/api", SecretString=json.dumps(body, ensure_ascii=False, indent=1))
    manager.create_secret(Name="legacy/binary", SecretBinary=CANARY.encode())
    for number in range(4):
        manager.create_secret(Name=f"legacy/{number}", SecretString=f"{CANARY} {number // 2}")


async def unseen_day(work: Work) -> None:
    """Create, copy to two accounts, patch, compare, rotate, roll back, audit, delete, restore; no value is shown."""
    template = '{"user": "app", "password": "{{generate}}", "url": "db://app:{{generate}}@db", "rate": 1.10}'
    rules = {"length": 24, "exclude_punctuation": True}
    await work("create_secret", name="day", generate={"template": template, **rules}, tags={"Team": "x"}, **AT)
    for name, place in (("day", "staging"), ("day", "development"), ("legacy/api", "staging")):
        await work("copy_secret", secret_id=name, to_account=place, with_metadata=True, **AT)
    assert (await work("compare_secrets", secret_id="legacy/api", other_account="staging", **AT))["equal"] is True
    await work(
        "patch_secret", secret_id="day", set={"host": "db2", "port": 5432}, generate_keys=["password"],
        rename={"user": "name"}, remove=["rate"], **AT,
    )  # fmt: skip
    for other in ("staging", "development"):
        differs = await work("compare_secrets", secret_id="day", other_account=other, **AT)
        assert (differs["different"], differs["missing"]) == (["password"], ["user", "rate"])
    await work("copy_secret", secret_id="day", to_account="staging", overwrite=True, **AT)
    await work("update_secret", secret_id="legacy/0", generate={}, **AT)
    await work("rollback_secret", secret_id="day", **AT)
    assert (await work("rotate_secret", secret_id="legacy/api", **AT))["finished"] is True
    await work("list_secrets", **AT)
    await work("describe_secret", secret_id="day", **AT)
    await work("delete_secret", secret_id="day", account="development", recovery_window_in_days=7)
    await work("restore_secret", secret_id="day", account="development")


async def admin_day(work: Work) -> None:
    """What only `secrets-admin` does, and the rest of `secrets`."""
    versions = await work("list_secret_versions", secret_id="day", **AT)
    await work(
        "update_secret_version_stage", secret_id="day", version_stage="release",
        to_version_id=versions["versions"][0]["version_id"], **AT,
    )  # fmt: skip
    await work("copy_secret", secret_id="legacy/binary", to_account="staging", **AT)
    await work("tag_secret", secret_id="day", tags={"Env": "test"}, **AT)
    await work("untag_secret", secret_id="day", tag_keys=["Env"], **AT)
    await work("replicate_secret", secret_id="day", replicas=[{"region": "eu-west-1"}], **AT)
    await work("remove_secret_replicas", secret_id="day", regions=["eu-west-1"], **AT)
    await work("configure_rotation", secret_id="day", rotation_lambda_arn=FUNCTION, automatically_after_days=30, **AT)
    await work("cancel_rotation", secret_id="day", **AT)
    statement = {"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    await work("put_secret_policy", secret_id="day", policy=policy, **AT)
    await work("get_secret_policy", secret_id="day", **AT)
    audit = await work("audit_secrets", regions=["us-east-1", "eu-west-1"], **AT)
    found = {row["finding"] for row in audit["findings"]}
    assert {"CrossAccountPolicy", "NoRotation", "DefaultKey"} <= found
    await work("delete_secret_policy", secret_id="day", **AT)


async def plain_day(work: Work) -> None:
    """The same jobs as `unseen_day` by the tools that read and write whole values, as economically as they let one."""
    first = {"user": "app", "password": "Kq83hVbn20xZpLw7Tf5RyDmc", "url": "db://app:Hw72kLmZq04xNvB9tRcYd3Pf@db"}
    text = json.dumps({**first, "rate": 1.10})
    await work("create_secret", name="day", secret_value=text, tags={"Team": "x"}, **AT)
    for account in ("staging", "development"):  # the model still has the value it made up
        await work("create_secret", name="day", secret_value=text, tags={"Team": "x"}, account=account)
    legacy = (await work("get_secret_value", secret_id="legacy/api", **AT))["secret_value"]
    await work("create_secret", name="legacy/api", secret_value=legacy, account="staging")
    assert (await work("get_secret_value", secret_id="legacy/api", account="staging"))["secret_value"] == legacy
    held = json.loads((await work("get_secret_value", secret_id="day", **AT))["secret_value"])
    patched = {"name": "app", "password": "Zt61nRqWv83yKcXp4LhJm9Bs", "url": held["url"], "host": "db2", "port": 5432}
    await work("update_secret", secret_id="day", secret_value=json.dumps(patched), **AT)
    for account in ("staging", "development"):
        await work("get_secret_value", secret_id="day", account=account)
    await work("update_secret", secret_id="day", secret_value=json.dumps(patched), account="staging")
    await work("update_secret", secret_id="legacy/0", secret_value="Wd94sMxQk27zVbTn5HpGy8Lr", **AT)
    old = await work("get_secret_value", secret_id="day", version_stage="AWSPREVIOUS", **AT)
    await work("update_secret", secret_id="day", secret_value=old["secret_value"], **AT)
    rotated = json.dumps({**json.loads(legacy), "password": "Bn57tKzYw19qRxDv6McFh3Js"})
    await work("update_secret", secret_id="legacy/api", secret_value=rotated, **AT)
    await work("list_secrets", **AT)
    await work("describe_secret", secret_id="day", **AT)
    await work("delete_secret", secret_id="day", account="development", recovery_window_in_days=7)
    await work("restore_secret", secret_id="day", account="development")


@contextmanager
def rotating(*, ends: bool = True) -> Iterator[None]:
    """Let AWS's rotation function make versions, current at the second look; moto would need a real one."""
    from moto.secretsmanager.models import SecretsManagerBackend

    begun: dict[str, int] = {}
    describes = SecretsManagerBackend.describe_secret

    def rotate_secret(backend: Any, secret_id: str, **kwargs: Any) -> str:
        secret = backend.secrets[secret_id]
        secret.rotation_lambda_arn = kwargs.get("rotation_lambda_arn") or secret.rotation_lambda_arn
        secret.rotation_enabled = secret.rotation_requested = True
        version = secret.default_version_id
        if kwargs.get("rotate_immediately"):
            value = f"rotated {CANARY}"
            made = backend.put_secret_value(secret_id, value, None, None, version_stages=["AWSPENDING"])
            version = json.loads(made)["VersionId"]
            begun[version] = 0
        return json.dumps({"ARN": secret.arn, "Name": secret.name, "VersionId": version})

    def describe_secret(backend: Any, secret_id: str) -> Any:
        secret = describes(backend, secret_id)
        for version in [version for version in begun if version in secret.versions]:
            begun[version] += 1
            if begun[version] == 2 and ends:
                del begun[version]
                current = next(v for v in secret.versions if "AWSCURRENT" in secret.versions[v]["version_stages"])
                backend.update_secret_version_stage(secret_id, "AWSPENDING", version, None)
                backend.update_secret_version_stage(secret_id, "AWSCURRENT", current, version)
        return secret

    with (
        patch.object(SecretsManagerBackend, "rotate_secret", rotate_secret),
        patch.object(SecretsManagerBackend, "describe_secret", describe_secret),
    ):
        yield


def has_a_function(name: str) -> None:
    """Give a secret a rotation function, as somebody did long before the day."""
    boto("secretsmanager", "production").rotate_secret(
        SecretId=name, RotationLambdaARN=FUNCTION, RotationRules={"AutomaticallyAfterDays": 30}, RotateImmediately=False
    )


def values_held() -> set[str]:
    """Return every value of every version of every secret anywhere, whole and by the strings in its JSON."""
    from moto.secretsmanager.models import secretsmanager_backends

    regions = [region for account in list(secretsmanager_backends.values()) for region in list(account.values())]
    versions = [
        version
        for region in regions
        for secret in list(region.secrets.values())
        for version in list(secret.versions.values())
    ]
    whole = [
        version.get("secret_string") or base64.b64decode(version["secret_binary"]).decode() for version in versions
    ]
    return {text for value in whole for text in parts_of(value) if len(text) >= _LONG_ENOUGH}


def parts_of(value: str) -> Iterator[str]:
    """Yield a value, and where it is JSON the strings in it."""
    yield value
    try:
        held = json.loads(value)
    except ValueError:
        return
    if isinstance(held, dict):
        yield from (text for text in held.values() if isinstance(text, str))


def forms(text: str) -> set[str]:
    """Return a value as it might stand in a text: plain, JSON, URL, hex, base64, and each of them reversed."""
    data = text.encode()
    plain = {
        text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(text))[3:-3], json.dumps(json.dumps(text, ensure_ascii=False), ensure_ascii=False)[3:-3],
        quote(text, safe=""), quote(text), quote_plus(text), data.hex(), data.hex().upper(),
        *(base64.b64encode(b"x" * pad + data).decode()[4:-4] for pad in range(3)),
        *(base64.urlsafe_b64encode(b"x" * pad + data).decode()[4:-4] for pad in range(3)),
    }  # fmt: skip
    return plain | {form[::-1] for form in plain}


def hits(canaries: set[str], place: str) -> int:
    """Return how many canaries stand in a text, in whichever form."""
    return sum(any(form in place for form in forms(text)) for text in canaries)
