"""Route 53's names, ids and results, record sets above all. What their values may be: _route53_records.

Source: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ResourceRecordSet.html
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_pascal, to_snake

from errors import IncompleteAnswer
from services.base import AWSModel, Page, Timestamp

_PLAIN = frozenset(string.ascii_lowercase + string.digits + "-_*")
_CHARACTER = re.compile(r"\\([0-3][0-7]{2})|([!-\[\]-~])")  # printable ASCII but the backslash, or an octal escape
_ACRONYMS = {"ttl": "TTL", "dns_name": "DNSName", "aws_region": "AWSRegion"}


def domain_name(text: str) -> str:
    r"""Return a domain name as we show it: lower case, with its trailing dot; what is special as `\ooo`.

    A star that stands for the whole leftmost label is `*`, any other `\052`: DNS takes it for the character.

    Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DomainNameFormat.html
    """
    labels = [""]
    position = 0
    while position < len(text):
        if (found := _CHARACTER.match(text, position)) is None:
            raise ValueError(r"is not a domain name: write other characters as \ooo, international ones in Punycode")
        position = found.end()
        character = chr(int(found[1], 8)) if found[1] else found[2]
        if character == "." and not found[1]:
            labels.append("")
        else:
            character = character.lower() if character.isascii() else character  # a letter has no case, escaped or not
            labels[-1] += character if character in _PLAIN else f"\\{ord(character):03o}"
    if labels[-1] == "" and len(labels) > 1:
        labels.pop()
    labels = [
        label if label == "*" and not number else label.replace("*", r"\052") for number, label in enumerate(labels)
    ]
    sizes = [len(re.sub(r"\\...", "x", label)) for label in labels]
    if not all(1 <= size <= 63 for size in sizes) or sum(sizes) + len(sizes) > 254:
        raise ValueError("is not a domain name: labels have 1 to 63 characters, the whole at most 254")
    return ".".join(labels) + "."


def shown_name(name: str) -> str:
    """Return a name that AWS holds as we show it; one that we cannot read stays as it is."""
    try:
        return domain_name(name)
    except ValueError:
        return name


def suffixes(name: str) -> Iterator[str]:
    """Yield a name and what it lies in, longest first."""
    labels = name.rstrip(".").split(".")
    yield from (".".join(labels[number:]) + "." for number in range(len(labels)))


def is_within(name: str, zone: str) -> bool:
    """Tell whether a name is a zone's own or lies below it."""
    return name == zone or name.endswith(f".{zone}")


def _zone_id(text: str) -> str:
    bare = text.removeprefix("/").removeprefix("hostedzone/")
    if not re.fullmatch(r"[A-Z0-9]{1,32}", bare):
        raise ValueError("is not a hosted zone's id such as Z0123456789ABC; find_zone_owner finds it by name")
    return bare


def bare(identifier: str) -> str:
    """Return an id without the path that AWS's answers put before it: /hostedzone/, /change/."""
    return identifier.rsplit("/", 1)[-1]


def _star_is_a_wildcard(text: str) -> str:
    r"""Refuse a star that would be none: who means the character writes `\052`, as Route 53 lists it."""
    if "*" in text[1:] or (text[:1] == "*" and text[1:2] not in ("", ".")):
        raise ValueError(r"has a * that does not stand for the whole leftmost label; \052 is the character")
    return text


DomainName = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(domain_name)]
RecordName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    AfterValidator(_star_is_a_wildcard),
    AfterValidator(domain_name),
]
ZoneId = Annotated[str, AfterValidator(_zone_id)]
RecordType = Literal[
    "A", "AAAA", "CAA", "CNAME", "DS", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SPF", "SRV", "SSHFP", "SVCB",
    "TLSA", "TXT",
]  # fmt: skip
SetIdentifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


def aws_member(field: str) -> str:
    """Return AWS's name of a record set's member."""
    return _ACRONYMS.get(field) or to_pascal(field)


class _Shape(BaseModel):
    """What goes to AWS and comes from it: in snake case here, and taken in AWS's own spelling too."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _in_snake_case(cls, value: Any) -> Any:
        return {to_snake(str(key)): item for key, item in value.items()} if isinstance(value, dict) else value


class AliasTarget(_Shape):
    hosted_zone_id: Annotated[str, AfterValidator(bare), Field(description="The target's own zone, or its service's")]
    dns_name: str
    evaluate_target_health: bool = False


class GeoLocation(_Shape):
    continent_code: str | None = None
    country_code: str | None = None
    subdivision_code: str | None = None


class CidrRoutingConfig(_Shape):
    collection_id: str
    location_name: str


class Coordinates(_Shape):
    latitude: str
    longitude: str


class GeoProximityLocation(_Shape):
    aws_region: str | None = None
    local_zone_group: str | None = None
    coordinates: Coordinates | None = None
    bias: int | None = None


def _values(records: Any) -> Any:
    """AWS's list of Value members as a list of texts."""
    if not isinstance(records, list):
        return records
    return [
        next(iter(record.values()))
        if isinstance(record, dict) and len(record) == 1 and next(iter(record)) in ("Value", "value")
        else record
        for record in records
    ]


Values = Annotated[list[str], BeforeValidator(_values)]


def _true_or_absent(value: Any) -> Any:
    """A record set that is no multivalue answer says so, or says nothing: it is the same one."""
    return None if value is False else value


class RecordSet(_Shape):
    """A resource record set, all that AWS says of it: what is left out here could not be put back."""

    name: str
    type: str
    ttl: int | None = None
    resource_records: Values | None = None
    alias_target: AliasTarget | None = None
    set_identifier: str | None = None
    weight: int | None = None
    region: str | None = None
    failover: str | None = None
    geo_location: GeoLocation | None = None
    multi_value_answer: Annotated[bool | None, BeforeValidator(_true_or_absent)] = None
    health_check_id: str | None = None
    cidr_routing_config: CidrRoutingConfig | None = None
    geo_proximity_location: GeoProximityLocation | None = None
    traffic_policy_instance_id: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RecordSet:
        """Return a record set from AWS's answer.

        Raises:
            IncompleteAnswer: the answer is none of a record set.
        """
        try:
            return cls.model_validate({**row, "Name": shown_name(row["Name"])})
        except ValidationError:
            raise IncompleteAnswer from None

    @property
    def key(self) -> tuple[str, str, str | None]:
        """What tells record sets of a zone apart."""
        return self.name, self.type, self.set_identifier

    def to_aws(self) -> dict[str, Any]:
        """Return it as AWS takes it."""
        request: dict[str, Any] = _in_aws_names(self.model_dump(exclude_none=True, include=set(RecordSet.model_fields)))
        if self.resource_records is not None:
            request["ResourceRecords"] = [{"Value": value} for value in self.resource_records]
        return request


class Change(RecordSet):
    """One change of a batch, flat: its action and the record set's members; the CLI's nested form is taken too."""

    action: Literal["CREATE", "UPSERT", "DELETE"]
    name: RecordName
    type: RecordType
    ttl: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    resource_records: Annotated[Values, Field(min_length=1, max_length=1_000)] | None = None
    set_identifier: SetIdentifier | None = None
    weight: Annotated[int, Field(ge=0, le=255)] | None = None
    failover: Literal["PRIMARY", "SECONDARY"] | None = None
    health_check_id: Annotated[str, StringConstraints(pattern=r"^[\w-]{1,64}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        nested = [name for name in value if to_snake(str(name)) == "resource_record_set"]
        if not nested or not isinstance(value[nested[0]], dict):
            return value
        return {**{name: item for name, item in value.items() if name != nested[0]}, **value[nested[0]]}

    @model_serializer(mode="wrap")
    def _action_first(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content = handler(self)
        return {**({"action": content["action"]} if "action" in content else {}), **content}

    def record(self) -> RecordSet:
        """Return the record set that it speaks of."""
        return RecordSet.model_validate({name: getattr(self, name) for name in RecordSet.model_fields})


def _in_aws_names(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {aws_member(name): _in_aws_names(item) for name, item in value.items()}


class HostedZone(AWSModel):
    id: str
    name: str
    private_zone: bool = False
    comment: str | None = None
    resource_record_set_count: int | None = None
    linked_service: str | None = None
    caller_reference: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> HostedZone:
        """Return a zone from AWS's answer."""
        config = row.get("Config", {})
        return cls(
            id=bare(row["Id"]),
            name=shown_name(row["Name"]),
            private_zone=config.get("PrivateZone", False),
            comment=config.get("Comment") or None,
            resource_record_set_count=row.get("ResourceRecordSetCount"),
            linked_service=row.get("LinkedService", {}).get("ServicePrincipal"),
            caller_reference=row["CallerReference"],
        )


class HostedZones(Page):
    hosted_zones: list[HostedZone]
    count: int


class Vpc(AWSModel):
    vpc_id: str = Field(alias="VPCId")
    vpc_region: str | None = Field(default=None, alias="VPCRegion")


class ChangeInfo(AWSModel):
    """How far a change has come: PENDING, or INSYNC once every name server of AWS answers with it."""

    id: str
    status: Literal["PENDING", "INSYNC"]
    submitted_at: Timestamp
    comment: str | None = None
    advice: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any], advice: str | None = None) -> ChangeInfo:
        """Return a change from AWS's answer."""
        return cls.model_validate({**row, "Id": bare(row["Id"]), "Advice": advice})


class HostedZoneDetail(AWSModel):
    hosted_zone: HostedZone
    name_servers: list[str] = []
    vpcs: list[Vpc] = []

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> HostedZoneDetail:
        """Return a zone with where it is answered from AWS's answer."""
        vpcs = answer.get("VPCs") or ([answer["VPC"]] if answer.get("VPC") else [])
        return cls(
            hosted_zone=HostedZone.of(answer["HostedZone"]),
            name_servers=answer.get("DelegationSet", {}).get("NameServers", []),
            vpcs=[Vpc.model_validate(row) for row in vpcs],
        )


class MadeZone(HostedZoneDetail):
    """A new zone; `existed` where an earlier call with this caller_reference has made it."""

    existed: bool | None = None
    change: ChangeInfo | None = None
    next: str | None = None
