"""S3's answers that moto does not give: odd and empty ones, by a script; and a HEAD, whose errors have no body."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.session
import pytest

from access import trace
from access.integrity import answers_with_a_document
from tests.conftest import session_of

HTTP = ("http", "auto")
AT = {"account": "production"}
NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
BUCKETS = (
    f"<ListAllMyBucketsResult {NS}><Buckets><Bucket><Name>a-bucket</Name></Bucket></Buckets></ListAllMyBucketsResult>"
)
PAGE = b"<!DOCTYPE html><p>Sorry"
Reply = tuple[int, str, bytes]


class _S3(BaseHTTPRequestHandler):
    """Answers each method by its script, and by the last of it for ever."""

    protocol_version = "HTTP/1.1"
    script: dict[str, list[Reply]]
    keys: list[str]

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.keys.append(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
        replies = self.script[self.command]
        status, kind, body = replies.pop(0) if len(replies) > 1 else replies[0]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = do_DELETE = do_PUT = handle_any

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def s3(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_S3]]:
    handler = type("S3", (_S3,), {"script": {"HEAD": [(200, "application/xml", b"")]}, "keys": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "whole",
    [
        BUCKETS.encode(),
        b'<?xml version="1.0" encoding="UTF-8"?>\n' + BUCKETS.encode() + b"\n\n ",
        b"\xef\xbb\xbf" + BUCKETS.encode(),
        b'<?xml version="1.0" encoding="UTF-8"?>\n\n   \n' + BUCKETS.encode(),
    ],
    ids=["no declaration", "white space after it", "a byte order mark", "white space to keep the connection open"],
)
async def test_a_whole_answer_of_any_spelling_is_taken_at_once(s3: type[_S3], whole: bytes) -> None:
    for kind in ("application/xml", "binary/octet-stream", "text/plain"):
        s3.script["GET"], s3.keys = [(200, kind, whole)], []
        async with session_of("s3", HTTP) as call:
            answer = await call("list_buckets", **AT)
        assert [row["name"] for row in answer["buckets"]] == ["a-bucket"]
        assert len(s3.keys) == 1


@pytest.mark.parametrize("kind", ["application/xml", "text/html", ""])
async def test_an_answer_that_is_no_document_is_asked_for_again_whatever_it_calls_itself(
    s3: type[_S3], kind: str
) -> None:
    s3.script["GET"] = [(200, kind, b""), (200, kind, PAGE), (200, "application/xml", BUCKETS.encode())]
    async with session_of("s3", HTTP) as call:
        answer = await call("list_buckets", **AT)
        assert answer["count"] == 1
        s3.script["GET"] = [(200, kind, b"")]
        empty = await call("list_multipart_uploads", bucket="a-bucket", **AT)
    assert (empty.error_code, empty["retryable"]) == ("ServiceUnavailable", True)


async def test_what_has_no_document_may_be_empty(s3: type[_S3]) -> None:
    versions = f"<VersioningConfiguration {NS}><Status>Enabled</Status></VersioningConfiguration>"
    s3.script |= {"GET": [(200, "application/xml", versions.encode())], "DELETE": [(204, "", b"")]}
    s3.script["PUT"] = [(200, "application/xml", b"")]
    async with session_of("s3", HTTP) as call:
        assert (await call("delete_object", bucket="a-bucket", key="k", **AT))["delete_marker"]
        assert (await call("put_object", bucket="a-bucket", key="k", body="x", **AT))["success"]


def test_which_answers_are_documents() -> None:
    def kinds(service: str, *operations: str) -> list[bool]:
        model = botocore.session.Session().get_service_model(service)
        return [answers_with_a_document(model.operation_model(operation)) for operation in operations]

    assert kinds("s3", "ListObjectsV2", "CopyObject", "GetPublicAccessBlock", "GetBucketPolicyStatus") == [True] * 4
    assert kinds("s3", "GetObject", "PutObject", "DeleteObject", "GetBucketPolicy", "CreateBucket") == [False] * 5
    assert kinds("route53", "ListHostedZones", "ChangeResourceRecordSets", "DeleteHostedZone") == [True] * 3
    assert kinds("iam", "GetRole", "CreatePolicy", "AttachRolePolicy") == [True, True, False]
    assert kinds("secretsmanager", "GetSecretValue", "TagResource") == [True, False]


async def test_a_token_that_a_head_calls_bad_is_renewed_once_since_an_expired_one_is_called_so(
    s3: type[_S3], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, found = (400, "application/xml", b""), (200, "application/xml", b"")
    async with session_of("s3", HTTP) as call:
        s3.script["HEAD"] = [found]
        assert (await call("head_object", bucket="a-bucket", key="k", **AT))["success"]
        first = s3.keys[-1]
        s3.script["HEAD"] = [bad]
        assert (await call("head_object", bucket="a-bucket", key="k", **AT))["error_code"] == "BadRequest"
        assert set(s3.keys) == {first}, "credentials that are new have not expired"
        monkeypatch.setattr(trace, "_TOO_YOUNG_SECONDS", 0.0)
        s3.script["HEAD"] = [bad, found]
        assert (await call("head_object", bucket="a-bucket", key="k", **AT))["success"]
        assert s3.keys[-1] != first
