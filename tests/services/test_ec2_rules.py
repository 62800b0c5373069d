"""Security groups' rules over moto: what is asked before much of the internet is let in, and what is one rule."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.conftest import Server, Session, boto, running
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production"}


@pytest.fixture
async def call(server: Server, empty_aws: None) -> AsyncIterator[Session]:
    async with server.session() as session:
        yield session


def group_with(*rules: dict[str, Any]) -> str:
    """A new group in which these stand already."""
    ec2 = boto("ec2", "production")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made: str = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    for rule in rules:
        kind = ("Ipv6Ranges", "CidrIpv6") if ":" in rule["cidr"] else ("IpRanges", "CidrIp")
        permission = {"IpProtocol": rule["ip_protocol"], kind[0]: [{kind[1]: rule["cidr"]}]}
        if "from_port" in rule:
            permission |= {"FromPort": rule["from_port"], "ToPort": rule["to_port"]}
        ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[permission])
    return made


def tcp(cidr: str, first: int = 22, last: int | None = None, protocol: str = "tcp") -> dict[str, Any]:
    return {"ip_protocol": protocol, "from_port": first, "to_port": last or first, "cidr": cidr}


def every(cidr: str) -> dict[str, Any]:
    return {"ip_protocol": "-1", "cidr": cidr}


PREFIXES = {"ip_protocol": "tcp", "from_port": 22, "to_port": 22, "prefix_list_id": "pl-0123456789abcdef0"}
ASKED: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "more than a /16": ([], tcp("198.18.0.0/15")),
    "a /9": ([], tcp("203.0.0.0/9", 3389)),
    "half of the internet": ([], tcp("0.0.0.0/1")),
    "half of the internet after the other half": ([tcp("0.0.0.0/1")], tcp("128.0.0.0/1")),
    "a second /16": ([tcp("198.51.0.0/16")], tcp("203.0.0.0/16")),
    "one address beyond a /16": ([tcp("198.51.0.0/16")], tcp("203.0.113.7/32")),
    "as a number": ([tcp("198.51.0.0/16")], tcp("203.0.113.0/24", protocol="6")),
    "a range over the port": ([tcp("198.51.0.0/16", 20, 30)], tcp("203.0.113.0/24", 25, 40)),
    "every port beside one": ([tcp("198.51.0.0/16")], every("203.0.113.0/24")),
    "one port beside every": ([every("198.51.0.0/16")], tcp("203.0.113.0/24", 53, protocol="udp")),
    "a web port among others": ([], tcp("0.0.0.0/0", 80, 443)),
    "a web port over UDP": ([], tcp("0.0.0.0/0", 443, protocol="udp")),
    "one port of which a web port is not": ([tcp("198.51.0.0/16", 80, 81)], tcp("203.0.113.0/24", 80, 81)),
    "pings": ([], tcp("0.0.0.0/0", -1, protocol="icmp")),
    "another protocol": ([], {"ip_protocol": "50", "cidr": "198.18.0.0/15"}),
    "RFC 1918 and around it": ([], tcp("8.0.0.0/6")),
    "more than a /32 of IPv6": ([], tcp("2600::/31")),
    "a second /32 of IPv6": ([tcp("2001:db8::/32")], tcp("2600:1f00::/40")),
    "IPv4 that is written as IPv6": ([], tcp("::ffff:0.0.0.0/96")),
    "a prefix list": ([], PREFIXES),
}
PLAIN: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "a /16": ([], tcp("198.51.0.0/16")),
    "an office's /24s": ([tcp("198.51.100.0/24"), tcp("203.0.113.0/24")], tcp("192.0.2.0/24")),
    "a /17 beside its sister": ([tcp("198.51.0.0/17")], tcp("198.51.128.0/17")),
    "what lies in it": ([tcp("198.51.0.0/16")], tcp("198.51.7.0/24")),
    "another port": ([tcp("198.51.0.0/16")], tcp("203.0.0.0/16", 23)),
    "another protocol": ([tcp("198.51.0.0/16", 53)], tcp("203.0.0.0/16", 53, protocol="udp")),
    "the web": ([], tcp("0.0.0.0/0", 443)),
    "the web, as a number": ([], tcp("::/0", 80, protocol="6")),
    "beside the web": ([tcp("0.0.0.0/0", 443), tcp("0.0.0.0/0", 80)], tcp("203.0.113.0/24", 443)),
    "RFC 1918": ([], every("10.0.0.0/8")),
    "RFC 1918 where much is open": ([tcp("0.0.0.0/0")], tcp("172.16.0.0/12")),
    "private IPv6": ([], tcp("fc00::/7")),
    "a /32 of IPv6 beside IPv4": ([tcp("198.51.0.0/16")], tcp("2001:db8::/32")),
}


@pytest.mark.parametrize("case", ASKED)
async def test_much_of_the_internet_is_let_in_with_a_yes_alone(call: Session, server: Server, case: str) -> None:
    standing, rule = ASKED[case]
    group = group_with(*standing)
    tried = await call("authorize_security_group_ingress", group_id=group, **rule, dry_run=True, **AT)
    asked = await call("authorize_security_group_ingress", group_id=group, **rule, **AT)
    assert (tried.is_error, asked.error_code) == (False, "ConfirmationRequired"), asked.content
    lost = asked["plan"]["will_be_lost"]
    assert (rule.get("cidr") or rule["prefix_list_id"]) in lost
    assert "than one IP" in lost or "prefix list" in lost
    if rule["ip_protocol"] != "50":  # moto cannot add this one
        added = await call("authorize_security_group_ingress", group_id=group, **rule, confirm=asked["confirm"], **AT)
        assert not added.is_error, added.text


@pytest.mark.parametrize("case", PLAIN)
async def test_a_part_of_it_private_networks_and_the_web_are_let_in_without_asking(call: Session, case: str) -> None:
    standing, rule = PLAIN[case]
    added = await call("authorize_security_group_ingress", group_id=group_with(*standing), **rule, **AT)
    assert not added.is_error, added.text


async def test_a_yes_is_to_the_rules_that_stood(call: Session) -> None:
    group = group_with(tcp("198.51.0.0/16"))
    asked = await call("authorize_security_group_ingress", group_id=group, **tcp("203.0.113.0/24"), **AT)
    assert not (await call("authorize_security_group_ingress", group_id=group, **tcp("10.0.0.0/8"), **AT)).is_error
    late = await call(
        "authorize_security_group_ingress", group_id=group, **tcp("203.0.113.0/24"), confirm=asked["confirm"], **AT
    )
    assert late.error_code == "ConfirmationInvalid"


async def test_without_destroy_the_part_is_let_in_and_the_rest_is_out_of_scope(
    environment: None, empty_aws: None, tmp_path: Any
) -> None:
    token = "writer-0123456789-abcdefgh"
    digest = hashlib.sha256(token.encode()).hexdigest()
    callers = tmp_path / "callers.toml"
    callers.write_text(f'[callers.writer]\ntoken_sha256 = "{digest}"\nscopes = ["read", "write"]\n')
    group = group_with()
    async with (
        running(TOOLSETS="ec2", MCP_CALLERS_FILE=str(callers)) as server,
        server.session(token=token) as writer,
    ):
        add = partial(writer, "authorize_security_group_ingress", group_id=group, **AT)
        assert not (await add(**tcp("198.51.0.0/16"))).is_error
        assert not (await add(**tcp("203.0.113.0/24"), dry_run=True)).is_error
        for rule in (tcp("203.0.113.0/24"), tcp("0.0.0.0/0"), PREFIXES):
            refused = await add(**rule)
            assert (refused.error_code, "plan" in refused.content) == ("ScopeRequired", False)


SPELLINGS = [
    (tcp("2001:db8::/32"), tcp("2001:DB8::/32")),
    (tcp("2001:db8::/32"), tcp("2001:0db8:0:0::/32", protocol="6")),
    (tcp("2001:DB8:0::/48"), tcp("2001:db8::/48", protocol="006")),
    (tcp("10.1.2.3/8"), tcp("10.0.0.0/8")),
    (tcp("10.0.0.0/8"), tcp("10.0.0.0/255.0.0.0")),
    (tcp("10.0.0.0/8", 53, protocol="udp"), tcp("10.0.0.0/8", 53, protocol="17")),
    (tcp("10.0.0.0/8", -1, protocol="icmp"), tcp("10.0.0.0/8", -1, protocol="1")),
    (tcp("fd00::/8", -1, protocol="58"), tcp("FD00::/8", -1, protocol="icmpv6")),
]


@pytest.mark.parametrize(("standing", "spelled"), SPELLINGS)
async def test_a_rule_is_one_however_it_is_spelled(
    call: Session, standing: dict[str, Any], spelled: dict[str, Any]
) -> None:
    group = group_with(standing)
    for dry_run in (True, False):
        again = await call("authorize_security_group_ingress", group_id=group, **spelled, dry_run=dry_run, **AT)
        assert again.error_code == "InvalidPermission.Duplicate", (dry_run, again.text)
    for dry_run in (True, False):
        gone = await call("revoke_security_group_ingress", group_id=group, **spelled, dry_run=dry_run, **AT)
        assert (gone.is_error, gone["after"]) == (False, []), (dry_run, gone.text)


OURS, THEIRS, GROUP = "111111111111", "222222222222", "sg-0aaaaaaaaaaaaaaa0"
PAIRS = "".join(
    f"<item>{''.join(f'<{name}>{value}</{name}>' for name, value in pair.items())}</item>"
    for pair in (
        {"userId": OURS, "groupId": "sg-0bbbbbbbbbbbbbbb0", "description": "own"},
        {"userId": THEIRS, "groupId": GROUP, "peeringStatus": "active"},
        {
            "userId": THEIRS,
            "groupId": "sg-0cccccccccccccccc",
            "vpcPeeringConnectionId": "pcx-1",
            "peeringStatus": "deleted",
        },
        {"userId": "amazon-elb", "groupName": "amazon-elb-sg"},
        {"userId": THEIRS, "vpcPeeringConnectionId": "pcx-2", "peeringStatus": "pending-acceptance"},
    )
)


class _PeeredEC2(Handler):
    """A group with rules from other accounts' groups, which moto does not know; remembers what it was sent."""

    sent: list[dict[str, list[str]]]

    def answer(self, body: bytes) -> None:
        asked = parse_qs(body.decode())
        self.sent.append(asked)
        (action,) = asked["Action"]
        rule = "<item><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort>"
        group = (
            f"<item><ownerId>{OURS}</ownerId><groupId>sg-0123456789abcdef0</groupId><groupName>g</groupName>"
            f"<ipPermissions>{rule}<groups>{PAIRS}</groups></item></ipPermissions></item>"
        )
        content = f"<securityGroupInfo>{group}</securityGroupInfo>" if action.startswith("Describe") else ""
        namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
        self.reply(f'<{action}Response xmlns="{namespace}">{content}<return>true</return></{action}Response>')


async def test_another_accounts_group_is_shown_and_named_with_its_account(
    environment: None, empty_aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = type("Peered", (_PeeredEC2,), {"sent": []})
    with listening(handler) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
        async with running(TOOLSETS="ec2") as server, server.session() as call:
            (group,) = (await call("describe_security_groups", **AT))["security_groups"]
            (rule,) = group["ingress"]
            assert rule["sources"] == [
                "sg-0bbbbbbbbbbbbbbb0", f"{THEIRS}/{GROUP}", f"{THEIRS}/sg-0cccccccccccccccc",
                "amazon-elb/amazon-elb-sg", f"{THEIRS}/pcx-2",
            ]  # fmt: skip
            assert rule["descriptions"] == {"sg-0bbbbbbbbbbbbbbb0": "own"}
            assert rule["peering_status"] == {
                f"{THEIRS}/sg-0cccccccccccccccc": "deleted", f"{THEIRS}/pcx-2": "pending-acceptance",
            }  # fmt: skip
            ssh = {"group_id": group["group_id"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22, **AT}
            for source in (f"{THEIRS}/{GROUP}", f"{OURS}/sg-0bbbbbbbbbbbbbbb0"):
                tried = await call("authorize_security_group_ingress", **ssh, source_group_id=source, dry_run=True)
                assert tried.error_code == "InvalidPermission.Duplicate"
            new = await call("authorize_security_group_ingress", **{**ssh, "from_port": 23, "to_port": 23},
                             source_group_id=f"{THEIRS}/{GROUP}")  # fmt: skip
            gone = await call("revoke_security_group_ingress", **ssh, source_group_id=f"{THEIRS}/{GROUP}")
            assert not new.is_error, new.text
            assert not gone.is_error, gone.text
            bare = await call("revoke_security_group_ingress", **ssh, source_group_id=GROUP, dry_run=True)
            assert bare.error_code == "InvalidPermission.NotFound"
    changes = [one for one in handler.sent if not one["Action"][0].startswith("Describe")]
    for one in changes:
        pair = {name.rpartition(".")[2]: value for name, (value,) in one.items() if ".Groups." in name}
        assert pair == {"UserId": THEIRS, "GroupId": GROUP}
    assert len(changes) == 2
