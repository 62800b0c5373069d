"""What a batch of changes does to a zone's records: foreseen, told in words, and undone. No AWS call is made here."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from errors import InvalidParameter
from services._route53 import Change, HostedZone, RecordSet, is_within
from services._route53_groups import Key, Records, alias_in, clash, kinds_of
from services._route53_order import change_of, in_order
from services._route53_records import alike, check_limits, label, refusal

_NAMED = 8


def check_against_zone(zone: str, changes: Sequence[Change]) -> None:
    """Refuse what cannot be in a zone of this name.

    Raises:
        InvalidParameter: a record lies outside it, or is its apex's own.
    """
    actions: dict[Key, set[str]] = {}
    for change in changes:
        actions.setdefault(change.key, set()).add(change.action)
    for number, change in enumerate(changes):
        at_apex = change.name == zone
        if not is_within(change.name, zone):
            raise refusal(
                number,
                change,
                f"it lies outside the zone {zone}",
                f"Give the whole name: {change.name}{zone}."
                if change.name.count(".") == 1
                else "find_zone_owner tells which zone holds a name.",
            )
        if at_apex and change.type == "CNAME" and change.action != "DELETE":
            raise refusal(number, change, "a zone's apex takes no CNAME", "Use an alias of type A or AAAA.")
        stays = actions[change.key] in ({"UPSERT"}, {"DELETE", "CREATE"})
        if at_apex and change.type in ("NS", "SOA") and not stays:
            raise refusal(
                number, change, f"a zone's own {change.type} record set stays", "UPSERT it to change its values."
            )


def touched(changes: Iterable[Change]) -> list[tuple[str, str]]:
    """Return the names and types that a batch is about, in its order."""
    return list(dict.fromkeys((change.name, change.type) for change in changes))


def concerned(records: Records, changes: Iterable[Change]) -> list[RecordSet]:
    """Return the record sets of the names and types that a batch is about, in its order."""
    return [
        record
        for name, record_type in touched(changes)
        for record in sorted((r for r in records.values() if r.key[:2] == (name, record_type)), key=_identifier)
    ]


def foresee(
    before: Records, changes: Sequence[Change], zone: HostedZone | None = None, asked: Sequence[Change] | None = None
) -> dict[Key, RecordSet]:
    """Return what the records will be, each change judged as Route 53 does: on what those before it have left.

    A DELETE takes from what is there whatever it does not say itself.

    Args:
        asked: The batch as its author numbers it, where these changes are in another order.

    Raises:
        InvalidParameter: Route 53 would refuse the batch, given what is there.
    """
    numbers = _numbers_of(changes if asked is None else asked)
    state, seen = _Zone(before), dict[Key, str]()
    for change in changes:
        number = numbers.get((change.key, change.action), numbers[change.key, ""])
        earlier = seen.get(change.key)
        if earlier is not None and (earlier, change.action) != ("DELETE", "CREATE"):
            raise refusal(number, change, "the batch has changed that record set before; only DELETE, then CREATE does")
        seen[change.key] = change.action
        if change.action == "DELETE":
            _check_deletion(number, change, state.records)
            state.remove(change.key)
        elif change.action == "CREATE" and change.key in state.records:
            raise refusal(number, change, "it exists already", "UPSERT overwrites it.")
        else:
            _check_traffic_policy(number, change, state.records.get(change.key))
            _check_neighbours(number, change, state)
            _check_target(number, change, state, zone)
            state.put(change.record())
    return state.records


def _numbers_of(changes: Sequence[Change]) -> dict[tuple[Key, str], int]:
    """Return the number of each change, by its record set with its action, and without one."""
    numbers: dict[tuple[Key, str], int] = {}
    for number, change in enumerate(changes):
        numbers[change.key, change.action] = numbers[change.key, ""] = number
    return numbers


class _Zone:
    """The record sets of a zone that are known while a batch is judged.

    They are also kept by what they can clash over, so that a large group costs no more than a small one.
    """

    def __init__(self, records: Records) -> None:
        self.records: dict[Key, RecordSet] = {}
        self._alike: dict[str, dict[object, dict[Key, RecordSet]]] = {}
        for record in records.values():
            self.put(record)

    def rivals(self, record: RecordSet) -> Iterator[RecordSet]:
        """Yield those of its name that a record set may clash with: one of each type and policy, and of its claim."""
        for group in self._alike.get(record.name, {}).values():
            yield from itertools.islice((other for key, other in group.items() if key != record.key), 1)

    def has(self, name: str, record_type: str, *, beside: Key) -> bool:
        """Tell whether there is a record set of a name and type, other than one."""
        groups = self._alike.get(name, {}).values()
        return any(key[1] == record_type and key != beside for group in groups for key in itertools.islice(group, 2))

    def put(self, record: RecordSet) -> None:
        """Have a record set stand, in the place of the one of its key."""
        if record.key in self.records:
            self.remove(record.key)
        self.records[record.key] = record
        groups = self._alike.setdefault(record.name, {})
        for kind in kinds_of(record):
            groups.setdefault(kind, {})[record.key] = record

    def remove(self, key: Key) -> None:
        """Have a record set stand no longer."""
        record = self.records.pop(key)
        for kind in kinds_of(record):
            del self._alike[record.name][kind][key]


def _check_deletion(number: int, change: Change, present: Records) -> None:
    standing = present.get(change.key)
    if standing is None:
        others = [record for record in present.values() if record.key[:2] == change.key[:2]]
        identifiers = ", ".join(sorted(r.set_identifier for r in others if r.set_identifier))
        hint = f"There are record sets with set_identifier {identifiers}: name one." if identifiers else None
        raise refusal(number, change, "there is no such record set", hint or "list_resource_record_sets shows them.")
    _check_traffic_policy(number, change, standing)
    given = {name for name in RecordSet.model_fields if getattr(change, name) is not None}
    said = standing.model_copy(update={name: getattr(change, name) for name in given})
    if not alike(said, standing):
        wrong = ", ".join(sorted(name for name in given if not alike(_with(standing, change, name), standing)))
        raise refusal(
            number,
            change,
            f"what is there now has another {wrong}",
            "Leave all but name, type and set_identifier out to delete what is there.",
        )


def _check_traffic_policy(number: int, change: Change, standing: RecordSet | None) -> None:
    if standing is not None and standing.traffic_policy_instance_id is not None:
        raise refusal(number, change, "it belongs to a traffic policy instance, which is to be changed instead")


def _check_neighbours(number: int, change: Change, state: _Zone) -> None:
    """Refuse what cannot stand beside what stands; a record set that is written as it is claims nothing new."""
    standing = state.records.get(change.key)
    if standing is not None and alike(standing, change.record()):
        return
    for other in state.rivals(change):
        if (problem := clash(change, other)) is not None:
            raise refusal(number, change, problem, f"DELETE {label(other)}, which stands in the way, in this batch.")


def _check_target(number: int, change: Change, state: _Zone, zone: HostedZone | None) -> None:
    """Refuse an alias of the zone's own records that stands for none of them."""
    target = alias_in(zone, change)
    if zone is None or target is None:
        return
    if not is_within(target[0], zone.name):
        raise refusal(
            number, change, "its alias_target lies outside the zone whose hosted_zone_id it gives",
            "Give the id that belongs to the target: a service's own, or the zone's that holds it.",
        )  # fmt: skip
    if not state.has(*target, beside=change.key):
        raise refusal(
            number, change, f"the zone has no {target[1]} record set of its alias_target's name",
            "CREATE the target first, in this batch or before it.",
        )  # fmt: skip


def is_as(records: Records, wanted: Records, changes: Iterable[Change]) -> bool:
    """Tell whether the record sets that a batch is about are as wanted."""
    for key in {change.key for change in changes}:
        one, other = records.get(key), wanted.get(key)
        if (one is None) != (other is None) or (one is not None and other is not None and not alike(one, other)):
            return False
    return True


def undo_of(before: Records, after: Records, changes: Sequence[Change], zone: HostedZone | None = None) -> list[Change]:
    """Return the batch that brings the record sets that were changed back to what they were, in an order that works.

    Raises:
        InvalidParameter: it would be more than Route 53 takes at once.
    """
    keys = list(dict.fromkeys(change.key for change in changes))
    try:
        return _checked(in_order(after, _undo(before, after, keys, "UPSERT"), zone))
    except InvalidParameter:  # what an UPSERT writes counts twice, what a CREATE writes once
        pass
    try:
        return _checked(in_order(after, _undo(before, after, keys, "CREATE"), zone))
    except InvalidParameter:
        raise InvalidParameter(
            "changes: what they overwrite is more than one batch could put back. Nothing was done.",
            next_step="Split them into several batches, so that each can be undone.",
        ) from None


def _undo(before: Records, after: Records, keys: Iterable[Key], put_back: str) -> list[Change]:
    gone, back = [], []
    for key in keys:
        was, now = before.get(key), after.get(key)
        if was is None and now is not None:
            gone.append(change_of("DELETE", now))
        elif was is not None and (now is None or not alike(was, now)):
            if now is not None and put_back == "CREATE":
                gone.append(change_of("DELETE", now))
            back.append(change_of(put_back, was))
    return [*gone, *back]


def _checked(batch: list[Change]) -> list[Change]:
    check_limits([(change.action, change) for change in batch])
    return batch


def to_aws(changes: Iterable[Change], standing: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a batch as AWS takes it: what is deleted just as AWS holds it, a name as AWS spells it."""
    batch = []
    for change in changes:
        held = standing.get(change.key)
        record: Mapping[str, Any] = change.record().to_aws()
        if held is not None:
            record = held if change.action == "DELETE" else {**record, "Name": held["Name"]}
        batch.append({"Action": change.action, "ResourceRecordSet": dict(record)})
    return batch


def summary_of(before: Records, after: Records, changes: Iterable[Change], *, foreseen: bool) -> str:
    """Say in one sentence what a batch does."""
    done: dict[str, list[str]] = {"create": [], "overwrite": [], "delete": [], "leave as it is": []}
    for key in dict.fromkeys(change.key for change in changes):
        was, now = before.get(key), after.get(key)
        if was is None and now is not None:
            done["create"].append(label(now))
        elif was is not None and now is None:
            done["delete"].append(label(was))
        elif was is not None and now is not None:
            done["leave as it is" if alike(was, now) else "overwrite"].append(f"{label(now)}{_differing(was, now)}")
    tenses = {"create": "created", "overwrite": "overwrote", "delete": "deleted", "leave as it is": "left as it was"}
    parts = [f"{verb if foreseen else tenses[verb]} {_some(names)}" for verb, names in done.items() if names]
    text = "; ".join(parts) or "nothing is there, before or after"
    return f"Would {text}." if foreseen else f"{text[0].upper()}{text[1:]}."


def _with(standing: RecordSet, change: Change, name: str) -> RecordSet:
    return standing.model_copy(update={name: getattr(change, name)})


def _identifier(record: RecordSet) -> str:
    return record.set_identifier or ""


def _differing(was: RecordSet, now: RecordSet) -> str:
    """Name the members that an overwrite changes: one that was left out of an UPSERT is gone."""
    names = [
        name
        for name in RecordSet.model_fields
        if not alike(was.model_copy(update={name: getattr(now, name)}), was)
    ]  # fmt: skip
    return f" ({', '.join(names)})" if names else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
