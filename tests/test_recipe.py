"""The recipe for a service, as AGENTS.md has it, makes one whose test passes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_COPIED = ("services", "tests/services")


def test_the_recipe_followed_word_for_word_gives_a_service_whose_test_passes(tmp_path: Path) -> None:
    files = dict(re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", (ROOT / "AGENTS.md").read_text(), re.DOTALL))
    assert set(files) == {"services/sqs.py", "tests/services/test_sqs.py"}
    (tmp_path / "tests").mkdir()
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.toml"), ROOT / "access", ROOT / "runtime", ROOT / "toolcall"]:
        (tmp_path / path.name).symlink_to(path)
    for path in (ROOT / "tests").iterdir():
        if path.name != "services":
            (tmp_path / "tests" / path.name).symlink_to(path)
    for folder in _COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/services/test_sqs.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
    assert "3 passed" in run.stdout
