"""What a model reads of a day's work with secrets: by the tools that show no value, and by those that do."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import anyio

from tests.conftest import TOKEN, aws_environment, forget_everything, running
from tests.services import secret_day as day

CHARACTERS_PER_TOKEN = 4
# A certificate with its key, as many a secret holds: 3 KB of base64.
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n" + "\n".join(["MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQ"] * 60)


@dataclass
class Transcript:
    """A day's requests and results as a model reads them: the tool, its arguments, the result's text."""

    calls: int = 0
    texts: list[str] = field(default_factory=list)
    canaries: set[str] = field(default_factory=set)

    @property
    def tokens(self) -> int:
        return sum(map(len, self.texts)) // CHARACTERS_PER_TOKEN

    @property
    def shown(self) -> int:
        """How many of the values that were held at any time stand in it, in whichever form."""
        return day.hits(self.canaries, "\n".join(self.texts))


async def played(work: Any, certificate: str, url: str) -> Transcript:
    """Play a day on a fresh AWS, and return its transcript."""
    forget_everything(url)
    transcript = Transcript()
    day.seed(certificate)
    day.has_a_function("legacy/api")
    async with running(ACCOUNT_DEVELOPMENT_ROLE_ARN=day.DEVELOPMENT) as server, server.session(token=TOKEN) as session:

        async def call(tool: str, **arguments: Any) -> Any:
            transcript.canaries |= day.values_held()
            answer = await session(tool, **arguments)
            assert not answer.is_error, (tool, answer.text)
            transcript.calls += 1
            transcript.texts += [tool, json.dumps(arguments, ensure_ascii=False), answer.text]
            transcript.canaries |= day.values_held()
            return answer

        await work(call)
    return transcript


def main() -> None:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    aws = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    aws.start()
    url = "http://{}:{}".format(*aws.get_host_and_port())
    print("| secrets of the day | tools | calls | tokens | values shown, of those held |")
    print("|---|---|---|---|---|")
    with patch.dict(os.environ, aws_environment(url)), day.rotating():
        for name, certificate in (("passwords", ""), ("one with a certificate", CERTIFICATE)):
            for tools, work in (("unseen", day.unseen_day), ("plaintext", day.plain_day)):
                seen = anyio.run(played, work, certificate, url)
                print(f"| {name} | {tools} | {seen.calls} | {seen.tokens:,} | {seen.shown} of {len(seen.canaries)} |")
    aws.stop()


if __name__ == "__main__":
    main()
