"""Amazon Route 53: changing records so that it can be undone, following a change, and what resolvers would be told.

Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from errors import InvalidParameter, VersionConflict, translate
from services._route53 import Change, ChangeInfo, DomainName, HostedZone, RecordSet, RecordType, ZoneId, bare, is_within
from services._route53_batch import (
    check_against_zone,
    concerned,
    foresee,
    is_as,
    summary_of,
    to_aws,
    undo_of,
)
from services._route53_groups import Key, Records, alias_in
from services._route53_listing import Rows, rows_at
from services._route53_order import in_order
from services._route53_records import check_changes, check_limits
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Target, Timestamp, tool
from toolcall.call import Call
from toolcall.fanout import gather

_POLL_SECONDS = 2.0
_KEPT_FOR_THE_ANSWER_SECONDS = 1.5


def _change_id(text: str) -> str:
    if not text.removeprefix("/change/").isalnum() or len(text) > 64:
        raise ValueError("is not a change's id such as C0123456789ABC")
    return bare(text)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("is not an IP address") from None


ChangeId = Annotated[str, AfterValidator(_change_id)]
Address = Annotated[str, AfterValidator(_address)]
Comment = Annotated[str, StringConstraints(max_length=256)]


class ChangedRecordSets(AWSModel):
    """What became of the record sets of the names and types that a batch was about.

    Attributes:
        change_id: For get_change; absent on a dry run, and where AWS's answer was lost.
        after: As read after the change; on a dry run as they would be; absent where they could not be read.
        undo: The batch that brings `before` back: pass it to change_resource_record_sets as changes.
        note: What a reader must know besides.
    """

    summary: str
    note: str | None = None
    dry_run: bool | None = None
    hosted_zone_id: str
    zone_name: str
    change_id: str | None = None
    status: str | None = None
    submitted_at: Timestamp | None = None
    before: list[RecordSet]
    after: list[RecordSet] | None = None
    undo: list[Change]


class DNSAnswer(AWSModel):
    """What Route 53 would answer a resolver."""

    nameserver: str
    record_name: str
    record_type: str
    record_data: list[str]
    response_code: str
    protocol: str


def _batch_is_sound(arguments: Mapping[str, Any]) -> None:
    check_changes(arguments["changes"])


def _client_subnet_fits(arguments: Mapping[str, Any]) -> None:
    subnet, mask = arguments["edns0_client_subnet_ip"], arguments["edns0_client_subnet_mask"]
    if subnet is None:
        if mask is not None:
            raise InvalidParameter("edns0_client_subnet_mask: goes with edns0_client_subnet_ip.")
        return
    if arguments["resolver_ip"] is None:
        raise InvalidParameter("edns0_client_subnet_ip: goes with resolver_ip, the resolver that passes it on.")
    if mask is not None and mask > ipaddress.ip_address(subnet).max_prefixlen:
        raise InvalidParameter("edns0_client_subnet_mask: longer than the address.")


class Route53ChangesService(AWSServiceBase):
    """Changes of record sets."""

    client_name = "route53"
    toolset = "route53"

    @tool(
        WRITE, "route53:ChangeResourceRecordSets", "route53:GetHostedZone", "route53:ListResourceRecordSets",
        resource="hosted_zone_id", destructive=True, check=_batch_is_sound,
    )  # fmt: skip
    def change_resource_record_sets(
        self,
        hosted_zone_id: ZoneId,
        changes: Annotated[list[Change], Field(min_length=1, max_length=1000)],
        target: Target,
        comment: Comment | None = None,
        dry_run: bool = False,
    ) -> ChangedRecordSets:
        """Change record sets, all of the batch or nothing; answers them before and after, and `undo`, the changes back.

        Args:
            changes: An UPSERT replaces the whole record set. A DELETE needs name, type and set_identifier; what else
                it says must be what is there. DELETE, then CREATE of one record set overwrites only what you saw
        """
        work = _Work.on(self.client(target), hosted_zone_id, changes)
        if dry_run:
            return work.answer(work.foreseen, note=work.broken_undo, dry_run=True)
        made = work.submit(comment)
        after, failure = work.read_again(target)
        return work.answer(after, made=made, note=work.note(made, after, failure))

    @tool(READ, "route53:GetChange", resource="change_id")
    def get_change(self, change_id: ChangeId, target: Target, wait: bool = False) -> ChangeInfo:
        """Tell whether a change has reached all name servers (INSYNC), or wait for it as long as a call may last."""
        call, client = Call.current(), self.client(target)
        started, end = time.monotonic(), call.trace.deadline - _KEPT_FOR_THE_ANSWER_SECONDS
        while True:
            row = client.get_change(Id=change_id)["ChangeInfo"]
            if row["Status"] == "INSYNC" or not wait:
                return ChangeInfo.of(row)
            if time.monotonic() + _POLL_SECONDS >= end:
                return ChangeInfo.of(row, advice="Still PENDING; it takes a minute as a rule. Call again with wait.")
            call.progress(round(time.monotonic() - started), None, "PENDING")
            call.sleep(_POLL_SECONDS)

    @tool(READ, "route53:TestDNSAnswer", resource="hosted_zone_id", check=_client_subnet_fits)
    def test_dns_answer(
        self,
        hosted_zone_id: ZoneId,
        record_name: DomainName,
        record_type: RecordType,
        target: Target,
        resolver_ip: Address | None = None,
        edns0_client_subnet_ip: Address | None = None,
        edns0_client_subnet_mask: Annotated[int, Field(ge=0, le=128)] | None = None,
    ) -> DNSAnswer:
        """Return what Route 53 would answer for a name of a public zone, routing policies and health applied.

        Args:
            resolver_ip: As asked by this resolver; one in us-east-1 if left out
            edns0_client_subnet_ip: As asked for a client here
        """
        request: dict[str, str] = {
            "HostedZoneId": hosted_zone_id, "RecordName": record_name, "RecordType": record_type,
        }  # fmt: skip
        if resolver_ip:
            request["ResolverIP"] = resolver_ip
        if edns0_client_subnet_ip:
            request["EDNS0ClientSubnetIP"] = edns0_client_subnet_ip
        if edns0_client_subnet_mask is not None:
            request["EDNS0ClientSubnetMask"] = str(edns0_client_subnet_mask)
        return DNSAnswer.model_validate(self.client(target).test_dns_answer(**request))


@dataclass(frozen=True)
class _Work:
    """A batch on its way: the zone, what stood there as AWS says it, and what will.

    Attributes:
        sent: The orders to send it in, each where Route 53 has refused the one before.
    """

    client: Any
    zone: HostedZone
    changes: Sequence[Change]
    sent: Sequence[Sequence[Change]]
    rows: Rows
    before: Records
    foreseen: Records
    undo: list[Change]

    @classmethod
    def on(cls, client: Any, zone_id: str, changes: Sequence[Change]) -> _Work:
        """Read what is there; refuse what the zone would not take, before it is asked to.

        Raises:
            InvalidParameter: nothing was done.
        """
        zone = HostedZone.of(client.get_hosted_zone(Id=zone_id)["HostedZone"])
        check_against_zone(zone.name, changes)
        rows = _read(client, zone, changes)
        rows |= _targets_of(client, zone, changes, rows)
        before = _records(rows)
        ordered, split = (in_order(before, changes, zone, split=apart) for apart in (False, True))
        foreseen = foresee(before, split, zone, asked=changes)
        undo = undo_of(before, foreseen, changes, zone)
        check_limits([(change.action, _said(change, before)) for change in changes])
        sent = [ordered] if ordered == split else [ordered, split]
        return cls(client, zone, changes, sent, rows, before, foreseen, undo)

    def submit(self, comment: str | None) -> Mapping[str, Any] | None:
        """Have AWS make the change; None where its answer was lost, and the records are seen to be as asked.

        Raises:
            VersionConflict: somebody else has changed them since they were read. Nothing was done.
        """
        *others, last = self.sent
        for changes in others:
            try:
                return self._send(changes, comment)
            except Exception as error:
                if not _is_refused(error) or Call.current().trace.answer_lost:
                    self._judge(error)
                    return None
        try:
            return self._send(last, comment)
        except Exception as error:
            self._judge(error)
            return None

    def _judge(self, error: Exception) -> None:
        """Return where the records are as asked for although AWS's answer was lost; raise what it was otherwise."""
        if Call.current().trace.answer_lost:
            if self._is_as(self.foreseen):
                return
        elif _is_refused(error) and not self._is_as(self.before):
            raise VersionConflict(
                "The records have changed since this call read them. Nothing was done.",
                next_step="List them anew, then repeat the call.",
            ) from None
        raise error

    def _send(self, changes: Sequence[Change], comment: str | None) -> Mapping[str, Any]:
        request: dict[str, Any] = {"Changes": to_aws(changes, self.rows)}
        if comment:
            request["Comment"] = comment
        answer = self.client.change_resource_record_sets(HostedZoneId=self.zone.id, ChangeBatch=request)
        info: Mapping[str, Any] = answer["ChangeInfo"]
        return info

    def _is_as(self, wanted: Records) -> bool:
        """Tell whether the record sets of the batch are now as wanted; unknown is no."""
        try:
            present = _records(_read(self.client, self.zone, self.changes))
        except Exception:
            return False
        return is_as(present, wanted, self.changes)

    def read_again(self, target: Target) -> tuple[Records | None, str | None]:
        """Read what is there after the change. A failure here must not pass for one of the change, so it is told."""
        gathered = gather([target], lambda _: _records(_read(self.client, self.zone, self.changes)))
        if gathered.answers:
            return gathered.answers[0][1], None
        return None, gathered.failures[0].error_code

    @property
    def broken_undo(self) -> str | None:
        """Say why what stood could not be put back, as Route 53 lists what it no longer takes; None where it can."""
        try:
            foresee(self.foreseen, in_order(self.foreseen, self.undo, self.zone, split=True), self.zone)
        except InvalidParameter as error:
            return f"What stood there Route 53 would not take now, so undo is refused: {error.message}"
        return None

    def note(self, made: Mapping[str, Any] | None, after: Records | None, failure: str | None) -> str | None:
        """Say what a reader must know besides."""
        notes = [] if (broken := self.broken_undo) is None else [broken]
        if made is None:
            notes.append("AWS's answer was lost; the records were read and are as asked.")
        if failure is not None:
            notes.append(f"The change was made, but the records could not be read after it ({failure}).")
        elif after is not None and not is_as(after, self.foreseen, self.changes):
            notes.append("The records are not what was asked for: somebody else has changed them meanwhile.")
        return " ".join(notes) or None

    def answer(
        self,
        after: Records | None,
        *,
        made: Mapping[str, Any] | None = None,
        note: str | None = None,
        dry_run: bool | None = None,
    ) -> ChangedRecordSets:
        """Return what the caller is told."""
        info = ChangeInfo.of(made) if made is not None else None
        return ChangedRecordSets(
            summary=summary_of(self.before, self.foreseen, self.changes, foreseen=bool(dry_run)),
            note=note,
            dry_run=dry_run,
            hosted_zone_id=self.zone.id,
            zone_name=self.zone.name,
            change_id=info.id if info else None,
            status=info.status if info else None,
            submitted_at=info.submitted_at if info else None,
            before=concerned(self.before, self.changes),
            after=concerned(after, self.changes) if after is not None else None,
            undo=self.undo,
        )


def _read(client: Any, zone: HostedZone, changes: Sequence[Change]) -> Rows:
    names = dict.fromkeys(change.name for change in changes)
    names |= dict.fromkeys(target[0] for change in changes if (target := _target(zone, change)) is not None)
    return rows_at(client, zone.id, names, zone.resource_record_set_count or 0)


def _targets_of(client: Any, zone: HostedZone, changes: Sequence[Change], rows: Rows) -> Rows:
    """Read what the aliases that stand there stand for: without it they could not be put back."""
    known = {key[0] for key in rows} | {change.name for change in changes}
    standing = [RecordSet.of(rows[change.key]) for change in changes if change.key in rows]
    targets = {target[0] for record in standing if (target := _target(zone, record)) is not None} - known
    return rows_at(client, zone.id, targets, zone.resource_record_set_count or 0) if targets else {}


def _target(zone: HostedZone, record: RecordSet) -> tuple[str, str] | None:
    """Return the record set of the zone that an alias is to stand for, which must be looked at too."""
    deleted = isinstance(record, Change) and record.action == "DELETE"
    target = None if deleted else alias_in(zone, record)
    return target if target is not None and is_within(target[0], zone.name) else None


def _is_refused(error: Exception) -> bool:
    return translate(error).error_code == "InvalidChangeBatch"


def _records(rows: Rows) -> dict[Key, RecordSet]:
    return {key: RecordSet.of(row) for key, row in rows.items()}


def _said(change: Change, before: Records) -> RecordSet:
    """Return what a change says to AWS, which of a DELETE is what is there."""
    return before.get(change.key, change) if change.action == "DELETE" else change
