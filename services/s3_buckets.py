"""Amazon S3: how buckets are guarded, made with safe defaults, and removed.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from errors import AWSError, DeadlineExceeded, InvalidParameter, after, header_of, is_denial, is_missing, translate
from services._s3 import (
    At,
    BucketName,
    BucketOwner,
    BucketService,
    GoneBucket,
    MadeBucket,
    NewBucketName,
    Posture,
    uploads_page,
)
from services.base import DESTROY, READ, WRITE, Plan, Target, tool
from toolcall.call import Call

_BLOCK_ALL = {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
}  # fmt: skip
_EVERYONE = ("/global/AllUsers", "/global/AuthenticatedUsers")


class S3BucketsService(BucketService):
    """Buckets as a whole."""

    @tool(
        READ, "s3:GetBucketPublicAccessBlock", "s3:GetAccountPublicAccessBlock", "s3:GetBucketPolicyStatus",
        "s3:GetBucketAcl", "s3:GetBucketOwnershipControls", "s3:GetEncryptionConfiguration", "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:GetBucketLogging", "s3:GetBucketTagging",
        "s3:ListBucket", resource="bucket",
    )  # fmt: skip
    def get_bucket_posture(
        self, bucket: BucketName, target: Target, expected_bucket_owner: BucketOwner = None
    ) -> Posture:
        """Return how a bucket is guarded, in one answer: public access, policy, ownership, encryption, and so on."""
        at = self.at(target, bucket, expected_bucket_owner)
        client, found, unknown = at.client, dict[str, Any](), dict[str, str]()
        client.head_bucket(**at.bucket)
        account = self.client(target, "s3control")
        owner = at.bucket["ExpectedBucketOwner"]
        asked: dict[str, Callable[[], Any]] = {
            "public_access_block": lambda: client.get_public_access_block(**at.bucket),
            "account_public_access_block": lambda: account.get_public_access_block(AccountId=owner),
            "policy_status": lambda: client.get_bucket_policy_status(**at.bucket),
            "acl": lambda: client.get_bucket_acl(**at.bucket),
            "ownership": lambda: client.get_bucket_ownership_controls(**at.bucket),
            "encryption": lambda: client.get_bucket_encryption(**at.bucket),
            "versioning": lambda: client.get_bucket_versioning(**at.bucket),
            "lifecycle": lambda: client.get_bucket_lifecycle_configuration(**at.bucket),
            "replication": lambda: client.get_bucket_replication(**at.bucket),
            "logging": lambda: client.get_bucket_logging(**at.bucket),
            "tagging": lambda: client.get_bucket_tagging(**at.bucket),
        }
        for name, ask in asked.items():
            try:
                found[name] = ask()
            except Exception as error:
                failure = translate(error)
                if isinstance(failure, DeadlineExceeded) or failure.error_code == "NoSuchBucket":
                    raise
                if not is_missing(failure):
                    unknown[name] = failure.error_code
        return _posture(bucket, found, unknown)

    @tool(
        WRITE, "s3:CreateBucket", "s3:PutBucketOwnershipControls", "s3:PutBucketPublicAccessBlock",
        "s3:PutEncryptionConfiguration", "s3:PutBucketVersioning", "s3:ListBucket", resource="bucket",
    )  # fmt: skip
    def create_bucket(self, bucket: NewBucketName, target: Target, versioning: bool = True) -> MadeBucket:
        """Create a private, encrypted bucket in the call's region; versioned unless told not to."""
        client, region = self.client(target), Call.current().grant(target).region
        _refuse_if_there(client, bucket)
        mine = {"Bucket": bucket, "ExpectedBucketOwner": str(Call.current().account_id)}
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
        client.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerEnforced", **place)
        done = ["the bucket was created"]
        try:
            client.put_public_access_block(PublicAccessBlockConfiguration=_BLOCK_ALL, **mine)
            done.append("public access was blocked")
            client.put_bucket_encryption(ServerSideEncryptionConfiguration={"Rules": [rule]}, **mine)
            done.append("encryption was set")
            if versioning:
                client.put_bucket_versioning(VersioningConfiguration={"Status": "Enabled"}, **mine)
        except Exception as error:
            raise after(done, error) from error
        return MadeBucket(
            bucket=bucket, bucket_region=region, versioning="Enabled" if versioning else "Off", encryption="AES256"
        )

    @tool(
        DESTROY, "s3:DeleteBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketTagging",
        "s3:ListAllMyBuckets", "s3:ListBucket", resource="bucket", idempotent=True, voids_state=True,
    )  # fmt: skip
    def delete_bucket(self, bucket: BucketName, target: Target) -> GoneBucket:
        """Delete an empty bucket of the account for good; somebody else may take its name."""
        at = self.at(target, bucket, None)
        at.client.delete_bucket(**at.bucket)
        self.forget(bucket)
        return GoneBucket(bucket=bucket)

    def plan_delete_bucket(self, bucket: BucketName, target: Target) -> Plan:
        """Say which bucket would be gone; refuse one that still holds something."""
        at = self.at(target, bucket, None)
        held = at.client.list_object_versions(MaxKeys=1, **at.bucket)
        if held.get("Versions") or held.get("DeleteMarkers"):
            raise InvalidParameter("The bucket is not empty: it holds objects, versions or markers. Nothing was done.")
        uploads = uploads_page(at, 1000).get("Uploads", [])
        tags = _tags(at)
        lost = f"The bucket, its settings, its {len(tags)} tag(s) and its hold on the name are gone."
        if uploads:
            lost += f" So are {len(uploads)} unfinished upload(s) or more."
        state = {"created": _created(at), "tags": tags, "uploads": [row["UploadId"] for row in uploads]}
        return Plan(target=f"arn:aws:s3:::{bucket}", will_be_lost=lost, state=state)


def _refuse_if_there(client: Any, bucket: str) -> None:
    """In us-east-1 AWS takes the creation of a bucket that one owns for a success, and its settings would change."""
    try:
        client.head_bucket(Bucket=bucket)
    except Exception as error:
        failure = translate(error)
        if header_of(error, "x-amz-bucket-region") is None:  # with one it is there, in whatever region, whosever it is
            if not (is_missing(failure) or is_denial(failure)):
                raise
            return
    raise AWSError(
        "BucketAlreadyExists", "A bucket of that name exists. Nothing was done.", retryable=False,
        next_step="Choose another name; names are shared by all of AWS.",
    )  # fmt: skip


def _tags(at: At) -> dict[str, str]:
    try:
        rows = at.client.get_bucket_tagging(**at.bucket)["TagSet"]
    except Exception as error:
        if not is_missing(translate(error)):
            raise
        return {}
    return {row["Key"]: row["Value"] for row in rows}


def _created(at: At) -> Any:
    """Return when the bucket was made, so that one made anew under its name is not taken for it."""
    name = at.bucket["Bucket"]
    rows = at.client.list_buckets(Prefix=name, MaxBuckets=1000)["Buckets"]
    return next((row.get("CreationDate") for row in rows if row["Name"] == name), None)


def _posture(bucket: str, found: Mapping[str, Any], unknown: dict[str, str]) -> Posture:
    encryption = _first(found.get("encryption", {}).get("ServerSideEncryptionConfiguration", {}).get("Rules"))
    default = encryption.get("ApplyServerSideEncryptionByDefault", {})
    replication = found.get("replication", {}).get("ReplicationConfiguration", {}).get("Rules", [])
    versioning = found.get("versioning", {})
    posture = Posture(
        bucket=bucket,
        public_access_block=found.get("public_access_block", {}).get("PublicAccessBlockConfiguration"),
        account_public_access_block=found.get("account_public_access_block", {}).get("PublicAccessBlockConfiguration"),
        has_policy="policy_status" in found,
        public_acl_grants=_public_grants(found.get("acl", {}).get("Grants", [])),
        is_public=found.get("policy_status", {}).get("PolicyStatus", {}).get("IsPublic"),
        ownership=_first(found.get("ownership", {}).get("OwnershipControls", {}).get("Rules")).get("ObjectOwnership"),
        encryption=default.get("SSEAlgorithm"),
        kms_key_id=default.get("KMSMasterKeyID"),
        versioning=versioning.get("Status", "Off") if "versioning" in found else None,
        mfa_delete=versioning.get("MFADelete"),
        lifecycle_rules=len(found.get("lifecycle", {}).get("Rules", [])),
        replication_to=[rule["Destination"]["Bucket"] for rule in replication],
        logging_to=found.get("logging", {}).get("LoggingEnabled", {}).get("TargetBucket"),
        tags=found.get("tagging", {}).get("TagSet", {}),
        unknown=unknown,
    )
    return posture.model_copy(update={"concerns": list(_concerns(posture))})


def _concerns(posture: Posture) -> list[str]:
    """Say in words what a careful reader would ask about."""
    checks = [
        (bool(posture.is_public), "Its policy makes it public."),
        (bool(posture.public_acl_grants), "Its ACL grants to everyone, or to every AWS account."),
        (
            not _is_blocked(posture),
            "Public access is not fully blocked, by bucket or account, as far as could be seen.",
        ),
        (posture.versioning in ("Off", "Suspended"), "Versioning is off: an overwritten or deleted object is gone."),
        (posture.encryption is None and "encryption" not in posture.unknown, "No default encryption is set."),
        (posture.ownership not in (None, "BucketOwnerEnforced"), "ACLs are on: object writers can grant access."),
        (posture.logging_to is None and "logging" not in posture.unknown, "Access is not logged to a bucket."),
        (bool(posture.unknown), f"AWS would not tell: {', '.join(posture.unknown)}."),
    ]
    return [text for concern, text in checks if concern]


def _is_blocked(posture: Posture) -> bool:
    """Each of the four blocks holds where the bucket or its account sets it."""
    blocks = (posture.public_access_block or {}, posture.account_public_access_block or {})
    return all(any(block.get(name) for block in blocks) for name in _BLOCK_ALL)


def _public_grants(grants: list[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['Permission']} to {uri.rpartition('/')[2]}"
        for row in grants
        if (uri := str(row.get("Grantee", {}).get("URI", ""))).endswith(_EVERYONE)
    ]


def _first(rows: Any) -> Mapping[str, Any]:
    return rows[0] if rows else {}
