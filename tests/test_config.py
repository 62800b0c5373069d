"""Settings: what is understood, what is refused, and that a refusal names the variable and never its value."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import config
from config import Settings
from errors import ConfigurationError

ROLE = "arn:aws:iam::111111111111:role/aws-ops-target"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AWS_REGION", "Frankfurt-hush"),
        ("AWS_DEFAULT_REGION", "Frankfurt-hush"),
        ("ALLOWED_REGIONS", "us-east-1,hush"),
        ("MCP_PORT", "hush"),
        ("MCP_ALLOWED_HOSTS", "mcp.example.com,https://hush.example.com/mcp"),
        ("MCP_ALLOWED_HOSTS", "hush example"),
        ("MCP_ALLOWED_ORIGINS", "hush.example.com"),
        ("MCP_ALLOWED_ORIGINS", "https://hush.example.com/path"),
        ("ALLOWED_ROLE_ARNS", "arn:aws:iam::111111111111:user/hush"),
        ("ALLOWED_ROLE_ARNS", "arn:aws:iam::1*:role/hush"),
        ("ACCOUNT_PROD_ROL_ARN", ROLE + "-hush"),
        ("ACCOUNT_PROD_ROLE", ROLE + "-hush"),
        ("ACCOUNT_DATA_LAKE_EXTERNALID", "hush"),
        ("ACCOUNT_PROD_REGIONS", "us-east-1,hush"),
    ],
)
def test_a_value_that_cannot_be_understood_is_refused_by_the_variables_own_name(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({variable: value})
    assert refused.value.message.startswith(f"{variable}: ")
    assert "hush" not in refused.value.message
    assert "should" not in refused.value.message, "pydantic's words are for programmers"


@pytest.mark.parametrize(
    "uri",
    [
        "http://idp.example.com/keys",
        "HTTP://idp.example.com/keys",
        "http://localhost.example.com/keys",
        "ftp://127.0.0.1/",
        "http://127.0.0.1@idp.example.com/",
        "http://127.0.0.1:80@idp.example.com/",
        "http://127.0.0.1\\@idp.example.com/",
        "http://idp.example.com#@127.0.0.1/",
        "http://10.0.0.1/keys",
        "http://169.254.169.254/keys",
        "http://0.0.0.0/keys",
        "http://127.1/keys",
        "http://2130706433/keys",
        "http://[::ffff:10.0.0.1]/",
        "file:///etc/passwd",
        "//idp.example.com/keys",
        "https:/idp.example.com",
        "https://",
        "https://user:hush@idp.example.com/keys",
        "https://idp.example.com/\n",
        "keys",
    ],
)
def test_keys_come_over_tls_or_from_this_machine(uri: str) -> None:
    jwt = {"MCP_JWT_ISSUER": "https://idp.example.com", "MCP_JWT_AUDIENCE": "aws-ops", "MCP_JWT_JWKS_URI": uri}
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment(jwt)
    assert refused.value.message.startswith("MCP_JWT_JWKS_URI: ")
    assert "https" in refused.value.message
    assert "example" not in refused.value.message
    for good in ("https://idp.example.com/keys?v=2", "http://127.0.0.1:8080/k", "http://[::1]/k", "http://localhost/k"):
        assert Settings.from_environment({**jwt, "MCP_JWT_JWKS_URI": good}).jwt_jwks_uri == good


def test_what_kubernetes_says_of_a_service_called_account_is_no_account() -> None:
    service = {"ACCOUNT_SERVICE_HOST": "10.0.0.1", "ACCOUNT_PORT_80_TCP_PROTO": "tcp", "ACCOUNT_ID": "1"}
    assert Settings.from_environment(service).accounts == ()


@pytest.mark.parametrize(("whole", "per_identity"), [("1", 1), ("8", 8), ("1024", 8)])
def test_few_calls_at_once_are_few_per_identity_without_a_second_variable(whole: str, per_identity: int) -> None:
    settings = Settings.from_environment({"MAX_CONCURRENT_CALLS": whole})
    assert settings.max_concurrent_calls_per_identity == per_identity


def test_hosts_and_origins_are_globs_with_or_without_a_port() -> None:
    settings = Settings.from_environment(
        {
            "MCP_ALLOWED_HOSTS": "mcp.example.com, *.example.com:8443, 10.*, [fd00::1]:8100",
            "MCP_ALLOWED_ORIGINS": "https://*.example.com, http://localhost:*, vscode-webview://*",
        }
    )
    assert len(settings.allowed_hosts + settings.allowed_origins) == 7


def test_a_variable_of_the_env_file_yields_to_the_process_and_comments_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("# a comment\n\nAOPS_A=from the file\nexport AOPS_B='from the file'\n")
    monkeypatch.setenv("AOPS_A", "from the process")
    monkeypatch.setenv("AOPS_B", "")
    monkeypatch.delenv("AOPS_B")
    config.load_env_file(tmp_path / ".env")
    assert (os.environ["AOPS_A"], os.environ["AOPS_B"]) == ("from the process", "from the file")


@pytest.mark.parametrize("line", [b"READ_ONLY", b"READ_ONLY: hush", b"READ_ONLY='hush", b"READ_ONLY=\xff"])
def test_a_line_of_the_env_file_that_cannot_be_understood_stops_the_start(tmp_path: Path, line: bytes) -> None:
    (tmp_path / ".env").write_bytes(
        b"# python-dotenv alone would go on without it, and the server would be writable\n" + line
    )
    with pytest.raises(ConfigurationError) as refused:
        config.load_env_file(tmp_path / ".env")
    assert refused.value.message.startswith(".env: ")
    assert "hush" not in refused.value.message
