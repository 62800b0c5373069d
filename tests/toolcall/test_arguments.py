"""Arguments that are wrong whatever they mean."""

from __future__ import annotations

from typing import Any

import pytest

from errors import InvalidParameter
from services.secrets_manager import SecretsManagerService
from tests.conftest import Server
from toolcall.arguments import arguments_of


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", [5, 100])
async def test_an_argument_nested_out_of_all_reason_is_refused_as_any_wrong_type_is(
    running_server: Server, depth: int
) -> None:
    async with running_server.session() as call:
        answer = await call("tag_secret", secret_id="app/db", tags=nested(depth))
    assert (answer.error_code, answer.is_error) == ("InvalidParameter", True)


@pytest.mark.parametrize("depth", [400, 10_000])
def test_nesting_deeper_than_the_python_client_can_send_is_refused_too(depth: int) -> None:
    arguments = arguments_of(SecretsManagerService.tag_secret, confirmable=False)
    with pytest.raises(InvalidParameter, match="nested"):
        arguments.parse({"secret_id": "app/db", "tags": nested(depth)})
