"""Which requests may be sent to AWS again once their answer is lost: those that have one effect all the same.

Beside reads these are: what bears an idempotency token; what sets a state, rather than adding to one; and the making
of what has a name of its own, where AWS refuses a second. All else is sent once: an effect too many cannot be seen,
while OutcomeUnknown can be looked into.
"""

from __future__ import annotations

import re
from typing import Any

_READS = re.compile("Get|List|Describe|Head|BatchGet|Lookup|Simulate|Test|Decode|Assume|Validate")
_SETS_A_STATE = re.compile(
    "Put|Update|Delete|Tag|Untag|Attach|Detach|Associate|Disassociate|Restore|Cancel|Remove|Change|Authorize|Revoke"
)
_OF_ITS_OWN_NAME = frozenset(
    {
        "CreateBucket", "CreateHostedZone", "CreatePolicy", "CreateRole", "CreateTags", "ReplicateSecretToRegions",
        "StartInstances", "StopInstances", "StopReplicationToReplica", "TerminateInstances",
    }
)  # fmt: skip
# In a bucket that keeps versions, each of these adds one; but where the request names a version, or wants none there.
_ADDS_A_VERSION = frozenset({"PutObject", "CopyObject", "DeleteObject"})


def is_read(operation: str) -> bool:
    """Tell whether an operation changes nothing."""
    return _READS.match(operation) is not None


def may_repeat(operation: Any, request: Any) -> bool:
    """Tell whether a request of this botocore operation model may follow one that was not answered."""
    name = operation.name
    if name in _ADDS_A_VERSION:
        return name != "CopyObject" and ("If-None-Match" in request.headers or "versionId=" in request.url)
    if is_read(name) or name in _OF_ITS_OWN_NAME or _SETS_A_STATE.match(name):
        return True
    return bool(operation.idempotent_members)
