"""Clients built on Node keep no cookies: through the balancer they find their session's replica by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.clients.conftest import Run
from tests.clients.test_typescript import SCRIPT
from tests.conftest import TOKEN
from tests.standin import Standin
from tests.test_replicas import Cluster, balanced

pytestmark = pytest.mark.balancer
SUCCESSES = 2  # of the script's calls


@pytest.fixture(scope="module")
def cluster(standin: Standin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with balanced(standin, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.mark.parametrize("path", ["sse", "mcp"])
@pytest.mark.parametrize("generation", ["sdk", "client"])
def test_a_typescript_sdks_requests_go_to_the_replica_that_holds_its_session(
    cluster: Cluster, node: Run, generation: str, path: str
) -> None:
    before = cluster.answered().total()
    arguments = (SCRIPT, generation, {"sse": "sse", "mcp": "http"}[path], f"http://127.0.0.1:{cluster.port}/{path}")
    with ThreadPoolExecutor(4) as threads:
        for ended in threads.map(lambda _: node(*arguments, MCP_AUTH_TOKEN=TOKEN), range(4)):
            assert ended.returncode == 0, ended.stderr
            assert json.loads(ended.stdout)["staging"]["structuredContent"]["success"]
    assert cluster.answered().total() - before == 4 * SUCCESSES
