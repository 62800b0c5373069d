"""Amazon S3: how buckets are guarded, made with safe defaults, and removed.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from errors import InvalidParameter, is_missing, translate
from services._s3 import BucketName, GoneBucket, MadeBucket, Posture
from services.base import DESTROY, READ, WRITE, AWSServiceBase, Plan, Target, tool
from toolcall.call import Call

_BLOCK_ALL = {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
}  # fmt: skip


class S3BucketsService(AWSServiceBase):
    """Buckets as a whole."""

    client_name = "s3"
    toolset = "s3"

    @tool(
        READ, "s3:GetBucketPublicAccessBlock", "s3:GetAccountPublicAccessBlock", "s3:GetBucketPolicyStatus",
        "s3:GetBucketOwnershipControls", "s3:GetEncryptionConfiguration", "s3:GetBucketVersioning",
        "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:GetBucketLogging", "s3:GetBucketTagging",
        resource="bucket",
    )  # fmt: skip
    def get_bucket_posture(self, bucket: BucketName, target: Target) -> Posture:
        """Return how a bucket is guarded, in one answer: public access, policy, ownership, encryption, and so on."""
        client, found, unknown = self.client(target), dict[str, Any](), dict[str, str]()
        client.head_bucket(Bucket=bucket)
        account = self.client(target, "s3control")
        number = self.desk.credentials.account_id(Call.current().grant(target), Call.current().caller)
        asked: dict[str, Callable[[], Any]] = {
            "public_access_block": lambda: client.get_public_access_block(Bucket=bucket),
            "account_public_access_block": lambda: account.get_public_access_block(AccountId=number),
            "policy_status": lambda: client.get_bucket_policy_status(Bucket=bucket),
            "ownership": lambda: client.get_bucket_ownership_controls(Bucket=bucket),
            "encryption": lambda: client.get_bucket_encryption(Bucket=bucket),
            "versioning": lambda: client.get_bucket_versioning(Bucket=bucket),
            "lifecycle": lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket),
            "replication": lambda: client.get_bucket_replication(Bucket=bucket),
            "logging": lambda: client.get_bucket_logging(Bucket=bucket),
            "tagging": lambda: client.get_bucket_tagging(Bucket=bucket),
        }
        for name, ask in asked.items():
            try:
                found[name] = ask()
            except Exception as error:
                failure = translate(error)
                if not is_missing(failure):
                    unknown[name] = failure.error_code
        return _posture(bucket, found, unknown)

    @tool(
        WRITE, "s3:CreateBucket", "s3:PutBucketPublicAccessBlock", "s3:PutBucketVersioning",
        "s3:PutEncryptionConfiguration", resource="bucket",
    )  # fmt: skip
    def create_bucket(self, bucket: BucketName, target: Target, versioning: bool = True) -> MadeBucket:
        """Create a private, encrypted bucket in the call's region; versioned unless told not to."""
        region = Call.current().grant(target).region
        client = self.client(target)
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        client.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerEnforced", **place)
        client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=_BLOCK_ALL)
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
        client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
        if versioning:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return MadeBucket(
            bucket=bucket, bucket_region=region, versioning="Enabled" if versioning else "Off", encryption="AES256"
        )

    @tool(
        DESTROY, "s3:DeleteBucket", "s3:ListBucketVersions", "s3:GetBucketTagging", resource="bucket", idempotent=True
    )
    def delete_bucket(self, bucket: BucketName, target: Target) -> GoneBucket:
        """Delete an empty bucket for good; somebody else may take its name."""
        self.client(target).delete_bucket(Bucket=bucket)
        return GoneBucket(bucket=bucket)

    def plan_delete_bucket(self, bucket: BucketName, target: Target) -> Plan:
        """Say which bucket would be gone; refuse one that still holds something."""
        client = self.client(target)
        held = client.list_object_versions(Bucket=bucket, MaxKeys=1)
        if held.get("Versions") or held.get("DeleteMarkers"):
            raise InvalidParameter("The bucket is not empty: it holds objects, versions or markers. Nothing was done.")
        rows = client.list_buckets()["Buckets"]
        created = next((row.get("CreationDate") for row in rows if row["Name"] == bucket), None)
        lost = "The bucket, its settings and its hold on the name are gone."
        return Plan(target=f"arn:aws:s3:::{bucket}", will_be_lost=lost, state={"created": created})


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
    blocked = [block for block in (posture.public_access_block, posture.account_public_access_block) if block]
    fully = any(all(block.values()) and len(block) == len(_BLOCK_ALL) for block in blocked)
    known = "public_access_block" not in posture.unknown
    checks = [
        (bool(posture.is_public), "Its policy makes it public."),
        (not fully and known, "Public access is not fully blocked, by bucket or account."),
        (posture.versioning in ("Off", "Suspended"), "Versioning is off: an overwritten or deleted object is gone."),
        (posture.encryption is None and "encryption" not in posture.unknown, "No default encryption is set."),
        (posture.ownership not in (None, "BucketOwnerEnforced"), "ACLs are on: object writers can grant access."),
        (posture.logging_to is None and "logging" not in posture.unknown, "Access is not logged to a bucket."),
    ]
    return [text for concern, text in checks if concern]


def _first(rows: Any) -> Mapping[str, Any]:
    return rows[0] if rows else {}
