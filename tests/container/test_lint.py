"""The linters' opinion of the Dockerfile and of each shell script."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.container.engine import ROOT

TOOLS = Path(sys.executable).parent
SCRIPTS = ["docker-start.sh", "tests/container/setup.sh", ".ci/run"]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    command = [TOOLS / "hadolint", "--failure-threshold", "style", ROOT / "Dockerfile"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == ""


def test_every_image_that_is_built_upon_is_named_by_its_digest() -> None:
    stages = re.findall(r"(?m)^FROM (\S+)(?: AS (\S+))?$", (ROOT / "Dockerfile").read_text())
    bases = {image for image, _ in stages} - {name for _, name in stages}
    assert bases
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base) for base in bases)


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing_in_a_script(script: str) -> None:
    command = [TOOLS / "shellcheck", ROOT / script]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_can_be_run_and_stops_at_the_first_failure(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    assert "\nset -euo pipefail\n" in (ROOT / script).read_text()
