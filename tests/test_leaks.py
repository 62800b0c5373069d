"""Nothing leaks: canaries in every string of every tool, and a search for them in all that the server gives off.

A canary is a word that nothing else contains, so one search for it finds all of them, in each form they can take. It
may stand in an audit line's `resource`, which names things as the call did, and nowhere else.
"""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import anyio
import pytest
from fastmcp import Client
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Tracer, TracerProvider

from access.renewal import Obtained
from tests.conftest import ROLES, TOKEN, aws_environment, running, server_environment
from tests.contract import all_tools
from tests.loopback import free_port
from tests.processes import ROOT, Process, clean_environment, server_process
from tests.raw_sessions import KINDS, SSE
from tests.standin import Standin

WORD = "CANARY"
# A word in the stand-in's STS answers likewise.
STS_WORD = "standin-sts-"


@dataclass
class Canaries:
    """Makes them, and counts."""

    planted: int = 0

    def __call__(self, more: str = "") -> str:
        self.planted += 1
        return f"{WORD}{self.planted:05d}{more}"


@dataclass
class Searched:
    """What was searched, and the places where something was found."""

    outputs: dict[str, int] = field(default_factory=dict)
    hits: list[str] = field(default_factory=list)

    def search(self, where: str, text: str, *words: str) -> None:
        self.outputs[where] = self.outputs.get(where, 0) + len(text)
        lowered = text.lower()
        for word in words or (WORD, TOKEN, STS_WORD):
            for form in forms(word):
                at = (lowered if form.islower() else text).find(form)
                if at >= 0:
                    self.hits.append(f"{where}: {text[max(0, at - 80) : at + 60]!r}")


def forms(word: str) -> set[str]:
    """A word plainly, in JSON, URL and hex form, and within any base64 that it could be part of."""
    data = word.encode()
    found = {word, word.lower(), json.dumps(word)[1:-1], quote(word, safe=""), quote_plus(word), data.hex()}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + data).decode().rstrip("=")
        found.add(encoded[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6])
    return found


def test_a_word_is_found_in_every_form() -> None:
    value = f'{{"password": "é{WORD}1\\""}}'
    data = value.encode()
    written = [
        value, value.lower(), json.dumps(value), json.dumps(json.dumps(value)), quote(value), quote_plus(value),
        data.hex(), data.hex(" ").replace(" ", "").upper(), repr(value), repr(data),
        *(base64.b64encode(b"x" * n + data).decode() for n in range(4)), base64.urlsafe_b64encode(data).decode(),
    ]  # fmt: skip
    for text in written:
        searched = Searched()
        searched.search("here", text, WORD)
        assert searched.hits, text


# --- the servers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with Standin(canned=True) as started:
        yield started


def settings(standin: Standin, audit: Path, **more: str) -> dict[str, str]:
    loud = {"LOG_LEVEL": "DEBUG", "TOOLSETS": "all", "AUDIT_LOG": str(audit), "PYTHONDEVMODE": "1"}
    return {**server_environment(**loud, **more), **aws_environment(standin.url)}


def audit_without_resources(path: Path) -> str:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return "\n".join(json.dumps({**record, "resource": None}, ensure_ascii=False) for record in records)


# --- what is planted ----------------------------------------------------------------------------------------------


def filled(schema: Mapping[str, Any], canary: Canaries, *, optional: bool = True) -> Any:
    """A value for a schema with a canary for every string in it."""
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], canary)
    match schema.get("type"):
        case "string":
            return canary()
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "array":
            return [filled(schema.get("items", {"type": "string"}), canary)]
        case "object":
            wanted = schema.get("properties", {})
            names = wanted if optional else schema.get("required", [])
            found = {name: filled(wanted[name], canary) for name in names}
            if isinstance(more := schema.get("additionalProperties"), dict):
                found[canary()] = filled(more, canary)
            return found
    return canary()


def secret_places(schema: Mapping[str, Any], path: str, definitions: Mapping[str, Any]) -> Iterator[str]:
    """Where in a tool's arguments their types say that a secret stands; models' schemas tell, clients' do not."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if schema.get("writeOnly"):
        yield path
    for part in schema.get("anyOf", []):
        yield from secret_places(part, path, definitions)
    for name, part in schema.get("properties", {}).items():
        yield from secret_places(part, f"{path}.{name}", definitions)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from secret_places(schema[name], f"{path}.*", definitions)


def all_secret_places() -> set[str]:
    schemas = {name: tool._arguments._model.model_json_schema() for name, (_, tool) in all_tools().items()}
    return {place for name, whole in schemas.items() for place in secret_places(whole, name, whole.get("$defs", {}))}


def calls(tool: Any, canary: Canaries) -> Iterator[tuple[dict[str, Any], bool]]:
    """Calls of a tool: as it should be; each argument of a wrong type, or misspelt; a canary for an argument's name.

    With each, whether it is refused for its form.
    """
    schema = tool.input_schema
    usual = {"account": "production"} if "account" in schema["properties"] else {}
    without_target = {
        name: part
        for name, part in schema["properties"].items()
        if not name.endswith(("account", "profile", "role_arn", "region"))
    }
    yield filled(schema, canary), False
    yield filled({**schema, "properties": without_target}, canary) | usual, False
    yield filled(schema, canary, optional=False) | usual, False
    yield filled(schema, canary, optional=False) | usual | {canary(): canary()}, True
    for name in schema["properties"]:
        right = filled(schema, canary, optional=False) | usual
        yield {**right, name: [{canary(): canary()}]}, True
        right.pop(name, None)
        yield {**right, f"{name}x": canary()}, True


B64 = "base64 of it"
# Right calls of all that bears a secret: place -> tool, arguments, and AWS's operations that are given it.
RIGHT: dict[str, dict[str, Any]] = {
    "create_secret.secret_value": {"name": "app/new", "secret_value": WORD},
    "create_secret.secret_binary": {"name": "app/new", "secret_binary": B64},
    "create_secret.generate.template": {"name": "app/new", "generate": {"template": "{{generate}}"}},
    "update_secret.secret_value": {"secret_id": "app/db", "secret_value": WORD},
    "update_secret.secret_binary": {"secret_id": "app/db", "secret_binary": B64},
    "update_secret.generate.template": {"secret_id": "app/db", "generate": {"template": "{{generate}}"}},
    "patch_secret.set.*": {"secret_id": "app/db", "set": {"password": WORD}},
    "patch_secret.generate.template": {"secret_id": "db", "remove": ["a"], "generate": {"template": "{{generate}}"}},
    "put_object.body": {"bucket": "a-bucket", "key": "k", "body": WORD},
    "put_object.body_base64": {"bucket": "a-bucket", "key": "k", "body_base64": B64},
    "explain_denial.encoded_message": {"encoded_message": WORD},
}  # fmt: skip


def planted_in(value: Any, secret: str) -> Any:
    """A right call with this secret in it."""
    if isinstance(value, dict):
        return {name: planted_in(item, secret) for name, item in value.items()}
    said = {
        WORD: secret,
        B64: base64.b64encode(secret.encode()).decode(),
        "{{generate}}": json.dumps({"a": "{{generate}}", "b": secret}),
    }
    return said.get(value, value) if isinstance(value, str) else value


def echo(secret: str) -> str:
    """What an AWS error could quote of a value."""
    data = secret.encode()
    return " ".join(
        [secret, json.dumps(secret), quote(secret, safe=""), quote_plus(secret), data.hex(), data.hex().upper(),
         base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()]
    )  # fmt: skip


MALFORMED = [
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"update_secret","arguments":{"secret_value":"%s',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"update_secret","arguments":"%s"}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"update_secret","arguments":["%s"]}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":{"%s":1},"arguments":{}}}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["%s"]}',
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s","arguments":{}}}',
    '{"jsonrpc":"2.0","id":1,"method":"%s","params":{}}',
    '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"secret://%s"}}',
    '{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"secret://production/us-east-1/%s"}}',
    '{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"promote_secret","arguments":{"%s":"%s"}}}',
    '{"jsonrpc":"2.0","id":{"%s":1},"method":"tools/list"}',
    '{"jsonrpc":"%s","id":1,"method":"tools/list"}',
    '{"jsonrpc":"2.0","id":1,"result":{"%s":1}}',
    '{"jsonrpc":"2.0","method":"notifications/%s","params":{"%s":1}}',
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"%s","reason":"%s"}}',
    '[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s"}}]',
    '{"secret_value":"%s"}', '"%s"', "%s", "\ud800%s", "\x00%s",
]  # fmt: skip


def malformed(canary: Canaries) -> Iterator[bytes]:
    for template in MALFORMED:
        text = template
        while "%s" in text:
            text = text.replace("%s", canary(), 1)
        yield text.encode("utf-8", "surrogatepass")


# --- the test -----------------------------------------------------------------------------------------------------


def clients(process: Process) -> list[Client[Any]]:
    return [
        Client(SSETransport(f"{process.url}/sse", auth=TOKEN), mode="auto"),
        Client(StreamableHttpTransport(f"{process.url}/mcp", auth=TOKEN), mode="auto"),
        Client(StreamableHttpTransport(f"{process.url}/mcp", auth=TOKEN), mode="legacy"),
    ]


async def ask(client: Client[Any], tool: str, arguments: dict[str, Any], searched: Searched, *, unsaid: bool) -> None:
    """Make a call. Where its arguments are to be left unsaid, the answer is searched for them; else for keys alone."""
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    text = json.dumps(result.structured_content) + "".join(getattr(part, "text", "") for part in result.content)
    searched.search("answers", text, *((WORD,) if unsaid else ()), TOKEN, STS_WORD)


async def plant(opened: list[Client[Any]], standin: Standin, canary: Canaries, searched: Searched, part: int) -> None:
    """Make all calls of a share of the tools, over each of the clients in turn."""
    tools = await opened[0].list_tools()
    assert all_secret_places() == set(RIGHT), "RIGHT has a call for each argument that is a secret by its type"
    for number, tool in enumerate(tools):
        if number % 3 == part:
            async with anyio.create_task_group() as tasks:
                for turn, (arguments, wrong) in enumerate(calls(tool, canary)):
                    client = opened[turn % len(opened)]
                    tasks.start_soon(
                        lambda c=client, t=tool, a=arguments, w=wrong: ask(c, t.name, a, searched, unsaid=w)
                    )
    for number, (place, template) in enumerate(RIGHT.items()):
        secret = canary('"\n<é%+/ & 1')
        arguments = planted_in(template, secret) | {"account": "production"}
        client, tool_name = opened[number % len(opened)], place.partition(".")[0]
        await ask(client, tool_name, arguments, searched, unsaid=True)
        standin.fault("error", code="InvalidRequestException", message=echo(secret), account="111111111111")
        await ask(client, tool_name, arguments, searched, unsaid=True)
        standin.clear()


def post_malformed(process: Process, path: str, canary: Canaries) -> None:
    """Send bodies, headers, queries and tokens that are none."""
    address = urlsplit(process.url)
    always = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json, text/event-stream"}
    odd = [
        {"Mcp-Name": canary(), "Mcp-Method": "tools/call", "MCP-Protocol-Version": "2026-07-28"},
        {"MCP-Protocol-Version": canary()}, {"Mcp-Session-Id": canary()}, {"Authorization": f"Bearer {canary()}"},
        {"Authorization": canary()}, {"Origin": f"https://{canary()}"}, {"Host": canary()}, {"Cookie": canary()},
        {"Content-Type": canary()},
    ]  # fmt: skip
    requests = [(path, body, {}) for body in malformed(canary)]
    requests += [(path, b"{}", headers) for headers in odd]
    requests += [(f"{path}{'&' if '?' in path else '?'}token={canary()}", b"{}", {}), (f"/{canary()}", b"{}", {})]
    for where, body, headers in requests:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        connection.request("POST", where, body, {"Content-Type": "application/json", **always, **headers})
        connection.getresponse().read(0)
        connection.close()


async def cancel(process: Process, standin: Standin, canary: Canaries) -> None:
    """Start calls whose client is gone before AWS answers."""
    standin.fault("slow", ms=300, service="secretsmanager")
    port = int(str(urlsplit(process.url).port))
    for kind in KINDS.values():
        for arguments in ({"secret_value": canary()}, {"description": canary()}):
            session = await kind.open(port, TOKEN)
            await session.start("update_secret", secret_id="app/db", account="production", **arguments)
            await anyio.sleep(0.1)
            session.break_off()
    await anyio.sleep(0.4)
    standin.clear()


@asynccontextmanager
async def all_of(clients: list[Client[Any]]) -> AsyncIterator[list[Client[Any]]]:
    async with clients[0], clients[1], clients[2]:
        yield clients


@pytest.mark.parametrize(("log_format", "part"), [("json", 0), ("text", 1)])
async def test_no_canary_token_or_key_is_in_any_output_over_http(
    standin: Standin, tmp_path: Path, log_format: str, part: int
) -> None:
    canary, searched = Canaries(), Searched()
    audit, metrics = tmp_path / "audit", free_port()
    environment = settings(standin, audit, LOG_FORMAT=log_format, METRICS_PORT=str(metrics))
    with server_process(**environment) as process:
        async with all_of(clients(process)) as opened:
            await plant(opened, standin, canary, searched, part)
        stream = await SSE.open(int(str(urlsplit(process.url).port)), TOKEN)
        for path in ("/mcp", "/sse", stream.endpoint):
            await anyio.to_thread.run_sync(post_malformed, process, path, canary)
        stream.close()
        await cancel(process, standin, canary)
        process.url, url = f"http://127.0.0.1:{metrics}", process.url
        searched.search("/metrics", process.get("/metrics")[1])
        process.url = url
        searched.search("/readyz", process.get("/readyz")[1])
        searched.search("logs", process.printed)
        searched.search("audit", audit_without_resources(audit))
    report(f"http {log_format}", canary, searched)


async def test_no_canary_token_or_key_is_in_any_output_under_stdio(standin: Standin, tmp_path: Path) -> None:
    canary, searched = Canaries(), Searched()
    audit, log = tmp_path / "audit", tmp_path / "stderr"
    environment = clean_environment(**settings(standin, audit, LOG_FORMAT="text"))
    command = [str(ROOT / "server.py"), "--stdio"]
    stdio = StdioTransport(sys.executable, command, env=environment, keep_alive=False, log_file=log)
    async with Client(stdio) as client:
        await plant([client], standin, canary, searched, 2)
    garbage = b"\n".join(malformed(canary)) + b"\n"
    ended = subprocess.run(
        [sys.executable, *command], env=environment, input=garbage, capture_output=True, timeout=30, check=False
    )
    searched.search("logs", log.read_text() + ended.stderr.decode(errors="replace"))
    searched.search("audit", audit_without_resources(audit))
    report("stdio", canary, searched)


def report(what: str, canary: Canaries, searched: Searched) -> None:
    print(
        f"{what}: {canary.planted} canaries planted, {searched.outputs} characters searched, {len(searched.hits)} hits"
    )
    assert searched.hits == []
    assert canary.planted > 500
    assert min(searched.outputs.values()) > 0


# --- spans and reprs ----------------------------------------------------------------------------------------------


class Recorder(TracerProvider):
    """A tracer provider that keeps every word it is told, in place of an exporter."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def get_tracer(self, *arguments: Any, **named: Any) -> Tracer:
        return _RecordingTracer(self.said)


class _RecordingTracer(Tracer):
    def __init__(self, said: list[str]) -> None:
        self._said = said

    def start_span(self, name: str, *arguments: Any, **named: Any) -> Any:
        if named.get("kind") is not SpanKind.CLIENT:  # the test's own client is none of the server's
            self._said.append(repr((name, arguments, named)))
        return _RecordingSpan(self._said)

    def start_as_current_span(self, name: str, *arguments: Any, **named: Any) -> Any:
        return trace.use_span(self.start_span(name, *arguments, **named), record_exception=True)


class _RecordingSpan(NonRecordingSpan):
    def __init__(self, said: list[str]) -> None:
        super().__init__(SpanContext(1, 1, is_remote=False))
        self._said = said

    def is_recording(self) -> bool:
        return True

    def _note(self, *arguments: Any, **named: Any) -> None:
        self._said.append(repr((arguments, named, [getattr(one, "args", None) for one in arguments])))

    set_attribute = set_attributes = add_event = update_name = set_status = record_exception = _note


async def test_no_span_bears_a_value(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, canary, searched = Recorder(), Canaries(), Searched()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", recorder)
    for name, value in aws_environment(standin.url).items():
        monkeypatch.setenv(name, value)
    async with running(TOOLSETS="all") as server:
        for wire in (("sse", "auto"), ("http", "auto"), ("http", "legacy")):
            async with server.session(*wire) as call:
                await call("update_secret", secret_id="app/db", secret_value=canary(), account="production")
                await call("update_secret", secret_id=canary(), secret_value=[canary()], **{canary(): 1})
                await call(canary(), secret_value=canary())
    trace.get_tracer("a tracer of now").start_span("proof that they are heard")
    assert "proof that they are heard" in recorder.said[-1]
    searched.search("spans", "\n".join(recorder.said))
    assert searched.hits == []


async def test_no_repr_shows_a_secret(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = Canaries()
    for name, value in aws_environment(standin.url).items():
        monkeypatch.setenv(name, value)
    secrets = {"AUDIT_HMAC_KEY": canary("0123456789"), "ACCOUNT_PRODUCTION_EXTERNAL_ID": canary()}
    async with running(**secrets) as server, server.session() as call:
        assert (await call("describe_secret", secret_id="app/db", account="production"))["success"]
        desk = server.app.desk
        held = [desk, desk.settings, *desk.settings.accounts, desk.credentials, *vars(desk.credentials).values()]
        held += [vars(one) for one in desk.credentials._credentials.values()]
        shown = "\n".join(map(repr, held))
    searched = Searched()
    searched.search("reprs", shown)
    assert searched.hits == []
    assert ROLES["production"] in shown
    assert Obtained.__name__ in shown
