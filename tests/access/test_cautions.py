"""Settings that are wider than they look are warned of by their names; those that are not are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from access.cautions import cautions
from config import Settings
from tests.conftest import ROLES, TOKEN, aws_environment, server_environment
from tests.processes import run_server, server_process


def warned(**environment: str) -> list[str]:
    return list(cautions(Settings.from_environment(environment)))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALLOWED_ROLE_ARNS", "*"), ("ALLOWED_ROLE_ARNS", f"{ROLES['staging']},arn:aws:iam::*:role/*"),
        ("ALLOWED_ROLE_ARNS", "arn:*:iam::*:*"), ("ALLOWED_ROLE_ARNS", "arn:aws:iam::*:role/aws-ops-target"),
        ("MCP_ALLOWED_HOSTS", "*"), ("MCP_ALLOWED_HOSTS", "mcp.example.com,*:8100"), ("MCP_ALLOWED_HOSTS", "*.*"),
        ("MCP_ALLOWED_ORIGINS", "*"), ("MCP_ALLOWED_ORIGINS", "https://*"), ("MCP_ALLOWED_ORIGINS", "h*://*"),
    ],
)  # fmt: skip
def test_what_admits_anything_is_warned_of(variable: str, value: str) -> None:
    (line,) = warned(**{variable: value})
    assert variable in line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALLOWED_ROLE_ARNS", ",".join(ROLES.values())), ("ALLOWED_ROLE_ARNS", "arn:aws:iam::111111111111:role/*"),
        ("ALLOWED_ROLE_ARNS", ""), ("MCP_ALLOWED_HOSTS", "*.corp.example.com,10.*,[fd00::*]:8100"),
        ("MCP_ALLOWED_ORIGINS", "https://*.corp.example.com,http://localhost:*,vscode-webview://*"),
    ],
)  # fmt: skip
def test_what_admits_some_is_not(variable: str, value: str) -> None:
    assert warned(**{variable: value}) == []


@pytest.mark.parametrize("variable", ["MCP_CALLERS_FILE", "ACCOUNTS_FILE"])
@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "told"),
    [(0o600, 0o755, False), (0o644, 0o1777, False), (0o602, 0o755, True), (0o664, 0o755, True), (0o600, 0o777, True)],
)
def test_a_file_that_others_may_write_or_replace_is_warned_of(
    variable: str, file_mode: int, folder_mode: int, told: bool, tmp_path: Path
) -> None:
    file = tmp_path / "folder" / "file.toml"
    file.parent.mkdir()
    file.write_text(f'[accounts.x]\nrole_arn = "{ROLES["staging"]}"\n')
    file.chmod(file_mode)
    file.parent.chmod(folder_mode)
    assert [variable in line for line in warned(**{variable: str(file)})] == [True] * told


def test_start_and_check_say_it() -> None:
    wide = {**server_environment(ALLOWED_ROLE_ARNS="*", MCP_ALLOWED_HOSTS="*"), **aws_environment("http://127.0.0.1:9")}
    with server_process(**wide) as running:
        told = [record["message"] for record in running.records() if record.get("level") == "WARNING"]
    for variable in ("ALLOWED_ROLE_ARNS", "MCP_ALLOWED_HOSTS"):
        assert any(variable in line for line in told)
        assert f"note  {variable}" in run_server("--check", timeout=60, **wide).stdout
    assert TOKEN not in "".join(told)
