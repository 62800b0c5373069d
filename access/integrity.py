"""Broken answers: one that was cut off, or a garbled 2xx, counts as a broken connection, and is retried as one.

botocore's parsers would take a cut-off JSON answer for an empty success, and raise past the retries on the others.
"""

from __future__ import annotations

import json
import re
from typing import Any

from errors import broken_connection

_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<([\w:.-]+)[^>]*>")
_JSON, _XML = ("json",), ("query", "ec2")


class CheckedSession:
    """botocore's HTTP session, with a look at what comes back."""

    def __init__(self, session: Any, protocol: str) -> None:
        self._session, self._protocol = session, protocol

    def send(self, request: Any) -> Any:
        """Send one attempt.

        Raises:
            ConnectionClosedError: the answer did not arrive whole.
        """
        response = self._session.send(request)
        streamed = request.stream_output or request.method == "HEAD"
        if not streamed and not self._is_whole(response):
            raise broken_connection(request.url)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _is_whole(self, response: Any) -> bool:
        body = response.content
        promised = response.headers.get("content-length", "")
        if promised.isdigit() and len(body) < int(promised):
            return False
        if response.status_code >= 300 or not body.strip():  # who sends an error may be a proxy, with its own format
            return True
        kind = response.headers.get("content-type", "")
        if self._protocol in _JSON or (self._protocol == "rest-json" and "json" in kind):
            return _is_json(body)
        if self._protocol in _XML or (self._protocol == "rest-xml" and "xml" in kind):
            return _is_closed_xml(body)
        return True


def check_answers(client: Any) -> None:
    """Have a client's answers checked. There is no public place between botocore's sending and its parsing."""
    endpoint = client._endpoint
    endpoint.http_session = CheckedSession(endpoint.http_session, client.meta.service_model.resolved_protocol)


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _is_closed_xml(body: bytes) -> bool:
    root = _ROOT.match(body)
    return root is not None and (root[0].endswith(b"/>") or body.rstrip().endswith(b"</" + root[1] + b">"))
