"""Amazon S3: buckets and objects.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from errors import InvalidParameter
from services._s3 import (
    Bucket,
    BucketName,
    Buckets,
    DeletedObject,
    MaxKeys,
    MultipartUpload,
    MultipartUploads,
    ObjectContent,
    ObjectHead,
    ObjectKey,
    Objects,
    ObjectVersion,
    ObjectVersionRow,
    ObjectVersions,
    Prefix,
    PresignedUrl,
    S3Object,
    Token,
    WrittenObject,
    own,
)
from services.base import READ, REVEAL, WRITE, AWSServiceBase, Plan, Target, tool

MAX_BODY_BYTES = 1_048_576
_MOST_PRESIGNED_SECONDS = 3_600


def _fits_in_an_answer(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) > MAX_BODY_BYTES:
        raise ValueError(f"is longer than {MAX_BODY_BYTES} bytes")
    return value


Body = Annotated[SecretStr, AfterValidator(_fits_in_an_answer)]


def _has_one_body(arguments: Mapping[str, Any]) -> None:
    if (arguments["body"] is None) == (arguments["body_base64"] is None):
        raise InvalidParameter("Give one of body and body_base64.")
    if arguments["body_base64"] is not None:
        try:
            base64.b64decode(arguments["body_base64"].get_secret_value(), validate=True)
        except binascii.Error:
            raise InvalidParameter("body_base64: is not base64.") from None


def _names_a_version(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("version_id") is not None


class S3Service(AWSServiceBase):
    """Objects, and the buckets that hold them."""

    client_name = "s3"
    toolset = "s3"

    @tool(READ, "s3:ListAllMyBuckets")
    def list_buckets(
        self,
        target: Target,
        prefix: Prefix | None = None,
        max_results: MaxKeys = 1000,
        next_token: Token | None = None,
    ) -> Buckets:
        """List the account's buckets."""
        request: dict[str, Any] = {"MaxBuckets": max_results}
        if prefix:
            request["Prefix"] = prefix
        if next_token:
            request["ContinuationToken"] = next_token
        page = self.client(target).list_buckets(**request)
        rows = [Bucket.model_validate(row) for row in page["Buckets"]]
        following = page.get("ContinuationToken") or None
        return Buckets(buckets=rows, count=len(rows), truncated=following is not None, next_token=following)

    @tool(READ, "s3:ListBucket", resource="bucket")
    def list_objects(
        self,
        bucket: BucketName,
        target: Target,
        prefix: Prefix | None = None,
        delimiter: Annotated[str, StringConstraints(min_length=1, max_length=16)] | None = None,
        max_results: MaxKeys = 100,
        next_token: Token | None = None,
    ) -> Objects:
        """List a bucket's objects; with delimiter "/" one level of it."""
        optional = {"Prefix": prefix, "Delimiter": delimiter, "ContinuationToken": next_token}
        request = {name: value for name, value in optional.items() if value}
        page = self.client(target).list_objects_v2(Bucket=bucket, MaxKeys=max_results, **request)
        rows = [S3Object.model_validate(row) for row in page.get("Contents", [])]
        return Objects(
            objects=rows,
            common_prefixes=[row["Prefix"] for row in page.get("CommonPrefixes", [])],
            count=len(rows),
            truncated=page["IsTruncated"],
            next_token=page.get("NextContinuationToken"),
        )

    @tool(READ, "s3:GetObject", resource="bucket/key")
    def head_object(
        self, bucket: BucketName, key: ObjectKey, target: Target, version_id: ObjectVersion | None = None
    ) -> ObjectHead:
        """Return an object's metadata, not its content."""
        answer = self.client(target).head_object(Bucket=bucket, Key=key, **_version(version_id))
        return ObjectHead.model_validate(own(answer, Bucket=bucket, Key=key))

    @tool(REVEAL, "s3:GetObject", "s3:GetObjectVersion", resource="bucket/key")
    def get_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        version_id: ObjectVersion | None = None,
        start: Annotated[int, Field(ge=0)] = 0,
        max_bytes: Annotated[int, Field(ge=1, le=MAX_BODY_BYTES)] = 65_536,
    ) -> ObjectContent:
        """Return a bounded range of an object's content: text, or base64 where it is none."""
        client = self.client(target)
        size = int(client.head_object(Bucket=bucket, Key=key, **_version(version_id))["ContentLength"])
        if size == 0 and start == 0:
            answer = client.get_object(Bucket=bucket, Key=key, **_version(version_id))
        elif start >= size:
            raise InvalidParameter(f"start: the object ends before; it has {size} bytes.")
        else:
            end = min(start + max_bytes, size) - 1
            answer = client.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end}", **_version(version_id))
        data = answer["Body"].read()
        content, encoding = _readable(data)
        members = {
            "Bucket": bucket, "Key": key, "Content": content, "Encoding": encoding, "ContentLength": len(data),
            "ObjectSize": size, "Start": start, "Truncated": start + len(data) < size,
        }  # fmt: skip
        return ObjectContent.model_validate(own(answer, **members))

    @tool(WRITE, "s3:PutObject", resource="bucket/key", destructive=True, idempotent=True, check=_has_one_body)
    def put_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        body: Body | None = None,
        body_base64: Body | None = None,
        content_type: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None,
        overwrite: bool = False,
    ) -> WrittenObject:
        """Write an object of at most 1 MiB. One that exists is replaced only if asked."""
        data = body.get_secret_value().encode() if body is not None else b""
        if body_base64 is not None:
            data = base64.b64decode(body_base64.get_secret_value())
        request: dict[str, Any] = {"Bucket": bucket, "Key": key, "Body": data}
        if content_type:
            request["ContentType"] = content_type
        if not overwrite:
            request["IfNoneMatch"] = "*"
        answer = self.client(target).put_object(**request)
        return WrittenObject.model_validate(own(answer, Bucket=bucket, Key=key))

    @tool(WRITE, "s3:GetObject", "s3:PutObject", resource="to_bucket/to_key", destructive=True, idempotent=True)
    def copy_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        to_bucket: BucketName,
        to_key: ObjectKey,
        target: Target,
        version_id: ObjectVersion | None = None,
    ) -> WrittenObject:
        """Copy an object of at most 5 GiB within what this identity may read and write."""
        if (bucket, key) == (to_bucket, to_key) and version_id is None:
            raise InvalidParameter("The copy would be the object itself.")
        source = {"Bucket": bucket, "Key": key, **_version(version_id)}
        answer = self.client(target).copy_object(Bucket=to_bucket, Key=to_key, CopySource=source)
        result = own(answer["CopyObjectResult"], VersionId=answer.get("VersionId"), Bucket=to_bucket, Key=to_key)
        return WrittenObject.model_validate(result)

    @tool(
        WRITE, "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:GetBucketVersioning", resource="bucket/key",
        destructive=True, idempotent=True, destroys_if=_names_a_version,
    )  # fmt: skip
    def delete_object(
        self, bucket: BucketName, key: ObjectKey, target: Target, version_id: ObjectVersion | None = None
    ) -> DeletedObject:
        """Put a delete marker over an object of a versioned bucket; or remove one version for good."""
        client = self.client(target)
        if version_id is None and client.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
            raise InvalidParameter(
                "The bucket keeps no versions, so the object would be gone for good.",
                next_step='Give version_id "null" to remove it for good, with confirmation.',
            )
        answer = client.delete_object(Bucket=bucket, Key=key, **_version(version_id))
        marker = version_id is None or bool(answer.get("DeleteMarker"))
        return DeletedObject.model_validate(own(answer, Bucket=bucket, Key=key, DeleteMarker=marker))

    def plan_delete_object(
        self, bucket: BucketName, key: ObjectKey, target: Target, version_id: ObjectVersion | None
    ) -> Plan:
        """Say which version would be gone."""
        client = self.client(target)
        rows = client.list_object_versions(Bucket=bucket, Prefix=key)
        found = [r for r in [*rows.get("Versions", []), *rows.get("DeleteMarkers", [])] if r["Key"] == key]
        match = [row for row in found if row["VersionId"] == version_id]
        if not match:
            raise InvalidParameter("version_id: the object has no such version.")
        lost = f"{match[0].get('Size', 0)} bytes of {match[0]['LastModified']:%Y-%m-%d %H:%M} are gone for good."
        arn = f"arn:aws:s3:::{bucket}/{key} version {version_id}"
        return Plan(target=arn, will_be_lost=lost, state={"version": match[0]})

    @tool(READ, "s3:ListBucketVersions", resource="bucket")
    def list_object_versions(
        self,
        bucket: BucketName,
        target: Target,
        prefix: Prefix | None = None,
        max_results: MaxKeys = 100,
        next_token: Token | None = None,
    ) -> ObjectVersions:
        """List versions and delete markers of objects, newest first for each key."""
        request: dict[str, Any] = {"Bucket": bucket, "MaxKeys": max_results}
        if prefix:
            request["Prefix"] = prefix
        if next_token:
            request["KeyMarker"], request["VersionIdMarker"] = _unpack(next_token)
        page = self.client(target).list_object_versions(**request)
        rows = [ObjectVersionRow.model_validate(row) for row in page.get("Versions", [])]
        rows += [ObjectVersionRow.model_validate(own(row, DeleteMarker=True)) for row in page.get("DeleteMarkers", [])]
        following = _pack(page["NextKeyMarker"], page["NextVersionIdMarker"]) if page["IsTruncated"] else None
        return ObjectVersions(versions=rows, count=len(rows), truncated=following is not None, next_token=following)

    @tool(WRITE, "s3:GetObjectVersion", "s3:PutObject", resource="bucket/key", destructive=True)
    def restore_object_version(
        self, bucket: BucketName, key: ObjectKey, version_id: ObjectVersion, target: Target
    ) -> WrittenObject:
        """Make an old version the newest again, by copying it over; nothing is lost."""
        source = {"Bucket": bucket, "Key": key, "VersionId": version_id}
        answer = self.client(target).copy_object(Bucket=bucket, Key=key, CopySource=source)
        result = own(answer["CopyObjectResult"], VersionId=answer.get("VersionId"), Bucket=bucket, Key=key)
        return WrittenObject.model_validate(result)

    @tool(REVEAL, "s3:GetObject", resource="bucket/key")
    def presign_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        expires_in_seconds: Annotated[int, Field(ge=1, le=_MOST_PRESIGNED_SECONDS)] = 300,
        version_id: ObjectVersion | None = None,
        method: Literal["GET"] = "GET",
    ) -> PresignedUrl:
        """Return a URL that lets whoever holds it read one object, for at most an hour."""
        client = self.client(target)
        client.head_object(Bucket=bucket, Key=key, **_version(version_id))
        params = {"Bucket": bucket, "Key": key, **_version(version_id)}
        url = client.generate_presigned_url("get_object", Params=params, ExpiresIn=expires_in_seconds)
        return PresignedUrl(bucket=bucket, key=key, url=url, method=method, expires_in_seconds=expires_in_seconds)

    @tool(READ, "s3:ListBucketMultipartUploads", resource="bucket")
    def list_multipart_uploads(
        self,
        bucket: BucketName,
        target: Target,
        max_results: MaxKeys = 100,
        next_token: Token | None = None,
    ) -> MultipartUploads:
        """List uploads that were begun and not finished; their parts cost money."""
        request: dict[str, Any] = {"Bucket": bucket, "MaxUploads": max_results}
        if next_token:
            request["KeyMarker"], request["UploadIdMarker"] = _unpack(next_token)
        page = self.client(target).list_multipart_uploads(**request)
        rows = [MultipartUpload.model_validate(row) for row in page.get("Uploads", [])]
        following = _pack(page["NextKeyMarker"], page["NextUploadIdMarker"]) if page.get("IsTruncated") else None
        return MultipartUploads(uploads=rows, count=len(rows), truncated=following is not None, next_token=following)


def _version(version_id: str | None) -> dict[str, str]:
    return {"VersionId": version_id} if version_id is not None else {}


def _readable(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"


def _pack(first: str, second: str) -> str:
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode() for part in (first, second))


def _unpack(token: str) -> tuple[str, str]:
    try:
        first, second = (base64.urlsafe_b64decode(part).decode() for part in token.split("."))
    except ValueError:
        raise InvalidParameter("next_token: is none of ours.") from None
    return first, second
