"""The fault rules that are set: which one meets a call, if any."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from random import Random

from tests.standin.records import Call, Fault


class Rule:
    """A fault and how often it has been met."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.id = f"fault-{number}"
        self.fault = fault
        self.matched = 0
        self.met = 0
        self._random = Random(number)

    def meets(self, call: Call) -> bool:
        """Return whether this call is to fail, and count it."""
        if not self._matches(call):
            return False
        self.matched += 1
        fault = self.fault
        if self.matched <= fault.after or (fault.times is not None and self.met >= fault.times):
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        self.met += 1
        return True

    def _matches(self, call: Call) -> bool:
        fault = self.fault
        wanted = (
            (fault.service, call.service),
            (fault.operation, call.operation),
            (fault.account, call.account),
            (fault.role_arn, call.role_arn or ""),
        )
        return all(pattern is None or fnmatchcase(value, pattern) for pattern, value in wanted)


class Rules:
    """All rules, in the order they were set; the first that meets a call decides."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._last = 0

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def add(self, fault: Fault) -> Rule:
        self._last += 1
        rule = Rule(self._last, fault)
        self._rules.append(rule)
        return rule

    def clear(self, rule_id: str | None = None) -> None:
        self._rules = [rule for rule in self._rules if rule_id is not None and rule.id != rule_id]

    def meet(self, call: Call) -> Rule | None:
        return next((rule for rule in self._rules if rule.meets(call)), None)
