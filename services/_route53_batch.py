"""What a batch of changes does to a zone's records: foreseen, told in words, and undone. No AWS call is made here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from errors import InvalidParameter
from services._route53 import Change, RecordSet, is_within
from services._route53_records import alike, check_limits, label, policy_of, refusal

Key = tuple[str, str, str | None]
Records = Mapping[Key, RecordSet]
_NAMED = 8


def check_against_zone(zone: str, changes: Sequence[Change]) -> None:
    """Refuse what cannot be in a zone of this name.

    Raises:
        InvalidParameter: a record lies outside it, or is its apex's own.
    """
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
        if at_apex and change.type in ("NS", "SOA") and change.action != "UPSERT":
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


def foresee(before: Records, changes: Sequence[Change]) -> dict[Key, RecordSet]:
    """Return what the records will be. A DELETE takes from what is there whatever it does not say itself.

    Raises:
        InvalidParameter: Route 53 would refuse the batch, given what is there.
    """
    after, seen = dict(before), dict[Key, str]()
    for number, change in enumerate(changes):
        earlier = seen.get(change.key)
        if earlier is not None and (earlier, change.action) != ("DELETE", "CREATE"):
            raise refusal(number, change, "the batch has changed that record set before; only DELETE, then CREATE does")
        seen[change.key] = change.action
        if change.action == "DELETE":
            _check_deletion(number, change, after)
            del after[change.key]
        elif change.action == "CREATE" and change.key in after:
            raise refusal(number, change, "it exists already", "UPSERT overwrites it.")
        else:
            _check_traffic_policy(number, change, after.get(change.key))
            after[change.key] = change.record()
    for number, change in enumerate(changes):
        if change.key in after:
            _check_neighbours(number, change, after)
    return after


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


def _check_neighbours(number: int, change: Change, after: Records) -> None:
    """Refuse a CNAME beside others, and routing policies that differ within one name and type."""
    same_name = [record for record in after.values() if record.name == change.name]
    if {record.type for record in same_name} > {"CNAME"}:
        raise refusal(number, change, "a CNAME stands alone at its name", "DELETE the other record set in this batch.")
    policies = {policy_of(record) for record in same_name if record.type == change.type}
    if len(policies) > 1:
        names = ", ".join(sorted(policy or "none (a simple record set)" for policy in policies))
        raise refusal(
            number,
            change,
            f"record sets of one name and type have one routing policy; these would have {names}",
            "DELETE the ones that stand in the way in this batch.",
        )


def is_as(records: Records, wanted: Records, changes: Iterable[Change]) -> bool:
    """Tell whether the record sets that a batch is about are as wanted."""
    for key in {change.key for change in changes}:
        one, other = records.get(key), wanted.get(key)
        if (one is None) != (other is None) or (one is not None and other is not None and not alike(one, other)):
            return False
    return True


def undo_of(before: Records, after: Records, changes: Sequence[Change]) -> list[Change]:
    """Return the batch that brings the record sets that were changed back to what they were.

    Raises:
        InvalidParameter: it would be more than Route 53 takes at once.
    """
    keys = list(dict.fromkeys(change.key for change in changes))
    try:
        return _checked(_undo(before, after, keys, "UPSERT"))
    except InvalidParameter:  # what an UPSERT writes counts twice, what a CREATE writes once
        pass
    try:
        return _checked(_undo(before, after, keys, "CREATE"))
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
            gone.append(_change("DELETE", now))
        elif was is not None and (now is None or not alike(was, now)):
            if now is not None and put_back == "CREATE":
                gone.append(_change("DELETE", now))
            back.append(_change(put_back, was))
    # What goes must go first: a name whose CNAME became an A can have its CNAME back after that only.
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


def _change(action: str, record: RecordSet) -> Change:
    return Change.model_validate({"action": action, **record.model_dump(exclude_none=True)})


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
