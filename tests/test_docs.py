"""The documents say what is so."""

from __future__ import annotations

import json
import re
import tomllib

from config import Settings
from tests.conftest import TOKEN
from tests.processes import ROOT

README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
VARIABLES = {str(field.alias) for field in Settings.model_fields.values()} - {"ACCOUNT_*"}


def test_every_variable_stands_in_the_readme_and_in_the_example() -> None:
    for name in VARIABLES:
        assert f"`{name}`" in README, name
        assert re.search(rf"(?m)^#?{name}=", EXAMPLE), name


def test_no_page_shows_a_role_of_whatever_account() -> None:
    """Who copies it trusts every AWS account that has a role of that name."""
    pages = [
        path for folder in (".", "docs", "deploy", "clients") for path in (ROOT / folder).rglob("*") if path.is_file()
    ]
    shown = [path for path in pages if path.suffix in (".md", ".json", ".example", ".yaml", ".yml", ".tf", ".toml", "")]
    assert ROOT / "README.md" in shown
    for path in shown:
        if path.relative_to(ROOT).parts[0] in ("docs", "deploy", "clients") or path.parent == ROOT:
            assert ":iam::*:role" not in path.read_text(errors="replace"), path


def test_the_example_names_no_variable_that_nobody_reads() -> None:
    named = set(re.findall(r"(?m)^#?([A-Z_]+)=", EXAMPLE))
    compose_only = {"HOST_UID", "HOST_GID", "DEMO_PORT"}
    assert {name for name in named if not name.startswith("ACCOUNT_")} <= VARIABLES | compose_only


def test_the_example_loads_once_it_has_a_token() -> None:
    lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")]
    values = dict(line.split("=", 1) for line in lines)
    assert values == {"MCP_AUTH_TOKEN": "replace-me-with-a-random-token"}
    assert Settings.from_environment({**values, "MCP_AUTH_TOKEN": TOKEN}).port == 8100


def test_the_readmes_links_lead_to_files() -> None:
    for document in ("README.md", "AGENTS.md"):
        for link in re.findall(r"\]\((?!http|#)([^)]+)\)", (ROOT / document).read_text()):
            assert (ROOT / link).exists(), (document, link)


def test_every_client_configuration_parses_and_stands_in_the_readme() -> None:
    for path in (ROOT / "clients").iterdir():
        if path.suffix == ".toml":
            tomllib.loads(path.read_text())
        else:
            json.loads(path.read_text())
        assert path.read_text().strip() in README, path


def test_claude_md_is_a_link_to_agents_md() -> None:
    assert (ROOT / "CLAUDE.md").readlink().name == "AGENTS.md"
