"""What S3 sends that needs a careful reader: keys that XML cannot hold, checksums of checksums, bodies without end."""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest

from tests.conftest import Session, running
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production", "bucket": "a-bucket"}
KEY = "back\x1bup \ufffe%41+ö.bin"


class S3:
    """Answers a GET of an object with `body` and `headers`, and listings of KEY, url-encoded where asked for."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, dict[str, str](), b""
        self.endless, self.sent = False, 0
        self.encodes = True
        self.key = KEY
        self.queries: list[dict[str, list[str]]] = []

    def listing(self, query: dict[str, list[str]]) -> str:
        """A page of each kind of listing, with one row, cut after it."""
        self.queries.append(query)
        encoded = self.encodes and query.get("encoding-type") == ["url"]
        key = quote_plus(self.key) if encoded else self.key
        kind = "<EncodingType>url</EncodingType>" if encoded else ""
        cut = f"{kind}<IsTruncated>true</IsTruncated><NextKeyMarker>{key}</NextKeyMarker>"
        if "uploads" in query:
            row = f"<Upload><Key>{key}</Key><UploadId>u</UploadId></Upload><NextUploadIdMarker>u</NextUploadIdMarker>"
            return f"<ListMultipartUploadsResult>{cut}{row}</ListMultipartUploadsResult>"
        if "versions" in query:
            row = f"<Version><Key>{key}</Key><VersionId>v</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>"
            marker = f"<DeleteMarker><Key>{key}</Key><VersionId>w</VersionId><IsLatest>false</IsLatest></DeleteMarker>"
            more = "<NextVersionIdMarker>v</NextVersionIdMarker>"
            return f"<ListVersionsResult>{cut}{more}{row}{marker}</ListVersionsResult>"
        row = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
        row += f"<CommonPrefixes><Prefix>{key}</Prefix></CommonPrefixes>"
        return f"<ListBucketResult>{kind}<IsTruncated>false</IsTruncated>{row}</ListBucketResult>"


@pytest.fixture
def s3(environment: None, empty_aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    odd = S3()

    class Answering(Handler):
        def answer(self, _: bytes) -> None:
            query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
            if self.command == "HEAD":
                return self.reply(b"", odd.status, **odd.headers)
            if query.keys() & {"uploads", "versions", "list-type"}:
                return self.reply(odd.listing(query))
            if not odd.endless:
                return self.reply(odd.body, odd.status, **odd.headers)
            self.send_response(200)
            self.end_headers()
            try:
                while odd.sent < 200_000_000:
                    odd.sent += self.wfile.write(b"x" * 65_536)
            except OSError:
                pass
            self.close_connection = True
            return None

    with listening(Answering) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        yield odd


@pytest.fixture
async def call(s3: S3) -> AsyncIterator[Session]:
    async with running(TOOLSETS="s3") as server, server.session() as session:
        yield session


LISTINGS = {"list_multipart_uploads": "uploads", "list_object_versions": "versions", "list_objects": "objects"}


async def test_a_key_that_xml_cannot_hold_is_listed_as_it_is_and_its_listing_goes_on(s3: S3, call: Session) -> None:
    for tool, member in LISTINGS.items():
        page = await call(tool, **AT)
        assert {row["key"] for row in page[member]} == {KEY}, tool
        if page["truncated"]:
            await call(tool, next_token=page["next_token"], **AT)
            assert s3.queries[-1]["key-marker"] == [KEY], tool
    assert (await call("list_objects", delimiter="/", **AT))["common_prefixes"] == [KEY]
    held = await call("delete_bucket", bucket="a-bucket", account="production")
    assert "not empty" in held["message"]


async def test_a_key_that_was_not_encoded_is_not_decoded(s3: S3, call: Session) -> None:
    s3.encodes, s3.key = False, "100%25+a b"
    for tool, member in LISTINGS.items():
        assert {row["key"] for row in (await call(tool, **AT))[member]} == {s3.key}, tool


def _crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


async def test_a_checksum_of_the_parts_checksums_is_not_held_against_the_body(s3: S3, call: Session) -> None:
    s3.body, s3.status = b"part of it", 206
    range_of_it = {"ETag": '"1-2"', "Content-Range": "bytes 0-9/10"}
    for whose, kind in ((b"the parts'", "COMPOSITE"), (s3.body, "FULL_OBJECT")):
        s3.headers = {**range_of_it, "x-amz-checksum-crc32": _crc32(whose), "x-amz-checksum-type": kind}
        assert (await call("get_object", key="k", **AT)).content.get("content") == "part of it", kind
    for kind in ({"x-amz-checksum-type": "FULL_OBJECT"}, {}):
        s3.headers = {**range_of_it, "x-amz-checksum-crc32": _crc32(b"another body"), **kind}
        wrong = await call("get_object", key="k", **AT)
        assert (wrong.is_error, wrong["retryable"]) == (True, True)


async def test_an_object_without_end_is_read_no_further_than_was_asked(s3: S3, call: Session) -> None:
    s3.endless = True
    answer = await call("get_object", key="k", max_bytes=10, **AT)
    assert answer.is_error
    assert s3.sent < 100_000_000, "what the sockets hold, and no more"


async def test_an_answer_of_another_range_is_none(s3: S3, call: Session) -> None:
    s3.body, s3.headers = b"0123456789", {"ETag": "1"}
    assert (await call("get_object", key="k", **AT))["content"] == "0123456789"
    assert (await call("get_object", key="k", start=5, **AT)).is_error
    assert (await call("get_object", key="k", max_bytes=5, **AT)).is_error


async def test_what_decides_what_can_be_done_with_an_object_is_told(s3: S3, call: Session) -> None:
    s3.body = b"\x1f\x8b\x08\x00"
    facts = {
        "Content-Encoding": "gzip", "x-amz-restore": 'ongoing-request="true"', "x-amz-archive-status": "ARCHIVE_ACCESS",
        "x-amz-storage-class": "INTELLIGENT_TIERING", "x-amz-object-lock-legal-hold": "ON",
    }  # fmt: skip
    s3.headers = {"ETag": "1", **facts}
    head = await call("head_object", key="k", **AT)
    assert (head["content_encoding"], head["archive_status"]) == ("gzip", "ARCHIVE_ACCESS")
    assert (head["restore"], head["object_lock_legal_hold_status"]) == ('ongoing-request="true"', "ON")
    got = await call("get_object", key="k", **AT)
    assert (got["content_encoding"], base64.b64decode(got["content"])) == ("gzip", s3.body)


MARKER = {"x-amz-delete-marker": "true", "x-amz-version-id": "m"}
# status, headers -> code, what is said, what is advised; of an answer without a body
BARE: list[tuple[int, dict[str, str], str, str, str]] = [
    (405, MARKER, "MethodNotAllowed", "delete marker", "list_object_versions"),
    (404, MARKER, "NotFound", "delete", "list_object_versions"),
    (404, {}, "NotFound", "", ""),
    (400, {}, "BadRequest", "customer's", ""),
    (403, {}, "AccessDenied", "s3:ListBucket", "s3:GetObject"),
]


async def test_a_refusal_without_a_body_says_what_it_can_mean(s3: S3, call: Session) -> None:
    await call("head_object", key="k", **AT)  # from here on it is known where the bucket is
    for s3.status, s3.headers, code, said, advice in BARE:
        for tool in ("head_object", "get_object"):
            refused = await call(tool, key="k", version_id="m", **AT)
            assert (refused.error_code, refused["retryable"]) == (code, False), (tool, s3.status)
            assert said in refused["message"] + refused["next_step"], (tool, refused.content)
            assert advice in refused["next_step"], (tool, refused.content)


async def test_an_archived_object_is_to_be_restored_first(s3: S3, call: Session) -> None:
    await call("head_object", key="k", **AT)
    s3.status, s3.body = 403, b"<Error><Code>InvalidObjectState</Code><Message>Not for its class.</Message></Error>"
    refused = await call("get_object", key="k", **AT)
    assert (refused.error_code, "restore it first" in refused["next_step"]) == ("InvalidObjectState", True)
