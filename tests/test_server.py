"""The front door: what starts, what refuses to, and what it says."""

from __future__ import annotations

import logging.config
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import server
from tests.conftest import TOKEN, aws_environment, know_only, server_environment
from tests.loopback import free_port
from tests.processes import ROOT, clean_environment, run_server, server_process

UNUSABLE = [
    ({}, "MCP_AUTH_TOKEN"),
    ({"MCP_AUTH_TOKEN": ""}, "MCP_AUTH_TOKEN"),
    ({"MCP_AUTH_TOKEN": "    " * 8}, "MCP_AUTH_TOKEN"),
    ({"MCP_AUTH_TOKEN": "hush-too-short"}, "MCP_AUTH_TOKEN"),
    ({"MCP_AUTH_TOKEN": "replace-me-with-a-random-token"}, "MCP_AUTH_TOKEN"),
    ({"MCP_AUTH_TOKEN": TOKEN, "AUDIT_HMAC_KEY": "replace-me-with-32-random-characters"}, "AUDIT_HMAC_KEY"),
    ({"MCP_AUTH_TOKEN": TOKEN, "AUDIT_HMAC_KEY": TOKEN}, "AUDIT_HMAC_KEY"),
    ({"MCP_AUTH_TOKEN": "your-secret-token-hush"}, "MCP_AUTH_TOKEN"),
    ({"MCP_ALLOW_ANONYMOUS": "1", "MCP_HOST": "0.0.0.0"}, "MCP_ALLOW_ANONYMOUS"),
    ({"MCP_AUTH_TOKEN": TOKEN, "MCP_PORT": "eighty"}, "MCP_PORT"),
    ({"MCP_AUTH_TOKEN": TOKEN, "MCP_HOST": "256.0.0.1"}, "MCP_HOST"),
    ({"MCP_AUTH_TOKEN": TOKEN, "READ_ONLY": "maybe"}, "READ_ONLY"),
    ({"MCP_AUTH_TOKEN": TOKEN, "READ_ONLY": ""}, "READ_ONLY"),
    ({"MCP_AUTH_TOKEN": TOKEN, "AWS_REGION": "Frankfurt"}, "AWS_REGION"),
    ({"MCP_AUTH_TOKEN": TOKEN, "TOOLSETS": "secrets,cooking"}, "TOOLSETS"),
    ({"MCP_AUTH_TOKEN": TOKEN, "CALL_DEADLINE_SECONDS": "0"}, "CALL_DEADLINE_SECONDS"),
    ({"MCP_AUTH_TOKEN": TOKEN, "CALL_DEADLINE_SECONDS": "nan"}, "CALL_DEADLINE_SECONDS"),
    ({"MCP_AUTH_TOKEN": TOKEN, "MAX_CONCURRENT_CALLS": "4", "MAX_CONCURRENT_CALLS_PER_IDENTITY": "5"}, "PER_IDENTITY"),
    ({"MCP_AUTH_TOKEN": TOKEN, "ROLE_SESSION_SECONDS": "899"}, "ROLE_SESSION_SECONDS"),
    ({"MCP_AUTH_TOKEN": TOKEN, "ALLOWED_ROLE_ARNS": "arn:aws:iam::1*:role/x"}, "ALLOWED_ROLE_ARNS"),
    ({"MCP_AUTH_TOKEN": TOKEN, "ACCOUNT_PROD_ROLE_ARN": "role/x"}, "ACCOUNT_PROD_ROLE_ARN"),
    ({"MCP_AUTH_TOKEN": TOKEN, "ACCOUNT_PROD_REGION": "eu-west-1"}, "ACCOUNT_PROD"),
    ({"MCP_AUTH_TOKEN": TOKEN, "ACCOUNTS_FILE": "/does/not/exist"}, "ACCOUNTS_FILE"),
    ({"MCP_AUTH_TOKEN": TOKEN, "AUDIT_LOG": "/does/not/exist"}, "AUDIT_LOG"),
    ({"MCP_AUTH_TOKEN": TOKEN, "AUDIT_LOG": "/dev/full"}, "AUDIT_LOG"),
    ({"MCP_AUTH_TOKEN": TOKEN, "MCP_JWT_ISSUER": "https://idp.example"}, "MCP_JWT"),
]


@pytest.mark.parametrize(("environment", "named"), UNUSABLE, ids=lambda value: value if isinstance(value, str) else "")
def test_a_configuration_that_cannot_be_used_stops_the_start_with_one_line_that_names_it(
    environment: dict[str, str], named: str, only: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    only(**{"AUDIT_LOG": "/dev/null", "MCP_PORT": "0", **environment})
    assert server.main([]) == 2
    printed = capfd.readouterr()
    (line,) = printed.err.strip().splitlines()
    assert named in line
    assert "hush" not in printed.out + printed.err


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Make these variables the environment's only ones of ours."""

    def set_environment(**variables: str) -> None:
        know_only(monkeypatch, **variables)

    yield set_environment
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}})


def test_a_process_that_cannot_start_ends_with_status_2_and_no_traceback() -> None:
    ended = run_server(MCP_AUTH_TOKEN="hush")
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.strip().splitlines()
    assert "MCP_AUTH_TOKEN" in line
    assert "hush" not in line


@pytest.mark.parametrize(("variable", "value"), [("MCP_AUTH_TOKEN", ""), ("READ_ONLY", "maybe")])
def test_a_broken_configuration_is_told_before_anything_slow_is_imported(variable: str, value: str) -> None:
    started = "import sys, server; status = server.main([]); sys.exit(1 if 'fastmcp' in sys.modules else status)"
    ended = subprocess.run(
        [sys.executable, "-c", started], cwd=ROOT, env=clean_environment(**{"MCP_AUTH_TOKEN": TOKEN, variable: value}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, variable in ended.stderr) == (2, "", True)


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_the_env_file_of_the_current_directory_is_nobodys(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("READ_ONLY=hush\nFASTMCP_LOG_LEVEL=hush\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = subprocess.run(
            [sys.executable, str(ROOT / "server.py"), *arguments], cwd=tmp_path, capture_output=True, text=True,
            env=clean_environment(MCP_AUTH_TOKEN=TOKEN, MCP_PORT=str(taken.getsockname()[1]), **aws_environment("http://127.0.0.1:9")),
            check=False,
        )  # fmt: skip
    assert "hush" not in ended.stdout + ended.stderr
    assert ended.returncode == (1 if arguments else 2), "AWS is out of reach, or the port is taken"


@pytest.mark.parametrize("variable", ["MCP_PORT", "METRICS_PORT"])
def test_a_port_that_is_taken_stops_the_start_with_one_line_and_nothing_else(variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run_server(timeout=60, MCP_AUTH_TOKEN=TOKEN, **{"MCP_PORT": "0", variable: str(taken.getsockname()[1])})
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.strip().splitlines()
    assert variable in line


def test_an_account_stands_in_one_place_only(
    tmp_path: Path, only: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[accounts.Data_Lake]\nrole_arn = "arn:aws:iam::333333333333:role/x"\n')
    only(
        MCP_AUTH_TOKEN=TOKEN,
        ACCOUNTS_FILE=str(accounts),
        ACCOUNT_DATA_LAKE_ROLE_ARN="arn:aws:iam::444444444444:role/x",
    )
    assert server.main([]) == 2
    assert "data-lake" in capfd.readouterr().err


@pytest.mark.parametrize("text", ["not toml [", "[accounts]\nx = 1\n", '[accounts.x]\nrole_arm = "x"\n', "\x00"])
def test_an_accounts_file_that_cannot_be_understood_stops_the_start(
    tmp_path: Path, text: str, only: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(text)
    only(MCP_AUTH_TOKEN=TOKEN, ACCOUNTS_FILE=str(accounts))
    assert server.main([]) == 2
    assert "ACCOUNTS_FILE" in capfd.readouterr().err


def test_the_seeds_import_test_works_without_any_configuration(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from server import mcp; print('OK')"],
        cwd=tmp_path, env=clean_environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.stdout.strip(), ended.returncode) == ("OK", 0)


def test_the_probes_answer_whatever_the_host_header_and_the_rest_asks_for_a_token(moto_url: str) -> None:
    with server_process(**server_environment(), **aws_environment(moto_url)) as running:
        assert running.get("/healthz", Host="10.0.3.7:8100") == (200, "OK")
        status, body = running.get("/readyz", Host="10.0.3.7:8100")
        assert (status, '"ready":true' in body) == (200, True)
        for path in ("/sse", "/mcp", "/messages/?session_id=0"):
            assert running.get(path)[0] == 401
            assert running.get(path, Authorization=f"Bearer {TOKEN}x")[0] == 401
            assert running.get(path, Authorization=f"Basic {TOKEN}")[0] == 401
            assert running.get(f"{path}?token={TOKEN}")[0] == 401
            assert running.get(path, Authorization=f"Bearer {TOKEN}", Host="evil.example")[0] == 421
            assert running.get(path, Authorization=f"Bearer {TOKEN}", Origin="https://evil.example")[0] == 403
        assert running.get("/metrics")[0] in (401, 404)


def test_a_server_without_credentials_lives_but_is_not_ready() -> None:
    nothing = {name: value for name, value in aws_environment("http://127.0.0.1:9").items() if "KEY" not in name}
    with server_process(**server_environment(), **nothing) as running:
        assert running.get("/healthz")[0] == 200
        assert running.get("/readyz") == (
            503, '{"ready":false,"checks":{"credentials":false,"audit":true,"accepting":true}}',
        )  # fmt: skip


def test_the_doctor_has_a_line_for_each_account_and_says_what_to_do(moto_url: str) -> None:
    well = run_server("--check", **server_environment(), **aws_environment(moto_url))
    assert well.returncode == 0
    assert [line.split()[0] for line in well.stdout.splitlines()] == ["ok"] * 4
    assert "222222222222" in well.stdout
    unreachable = run_server("--check", timeout=60, **server_environment(), **aws_environment("http://127.0.0.1:9"))
    assert unreachable.returncode == 1
    assert "To do:" in unreachable.stdout
    assert run_server("--check", MCP_AUTH_TOKEN=TOKEN, MCP_PORT="x").returncode == 1


def test_metrics_are_for_this_machine_and_idle_connections_cost_no_threads() -> None:
    port = free_port()
    environment = server_environment(METRICS_PORT=str(port), MCP_HOST="127.0.0.2")
    with server_process(**environment, **aws_environment("http://127.0.0.1:9")) as running, ExitStack() as stack:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port))
        before = len(os.listdir(f"/proc/{running.process.pid}/task"))
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"aws_ops_calls_in_flight" in answer.read()
        assert len(os.listdir(f"/proc/{running.process.pid}/task")) <= before + 2


def test_metrics_are_elsewhere_where_the_operator_says_so() -> None:
    port = free_port()
    environment = server_environment(METRICS_PORT=str(port), METRICS_HOST="127.0.0.3")
    with server_process(**environment, **aws_environment("http://127.0.0.1:9")):
        assert urllib.request.urlopen(f"http://127.0.0.3:{port}/metrics", timeout=10).status == 200
