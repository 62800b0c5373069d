"""A container engine for the tests: podman, with configuration and storage of its own and nothing in /etc.

`setup.sh` beside this file installs it. The images stay in the user's cache, so a second run builds next to nothing.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aws-ops-container"
STAND_IN = CACHE / "python-stand-in.tar"
BASE = "docker.io/library/python:3.13-slim"
SERVER, DEMO = "docker.io/library/aws-ops-server", "docker.io/library/aws-ops-demo"  # the names that Compose gives them
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]  # podman's own would need CAP_SYS_RESOURCE
volumes = {volumes}
[engine]
runtime = "runc"  # crun refuses a machine with both generations of cgroups
cgroup_manager = "cgroupfs"  # no systemd
events_logger = "file"
exit_command_delay = 2  # not five minutes of a process for each `docker exec`
tmp_dir = "{state}/libpod"
[network]
network_backend = "netavark"
network_config_dir = "{state}/networks"
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{cache}/storage"
runroot = "{state}/storage"
"""


def pip_configuration() -> str:
    """Return this machine's way to its package index, in the form of a pip.conf; empty where it needs none."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = {}
    for entry in listed.splitlines():
        name, _, value = entry.partition("=")
        option = name.rpartition(".")[2]
        reachable = [word for word in str(ast.literal_eval(value)).split() if not word.startswith(("file:", "/"))]
        if option in {"index-url", "extra-index-url", "trusted-host", "proxy"} and reachable:
            lines[option] = " ".join(reachable)
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()) if lines else ""


def eventually(condition: Any, what: str, seconds: float = 30) -> Any:
    """Wait until `condition()` is true and return what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.1)
    raise AssertionError(f"did not happen in {seconds} s: {what}")


class Engine:
    """Runs podman and, through podman's Docker API, docker and Compose. `work` is a temporary folder."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.socket = work / "docker.sock"
        self.docker_environment = {
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(CACHE / "docker"),
            "DOCKER_BUILDKIT": "0",  # podman's API has no BuildKit
        }
        state = Path("/run/aws-ops-container")  # one place, since podman remembers it with the storage
        volumes = ["/etc/ssl/certs:/etc/ssl/certs:ro"]  # pip in the build trusts whom this machine trusts
        if configuration := pip_configuration():
            (work / "pip.conf").write_text(configuration)
            volumes.append(f"{work}/pip.conf:/etc/pip.conf:ro")
        (work / "containers.conf").write_text(CONTAINERS_CONF.format(state=state, volumes=json.dumps(volumes)))
        (work / "storage.conf").write_text(STORAGE_CONF.format(cache=CACHE, state=state))
        self.environment = {
            "PATH": f"{os.environ['PATH']}:{CACHE}/bin:/usr/sbin:/sbin",
            "HOME": str(work),
            "CONTAINERS_CONF": str(work / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(work / "storage.conf"),
            **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
        }

    def run(
        self, *command: str, cwd: Path | None = None, check: bool = True, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command with this engine's environment; a failure shows what it printed."""
        # No stdin, and output to files: what podman leaves behind would keep a pipe open.
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            status = subprocess.run(
                command, cwd=cwd or self.work, env={**self.environment, **environment}, timeout=timeout, check=False,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            ).returncode  # fmt: skip
            out.seek(0), err.seek(0)
            done = subprocess.CompletedProcess(command, status, out.read(), err.read())
        assert not check or status == 0, f"{' '.join(command)}: exit {status}\n{done.stdout}\n{done.stderr}"
        return done

    def podman(self, *arguments: str, check: bool = True) -> str:
        return self.run("podman", *arguments, check=check).stdout.strip()

    def docker(
        self, project: Path, *command: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run what uses the `docker` command in a project's folder."""
        return self.run(*command, cwd=project, check=check, **self.docker_environment, **environment)

    def remove_leftovers(self) -> None:
        """Remove the containers of a run that was killed, those too that only the storage still knows."""
        for name in self.podman("ps", "--all", "--external", "--quiet").split():
            self.podman("rm", "--force", "--time", "1", name, check=False)

    def import_base(self) -> None:
        """Give the stand-in the official image's name, again when `setup.sh` has made a new one."""
        made = str(STAND_IN.stat().st_mtime_ns)
        if self.podman("image", "inspect", BASE, "--format", '{{index .Labels "stand-in"}}', check=False) == made:
            return
        self.podman(
            "import", "--quiet", "--change", f"LABEL stand-in={made}", "--change", 'CMD ["python3"]',
            "--change", "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", str(STAND_IN), BASE,
        )  # fmt: skip

    def build(self, context: Path, image: str, target: str) -> None:
        # The Docker format, since OCI's knows no health check.
        self.podman("build", "--quiet", "--format", "docker", "--target", target, "--tag", image, str(context))

    @contextmanager
    def container(self, image: str, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[Container]:
        """A running container, as hardened as Compose and Kubernetes run it; removed at the end."""
        hardening = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        name = self.podman("run", "--detach", *hardening, *options, image, *arguments)
        try:
            yield Container(self, name)
        finally:
            remove = ("podman", "rm", "--force", "--time", "1", name)
            eventually(lambda: self.run(*remove, check=False).returncode == 0, f"{name} is removed")

    @contextmanager
    def docker_api(self) -> Iterator[None]:
        """podman as a Docker engine for the real `docker` and Compose.

        Without systemd nothing runs podman's health checks, so a thread does, each second.
        """
        command = ["podman", "system", "service", "--time", "0", f"unix://{self.socket}"]
        with (self.work / "service.log").open("w") as log:
            service = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        done = threading.Event()
        checking = threading.Thread(target=self._check_health, args=(done,))
        try:
            eventually(self.socket.exists, "podman's API answers")
            checking.start()
            yield
        finally:
            done.set()
            checking.join()
            service.terminate()
            service.wait(20)

    def _check_health(self, done: threading.Event) -> None:
        def podman(*arguments: str) -> str:
            command = ["podman", *arguments]
            return subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            ).stdout

        while not done.wait(1):
            for name in podman("ps", "--quiet").split():
                podman("healthcheck", "run", name)


class Container:
    """One container: what it printed, how it fares, and a way in."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name

    def inspect(self, template: str) -> str:
        return self.engine.podman("inspect", "--format", template, self.name)

    def execute(self, *command: str, check: bool = True) -> str:
        return self.engine.podman("exec", self.name, *command, check=check)

    def python(self, code: str) -> str:
        """Run Python inside, where there are no other tools."""
        return self.execute("python", "-c", code)

    def url(self) -> str:
        return f"http://{self.engine.podman('port', self.name, '8100/tcp')}"

    def wait_until_it_answers(self) -> None:
        def answer() -> bool:
            if self.inspect("{{.State.Running}}") != "true":
                done = self.engine.run("podman", "logs", self.name)
                raise AssertionError(f"it ended: {done.stdout}{done.stderr}")
            with urllib.request.urlopen(f"{self.url()}/healthz", timeout=2) as response:
                return bool(response.status == 200)

        eventually(answer, f"{self.name} answers")


def copy_of_the_project(target: Path) -> Path:
    """Copy what the containers are made from, as it lies in a checkout of somebody whose umask is 077.

    The base is named without its digest there, which no stand-in can have.
    """
    leave = shutil.ignore_patterns(".*", "__pycache__", "tests", "node_modules")
    shutil.copytree(ROOT, target, ignore=leave)
    for name in (".dockerignore", ".env.example"):
        shutil.copy2(ROOT / name, target)
    dockerfile = target / "Dockerfile"
    dockerfile.write_text(re.sub("@sha256:[0-9a-f]{64}", "", dockerfile.read_text()))
    for path in target.rglob("*"):
        path.chmod(0o700 if path.is_dir() or path.suffix == ".sh" else 0o600)
    return target
