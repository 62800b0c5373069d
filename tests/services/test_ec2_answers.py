"""EC2's answers that moto does not give: over a small canned EC2."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.conftest import Server, Session, running
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production"}
INSTANCE = "i-0123456789abcdef0"


def interface(number: int, *prefixes: str, secondary: str = "", public: str = "") -> str:
    """An interface whose first address is 10.0.0.<number>."""
    own, tags = f"10.0.0.{number}", {False: ("ipv4Prefix", "4"), True: ("ipv6Prefix", "6")}
    held = {kind: "".join(f"<item><{kind[0]}>{p}</{kind[0]}></item>" for p in prefixes if (":" in p) is v6)
            for v6, kind in tags.items()}  # fmt: skip
    sets = "".join(f"<ipv{kind[1]}PrefixSet>{rows}</ipv{kind[1]}PrefixSet>" for kind, rows in held.items() if rows)
    association = f"<association><publicIp>{public}</publicIp></association>" if public else ""
    addresses = f"<item><privateIpAddress>{own}</privateIpAddress></item>"
    if secondary:
        addresses += f"<item><privateIpAddress>{secondary}</privateIpAddress>{association}</item>"
    return (
        f"<item><networkInterfaceId>eni-{number}</networkInterfaceId><privateIpAddress>{own}</privateIpAddress>"
        f"<privateIpAddressesSet>{addresses}</privateIpAddressesSet>{sets}</item>"
    )


SUBNET = "<subnetId>subnet-1</subnetId><ipv6Native>true</ipv6Native>"


def association(kind: str, block: str, state: str = "associated") -> str:
    return f"<item><{kind}>{block}</{kind}><{kind}State><state>{state}</state></{kind}State></item>"


class _EC2(Handler):
    """Knows interfaces by their addresses alone, as AWS's filters do; prefixes are in its pages."""

    interfaces: list[str]
    console: str
    tagged: list[dict[str, list[str]]]

    def answer(self, body: bytes) -> None:
        asked = parse_qs(body.decode())
        (action,) = asked["Action"]
        content = getattr(self, f"_{action}", lambda _: "")(asked)
        namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
        self.reply(f'<{action}Response xmlns="{namespace}">{content}</{action}Response>')

    def _DescribeNetworkInterfaces(self, asked: dict[str, list[str]]) -> str:
        wanted = asked.get("Filter.1.Value.1", [""])[0]
        place = "publicIp" if "public-ip" in asked.get("Filter.1.Name", [""])[0] else "privateIpAddress"
        if wanted:
            found = [row for row in self.interfaces if f"<{place}>{wanted}</{place}>" in row]
            return f"<networkInterfaceSet>{''.join(found)}</networkInterfaceSet>"
        page = int(asked.get("NextToken", ["0"])[0])
        more = f"<nextToken>{page + 1}</nextToken>" if page + 1 < len(self.interfaces) else ""
        return f"<networkInterfaceSet>{''.join(self.interfaces[page : page + 1])}</networkInterfaceSet>{more}"

    def _DescribeAddresses(self, _: dict[str, list[str]]) -> str:
        return "<addressesSet/>"

    def _GetConsoleOutput(self, _: dict[str, list[str]]) -> str:
        output = base64.b64encode(self.console.encode()).decode()
        return f"<instanceId>{INSTANCE}</instanceId><output>{output}</output>"

    def _CreateTags(self, asked: dict[str, list[str]]) -> str:
        self.tagged.append(asked)
        return "<return>true</return>"

    def _DescribeVolumes(self, asked: dict[str, list[str]]) -> str:
        return self._CreateTags(asked) + "<volumeSet/>"

    _DeleteTags = _CreateTags

    def _DescribeVpcs(self, _: dict[str, list[str]]) -> str:
        blocks = association("cidrBlock", "10.0.0.0/16") + association("cidrBlock", "100.64.0.0/16")
        blocks += association("cidrBlock", "10.9.0.0/16", "disassociated")
        six = association("ipv6CidrBlock", "2600:1f00::/56")
        sets = (
            f"<cidrBlockAssociationSet>{blocks}</cidrBlockAssociationSet>"
            f"<ipv6CidrBlockAssociationSet>{six}</ipv6CidrBlockAssociationSet>"
        )
        return f"<vpcSet><item><vpcId>vpc-1</vpcId><cidrBlock>10.0.0.0/16</cidrBlock>{sets}</item></vpcSet>"

    def _DescribeSubnets(self, _: dict[str, list[str]]) -> str:
        sets = f"<ipv6CidrBlockAssociationSet>{association('ipv6CidrBlock', '2600:1f00::/64')}"
        return f"<subnetSet><item><vpcId>vpc-1</vpcId>{sets}</ipv6CidrBlockAssociationSet>{SUBNET}</item></subnetSet>"

    def _DescribeInstances(self, _: dict[str, list[str]]) -> str:
        return "<reservationSet/>"

    def _DescribeSecurityGroups(self, _: dict[str, list[str]]) -> str:
        return "<securityGroupInfo/>"

    def _DescribeSnapshots(self, _: dict[str, list[str]]) -> str:
        row = "<snapshotId>snap-1</snapshotId><status>completed</status><storageTier>archive</storageTier>"
        return f"<snapshotSet><item>{row}</item></snapshotSet>"


@pytest.fixture(scope="module")
def canned(environment: None) -> Iterator[Any]:
    handler = type("EC2", (_EC2,), {})
    with listening(handler) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_EC2", url)
        yield handler


@pytest.fixture(scope="module")
async def started(canned: Any) -> AsyncIterator[Server]:
    async with running(TOOLSETS="ec2") as server:
        yield server


@pytest.fixture
def ec2(canned: Any) -> Any:
    canned.interfaces, canned.console, canned.tagged = [], "", []
    return canned


@pytest.fixture
async def call(ec2: Any, started: Server) -> AsyncIterator[Session]:
    async with started.session() as session:
        yield session


HELD: list[tuple[str, str, dict[str, str]]] = [
    ("10.0.1.20", "eni-2", {"delegated_prefix": "10.0.1.16/28", "private_ip_address": "10.0.0.2"}),
    ("::ffff:10.0.1.31", "eni-2", {"delegated_prefix": "10.0.1.16/28"}),
    ("2600:1F00:0:1:2::9", "eni-3", {"delegated_prefix": "2600:1f00:0:1:2::/80"}),
    ("10.0.0.1", "eni-1", {"private_ip_address": "10.0.0.1"}),
    ("10.0.0.77", "eni-1", {"private_ip_address": "10.0.0.77", "public_ip": "44.0.0.7"}),
    ("44.0.0.7", "eni-1", {"private_ip_address": "10.0.0.77", "public_ip": "44.0.0.7"}),
]


@pytest.mark.parametrize(("address", "holder", "members"), HELD)
async def test_who_holds_an_address_is_found_by_every_kind_that_an_interface_has(
    call: Session, ec2: Any, address: str, holder: str, members: dict[str, str]
) -> None:
    ec2.interfaces = [
        interface(1, secondary="10.0.0.77", public="44.0.0.7"),
        interface(2, "10.0.1.0/28", "10.0.1.16/28"),
        interface(3, "10.0.2.0/28", "2600:1f00:0:1:2::/80"),
    ]
    found = await call("find_ip_owner", address=address, **AT)
    (row,) = found["found"]
    assert row["network_interface_id"] == holder
    assert {name: row[name] for name in members} == members
    assert found["not_searched"] == []


async def test_where_nobody_holds_an_address_it_is_said_what_was_not_searched(call: Session, ec2: Any) -> None:
    ec2.interfaces = [interface(1, "10.0.1.0/28")]
    inside = await call("find_ip_owner", address="10.0.1.16", **AT)
    assert (inside["found"], len(inside["not_searched"])) == ([], 1)
    assert "regions" in inside["not_searched"][0]
    outside = await call("find_ip_owner", address="44.0.0.8", regions=["us-east-1", "eu-west-1"], **AT)
    assert sum("refixes" in text for text in outside["not_searched"]) == 2


@pytest.mark.parametrize("text", ["Ubuntu24", "login: YWRtaW4=", "c2VjcmV0", "", "Grüße\n"])
async def test_a_console_is_shown_as_it_was_printed(call: Session, ec2: Any, text: str) -> None:
    ec2.console = text
    assert (await call("get_console_output", instance_id=INSTANCE, **AT))["output"] == text


async def test_whatever_stands_can_be_named(call: Session, ec2: Any) -> None:
    ids = ["sir-7hqz9wkp", "af9f760e-6f91-4559-85f7-4980eexample", "tgw-attach-0123456789abcdef0", "fleet-1a-2b"]
    assert not (await call("create_tags", resource_ids=ids, tags={"k" * 128: "v" * 256}, **AT)).is_error
    assert not (await call("delete_tags", resource_ids=ids, tag_keys=["k" * 128], **AT)).is_error
    assert not (await call("describe_volumes", filters={f"tag:{'k' * 128}": ["v"]}, **AT)).is_error
    assert ec2.tagged[0]["ResourceId.1"] == ["sir-7hqz9wkp"]
    assert ec2.tagged[2]["Filter.1.Name"] == [f"tag:{'k' * 128}"]
    refused: list[tuple[str, dict[str, Any]]] = [
        ("create_tags", {"resource_ids": ids, "tags": {"k" * 129: "v"}}),
        ("create_tags", {"resource_ids": ids, "tags": {"AWS:k": "v"}}),
        ("delete_tags", {"resource_ids": ids, "tag_keys": ["Aws:k"]}),
        ("delete_tags", {"resource_ids": ["web server"], "tag_keys": ["k"]}),
    ]
    for tool, arguments in refused:
        assert (await call(tool, **arguments, **AT)).error_code == "InvalidParameter", arguments


async def test_what_decides_what_can_be_done_is_shown(call: Session, ec2: Any) -> None:
    (vpc,) = (await call("describe_vpcs", **AT))["vpcs"]
    assert (vpc["cidr_block"], vpc["further_cidr_blocks"]) == ("10.0.0.0/16", ["100.64.0.0/16", "2600:1f00::/56"])
    (subnet,) = (await call("describe_subnets", **AT))["subnets"]
    assert ("cidr_block" in subnet, subnet["ipv6_cidr_blocks"]) == (False, ["2600:1f00::/64"])
    (snapshot,) = (await call("describe_snapshots", **AT))["snapshots"]
    assert snapshot["storage_tier"] == "archive"


async def test_an_answer_without_what_was_asked_for_is_awss_fault(call: Session, ec2: Any) -> None:
    rule = {"group_id": "sg-0123456789abcdef0", "ip_protocol": "-1", "cidr": "10.0.0.0/8"}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("describe_instance", {"instance_id": INSTANCE}),
        ("terminate_instances", {"instance_ids": [INSTANCE]}),
        ("authorize_security_group_ingress", rule),
        ("revoke_security_group_ingress", {**rule, "dry_run": True}),
    ]
    for tool, arguments in asked:
        assert (await call(tool, **arguments, **AT)).error_code == "ServiceUnavailable", tool
