"""Every failure this server answers with, and the one border where botocore's become ours.

AWSOpsError
├── ConfigurationError       the server cannot start as it is configured
├── Refusal                  we said no, before any AWS call
│   ├── InvalidParameter  UnknownAccount  RoleNotAllowed  ProfileNotAllowed  RegionNotAllowed
│   ├── AccountNotAllowed  ScopeRequired  NoCredentials  InvalidConfiguration
│   ├── RateLimited  ShuttingDown  AuditUnavailable
│   └── ConfirmationRequired  ConfirmationInvalid  VersionConflict
├── DeadlineExceeded         time ran out, and nothing was changed
├── OutcomeUnknown           a change may have reached AWS; its answer did not reach us
├── AWSError                 AWS said no; `code` is AWS's own
│   └── IncompleteAnswer     its answer lacks what it should have
└── InternalError            a fault of ours
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from aws_codes import DENIED, MISSING, meaning, of_a_delete_marker, without_body
from aws_failures import KINDS, Kind, words_for
from aws_transport import CHECK_BUNDLE, UNREACHABLE, never_reached_aws, words_for_transport
from plain_words import printable

_UNREADABLE = {
    "DuplicateSectionError": "a section stands twice",
    "DuplicateOptionError": "a member stands twice in its section",
    "MissingSectionHeaderError": "a line stands before the first section; a byte order mark counts as one",
    "ParsingError": "a line is neither a section nor a member",
    "UnicodeDecodeError": "it is not UTF-8",
}


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


class UnreadableConfiguration(NoCredentials):
    """The host's AWS configuration cannot be read, so no profile can be used.

    Args:
        path: Of the file; for the operator, never for a caller.
        problem: What is wrong with it; quotes nothing.
        line: Where, if that is known.
    """

    def __init__(self, path: str, problem: str, line: int | None = None) -> None:
        super().__init__(
            "The host's AWS configuration cannot be read, so no profile can be used.",
            next_step="The server's operator sees the file and the line with `python server.py --check`.",
        )
        self.where = f"{path}{f', line {line}' if line else ''}: {problem}"

    @classmethod
    def of(cls, error: Exception, path: str) -> UnreadableConfiguration:
        """Return what an exception of botocore's reading of the files says; configparser's own stands within it."""
        details = getattr(error, "kwargs", {})
        inner = details.get("error") or error
        line = getattr(inner, "lineno", None) or next((number for number, _ in getattr(inner, "errors", [])), None)
        problem = _UNREADABLE.get(type(inner).__name__, "it is not understood")
        return cls(str(details.get("path") or path), problem, line if isinstance(line, int) else None)


class InvalidConfiguration(Refusal):
    """A setting of the host's AWS configuration keeps a request from being made."""

    code = "InvalidConfiguration"


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


class AWSError(AWSOpsError):
    """AWS refused or failed. The code, text and request id are AWS's own.

    Args:
        definite: Whether the request that failed had no effect: AWS said no, or never got it.
        theirs: The part of the message that AWS wrote, as AWS wrote it; a submitted secret may stand in it.
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
        theirs: str = "",
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.definite, self._theirs = definite, theirs
        self._code = code
        self._request_id = request_id
        self.retryable = retryable

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Have what AWS wrote changed, such as a secret taken out; our own words about it stand."""
        if shown := _shown(self._theirs):
            self.message = self.message.replace(shown, _shown(change(self._theirs)))

    @property
    def error_code(self) -> str:
        return self._code

    @property
    def request_id(self) -> str | None:
        return self._request_id


class IncompleteAnswer(AWSError, KeyError, IndexError):
    """AWS's answer lacks a member that it should have, or holds another kind of thing in its place.

    Raised by what reads answers, and by nothing else: a KeyError of our own is a fault of ours.
    """

    def __init__(self) -> None:
        super().__init__(
            "ServiceUnavailable",
            "AWS's answer was incomplete or not understood.",
            retryable=True,
            definite=False,
            next_step=UNREACHABLE,
        )


_CODE = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_MOST_CHARACTERS = 16_000  # of AWS's text; an encoded authorization message has up to 10,240
_PAGE = re.compile(r"\s*<[!?a-z]", re.IGNORECASE)


def translate(error: BaseException) -> AWSOpsError:
    """Return the failure that stands for an exception. The only place that knows botocore's exceptions."""
    if isinstance(error, AWSOpsError):
        return error
    names = tuple(cls.__name__ for cls in type(error).__mro__ if cls.__module__.startswith("botocore."))
    kind = next((KINDS[name] for name in names if name in KINDS), Kind.OURS)
    if kind is Kind.ANSWER:
        return _from_client_error(error)
    if kind is Kind.TRANSPORT:
        return _from_transport(error)
    if kind is Kind.OURS:
        return InternalError("The server failed to answer; its log has the details under this request.")
    message, next_step = words_for(names, kind)
    if kind is Kind.BUSY:
        return AWSError("TooManyRequests", message, retryable=True, next_step=next_step)
    return _REFUSALS[kind](message, next_step=next_step)


_REFUSALS: dict[Kind, type[Refusal]] = {
    Kind.CREDENTIALS: NoCredentials,
    Kind.CONFIGURATION: InvalidConfiguration,
    Kind.ARGUMENT: InvalidParameter,
}


def _from_client_error(failed: Any) -> AWSError:
    error, metadata = failed.response.get("Error", {}), failed.response.get("ResponseMetadata", {})
    code, message = str(error.get("Code") or ""), str(error.get("Message") or "")
    status = int(metadata.get("HTTPStatusCode") or 0)
    headers = metadata.get("HTTPHeaders") or {}
    theirs, next_step = "", None
    if _PAGE.match(message) or (code and not code.isdigit() and not _CODE.fullmatch(code)):
        # No error of an AWS API, but a page of whatever stands before it.
        code = "InternalFailure" if status >= 500 else "TooManyRequests" if status == 429 else "UnknownError"
        message = f"AWS answered with HTTP status {status}."
    elif not code or code.isdigit():  # an answer to HEAD has no body, so botocore has the status alone for a code
        code, message, next_step = without_body(status, headers, str(failed.operation_name))
    else:
        if "Signature" in code:  # what follows is the request as AWS saw it, session token and all
            message = message.split("\n")[0]
        theirs, message = message, _shown(message)
        if (deleted := of_a_delete_marker(code, headers)) is not None:
            (message, next_step), theirs = deleted, ""
    told = meaning(code, message, status)
    return AWSError(
        code,
        message or f"AWS answered {code}.",
        retryable=told.retryable,
        request_id=printable(str(metadata.get("RequestId") or ""))[:128] or None,
        next_step=next_step or told.next_step,
        theirs=theirs,
    )


def _shown(theirs: str) -> str:
    """Return AWS's text as one printable line, cut where it would fill the caller's context."""
    line = printable(theirs)
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]} [cut]"


def _from_transport(error: BaseException) -> AWSError:
    unsent, (message, next_step, retryable) = never_reached_aws(error), words_for_transport(error)
    return AWSError(
        "ServiceUnavailable" if retryable else "TLSError" if "certificate" in next_step else "RequestNotSent",
        message,
        retryable=retryable,
        definite=unsent,
        next_step=next_step,
    )


def unusable(error: Exception) -> AWSOpsError:
    """Return what keeps a client from being made: a setting of the host's, of which botocore says little."""
    if isinstance(failure := translate(error), Refusal):
        return failure
    if isinstance(error, OSError):
        return InvalidConfiguration("The CA bundle cannot be read.", next_step=CHECK_BUNDLE)
    if "endpoint" in str(error):
        return InvalidConfiguration(
            "An endpoint in the environment or the AWS configuration is no URL.",
            next_step="Check AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE> and endpoint_url: each begins with https://.",
        )
    message, next_step = words_for((), Kind.CONFIGURATION)
    return InvalidConfiguration(message, next_step=next_step)


def header_of(error: BaseException, name: str) -> str | None:
    """Return a header of the answer in which AWS refused, if it has one."""
    metadata = (getattr(error, "response", None) or {}).get("ResponseMetadata", {})
    value = metadata.get("HTTPHeaders", {}).get(name)
    return str(value) if value else None


def after(done: Sequence[str], error: BaseException) -> AWSOpsError:
    """Return the failure of an act of several steps, saying which of them had been taken."""
    failure = translate(error)
    if done:
        dot = "" if failure.message.endswith(".") else "."
        failure.message = f"{failure.message}{dot} Done before that: {', '.join(done)}."
    return failure


def is_missing(failure: AWSOpsError) -> bool:
    """Tell whether AWS said that the resource does not exist."""
    return MISSING.search(failure.error_code) is not None


def is_denial(failure: AWSOpsError) -> bool:
    """Tell whether AWS refused for want of permission."""
    return DENIED.search(failure.error_code) is not None
