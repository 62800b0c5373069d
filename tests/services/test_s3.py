"""S3's tools over moto, in two accounts; what moto lacks (regions, owners, broken bodies) over a small strict S3."""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.conftest import Server, Session, boto, running
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production"}


@pytest.fixture
async def call(server: Server, empty_aws: None, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with server.session(*wire) as session:
        yield session


@pytest.fixture
def account_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 Control is asked at <account>.<host>, which no name server knows for an address."""
    known = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more, **named: known(re.sub(r"^\d{12}\.", "", str(host)), *more, **named)
    )


async def test_a_bucket_is_made_private_encrypted_and_versioned(call: Session, account_hosts: None) -> None:
    made = await call("create_bucket", bucket="made-safely", region="eu-west-1", **AT)
    assert (made["bucket_region"], made["versioning"]) == ("eu-west-1", "Enabled")
    posture = await call("get_bucket_posture", bucket="made-safely", **AT)
    assert all(posture["public_access_block"].values())
    assert (posture["ownership"], posture["encryption"]) == ("BucketOwnerEnforced", "AES256")
    assert posture["versioning"] == "Enabled"
    assert posture["concerns"] == ["Access is not logged to a bucket."]
    assert (posture["unknown"], posture["region"]) == ({}, "eu-west-1")
    again = await call("create_bucket", bucket="made-safely", versioning=False, **AT)
    assert again.error_code == "BucketAlreadyExists"
    assert [row["name"] for row in (await call("list_buckets", **AT))["buckets"]] == ["made-safely"]


async def test_a_careless_buckets_posture_names_the_concerns(call: Session, account_hosts: None) -> None:
    boto("s3", "production").create_bucket(Bucket="careless")
    boto("s3", "production").put_bucket_acl(Bucket="careless", ACL="public-read")
    boto("s3", "production").put_bucket_ownership_controls(
        Bucket="careless", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    concerns = " ".join((await call("get_bucket_posture", bucket="careless", **AT))["concerns"])
    assert "not fully blocked" in concerns
    assert "Versioning is off" in concerns
    assert "ACLs are on" in concerns
    assert "Its ACL grants to everyone" in concerns


async def test_an_object_lives_and_its_old_version_comes_back(call: Session) -> None:
    await call("create_bucket", bucket="alive", **AT)
    first = await call("put_object", bucket="alive", key="a/b.txt", body="first", **AT)
    refused = await call("put_object", bucket="alive", key="a/b.txt", body="second", **AT)
    assert refused.error_code == "PreconditionFailed"
    await call(
        "put_object", bucket="alive", key="a/b.txt", body="second", overwrite=True, content_type="text/plain", **AT
    )
    head = await call("head_object", bucket="alive", key="a/b.txt", **AT)
    assert (head["content_length"], head["content_type"]) == (6, "text/plain")
    assert (await call("list_objects", bucket="alive", delimiter="/", **AT))["common_prefixes"] == ["a/"]

    await call("restore_object_version", bucket="alive", key="a/b.txt", version_id=first["version_id"], **AT)
    assert (await call("get_object", bucket="alive", key="a/b.txt", **AT))["content"] == "first"
    gone = await call("delete_object", bucket="alive", key="a/b.txt", **AT)
    assert gone["delete_marker"] is True
    assert (await call("list_objects", bucket="alive", **AT))["objects"] == []
    versions = (await call("list_object_versions", bucket="alive", **AT))["versions"]
    assert sum(row["delete_marker"] for row in versions) == 1
    assert len(versions) == 4


async def test_a_range_of_an_object_says_where_it_was_cut(call: Session) -> None:
    s3 = boto("s3", "production")
    s3.create_bucket(Bucket="ranges")
    s3.put_object(Bucket="ranges", Key="text", Body=b"0123456789")
    s3.put_object(Bucket="ranges", Key="bytes", Body=b"\xff\x00")
    s3.put_object(Bucket="ranges", Key="nothing", Body=b"")
    part = await call("get_object", bucket="ranges", key="text", start=2, max_bytes=3, **AT)
    assert (part["content"], part["truncated"], part["object_size"]) == ("234", True, 10)
    assert part["next_start"] == 5
    moved = await call("get_object", bucket="ranges", key="text", start=5, if_match='"0"', **AT)
    assert moved.error_code == "PreconditionFailed"
    rest = await call("get_object", bucket="ranges", key="text", start=5, if_match=part["e_tag"], **AT)
    assert (rest["content"], rest["truncated"]) == ("56789", False)
    raw = await call("get_object", bucket="ranges", key="bytes", **AT)
    s3.put_object(Bucket="ranges", Key="words", Body="añb".encode())
    word = await call("get_object", bucket="ranges", key="words", max_bytes=2, **AT)
    assert (word["content"], word["encoding"], word["next_start"]) == ("a", "utf-8", 1)
    assert (await call("get_object", bucket="ranges", key="words", start=1, **AT))["content"] == "ñb"
    assert (raw["encoding"], base64.b64decode(raw["content"])) == ("base64", b"\xff\x00")
    assert (await call("get_object", bucket="ranges", key="nothing", **AT))["content"] == ""
    assert (await call("get_object", bucket="ranges", key="text", start=10, **AT)).error_code == "InvalidParameter"


async def test_what_cannot_be_undone_is_confirmed_first(call: Session) -> None:
    await call("create_bucket", bucket="doomed", **AT)
    await call("put_object", bucket="doomed", key="x", body="1", **AT)
    assert (await call("delete_bucket", bucket="doomed", **AT)).error_code == "InvalidParameter"
    for row in (await call("list_object_versions", bucket="doomed", **AT))["versions"]:
        gone = await call.confirmed("delete_object", bucket="doomed", key="x", version_id=row["version_id"], **AT)
        assert gone["delete_marker"] is False
    await call.confirmed("delete_bucket", bucket="doomed", **AT)
    assert (await call("list_buckets", **AT))["buckets"] == []


async def test_an_unversioned_object_is_not_deleted_without_confirmation(call: Session) -> None:
    s3 = boto("s3", "production")
    s3.create_bucket(Bucket="plain")
    s3.put_object(Bucket="plain", Key="k", Body=b"x")
    assert (await call("delete_object", bucket="plain", key="k", **AT)).error_code == "InvalidParameter"
    await call.confirmed("delete_object", bucket="plain", key="k", version_id="null", **AT)
    assert "Contents" not in s3.list_objects_v2(Bucket="plain")


async def test_listings_go_on_past_one_page(call: Session) -> None:
    s3 = boto("s3", "production")
    s3.create_bucket(Bucket="pages")
    s3.put_bucket_versioning(Bucket="pages", VersioningConfiguration={"Status": "Enabled"})
    for number in range(5):
        s3.put_object(Bucket="pages", Key=f"k{number}", Body=b"x")
        s3.create_multipart_upload(Bucket="pages", Key=f"u{number}")
    for tool, member in (("list_objects", "objects"), ("list_object_versions", "versions")):
        found, more = [], dict[str, Any]()
        while True:
            page = await call(tool, bucket="pages", max_results=2, **AT, **more)
            assert page["count"] <= 2
            found += [row["key"] for row in page[member]]
            if not page["truncated"]:
                break
            more = {"next_token": page["next_token"]}
        assert found == [f"k{number}" for number in range(5)], tool


async def test_a_copy_keeps_what_stands_there_unless_asked(call: Session) -> None:
    await call("create_bucket", bucket="copies", **AT)
    await call("put_object", bucket="copies", key="a", body_base64=base64.b64encode(b"\x00\x01").decode(), **AT)
    copy: dict[str, Any] = {"bucket": "copies", "key": "a", "to_bucket": "copies", "to_key": "b", **AT}
    made = await call("copy_object", **copy)
    assert made["version_id"]
    assert (await call("head_object", bucket="copies", key="b", **AT))["content_length"] == 2
    assert (await call("copy_object", **copy)).error_code == "InvalidParameter"
    assert (await call("copy_object", **copy, overwrite=True))["version_id"] != made["version_id"]
    assert (await call("copy_object", **{**copy, "to_key": "a"})).error_code == "InvalidParameter"
    assert (await call("copy_object", **{**copy, "key": "none", "to_key": "c"})).error_code == "NoSuchKey"


async def test_overwriting_for_good_is_confirmed_with_what_will_be_lost(call: Session) -> None:
    s3 = boto("s3", "production")
    s3.create_bucket(Bucket="plain")
    s3.put_object(Bucket="plain", Key="k", Body=b"12345")
    s3.put_object(Bucket="plain", Key="other", Body=b"other")
    put: dict[str, Any] = {"bucket": "plain", "key": "k", "body": "new", "overwrite": True, **AT}
    copy = {"bucket": "plain", "key": "other", "to_bucket": "plain", "to_key": "k", "overwrite": True, **AT}
    for tool, arguments in (("put_object", put), ("copy_object", copy)):
        assert (await call(tool, **{**arguments, "overwrite": False})).is_error
        kept = await call(tool, **arguments)
        assert (kept.error_code, "lose_previous" in kept["next_step"]) == ("InvalidParameter", True)
        asked = await call(tool, **arguments, lose_previous=True)
        assert asked["plan"]["target"] == "arn:aws:s3:::plain/k"
        assert "5 bytes" in asked["plan"]["will_be_lost"] or "3 bytes" in asked["plan"]["will_be_lost"]
        await call.confirmed(tool, **arguments, lose_previous=True)
    assert s3.get_object(Bucket="plain", Key="k")["Body"].read() == b"other"
    restore = {"bucket": "plain", "key": "k", "version_id": "null"}
    assert (await call("restore_object_version", **restore, **AT)).error_code == "InvalidParameter"


async def test_a_delete_marker_is_taken_away_and_the_object_is_back(call: Session) -> None:
    await call("create_bucket", bucket="marked", **AT)
    await call("put_object", bucket="marked", key="k", body="x", **AT)
    await call("put_object", bucket="marked", key="k-longer", body="x", **AT)
    gone = await call("delete_object", bucket="marked", key="k", **AT)
    rows = (await call("list_object_versions", bucket="marked", prefix="k", **AT))["versions"]
    assert [(row["key"], row["delete_marker"]) for row in rows] == [("k", True), ("k", False), ("k-longer", False)]
    marker = {"bucket": "marked", "key": "k", "version_id": gone["version_id"], **AT}
    asked = await call("delete_object", **marker)
    assert "comes back" in asked["plan"]["will_be_lost"]
    await call("delete_object", **marker, confirm=asked["confirm"])
    assert (await call("get_object", bucket="marked", key="k", **AT))["content"] == "x"
    assert (await call("delete_object", **{**marker, "version_id": "none"})).error_code == "InvalidParameter"


async def test_a_presigned_url_says_when_it_truly_ends(call: Session) -> None:
    await call("create_bucket", bucket="signed", **AT)
    await call("put_object", bucket="signed", key="a", body="x", **AT)
    signed = await call("presign_object", bucket="signed", key="a", expires_in_seconds=60, **AT)
    assert "X-Amz-Expires=60" in signed["url"]
    # The role's session lasts an hour and has begun: the URL ends with it.
    longest = await call("presign_object", bucket="signed", key="a", expires_in_seconds=3600, **AT)
    assert 3000 < longest["expires_in_seconds"] < 3600
    assert f"X-Amz-Expires={longest['expires_in_seconds']}" in longest["url"]
    left = datetime.fromisoformat(longest["expires_at"]) - datetime.fromisoformat(signed["expires_at"])
    assert 2900 < left.total_seconds() < 3600
    assert (await call("presign_object", bucket="signed", key="none", **AT)).error_code == "NotFound"


async def test_a_bucket_is_found_in_no_account_but_its_own(call: Session) -> None:
    await call("create_bucket", bucket="of-production", **AT)
    assert (await call("list_buckets", account="staging"))["buckets"] == []
    assert [row["name"] for row in (await call("list_buckets", **AT))["buckets"]] == ["of-production"]


class StrictS3:
    """One bucket, `strict`, of production, in eu-west-1. It holds its clients to region and owner, as AWS does."""

    OWNER, REGION, BODY = "111111111111", "eu-west-1", b"whole body"

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.cut_bodies = 0
        self.versioning = "Enabled"

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self.seen.append((method, path, headers))
        here = {"x-amz-bucket-region": self.REGION}
        scope = re.search(r"/\d{8}/([a-z0-9-]+)/s3/", headers.get("authorization", ""))
        if scope is None or scope[1] != self.REGION:
            return 301, here, self.error("PermanentRedirect", "The bucket is elsewhere.")
        if headers.get("x-amz-expected-bucket-owner", self.OWNER) != self.OWNER:
            return 403, here, self.error("AccessDenied", "Access Denied")
        if method == "HEAD":
            return 200, here, b""
        if method == "PUT":
            copied = b"<CopyObjectResult><ETag>1</ETag></CopyObjectResult>"
            return 200, {"ETag": "1"}, copied if "x-amz-copy-source" in headers else b""
        if "versioning" in path:
            return (
                200,
                {},
                f"<VersioningConfiguration><Status>{self.versioning}</Status></VersioningConfiguration>".encode(),
            )
        if path.startswith("/?"):
            last = "continuation-token=more" in path
            name, more = ("b", "") if last else ("a", "<ContinuationToken>more</ContinuationToken>")
            bucket = f"<Bucket><Name>{name}</Name></Bucket>"
            return (
                200,
                {},
                f"<ListAllMyBucketsResult><Buckets>{bucket}</Buckets>{more}</ListAllMyBucketsResult>".encode(),
            )
        if "uploads" in path:
            last = "key-marker=a&" in path and "upload-id-marker=1" in path
            key, more = (
                ("b", "")
                if last
                else ("a", "<NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>")
            )
            upload = f"<Upload><Key>{key}</Key><UploadId>1</UploadId></Upload>"
            cut = f"<IsTruncated>{str(not last).lower()}</IsTruncated>"
            return 200, {}, f"<ListMultipartUploadsResult>{cut}{more}{upload}</ListMultipartUploadsResult>".encode()
        if "list-type" in path:
            return 200, {}, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        size = len(self.BODY)
        body = {"ETag": "1", "Content-Range": f"bytes 0-{size - 1}/{size}", "Content-Length": str(size)}
        if self.cut_bodies:
            self.cut_bodies -= 1
            return 206, body, self.BODY[:4]
        return 206, body, self.BODY

    @staticmethod
    def error(code: str, message: str) -> bytes:
        return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.fixture
def strict(environment: None, empty_aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrictS3]:
    s3 = StrictS3()

    class Strict(Handler):
        def answer(self, _: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, body = s3.answer(self.command, self.path, headers)
            self.reply(body, status, **{"Content-Type": "application/xml", **more})

    with listening(Strict) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        yield s3


async def test_a_bucket_of_another_region_is_answered_from_there_and_the_answer_says_so(strict: StrictS3) -> None:
    async with running(TOOLSETS="s3") as server, server.session() as call:
        listed = await call("list_objects", bucket="strict", **AT)
        assert (listed["objects"], listed["region"]) == ([], "eu-west-1")
        strict.seen.clear()
        written = await call("put_object", bucket="strict", key="k", body="x", region="us-east-1", **AT)
        assert written["region"] == "eu-west-1"
        assert len(strict.seen) == 1  # where the bucket is has been remembered


async def test_a_bucket_outside_the_allowed_regions_is_refused(strict: StrictS3) -> None:
    async with running(TOOLSETS="s3", ALLOWED_REGIONS="us-east-1") as server, server.session() as call:
        for tool, more in (("list_objects", {}), ("put_object", {"key": "k", "body": "x"})):
            assert (await call(tool, bucket="strict", **more, **AT)).error_code == "RegionNotAllowed"
    assert {method for method, _, _ in strict.seen} == {"HEAD"}


async def test_a_bucket_of_another_account_answers_only_where_its_owner_is_named(strict: StrictS3) -> None:
    async with running(TOOLSETS="s3") as server, server.session() as call:
        for tool, more in (("list_objects", {}), ("put_object", {"key": "k", "body": "x"})):
            refused = await call(tool, bucket="strict", **more, account="staging")
            assert refused.error_code == "AccessDenied"
            assert "does not belong to account 222222222222" in refused["message"]
            assert "expected_bucket_owner" in refused["next_step"]
            named = await call(tool, bucket="strict", **more, account="staging", expected_bucket_owner=StrictS3.OWNER)
            assert named["account_id"] == "222222222222"
        assert (await call("list_objects", bucket="strict", expected_bucket_owner="1", **AT)).is_error
        strict.seen.clear()
        await call("copy_object", bucket="theirs", key="a", to_bucket="strict", to_key="b", overwrite=True, **AT)
    (copy,) = [headers for method, _, headers in strict.seen if method == "PUT"]
    assert copy["x-amz-expected-bucket-owner"] == copy["x-amz-source-expected-bucket-owner"] == StrictS3.OWNER


async def test_buckets_and_unfinished_uploads_go_on_past_one_page(strict: StrictS3) -> None:
    async with running(TOOLSETS="s3") as server, server.session() as call:
        for tool, member, name, more in (
            ("list_multipart_uploads", "uploads", "key", {"bucket": "strict"}),
            ("list_buckets", "buckets", "name", {"region": "eu-west-1"}),
        ):
            first = await call(tool, max_results=1, **more, **AT)
            assert ([row[name] for row in first[member]], first["truncated"]) == (["a"], True)
            rest = await call(tool, max_results=1, next_token=first["next_token"], **more, **AT)
            assert ([row[name] for row in rest[member]], rest["truncated"]) == (["b"], False)


async def test_unfinished_uploads_are_listed(call: Session) -> None:
    boto("s3", "production").create_bucket(Bucket="uploads")
    boto("s3", "production").create_multipart_upload(Bucket="uploads", Key="big")
    listed = await call("list_multipart_uploads", bucket="uploads", **AT)
    assert [row["key"] for row in listed["uploads"]] == ["big"]


async def test_aws_itself_is_asked_not_to_replace_an_object(strict: StrictS3) -> None:
    async with running(TOOLSETS="s3") as server, server.session() as call:
        await call("put_object", bucket="strict", key="k", body="x", **AT)
        await call("put_object", bucket="strict", key="k", body="x", overwrite=True, **AT)
    first, second = [headers for method, _, headers in strict.seen if method == "PUT"]
    assert first["if-none-match"] == "*"
    assert "if-none-match" not in second


async def test_a_body_that_breaks_off_is_read_again_and_never_passes_for_the_whole(strict: StrictS3) -> None:
    async with running(TOOLSETS="s3") as server, server.session() as call:
        strict.cut_bodies = 1
        answer = await call("get_object", bucket="strict", key="k", **AT)
        assert (answer["content"], answer["truncated"]) == ("whole body", False)
        strict.cut_bodies = 99
        failed = await call("get_object", bucket="strict", key="k", **AT)
        assert (failed.error_code, failed["retryable"]) == ("ServiceUnavailable", True)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("list_objects", {"bucket": "in/two"}),
    ("list_objects", {"bucket": "añb"}),
    ("list_objects", {"bucket": "ab"}),
    ("list_objects", {"bucket": "arn:aws:s3:::ok-bucket"}),
    ("create_bucket", {"bucket": "Upper_Case"}),
    ("create_bucket", {"bucket": "192.168.0.1"}),
    ("create_bucket", {"bucket": "a..b"}),
    ("create_bucket", {"bucket": "x" * 64}),
    ("list_objects", {"bucket": "ok-bucket", "max_results": 0}),
    ("head_object", {"bucket": "ok-bucket", "key": ""}),
    ("head_object", {"bucket": "ok-bucket", "key": "x" * 1025}),
    ("create_bucket", {"bucket": "sthree-mine"}),
    ("create_bucket", {"bucket": "mine--x-s3"}),
    ("put_object", {"bucket": "ok-bucket", "key": "k"}),
    ("put_object", {"bucket": "ok-bucket", "key": "k", "body": "a", "lose_previous": True, "confirm": "x"}),
    ("copy_object", {"bucket": "ok-bucket", "key": "k", "to_bucket": "ok-bucket", "to_key": "k"}),
    ("list_objects", {"bucket": "ok-bucket", "expected_bucket_owner": "production"}),
    ("put_object", {"bucket": "ok-bucket", "key": "k", "body": "a", "body_base64": "YQ=="}),
    ("put_object", {"bucket": "ok-bucket", "key": "k", "body_base64": "%"}),
    ("get_object", {"bucket": "ok-bucket", "key": "k", "max_bytes": 10_000_000}),
    ("presign_object", {"bucket": "ok-bucket", "key": "k", "expires_in_seconds": 3601}),
    ("list_object_versions", {"bucket": "ok-bucket", "next_token": "none of ours"}),
]


async def test_bad_input_is_refused(call: Session) -> None:
    for tool, arguments in BAD:
        assert (await call(tool, **arguments, **AT)).error_code == "InvalidParameter", (tool, arguments)


async def test_reading_content_needs_reveal(aws: str) -> None:
    async with running(TOOLSETS="s3", REVEAL="0") as server, server.session() as session:
        names = {tool.name for tool in await session.client.list_tools()}
    assert not names & {"get_object", "presign_object"}
    assert "head_object" in names
