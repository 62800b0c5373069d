"""docker-compose.yml through the real Compose: what it promises of each service, and both services running."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from tests.conftest import TOKEN
from tests.container.engine import Engine, eventually
from tests.loopback import free_port

pytestmark = pytest.mark.container
ROLE = "arn:aws:iam::111111111111:role/aws-ops-target"
LAPTOP_UID = 12345
Compose = Callable[..., Any]


@pytest.fixture
def compose(docker: Engine, project: Path) -> Iterator[Compose]:
    """Run `docker compose` in a fresh checkout, with an empty home, and take down what it started."""

    def run(*arguments: str, **more: Any) -> Any:
        return docker.docker(project, "docker", "compose", *arguments, HOME=str(project.parent / "home"), **more)

    yield run
    run("--profile", "*", "down", "--timeout", "1", "--remove-orphans")


@pytest.fixture
def home(project: Path) -> Path:
    """A laptop's home: its owner's alone, on whose files no other uid has any right."""
    home = project.parent / "home"
    for cache in ("sso", "login"):
        (home / ".aws" / cache / "cache").mkdir(parents=True)
    (home / ".aws" / "credentials").write_text("[default]\naws_access_key_id = x\naws_secret_access_key = y\n")
    (home / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n")
    for path in (home / ".aws").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, LAPTOP_UID, LAPTOP_UID)
    (home / ".aws").chmod(0o700)
    os.chown(home / ".aws", LAPTOP_UID, LAPTOP_UID)
    return home


def config(compose: Compose, **environment: str) -> dict[str, Any]:
    services: dict[str, Any] = json.loads(compose("--profile", "*", "config", "--format", "json", **environment).stdout)
    return services["services"]  # type: ignore[no-any-return]


async def accounts(url: str, token: str) -> dict[str, Any]:
    async with Client(f"{url}/mcp", auth=token) as client:
        answer = await client.call_tool("list_accounts", {})
    return {account["name"]: account for account in answer.structured_content["accounts"]}


@pytest.mark.parametrize("profile", [(), ("--profile", "demo")])
def test_the_file_is_valid_in_a_fresh_checkout(compose: Compose, profile: tuple[str, ...]) -> None:
    assert compose(*profile, "config", "--quiet").stderr == ""


def test_every_service_is_hardened_and_listens_on_loopback_alone(compose: Compose) -> None:
    services = config(compose)
    assert set(services) == {"server", "demo"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
        assert not service.get("privileged")
        assert service.get("user", "10001:10001") == "10001:10001"
        assert int(service["stop_grace_period"].removesuffix("s")) > 25
        assert service["healthcheck"]["test"][-1] == "/readyz"
    assert services["server"]["ports"][0]["published"] == "8100"


def test_no_secret_stands_in_the_file(compose: Compose) -> None:
    assert "TOKEN" not in json.dumps(
        {name: service["environment"] for name, service in config(compose).items()}
    ).replace("AWS_SESSION_TOKEN", "")


def test_the_profile_reaches_the_server_only_when_it_is_set(compose: Compose, project: Path) -> None:
    assert config(compose)["server"]["environment"]["AWS_PROFILE"] is None
    assert config(compose, AWS_PROFILE="dev")["server"]["environment"]["AWS_PROFILE"] == "dev"
    (project / ".env").write_text("AWS_PROFILE=staging\n")
    assert config(compose)["server"]["environment"]["AWS_PROFILE"] == "staging"


def test_the_servers_address_in_the_container_is_not_what_env_says(compose: Compose, project: Path) -> None:
    (project / ".env").write_text("MCP_HOST=127.0.0.1\nMCP_PORT=9999\n")
    server = config(compose)["server"]
    assert (server["environment"]["MCP_HOST"], server["environment"]["MCP_PORT"]) == ("0.0.0.0", "8100")
    assert (server["ports"][0]["published"], server["ports"][0]["target"]) == ("9999", 8100)


async def test_up_serves_the_accounts_of_env_with_the_laptops_credentials(
    compose: Compose, project: Path, home: Path
) -> None:
    port = free_port()
    (project / ".env").write_text(f"MCP_AUTH_TOKEN={TOKEN}\nMCP_PORT={port}\nACCOUNT_PRODUCTION_ROLE_ARN={ROLE}\n")
    user = {"HOST_UID": str(LAPTOP_UID), "HOST_GID": str(LAPTOP_UID)}
    compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "60", **user)

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        assert json.loads(answer.read())["ready"] is True
    assert (await accounts(f"http://127.0.0.1:{port}", TOKEN))["production"]["role_arn"] == ROLE

    def python(code: str) -> Any:
        return compose("exec", "-T", "server", "python", "-c", code, check=False)

    assert python("import os; print(os.getuid())").stdout.strip() == str(LAPTOP_UID)
    assert python("import os; print(os.environ.get('AWS_PROFILE'))").stdout.strip() == "None"
    for cache in ("sso", "login"):
        assert python(f"open('/home/app/.aws/{cache}/cache/renewed', 'w')").returncode == 0
        assert (home / ".aws" / cache / "cache" / "renewed").stat().st_uid == LAPTOP_UID
    assert "Read-only file system" in python("open('/home/app/.aws/config', 'a')").stderr


def test_up_without_a_token_says_what_is_missing_and_exits_with_2(compose: Compose, docker: Engine, home: Path) -> None:
    done = compose("up", "--no-build", check=False, MCP_PORT=str(free_port()))
    assert "MCP_AUTH_TOKEN" in done.stdout + done.stderr
    state = ("inspect", "--format", "{{.State.ExitCode}} {{.State.Running}}", "aws-ops-server-1")
    eventually(lambda: docker.podman(*state) == "2 false", "it is tried a few times, and then no more")


def test_the_home_has_to_be_there_since_docker_would_make_it_roots(compose: Compose) -> None:
    """podman makes what is missing whatever it is told, so this looks at what Docker is told."""
    volumes = config(compose)["server"]["volumes"]
    assert len(volumes) == 3
    assert not [volume for volume in volumes if volume["bind"].get("create_host_path")]
    assert [volume["target"] for volume in volumes if volume.get("read_only")] == ["/home/app/.aws"]


async def test_the_demo_needs_neither_env_nor_aws_folder_and_prints_how_to_reach_it(compose: Compose) -> None:
    port = free_port()
    compose("up", "--detach", "--no-build", "--wait", "--wait-timeout", "60", "demo", DEMO_PORT=str(port))
    log = eventually(lambda: compose("logs", "--no-log-prefix", "demo").stdout, "the demo prints something")
    token = re.search(r"Bearer ([\w-]{16,})", log)
    assert token, log
    assert re.search(rf"http://(127\.0\.0\.1|localhost):{port}/(mcp|sse)", log), log
    assert len(await accounts(f"http://127.0.0.1:{port}", token[1])) == 3
