"""One AWS request through the stand-in: read, remembered, met by a fault or not, answered."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import Protocol

from tests.standin.faults import Rules
from tests.standin.keyring import Keyring
from tests.standin.reading import read_call, session_token
from tests.standin.records import Call, Fault
from tests.standin.refusals import dialect, refuse, render
from tests.standin.wire import Answer, NoAnswer, Request

CALLS_KEPT = 100_000


class AWS(Protocol):
    """What answers the requests that no fault keeps from it."""

    async def answer(self, request: Request, call: Call) -> Answer: ...

    async def reset(self) -> None: ...


class Endpoint:
    """The endpoint of every service, in front of moto or of constants."""

    def __init__(self, aws: AWS, keyring: Keyring, latency_ms: float = 0) -> None:
        self.aws = aws
        self.keyring = keyring
        self.rules = Rules()
        self.calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._latency = latency_ms / 1000

    async def handle(self, request: Request) -> Answer | NoAnswer:
        call = read_call(request, self.keyring)
        self.calls.append(call)
        rule = self.rules.meet(call)
        if self._latency:
            await asyncio.sleep(self._latency)
        if rule is None:
            answer: Answer | NoAnswer = await self._ask_aws(request, call)
        else:
            call.fault = rule.id
            answer = await self._fail(request, call, rule.fault)
        if isinstance(answer, Answer):
            call.status = answer.status
        return answer

    async def reset(self) -> None:
        self.rules.clear()
        self.calls.clear()
        self.keyring.lifetime = None
        await self.aws.reset()

    async def _ask_aws(self, request: Request, call: Call) -> Answer:
        refusal = self.keyring.refusal(call.access_key, session_token(request))
        if refusal:
            return refuse(request, call, refusal)
        call.upstream = True
        answer = await self.aws.answer(request, call)
        if call.operation.startswith("AssumeRole"):
            answer.body = self.keyring.learn(call, answer.body)
        return answer

    async def _fail(self, request: Request, call: Call, fault: Fault) -> Answer | NoAnswer:
        answer = await self._ask_aws(request, call) if fault.reaches_aws else Answer(200, [])
        match fault.kind:
            case "slow":
                await asyncio.sleep(fault.ms / 1000)
                return answer
            case "truncate":
                return replace(answer, cut=True)
            case "hang":
                return NoAnswer(fault.seconds)
            case "reset" | "lost":
                return NoAnswer()
            case "garbage":
                return Answer(200, [("Content-Type", "application/x-amz-json-1.1")], b"\x00\xff<not[a{format")
            case "empty":
                return Answer(200, [("Content-Type", "application/x-amz-json-1.1")], b"{}")
            case "error":
                text = fault.message or ""
                return render(dialect(request, call), fault.status, fault.code or "InternalFailure", text)
            case failure:
                return refuse(request, call, failure, fault.message)
