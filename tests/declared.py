"""The IAM actions that tools need, told from the operations that they ask AWS for; to be held against their specs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from botocore.client import BaseClient

from toolcall.call import Call

# Operations whose action has another name; STS allows the last three to everybody, or by the other role's trust.
ACTIONS = {
    "s3:CopyObject": "s3:PutObject",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3control:GetPublicAccessBlock": "s3:GetAccountPublicAccessBlock",
}
FREE = {"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:GetCallerIdentity"}
# AWS decrypts a secret under a customer's key as whoever asks.
READS_VALUES = {"secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue"}


@contextmanager
def needed() -> Iterator[dict[str, set[str]]]:
    """Yield the actions that each tool needs, by its name, as its calls ask AWS for something."""
    found: dict[str, set[str]] = defaultdict(set)
    send = BaseClient._make_api_call

    def watched(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        with suppress(LookupError):  # a test's own
            found[Call.current().name] |= _actions(f"{client.meta.service_model.service_name}:{operation}", arguments)
        return send(client, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", watched)
        yield found


def _actions(operation: str, arguments: Mapping[str, Any]) -> set[str]:
    actions = {ACTIONS.get(operation, operation)}
    if operation in ("s3:GetObject", "s3:HeadObject") and "VersionId" in arguments:
        actions.add("s3:GetObjectVersion")
    if operation in READS_VALUES:
        actions.add("kms:Decrypt")
    return actions
