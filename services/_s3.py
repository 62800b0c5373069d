"""S3's argument types and results, and how its tools reach a bucket: in its own region, and of the account meant."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote_plus

from cachetools import TTLCache
from pydantic import AfterValidator, Field, StringConstraints

from access.identity import Identity, Target
from access.trace import uncounted
from errors import AWSError, RegionNotAllowed, header_of, is_denial, translate
from services.base import AWSModel, AWSServiceBase, Page, Tags, Timestamp
from toolcall.call import Call
from toolcall.desk import Desk

# Buckets of before March 2018 have names that no new one may have.
_BUCKET, _NEW_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}"), re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_REGION_REMEMBERED_SECONDS, _REGIONS_REMEMBERED = 300, 10_000


def _is_a_bucket(name: str) -> str:
    if not _BUCKET.fullmatch(name):
        raise ValueError("has 3 to 255 letters, digits, dots, dashes and underscores")
    return name


def _is_free_for_a_bucket(name: str) -> str:
    if name.startswith(_RESERVED_STARTS) or name.endswith(_RESERVED_ENDS):
        raise ValueError("begins or ends as AWS keeps for itself")
    if not _NEW_BUCKET.fullmatch(name) or ".." in name:
        raise ValueError("has 3 to 63 lower-case letters, digits, dots and dashes")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    raise ValueError("looks like an IP address")


def _is_a_key(key: str) -> str:
    if not 1 <= len(key.encode()) <= 1024:
        raise ValueError("has 1 to 1024 bytes")
    return key


BucketName = Annotated[str, AfterValidator(_is_a_bucket)]
NewBucketName = Annotated[str, AfterValidator(_is_free_for_a_bucket)]
BucketOwner = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")] | None, Field(description="Where another account's")
]
ObjectKey = Annotated[str, AfterValidator(_is_a_key)]
ObjectVersion = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Prefix = Annotated[str, StringConstraints(max_length=1024)]
MaxKeys = Annotated[int, Field(ge=1, le=1000)]


class Bucket(AWSModel):
    name: str
    creation_date: Timestamp | None = None
    bucket_region: str | None = None


class Buckets(Page):
    buckets: list[Bucket]
    count: int


class S3Object(AWSModel):
    """A row of a listing; size in bytes."""

    key: str
    size: int
    last_modified: Timestamp | None = None
    storage_class: str | None = None
    e_tag: str | None = Field(default=None, alias="ETag")


class Objects(Page):
    objects: list[S3Object]
    common_prefixes: list[str] = []
    count: int


class ObjectHead(AWSModel):
    """An object's metadata; size in bytes."""

    bucket: str
    key: str
    content_length: int
    content_type: str | None = None
    content_encoding: str | None = None
    e_tag: str | None = Field(default=None, alias="ETag")
    last_modified: Timestamp | None = None
    version_id: str | None = None
    storage_class: str | None = None
    archive_status: str | None = Field(default=None, description="Where set, it must be restored to be read")
    restore: str | None = Field(default=None, description="How far a restoring is, and until when the copy stays")
    expiration: str | None = Field(default=None, description="When a lifecycle rule removes it")
    server_side_encryption: str | None = None
    ssekms_key_id: str | None = Field(default=None, alias="SSEKMSKeyId")
    object_lock_mode: str | None = None
    object_lock_retain_until_date: Timestamp | None = None
    object_lock_legal_hold_status: str | None = None
    replication_status: str | None = None
    metadata: dict[str, str] = {}
    missing_meta: int | None = Field(default=None, description="Metadata that AWS left out")


class ObjectContent(AWSModel):
    """A range of an object: text where it is UTF-8, else base64. Where `truncated`, `next_start` continues it."""

    bucket: str
    key: str
    content: str
    encoding: str
    content_length: int = Field(description="Bytes in this answer")
    object_size: int
    start: int
    truncated: bool
    next_start: int | None = None
    content_type: str | None = None
    content_encoding: str | None = Field(default=None, description="What the stored bytes are packed in, such as gzip")
    e_tag: str = Field(alias="ETag")
    version_id: str | None = None


class WrittenObject(AWSModel):
    bucket: str
    key: str
    e_tag: str | None = Field(default=None, alias="ETag")
    version_id: str | None = None
    server_side_encryption: str | None = None


class DeletedObject(AWSModel):
    """What a delete did: put a marker over the object, or removed a version for good."""

    bucket: str
    key: str
    version_id: str | None = None
    delete_marker: bool


class ObjectVersionRow(AWSModel):
    key: str
    version_id: str
    is_latest: bool
    last_modified: Timestamp | None = None
    size: int | None = None
    storage_class: str | None = None
    e_tag: str | None = Field(default=None, alias="ETag")
    delete_marker: bool = False


class ObjectVersions(Page):
    versions: list[ObjectVersionRow]
    count: int


class Posture(AWSModel):
    """How a bucket is guarded. Absent means not set; `unknown` names what AWS would not tell, and why."""

    bucket: str
    public_access_block: dict[str, bool] | None = None
    account_public_access_block: dict[str, bool] | None = None
    is_public: bool | None = Field(default=None, description="By its policy")
    public_acl_grants: list[str] = Field(default=[], description="To everyone, or to every AWS account")
    has_policy: bool = False
    ownership: str | None = None
    encryption: str | None = None
    kms_key_id: str | None = None
    versioning: str | None = None
    mfa_delete: str | None = None
    lifecycle_rules: int = 0
    replication_to: list[str] = []
    logging_to: str | None = None
    tags: Tags = {}
    unknown: dict[str, str] = {}
    concerns: list[str] = []


class MadeBucket(AWSModel):
    bucket: str
    bucket_region: str
    versioning: str
    encryption: str


class GoneBucket(AWSModel):
    bucket: str


class PresignedUrl(AWSModel):
    """A URL that lets whoever holds it do one thing until it expires."""

    bucket: str
    key: str
    url: str
    method: str
    expires_in_seconds: int
    expires_at: Timestamp


class MultipartUpload(AWSModel):
    key: str
    upload_id: str
    initiated: Timestamp | None = None
    storage_class: str | None = None


class MultipartUploads(Page):
    uploads: list[MultipartUpload]
    count: int


@dataclass(frozen=True)
class At:
    """A bucket as a request names it, and a client in its region."""

    client: Any
    bucket: dict[str, str]


class BucketService(AWSServiceBase):
    """What works on a bucket.

    A bucket's name says neither its region nor its owner. So its calls run in its own region, which the policy must
    allow and which the answer names; and AWS is told whose bucket it must be: the identity's own account's, unless the
    call names another. A name that somebody else has taken is refused, not answered from.
    """

    client_name = "s3"
    toolset = "s3"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._regions: TTLCache[tuple[Identity, str, str], str] = TTLCache(
            _REGIONS_REMEMBERED, _REGION_REMEMBERED_SECONDS
        )
        self._lock = threading.Lock()

    def at(self, target: Target, bucket: str, owner: str | None) -> At:
        """Return how to reach a bucket: in its region, as its owner's."""
        call = Call.current()
        owner = owner or str(call.account_id)
        if (region := self._find(target, bucket, owner)) is not None:
            call.move(target, region)
        return At(self.client(target), {"Bucket": bucket, "ExpectedBucketOwner": owner})

    def source(self, target: Target, bucket: str, owner: str | None) -> dict[str, str]:
        """Return a bucket that AWS itself reads from, as a copy names it.

        Raises:
            RegionNotAllowed: it is in a region that the policy does not allow, or nobody says in which.
        """
        call = Call.current()
        owner = owner or str(call.account_id)
        if (region := self._find(target, bucket, owner)) is not None:
            call.grant(_in_region(target, region))
        elif self.desk.settings.allowed_regions is not None:
            raise RegionNotAllowed(
                "AWS does not say in which region the source bucket is. Nothing was read.",
                next_step="Grant the role s3:ListBucket on it, or copy from a bucket in an allowed region.",
            )
        return {"ExpectedSourceBucketOwner": owner}

    def forget(self, bucket: str) -> None:
        """Forget where a bucket was."""
        with self._lock:
            for key in [key for key in self._regions if key[1] == bucket]:
                self._regions.pop(key, None)

    def _find(self, target: Target, bucket: str, owner: str) -> str | None:
        """Return a bucket's region, where AWS says it; remembered for a while."""
        key = (Call.current().grant(target).identity, bucket, owner)
        with self._lock:
            region = self._regions.get(key)
        if region is None and (region := self._region_of(target, bucket, owner)) is not None:
            with self._lock:
                self._regions[key] = region
        return region

    def _region_of(self, target: Target, bucket: str, owner: str, *, moved: bool = False) -> str | None:
        client = self.client(target)
        try:
            with uncounted():
                answer = client.head_bucket(Bucket=bucket, ExpectedBucketOwner=owner)
            return str(answer["BucketRegion"]) if answer.get("BucketRegion") else None
        except Exception as error:
            failure = translate(error)
            if not isinstance(failure, AWSError) or failure.retryable:
                raise
            if is_denial(failure) and _answers(client, bucket):
                raise AWSError(
                    "AccessDenied",
                    f"The bucket does not belong to account {owner}. Nothing was read or changed.",
                    retryable=False,
                    next_step="Name the account that the bucket is in, or its number as expected_bucket_owner.",
                ) from None
            region = header_of(error, "x-amz-bucket-region")  # there even where access is denied
        if region is None or moved or is_denial(failure):
            return region
        return self._region_of(_in_region(target, region), bucket, owner, moved=True)


def _in_region(target: Target, region: str) -> Target:
    return target.model_copy(update={"region": region})


def _answers(client: Any, bucket: str) -> bool:
    """Tell whether the identity may look at a bucket, whosever it is."""
    try:
        with uncounted():
            client.head_bucket(Bucket=bucket)
    except Exception as error:
        if not isinstance(translate(error), AWSError):
            raise
        return False
    return True


def uploads_page(at: At, size: int, **more: str) -> dict[str, Any]:
    """Ask for a page of unfinished uploads, with keys as they are.

    A key may hold what XML cannot; AWS then encodes it, if told to and where it says so. Of the other listings botocore
    asks and reads that itself.
    """
    page: dict[str, Any] = at.client.list_multipart_uploads(EncodingType="url", MaxUploads=size, **at.bucket, **more)
    if page.get("EncodingType") == "url":
        for row, name in [*((row, "Key") for row in page.get("Uploads", [])), (page, "NextKeyMarker")]:
            if name in row:
                row[name] = unquote_plus(row[name])
    return page


def own(answer: Any, **more: Any) -> dict[str, Any]:
    """Return AWS's answer with members of ours beside it."""
    return {**answer, **more}


def version(version_id: str | None) -> dict[str, str]:
    """Return a version as a request names it."""
    return {"VersionId": version_id} if version_id is not None else {}


def keeps_versions(at: At) -> bool:
    """Tell whether a bucket keeps what is overwritten or deleted; one whose versioning is suspended does not."""
    return bool(at.client.get_bucket_versioning(**at.bucket).get("Status") == "Enabled")


def written(answer: Mapping[str, Any], bucket: str, key: str) -> WrittenObject:
    """Return what a copy wrote: part of it stands in CopyObjectResult, the rest beside it."""
    return WrittenObject.model_validate({**answer, **answer["CopyObjectResult"], "Bucket": bucket, "Key": key})
