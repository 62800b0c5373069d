"""moto on a loopback port of this process: the AWS behind the stand-in's default mode."""

from __future__ import annotations

import asyncio
import importlib
import logging
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from tests.standin.reading import presigned_credential
from tests.standin.records import Call
from tests.standin.wire import Answer, Request

# Loaded before the first request, which a test may give little time.
_WARM = ("sts", "iam", "secretsmanager", "route53", "s3", "ec2")

# These belong to one connection (RFC 9110, 7.6.1) or were dealt with when the request was read.
_HOP_BY_HOP = ("connection", "keep-alive", "transfer-encoding", "expect", "content-length", "te", "trailer", "upgrade")


class EmbeddedAWS:
    """Passes requests on to moto with their original headers, and its answers back as they are."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        for service in _WARM:
            importlib.import_module(f"moto.{service}.urls")
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self._host, self._port = self._server.get_host_and_port()
        self._threads = ThreadPoolExecutor(64, "moto-call")

    async def answer(self, request: Request, call: Call) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._forward, request)

    async def reset(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, _reset_moto)

    def _forward(self, request: Request) -> Answer:
        connection = HTTPConnection(self._host, self._port)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in _HOP_BY_HOP:
                    connection.putheader(name, value.encode("latin-1"))
            # moto overlooks who presigned a URL: it would be the default account's, and S3's.
            if scope := presigned_credential(request):
                connection.putheader("Authorization", f"AWS4-HMAC-SHA256 Credential={scope}")
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            response = connection.getresponse()
            headers = [(n, v) for n, v in response.getheaders() if n.lower() not in ("connection", "transfer-encoding")]
            return Answer(response.status, headers, response.read(), response.reason)
        finally:
            connection.close()


def _reset_moto() -> None:
    """Empty moto, except for the keys STS issued: forgotten, they would sign as the default account from then on."""
    from moto.iam.models import iam_backends
    from moto.moto_api._internal.models import moto_api_backend
    from moto.sts.models import sts_backends

    assumed = [
        (account, partition, role)
        for account, partitions in list(sts_backends.items())
        for partition, backend in list(partitions.items())
        for role in backend.assumed_roles
    ]
    moto_api_backend.reset()
    for account, partition, role in assumed:
        sts_backends[account][partition].assumed_roles.append(role)
        iam_backends[account][partition].access_keys[role.access_key_id] = role.access_key
