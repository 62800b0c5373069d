"""What stands before every tool: a caller sees the tools it may use, and a name that is none gets our failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastmcp.server.dependencies import get_context
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from fastmcp.tools import Tool, ToolResult
from mcp.types import CallToolRequestParams, ListToolsRequest

from errors import InvalidParameter, RateLimited
from toolcall.call import Call
from toolcall.desk import Desk
from toolcall.spec import READ, ToolSpec
from toolcall.tool import ServiceTool, refuse

_NO_TOOL = ToolSpec(READ)


class Gate(Middleware):
    """Lists by scope. It decides nothing about calls but whether the tool exists; the tool's own way does the rest."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.tools: Mapping[str, ServiceTool] = {}

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
