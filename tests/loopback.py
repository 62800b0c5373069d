"""What a test puts on loopback itself: a free port, and servers of a few lines for what moto does not answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Handler(BaseHTTPRequestHandler):
    """Reads each request whole and leaves the rest to `answer`; logs nothing."""

    def answer(self, body: bytes) -> None:
        """Answer a request, with `reply` or `reply_json`."""
        raise NotImplementedError

    def handle_any(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def reply(self, body: bytes | str, status: int = 200, **headers: str) -> None:
        """Answer with XML, as most services do, unless the headers say otherwise."""
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"Content-Type": "text/xml", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def reply_json(self, answer: Any, status: int = 200) -> None:
        """Answer as AWS's JSON services do."""
        self.reply(json.dumps(answer), status, **{"Content-Type": "application/x-amz-json-1.1"})

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def listening(handler: type[Handler]) -> Iterator[str]:
    """The URL of a server whose requests such a handler answers, each in a thread."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
