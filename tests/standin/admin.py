"""The routes under /_standin/, through which a test sets faults and reads the calls."""

from __future__ import annotations

import json
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl

from tests.standin.endpoint import Endpoint
from tests.standin.records import Call, Fault
from tests.standin.wire import Answer, NoAnswer, Request

PREFIX = "/_standin/"


class Admin:
    """What a test may ask of the stand-in itself; every other request is AWS's."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._routes = {
            "POST faults": self._add_fault,
            "GET faults": self._list_faults,
            "DELETE faults": self._clear_faults,
            "GET calls": self._list_calls,
            "DELETE calls": self._forget_calls,
            "POST sts": self._set_lifetime,
        }

    async def handle(self, request: Request) -> Answer | NoAnswer:
        if not request.path.startswith(PREFIX):
            return await self._endpoint.handle(request)
        name = f"{request.method} {request.path.removeprefix(PREFIX)}"
        try:
            if name == "POST reset":
                await self._endpoint.reset()
                return _json(200, {})
            return _json(200, self._routes[name](dict(parse_qsl(request.query)), json.loads(request.body or b"{}")))
        except KeyError:
            return _json(404, f"no {name}; there are {', '.join(self._routes)}, POST reset")
        except (TypeError, ValueError) as error:
            return _json(400, str(error))

    def _add_fault(self, query: dict[str, str], body: dict[str, Any]) -> object:
        return {"id": self._endpoint.rules.add(Fault(**body)).id}

    def _list_faults(self, query: dict[str, str], body: dict[str, Any]) -> object:
        return [
            {"id": rule.id, "matched": rule.matched, "met": rule.met, **asdict(rule.fault)}
            for rule in self._endpoint.rules
        ]

    def _clear_faults(self, query: dict[str, str], body: dict[str, Any]) -> object:
        self._endpoint.rules.clear(query.get("id"))
        return {}

    def _list_calls(self, query: dict[str, str], body: dict[str, Any]) -> object:
        since = int(query.get("since", "0"))
        return [asdict(call) for call in self._endpoint.calls if call.id > since and _wanted(call, query)]

    def _forget_calls(self, query: dict[str, str], body: dict[str, Any]) -> object:
        self._endpoint.calls.clear()
        return {}

    def _set_lifetime(self, query: dict[str, str], body: dict[str, Any]) -> object:
        seconds = body.get("lifetime_seconds")
        self._endpoint.keyring.lifetime = None if seconds is None else float(seconds)
        return {}


def _wanted(call: Call, query: dict[str, str]) -> bool:
    wanted = ((call.service, "service"), (call.operation, "operation"), (call.account, "account"))
    return all(name not in query or fnmatchcase(value, query[name]) for value, name in wanted)


def _json(status: int, value: object) -> Answer:
    return Answer(status, [("Content-Type", "application/json")], json.dumps(value).encode())
