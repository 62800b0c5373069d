"""Broken answers: one that was cut off, that drips in for ever, or a garbled 2xx, counts as a broken connection.

It is then retried as one. botocore's parsers would take a cut-off JSON answer for an empty success, and raise past the
retries on the others.
"""

from __future__ import annotations

import io
import json
import re
import time
import xml.parsers.expat
from functools import partial
from typing import Any

from botocore.httpsession import Timeout

from access.answers import CheckedParsers
from aws_transport import broken_connection, broken_read, is_unanswered, timed_out
from errors import OutcomeUnknown

CONNECT_SECONDS = 3
# In a request's context: it must not be repeated; its answer is a document; how long connecting may take.
ONCE, DOCUMENT, CONNECT_TIMEOUT = "aws_ops_once", "aws_ops_document", "aws_ops_connect"
_JSON, _XML = ("json",), ("query", "ec2")
_CHUNK = 65_536
_MOST_BYTES = 32 * 1_048_576  # of an answer; of an object as many as the range that is asked for
_MOST_BYTES_OF_A_REFUSAL = 1_048_576
_RANGE = re.compile(r"bytes=(\d{1,20})-(\d{1,20})")


class CheckedSession:
    """botocore's HTTP session, with a look at what comes back."""

    def __init__(self, session: Any, protocol: str, longest_read: float) -> None:
        self._session, self._protocol, self._longest_read = session, protocol, longest_read
        session._get_request_timeout = partial(_timeout, longest_read)  # no reference back, which would outlive us

    def send(self, request: Any) -> Any:
        """Send one attempt.

        Raises:
            ConnectionClosedError: the answer did not arrive whole.
            ReadTimeoutError: it did not arrive in time; botocore's own timeout counts anew with each byte.
            OutcomeUnknown: the answer is lost, and the request must not be repeated.
        """
        try:
            return self._attempt(request)
        except Exception as error:
            if request.context.get(ONCE) and is_unanswered(error):
                raise OutcomeUnknown("AWS's answer did not arrive.") from error
            raise

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _attempt(self, request: Any) -> Any:
        end = time.monotonic() + request.context.get("read_timeout", self._longest_read)
        streamed, request.stream_output = request.stream_output, True  # the reading is ours
        response = self._session.send(request)
        promised = response.headers.get("content-length", "")
        _forget_checksums_of_checksums(response.headers)
        body = _read(response.raw, request.url, end, _most_bytes(request, response))
        if request.method != "HEAD" and promised.isdigit() and len(body) < int(promised):
            raise broken_connection(request.url)
        response._content = body
        if streamed:
            response.raw = io.BytesIO(body)
        elif request.method != "HEAD" and not self._is_whole(response, request.context.get(DOCUMENT, False)):
            raise broken_connection(request.url)
        return response

    def _is_whole(self, response: Any, is_document: bool) -> bool:
        body = response.content
        if response.status_code >= 300:  # who sends an error may be a proxy, with its own format
            return True
        if not body.strip():
            return not is_document  # botocore would take it for a document without members
        kind = response.headers.get("content-type", "")
        if self._protocol in _JSON or (self._protocol == "rest-json" and "json" in kind):
            return _is_json(body)
        if self._protocol in _XML or (self._protocol == "rest-xml" and (is_document or "xml" in kind)):
            return _is_xml(body)
        return True


def check_answers(client: Any) -> None:
    """Have a client's answers checked. There is no public place between botocore's sending and its parsing."""
    endpoint = client._endpoint
    protocol, longest_read = client.meta.service_model.resolved_protocol, client.meta.config.read_timeout
    endpoint.http_session = CheckedSession(endpoint.http_session, protocol, longest_read)
    endpoint._response_parser_factory = CheckedParsers(endpoint._response_parser_factory)


def answers_with_a_document(operation: Any) -> bool:
    """Tell whether what an operation answers stands in the body, as JSON or XML: not in headers, nor as bytes."""
    if (shape := operation.output_shape) is None:
        return False
    if payload := shape.serialization.get("payload"):
        return bool(shape.members[payload].type_name == "structure")
    return any("location" not in member.serialization for member in shape.members.values())


def _timeout(longest_read: float, request: Any) -> Timeout:
    """Return a request's own timeouts; botocore lets it have one for reading only."""
    context = request.context
    return Timeout(
        connect=context.get(CONNECT_TIMEOUT, CONNECT_SECONDS), read=context.get("read_timeout", longest_read)
    )


def _most_bytes(request: Any, response: Any) -> int:
    """Return how many bytes of an answer are taken: of an object no more than the range has that was asked for."""
    if response.status_code >= 300:  # that is no part of the object
        return _MOST_BYTES_OF_A_REFUSAL
    wanted = request.headers.get("Range", "")
    asked = _RANGE.fullmatch(wanted.decode() if isinstance(wanted, bytes) else wanted)
    return int(asked[2]) - int(asked[1]) + 1 if asked else _MOST_BYTES


def _forget_checksums_of_checksums(headers: Any) -> None:
    """Keep botocore from holding a body against what was made of its parts' checksums: that fits no body."""
    if headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE":
        return
    for name in [name for name in headers if name.lower().startswith("x-amz-checksum-")]:
        del headers[name]


def _read(raw: Any, url: str, end: float, most: int) -> bytes:
    """Read a body to its end; a piece at a time, so that one that drips takes no longer than a silent one."""
    pieces, size = list[bytes](), 0
    try:
        while piece := raw.read1(min(_CHUNK, most + 1 - size), decode_content=False):
            pieces.append(piece)
            if (size := size + len(piece)) > most:
                raise broken_connection(url)
            if time.monotonic() > end:
                raise timed_out(url)
    except Exception as error:
        pieces.clear()  # the traceback keeps this frame until the call ends, those of earlier attempts too
        raw.close()
        raise broken_read(url, error) from error
    return b"".join(pieces)


def _is_json(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def _is_xml(body: bytes) -> bool:
    try:
        xml.parsers.expat.ParserCreate().Parse(body, True)
    except xml.parsers.expat.ExpatError:
        return False
    return True
