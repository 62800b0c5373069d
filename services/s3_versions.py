"""Amazon S3: versions of objects, what deleting means to them, and uploads that were never finished.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from errors import InvalidParameter
from services._s3 import (
    At,
    BucketName,
    BucketOwner,
    BucketService,
    DeletedObject,
    MaxKeys,
    MultipartUpload,
    MultipartUploads,
    ObjectKey,
    ObjectVersion,
    ObjectVersionRow,
    ObjectVersions,
    Prefix,
    Token,
    WrittenObject,
    keeps_versions,
    own,
    uploads_page,
    version,
    written,
)
from services.base import READ, WRITE, Plan, Standing, Target, tool


def _names_a_version(arguments: Mapping[str, Any], _: Standing) -> bool:
    return arguments.get("version_id") is not None


class S3VersionsService(BucketService):
    """Versions, delete markers and unfinished uploads."""

    @tool(
        WRITE, "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetBucketVersioning", "s3:ListBucketVersions",
        "s3:ListBucket", resource="bucket/key", destructive=True, destroys_if=_names_a_version,
        voids_state=True,
    )  # fmt: skip
    def delete_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        version_id: ObjectVersion | None = None,
        expected_bucket_owner: BucketOwner = None,
    ) -> DeletedObject:
        """Put a delete marker over an object of a versioned bucket; or remove one version for good."""
        at = self.at(target, bucket, expected_bucket_owner)
        if version_id is None and not keeps_versions(at):
            raise InvalidParameter(
                "The bucket keeps no versions, so the object would be gone for good.",
                next_step='Give version_id "null" to remove it for good, with confirmation.',
            )
        answer = at.client.delete_object(Key=key, **at.bucket, **version(version_id))
        marker = version_id is None or bool(answer.get("DeleteMarker"))
        return DeletedObject.model_validate(own(answer, Bucket=bucket, Key=key, DeleteMarker=marker))

    def plan_delete_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        version_id: ObjectVersion | None,
        expected_bucket_owner: BucketOwner,
    ) -> Plan:
        """Say which version would be gone, or that a marker's going brings the object back."""
        row, is_marker = _version_row(self.at(target, bucket, expected_bucket_owner), key, str(version_id))
        lost = f"{row.get('Size', 0)} bytes of {row['LastModified']:%Y-%m-%d %H:%M} are gone for good."
        if is_marker:
            lost = "It is a delete marker: the object under it, if any, comes back."
        return Plan(f"arn:aws:s3:::{bucket}/{key} version {version_id}", lost, state={"version": row})

    @tool(READ, "s3:ListBucketVersions", "s3:ListBucket", resource="bucket")
    def list_object_versions(
        self,
        bucket: BucketName,
        target: Target,
        prefix: Prefix | None = None,
        max_results: MaxKeys = 100,
        next_token: Token | None = None,
        expected_bucket_owner: BucketOwner = None,
    ) -> ObjectVersions:
        """List versions and delete markers of objects, newest first for each key."""
        at = self.at(target, bucket, expected_bucket_owner)
        request: dict[str, Any] = {"MaxKeys": max_results, **at.bucket}
        if prefix:
            request["Prefix"] = prefix
        if next_token:
            request["KeyMarker"], request["VersionIdMarker"] = _unpack(next_token)
        page = at.client.list_object_versions(**request)
        rows = [ObjectVersionRow.model_validate(row) for row in page.get("Versions", [])]
        rows += [ObjectVersionRow.model_validate(own(row, DeleteMarker=True)) for row in page.get("DeleteMarkers", [])]
        following = _pack(page["NextKeyMarker"], page["NextVersionIdMarker"]) if page["IsTruncated"] else None
        return ObjectVersions(
            versions=sorted(rows, key=_newest_first), count=len(rows),
            truncated=following is not None, next_token=following,
        )  # fmt: skip

    @tool(
        WRITE, "s3:GetObjectVersion", "s3:GetObjectVersionTagging", "s3:PutObject", "s3:PutObjectTagging",
        "s3:GetBucketVersioning", "s3:ListBucket", resource="bucket/key", destructive=True,
    )  # fmt: skip
    def restore_object_version(
        self,
        bucket: BucketName,
        key: ObjectKey,
        version_id: ObjectVersion,
        target: Target,
        expected_bucket_owner: BucketOwner = None,
    ) -> WrittenObject:
        """Make an old version the newest again, by copying it over; nothing is lost."""
        at = self.at(target, bucket, expected_bucket_owner)
        if not keeps_versions(at):
            raise InvalidParameter("The bucket keeps no new versions, so the present object would be gone for good.")
        source = {"Bucket": bucket, "Key": key, "VersionId": version_id}
        owner = {"ExpectedSourceBucketOwner": at.bucket["ExpectedBucketOwner"]}
        return written(at.client.copy_object(Key=key, CopySource=source, **at.bucket, **owner), bucket, key)

    @tool(READ, "s3:ListBucketMultipartUploads", "s3:ListBucket", resource="bucket")
    def list_multipart_uploads(
        self,
        bucket: BucketName,
        target: Target,
        max_results: MaxKeys = 100,
        next_token: Token | None = None,
        expected_bucket_owner: BucketOwner = None,
    ) -> MultipartUploads:
        """List uploads that were begun and not finished; their parts cost money."""
        at = self.at(target, bucket, expected_bucket_owner)
        markers = zip(("KeyMarker", "UploadIdMarker"), _unpack(next_token), strict=True) if next_token else ()
        page = uploads_page(at, max_results, **dict(markers))
        rows = [MultipartUpload.model_validate(row) for row in page.get("Uploads", [])]
        following = _pack(page["NextKeyMarker"], page["NextUploadIdMarker"]) if page.get("IsTruncated") else None
        return MultipartUploads(uploads=rows, count=len(rows), truncated=following is not None, next_token=following)


def _version_row(at: At, key: str, version_id: str) -> tuple[Mapping[str, Any], bool]:
    """Return a version's row, and whether it is a delete marker. A key's own versions come first under its prefix."""
    for page in at.client.get_paginator("list_object_versions").paginate(Prefix=key, **at.bucket):
        for member in ("Versions", "DeleteMarkers"):
            for row in page.get(member, []):
                if (row["Key"], row["VersionId"]) == (key, version_id):
                    return row, member == "DeleteMarkers"
        if page.get("NextKeyMarker", key) != key:
            break
    raise InvalidParameter("version_id: the object has no such version.")


def _newest_first(row: ObjectVersionRow) -> tuple[bytes, bool, float]:
    return row.key.encode(), not row.is_latest, -row.last_modified.timestamp() if row.last_modified else 0.0


def _pack(first: str, second: str) -> str:
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode() for part in (first, second))


def _unpack(token: str) -> tuple[str, str]:
    try:
        first, second = (base64.urlsafe_b64decode(part).decode() for part in token.split("."))
    except ValueError:
        raise InvalidParameter("next_token: is none of ours.") from None
    return first, second
