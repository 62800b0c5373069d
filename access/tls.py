"""One TLS context for all clients.

botocore has one for each, and its HTTP library reads the CA bundle into it for every connection: 1 MB and some 15 ms of
the processor a client, most of what a call to an account that is new costs us.
"""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from typing import Any

from botocore.httpsession import create_urllib3_context, get_cert_path


def share_tls(client: Any) -> None:
    """Let a client's connections verify with the shared context. Verification itself is as botocore has it."""
    session = client._endpoint.http_session
    if not session._verify or not str(client.meta.endpoint_url).lower().startswith("https"):
        return
    path = str(get_cert_path(session._verify))
    if not os.path.isfile(path):
        return  # a directory, or a mistake that botocore is to speak of
    context = _verifying(path, os.stat(path).st_mtime_ns)

    def set_up(connections: Any, _url: str, _verify: Any) -> None:
        connections.cert_reqs, connections.ca_certs = "CERT_REQUIRED", None  # the bundle is in the context

    session._get_ssl_context = lambda: context  # a proxy's manager is made when it is needed
    session._manager.connection_pool_kw["ssl_context"] = context
    session._setup_ssl_cert = set_up


@lru_cache(maxsize=8)
def _verifying(path: str, _modified: int) -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    context.load_verify_locations(path)
    return context
