"""Pin requirements*.txt from requirements*.in, exactly and with hashes. Run by `make lock`, with uv beside this Python.

A package that somebody wants with extras stands twice, with them and without: the pip that comes with Python 3.11 looks
for the hash of each spelling, and would refuse the file as soon as the package has a newer release.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = [
    str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--universal", "--generate-hashes",
    "--no-strip-extras", "--python-version", "3.11", "--no-header", "--no-annotate", "--no-emit-index-url",
]  # fmt: skip


def with_plain_names(pinned: str) -> str:
    """Return the pins with one more, without extras, for each that has some."""
    pins = re.split(r"\n(?=\S)", pinned.strip())
    plain = [re.sub(r"\[[^]]+\]", "", pin, count=1) for pin in pins]
    return "\n".join(pin for pair in zip(plain, pins, strict=True) for pin in dict.fromkeys(pair)) + "\n"


for name in ("requirements", "requirements-demo", "requirements-dev", "requirements-bench"):
    output = ROOT / f"{name}.txt"
    subprocess.run([*UV, f"{name}.in", "-o", str(output)], cwd=ROOT, check=True)  # noqa: S603 - no input of anybody's
    output.write_text(with_plain_names(output.read_text()))
