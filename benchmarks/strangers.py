"""`python -m benchmarks.strangers`: what a stranger's request of up to 4 MB costs everybody else.

A server process with static tokens, OIDC and globs for hosts and origins gets each request a few times, without a right
token. Told of each, worst last: the status, the time to the answer (the quickest of the repetitions), the server's CPU
time (of `/proc`, in steps of 10 ms), and the latest answer to a `/healthz` that is asked for all the while. Those whose
head never ends are closed after 10 s.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joserfc.jwk import KeySet, RSAKey

from tests.conftest import aws_environment, server_environment
from tests.loopback import Handler, listening
from tests.processes import Process, server_process

MOST = 4 * 1024 * 1024
TICK = os.sysconf("SC_CLK_TCK")
_PLAIN = b"Host: localhost\r\n"


def head(*lines: bytes, method: bytes = b"POST", path: bytes = b"/mcp", host: bytes = _PLAIN) -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def filled(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


def headers() -> Iterator[tuple[str, bytes]]:
    for size in (8_000, 16_000, 31_000, 200_000, MOST):
        for unit in (b"1", b"1.", b"a.", b"*", b"[:", b"-", b"x:1"):
            yield f"Host of {unit!r}", head(host=b"Host: " + filled(unit, size) + b"x\r\n")
        for unit in (b"a", b" ", b"a ", b"\t", b"\xff", b"a,", b"http://a.", b":*", b"1,"):
            for name in (b"X", b"Origin", b"Accept", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Cookie"):
                yield f"{name.decode()} of {unit!r}", head(name + b": " + filled(unit, size) + b"x")
        for line in (b"a:", b"host: a", b"authorization: Bearer x", b"origin: http://a", b"mcp-session-id: x"):
            yield f"many {line!r}", head(*[line] * (size // (len(line) + 2)))
        yield "folded lines", head(b"x: 1", *[b" 1"] * (size // 4))
        yield "a name without end", head(filled(b"x", size))
        yield "no head's end", head()[:-2] + filled(b"a", size)


def tokens() -> Iterator[tuple[str, bytes]]:
    for size in (8_000, 31_000, MOST):
        for unit in (b"a", b".", b"a.", b"=", b"\xff", b"bearer ", b"-_"):
            yield f"token of {unit!r}", head(b"Authorization: Bearer " + filled(unit, size))
        for payload in (b'{"alg":"RS256","kid":"k","x":"' + filled(b"a", size // 2) + b'"}', filled(b"[", size // 2),
                        filled(b'{"alg":', size // 2), b'{"alg":' + filled(b"1", size // 2) + b"}"):  # fmt: skip
            encoded = base64.urlsafe_b64encode(payload).rstrip(b"=")
            yield f"JWT of {payload[:9]!r}", head(b"Authorization: Bearer " + b".".join([encoded, b"e30", b"AAAA"]))
            claims = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"k"}').rstrip(b"=")
            yield f"claims of {payload[:9]!r}", head(b"Authorization: Bearer " + b".".join([claims, encoded, b"AAAA"]))


def paths() -> Iterator[tuple[str, bytes]]:
    for size in (8_000, 31_000, MOST):
        for unit in (b"a", b"/", b"%41", b"%", b"%ff", b"../", b"%2e%2e/", b";", b"mcp/", b"[", b"*"):
            yield f"path of {unit!r}", head(method=b"GET", path=b"/" + filled(unit, size))
        for unit in (b"a=1&", b"&", b"=", b"%26", b"session_id=1&", b"+", b"\x7e"):
            for path in (b"/mcp", b"/messages/", b"/healthz", b"/readyz"):
                yield f"{path.decode()} query of {unit!r}", head(method=b"GET", path=path + b"?" + filled(unit, size))
        yield "a method without end", head(method=filled(b"A", size))


def bodies() -> Iterator[tuple[str, bytes]]:
    for path in (b"/mcp", b"/messages/?session_id=1", b"/sse", b"/healthz", b"/nowhere"):
        for unit in (b"a", b"[", b'{"a":', b'"\\u0000', b"1", b"\xff", b" "):
            body = filled(unit, MOST - 1_000)
            told = b"Content-Length: " + str(len(body)).encode()
            yield f"{path.decode()} body of {unit!r}", head(told, b"Content-Type: application/json", path=path) + body
        for chunk in (b"1\r\na\r\n", b"1;a=b\r\na\r\n", b"0001\r\na\r\n", b"8000\r\n" + b"a" * 32_768 + b"\r\n"):
            chunks = filled(chunk, MOST - 1_000) + b"0\r\n\r\n"
            yield f"{path.decode()} chunks {chunk[:9]!r}", head(b"Transfer-Encoding: chunked", path=path) + chunks
        trailer = b"0\r\n" + filled(b"a: b\r\n", MOST - 1_000) + b"\r\n"
        yield f"{path.decode()} trailer", head(b"Transfer-Encoding: chunked", path=path) + trailer
        size = b"1" + b"0" * 30 + b"\r\n" + filled(b"a", 1_000_000)
        yield f"{path.decode()} a chunk without end", head(b"Transfer-Encoding: chunked", path=path) + size


def no_http() -> Iterator[tuple[str, bytes]]:
    for unit in (
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00",
        b"\r\n",
        b"\n",
        b"GET",
        b"\xf0\x9f\x92\xa9",
    ):
        yield f"{unit!r}", filled(unit, MOST)
    yield "requests on end", filled(head(method=b"GET"), 200_000)


KINDS = {"headers": headers, "tokens": tokens, "paths": paths, "bodies": bodies, "no HTTP": no_http}


@contextlib.contextmanager
def running() -> Iterator[Process]:
    """A server with all that a stranger's request may meet before its token is known."""
    key = RSAKey.generate_key(2048, {"kid": "k"})
    published = KeySet([key]).as_dict()

    class Issuer(Handler):
        def answer(self, _: bytes) -> None:
            self.reply(json.dumps(published))

    with listening(Issuer) as issuer:
        environment = server_environment(
            MCP_JWT_ISSUER=issuer, MCP_JWT_AUDIENCE="a", MCP_JWT_JWKS_URI=f"{issuer}/keys",
            MCP_ALLOWED_HOSTS="*.*.example.com,10.*,*-a.*-b.example.com:8443", MCP_ALLOWED_ORIGINS="https://*.*.example.com",
        )  # fmt: skip
        with server_process(**environment, **aws_environment("http://127.0.0.1:9")) as process:
            yield process


@dataclass
class Result:
    name: str
    size: int
    status: str
    seconds: float
    cpu: float
    healthz: float


class Probe(threading.Thread):
    """Asks for /healthz all the while and keeps the latest answer's seconds."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port, self.worst, self.on = port, 0.0, True

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as opened:
            while self.on:
                began = time.perf_counter()
                opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                opened.recv(4096)
                self.worst = max(self.worst, time.perf_counter() - began)
                time.sleep(0.0005)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def ask(port: int, data: bytes, source: int) -> tuple[str, float]:
    """Send all, as far as the server takes it, and read the first answer; who is refused often is slowed by address."""
    address = f"127.1.{source // 200}.{source % 200 + 1}"
    with socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(address, 0)) as opened:
        began = time.perf_counter()
        sender = threading.Thread(target=lambda: _send(opened, data), daemon=True)
        sender.start()
        try:
            status = opened.recv(4096)[9:12].decode("latin-1") or "closed"
        except OSError as error:
            status = type(error).__name__
        took = time.perf_counter() - began
        sender.join(5)
    return status, took


def _send(opened: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        opened.sendall(data)


def measure(process: Process, name: str, data: bytes, times: int, source: int) -> Result:
    probe, before = Probe(process.port), cpu_seconds(process.process.pid)
    probe.start()
    answers = [ask(process.port, data, source) for _ in range(times)]
    probe.on = False
    probe.join(60)
    spent = cpu_seconds(process.process.pid) - before
    status = "/".join(sorted({status for status, _ in answers}))
    return Result(name, len(data), status, min(took for _, took in answers), spent / times, probe.worst)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.strangers", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="which kinds of requests; all, if none is named")
    parser.add_argument("--times", type=int, default=3, help="how often each is sent")
    chosen = parser.parse_args()
    results: list[Result] = []
    with running() as process:
        for kind in chosen.kinds or KINDS:
            for name, data in KINDS[kind]():
                results.append(measure(process, f"{kind}: {name}", data[:MOST], chosen.times, len(results)))
    for figure in ("seconds", "healthz", "cpu"):
        print(f"\nworst by {figure}, in ms: answer, /healthz, CPU")
        for result in sorted(results, key=lambda result: getattr(result, figure))[-8:]:
            figures = " ".join(f"{1000 * value:8.1f}" for value in (result.seconds, result.healthz, result.cpu))
            print(f"{figures} {result.size:>8} B  {result.status:8} {result.name}")
    print(f"\n{len(results)} requests; answers: {sorted({result.status for result in results})}")


if __name__ == "__main__":
    main()
