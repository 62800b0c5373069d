"""Where S3's tools read and write: every bucket that a call names passes the policy in its own region."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running
from tests.contract import all_tools
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production"}
# What a tool needs besides a bucket; and which of its arguments name one.
MORE = {"key": "k", "to_key": "copy", "version_id": "v1", "body": "x"}
PLACES = ("bucket", "to_bucket")
NAMING = {
    (name, place): [argument for argument in tool.parameters["required"] if argument in MORE]
    for name, (service, tool) in all_tools().items()
    for place in PLACES
    if service.toolset == "s3" and place in tool.parameters["properties"] and name != "create_bucket"
}
ONE_BODY = {"put_object": {"body": "x"}}


class Buckets:
    """`near` is in us-east-1, `far` in eu-west-1. `mute` is there too, and its HEAD does not say so."""

    REGIONS = {"near": "us-east-1", "far": "eu-west-1", "mute": "eu-west-1"}

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []  # method, path, region signed for

    def answer(self, method: str, path: str, authorization: str, source: str | None) -> tuple[int, dict[str, str], str]:
        signed = re.search(r"/\d{8}/([a-z0-9-]+)/s3/", authorization)
        region = signed[1] if signed else ""
        self.seen.append((method, path, region))
        bucket = path.split("/")[1].partition("?")[0]
        here = self.REGIONS.get(bucket, region)
        told = {} if bucket == "mute" and method == "HEAD" else {"x-amz-bucket-region": here}
        if bucket == "mute" and method == "HEAD":
            return 403, {}, ""
        if region != here:
            return 301, told, "<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message></Error>"
        if method == "HEAD" and bucket in self.REGIONS and "/" in path[1:]:
            return 404, told, ""
        if "versioning" in path:
            return 200, told, "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        if method == "PUT" and source:
            return 200, told, "<CopyObjectResult><ETag>1</ETag></CopyObjectResult>"
        return 200, {**told, "ETag": "1"}, "" if method == "PUT" else "<Page><IsTruncated>false</IsTruncated></Page>"


@pytest.fixture
def buckets(environment: None, empty_aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    s3 = Buckets()

    class Answering(Handler):
        def answer(self, _: bytes) -> None:
            source = self.headers.get("x-amz-copy-source")
            status, more, body = s3.answer(self.command, self.path, self.headers.get("Authorization", ""), source)
            self.reply(body, status, **{"Content-Type": "application/xml", **more})

    with listening(Answering) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        yield s3


def _arguments(tool: str, place: str, bucket: str) -> dict[str, Any]:
    """A call of the tool that names `bucket` there and `near` elsewhere."""
    properties = all_tools()[tool][1].parameters["properties"]
    named = {one: "near" for one in PLACES if one in properties} | {place: bucket}
    return {**named, **{name: MORE[name] for name in NAMING[tool, place]}, **ONE_BODY.get(tool, {}), **AT}


def _did_no_more_than_look(s3: Buckets, bucket: str) -> bool:
    """Whether nothing was asked of a bucket but where it is, and nothing written anywhere."""
    about = {(method, path) for method, path, _ in s3.seen if path.split("/")[1].startswith(bucket)}
    return {method for method, _ in about} <= {"HEAD"} and not any(method == "PUT" for method, *_ in s3.seen)


async def test_a_bucket_in_a_region_that_is_not_allowed_is_neither_read_nor_written_by_any_tool(
    buckets: Buckets,
) -> None:
    async with running(TOOLSETS="s3", ALLOWED_REGIONS="us-east-1,us-east-2") as server, server.session() as call:
        for tool, place in NAMING:
            buckets.seen.clear()
            refused = await call(tool, **_arguments(tool, place, "far"))
            assert refused.error_code == "RegionNotAllowed", (tool, place, refused.content)
            assert _did_no_more_than_look(buckets, "far"), (tool, buckets.seen)
    assert len(NAMING) > 10


async def test_a_bucket_whose_region_nobody_tells_is_not_followed_to_it(buckets: Buckets) -> None:
    async with running(TOOLSETS="s3", ALLOWED_REGIONS="us-east-1") as server, server.session() as call:
        for tool, place in NAMING:
            buckets.seen.clear()
            refused = await call(tool, **_arguments(tool, place, "mute"))
            assert refused.is_error, tool
            assert {region for *_, region in buckets.seen} <= {"us-east-1"}, (tool, buckets.seen)
        copy = _arguments("copy_object", "bucket", "mute")
        assert (await call("copy_object", **copy)).error_code == "RegionNotAllowed"


@pytest.mark.parametrize("allowed", [{}, {"ALLOWED_REGIONS": "us-east-1,eu-west-1"}], ids=["any region", "these two"])
async def test_a_copy_between_allowed_regions_is_done_and_the_trail_names_both(
    buckets: Buckets, tmp_path: Path, allowed: dict[str, str]
) -> None:
    trail = tmp_path / "audit"
    async with running(TOOLSETS="s3", AUDIT_LOG=str(trail), **allowed) as server, server.session() as call:
        for source in ("far", "near"):
            answer = await call("copy_object", **_arguments("copy_object", "bucket", source))
            assert (answer.is_error, answer["region"]) == (False, "us-east-1")
    outcomes = [line for line in map(json.loads, trail.read_text().splitlines()) if line.get("outcome") == "success"]
    further = [[place["region"] for place in line.get("further_targets", [])] for line in outcomes]
    assert further == [["eu-west-1"], []]


async def test_a_bucket_that_stands_is_named_by_every_tool_as_it_once_could_be_called(
    buckets: Buckets,
) -> None:
    async with running(TOOLSETS="s3") as server, server.session() as call:
        for tool, place in NAMING:
            more = ("192.168.0.1", "a..b", "UPPER" * 51, "my-point-abc123-s3alias") if tool == "list_objects" else ()
            for bucket in ("My_Legacy.Bucket", *more):
                buckets.seen.clear()
                answer = await call(tool, **_arguments(tool, place, bucket))
                assert "bucket:" not in answer.content.get("message", ""), (tool, answer.content)
                assert buckets.seen, (tool, bucket, "AWS was not asked")


async def test_a_bucket_of_any_region_that_exists_is_not_made_again(buckets: Buckets) -> None:
    async with running(TOOLSETS="s3") as server, server.session() as call:
        for bucket in ("near", "far"):
            made = await call("create_bucket", bucket=bucket, region="us-east-1", **AT)
            assert made.error_code == "BucketAlreadyExists"
    assert {method for method, *_ in buckets.seen} == {"HEAD"}
