"""What AWS's error codes mean: the one table of what may be sent again, and what to do about each.

Nothing here says to wait or to retry but beside a code that is worth sending again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

CHECK = "run `python server.py --check`"
_SIGNING = f"It is about how or when the request was signed: look at the server's clock and credentials; {CHECK}."
_QUOTA = "A quota is used up: free something, or have it raised in Service Quotas."
_LATER = "Wait and retry; ask for less at a time."
_AGAIN = "Retry in a moment."
_LOOK = "Look at the resource's present state; it does not admit this."
_CORRECT = "Correct what the message names and call again."

DENIED = re.compile("AccessDenied|Unauthorized|NotAuthorized|Forbidden")
MISSING = re.compile("NotFound|NoSuch")


@dataclass(frozen=True)
class Row:
    """Codes of one meaning; `said` narrows them to messages that say so."""

    codes: re.Pattern[str]
    next_step: str
    retryable: bool = False
    said: re.Pattern[str] | None = None


def _row(codes: str, next_step: str, *, retryable: bool = False, said: str | None = None) -> Row:
    return Row(re.compile(codes), next_step, retryable, re.compile(said) if said else None)


# The first that fits counts.
TABLE = (
    _row(
        "Throttl|TooManyRequests?|RequestLimitExceeded|BandwidthLimitExceeded|SlowDown|ProvisionedThroughputExceeded|"
        "RequestThrottled|ReduceYourRequestRate",
        _LATER,
        retryable=True,
    ),
    _row(
        "PriorRequestNotComplete|TransactionInProgress|ReplicatedWriteConflict|RetryableConflict|RequestTimeout|"
        "ConcurrentModification|OperationAborted|IDPCommunicationError|BadDigest|ServiceUnavailable|^Unavailable$|"
        "InternalFailure|InternalServiceError|InternalServer|InternalError|InternalException|InternalServiceException",
        _AGAIN,
        retryable=True,
    ),
    _row(
        "Signature|Skewed|RequestExpired|ExpiredToken|InvalidClientToken|UnrecognizedClient|AuthFailure|"
        "InvalidAccessKeyId|^InvalidToken$|MissingAuthenticationToken|AuthorizationHeaderMalformed|"
        "TokenRefreshRequired|InvalidSecurity|RequestInTheFuture|AuthorizationQueryParametersError",
        _SIGNING,
    ),
    _row(DENIED.pattern, _SIGNING, said="(?i)request has expired|signature (does not|expired|not yet)"),
    _row("LimitExceeded|QuotaExceeded|^TooMany", _QUOTA),
    _row(
        "",
        "restore_secret takes it back, if it is still needed.",
        said="(?i)scheduled for deletion|marked for deletion",
    ),
    _row("KMSInvalidState|KMSDisabled|^Disabled", "Enable the KMS key, or cancel its deletion; see its state in KMS."),
    _row(
        "DecryptionFailure|EncryptionFailure|KMSAccessDenied|KMSNotFound|KMS\\.",
        "Check the KMS key: it must be enabled, and its policy and the target role's must allow its use.",
    ),
    _row(
        DENIED.pattern,
        "A Deny in a policy of the kind that the message names stands before this: change that policy; to allow the "
        "action elsewhere does not help.",
        said="(?i)explicit deny",
    ),
    _row(
        DENIED.pattern,
        "Allow the target role kms:Decrypt (to write also kms:GenerateDataKey) on the key, and let it in by the key's "
        "policy.",
        said=r"(?i)access to kms is not allowed|ciphertext|\bkms key\b",
    ),
    _row(
        DENIED.pattern,
        "Grant the target role the IAM action named in the message.",
        said=r"(?<![\w:/.-])[a-z][a-z0-9-]+:[A-Z*]\w*",
    ),
    _row(
        DENIED.pattern,
        "The message names no action: compare the target role's policies, the resource's own and the organization's "
        "with what this tool needs.",
    ),
    _row("InvalidObjectState", "The object is archived: restore it first; head_object tells how far that is."),
    _row(
        "PermanentRedirect|TemporaryRedirect|IllegalLocationConstraint", "Name the region in which the bucket stands."
    ),
    _row("OptInRequired|RegionDisabled|SubscriptionRequired", "Enable the region or service in the account."),
    _row("PreconditionFailed|ConditionalRequestConflict", "It exists already or has changed: look at it as it is now."),
    _row(MISSING.pattern, "Check the name, the account and the region; list what exists there."),
    _row("Exists|Duplicate", "Choose another name, or update what exists."),
    _row(
        "InvalidRequest|InvalidState|Conflict|NotEmpty|DependencyViolation|IncorrectState|InUse|MethodNotAllowed", _LOOK
    ),
)


@dataclass(frozen=True)
class Meaning:
    """Whether to send a request again that failed so, and what to do."""

    retryable: bool
    next_step: str


def meaning(code: str, message: str, status: int) -> Meaning:
    """Return what a code of AWS's, with its message and HTTP status, means."""
    fits = (row for row in TABLE if row.codes.search(code) and (row.said is None or row.said.search(message)))
    row = next(fits, Row(re.compile(""), _CORRECT))
    if row.retryable or row.next_step == _QUOTA or not (status >= 500 or status == 429):
        return Meaning(row.retryable, row.next_step)
    return Meaning(True, _LATER if status == 429 else _AGAIN)


_HIDDEN = "To who lacks s3:ListBucket on the bucket, S3 says the same of a key that does not exist."
# HTTP status -> the code that AWS gives it where an answer has a body, what it can mean, and what to do.
_WITHOUT_BODY: Mapping[int, tuple[str, str, str | None]] = {
    301: ("PermanentRedirect", "The bucket is in another region.", None),
    304: ("NotModified", "It has not changed.", "Use what you have."),
    307: ("TemporaryRedirect", "The bucket is reached elsewhere just now.", None),
    400: (
        "BadRequest",
        "AWS does not say why; an object under a customer's own key (SSE-C) is answered so without that key.",
        "Check the arguments; an object under a customer's key cannot be read here.",
    ),
    403: ("AccessDenied", "AWS does not say why.", None),
    404: ("NotFound", "It does not exist.", None),
    405: ("MethodNotAllowed", "This cannot be done to it.", None),
    409: ("Conflict", "Its state does not admit this.", None),
    412: ("PreconditionFailed", "It is not, or no longer, as the request asked.", None),
    416: ("InvalidRange", "The object ends before the range.", "Ask for a range within the object."),
    501: ("NotImplemented", "The endpoint does not know this operation.", "Use another tool."),
}


def without_body(status: int, headers: Mapping[str, str], operation: str) -> tuple[str, str, str | None]:
    """Return the code, sentence and next step of a refusal of which AWS tells the status alone."""
    code, sentence, step = _WITHOUT_BODY.get(status, ("UnknownError", f"AWS answered with HTTP status {status}.", None))
    if status >= 500 and code == "UnknownError":
        code = "InternalFailure"
    elif status == 429:
        code = "TooManyRequests"
    if (deleted := of_a_delete_marker(code, headers)) is not None:
        return code, *deleted
    if status == 403 and operation in ("HeadObject", "GetObject", "GetObjectTagging", "GetObjectAttributes"):
        return (
            code,
            f"{sentence} {_HIDDEN}",
            "Grant the target role s3:GetObject, and s3:ListBucket to tell the two apart.",
        )
    return code, sentence, step


def of_a_delete_marker(code: str, headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Return what S3 means where it refuses beside the header of a delete marker; None of anything else."""
    if headers.get("x-amz-delete-marker") != "true":
        return None
    if code == "MethodNotAllowed":
        return (
            "That version is a delete marker, which has no content.",
            "list_object_versions names the versions that have; delete_object of the marker brings the object back.",
        )
    return (
        "The object is deleted: its latest version is a delete marker.",
        "list_object_versions names the versions that are left; restore_object_version brings one back.",
    )
