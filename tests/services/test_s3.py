"""S3's tools over moto, in two accounts."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Session, boto, running, session_of

AT: dict[str, Any] = {"account": "production"}


@pytest.fixture
async def call(aws: str, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with session_of("s3", wire) as session:
        yield session


async def test_a_bucket_is_made_private_encrypted_and_versioned(call: Session) -> None:
    made = await call("create_bucket", bucket="made-safely", region="eu-west-1", **AT)
    assert (made["bucket_region"], made["versioning"]) == ("eu-west-1", "Enabled")
    posture = await call("get_bucket_posture", bucket="made-safely", **AT)
    assert all(posture["public_access_block"].values())
    assert (posture["ownership"], posture["encryption"]) == ("BucketOwnerEnforced", "AES256")
    assert posture["versioning"] == "Enabled"
    assert posture["concerns"] == ["Access is not logged to a bucket."]
    assert [row["name"] for row in (await call("list_buckets", **AT))["buckets"]] == ["made-safely"]


async def test_a_careless_buckets_posture_names_the_concerns(call: Session) -> None:
    boto("s3", "production").create_bucket(Bucket="careless")
    boto("s3", "production").put_bucket_ownership_controls(
        Bucket="careless", OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    concerns = " ".join((await call("get_bucket_posture", bucket="careless", **AT))["concerns"])
    assert "not fully blocked" in concerns
    assert "Versioning is off" in concerns
    assert "ACLs are on" in concerns


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
    rest = await call("get_object", bucket="ranges", key="text", start=5, **AT)
    assert (rest["content"], rest["truncated"]) == ("56789", False)
    raw = await call("get_object", bucket="ranges", key="bytes", **AT)
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
        keys, token = [], None
        while True:
            page = await call(tool, bucket="pages", max_results=2, **AT, **({"next_token": token} if token else {}))
            keys += [row["key"] for row in page[member]]
            if not page["truncated"]:
                break
            token = page["next_token"]
        assert keys == [f"k{number}" for number in range(5)]
    uploads = await call("list_multipart_uploads", bucket="pages", **AT)
    assert uploads["count"] == 5


async def test_a_copy_and_a_presigned_url(call: Session) -> None:
    await call("create_bucket", bucket="copies", **AT)
    await call("put_object", bucket="copies", key="a", body_base64=base64.b64encode(b"\x00\x01").decode(), **AT)
    await call("copy_object", bucket="copies", key="a", to_bucket="copies", to_key="b", **AT)
    assert (await call("head_object", bucket="copies", key="b", **AT))["content_length"] == 2
    assert (await call("copy_object", bucket="copies", key="a", to_bucket="copies", to_key="a", **AT)).is_error
    signed = await call("presign_object", bucket="copies", key="a", expires_in_seconds=60, **AT)
    assert "X-Amz-Expires=60" in signed["url"]
    assert (await call("presign_object", bucket="copies", key="none", **AT)).error_code == "NotFound"


BAD: list[tuple[str, dict[str, Any]]] = [
    ("list_objects", {"bucket": "Upper_Case"}),
    ("list_objects", {"bucket": "192.168.0.1"}),
    ("list_objects", {"bucket": "ok-bucket", "max_results": 0}),
    ("head_object", {"bucket": "ok-bucket", "key": ""}),
    ("head_object", {"bucket": "ok-bucket", "key": "x" * 1025}),
    ("put_object", {"bucket": "ok-bucket", "key": "k"}),
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
