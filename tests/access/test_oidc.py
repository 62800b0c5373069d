"""OIDC access tokens, from an issuer of our own on loopback: whom they let in, as whom, and everything they do not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging.config
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

import server as front_door
from tests.conftest import TOKEN, Server, Session, running, standin_alone
from tests.loopback import Handler, listening
from tests.raw_sessions import INITIALIZE
from tests.standin import Standin

AUDIENCE = "aws-ops"
MINE = {"MCP_JWT_ISSUER", "MCP_JWT_AUDIENCE", "MCP_JWT_JWKS_URI"}
MODERN = "2026-07-28"


class Issuer:
    """Publishes keys on loopback, and remembers which paths it was asked for."""

    def __init__(self) -> None:
        self.rsa, self.ec = RSAKey.generate_key(2048, {"kid": "rsa"}), ECKey.generate_key("P-256", {"kid": "ec"})
        self.stranger = RSAKey.generate_key(2048, {"kid": "rsa"})
        self.asked: list[str] = []
        pages = {"/keys": KeySet([self.rsa, self.ec]).as_dict(), "/no-keys": {"keys": []}, "/list": []}
        asked = self.asked

        class Pages(Handler):
            def answer(self, _: bytes) -> None:
                asked.append(self.path)
                page = pages.get(self.path)
                self.reply("hello" if page is None else json.dumps(page), 404 if page is None else 200)

        self.handler, self.url = Pages, ""

    def variables(self, path: str = "/keys") -> dict[str, str]:
        return dict(zip(sorted(MINE), (AUDIENCE, self.url, self.url + path), strict=True))

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Good claims, with some changed; None takes one away."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ann@example.com", "exp": now + 600, "scope": "read"}
        return {name: value for name, value in (good | claims).items() if value is not None}

    def token(self, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        head = {"alg": "RS256", "kid": "rsa", **(header or {})}
        return jwt.encode(head, self.claims(**claims), key or self.rsa, algorithms=[head["alg"]], registry=_LAX)

    def forged(self, header: dict[str, Any], sign: Callable[[bytes], bytes], claims: Any = None) -> str:
        """A token that no library would make."""
        text = b".".join(_b64(json.dumps(part).encode()) for part in (header, claims or self.claims()))
        return (text + b"." + _b64(sign(text))).decode()

    def sign(self, text: bytes) -> bytes:
        return bytes(self.rsa.private_key.sign(text, PKCS1v15(), SHA256()))


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_LAX = jwt.JWSRegistry(algorithms=["RS256", "ES256", "PS256", "RS512"], strict_check_header=False)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    publishing = Issuer()
    with listening(publishing.handler) as publishing.url:
        yield publishing


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with standin_alone(canned=True) as started:
        yield started


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oidc") / "audit.jsonl"


@pytest.fixture(scope="module")
async def server(standin: Standin, issuer: Issuer, trail: Path) -> AsyncIterator[Server]:
    digest = hashlib.sha256(b"the-static-token-of-stan").hexdigest()
    callers = trail.with_name("callers.toml")
    callers.write_text(f'[callers.stan]\ntoken_sha256 = "{digest}"\nscopes = ["read"]\n')
    async with running(MCP_CALLERS_FILE=str(callers), AUDIT_LOG=str(trail), **issuer.variables()) as started:
        yield started


def audited(trail: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trail.read_text().splitlines()]


async def listed(call: Session) -> set[str]:
    return {tool.name for tool in await call.client.list_tools()}


async def test_a_right_token_works_over_every_wire_and_the_trail_says_its_subject(
    server: Server, issuer: Issuer, trail: Path, wire: tuple[str, str], standin: Standin
) -> None:
    standin.forget_calls()
    async with server.session(*wire, token=issuer.token(sub="Jürgen|42", client_id="app", azp="app")) as call:
        assert (await call("describe_secret", secret_id="app/db", account="production"))["success"]
        refused = await call("get_secret_value", secret_id="app/db", account="production")
    assert refused.error_code == "ScopeRequired"
    done, denied = audited(trail)[-2:]
    assert (done["caller"], done["outcome"]) == ("Jürgen|42", "success")
    assert (denied["caller"], denied["rule"]) == ("Jürgen|42", "ScopeRequired")
    assert [call.operation for call in standin.calls()][-1] == "DescribeSecret"


SCOPES: list[tuple[dict[str, Any], set[str]]] = [
    ({"scope": "read write"}, {"read", "write"}),
    ({"scope": ["read", "reveal"]}, {"read", "reveal"}),
    ({"scope": None, "scp": "read reveal"}, {"read", "reveal"}),
    ({"scope": None, "scp": ["read", "write"]}, {"read", "write"}),
    ({"scope": "openid profile read READ write:all admin *"}, {"read"}),
    ({"scope": ""}, set()),
    ({"scope": None}, set()),
    ({"scope": {"read": True}}, set()),
]
TOOL_OF = {"read": "describe_secret", "reveal": "get_secret_value", "write": "create_secret"}


@pytest.mark.parametrize(
    ("claims", "scopes"), SCOPES, ids=lambda value: json.dumps(value) if isinstance(value, dict) else ""
)
async def test_scopes_come_from_the_scope_or_scp_claim_and_no_other_word_is_one(
    server: Server, issuer: Issuer, claims: dict[str, Any], scopes: set[str]
) -> None:
    async with server.session(token=issuer.token(**claims)) as call:
        assert await listed(call) & set(TOOL_OF.values()) == {TOOL_OF[scope] for scope in scopes}


@pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
async def test_the_other_pinned_algorithms_work(server: Server, issuer: Issuer, algorithm: str) -> None:
    key, kid = (issuer.ec, "ec") if algorithm == "ES256" else (issuer.rsa, "rsa")
    async with server.session(token=issuer.token(key, {"alg": algorithm, "kid": kid})) as call:
        assert "describe_secret" in await listed(call)


async def test_an_audience_among_several_is_enough(server: Server, issuer: Issuer) -> None:
    async with server.session(token=issuer.token(aud=["other", AUDIENCE])) as call:
        assert "describe_secret" in await listed(call)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}


async def test_a_new_token_of_the_same_subject_goes_on_with_the_session_and_another_subjects_does_not(
    server: Server, issuer: Issuer
) -> None:
    ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    async with server.http() as http:
        opened = await http.post("/mcp", json=INITIALIZE, headers=bearer(issuer.token(jti="first", client_id="one")))
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        fresh = issuer.token(jti="second", client_id="two", scope="read write")
        answer = await http.post("/mcp", json=ask, headers=bearer(fresh) | session)
        assert (answer.status_code, "create_secret" in answer.text) == (200, True)
        for other in (issuer.token(sub="bob@example.com"), "the-static-token-of-stan", TOKEN):
            assert (await http.post("/mcp", json=ask, headers=bearer(other) | session)).status_code == 404


# Of the static caller stan, or of a name that is ours.
ALIKE = [
    "STAN",
    "Stan",
    "ｓｔａｎ",
    " stan ",
    "\u3000stan",
    "\u0455tan",
    "s\u03c4an",
    "st\u0430n",
    "sta\u0578",
    "\u0405\u0422\u0410\u039d",
    "𝐬𝐭𝐚𝐧",
    "ⓢtan",
    "s\u034ftan",
    "stan\ufe0f",
    "st\u3164an",
    "ſtan",
    "Default",
    "d\u0435fault",
    "Anonymous",
    "anonym\u03bfus",
    "anonуmous",
    "CHECK",
    "\u0441heck",
    "\u03f9heck",
    "che\u217dk",
]
OTHERS = [
    "Сергей",
    "Ольга",
    "Νίκος",
    "Στέφαν",
    "दीपक",
    "田中",
    "Չարենց",
    "stanley",
    "sta",
    "stän",
    "café",
    "checker",
    "Стан Петров",
]


def wrong_tokens(issuer: Issuer) -> dict[str, str]:
    now = int(time.time())
    public, published = issuer.rsa.as_pem(private=False), json.dumps(issuer.rsa.as_dict(private=False)).encode()
    good = issuer.token()
    head, claims, signature = good.split(".")
    others = _b64(json.dumps(issuer.claims(sub="eve")).encode()).decode()
    elsewhere = f"{issuer.url}/elsewhere"
    own = {"jwk": issuer.stranger.as_dict(private=False)}
    return {
        "wrong issuer": issuer.token(iss="https://elsewhere.example"),
        "issuer with a slash more": issuer.token(iss=issuer.url + "/"),
        "no issuer": issuer.token(iss=None),
        "wrong audience": issuer.token(aud="other"),
        "audiences of others": issuer.token(aud=["other", "aws-ops-2"]),
        "no audience": issuer.token(aud=None),
        "expired": issuer.token(exp=now - 1),
        "no exp": issuer.token(exp=None),
        "exp as text": issuer.token(exp=str(now + 600)),
        "exp true": issuer.token(exp=True),
        "exp without end": issuer.token(exp=float("inf")),
        "exp not a number": issuer.token(exp=float("nan")),
        "nbf in the future": issuer.token(nbf=now + 60),
        "nbf as text": issuer.token(nbf=str(now - 60)),
        "wrong key": issuer.token(issuer.stranger),
        "unknown key id": issuer.token(issuer.stranger, {"kid": "stranger"}),
        "key id of another kind": issuer.token(issuer.rsa, {"kid": "ec"}),
        "key id not a text": issuer.forged({"alg": "RS256", "kid": ["rsa"]}, lambda _: b"x"),
        "alg none": issuer.forged({"alg": "none"}, lambda _: b""),
        "alg none, with a key id": issuer.forged({"alg": "None", "kid": "rsa"}, lambda _: b""),
        "no alg": issuer.forged({"kid": "rsa"}, lambda _: b""),
        "alg not pinned": issuer.token(header={"alg": "RS512"}),
        "HS256 with the public key": issuer.forged(
            {"alg": "HS256", "kid": "rsa"}, lambda text: hmac.digest(public, text, "sha256")
        ),
        "HS256 with the published key": issuer.forged(
            {"alg": "HS256", "kid": "rsa"}, lambda text: hmac.digest(published, text, "sha256")
        ),
        "jku elsewhere": issuer.token(issuer.stranger, {"jku": elsewhere, "kid": "stranger"}),
        "x5u elsewhere": issuer.token(issuer.stranger, {"x5u": elsewhere}),
        "jwk of its own": issuer.token(issuer.stranger, own),
        "critical header": issuer.forged({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}, issuer.sign),
        "claims are a list": issuer.forged({"alg": "RS256", "kid": "rsa"}, issuer.sign, claims=["sub"]),
        "no sub": issuer.token(sub=None),
        "no sub but a client": issuer.token(sub=None, client_id="app"),
        "empty sub": issuer.token(sub=""),
        "sub a number": issuer.token(sub=7),
        "sub of two lines": issuer.token(sub="ann\nevent"),
        "sub without end": issuer.token(sub="x" * 257),
        "sub of a static caller": issuer.token(sub="stan"),
        "sub of MCP_AUTH_TOKEN's caller": issuer.token(sub="default"),
        **{f"sub that reads as {name}": issuer.token(sub=name) for name in ALIKE},
        "other claims": f"{head}.{others}.{signature}",
        "no signature": f"{head}.{claims}.",
        "signature cut": good[:-4],
        "no JWT": "not.a.jwt",
    }


PATHS = ("/mcp", "/sse", "/messages/?session_id=0123456789abcdef0123456789abcdef")


async def test_every_wrong_token_is_401_on_every_path_and_nothing_is_fetched_from_where_a_token_points(
    server: Server, issuer: Issuer, standin: Standin
) -> None:
    standin.forget_calls()
    statuses: dict[tuple[str, str], tuple[int, str]] = {}
    asked = len(issuer.asked)

    async def ask(http: Any, name: str, token: str, path: str) -> None:
        how = "GET" if path == "/sse" else "POST"
        answer = await http.request(how, path, headers={"authorization": f"Bearer {token}"})
        statuses[name, path] = answer.status_code, answer.headers.get("www-authenticate", "").partition(" ")[0]

    async with server.http() as http, anyio.create_task_group() as tasks:
        for name, token in wrong_tokens(issuer).items():
            for path in PATHS:
                tasks.start_soon(ask, http, name, token, path)
    assert {what: status for what, status in statuses.items() if status != (401, "Bearer")} == {}
    assert set(issuer.asked[asked:]) <= {"/keys"}
    assert len(issuer.asked) < 10  # unknown key ids are no way to make us ask the issuer at every request
    assert standin.calls() == []


async def test_static_callers_work_beside_the_issuer(server: Server) -> None:
    for token in (TOKEN, "the-static-token-of-stan"):
        async with server.session(token=token) as call:
            assert "describe_secret" in await listed(call)


@pytest.fixture
def start(standin: Standin, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., list[str]]]:
    """Start the server with these variables, which it must refuse; return the lines it prints."""
    with pytest.MonkeyPatch.context() as patch:

        def run(**variables: str) -> list[str]:
            # Should the start go wrong by going on, it ends at the audit trail.
            for name, value in {"MCP_PORT": "0", "AUDIT_LOG": "/does/not/exist", **variables}.items():
                patch.setenv(name, value)
            assert front_door.main([]) == 2
            return capfd.readouterr().err.strip().splitlines()

        yield run
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}})


@pytest.mark.parametrize("path", ["/missing", "/no-keys", "/list", None])
def test_keys_that_cannot_be_fetched_stop_the_start_with_one_line_that_names_the_variable(
    start: Callable[..., list[str]], issuer: Issuer, path: str | None
) -> None:
    where = {"MCP_JWT_JWKS_URI": "http://127.0.0.1:9/keys"} if path is None else {}
    (line,) = start(**issuer.variables(path or "/keys") | where)
    assert "MCP_JWT_JWKS_URI" in line


@pytest.mark.parametrize(
    "given",
    [{name} for name in sorted(MINE)] + [MINE - {name} for name in sorted(MINE)],
    ids=lambda given: ",".join(sorted(given)),
)
def test_one_or_two_of_the_three_variables_stop_the_start_even_beside_a_token(
    start: Callable[..., list[str]], issuer: Issuer, given: set[str]
) -> None:
    some = {name: value for name, value in issuer.variables().items() if name in given}
    (line,) = start(MCP_AUTH_TOKEN=TOKEN, **some)
    assert all(name in line for name in MINE)


async def test_a_whole_name_of_another_script_is_a_name(server: Server, issuer: Issuer) -> None:
    async with server.http() as http:
        for name in OTHERS:
            answer = await http.post(
                "/mcp",
                headers={
                    "authorization": f"Bearer {issuer.token(sub=name)}",
                    "accept": "application/json, text/event-stream",
                },
                json=INITIALIZE,
            )
            assert answer.status_code == 200, name
