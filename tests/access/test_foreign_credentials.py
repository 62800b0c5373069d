"""Credentials that botocore fetches by the host's configuration: they serve, or the caller is told what to mend."""

from __future__ import annotations

import base64
import hashlib
import json
import logging.config
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

import server as front_door
from tests.access.test_credentials import pod_identity_agent
from tests.conftest import aws_environment, running, server_environment
from tests.standin import Standin

SAID = "hush-what-the-helper-said"
SESSION = "arn:aws:iam::123456789012:user/jo"
OVER = """
[profile over]
role_arn = arn:aws:iam::123456789012:role/aws-ops-target
source_profile = odd
"""


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with Standin(canned=True) as started:
        yield started


@pytest.fixture
def host(standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the host's AWS files; no keys in the environment."""
    for name, value in {**server_environment(), **aws_environment(standin.url)}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(tmp_path))
    yield tmp_path
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}})


def configured(host: Path, *lines: str) -> None:
    (host / "config").write_text("\n".join(["[profile odd]", *lines, OVER]))


async def told(capfd: pytest.CaptureFixture[str], *words: str, profiles: tuple[str | None, ...] = (None,)) -> None:
    """Calls of every kind, and the doctor, say the words, and not what the helper said."""
    async with (
        running(TOOLSETS="all", ALLOWED_PROFILES="odd,over", ALLOWED_ROLE_ARNS="*") as server,
        server.session() as call,
    ):
        for tool in ("list_secrets", "get_caller_identity"):
            for profile in profiles:
                answer = await call(tool, **({"profile": profile} if profile else {}))
                assert answer.error_code == "NoCredentials", answer.text
                assert answer["retryable"] is False
                assert SAID not in answer.text
                assert any(word in answer.text for word in words), answer.text
    capfd.readouterr()
    assert front_door.main(["--check"]) == 1
    (line,) = [line for line in capfd.readouterr().out.splitlines() if "base identity" in line]
    assert SAID not in line
    assert any(word in line for word in words), line


WAYS = (None, "odd", "over")


@pytest.mark.parametrize(
    "prints",
    [
        f"echo {SAID}",
        f"sh -c 'echo {SAID} >&2; exit 3'",
        "true",
        f"/no/such/{SAID}",
        """echo '{"Version": 7}'""",
        """echo '{"Version": 1, "AccessKeyId": "hush-what-the-helper-said"}'""",
        "echo '[1]'",
        r"printf '\377'",
        """echo '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c", "Expiration": "soon"}'""",  # noqa: E501 - as a file has it
    ],
)
async def test_a_credential_process_that_prints_no_credentials_is_named_and_not_quoted(
    host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], prints: str
) -> None:
    configured(host, f"credential_process = {prints}")
    monkeypatch.setenv("AWS_PROFILE", "odd")
    await told(capfd, "credential_process", profiles=WAYS)


def sign_in(host: Path, **changed: object) -> None:
    """What `aws login` leaves."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    keys = {"accessKeyId": "ASIALOGIN", "secretAccessKey": "x", "sessionToken": "t", "accountId": "123456789012"}
    token = {
        "accessToken": {**keys, "expiresAt": "2199-01-01T00:00:00Z"},
        "refreshToken": "r",
        "clientId": "c",
        "dpopKey": key.decode(),
        **changed,
    }
    name = hashlib.sha256(SESSION.encode()).hexdigest()
    (host / f"{name}.json").write_text(json.dumps({key: value for key, value in token.items() if value is not None}))


async def test_a_profile_of_aws_login_signs_as_itself_as_a_source_and_as_the_base_identity(
    host: Path, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(host, f"login_session = {SESSION}")
    monkeypatch.setenv("AWS_PROFILE", "odd")
    sign_in(host)
    standin.reset()
    async with (
        running(TOOLSETS="all", ALLOWED_PROFILES="odd,over", ALLOWED_ROLE_ARNS="*") as server,
        server.session() as call,
    ):
        for profile in WAYS:
            answer = await call("list_secrets", **({"profile": profile} if profile else {}))
            assert not answer.is_error, answer.text
    assert {made.access_key for made in standin.calls("AssumeRole")} == {"ASIALOGIN"}


@pytest.mark.parametrize("left", [None, {"refreshToken": None}, {"accessToken": {}}, {"dpopKey": SAID}])
async def test_a_login_that_has_ended_or_was_not_begun_says_to_sign_in(
    host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], left: dict[str, object] | None
) -> None:
    configured(host, f"login_session = {SESSION}")
    monkeypatch.setenv("AWS_PROFILE", "odd")
    if left is not None:
        ended = {"accessKeyId": "a", "secretAccessKey": "b", "sessionToken": "c", "accountId": "1"}
        sign_in(host, **{"accessToken": {**ended, "expiresAt": "2001-01-01T00:00:00Z"}, **left})
    await told(capfd, "aws login", profiles=WAYS)


@pytest.mark.parametrize(
    "uri", ["http://host.docker.internal:9911/", "http://192.0.2.7/x", "localhost:9911/", "http://127.0.0.1:9/"]
)
async def test_a_container_address_that_cannot_be_used_is_told_by_its_variable(
    host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], uri: str
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
    await told(capfd, "AWS_CONTAINER_CREDENTIALS_FULL_URI")


@pytest.mark.parametrize("token", ["first\n", "first\r\n", "one\ntwo\n", None])
async def test_a_token_file_of_pod_identity_that_is_not_one_plain_line_is_told_by_its_variable(
    host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], token: str | None
) -> None:
    if token is not None:
        (host / "token").write_bytes(token.encode())
    with pod_identity_agent(3600) as (url, _):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(host / "token"))
        await told(capfd, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["sso_session = s", "sso_account_id = 1", "sso_role_name = r"], "sso"),
        (["sso_start_url = https://x", "sso_region = us-east-1", "sso_account_id = 1", "sso_role_name = r"], "sso"),
        (["aws_access_key_id = a"], "secret"),
        (["role_arn = arn:aws:iam::123456789012:role/x", "source_profile = gone"], "source_profile"),
        (["role_arn = arn:aws:iam::123456789012:role/x", "credential_source = Moon"], "credential_source"),
        (
            ["role_arn = arn:aws:iam::123456789012:role/x", "web_identity_token_file = /no/such"],
            "web_identity_token_file",
        ),
    ],
)
async def test_a_profile_that_cannot_give_credentials_says_which_part_of_it(
    host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], lines: list[str], word: str
) -> None:
    configured(host, *lines)
    monkeypatch.setenv("AWS_PROFILE", "odd")
    await told(capfd, word, word.upper(), profiles=(None, "odd"))


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("AWS_ENDPOINT_URL", "localhost:4566", "AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "127.0.0.1", "AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL_STS", "no url", "AWS_ENDPOINT_URL"),
        ("AWS_DEFAULTS_MODE", "fast", "AWS_DEFAULTS_MODE"),
        ("AWS_RETRY_MODE", "fast", ""),
        ("AWS_STS_REGIONAL_ENDPOINTS", "moon", "AWS_STS_REGIONAL_ENDPOINTS"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "always", "AWS_REQUEST_CHECKSUM_CALCULATION"),
    ],
)
async def test_a_setting_that_botocore_does_not_know_is_named(
    host: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, word: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, base64.b64encode(b"testing").decode())
    monkeypatch.setenv(variable, value)
    async with (
        running(TOOLSETS="all", ALLOWED_PROFILES="odd,over", ALLOWED_ROLE_ARNS="*") as server,
        server.session() as call,
    ):
        for tool, more in (
            ("list_secrets", {"account": "production"}),
            ("get_caller_identity", {}),
            ("list_buckets", {}),
            ("create_secret", {"name": "x", "secret_value": "a-long-enough-one"}),
        ):
            answer = await call(tool, **more)
            if answer.is_error:
                assert answer.error_code == "InvalidConfiguration", answer.text
                assert answer["retryable"] is False
                assert word in answer.text
