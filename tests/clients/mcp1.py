"""What a user of the Python SDK 1.x sees, as JSON: mcp1.py sse|http URL, the token in MCP_AUTH_TOKEN.

Runs with that SDK before ours on the path; most agent frameworks for Python are built on it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client


async def main(transport: str, url: str) -> None:
    headers = {"Authorization": f"Bearer {os.environ['MCP_AUTH_TOKEN']}"}
    connect = sse_client if transport == "sse" else streamablehttp_client
    async with connect(url, headers=headers) as streams, ClientSession(streams[0], streams[1]) as session:
        await session.initialize()
        seen = {"tools": [tool.name for tool in (await session.list_tools()).tools]}
        for account in ("production", "staging", "nowhere"):
            arguments = {"secret_id": "shared/api-key", "account": account}
            seen[account] = (await session.call_tool("get_secret_value", arguments)).model_dump(mode="json")
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
