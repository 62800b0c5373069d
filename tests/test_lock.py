"""What is installed is what is pinned, with whichever pip a machine comes with."""

from __future__ import annotations

import re

import pytest

from tests.processes import ROOT

LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
PIN = re.compile(r"(?m)^([\w.-]+)(\[[^]]+\])?==([^\s;]+)")


def pins(name: str) -> list[tuple[str, str, str]]:
    return PIN.findall((ROOT / name).read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_every_direct_dependency_is_pinned_to_the_version_asked_for(name: str) -> None:
    pinned = {package: version for package, _, version in pins(name)}
    for package, _, version in pins(name.replace(".txt", ".in")):
        assert pinned[package] == version


@pytest.mark.parametrize("name", LOCKS)
def test_a_package_with_extras_is_pinned_without_them_too(name: str) -> None:
    plain = {package for package, extras, _ in pins(name) if not extras}
    assert {package for package, _, _ in pins(name)} == plain, "make lock; deploy/lock.py says why"


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_a_registry(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()
