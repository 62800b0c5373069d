"""Amazon S3: buckets listed, objects read and written. Their versions live in s3_versions, buckets in s3_buckets.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/
"""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from access.trace import MAX_ATTEMPTS
from errors import AWSError, InvalidParameter, is_denial, is_missing, translate
from services._s3 import (
    At,
    Bucket,
    BucketName,
    BucketOwner,
    Buckets,
    BucketService,
    MaxKeys,
    ObjectContent,
    ObjectHead,
    ObjectKey,
    Objects,
    ObjectVersion,
    Prefix,
    PresignedUrl,
    S3Object,
    Token,
    WrittenObject,
    keeps_versions,
    own,
    version,
    written,
)
from services.base import READ, REVEAL, WRITE, Plan, Standing, Target, tool
from toolcall.call import Call

MAX_BODY_BYTES = 1_048_576
_MOST_PRESIGNED_SECONDS = 3_600
_MOST_BODY_ARGUMENTS = MAX_BODY_BYTES * 4 // 3 + 256 * 1024  # as base64, and the rest of the call
ETag = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _fits_in_a_call(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value().encode()) > MAX_BODY_BYTES:
        raise ValueError(f"is longer than {MAX_BODY_BYTES} bytes")
    return value


def _is_base64_that_fits(value: SecretStr) -> SecretStr:
    try:
        data = base64.b64decode(value.get_secret_value(), validate=True)
    except ValueError:
        raise ValueError("is not base64") from None
    if len(data) > MAX_BODY_BYTES:
        raise ValueError(f"holds more than {MAX_BODY_BYTES} bytes")
    return value


Body = Annotated[SecretStr, AfterValidator(_fits_in_a_call)]
BodyBytes = Annotated[SecretStr, AfterValidator(_is_base64_that_fits)]


def _has_one_body(arguments: Mapping[str, Any]) -> None:
    _loses_what_it_overwrites(arguments)
    if (arguments["body"] is None) == (arguments["body_base64"] is None):
        raise InvalidParameter("Give one of body and body_base64.")


def _is_a_copy(arguments: Mapping[str, Any]) -> None:
    _loses_what_it_overwrites(arguments)
    source, copy = (tuple(arguments[name] for name in names) for names in (("bucket", "key"), ("to_bucket", "to_key")))
    if source == copy:
        raise InvalidParameter(
            "The copy would be the object itself.", next_step="For an old version use restore_object_version."
        )


def _loses_what_it_overwrites(arguments: Mapping[str, Any]) -> None:
    if arguments["lose_previous"] and not arguments["overwrite"]:
        raise InvalidParameter("lose_previous: only together with overwrite.")


def _loses_previous(arguments: Mapping[str, Any], _: Standing) -> bool:
    return arguments["lose_previous"] is True


def _goes_to_a_stranger(arguments: Mapping[str, Any], standing: Standing) -> bool:
    """Whether the copy leaves our accounts. AWS is told the owner named, so that the bucket is nobody else's."""
    owner = arguments["to_expected_bucket_owner"]
    return owner is not None and standing.is_stranger(owner, arguments["target"])


class S3Service(BucketService):
    """Objects, and the buckets that hold them."""

    @tool(READ, "s3:ListAllMyBuckets")
    def list_buckets(
        self,
        target: Target,
        prefix: Prefix | None = None,
        max_results: MaxKeys = 1000,
        next_token: Token | None = None,
    ) -> Buckets:
        """List the account's buckets, of every region."""
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
        expected_bucket_owner: BucketOwner = None,
    ) -> Objects:
        """List a bucket's objects; with delimiter "/" one level of it."""
        optional = {"Prefix": prefix, "Delimiter": delimiter, "ContinuationToken": next_token}
        request = {name: value for name, value in optional.items() if value}
        at = self.at(target, bucket, expected_bucket_owner)
        page = at.client.list_objects_v2(MaxKeys=max_results, **at.bucket, **request)
        rows = [S3Object.model_validate(row) for row in page.get("Contents", [])]
        return Objects(
            objects=rows,
            common_prefixes=[row["Prefix"] for row in page.get("CommonPrefixes", [])],
            count=len(rows),
            truncated=page["IsTruncated"],
            next_token=page.get("NextContinuationToken"),
        )

    @tool(READ, "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", resource="bucket/key")
    def head_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        version_id: ObjectVersion | None = None,
        expected_bucket_owner: BucketOwner = None,
    ) -> ObjectHead:
        """Return an object's metadata, not its content."""
        at = self.at(target, bucket, expected_bucket_owner)
        answer = at.client.head_object(Key=key, **at.bucket, **version(version_id))
        return ObjectHead.model_validate(own(answer, Bucket=bucket, Key=key))

    @tool(REVEAL, "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", resource="bucket/key")
    def get_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        version_id: ObjectVersion | None = None,
        start: Annotated[int, Field(ge=0)] = 0,
        max_bytes: Annotated[int, Field(ge=1, le=MAX_BODY_BYTES)] = 65_536,
        if_match: ETag | None = None,
        expected_bucket_owner: BucketOwner = None,
    ) -> ObjectContent:
        """Return a bounded range of an object's content: text, or base64 where it is none.

        Args:
            start: The next_start of the part before
            if_match: The e_tag of the part before: fails if the object has changed since
        """
        at = self.at(target, bucket, expected_bucket_owner)
        named = {"Key": key, **at.bucket, **version(version_id), **({"IfMatch": if_match} if if_match else {})}
        try:
            answer, data = _read(at.client, {**named, "Range": f"bytes={start}-{start + max_bytes - 1}"})
        except Exception as error:
            if translate(error).error_code != "InvalidRange":
                raise
            answer, data = at.client.head_object(**named), b""  # an empty object has no range
            if start > 0 or answer["ContentLength"] > 0:
                raise InvalidParameter(
                    f"start: the object ends before; it has {answer['ContentLength']} bytes."
                ) from None
        _check_range(answer, start)
        size = int(str(answer.get("ContentRange") or f"/{answer['ContentLength']}").rpartition("/")[2])
        content, encoding, used = _readable(data, last=start + len(data) >= size)
        cut = start + used < size
        members = {
            "Bucket": bucket, "Key": key, "Content": content, "Encoding": encoding, "ContentLength": used,
            "ObjectSize": size, "Start": start, "Truncated": cut, "NextStart": start + used if cut else None,
        }  # fmt: skip
        return ObjectContent.model_validate(own(answer, **members))

    @tool(
        WRITE, "s3:PutObject", "s3:GetBucketVersioning", "s3:GetObject", "s3:ListBucket", resource="bucket/key",
        destructive=True, destroys_if=_loses_previous, check=_has_one_body, most_bytes=_MOST_BODY_ARGUMENTS,
    )  # fmt: skip
    def put_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        body: Body | None = None,
        body_base64: BodyBytes | None = None,
        content_type: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = None,
        overwrite: bool = False,
        lose_previous: bool = False,
        expected_bucket_owner: BucketOwner = None,
    ) -> WrittenObject:
        """Write an object of at most 1 MiB. One that exists is replaced only if asked.

        Args:
            overwrite: Where the bucket keeps versions
            lose_previous: Overwrite where it keeps none
        """
        data = body.get_secret_value().encode() if body is not None else b""
        if body_base64 is not None:
            data = base64.b64decode(body_base64.get_secret_value())
        at = self.at(target, bucket, expected_bucket_owner)
        request: dict[str, Any] = {"Key": key, "Body": data, **at.bucket, **_keeping(at, overwrite, lose_previous)}
        if content_type:
            request["ContentType"] = content_type
        return WrittenObject.model_validate(own(at.client.put_object(**request), Bucket=bucket, Key=key))

    def plan_put_object(
        self, bucket: BucketName, key: ObjectKey, target: Target, expected_bucket_owner: BucketOwner
    ) -> Plan:
        """Say which object would be replaced."""
        return _plan_to_replace(self.at(target, bucket, expected_bucket_owner), bucket, key)

    @tool(
        WRITE, "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:PutObject", "s3:PutObjectTagging",
        "s3:GetBucketVersioning", "s3:ListBucket", resource="to_bucket/to_key",
        destructive=True, destroys_if=_loses_previous, reveals_if=_goes_to_a_stranger, check=_is_a_copy,
    )  # fmt: skip
    def copy_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        to_bucket: BucketName,
        to_key: ObjectKey,
        target: Target,
        version_id: ObjectVersion | None = None,
        overwrite: bool = False,
        lose_previous: bool = False,
        expected_bucket_owner: BucketOwner = None,
        to_expected_bucket_owner: BucketOwner = None,
    ) -> WrittenObject:
        """Copy an object of at most 5 GiB, as one identity that may read and write both. Overwrites as put_object.

        To a bucket of an account that is not configured here only with the scope `reveal`.
        """
        read_as = self.source(target, bucket, expected_bucket_owner)
        at = self.at(target, to_bucket, to_expected_bucket_owner)
        keeping = _keeping(at, overwrite, lose_previous)
        if not overwrite and _stands(at, to_key) is not None:  # AWS is asked to see to it as well
            raise InvalidParameter("The copy exists already. Nothing was done.", next_step="Pass overwrite to replace.")
        source = {"Bucket": bucket, "Key": key, **version(version_id)}
        answer = at.client.copy_object(Key=to_key, CopySource=source, **read_as, **at.bucket, **keeping)
        return written(answer, to_bucket, to_key)

    def plan_copy_object(
        self,
        bucket: BucketName,
        to_bucket: BucketName,
        to_key: ObjectKey,
        target: Target,
        expected_bucket_owner: BucketOwner,
        to_expected_bucket_owner: BucketOwner,
    ) -> Plan:
        """Say which object would be replaced."""
        self.source(target, bucket, expected_bucket_owner)
        return _plan_to_replace(self.at(target, to_bucket, to_expected_bucket_owner), to_bucket, to_key)

    @tool(REVEAL, "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", resource="bucket/key")
    def presign_object(
        self,
        bucket: BucketName,
        key: ObjectKey,
        target: Target,
        expires_in_seconds: Annotated[int, Field(ge=1, le=_MOST_PRESIGNED_SECONDS)] = 300,
        version_id: ObjectVersion | None = None,
        method: Literal["GET"] = "GET",
        expected_bucket_owner: BucketOwner = None,
    ) -> PresignedUrl:
        """Return a URL that lets whoever holds it read one object, for at most an hour."""
        at = self.at(target, bucket, expected_bucket_owner)
        at.client.head_object(Key=key, **at.bucket, **version(version_id))
        call, now = Call.current(), datetime.now(UTC)
        ends = self.desk.credentials.expires_at(call.grant(target), call.caller)  # and the URL with them
        seconds = min(expires_in_seconds, int(ends - now.timestamp())) if ends is not None else expires_in_seconds
        params = {"Bucket": bucket, "Key": key, **version(version_id)}
        url = at.client.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)
        return PresignedUrl(
            bucket=bucket, key=key, url=url, method=method,
            expires_in_seconds=seconds, expires_at=now + timedelta(seconds=seconds),
        )  # fmt: skip


def _read(client: Any, request: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes]:
    """Return an answer and its body. A body that breaks off is asked for again, as botocore does with answers."""
    while True:
        answer = client.get_object(**request)
        try:
            return answer, answer["Body"].read()
        except Exception as error:
            if Call.current().trace.attempts >= MAX_ATTEMPTS or not translate(error).retryable:
                raise


def _check_range(answer: Mapping[str, Any], start: int) -> None:
    """Refuse what does not begin where it was asked to: whoever answers then knows no ranges."""
    begins = re.match(r"bytes (\d{1,20})-", str(answer.get("ContentRange", "")))
    if (int(begins[1]) if begins else 0) != start:
        raise AWSError(
            "InvalidRange", "The answer is not of the range that was asked for.", retryable=False,
            next_step="Read the object from its start, as far as max_bytes goes.",
        )  # fmt: skip


def _readable(data: bytes, *, last: bool) -> tuple[str, str, int]:
    """Return the text, its encoding, and how many bytes it took: a range may end within a character."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(data, final=last)
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64", len(data)
    used = len(data) - len(decoder.getstate()[0])
    if data and not used:  # less than a character was asked for
        return base64.b64encode(data).decode(), "base64", len(data)
    return text, "utf-8", used


def _keeping(at: At, overwrite: bool, lose_previous: bool) -> dict[str, str]:
    """Return what keeps a write from losing an object: AWS refuses to replace one, or keeps the version before."""
    if not overwrite:
        return {"IfNoneMatch": "*"}
    if not lose_previous and not keeps_versions(at):
        raise InvalidParameter(
            "The bucket keeps no versions, so an object replaced would be gone for good.",
            next_step="Pass lose_previous as well; it needs confirmation.",
        )
    return {}


def _stands(at: At, key: str) -> Mapping[str, Any] | None:
    """Return the head of an object, or None where there is none, or where the identity may not look."""
    try:
        head: Mapping[str, Any] = at.client.head_object(Key=key, **at.bucket)
    except Exception as error:
        failure = translate(error)
        if not (is_missing(failure) or is_denial(failure)):
            raise
        return None
    return head


def _plan_to_replace(at: At, bucket: str, key: str) -> Plan:
    head, kept = _stands(at, key), keeps_versions(at)
    lost = "Nothing seems to stand there; if something does, it is gone for good."
    if head is not None:
        lost = f"{head['ContentLength']} bytes of {head['LastModified']:%Y-%m-%d %H:%M} are gone for good."
    if kept:
        lost = "Nothing is lost: the bucket keeps versions."
    state = {name: head.get(name) for name in ("ETag", "LastModified", "VersionId")} if head is not None else {}
    return Plan(target=f"arn:aws:s3:::{bucket}/{key}", will_be_lost=lost, state={**state, "versions": kept})
