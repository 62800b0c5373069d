"""One server with every tool for a whole file of tests; the AWS behind it is empty for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import Server, Session, aws_environment, forget_everything, know_only, running
from tests.contract import all_tools
from tests.declared import FREE, needed
from tests.services.strict_route53 import StrictRoute53, strict_route53
from tests.standin import Standin

DECLARED = {name: set(tool.spec.actions) for name, (_, tool) in all_tools().items()}


@pytest.fixture(scope="module")
def environment(moto_url: str) -> Iterator[None]:
    """An environment in which botocore knows the in-process AWS alone."""
    with pytest.MonkeyPatch.context() as patch:
        know_only(patch, **aws_environment(moto_url))
        yield


@pytest.fixture(scope="module")
async def server(environment: None) -> AsyncIterator[Server]:
    async with running(TOOLSETS="all") as started:
        yield started


@pytest.fixture
def empty_aws(environment: None, moto_url: str) -> None:
    forget_everything(moto_url)


@pytest.fixture(scope="module")
def faults() -> Iterator[Standin]:
    """An AWS that fails when told to."""
    with Standin() as standin:
        yield standin


@pytest.fixture
async def faulty(faults: Standin, aws: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Session]:
    """A session with a server in front of that AWS."""
    for name, setting in aws_environment(faults.url).items():
        monkeypatch.setenv(name, setting)
    faults.reset()
    async with running(CALL_DEADLINE_SECONDS="20") as server, server.session() as session:
        yield session


@pytest.fixture(scope="module")
def strict(environment: None) -> Iterator[StrictRoute53]:
    """A Route 53 that takes changes in an order that works alone."""
    zone = StrictRoute53()
    with strict_route53(zone) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_ROUTE_53", url)
        yield zone


@pytest.fixture(scope="module")
async def started(strict: StrictRoute53) -> AsyncIterator[Server]:
    """A server in front of it."""
    async with running(TOOLSETS="route53") as server:
        yield server


@pytest.fixture
def zone(strict: StrictRoute53) -> StrictRoute53:
    return strict.forget()


@pytest.fixture
async def empty(zone: StrictRoute53, started: Server) -> AsyncIterator[Session]:
    async with started.session() as session:
        yield session


@pytest.fixture(autouse=True)
def needs_no_more_than_it_declares() -> Iterator[None]:
    """Hold every tool called in these tests to the IAM actions that it declares."""
    with needed() as found:
        yield
    undeclared = {name: actions - DECLARED[name] - FREE for name, actions in found.items()}
    assert not {name: actions for name, actions in undeclared.items() if actions}, (
        "declare these actions beside the tool: the README's policy and the session policies are made of them"
    )
