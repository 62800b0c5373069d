"""Reading a zone's record sets: page by page, at some names, or all of them.

Route 53 answers with the newest, those still PENDING included.
Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from errors import IncompleteAnswer, InvalidParameter
from services._route53 import RecordSet, shown_name
from services.base import Page
from toolcall.call import Call

LARGEST_PAGE = 300
_KEPT_FOR_THE_ANSWER_SECONDS = 2.0
_MARK = 8
Row = Mapping[str, Any]
Rows = dict[tuple[str, str, str | None], Row]


class RecordSets(Page):
    hosted_zone_id: str
    resource_record_sets: list[RecordSet]
    count: int


@dataclass(frozen=True)
class Position:
    """Where a listing goes on: a record set's name, type and identifier.

    Attributes:
        given: Marks of those of that name and type that were listed before. The one to go on at may be gone by then,
            and some servers go by name and type alone, so nothing else tells what is still to be listed.
    """

    name: str
    type: str | None = None
    identifier: str | None = None
    given: frozenset[str] = frozenset()

    @classmethod
    def at(cls, row: Row) -> Position:
        """Return where a record set stands."""
        return cls(shown_name(row["Name"]), row["Type"], row.get("SetIdentifier"))

    def beyond(self, rows: Iterable[Row], start: Position | None) -> Position:
        """Return this position, with what has been listed of its name and type: before a page, and on it."""
        here = [Position.at(row) for row in rows]
        marks = {_mark(one.identifier) for one in here if one.shares_its_group(self)}
        if start is not None and start.shares_its_group(self):
            marks |= start.given
        return replace(self, given=frozenset(marks))

    def shares_its_group(self, other: Position) -> bool:
        """Tell whether both are of one name and type."""
        return (shown_name(self.name), self.type) == (shown_name(other.name), other.type)

    def is_before(self, other: Position | None) -> bool:
        """Tell whether a record set here was listed before a listing came to go on at another position."""
        return other is not None and other.shares_its_group(self) and _mark(self.identifier) in other.given

    def request(self) -> dict[str, str]:
        """Return it as AWS takes it."""
        given = {
            "StartRecordName": self.name, "StartRecordType": self.type, "StartRecordIdentifier": self.identifier,
        }  # fmt: skip
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Listing:
    """One listing of a zone: what it is narrowed to, and so what its tokens are good for."""

    zone_id: str
    name: str | None
    type: str | None
    value: str | None

    def read(self, client: Any, size: int, token: str | None) -> RecordSets:
        """Return the next `size` record sets; fewer where the call's time is running out, and says so."""
        found: list[RecordSet] = []
        start = self._position(token) if token else Position(self.name, self.type) if self.name else None
        for here, rows, following in pages(client, self.zone_id, start):
            for number, row in enumerate(rows):
                record = RecordSet.of(row)
                if self.name is not None and record.name != self.name:
                    return self._page(found, None)
                if not self._wants(record):
                    continue
                if len(found) == size:
                    return self._page(found, Position.at(row).beyond(rows[:number], here))
                found.append(record)
            if following is not None and _is_late():
                return self._page(found, following)
        return self._page(found, None)

    def _wants(self, record: RecordSet) -> bool:
        if self.type is not None and record.type != self.type:
            return False
        if self.value is None:
            return True
        values = [*(record.resource_records or []), record.alias_target.dns_name if record.alias_target else ""]
        # A name's last dot may be left out on either side, and an address has many spellings.
        return any(self.value.lower() in f"{value.lower()}." or _is_one_address(self.value, value) for value in values)

    def _page(self, found: list[RecordSet], following: Position | None) -> RecordSets:
        token = self._token(following) if following is not None else None
        return RecordSets(
            hosted_zone_id=self.zone_id,
            resource_record_sets=found,
            count=len(found),
            truncated=token is not None,
            next_token=token,
        )

    @property
    def _narrowing(self) -> list[str | None]:
        return [self.zone_id, self.name, self.type, self.value]

    def _token(self, position: Position) -> str:
        given = "".join(sorted(position.given))
        content = [*self._narrowing, position.name, position.type, position.identifier, given]
        return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")

    def _position(self, token: str) -> Position:
        try:
            content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            *narrowing, name, record_type, identifier, given = content
        except (ValueError, TypeError):
            narrowing, name, record_type, identifier, given = [], None, None, None, ""
        texts = isinstance(name, str) and all(isinstance(part, str | None) for part in (record_type, identifier))
        if narrowing != self._narrowing or not texts or not isinstance(given, str):
            raise InvalidParameter(
                "next_token: it does not continue this list.", next_step="Repeat the zone and filters it came with."
            )
        marks = (given[first : first + _MARK] for first in range(0, len(given), _MARK))
        return Position(name, record_type, identifier, frozenset(marks))


def _is_one_address(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_address(one) == ipaddress.ip_address(other)
    except ValueError:
        return False


def _mark(identifier: str | None) -> str:
    """Return a short mark of an identifier, so that a token holds those of a large group."""
    return hashlib.sha256((identifier or "").encode()).hexdigest()[:_MARK]


def pages(
    client: Any, zone_id: str, start: Position | None = None
) -> Iterator[tuple[Position | None, Sequence[Row], Position | None]]:
    """Yield a zone's record sets in AWS's order, in its largest pages: where each begins, and where the next one does.

    Requests are what AWS counts, five a second for a whole account, however much they ask for.
    """
    while True:
        where = start.request() if start is not None else {}
        answer = client.list_resource_record_sets(HostedZoneId=zone_id, MaxItems=str(LARGEST_PAGE), **where)
        rows = [row for row in answer["ResourceRecordSets"] if not Position.at(row).is_before(start)]
        following = None
        if answer["IsTruncated"]:
            following = Position(
                answer["NextRecordName"], answer.get("NextRecordType"), answer.get("NextRecordIdentifier")
            ).beyond(rows, start)
        yield start, rows, following
        if following is None:
            return
        if start is not None and following.request() == start.request():
            raise IncompleteAnswer  # a page that leads to itself
        start = following


def rows_at(client: Any, zone_id: str, names: Collection[str], zone_size: int) -> Rows:
    """Return all record sets of some names, by what is the fewest requests: name by name, or the whole zone."""
    if len(names) > -(-zone_size // LARGEST_PAGE):
        return _by_key(row for _, rows, _ in pages(client, zone_id) for row in rows if shown_name(row["Name"]) in names)
    return _by_key(row for name in names for row in rows_of(client, zone_id, name))


def rows_of(client: Any, zone_id: str, name: str) -> Iterator[Row]:
    """Yield the record sets of one name."""
    for _, rows, _ in pages(client, zone_id, Position(name)):
        for row in rows:
            if shown_name(row["Name"]) != name:
                return
            yield row


def _by_key(rows: Iterator[Row]) -> Rows:
    return {(shown_name(row["Name"]), row["Type"], row.get("SetIdentifier")): row for row in rows}


def _is_late() -> bool:
    return Call.current().trace.deadline - time.monotonic() < _KEPT_FOR_THE_ANSWER_SECONDS
