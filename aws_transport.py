"""What breaks between us and AWS: whether the request had left, and what to do. Knows botocore's exceptions for it."""

from __future__ import annotations

import ssl
import traceback
from collections.abc import Iterator

UNREACHABLE = "Retry; if it persists check the network path and VPC endpoints to AWS."
CHECK_BUNDLE = (
    "Set AWS_CA_BUNDLE to a readable file of the certificates that sign the endpoint's certificate, or your proxy's."
)
_UNTRUSTED = ("The certificate of AWS's endpoint, or of a proxy before it, is not trusted here.", CHECK_BUNDLE, False)
_UNREADABLE = ("The CA bundle cannot be read.", CHECK_BUNDLE, False)
_NO_TLS = (
    "TLS could not be set up with AWS's endpoint.",
    f"Check endpoint_url and AWS_ENDPOINT_URL. {CHECK_BUNDLE}",
    False,
)
_CHECK_PROXY = "Check HTTPS_PROXY, HTTP_PROXY, NO_PROXY and AWS_ENDPOINT_URL."
# Who writes a request, and who reads the answer.
_SENDING = {
    (module, name)
    for module in ("urllib3.connection", "botocore.awsrequest", "http.client", "urllib3.response")
    for name in ("request", "request_chunked", "getresponse", "read", "stream")
}


def words_for_transport(error: BaseException) -> tuple[str, str, bool]:
    """Return what broke, what to do, and whether to try again."""
    import botocore.exceptions as aws

    if never_reached_aws(error):
        if isinstance(error, aws.SSLError):
            return _words_for_tls(error)
        if isinstance(error, aws.ProxyConnectionError):
            said = " ".join(str(cause) for cause in _causes(error))
            return "The proxy did not let the request through.", _CHECK_PROXY, "Tunnel connection failed: 4" not in said
        if type(error) is aws.HTTPClientError:  # what its library cannot even begin
            unread = any(isinstance(cause, OSError) for cause in _causes(error))
            return _UNREADABLE if unread else ("The request could not be sent.", _CHECK_PROXY, False)
    if isinstance(error, (aws.ConnectTimeoutError, aws.ReadTimeoutError)):
        return "AWS did not answer in time.", UNREACHABLE, True
    if isinstance(error, aws.EndpointConnectionError):
        return "AWS could not be reached.", UNREACHABLE, True
    if isinstance(error, (aws.HTTPClientError, aws.ConnectionError, aws.IncompleteReadError)):
        return "The connection to AWS broke.", UNREACHABLE, True
    return "AWS's answer was incomplete or not understood.", UNREACHABLE, True


def _words_for_tls(error: BaseException) -> tuple[str, str, bool]:
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return _UNTRUSTED
    return _UNREADABLE if any(isinstance(cause, FileNotFoundError) for cause in causes) else _NO_TLS


def never_reached_aws(error: BaseException | None) -> bool:
    """Tell whether a transport error happened before the first byte of the request left this machine."""
    import botocore.exceptions as aws

    if isinstance(error, (aws.EndpointConnectionError, aws.ConnectTimeoutError, aws.ProxyConnectionError)):
        return True
    return isinstance(error, (aws.HTTPClientError, aws.ConnectionError)) and _failed_before_sending(error)


def _failed_before_sending(error: BaseException) -> bool:
    """Tell by where it was raised: within botocore's `send`, but not while a request was written or answered."""
    places = {
        (frame.f_globals.get("__name__"), frame.f_code.co_name)
        for cause in _causes(error)
        for frame, _ in traceback.walk_tb(cause.__traceback__)
    }
    return ("botocore.httpsession", "send") in places and not places & _SENDING


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it came from."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        yield error
        if (before := error.__cause__ or error.__context__) is None:
            return
        error = before


def is_unanswered(error: BaseException) -> bool:
    """Tell whether a transport error leaves open what became of a request."""
    import botocore.exceptions as aws

    return isinstance(error, (aws.HTTPClientError, aws.ConnectionError)) and not never_reached_aws(error)


def broken_connection(url: str) -> Exception:
    """Return botocore's own error for a connection that closed before the answer was whole."""
    import botocore.exceptions as aws

    closed: Exception = aws.ConnectionClosedError(endpoint_url=url)
    return closed


def timed_out(url: str) -> Exception:
    """Return botocore's own error for an answer that did not come in time."""
    import botocore.exceptions as aws

    late: Exception = aws.ReadTimeoutError(endpoint_url=url)
    return late


def broken_read(url: str, error: Exception) -> Exception:
    """Return botocore's own error for what its HTTP library raises while a body is read."""
    from urllib3.exceptions import ReadTimeoutError

    return timed_out(url) if isinstance(error, ReadTimeoutError) else broken_connection(url)
