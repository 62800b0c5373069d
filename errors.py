"""Every failure this server answers with, and the one border where botocore's become ours.

AWSOpsError
├── ConfigurationError       the server cannot start as it is configured
├── Refusal                  we said no, before any AWS call
│   ├── InvalidParameter  UnknownAccount  RoleNotAllowed  ProfileNotAllowed  RegionNotAllowed
│   ├── AccountNotAllowed  ScopeRequired  NoCredentials  RateLimited  ShuttingDown  AuditUnavailable
│   └── ConfirmationRequired  ConfirmationInvalid  VersionConflict
├── DeadlineExceeded         time ran out, and nothing was changed
├── OutcomeUnknown           a change may have reached AWS; its answer did not reach us
├── AWSError                 AWS said no; `code` is AWS's own
└── InternalError            a fault of ours
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import ValidationError


class AWSOpsError(Exception):
    """A failure with a code, a sentence, and what to do next.

    Args:
        message: One sentence for a person; never holds a submitted secret.
        next_step: What the caller can do about it, where that is not the class's usual answer.
        details: Further fields of the failure payload (`plan`, `confirm`, `retry_after`).
    """

    code: ClassVar[str] = "InternalError"
    usual_next_step: ClassVar[str | None] = None
    retryable: bool = False

    def __init__(self, message: str, *, next_step: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step or self.usual_next_step
        self.details = details

    @property
    def error_code(self) -> str:
        """The code in the failure payload."""
        return self.code

    @property
    def request_id(self) -> str | None:
        """AWS's request id, where AWS answered."""
        return None

    def payload(self, account: str | None, region: str | None) -> dict[str, Any]:
        """Return the contract's failure payload."""
        return {
            "success": False,
            "error_code": self.error_code,
            "message": self.message,
            "next_step": self.next_step,
            "retryable": self.retryable,
            "request_id": self.request_id,
            "account": account,
            "region": region,
            **self.details,
        }


class ConfigurationError(AWSOpsError):
    """The configuration names something that cannot be used; the message names the variable or file."""

    code = "ConfigurationError"


class Refusal(AWSOpsError):
    """We said no. Nothing reached AWS."""

    code = "InvalidParameter"


class InvalidParameter(Refusal):
    code = "InvalidParameter"
    usual_next_step = "Correct it and call again."


class UnknownAccount(Refusal):
    code = "UnknownAccount"


class RoleNotAllowed(Refusal):
    code = "RoleNotAllowed"


class ProfileNotAllowed(Refusal):
    code = "ProfileNotAllowed"


class RegionNotAllowed(Refusal):
    code = "RegionNotAllowed"


class AccountNotAllowed(Refusal):
    code = "AccountNotAllowed"


class ScopeRequired(Refusal):
    code = "ScopeRequired"


class NoCredentials(Refusal):
    code = "NoCredentials"


class RateLimited(Refusal):
    code = "RateLimited"
    retryable = True


class ShuttingDown(Refusal):
    code = "ShuttingDown"
    retryable = True


class AuditUnavailable(Refusal):
    code = "AuditUnavailable"
    retryable = True


class ConfirmationRequired(Refusal):
    code = "ConfirmationRequired"


class ConfirmationInvalid(Refusal):
    code = "ConfirmationInvalid"


class VersionConflict(Refusal):
    code = "VersionConflict"


class DeadlineExceeded(AWSOpsError):
    code = "DeadlineExceeded"
    retryable = True


class OutcomeUnknown(AWSOpsError):
    code = "OutcomeUnknown"


class InternalError(AWSOpsError):
    code = "InternalError"
    usual_next_step = "Tell the server's operator this request_id."


# What reading a member that AWS's answer lacks raises: a model, or a plain look-up.
INCOMPLETE = (ValidationError, KeyError)


class AWSError(AWSOpsError):
    """AWS refused or failed. The code, text and request id are AWS's own.

    Args:
        definite: Whether the request that failed had no effect: AWS said no, or never got it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool,
        definite: bool = True,
        request_id: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.definite = definite
        self._code = code
        self._request_id = request_id
        self.retryable = retryable

    @property
    def error_code(self) -> str:
        return self._code

    @property
    def request_id(self) -> str | None:
        return self._request_id


_NEXT_STEPS = tuple(
    (re.compile(codes), step)
    for codes, step in (
        ("AccessDenied|Unauthorized|NotAuthorized", "Grant the target role the IAM action named in the message."),
        (
            "ExpiredToken|InvalidClientToken|SignatureDoesNotMatch|UnrecognizedClient",
            "Check the server's own credentials and clock: run `python server.py --check`.",
        ),
        ("Throttl|TooManyRequests|RequestLimit|SlowDown|LimitExceeded", "Wait and retry; ask for less at a time."),
        ("PreconditionFailed|ConditionalRequestConflict", "It exists already or has changed: look at it as it is now."),
        ("ResourceNotFound|NoSuch|NotFound", "Check the name, the account and the region; list what exists there."),
        ("ResourceExists|AlreadyExists", "Choose another name, or update what exists."),
        ("InvalidRequest|InvalidState|Conflict", "Describe the resource to see its state, then retry."),
    )
)
_RETRYABLE_CODES = re.compile(
    "Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|ServiceUnavailable|"
    "InternalFailure|InternalServiceError|InternalError|PriorRequestNotComplete"
)
# An answer to HEAD has no body, so botocore has the status alone for a code.
_OF_A_HEAD = {"403": "AccessDenied", "404": "NotFound", "412": "PreconditionFailed"}
_PAGE = re.compile(r"\s*<[!?a-z]", re.IGNORECASE)
_UNREACHABLE_NEXT_STEP = "Retry; if it persists check the network path and VPC endpoints to AWS."


def translate(error: BaseException) -> AWSOpsError:
    """Return the failure that stands for an exception. The only place that knows botocore's exceptions.

    A class is told by its type: botocore's ReadTimeoutError has a `.response` that is None.
    """
    import botocore.exceptions as aws

    if isinstance(error, AWSOpsError):
        return error
    if isinstance(error, aws.ClientError):
        return _from_client_error(error.response)
    if isinstance(error, aws.ParamValidationError):
        return InvalidParameter("AWS's API model does not admit these arguments.")
    if isinstance(error, aws.ProfileNotFound):
        return NoCredentials(
            "The profile is not in the host's AWS configuration.", next_step="Check AWS_PROFILE and ~/.aws/config."
        )
    if isinstance(error, _credential_errors(aws)):
        return NoCredentials(
            "No AWS credentials could be had for this identity.",
            next_step="Check the server's credentials (IRSA, profile, SSO login) with `python server.py --check`.",
        )
    if isinstance(error, (aws.HTTPClientError, aws.ConnectionError, *_half_read(aws))):
        return AWSError(
            "ServiceUnavailable",
            f"{_describe_transport(error)}.",
            retryable=True,
            definite=never_reached_aws(error),
            next_step=_UNREACHABLE_NEXT_STEP,
        )
    return InternalError("The server failed to answer; its log has the details under this request.")


def _from_client_error(response: Any) -> AWSError:
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    code = str(error.get("Code") or "Unknown")
    status = int(metadata.get("HTTPStatusCode") or 0)
    message = str(error.get("Message") or f"AWS answered {code}.")
    if "Signature" in code:  # what follows is the request as AWS saw it, session token and all
        message = message.split("\n")[0]
    if "<" not in message and code in _OF_A_HEAD:
        code, message = _OF_A_HEAD[code], f"{message}."
    elif (
        code.isdigit() or not error.get("Code") or _PAGE.match(message)
    ):  # no error of an AWS API, but a page of whatever stands before it
        code, message = (
            "InternalFailure" if status >= 500 else "TooManyRequests" if status == 429 else "UnknownError",
            f"AWS answered with HTTP status {status}.",
        )
    retryable = status >= 500 or status == 429 or bool(_RETRYABLE_CODES.search(code))
    otherwise = "Retry in a moment." if retryable else "Correct what the message names and call again."
    return AWSError(
        code,
        message,
        retryable=retryable,
        request_id=metadata.get("RequestId"),
        next_step=next((step for pattern, step in _NEXT_STEPS if pattern.search(code)), otherwise),
    )


def _half_read(aws: Any) -> tuple[type[Exception], ...]:
    """What an answer raises that is not all there, or not what it claims to be."""
    from botocore.parsers import ResponseParserError

    return (ResponseParserError, aws.IncompleteReadError, aws.FlexibleChecksumError, *INCOMPLETE)


def _credential_errors(aws: Any) -> tuple[type[Exception], ...]:
    return (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.CredentialRetrievalError,
        aws.MetadataRetrievalError,
        aws.TokenRetrievalError,
        aws.SSOError,
        aws.InvalidConfigError,
        aws.ConfigParseError,
        aws.UnauthorizedSSOTokenError,
    )


def _describe_transport(error: BaseException) -> str:
    import botocore.exceptions as aws

    if isinstance(error, (aws.ConnectTimeoutError, aws.ReadTimeoutError)):
        return "AWS did not answer in time"
    if isinstance(error, aws.EndpointConnectionError):
        return "AWS could not be reached"
    if isinstance(error, (aws.HTTPClientError, aws.ConnectionError, aws.IncompleteReadError)):
        return "The connection to AWS broke"
    return "AWS's answer was incomplete or not understood"


def broken_connection(url: str) -> Exception:
    """Return botocore's own error for a connection that closed before the answer was whole."""
    import botocore.exceptions as aws

    closed: Exception = aws.ConnectionClosedError(endpoint_url=url)
    return closed


def header_of(error: BaseException, name: str) -> str | None:
    """Return a header of the answer in which AWS refused, if it has one."""
    metadata = (getattr(error, "response", None) or {}).get("ResponseMetadata", {})
    value = metadata.get("HTTPHeaders", {}).get(name)
    return str(value) if value else None


def after(done: Sequence[str], error: BaseException) -> AWSOpsError:
    """Return the failure of an act of several steps, saying which of them had been taken."""
    failure = translate(error)
    if done:
        failure.message = f"{failure.message.rstrip('. ')}. Done before that: {', '.join(done)}."
    return failure


def timed_out(url: str) -> Exception:
    """Return botocore's own error for an answer that did not come in time."""
    import botocore.exceptions as aws

    late: Exception = aws.ReadTimeoutError(endpoint_url=url)
    return late


def broken_read(url: str, error: Exception) -> Exception:
    """Return botocore's own error for what its HTTP library raises while a body is read."""
    from urllib3.exceptions import ReadTimeoutError

    return timed_out(url) if isinstance(error, ReadTimeoutError) else broken_connection(url)


def is_missing(failure: AWSOpsError) -> bool:
    """Tell whether AWS said that the resource does not exist."""
    return bool(re.search("NotFound|NoSuch", failure.error_code))


def is_denial(failure: AWSOpsError) -> bool:
    """Tell whether AWS refused for want of permission."""
    return bool(re.search("AccessDenied|Unauthorized|NotAuthorized", failure.error_code))


def never_reached_aws(error: BaseException | None) -> bool:
    """Tell whether a transport error happened before the request left this machine."""
    import botocore.exceptions as aws

    return isinstance(error, (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError))


def is_unanswered(error: BaseException) -> bool:
    """Tell whether a transport error leaves open what became of a request."""
    import botocore.exceptions as aws

    return isinstance(error, (aws.HTTPClientError, aws.ConnectionError)) and not never_reached_aws(error)
