"""docker-start.sh: first against a `docker` that only notes what it is asked, then against a real engine."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.container.engine import Engine
from tests.loopback import free_port

PLACEHOLDER = "replace-me-with-a-random-token"
# What `docker` is asked is written to $LOG; FAIL names the command that fails, SAYS is what it then says.
FAKE_DOCKER = """#!/bin/sh
echo "$*" >>"$LOG"
case "$*" in *"$FAIL"*) echo "$SAYS"; echo "$SAYS" >&2; exit 1 ;; esac
case "$*" in
"compose up"*) echo "user=$HOST_UID" >>"$LOG" ;;
"compose port"*) echo 127.0.0.1:8100 ;;
"compose ps"*) [ -z "$EXITED" ] || echo 0123abcd ;;
"compose logs"*) echo "aws-ops cannot start: because" ;;
esac
"""


@pytest.fixture
def start(project: Path) -> Any:
    """Run the checkout's docker-start.sh with a fake `docker`; `start.log` is what that was asked."""
    tools = project.parent / "bin"
    tools.mkdir()
    log = project.parent / "log"

    def run(with_docker: bool = True, fail: str = "nothing at all", uid: int = 0, **environment: str) -> Any:
        (tools / "id").write_text(f"#!/bin/sh\necho {uid}\n")
        (tools / "id").chmod(0o755)
        for tool in ("bash", "cat", "chmod", "dirname", "grep", "mkdir", "mv", "od", "sleep", "tr"):
            if not (tools / tool).exists():
                (tools / tool).symlink_to(shutil.which(tool) or tool)
        if with_docker:
            (tools / "docker").write_text(FAKE_DOCKER)
            (tools / "docker").chmod(0o755)
        path = {"PATH": str(tools), "HOME": str(project.parent / "home"), "LOG": str(log), "FAIL": fail}
        return subprocess.run(
            [str(project / "docker-start.sh")], env={**path, "WAIT_SECONDS": "1", **environment}, cwd="/",
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip

    run.log = log  # type: ignore[attr-defined]
    return run


def token_of(env: Path) -> str:
    found = re.search(r"^MCP_AUTH_TOKEN=(.*)$", env.read_text(), re.M)
    return found[1] if found else ""


def test_it_makes_env_with_a_random_token_for_its_owner_alone(start: Any, project: Path) -> None:
    done = start()
    assert done.returncode == 0, done.stderr
    example, env = (project / ".env.example").read_text(), project / ".env"
    token = token_of(env)
    assert re.fullmatch(r"[0-9a-f]{48}", token)
    assert env.read_text() == example.replace(f"MCP_AUTH_TOKEN={PLACEHOLDER}", f"MCP_AUTH_TOKEN={token}")
    assert env.stat().st_mode & 0o777 == 0o600
    assert token not in done.stdout + done.stderr + start.log.read_text()
    assert not (project / ".env.part").exists()


def test_it_prints_the_url_once_the_server_is_ready(start: Any) -> None:
    assert "http://127.0.0.1:8100/sse" in start().stdout
    asked = start.log.read_text().splitlines()
    assert asked.index("compose up --build --detach server") < asked.index(
        "compose exec -T server python deploy/healthcheck.py /readyz"
    )


def test_a_second_run_keeps_the_token_and_everything_else(start: Any, project: Path) -> None:
    start()
    env = project / ".env"
    env.write_text(env.read_text() + "ACCOUNT_X_PROFILE=x\n")
    env.chmod(0o644)
    before = env.read_text()
    assert start().returncode == 0
    assert env.read_text() == before
    assert env.stat().st_mode & 0o777 == 0o600


def test_it_replaces_the_placeholder_in_a_copied_env(start: Any, project: Path) -> None:
    """The README's `cp .env.example .env`, edited, but not there."""
    shutil.copy(project / ".env.example", project / ".env")
    with (project / ".env").open("a") as env:
        env.write("ACCOUNT_X_PROFILE=x")
    assert start().returncode == 0
    assert len(token_of(project / ".env")) == 48
    assert (project / ".env").read_text().endswith("ACCOUNT_X_PROFILE=x\n")


def test_an_env_without_any_token_is_left_alone(start: Any, project: Path) -> None:
    """It may hold a callers file or OIDC instead."""
    (project / ".env").write_text("MCP_CALLERS_FILE=callers.toml\n")
    assert start().returncode == 0
    assert (project / ".env").read_text() == "MCP_CALLERS_FILE=callers.toml\n"


def test_it_makes_the_folders_that_compose_mounts(start: Any, project: Path) -> None:
    start()
    for cache in ("sso", "login"):
        folder = project.parent / "home" / ".aws" / cache / "cache"
        assert folder.is_dir()
        assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_the_container_runs_as_its_caller_also_when_compose_is_used_later(start: Any, project: Path) -> None:
    start(uid=1234)
    assert "user=1234" in start.log.read_text()
    assert (project / ".env").read_text().endswith("HOST_UID=1234\nHOST_GID=1234\n")


def test_the_container_does_not_run_as_root(start: Any, project: Path) -> None:
    done = start(uid=0)
    assert "user=\n" in start.log.read_text()
    assert "10001" in done.stderr
    assert "\nHOST_UID=" not in (project / ".env").read_text()


@pytest.mark.parametrize(
    ("fail", "says"),
    [
        ("compose version", "Compose v2 is missing"),
        ("info", "the Docker daemon does not answer"),
        ("up", "no space left"),
    ],
)
def test_it_says_what_is_wrong_with_docker(start: Any, fail: str, says: str) -> None:
    done = start(fail=fail, SAYS="no space left")
    assert done.returncode != 0
    assert says in done.stderr
    assert "ready" not in done.stdout


def test_without_docker_it_says_so_and_makes_nothing(start: Any, project: Path) -> None:
    done = start(with_docker=False)
    assert done.returncode == 1
    assert "docker is not installed" in done.stderr
    assert not (project / ".env").exists()


def test_a_server_that_stops_is_reported_with_its_last_words(start: Any) -> None:
    done = start(fail="exec", EXITED="1")
    assert done.returncode == 1
    assert "aws-ops cannot start: because" in done.stderr


def test_a_server_that_does_not_get_ready_is_reported_with_what_fails(start: Any) -> None:
    done = start(fail="exec", SAYS='{"ready":false,"checks":{"credentials":false}}')
    assert done.returncode == 1
    assert "no AWS credentials" in done.stderr
    assert "http://127.0.0.1:8100" in done.stderr


@pytest.mark.container
def test_for_real_it_builds_and_ends_with_a_server_that_is_ready(docker: Engine, project: Path) -> None:
    home, port = project.parent / "home", free_port()
    settings = {"HOME": str(home), "MCP_PORT": str(port), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    try:
        done = docker.docker(project, "./docker-start.sh", **settings)
        assert f"http://127.0.0.1:{port}/mcp" in done.stdout
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            assert answer.status == 200
    finally:
        docker.docker(project, "docker", "compose", "down", "--timeout", "1", **settings)
