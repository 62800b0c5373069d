"""The test's half of the stand-in: starts the server half as a process, and talks to its admin routes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

from tests.standin.records import Call, Fault, Kind

ROOT = Path(__file__).parents[2]


class Standin:
    """A stand-in in its own process, for the length of a `with`.

    Args:
        canned: Answer from constants instead of moto; for benchmarks.
        latency_ms: How long every AWS answer takes at least.
        port: The port to listen on; any free one by default.
    """

    def __init__(self, *, canned: bool = False, latency_ms: float = 0, port: int = 0) -> None:
        self._arguments = ["--port", str(port), "--latency-ms", str(latency_ms), *(["--canned"] if canned else [])]
        self._process: subprocess.Popen[str] | None = None
        self._open = build_opener(ProxyHandler({})).open  # a proxy of the environment is not for loopback
        self.url = ""

    def __enter__(self) -> Standin:
        command = [sys.executable, "-m", "tests.standin", "--leashed", *self._arguments]
        # The leash is our end of its stdin: should this process be killed, the stand-in follows.
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(os.environ)
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("standin "):
            self.__exit__(None, None, None)
            raise RuntimeError(f"the stand-in did not start; its first line was {line!r}")
        self.url = line.split()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        """The process id of the server half."""
        if self._process is None:
            raise RuntimeError("the stand-in is not running")
        return self._process.pid

    def fault(self, kind: Kind, **rule: Any) -> str:
        """Set a rule with the fields of `Fault`, behind those already set; return its id."""
        answer: dict[str, str] = self._admin("POST", "faults", asdict(Fault(kind=kind, **rule)))
        return answer["id"]

    def faults(self) -> list[dict[str, Any]]:
        """Return the rules, each with its id and how many calls it `matched` and `met`."""
        rules: list[dict[str, Any]] = self._admin("GET", "faults")
        return rules

    def clear(self, fault_id: str | None = None) -> None:
        """Take back one rule, or all. A call that hangs already goes on hanging."""
        self._admin("DELETE", "faults", query={"id": fault_id})

    def calls(
        self,
        operation: str | None = None,
        *,
        service: str | None = None,
        account: str | None = None,
        since: int | None = None,
    ) -> list[Call]:
        """Return the AWS requests seen, in order of arrival; those after the id `since`. The last 100,000 are kept."""
        query = {"operation": operation, "service": service, "account": account, "since": since}
        return [Call(**call) for call in self._admin("GET", "calls", query=query)]

    def forget_calls(self) -> None:
        """Empty the list of calls, and leave rules and AWS as they are."""
        self._admin("DELETE", "calls")

    def lifetime(self, seconds: float | None) -> None:
        """Let keys issued from now on expire after so many seconds; None: after the duration that was asked for."""
        self._admin("POST", "sts", {"lifetime_seconds": seconds})

    def reset(self) -> None:
        """Clear rules, calls, lifetime and everything in AWS. Keys issued so far stay good, as AWS's would."""
        self._admin("POST", "reset")

    def _admin(self, method: str, route: str, body: object = None, query: Mapping[str, object] | None = None) -> Any:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"{self.url}/_standin/{route}?{urlencode(given)}", data=data, method=method)
        try:
            with self._open(request, timeout=30) as response:
                return json.load(response)
        except HTTPError as error:
            raise ValueError(error.read().decode()) from error


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without AWS's and moto's settings: the stand-in is nobody's client."""
    return {name: value for name, value in environment.items() if not name.startswith(("AWS_", "MOTO_"))}
