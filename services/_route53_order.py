"""The order of a batch: Route 53 validates its changes one after the other, whatever they come to in the end.

An alias is refused before its target is there, and also before a target that a later change of the batch UPSERTs; a
CREATE is refused before the DELETE of what stands in its way.
Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence

from services._route53 import Change, HostedZone, RecordSet
from services._route53_groups import Records, alias_in, clash


def change_of(action: str, record: RecordSet) -> Change:
    """Return the change that does this to a record set."""
    return Change.model_validate({"action": action, **record.model_dump(exclude_none=True)})


def in_order(
    before: Records, changes: Sequence[Change], zone: HostedZone | None, *, split: bool = False
) -> list[Change]:
    """Return a batch in an order that Route 53 takes, as given where that is one.

    Two UPSERTs may each wait for the other to give way: a PRIMARY and a SECONDARY that change places. With `split`
    one of them becomes the DELETE and the CREATE that it stands for.
    """
    return _Order(before, changes, zone).run(split=split)


class _Order:
    """A batch, and for each of its changes those that wait for it."""

    def __init__(self, before: Records, changes: Sequence[Change], zone: HostedZone | None) -> None:
        self._before, self._changes, self._zone = before, list(changes), zone
        self._waiting: dict[int, int] = defaultdict(int)
        self._after: dict[int, list[int]] = defaultdict(list)
        self._gives_way: dict[int, list[int]] = defaultdict(list)
        self._link()

    def run(self, *, split: bool) -> list[Change]:
        """Return the changes, each after those that it waits for, else as they were given."""
        ordered: list[Change] = []
        left = set(range(len(self._changes)))
        ready = [number for number in sorted(left) if not self._waiting[number]]
        while left:
            if not ready:
                number = self._to_split(left) if split else None
                if number is None:
                    ready = [min(left)]
                    continue
                ordered.append(change_of("DELETE", self._before[self._changes[number].key]))
                self._changes[number] = self._changes[number].model_copy(update={"action": "CREATE"})
                self._release(self._gives_way.pop(number), left, ready)
                continue
            number = heapq.heappop(ready)
            left.discard(number)
            ordered.append(self._changes[number])
            self._release([*self._gives_way.pop(number, ()), *self._after.pop(number, ())], left, ready)
        return ordered

    def _release(self, numbers: Sequence[int], left: set[int], ready: list[int]) -> None:
        for number in numbers:
            self._waiting[number] -= 1
            if not self._waiting[number] and number in left:
                heapq.heappush(ready, number)

    def _to_split(self, left: set[int]) -> int | None:
        """Return an UPSERT that others wait for to give way."""
        return min((n for n in left if self._changes[n].action == "UPSERT" and self._gives_way.get(n)), default=None)

    def _link(self) -> None:
        by_name: dict[str, list[int]] = defaultdict(list)
        writers: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, change in enumerate(self._changes):
            by_name[change.name].append(number)
            if change.action != "DELETE":
                writers[change.name, change.type].append(number)
        for numbers in by_name.values():
            for first, then in self._clearing(numbers):
                self._gives_way[first].append(then)
                self._waiting[then] += 1
        for first, then in self._aliases(writers):
            self._after[first].append(then)
            self._waiting[then] += 1

    def _clearing(self, numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield what must go before what it stands in the way of; at one name."""
        leaving = [
            (number, was)
            for number in numbers
            if self._changes[number].action != "CREATE"
            and (was := self._before.get(self._changes[number].key)) is not None
        ]
        for then in (number for number in numbers if self._changes[number].action != "DELETE"):
            wanted = self._changes[then]
            for first, was in leaving:
                if first != then and self._stands_in_the_way(self._changes[first], was, wanted):
                    yield first, then

    @staticmethod
    def _stands_in_the_way(change: Change, was: RecordSet, wanted: Change) -> bool:
        """Whether one change of a batch must have removed what stands before another is possible."""
        if was.key == wanted.key:
            return change.action == "DELETE"
        return clash(wanted, was) is not None and (change.action == "DELETE" or clash(wanted, change) is None)

    def _aliases(self, writers: dict[tuple[str, str], list[int]]) -> Iterator[tuple[int, int]]:
        """Yield a target before its alias, and an alias that goes before its target's DELETE."""
        gone: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, change in enumerate(self._changes):
            if change.action == "DELETE":
                gone[change.name, change.type].append(number)
        for number, change in enumerate(self._changes):
            wanted = alias_in(self._zone, change) if change.action != "DELETE" else None
            if wanted is not None:
                yield from ((target, number) for target in writers[wanted] if target != number)
            was = self._before.get(change.key)
            left = alias_in(self._zone, was) if was is not None else None
            if left is not None and left != wanted:
                yield from ((number, target) for target in gone[left] if target != number)
