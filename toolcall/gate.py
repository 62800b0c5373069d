"""What stands before every request: callers see the tools they may use, and failures are told in our words."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastmcp.exceptions import FastMCPError
from fastmcp.prompts.base import PromptResult
from fastmcp.server.dependencies import get_context
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import Tool, ToolResult
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolRequestParams, GetPromptRequestParams, ListToolsRequest

from errors import InvalidParameter, RateLimited
from toolcall.call import Call
from toolcall.desk import Desk
from toolcall.outcome import note, refuse
from toolcall.spec import READ, ToolSpec
from toolcall.tool import ServiceTool

log = logging.getLogger("aws_ops.requests")
_NO_TOOL = ToolSpec(READ)
# What costs no tool call, and so counts in a bucket of its own: a caller who is out of calls still lists.
_COUNTED = frozenset(
    {
        "initialize", "server/discover", "tools/list", "prompts/list", "prompts/get", "resources/list",
        "resources/templates/list", "resources/read", "completion/complete",
    }
)  # fmt: skip
_RATE_LIMITED = -32_000  # of those that JSON-RPC leaves to servers


class Gate(Middleware):
    """Lists by scope, counts requests, and has the last word on what fails.

    It decides nothing about calls but whether the tool exists; the tool's own way does the rest.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.tools: Mapping[str, ServiceTool] = {}

    async def on_request(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        if context.method in _COUNTED:
            await self._count(str(context.method))
        try:
            return await call_next(context)
        except (MCPError, FastMCPError):
            raise
        except Exception as error:
            log.error("a request failed inside", exc_info=error, extra={"method": context.method})
            raise MCPError(INTERNAL_ERROR, "The server failed to answer; its log has the details.") from None

    async def _count(self, method: str) -> None:
        call = Call(self._desk, method, _NO_TOOL, {}, get_context().transport or "in-process")
        try:
            self._desk.requests.take(call.caller.name)
        except RateLimited as limited:
            await note(call, "refused", limited.error_code)
            data = {"error_code": limited.error_code, "retryable": True, **limited.details}
            raise MCPError(_RATE_LIMITED, f"{limited.message} {limited.next_step}", data) from None

    async def on_get_prompt(
        self,
        context: MiddlewareContext[GetPromptRequestParams],
        call_next: CallNext[GetPromptRequestParams, PromptResult],
    ) -> Any:
        prompt = await get_context().fastmcp.get_prompt(context.message.name)
        given = context.message.arguments or {}
        for argument in (prompt.arguments if prompt is not None else None) or ():
            if argument.required and argument.name not in given:
                raise MCPError(INVALID_PARAMS, f"The prompt needs the argument {argument.name}.")
        return await call_next(context)

    async def on_list_tools(
        self, context: MiddlewareContext[ListToolsRequest], call_next: CallNext[ListToolsRequest, Sequence[Tool]]
    ) -> Sequence[Tool]:
        scopes = self._desk.caller().scopes
        return [
            tool for tool in await call_next(context) if not isinstance(tool, ServiceTool) or tool.spec.scopes & scopes
        ]

    async def on_call_tool(
        self,
        context: MiddlewareContext[CallToolRequestParams],
        call_next: CallNext[CallToolRequestParams, ToolResult],
    ) -> Any:
        if context.message.name in self.tools:
            return await call_next(context)
        # The name is not repeated anywhere: a secret may stand where a name belongs.
        call = Call(self._desk, "unknown", _NO_TOOL, {}, get_context().transport or "in-process")
        try:
            self._desk.calls.take(call.caller.name)
        except RateLimited as limited:
            return await refuse(call, limited)
        return await refuse(call, InvalidParameter("No tool of that name exists here.", next_step="List the tools."))
