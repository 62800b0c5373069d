"""What an operator may do and should know: settings that are wider than they look. Each is one line that names it."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from config import ENV_FILE, Settings

# Names that nobody has: what admits them admits anything.
_ANY_ROLE = "arn:aws:iam::909090909090:role/zq9/zq9"
_ANY_HOST = "zq9.example"
_ANY_ORIGINS = (f"https://{_ANY_HOST}", f"http://{_ANY_HOST}:9")
_OF_ANY_ACCOUNT = re.compile(r"\*|arn:[a-z*-]+:iam::\*:.+")


def cautions(settings: Settings) -> Iterator[str]:
    """Yield what start and `--check` warn of. Looks at files' modes at most."""
    yield from _of_roles(settings)
    if any(fnmatchcase(_ANY_HOST, glob.rpartition(":")[0] or glob) for glob in settings.allowed_hosts):
        yield "MCP_ALLOWED_HOSTS admits any name: pages whose name was rebound to this machine are let through"
    if any(fnmatchcase(origin, glob.lower()) for glob in settings.allowed_origins for origin in _ANY_ORIGINS):
        yield "MCP_ALLOWED_ORIGINS admits any origin: pages of any site are let through"
    files = {"MCP_CALLERS_FILE": settings.callers_file, "ACCOUNTS_FILE": settings.accounts_file, ".env": ENV_FILE}
    for name, path in files.items():
        if path is not None and _others_may_write(path):
            yield f"{name}: others than its owner may write that file, and so decide what it says"


def _of_roles(settings: Settings) -> Iterator[str]:
    globs = settings.allowed_role_arns or ()
    if any(fnmatchcase(_ANY_ROLE, glob) for glob in globs):
        yield "ALLOWED_ROLE_ARNS admits any role of any AWS account: name the accounts' own roles"
    elif any(_OF_ANY_ACCOUNT.fullmatch(glob) for glob in globs):
        yield "ALLOWED_ROLE_ARNS has * for an account number: a stranger's role of that name is admitted too"


def _others_may_write(path: Path) -> bool:
    """Whether others may write a file, or put another in its place."""
    writable = stat.S_IWGRP | stat.S_IWOTH
    try:
        file, folder = path.stat().st_mode, path.absolute().parent.stat().st_mode
    except OSError:  # it is not there, or is told of by who reads it
        return False
    return bool(file & writable) or (bool(folder & writable) and not folder & stat.S_ISVTX)
