"""S3's argument types and results."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from services.base import AWSModel, Page, Tags, Timestamp

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _is_a_bucket(name: str) -> str:
    if not _BUCKET.fullmatch(name) or ".." in name:
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
    e_tag: str | None = Field(default=None, alias="ETag")
    last_modified: Timestamp | None = None
    version_id: str | None = None
    storage_class: str | None = None
    server_side_encryption: str | None = None
    metadata: dict[str, str] = {}


class ObjectContent(AWSModel):
    """A range of an object: text where it is UTF-8, else base64. `truncated` where there is more."""

    bucket: str
    key: str
    content: str
    encoding: str
    content_length: int = Field(description="Bytes in this answer")
    object_size: int
    start: int
    truncated: bool
    content_type: str | None = None
    e_tag: str | None = Field(default=None, alias="ETag")
    version_id: str | None = None


class WrittenObject(AWSModel):
    bucket: str
    key: str
    e_tag: str | None = Field(default=None, alias="ETag")
    version_id: str | None = None


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


class MultipartUpload(AWSModel):
    key: str
    upload_id: str
    initiated: Timestamp | None = None
    storage_class: str | None = None


class MultipartUploads(Page):
    uploads: list[MultipartUpload]
    count: int


def own(answer: Any, **more: Any) -> dict[str, Any]:
    """Return AWS's answer with members of ours beside it."""
    return {**answer, **more}
