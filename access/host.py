"""What the host's AWS config and credentials files hold. Read again when a file changes; nothing here asks AWS."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any, cast

import botocore.session

from errors import UnreadableConfiguration
from named_accounts import ROLE_ARN

_STATIC = ("aws_access_key_id", "aws_secret_access_key")


class HostConfiguration:
    """The profiles of the AWS config and credentials files.

    A file that cannot be read hides every profile, since what it says of them is not known; what was read last is kept
    for the server's own identity alone, which goes on with it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stamp: object = None
        self._read: dict[str, Any] | None = None
        self._problem: UnreadableConfiguration | None = None
        self._files: tuple[str, ...] = ()

    def check(self) -> None:
        """Read the files anew where they have changed.

        Raises:
            UnreadableConfiguration: one cannot be read, or is not understood; says which, and the line.
        """
        with self._lock:
            stamp = tuple(map(_stamp_of, self._paths()))
            if stamp != self._stamp:
                self._problem, self._stamp = self._load(), stamp
            if self._problem is not None:
                raise self._problem.with_traceback(None)  # it is raised more than once, and would gather frames

    def profiles(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the members of each profile, by its name.

        Raises:
            UnreadableConfiguration: see check.
        """
        self.check()
        read: Mapping[str, Mapping[str, Any]] = (self._read or {})["profiles"]
        return read

    def profile(self, name: str | None) -> Mapping[str, Any]:
        """Return a profile's members; none where there is no such profile, or no telling."""
        try:
            return self.profiles().get(name or "", {})
        except UnreadableConfiguration:
            return {}

    def for_session(self, *, stale: bool) -> dict[str, Any]:
        """Return what a botocore session is to take for the files' content, which it may change.

        Args:
            stale: Whether what was read last will do where the files cannot be read now.

        Raises:
            UnreadableConfiguration: they cannot, and it will not.
        """
        try:
            self.check()
        except UnreadableConfiguration:
            if not stale or self._read is None:
                raise
        return copy.deepcopy(self._read or {"profiles": {}})

    def roles_of(self, profile: str | None) -> list[str]:
        """Return the ARNs of all roles on a profile's way, its own first."""
        try:
            tables = list(way_of(self.profiles(), profile)) if profile else []
        except UnreadableConfiguration:
            return []
        return [str(table["role_arn"]) for table in tables if table.get("role_arn")]

    def account_id(self, profile: str | None) -> str | None:
        """Return the account number that a profile's own role_arn names."""
        role_arn = str(self.profile(profile).get("role_arn"))
        return role_arn.split(":")[4] if ROLE_ARN.fullmatch(role_arn) else None

    def _paths(self) -> tuple[str, ...]:
        if not self._files:
            probe, names = botocore.session.Session(), ("config_file", "credentials_file")
            self._files = tuple(os.path.expanduser(probe.get_config_variable(name)) for name in names)
        return self._files

    def _load(self) -> UnreadableConfiguration | None:
        for path in self._paths():  # botocore takes what it may not read for what is not there
            if os.path.exists(path) and not os.access(path, os.R_OK):
                return UnreadableConfiguration(path, "it may not be read")
            if os.path.isdir(path):
                return UnreadableConfiguration(path, "it is a directory")
        try:
            self._read = botocore.session.Session(profile="default").full_config
        except Exception as error:
            return UnreadableConfiguration.of(error, self._paths()[0])
        return None


def way_of(tables: Mapping[str, Mapping[str, Any]], profile: str) -> Iterator[Mapping[str, Any]]:
    """Yield the profiles by which a profile gets its credentials: itself, its source_profile, and so on.

    As botocore walks them: a source that has keys of its own assumes no role; one with a web identity is the last.
    """
    seen, name = set[str](), cast(Any, profile)
    while name in tables and name not in seen:
        seen.add(name)
        table = tables[name]
        if len(seen) > 1 and any(key in table for key in _STATIC):
            yield {key: value for key, value in table.items() if key != "role_arn"}
            return
        yield table
        name = None if "web_identity_token_file" in table else table.get("source_profile")


def _stamp_of(path: str) -> object:
    try:
        told = os.stat(path)
    except OSError:
        return None
    return told.st_mtime_ns, told.st_size, told.st_ino, told.st_mode
