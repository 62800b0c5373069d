"""One server with every tool for a whole file of tests; the AWS behind it is empty for each of them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import Server, aws_environment, forget_everything, running
from tests.declared import undeclared


@pytest.fixture(scope="module")
def environment(moto_url: str) -> Iterator[None]:
    """An environment in which botocore knows the in-process AWS alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "ACCOUNT_", "MCP_"))]:
            patch.delenv(name)
        for name, value in aws_environment(moto_url).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
async def server(environment: None) -> AsyncIterator[Server]:
    async with running(TOOLSETS="all") as started:
        yield started


@pytest.fixture
def empty_aws(environment: None, moto_url: str) -> None:
    forget_everything(moto_url)


@pytest.fixture(autouse=True)
def needs_no_more_than_it_declares() -> Iterator[None]:
    """Hold every tool called in these tests to the IAM actions that it declares."""
    with undeclared() as found:
        yield
    assert not found, (
        "declare these actions beside the tool: the README's policy and the session policies are made of them"
    )
