"""Asking before what cannot be undone or opens much: the person where that can be, else a token for the second call."""

from __future__ import annotations

import logging
import time
from typing import Any

import anyio
from fastmcp import Context
from fastmcp.server.dependencies import get_context
from mcp.types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from access.confirmation import LIFETIME_SECONDS, Act, Plan
from errors import ConfirmationRequired
from toolcall.call import Call

log = logging.getLogger("aws_ops.calls")
_QUESTION = "confirm"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"confirm": {"type": "boolean", "title": "Do it"}},
    "required": ["confirm"],
}


class Consent:
    """One call's way to a yes.

    `refuse_early` may be asked before the plan is made; `ask` with the plan. Returning without an exception and
    without a question is the yes.
    """

    def __init__(self, call: Call, act: Act, token: str | None) -> None:
        self._call, self._act, self._token = call, act, token
        self._context = get_context()
        self._modern = _is_modern(self._context)
        self._human_only = call.desk.settings.require_human_confirm
        self.kept_waiting = False

    @property
    def is_second_call(self) -> bool:
        """Whether this call brings a confirmation, so that a vanished resource voids it."""
        return self._token is not None or self._answers is not None or self.kept_waiting

    @property
    def _answers(self) -> Any:
        return self._context.input_responses if self._modern else None

    def refuse_early(self) -> None:
        """Refuse a confirmation that cannot be right, before AWS is asked anything."""
        if self._answers is not None:
            self._call.desk.confirmations.check(self._context.request_state or "", self._act)
        elif self._token is not None and not self._human_only:
            self._call.desk.confirmations.check(self._token, self._act)

    async def ask(self, plan: Plan) -> InputRequiredResult | None:
        """Return None when the act is confirmed, or the question that the client must answer first.

        Raises:
            ConfirmationRequired: it was not confirmed; bears a token unless a person must be asked.
            ConfirmationInvalid: what was brought does not confirm this.
        """
        confirmations = self._call.desk.confirmations
        if self._answers is not None:
            confirmations.use(self._context.request_state or "", self._act, plan)
            if not _says_yes(self._answers.get(_QUESTION)):
                raise self._declined(plan)
            return None
        if self._token is not None and not self._human_only:
            confirmations.use(self._token, self._act, plan)
            return None
        if not _can_be_asked(self._context):
            raise self._required(plan)
        if self._modern:
            return self._question(plan)
        if not await self._elicit(plan):
            raise self._declined(plan)
        return None

    def _question(self, plan: Plan) -> InputRequiredResult:
        params = ElicitRequestFormParams(message=self._message(plan), requested_schema=_SCHEMA)
        return InputRequiredResult(
            result_type="input_required",
            input_requests={_QUESTION: ElicitRequest(method="elicitation/create", params=params)},
            request_state=self._call.desk.confirmations.issue(self._act, plan),
        )

    async def _elicit(self, plan: Plan) -> bool:
        self.kept_waiting, asked = True, time.monotonic()
        answer: Any = None
        try:
            with anyio.move_on_after(LIFETIME_SECONDS):
                answer = await self._context.elicit(self._message(plan), bool)
        except Exception as error:  # the client failed to ask, or its answer makes no sense: neither is a yes
            log.warning("a question was not answered", extra={"error": type(error).__name__})
        self._call.trace.deadline += time.monotonic() - asked  # a person's time is not the call's
        return answer is not None and answer.action == "accept" and answer.data is True

    def _message(self, plan: Plan) -> str:
        return plan.question(self._act.tool, *self._where)

    @property
    def _where(self) -> tuple[str | None, str | None, str | None]:
        account, region = self._call.place
        return account, self._call.account_id, region

    def _declined(self, plan: Plan) -> ConfirmationRequired:
        return ConfirmationRequired(
            "The person did not confirm. Nothing was done.", next_step="Do not repeat this.", plan=self._plan(plan)
        )

    def _required(self, plan: Plan) -> ConfirmationRequired:
        if self._human_only:
            return ConfirmationRequired(
                "This needs a yes, and this server takes a person's only. Nothing was done.",
                next_step="Use a client that can ask its user (MCP elicitation).",
                plan=self._plan(plan),
            )
        token = self._call.desk.confirmations.issue(self._act, plan)
        return ConfirmationRequired(
            f"Nothing was done yet: this needs a person's yes. {self._message(plan)}",
            next_step=f"Show the plan to a person. If they agree, call again within 5 minutes with confirm={token}",
            plan=self._plan(plan),
            confirm=token,
        )

    def _plan(self, plan: Plan) -> dict[str, Any]:
        return plan.told(self._act.tool, *self._where)


def _is_modern(context: Context) -> bool:
    request = context.request_context
    return request is not None and request.protocol_version in MODERN_PROTOCOL_VERSIONS


def _can_be_asked(context: Context) -> bool:
    try:
        capabilities = context.session.client_capabilities
    except RuntimeError:  # no session: called in process
        return False
    elicitation = capabilities.elicitation if capabilities is not None else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)


def _says_yes(answer: Any) -> bool:
    content = getattr(answer, "content", None) or {}
    return getattr(answer, "action", None) == "accept" and content.get("confirm") is True
