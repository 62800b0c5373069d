"""The app started otherwise than by `python server.py`: as closed, and as open to its own caller."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StdioTransport
from fastmcp.server.auth import AccessToken, StaticTokenVerifier
from fastmcp.utilities.tests import ASGIServer, run_asgi_lifespan

from access.callers import local_user
from assembly import launched
from config import Settings
from tests.clients.conftest import SECRET
from tests.conftest import TOKEN, Answer, aws_environment, server_environment
from tests.loopback import free_port
from tests.processes import ROOT, clean_environment, server_process
from tests.raw_sessions import Handshake
from tests.standin import Standin

CLI = str(Path(sys.executable).with_name("fastmcp"))
IMPORTED = "import sys; from server import mcp; mcp.run(sys.argv[1], host='127.0.0.1', port=int(sys.argv[2]))"
LAUNCHERS = {
    "fastmcp run": lambda transport, port: [CLI, "run", "server.py:mcp", "--transport", transport, "--port", port],
    "mcp.run": lambda transport, port: [sys.executable, "-c", IMPORTED, transport, port],
}
# A hundred copied configurations have these; WARN is no level that fastmcp knows.
OTHERS = {"fastmcp_stateless_http": "true", "FASTMCP_HTTP_HOST_ORIGIN_PROTECTION": "false"}


@contextmanager
def launched_process(command: list[str], port: int, **environment: str) -> Iterator[str]:
    """The URL of a server that something else has started."""
    with TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(**environment), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            end = time.monotonic() + 40
            while status(f"http://127.0.0.1:{port}", "/") is None:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def status(url: str, path: str, **headers: str) -> int | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


@pytest.mark.parametrize("transport", ["http", "sse", "streamable-http"])
@pytest.mark.parametrize("launcher", LAUNCHERS)
async def test_whoever_serves_it_asks_for_the_token_and_for_its_own_name(
    standin: Standin, launcher: str, transport: str
) -> None:
    port, path = free_port(), "/sse" if transport == "sse" else "/mcp"
    environment = {**server_environment(), **aws_environment(standin.url)}
    if launcher == "mcp.run":
        environment |= {**OTHERS, "FASTMCP_LOG_LEVEL": "WARN"}
    with launched_process(LAUNCHERS[launcher](transport, str(port)), port, **environment) as url:
        authorized = {"Authorization": f"Bearer {TOKEN}"}
        assert status(url, path) == 401
        assert status(url, path, Authorization=f"Bearer {TOKEN}x") == 401
        assert status(url, path, **authorized, Host="evil.example") == 421
        assert status(url, path, **authorized, Origin="https://evil.example") == 403
        assert status(url, path, Host="1" * 12_000 + "x") == 421
        assert status(url, path, Host="1" * 24_000 + "x") == 400
        async with Client(url + path, auth=TOKEN) as client:
            answer = await client.call_tool("get_secret_value", {"secret_id": SECRET, "account": "staging"})
            assert answer.structured_content["secret_value"] == "of-staging"


async def test_with_no_token_configured_nobody_gets_in(standin: Standin) -> None:
    port, environment = free_port(), {**server_environment(MCP_ALLOW_ANONYMOUS="1"), **aws_environment(standin.url)}
    del environment["MCP_AUTH_TOKEN"]
    with launched_process(LAUNCHERS["fastmcp run"]("http", str(port)), port, **environment) as url:
        assert status(url, "/mcp") == 401
        assert status(url, "/mcp", Authorization="Bearer ") == 401


async def test_over_stdio_it_is_the_local_users_and_stdout_carries_nothing_but_the_protocol(
    standin: Standin, tmp_path: Path
) -> None:
    environment = clean_environment(**server_environment(AUDIT_LOG="stdout"), **aws_environment(standin.url))
    command = ["-c", f'cd "{ROOT}" && "$0" "$@" | tee "$OUT"', CLI, "run", "server.py:mcp", "--no-banner"]
    transport = StdioTransport(
        "sh", command, env={**environment, "OUT": str(tmp_path / "out")}, keep_alive=False, log_file=tmp_path / "err"
    )
    async with Client(transport) as client:
        answer = await client.call_tool("get_secret_value", {"secret_id": SECRET, "account": "staging"})
        assert answer.structured_content["secret_value"] == "of-staging"
    assert all(line.startswith('{"jsonrpc"') for line in (tmp_path / "out").read_text().splitlines())
    assert f'"caller":"{local_user().name}"' in (tmp_path / "err").read_text()


@asynccontextmanager
async def served(mcp: FastMCP[Any], transport: str = "http", **options: Any) -> AsyncIterator[ASGIServer]:
    web = mcp.http_app(transport=transport, **options)
    path = "sse" if transport == "sse" else "mcp"
    async with run_asgi_lifespan(web):
        yield ASGIServer(url=f"http://127.0.0.1/{path}", app=web, transport_type=transport)


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize("options", [{}, {"host_origin_protection": False}, {"allowed_hosts": ["*"]}], ids=str)
async def test_an_asgi_app_of_it_is_closed_too_unless_the_launcher_names_its_hosts(
    transport: str, options: dict[str, Any]
) -> None:
    app = launched(Settings.from_environment(server_environment()))
    async with served(app.mcp, transport, **options) as asgi, asgi.http_client() as http:
        assert (await http.get(asgi.url)).status_code == 401
        foreign = await http.get(asgi.url, headers={"Host": "evil.example", "Authorization": f"Bearer {TOKEN}x"})
        assert foreign.status_code == (401 if "allowed_hosts" in options else 421)
        async with asgi.client(auth=TOKEN) as client:
            assert await client.list_tools()


class Anybody(StaticTokenVerifier):
    """Another app's verifier, which knows a `default` too."""

    async def verify_token(self, token: str) -> AccessToken | None:
        return AccessToken(token="oidc", client_id="default", scopes=["read", "reveal", "write", "destroy"])


@pytest.mark.parametrize("auth", [None, Anybody({})], ids=["without a verifier", "with its own"])
@pytest.mark.parametrize("token", [TOKEN, None])
async def test_mounted_in_another_app_it_takes_no_word_of_that_apps(
    auth: Any, token: str | None, standin: Standin
) -> None:
    outer: FastMCP[Any] = FastMCP("outer", auth=auth)
    outer.mount(launched(Settings.from_environment(server_environment())).mcp)
    async with served(outer) as asgi, asgi.client(auth=token or "anything") as client:
        answer = Answer(await client.call_tool("get_secret_value", {"secret_id": SECRET}, raise_on_error=False))
        assert answer.error_code == "ScopeRequired"


async def test_a_call_in_process_is_the_local_users(standin: Standin) -> None:
    async with Client(launched(Settings.from_environment(server_environment())).mcp) as client:
        answer = await client.call_tool("get_secret_value", {"secret_id": SECRET, "account": "staging"})
        assert answer.structured_content["secret_value"] == "of-staging"


def test_no_variable_of_the_framework_has_an_effect_from_wherever_it_comes(tmp_path: Path) -> None:
    script = "from server import mcp; import fastmcp; print(fastmcp.settings.model_dump_json(exclude={'home'}))"
    seen = set()
    (tmp_path / ".env").write_text("FASTMCP_DEBUG=true\n")
    for imported_first in ("", "import fastmcp; "):
        for more in ({}, {**OTHERS, "FASTMCP_SSE_PATH": "/x", "FASTMCP_SERVER_DEPENDENCIES": '["x"]'}):
            command = [sys.executable, "-c", imported_first + script]
            environment = clean_environment(PYTHONPATH=str(ROOT), **more)
            seen.add(subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True).stdout)
    assert len(seen) == 1


async def test_nor_has_any_on_our_own_start(standin: Standin) -> None:
    environment = {**server_environment(), **OTHERS, "FASTMCP_LOG_LEVEL": "WARN", "Fastmcp_Debug": "1"}
    with server_process(**environment, **aws_environment(standin.url)) as running:
        opened = await Handshake.open(running.port, TOKEN)
        assert opened.session_id
        opened.close()
