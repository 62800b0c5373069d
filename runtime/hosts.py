"""Which Host headers pass. A web page whose name was rebound to this machine sends its own name there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import ip_address

from starlette.types import Scope

_HOST = re.compile(r"(?:\[([\da-f:.*]+)\]|([\w.*-]+))(?::(\d{1,5}|\*))?", re.ASCII | re.IGNORECASE)
_OF_ADDRESSES = frozenset("0123456789.*")
LONGEST_NAME = 253  # by RFC 1035
_LONGEST = LONGEST_NAME + len("[]:65535")
_DEFAULT_PORTS = ("80", "443")  # clients leave these out


class Hosts:
    """The loopback names, the address that was bound or reached, and what the operator allows.

    Args:
        globs: Host names with `*`; one with a port is good for that port alone. One of digits, such as `10.*`, means
            addresses: 10.evil.example could be bound to any.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        self._globs = [split for glob in globs if (split := _split(glob)) is not None]

    def admit(self, scope: Scope) -> bool:
        """Tell whether a request came under one of these names, and under one alone."""
        given = [value for name, value in scope["headers"] if name == b"host"]
        split = _split(given[0].decode("latin-1")) if len(given) == 1 else None
        if split is None or "*" in split[0]:
            return False
        name, port = split
        reached = (scope.get("server") or ("", 0))[0].removeprefix("::ffff:")  # what IPv4 looks like to a bind to all
        return _is_loopback(name) or name == reached or any(_matches(name, port, glob) for glob in self._globs)


def _split(host: str) -> tuple[str, str | None] | None:
    match = _HOST.fullmatch(host.lower()) if len(host) <= _LONGEST else None
    name = (match[1] or match[2]) if match else ""
    return (name, match[3]) if match and len(name) <= LONGEST_NAME else None


def _matches(name: str, port: str | None, glob: tuple[str, str | None]) -> bool:
    wanted, wanted_port = glob
    if _is_of_digits(wanted) and not _is_of_digits(name):
        return False
    if wanted_port not in (None, "*", port) and not (port is None and wanted_port in _DEFAULT_PORTS):
        return False
    return fnmatchcase(name, wanted)


def _is_of_digits(name: str) -> bool:
    return set(name) <= _OF_ADDRESSES and any(character.isdigit() for character in name)


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
