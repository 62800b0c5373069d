"""Reading a zone's record sets: page by page, at some names, or all of them.

Route 53 answers with the newest, those still PENDING included.
Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errors import InvalidParameter
from services._route53 import RecordSet, shown_name
from services.base import Page
from toolcall.call import Call

LARGEST_PAGE = 300
_KEPT_FOR_THE_ANSWER_SECONDS = 2.0
Row = Mapping[str, Any]
Rows = dict[tuple[str, str, str | None], Row]


class RecordSets(Page):
    hosted_zone_id: str
    resource_record_sets: list[RecordSet]
    count: int


@dataclass(frozen=True)
class Position:
    """Where a listing goes on: a record set's name, type and identifier."""

    name: str
    type: str | None = None
    identifier: str | None = None

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
        for position, rows in pages(client, self.zone_id, start):
            for row in rows:
                record = RecordSet.of(row)
                if self.name is not None and record.name != self.name:
                    return self._page(found, None)
                if not self._wants(record):
                    continue
                if len(found) == size:
                    return self._page(found, Position(row["Name"], row["Type"], row.get("SetIdentifier")))
                found.append(record)
            if position is not None and _is_late():
                return self._page(found, position)
        return self._page(found, None)

    def _wants(self, record: RecordSet) -> bool:
        if self.type is not None and record.type != self.type:
            return False
        if self.value is None:
            return True
        values = [*(record.resource_records or []), record.alias_target.dns_name if record.alias_target else ""]
        return any(self.value.lower() in value.lower() for value in values)

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
        content = [*self._narrowing, position.name, position.type, position.identifier]
        return base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode().rstrip("=")

    def _position(self, token: str) -> Position:
        try:
            content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            *narrowing, name, record_type, identifier = content
        except (ValueError, TypeError):
            narrowing, name, record_type, identifier = [], None, None, None
        texts = isinstance(name, str) and all(isinstance(part, str | None) for part in (record_type, identifier))
        if narrowing != self._narrowing or not texts:
            raise InvalidParameter(
                "next_token: it does not continue this list.", next_step="Repeat the zone and filters it came with."
            )
        return Position(name, record_type, identifier)


def pages(client: Any, zone_id: str, start: Position | None = None) -> Iterator[tuple[Position | None, Sequence[Row]]]:
    """Yield a zone's record sets in AWS's order, in its largest pages, each with where the next one starts.

    Requests are what AWS counts, five a second for a whole account, however much they ask for.
    """
    while True:
        where = start.request() if start is not None else {}
        answer = client.list_resource_record_sets(HostedZoneId=zone_id, MaxItems=str(LARGEST_PAGE), **where)
        following = None
        if answer["IsTruncated"]:
            following = Position(
                answer["NextRecordName"], answer.get("NextRecordType"), answer.get("NextRecordIdentifier")
            )
        yield following, _from(start, answer["ResourceRecordSets"])
        if following is None:
            return
        if following == start:
            raise KeyError("a page that leads to itself")
        start = following


def _from(start: Position | None, rows: Sequence[Row]) -> Sequence[Row]:
    """Return the rows from a position on, for a server that goes by name and type alone."""
    if start is None or start.identifier is None:
        return rows
    left = list(itertools.dropwhile(lambda row: row.get("SetIdentifier") != start.identifier, rows))
    return left or rows


def rows_at(client: Any, zone_id: str, names: Collection[str], zone_size: int) -> Rows:
    """Return all record sets of some names, by what is the fewest requests: name by name, or the whole zone."""
    if len(names) > -(-zone_size // LARGEST_PAGE):
        return _by_key(row for _, rows in pages(client, zone_id) for row in rows if shown_name(row["Name"]) in names)
    return _by_key(row for name in names for row in rows_of(client, zone_id, name))


def rows_of(client: Any, zone_id: str, name: str) -> Iterator[Row]:
    """Yield the record sets of one name."""
    for _, rows in pages(client, zone_id, Position(name)):
        for row in rows:
            if shown_name(row["Name"]) != name:
                return
            yield row


def _by_key(rows: Iterator[Row]) -> Rows:
    return {(shown_name(row["Name"]), row["Type"], row.get("SetIdentifier")): row for row in rows}


def _is_late() -> bool:
    return Call.current().trace.deadline - time.monotonic() < _KEPT_FOR_THE_ANSWER_SECONDS
