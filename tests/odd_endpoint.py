"""An endpoint that answers as no AWS should: a script of replies, one per request, then the last one for ever."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Reply = Callable[[socket.socket], None]  # it may close the connection; if not, the next request is read from it


def http(status: str, body: bytes = b"", kind: str = "application/x-amz-json-1.1", **headers: str) -> Reply:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda connection: connection.sendall("\r\n".join([*lines, "\r\n"]).encode() + body)


def cut(head: str, body: bytes) -> Reply:
    """An answer with a head of one's own, after which the connection is closed."""

    def reply(connection: socket.socket) -> None:
        connection.sendall(f"HTTP/1.1 {head}\r\n\r\n".encode() + body)
        connection.shutdown(socket.SHUT_RDWR)

    return reply


def leave(connection: socket.socket) -> None:
    """Close without a word."""
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def drip(connection: socket.socket) -> None:
    """Begin an answer, and send a byte of it now and then, for longer than anybody waits."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    for _ in range(300):
        connection.sendall(b" ")
        time.sleep(0.1)


def hang_in_mid_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
    time.sleep(15)


class OddEndpoint:
    """The endpoint's URL, and how many requests it has had about each secret."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: Counter[str] = Counter()
        self._scripts: dict[str, list[Reply]] = {}

    def answers(self, secret_id: str, *replies: Reply) -> None:
        """Set a secret's script, and count anew."""
        self._scripts[secret_id], self.requests[secret_id] = list(replies), 0

    def reply(self, secret_id: str) -> Reply:
        self.requests[secret_id] += 1
        script = self._scripts[secret_id]
        return script.pop(0) if len(script) > 1 else script[0]


@contextmanager
def odd_endpoint() -> Iterator[OddEndpoint]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            buffer = b""
            try:
                while True:
                    while b"\r\n\r\n" not in buffer:
                        buffer += _received(self.request)
                    head, _, buffer = buffer.partition(b"\r\n\r\n")
                    headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
                    while len(buffer) < int(headers.get("content-length", "0")):
                        buffer += _received(self.request)
                    asked, buffer = json.loads(buffer), b""  # botocore sends no request before the last one's answer
                    endpoint.reply(asked["SecretId"])(self.request)
            except OSError:  # either side has left
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, allow_reuse_address, request_queue_size = True, True, 64

    with Server(("127.0.0.1", 0), Handler) as server:
        endpoint = OddEndpoint(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield endpoint
        server.shutdown()


def _received(connection: socket.socket) -> bytes:
    if data := connection.recv(65_536):
        return data
    raise ConnectionError("the peer has left")


@contextmanager
def nobody_answers() -> Iterator[str]:
    """The URL of a port at which connecting hangs: its queue is full and nobody takes from it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for connection in waiting:
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for connection in waiting:
            connection.close()
