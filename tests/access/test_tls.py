"""TLS to AWS: verified as botocore has it, with one context for all accounts."""

from __future__ import annotations

import datetime
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import server as front_door
from access.identity import Grant, Identity
from access.tls import _verifying
from tests.conftest import ROLES, Answer, Session, aws_environment, know_only, running, server_environment
from tests.loopback import Handler, listening
from tests.standin import Standin

SECRET = {"ARN": "arn:aws:secretsmanager:us-east-1:111111111111:secret:app/db-AbCdEf", "Name": "app/db"}


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with Standin(canned=True) as started:
        yield started


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A self-signed certificate for a host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "aws-ops tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{host}.pem", folder / f"{host}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@contextmanager
def secrets_manager(paths: tuple[Path, Path]) -> Iterator[int]:
    """Secrets Manager over TLS on loopback, with one secret; its port."""

    class Secrets(Handler):
        protocol_version = "HTTP/1.1"

        def answer(self, _: bytes) -> None:
            self.reply_json(SECRET)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Whoever does not trust us says so to the other side."""

    with Server(("127.0.0.1", 0), Secrets) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*paths)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("host", "trusted", "works"),
    [("localhost", True, True), ("localhost", False, False), ("elsewhere.example", True, False)],
)
async def test_an_endpoints_certificate_and_name_are_verified_against_the_configured_bundle(
    standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, works: bool
) -> None:
    paths = certificate(tmp_path, host)
    for name, value in aws_environment(standin.url).items():
        monkeypatch.setenv(name, value)
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(paths[0]))
    with secrets_manager(paths) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"https://localhost:{port}")
        async with running() as server, server.session() as call:
            for account in ROLES:
                answer = await call("describe_secret", secret_id="app/db", account=account)
                assert answer.error_code == (None if works else "TLSError"), answer.text
            store, caller = server.app.desk.credentials, server.app.desk.caller()
            contexts = {
                id(_context(store.client(Grant(Identity(role_arn=role), "us-east-1"), "secretsmanager", caller)))
                for role in ROLES.values()
            }
            assert len(contexts) == 1


def _context(client: Any) -> ssl.SSLContext:
    context = client._endpoint.http_session._session._manager.connection_pool_kw["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    return context  # type: ignore[no-any-return]  # botocore has no types


def test_a_bundle_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    bundle, _ = certificate(tmp_path, "localhost")
    assert _verifying(str(bundle), 1) is _verifying(str(bundle), 1)
    assert _verifying(str(bundle), 1) is not _verifying(str(bundle), 2)


def told(answer: Answer, *words: str) -> None:
    """Nothing was sent, nobody should try again, and the words are said."""
    assert answer.error_code not in (None, "OutcomeUnknown", "ServiceUnavailable", "InternalError"), answer.text
    assert answer["retryable"] is False
    assert all(word in answer.text for word in words), answer.text
    assert "retry" not in answer["next_step"].lower()


CHANGE = {"name": "x", "secret_value": "a-value-of-some-length"}


async def everything(call: Session, *words: str) -> None:
    told(await call("describe_secret", secret_id="app/db", account="production"), *words)
    told(await call("create_secret", **CHANGE, account="production"), *words)


def environment(monkeypatch: pytest.MonkeyPatch, standin: Standin, **more: str) -> None:
    know_only(monkeypatch, **{**aws_environment(standin.url), **more})


@pytest.mark.parametrize("service", ["SECRETS_MANAGER", "STS"])
async def test_a_certificate_that_nobody_trusts_is_told_as_such_by_every_call_and_by_the_doctor(
    standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with secrets_manager(certificate(tmp_path, "localhost")) as port:
        environment(monkeypatch, standin, **{f"AWS_ENDPOINT_URL_{service}": f"https://localhost:{port}"})
        async with running() as server, server.session() as call:
            await everything(call, "certificate", "AWS_CA_BUNDLE")
        if service == "STS":
            for name, value in server_environment().items():
                monkeypatch.setenv(name, value)
            assert front_door.main(["--check"]) == 1
            assert all("AWS_CA_BUNDLE" in line for line in capfd.readouterr().out.splitlines() if line[:4] == "FAIL")


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_a_bundle_that_cannot_be_read_is_named_by_its_variable(
    standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "bundle").write_text(content)
    with secrets_manager(certificate(tmp_path, "localhost")) as port:
        endpoint = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": f"https://localhost:{port}"}
        environment(monkeypatch, standin, AWS_CA_BUNDLE=str(tmp_path / "bundle"), **endpoint)
        async with running() as server, server.session() as call:
            await everything(call, "AWS_CA_BUNDLE")


@contextmanager
def answering_everybody(words: bytes) -> Iterator[int]:
    """A port whose owner says something that is no TLS, and hangs up."""

    class Drop(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1)
            self.request.sendall(words)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Drop) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


async def test_a_connection_that_breaks_before_the_request_leaves_is_no_unknown_outcome(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering_everybody(b"") as port:
        environment(monkeypatch, standin, AWS_ENDPOINT_URL_SECRETS_MANAGER=f"https://localhost:{port}")
        async with running() as server, server.session() as call:
            answer = await call("create_secret", **CHANGE, account="production")
            assert answer.error_code not in (None, "OutcomeUnknown", "InternalError"), answer.text


async def test_an_endpoint_that_speaks_no_tls_has_had_nothing(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering_everybody(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        environment(monkeypatch, standin, AWS_ENDPOINT_URL_SECRETS_MANAGER=f"https://localhost:{port}")
        async with running() as server, server.session() as call:
            await everything(call, "AWS_CA_BUNDLE", "endpoint")


class Refusing(Handler):
    """A proxy that lets nobody through."""

    def answer(self, _: bytes) -> None:
        self.reply("", 407)

    do_CONNECT = Handler.handle_any


async def test_a_proxy_that_asks_for_a_password_or_cannot_be_one_is_told_by_its_variable(
    standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(Refusing) as proxy:
        for url in (proxy, "http://[", "127.0.0.1:port"):
            endpoint = "https://secrets.example:8443"
            environment(monkeypatch, standin, AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint)
            monkeypatch.setenv("HTTPS_PROXY", url)
            async with running() as server, server.session() as call:
                await everything(call, "HTTPS_PROXY")
