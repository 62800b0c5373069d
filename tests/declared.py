"""Whether a tool declares the IAM actions that it needs: each operation of a call is held against its spec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def undeclared() -> Iterator[set[tuple[str, str]]]:
    """Yield the (tool, action) pairs that calls need and do not declare, as they come up."""
    found: set[tuple[str, str]] = set()
    send = BaseClient._make_api_call

    def watched(client: Any, operation: str, arguments: Any) -> Any:
        named = f"{client.meta.service_model.service_name}:{operation}"
        action = ACTIONS.get(named, named)
        try:
            call = Call.current()
        except LookupError:  # a test's own
            return send(client, operation, arguments)
        if action not in FREE and action not in call.spec.actions:
            found.add((call.name, action))
        return send(client, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", watched)
        yield found
