"""The house stays livable: imports only go down, and each foreign thing has one room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The higher may import the lower; on one floor, only within the same package.
FLOORS = [
    ("aws_codes", "aws_regions", "aws_transport", "plain_words", "strength"),
    ("aws_failures",),
    (
        "errors",
        "lines",
        "outlet",
    ),
    ("named_accounts",),
    ("config",),
    ("access", "runtime"),
    ("toolcall",),
    ("services.base",),
    ("services.*",),
    ("services",),
    ("assembly",),
    ("server",),
]


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in [
        *ROOT.glob("*.py"),
        *(p for d in ("access", "runtime", "toolcall", "services") for p in (ROOT / d).glob("*.py")),
    ]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text())


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(module: str) -> int | None:
    for number, rooms in enumerate(FLOORS):
        if module in rooms:
            return number
    package = module.split(".")[0]
    if package == "services":
        return next(n for n, rooms in enumerate(FLOORS) if "services.*" in rooms)
    return next((n for n, rooms in enumerate(FLOORS) if package in rooms), None)


def test_imports_only_go_down() -> None:
    wrong = []
    for module, tree in modules():
        for name in imported(tree):
            target, here = floor(name), floor(module)
            same_package = name.split(".")[0] == module.split(".")[0]
            if target is None or here is None or target < here or (same_package and not module.startswith("services.")):
                continue
            if name.startswith(("services.base", "services._")):  # what the files of one AWS service share
                continue
            wrong.append(f"{module} imports {name}")
    assert not wrong, (
        f"{wrong}: a module imports what lies below it, so that each floor can be read and tested without those above. "
        "Services in particular never import each other: what two of them need belongs in toolcall/ or access/."
    )


def test_each_foreign_thing_has_one_room() -> None:
    rooms = {
        "boto3": {"access.credentials"},
        "os.environ": {"config"},
        "botocore.exceptions": {"aws_transport"},
        "moto": {"runtime.demo", "runtime.demo_route53"},
    }
    for thing, allowed in rooms.items():
        users = set()
        for module, tree in modules():
            names = set(imported(tree)) if thing != "os.environ" else set()
            if any(name == thing or name.startswith(f"{thing}.") for name in names):
                users.add(module)
            if thing == "os.environ" and any(
                isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") for node in ast.walk(tree)
            ):
                users.add(module)
        assert users <= allowed, (
            f"{thing} belongs in {allowed}, so that one place answers for it; found in {users - allowed}"
        )


def test_every_module_says_what_lives_there() -> None:
    assert not [module for module, tree in modules() if not ast.get_docstring(tree)]
