"""A Route 53 of one zone that validates a batch as AWS does: change by change, in its order; moto takes any batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.loopback import Handler, listening

ZONE = "Z0STRICT"
_NAMESPACE = "https://route53.amazonaws.com/doc/2013-04-01/"
_POLICIES = (
    "Weight", "Region", "Failover", "GeoLocation", "MultiValueAnswer", "CidrRoutingConfig", "GeoProximityLocation",
)  # fmt: skip
Key = tuple[str, str, str]
Rows = dict[Key, ElementTree.Element]
ElementTree.register_namespace("", _NAMESPACE)


class Refused(Exception):
    """The batch is not taken."""


def text(row: ElementTree.Element, path: str) -> str | None:
    """A member's text, by its path without namespaces."""
    found = row.find("/".join(f"{{{_NAMESPACE}}}{part}" for part in path.split("/")))
    return None if found is None else "".join(found.itertext())


def key_of(row: ElementTree.Element) -> Key:
    name = (text(row, "Name") or "").lower().rstrip(".") + "."
    return name.replace("\\052", "*"), text(row, "Type") or "", text(row, "SetIdentifier") or ""


def row(name: str, type: str, *values: str, **members: str) -> str:
    """A record set's members as AWS lists them."""
    held = "".join(f"<ResourceRecord><Value>{escape(value)}</Value></ResourceRecord>" for value in values)
    records = f"<TTL>300</TTL><ResourceRecords>{held}</ResourceRecords>" if values else ""
    more = "".join(f"<{member}>{value}</{member}>" for member, value in members.items())
    return f"<Name>{name}</Name><Type>{type}</Type>{more}{records}"


def to(zone_id: str, name: str, evaluated: str = "false") -> str:
    health = f"<EvaluateTargetHealth>{evaluated}</EvaluateTargetHealth>"
    return f"<HostedZoneId>{zone_id}</HostedZoneId><DNSName>{name}</DNSName>{health}"


class StrictRoute53:
    """The zone's record sets and how they change.

    Attributes:
        upserts_first: Whether every UPSERT takes away what stood before the batch begins, as Route 53 was seen to do.
        by_identifier: Whether a page begins at an identifier; moto's begin at its name and type.
        meanwhile: Called after each page, with the record set that the next one is to begin at.
    """

    def __init__(self, *, upserts_first: bool = False, page_size: int = 300, by_identifier: bool = True) -> None:
        self.upserts_first, self.page_size, self.by_identifier = upserts_first, page_size, by_identifier
        self.meanwhile: Callable[[Key], None] = lambda following: None
        self.rows: Rows = {}
        self.batches: list[list[tuple[str, Key]]] = []

    def forget(self) -> StrictRoute53:
        """Be as at first."""
        self.__init__(upserts_first=self.upserts_first)  # type: ignore[misc]  # nothing else remembers anything
        return self

    def holds(self, *rows: str) -> None:
        """Have record sets stand just as AWS may list them; the members of each as XML."""
        for row in rows:
            element = ElementTree.fromstring(f'<ResourceRecordSet xmlns="{_NAMESPACE}">{row}</ResourceRecordSet>')
            self.rows[key_of(element)] = element

    def change(self, body: bytes) -> None:
        """Apply a batch, or raise and leave all as it was."""
        changes = [
            (text(change, "Action") or "", change.find(f"{{{_NAMESPACE}}}ResourceRecordSet"))
            for change in ElementTree.fromstring(body).iter(f"{{{_NAMESPACE}}}Change")
        ]
        rows = dict(self.rows)
        batch = [(action, row) for action, row in changes if row is not None]
        if self.upserts_first:
            for action, row in batch:
                if action == "UPSERT":
                    rows.pop(key_of(row), None)
        for number, (action, row) in enumerate(batch):
            self._apply(rows, action, row, {key_of(later) for does, later in batch[number:] if does == "DELETE"})
        self.rows = rows
        self.batches.append([(action, key_of(row)) for action, row in batch])

    def _apply(self, rows: Rows, action: str, row: ElementTree.Element, to_go: set[Key]) -> None:
        key = key_of(row)
        if action == "DELETE":
            if key not in rows or canonical(rows[key]) != canonical(row):
                raise Refused(f"Tried to delete {key} but it was not found or differs")
            del rows[key]
            if any(points_at(rows[alias], key) for alias in to_go & rows.keys()):
                raise Refused(f"{key} is the target of an alias that is still to go")
            return
        if action == "CREATE" and key in rows:
            raise Refused(f"Tried to create {key} but it already exists")
        rows.pop(key, None)
        self._check(rows, key, row)
        rows[key] = copy.deepcopy(row)

    @staticmethod
    def _check(rows: Rows, key: Key, row: ElementTree.Element) -> None:
        for other_key, other in rows.items():
            if other_key[0] != key[0]:
                continue
            if other_key[1] != key[1]:
                if "CNAME" in (other_key[1], key[1]):
                    raise Refused(f"{key} conflicts with {other_key}")
                continue
            if policy(other) != policy(row):
                raise Refused(f"{key} cannot be created as other RRSets exist with the same name and type")
            for name in ("Failover", "Region", "GeoLocation", "CidrRoutingConfig"):
                if text(row, name) is not None and text(row, name) == text(other, name):
                    raise Refused(f"{key} has the {name} of {other_key}")
        if text(row, "Failover") == "PRIMARY" and text(row, "AliasTarget") is None and not text(row, "HealthCheckId"):
            raise Refused("A non-alias primary ResourceRecordSet must have an associated health check")
        if text(row, "AliasTarget/HostedZoneId") == ZONE and not any(points_at(row, other) for other in rows):
            raise Refused(f"{key} targets what was not found")

    def page(self, query: dict[str, list[str]]) -> str:
        """A page of the listing: from the position asked for, whether anything stands there or not."""
        name = query.get("name", [""])[0].lower().replace("\\052", "*")
        identifier = query.get("identifier", [""])[0] if self.by_identifier else ""
        start = (reverse(name), query.get("type", [""])[0], identifier)
        places = sorted((reverse(key[0]), key[1], key[2], key) for key in self.rows)
        wanted = [key for *place, key in places if not name or tuple(place) >= start]
        rows = "".join(ElementTree.tostring(self.rows[key], encoding="unicode") for key in wanted[: self.page_size])
        more = "<IsTruncated>false</IsTruncated>"
        if len(wanted) > self.page_size:
            following = wanted[self.page_size]
            more = (
                f"<IsTruncated>true</IsTruncated><NextRecordName>{following[0]}</NextRecordName>"
                f"<NextRecordType>{following[1]}</NextRecordType>"
            )
            more += f"<NextRecordIdentifier>{following[2]}</NextRecordIdentifier>" if following[2] else ""
            self.meanwhile(following)
        return f"<ResourceRecordSets>{rows}</ResourceRecordSets>{more}<MaxItems>300</MaxItems>"


def canonical(row: ElementTree.Element) -> object:
    """What two rows of the same members, in whatever order, have in common."""
    return row.tag, (row.text or "").strip(), sorted((canonical(child) for child in row), key=repr)


def policy(row: ElementTree.Element) -> str | None:
    return next((name for name in _POLICIES if text(row, name) is not None), None)


def points_at(row: ElementTree.Element, key: Key) -> bool:
    target = (text(row, "AliasTarget/DNSName") or "").lower().rstrip(".") + "."
    return text(row, "AliasTarget/HostedZoneId") == ZONE and (target, text(row, "Type")) == key[:2]


def reverse(name: str) -> str:
    return ".".join(reversed(name.rstrip(".").split(".")))


class _Handler(Handler):
    zone: StrictRoute53

    def answer(self, body: bytes) -> None:
        url = urlsplit(self.path)
        if self.command == "POST" and url.path.rstrip("/").endswith("/rrset"):
            try:
                self.zone.change(body)
            except Refused as refused:
                error = f"<Error><Type>Sender</Type><Code>InvalidChangeBatch</Code><Message>{refused}</Message></Error>"
                self.reply(f'<ErrorResponse xmlns="{_NAMESPACE}">{error}</ErrorResponse>', 400)
                return
            info = "<Id>/change/C1</Id><Status>INSYNC</Status><SubmittedAt>2026-11-24T03:00:00Z</SubmittedAt>"
            self._say("ChangeResourceRecordSetsResponse", f"<ChangeInfo>{info}</ChangeInfo>")
        elif url.path.endswith("/rrset"):
            self._say("ListResourceRecordSetsResponse", self.zone.page(parse_qs(url.query)))
        else:
            zone = f"<Id>/hostedzone/{ZONE}</Id><Name>example.com.</Name><CallerReference>r</CallerReference>"
            count = f"<ResourceRecordSetCount>{len(self.zone.rows)}</ResourceRecordSetCount>"
            self._say("GetHostedZoneResponse", f"<HostedZone>{zone}{count}</HostedZone>")

    def _say(self, name: str, content: str) -> None:
        self.reply(f'<{name} xmlns="{_NAMESPACE}">{content}</{name}>')


@contextmanager
def strict_route53(zone: StrictRoute53) -> Iterator[str]:
    """The URL of such a Route 53."""
    with listening(type("Handler", (_Handler,), {"zone": zone})) as url:
        yield url
