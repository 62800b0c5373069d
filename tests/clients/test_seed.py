"""The seed's document, to the letter: its client configuration, its ten tools, its two ways to name an account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from tests.conftest import ROLES, TOKEN, Answer, aws_environment, server_environment
from tests.processes import Process, server_process
from tests.standin import Standin

VALUE = '{"username":"admin","password":"secret"}'
AWS_FILES = "[profile staging]\nrole_arn = {role}\ncredential_source = Environment\n"


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])  # a laptop; a container
def server(
    request: pytest.FixtureRequest, standin: Standin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    """A server that has the profile `staging` in its ~/.aws."""
    config = tmp_path_factory.mktemp("aws") / "config"
    Path(config).write_text(AWS_FILES.format(role=ROLES["staging"]))
    settings = server_environment(MCP_HOST=request.param, ALLOWED_PROFILES="staging")
    environment = {**settings, **aws_environment(standin.url)}
    with server_process(**{**environment, "AWS_CONFIG_FILE": str(config)}) as running:
        yield running


def configuration(server: Process, host: str) -> dict[str, Any]:
    port = server.port
    url = f"http://{host}:{port}/sse"
    return {"mcpServers": {"aws-ops": {"url": url, "headers": {"Authorization": f"Bearer {TOKEN}"}}}}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_the_seeds_client_configuration_connects(server: Process, host: str) -> None:
    async with Client(configuration(server, host)) as client:
        assert Answer(await client.call_tool("list_accounts", {}))["count"] == len(ROLES)


@pytest.mark.parametrize(
    "where",
    [{"role_arn": ROLES["production"], "region": "us-east-1"}, {"profile": "staging", "region": "us-east-1"}],
    ids=["AssumeRole", "profile"],
)
async def test_the_seeds_ten_tools_do_what_it_says(server: Process, where: dict[str, str]) -> None:
    secret = {"secret_id": "prod/myapp/database", **where}
    async with Client(configuration(server, "localhost")) as client:

        async def call(tool: str, **arguments: Any) -> Answer:
            return Answer(await client.call_tool(tool, arguments))

        made = {"name": secret["secret_id"], "secret_value": VALUE, "description": "Database credentials"}
        assert (await call("create_secret", **made, tags={"Environment": "prod", "Team": "platform"}, **where))[
            "success"
        ]
        assert (await call("get_secret_value", **secret))["secret_value"] == VALUE
        await call("update_secret", secret_value="new", **secret)
        assert (await call("get_secret_value", **secret))["secret_value"] == "new"
        assert (await call("get_secret_value", version_stage="AWSPREVIOUS", **secret))["secret_value"] == VALUE
        await call("tag_secret", tags={"Owner": "sre"}, **secret)
        await call("untag_secret", tag_keys=["Team"], **secret)
        assert (await call("describe_secret", **secret))["tags"] == {"Environment": "prod", "Owner": "sre"}
        await call("delete_secret", recovery_window_in_days=7, **secret)
        assert (await call("list_secrets", name_prefix="prod/myapp", **where))["count"] == 0
        await call("restore_secret", **secret)
        assert (await call("list_secrets", name_prefix="prod/myapp", **where))["count"] == 1
        forced = {"force_delete_without_recovery": True, **secret}
        plan = Answer(await client.call_tool("delete_secret", forced, raise_on_error=False))
        await call("delete_secret", confirm=plan["confirm"], **forced)
