"""One engine and one build for all container tests. The base is a stand-in, and each test's name says so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import TOKEN
from tests.container.engine import DEMO, SERVER, STAND_IN, Container, Engine, copy_of_the_project

# Each must stay out of the images; .dockerignore sees to it.
PLANTED = [".env", ".env.local", ".git/config", ".venv/pyvenv.cfg", "tests/test_x.py", "services/__pycache__/x.pyc"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "container: builds and runs containers; needs what tests/container/setup.sh installs"
    )


@pytest.fixture(scope="session", params=["debian-python-as-base"])
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    assert STAND_IN.exists(), "run tests/container/setup.sh first, as root"
    assert shutil.which("podman"), "run tests/container/setup.sh first, as root"
    engine = Engine(tmp_path_factory.mktemp("engine"))
    engine.remove_leftovers()
    engine.import_base()
    yield engine
    engine.podman("image", "prune", "--force", "--filter", "until=168h", check=False)


@pytest.fixture(scope="session")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both targets, built from a checkout that is full of what must not get in."""
    project = copy_of_the_project(tmp_path_factory.mktemp("checkout") / "aws-ops")
    for name in PLANTED:
        path = project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("planted")
    engine.podman("build", "--quiet", "--format", "docker", "--target", "build-demo", str(project))  # what both share
    # At once: even where all is cached, podman spends its time on hashing what one stage copies from another.
    with ThreadPoolExecutor() as both:
        list(both.map(engine.build, (project, project), (SERVER, DEMO), ("server", "demo")))


@pytest.fixture(scope="session")
def server(engine: Engine, images: None) -> Iterator[Container]:
    """The server, running, for tests that only look at it."""
    options = ("--publish", "127.0.0.1::8100", "--env", f"MCP_AUTH_TOKEN={TOKEN}")
    with engine.container(SERVER, options=options) as container:
        container.wait_until_it_answers()
        yield container


@pytest.fixture(scope="session")
def docker(engine: Engine, images: None) -> Iterator[Engine]:
    """The engine, answering the real `docker` and Compose."""
    with engine.docker_api():
        yield engine


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of one's own, beside an empty home."""
    (tmp_path / "home").mkdir()
    return copy_of_the_project(tmp_path / "aws-ops")
