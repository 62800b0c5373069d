"""The ceiling: the least FastMCP + boto3 server of one tool and one account. No auth, policy, audit, limits."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Any

import anyio
import boto3
import uvicorn
from fastmcp import FastMCP

mcp: FastMCP[Any] = FastMCP("minimal")
mcp._mcp_server.get_tool_input_schema = lambda _name: None  # the same favour that the real server does itself
places = anyio.CapacityLimiter(64)
sts = boto3.client("sts")
keys = sts.assume_role(RoleArn=os.environ["BENCH_ROLE_ARN"], RoleSessionName="minimal")["Credentials"]
client = boto3.client(
    "secretsmanager",
    aws_access_key_id=keys["AccessKeyId"],
    aws_secret_access_key=keys["SecretAccessKey"],
    aws_session_token=keys["SessionToken"],
    config=boto3.session.Config(max_pool_connections=64),
)


@mcp.tool
async def describe_secret(secret_id: str, role_arn: str) -> dict[str, Any]:
    """Describe a secret."""
    call = partial(client.describe_secret, SecretId=secret_id)
    answer = await anyio.to_thread.run_sync(call, limiter=places, abandon_on_cancel=True)
    return {"name": answer["Name"], "arn": answer["ARN"], "role_arn": role_arn}


if __name__ == "__main__":
    app = mcp.http_app(path="/mcp", transport="http")
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", ws="none", access_log=False)
