"""The image, built and run for real: who it runs as, what is in it, how it starts, answers and stops."""

from __future__ import annotations

import json
import time
import urllib.request

import pytest

from tests.conftest import TOKEN
from tests.container.conftest import PLANTED
from tests.container.engine import DEMO, ROOT, SERVER, Container, Engine

pytestmark = pytest.mark.container
# Every file of the image but the kernel's.
WALK = """
import json, os
skip = ("/proc", "/sys", "/dev")
print(json.dumps([os.path.join(d, f) for d, _, files in os.walk("/") if not d.startswith(skip) for f in files]))
"""


@pytest.fixture(scope="module")
def files(server: Container) -> list[str]:
    return list(json.loads(server.python(WALK)))


def test_it_answers_the_probe_from_outside(server: Container) -> None:
    with urllib.request.urlopen(f"{server.url()}/healthz", timeout=5) as answer:
        assert answer.read() == b"OK"


def test_it_runs_as_uid_10001_without_any_capability(server: Container) -> None:
    status = dict(line.split(":\t", 1) for line in server.execute("cat", "/proc/1/status").splitlines())
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10001"}
    assert {status[name].strip() for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {"0" * 16}
    assert status["NoNewPrivs"].strip() == "1"


def test_the_image_itself_names_its_user_by_number(server: Container) -> None:
    assert server.engine.podman("image", "inspect", "--format", "{{.Config.User}}", SERVER) == "10001:10001"


@pytest.mark.parametrize("path", ["/app/server.py", "/app/new", "/home/app/new", "/opt/venv/new"])
def test_it_can_write_nowhere_but_tmp(server: Container, path: str) -> None:
    assert server.python("open('/tmp/x', 'a')") == ""
    with pytest.raises(AssertionError, match=r"Read-only file system|Permission denied"):
        server.python(f"open({path!r}, 'a')")


def test_its_code_is_not_its_own_even_on_a_writable_root(engine: Engine, images: None) -> None:
    command = ("run", "--rm", "--entrypoint", "python", SERVER, "-c", "open('/app/server.py', 'a')")
    assert "Permission denied" in engine.run("podman", *command, check=False).stderr


def test_its_health_check_needs_nothing_that_it_lacks(server: Container) -> None:
    assert server.engine.podman("healthcheck", "run", server.name) == ""
    assert server.inspect("{{.State.Health.Status}}") == "healthy"


def test_its_health_check_fails_where_nothing_answers(server: Container) -> None:
    done = server.engine.run(
        "podman", "exec", "--env", "MCP_PORT=1", server.name, "python", "deploy/healthcheck.py", "/healthz", check=False
    )
    assert done.returncode == 1
    assert "no answer" in done.stderr


def test_its_health_check_fails_where_the_probe_does(server: Container) -> None:
    """There are no AWS credentials in this container."""
    done = server.engine.run("podman", "exec", server.name, "python", "deploy/healthcheck.py", "/readyz", check=False)
    assert done.returncode == 1
    assert json.loads(done.stderr)["ready"] is False


def test_no_argument_of_its_commands_holds_a_space(engine: Engine, images: None) -> None:
    for image in (SERVER, DEMO):
        (inspected,) = json.loads(engine.podman("image", "inspect", image))
        configured = inspected["Config"]
        words = [*configured["Entrypoint"], *configured.get("Cmd", []), *inspected["Healthcheck"]["Test"]]
        assert len(words) > 3
        assert not [word for word in words if " " in word]


def test_sigterm_ends_it_cleanly(engine: Engine, images: None) -> None:
    with engine.container(SERVER, options=("--publish", "127.0.0.1::8100", "--env", f"MCP_AUTH_TOKEN={TOKEN}")) as one:
        one.wait_until_it_answers()
        asked = time.monotonic()
        engine.podman("stop", "--time", "25", one.name)
        assert time.monotonic() - asked < 10
        assert one.inspect("{{.State.ExitCode}}") == "0"


@pytest.mark.parametrize("token", [None, "", "replace-me-with-a-random-token", "77-too-few"])
def test_without_a_proper_token_it_exits_with_2_and_one_line(engine: Engine, images: None, token: str | None) -> None:
    options = () if token is None else ("--env", f"MCP_AUTH_TOKEN={token}")
    done = engine.run("podman", "run", "--rm", "--no-healthcheck", *options, SERVER, check=False, timeout=15)
    assert done.returncode == 2
    line = (done.stdout + done.stderr).strip()
    assert "MCP_AUTH_TOKEN" in line
    assert "\n" not in line
    assert not token or token not in line


def test_no_build_tools_are_left_in_it(files: list[str]) -> None:
    tools = {"pip", "pip3", "gcc", "cc", "g++", "make", "ld", "git", "uv", "curl", "wget"}
    assert not [path for path in files if path.rpartition("/")[2] in tools]
    assert not [path for path in files if "/site-packages/pip/" in path or "/dist-packages/pip/" in path]
    assert not [path for path in files if "/.cache/" in path or path.endswith(".whl")]


def test_nothing_of_the_checkout_is_in_it_but_the_server(server: Container, files: list[str]) -> None:
    inside = {path.removeprefix("/app/") for path in files if path.startswith("/app/")}
    assert not inside & set(PLANTED)
    assert not [path for path in files if path.rpartition("/")[2].startswith(".env")]
    modules = {path.name for path in ROOT.glob("*.py")}
    packages = {"access", "deploy", "runtime", "services", "toolcall"}
    assert {path.split("/")[0] for path in inside} == modules | packages


def test_the_embedded_aws_is_in_the_demo_image_alone(engine: Engine, images: None) -> None:
    command = ("run", "--rm", "--entrypoint", "python")
    assert engine.run("podman", *command, DEMO, "-c", "import moto").returncode == 0
    assert "No module named 'moto'" in engine.run("podman", *command, SERVER, "-c", "import moto", check=False).stderr


def test_it_starts_for_any_uid(engine: Engine, images: None) -> None:
    """As Compose runs it for a laptop's user, and OpenShift for whomever it likes."""
    options = ("--publish", "127.0.0.1::8100", "--env", f"MCP_AUTH_TOKEN={TOKEN}", "--user", "54321:54321")
    with engine.container(SERVER, options=options) as one:
        one.wait_until_it_answers()
        assert one.python("import os; print(os.getuid(), os.path.expanduser('~'))") == "54321 /home/app"
