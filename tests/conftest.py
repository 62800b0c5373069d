"""The house's fixtures: a fake AWS, and `call`: a real MCP client in front of the server under test."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any

import boto3
import pytest

from tests.standin import Standin

TOKEN = "a-token-for-tests-0123456789"
ROLES = {
    "production": "arn:aws:iam::111111111111:role/aws-ops-target",
    "staging": "arn:aws:iam::222222222222:role/aws-ops-target",
}
# (transport, protocol mode): each tool is exercised over all three.
WIRES = [("sse", "auto"), ("http", "auto"), ("http", "legacy")]


@pytest.fixture(scope="module", autouse=True)
def _one_collection_a_module() -> Iterator[None]:
    """Servers and the fake AWS are large and cyclic: to look for their garbage all the time took a third of the run."""
    gc.disable()
    yield
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """An in-process AWS on loopback, for the whole run."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    _client.cache_clear()
    server.stop()


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh AWS, and an environment in which botocore knows nothing else."""
    know_only(monkeypatch, **aws_environment(moto_url))
    forget_everything(moto_url)
    return moto_url


def know_only(patch: pytest.MonkeyPatch, **variables: str) -> None:
    """Make these the environment's only variables of AWS's and of accounts and callers of ours."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "ACCOUNT", "MCP_"))]:
        patch.delenv(name)
    for name, value in variables.items():
        patch.setenv(name, value)


@contextmanager
def standin_alone(*, canned: bool = False, **more: str) -> Iterator[Standin]:
    """A stand-in for AWS, and an environment in which botocore knows nothing else."""
    with Standin(canned=canned) as started, pytest.MonkeyPatch.context() as patch:
        know_only(patch, **{**aws_environment(started.url), **more})
        yield started


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for what must come to be."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.02)


def forget_everything(moto_url: str) -> None:
    """Empty the in-process AWS; the sessions of roles that are held somewhere stay their accounts'."""
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    keys = {account: dict(partitions["aws"].access_keys) for account, partitions in iam_backends.items()}
    roles = {account: list(partitions["aws"].assumed_roles) for account, partitions in sts_backends.items()}
    urllib.request.urlopen(urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")).close()
    for account, held in keys.items():
        iam_backends[account]["aws"].access_keys.update({name: key for name, key in held.items() if key.role_arn})
    for account, assumed in roles.items():
        sts_backends[account]["aws"].assumed_roles.extend(assumed)


def aws_environment(url: str) -> dict[str, str]:
    """What a process needs to take `url` for AWS; the machine's own AWS files are out of its sight."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def server_environment(**more: str) -> dict[str, str]:
    """The settings of a server with two accounts."""
    accounts = {f"ACCOUNT_{name.upper()}_ROLE_ARN": role for name, role in ROLES.items()}
    settings = {
        "MCP_AUTH_TOKEN": TOKEN,
        "AWS_REGION": "us-east-1",
        "AUDIT_LOG": os.devnull,
        "RATE_LIMIT_PER_MINUTE": "100000",
        "REVEAL_LIMIT_PER_MINUTE": "100000",
    }
    return {**settings, **accounts, **more}


def boto(service: str, account: str | None = None, region: str = "us-east-1") -> Any:
    """A plain boto3 client in an account, for arranging and for looking behind the server's back."""
    return _client(service, account, region, os.environ.get("AWS_ENDPOINT_URL", ""))


@cache
def _client(service: str, account: str | None, region: str, endpoint: str) -> Any:
    return _session(account, endpoint).client(service, region_name=region)


@cache
def _session(account: str | None, endpoint: str) -> boto3.Session:
    if account is None:
        return boto3.Session()
    keys = _client("sts", None, "us-east-1", endpoint).assume_role(
        RoleArn=ROLES[account], RoleSessionName="arrange", DurationSeconds=43_200
    )["Credentials"]
    return boto3.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])


class Answer:
    """A tool's answer as a client sees it."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.is_error: bool = result.is_error
        self.content: dict[str, Any] = result.structured_content or {}
        self.text: str = result.content[0].text if result.content else ""

    def __getitem__(self, name: str) -> Any:
        assert name in self.content, f"no {name}: {self.text}"
        return self.content[name]

    @property
    def error_code(self) -> str | None:
        return self.content.get("error_code")


class Session:
    """An open client session."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __call__(self, tool: str, /, **arguments: Any) -> Answer:
        return Answer(await self.client.call_tool(tool, arguments, raise_on_error=False))

    async def confirmed(self, tool: str, /, **arguments: Any) -> Answer:
        """Call a tool, and again with the confirmation that its plan brought."""
        asked = await self(tool, **arguments)
        assert asked.error_code == "ConfirmationRequired", asked.content
        return await self(tool, **arguments, confirm=asked["confirm"])


class Server:
    """The whole HTTP app in this process, driven through its ASGI border by real clients."""

    def __init__(self, app: Any, web: Any) -> None:
        self.app, self.web = app, web

    @asynccontextmanager
    async def session(
        self, transport: str = "http", mode: str = "auto", token: str = TOKEN, **client: Any
    ) -> AsyncIterator[Session]:
        from fastmcp.utilities.tests import ASGIServer

        path = "sse" if transport == "sse" else "mcp"
        asgi = ASGIServer(url=f"http://127.0.0.1/{path}", app=self.web, transport_type=transport)
        async with asgi.client(auth=token, mode=mode, **client) as opened:
            yield Session(opened)

    def http(self, **options: Any) -> Any:
        from fastmcp.utilities.tests import ASGIServer

        return ASGIServer(url="http://127.0.0.1/mcp", app=self.web, transport_type="http").http_client(**options)


@asynccontextmanager
async def running(**environment: str) -> AsyncIterator[Server]:
    """Run the server with these settings."""
    from fastmcp.utilities.tests import run_asgi_lifespan

    from access.authentication import authentication_of
    from assembly import web_app
    from config import Settings

    settings = Settings.from_environment(server_environment(**environment))
    app, web = web_app(settings, authentication_of(settings))
    async with run_asgi_lifespan(web):
        yield Server(app, web)


@pytest.fixture
async def running_server(aws: str) -> AsyncIterator[Server]:
    async with running() as server:
        yield server


@pytest.fixture(params=WIRES, ids=lambda wire: "-".join(wire))
def wire(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Each transport and protocol era in turn."""
    return request.param  # type: ignore[no-any-return]


@asynccontextmanager
async def session_of(toolsets: str, wire: tuple[str, str]) -> AsyncIterator[Session]:
    """A client session in front of a server with these toolsets."""
    async with running(TOOLSETS=toolsets) as server, server.session(*wire) as session:
        yield session


@pytest.fixture
async def call(aws: str, wire: tuple[str, str]) -> AsyncIterator[Callable[..., Any]]:
    """Call any tool as a client does: `answer = await call("describe_secret", secret_id="x", account="staging")`."""
    async with session_of("all", wire) as session:
        yield session
