"""EC2's tools over moto, in two accounts; pages that moto does not make over a small canned EC2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from moto.ec2.responses.security_groups import SecurityGroups

from tests.conftest import Server, Session, boto, running
from tests.loopback import Handler, listening

AT: dict[str, Any] = {"account": "production"}


@pytest.fixture
async def call(server: Server, empty_aws: None, wire: tuple[str, str]) -> AsyncIterator[Session]:
    async with server.session(*wire) as session:
        yield session


def launch(account: str = "production", count: int = 1, name: str = "web") -> list[str]:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
    answer = boto("ec2", account).run_instances(
        ImageId="ami-12c6146b", InstanceType="t3.small", MinCount=count, MaxCount=count, TagSpecifications=tags
    )
    return [row["InstanceId"] for row in answer["Instances"]]


async def test_instances_are_a_compact_row_each_and_stay_in_their_account(call: Session) -> None:
    (instance,) = launch()
    launch("staging", name="other")
    listed = await call("describe_instances", filters={"tag:Name": ["web"]}, **AT)
    (row,) = listed["instances"]
    assert (row["instance_id"], row["name"], row["state"]) == (instance, "web", "running")
    assert [r["name"] for r in (await call("describe_instances", account="staging"))["instances"]] == ["other"]


async def test_one_instance_comes_with_its_checks_and_its_console_is_a_plaintext(call: Session) -> None:
    (instance,) = launch()
    detail = await call("describe_instance", instance_id=instance, **AT)
    assert detail["instance"]["instance_id"] == instance
    assert (detail["termination_protected"], detail["instance_status"]) == (False, "ok")
    assert detail["volumes"]
    console = await call("get_console_output", instance_id=instance, max_characters=10, **AT)
    assert (len(console["output"]), console["truncated"]) == (10, True)
    assert (await call("describe_instance", instance_id=instance, account="staging")).is_error


async def test_what_a_console_printed_needs_reveal(environment: None) -> None:
    async with running(TOOLSETS="ec2", REVEAL="0") as server, server.session() as session:
        names = {tool.name for tool in await session.client.list_tools()}
    assert "describe_instance" in names
    assert "get_console_output" not in names


async def test_instances_stop_start_and_reboot(call: Session) -> None:
    ids = launch(count=2)
    stopped = await call("stop_instances", instance_ids=ids, **AT)
    assert {change["previous_state"] for change in stopped["changes"]} == {"running"}
    started = await call("start_instances", instance_ids=ids, **AT)
    assert len(started["changes"]) == 2
    assert (await call("reboot_instances", instance_ids=ids, **AT))["changes"][0]["current_state"] == "running"
    tried = await call("stop_instances", instance_ids=ids, dry_run=True, **AT)
    assert tried["dry_run"] is True
    states = (await call("describe_instances", **AT))["instances"]
    assert {row["state"] for row in states} == {"running"}


async def test_termination_is_confirmed_and_protection_is_respected(call: Session) -> None:
    doomed, kept = launch(count=2)
    boto("ec2", "production").modify_instance_attribute(InstanceId=kept, DisableApiTermination={"Value": True})
    protected = await call("terminate_instances", instance_ids=[doomed, kept], **AT)
    assert (protected.error_code, "protection" in protected["message"]) == ("InvalidParameter", True)
    asked = await call("terminate_instances", instance_ids=[doomed], **AT)
    assert doomed in asked["plan"]["target"]
    assert "vol-" in asked["plan"]["will_be_lost"]
    tried = await call("terminate_instances", instance_ids=[doomed], dry_run=True, **AT)
    assert (tried["dry_run"], tried["changes"]) == (True, [])
    done = await call("terminate_instances", instance_ids=[doomed], confirm=asked["confirm"], **AT)
    assert done["changes"][0]["instance_id"] == doomed
    again = await call("terminate_instances", instance_ids=[doomed], confirm=asked["confirm"], **AT)
    assert again.error_code == "ConfirmationInvalid"


async def test_rules_are_shown_before_and_after(call: Session) -> None:
    (group,) = boto("ec2", "production").describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    rule = {"group_id": group["GroupId"], "ip_protocol": "tcp", "from_port": 443, "to_port": 443, "cidr": "10.0.0.0/8"}
    foreseen = await call("authorize_security_group_ingress", **rule, dry_run=True, **AT)
    added = await call("authorize_security_group_ingress", **rule, **AT)
    assert added["before"] == []
    assert added["after"] == foreseen["after"] != []
    listed = await call("describe_security_groups", filters={"group-id": [group["GroupId"]]}, **AT)
    assert listed["security_groups"][0]["ingress"][0]["sources"] == ["10.0.0.0/8"]
    foreseen = await call("revoke_security_group_ingress", **rule, dry_run=True, **AT)
    removed = await call("revoke_security_group_ingress", **rule, **AT)
    assert removed["after"] == foreseen["after"] == []
    for _ in range(2):  # what is not there is not revoked, tried or not
        gone = await call("revoke_security_group_ingress", **rule, dry_run=not _, **AT)
        assert gone.error_code == "InvalidPermission.NotFound"


async def test_rules_of_every_kind_are_added_and_shown_with_their_descriptions(call: Session) -> None:
    ec2 = boto("ec2", "production")
    (group,) = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    prefixes = ec2.create_managed_prefix_list(PrefixListName="p", MaxEntries=1, AddressFamily="IPv4")["PrefixList"]
    rule: dict[str, Any] = {"group_id": group["GroupId"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22}
    sources = {
        "cidr": "2001:db8::/32", "prefix_list_id": prefixes["PrefixListId"], "source_group_id": group["GroupId"],
    }  # fmt: skip
    for name, source in sources.items():
        given = {name: source, "description": f"of {name}"}
        foreseen = await call("authorize_security_group_ingress", **rule, **given, dry_run=True, **AT)
        add = call.confirmed if name == "prefix_list_id" else call
        added = await add("authorize_security_group_ingress", **rule, **given, **AT)
        if name != "prefix_list_id":  # moto forgets this one's
            assert added["after"][0]["descriptions"][source] == f"of {name}"
        assert sorted(added["after"][0]["sources"]) == sorted(foreseen["after"][0]["sources"])
        again = await call("authorize_security_group_ingress", **rule, **given, dry_run=True, **AT)
        assert again.error_code == "InvalidPermission.Duplicate"
    twice = await call("authorize_security_group_ingress", **rule, cidr="2001:db8::/32", **AT)
    assert twice.error_code == "InvalidPermission.Duplicate"
    all_icmp = {"group_id": group["GroupId"], "ip_protocol": "icmp", "from_port": -1, "to_port": -1}
    assert (await call("authorize_security_group_ingress", **all_icmp, cidr="10.0.0.0/8", **AT))["success"]


async def test_opening_more_than_web_ports_to_the_internet_is_confirmed(call: Session) -> None:
    (group,) = boto("ec2", "production").describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    rule: dict[str, Any] = {"group_id": group["GroupId"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22, **AT}
    for cidr in ("0.0.0.0/0", "128.0.0.0/1", "::/0"):
        asked = await call("authorize_security_group_ingress", **rule, cidr=cidr)
        assert asked.error_code == "ConfirmationRequired", cidr
        assert f"{cidr} may reach ports 22 to 22" in asked["plan"]["will_be_lost"]
    await call.confirmed("authorize_security_group_ingress", **rule, cidr="0.0.0.0/0")
    web = {**rule, "from_port": 443, "to_port": 443, "cidr": "0.0.0.0/0"}
    assert (await call("authorize_security_group_ingress", **web))["after"]
    everything = {"group_id": group["GroupId"], "ip_protocol": "-1", "cidr": "0.0.0.0/0"}
    asked = await call("authorize_security_group_ingress", **everything, **AT)
    assert "every port" in asked["plan"]["will_be_lost"]


async def test_a_revocation_that_aws_calls_a_success_and_did_nothing_is_a_failure(
    server: Server, empty_aws: None
) -> None:
    (group,) = boto("ec2", "production").describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    rule = {"group_id": group["GroupId"], "ip_protocol": "tcp", "from_port": 443, "to_port": 443, "cidr": "10.0.0.0/8"}
    answer = (
        '<RevokeSecurityGroupIngressResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><return>true</return>'
        "<unknownIpPermissionSet><item><ipProtocol>tcp</ipProtocol></item></unknownIpPermissionSet>"
        "</RevokeSecurityGroupIngressResponse>"
    )
    async with server.session() as call:
        with pytest.MonkeyPatch.context() as patch:  # as AWS does in a default VPC; moto does not
            patch.setattr(SecurityGroups, "revoke_security_group_ingress", lambda _: answer)
            refused = await call("revoke_security_group_ingress", **rule, **AT)
    assert refused.error_code == "InvalidPermission.NotFound"


async def test_volumes_snapshots_and_tags(call: Session) -> None:
    volume = boto("ec2", "production").create_volume(AvailabilityZone="us-east-1a", Size=8)["VolumeId"]
    snapshot = await call("create_snapshot", volume_id=volume, description="d", tags={"Name": "s"}, **AT)
    assert snapshot["volume_id"] == volume
    tried = await call("create_snapshot", volume_id=volume, dry_run=True, **AT)
    assert (tried["dry_run"], "snapshot_id" in tried.content) == (True, False)
    listed = await call("describe_snapshots", filters={"snapshot-id": [snapshot["snapshot_id"]]}, **AT)
    assert listed["count"] == 1
    tried = await call("create_tags", resource_ids=[volume], tags={"Tried": "x"}, dry_run=True, **AT)
    assert tried["dry_run"] is True
    await call("create_tags", resource_ids=[volume], tags={"Name": "data", "Team": "x"}, **AT)
    await call("delete_tags", resource_ids=[volume], tag_keys=["Name"], dry_run=True, **AT)
    await call("delete_tags", resource_ids=[volume], tag_keys=["Team"], **AT)
    (row,) = (await call("describe_volumes", filters={"volume-id": [volume]}, **AT))["volumes"]
    assert (row["name"], row["tags"], row["size"]) == ("data", {"Name": "data"}, 8)


async def test_networks_and_the_owner_of_an_address(call: Session) -> None:
    launch("staging", name="holder")
    (instance,) = (await call("describe_instances", account="staging"))["instances"]
    assert (await call("describe_vpcs", **AT))["vpcs"][0]["cidr_block"]
    assert (await call("describe_subnets", **AT))["count"] >= 1
    found = await call("find_ip_owner", address=instance["private_ip_address"])
    assert [(row["account"], row["instance_id"]) for row in found["found"]] == [("staging", instance["instance_id"])]
    assert (found["asked"], found["failures"]) == (2, [])
    elsewhere = await call("find_ip_owner", address=instance["private_ip_address"], **AT)
    assert (elsewhere["asked"], elsewhere["found"]) == (1, [])


async def test_an_address_that_is_attached_to_nothing_has_an_owner_too(call: Session) -> None:
    made = boto("ec2", "staging", "eu-west-1").allocate_address(Domain="vpc")
    found = await call("find_ip_owner", address=made["PublicIp"], regions=["us-east-1", "eu-west-1"])
    (row,) = found["found"]
    assert (row["account"], row["region"], row["allocation_id"]) == ("staging", "eu-west-1", made["AllocationId"])
    assert "attached to nothing" in row["status"]
    assert found["asked"] == 4


async def test_an_account_that_cannot_be_asked_stands_beside_the_answer(environment: None, empty_aws: None) -> None:
    (instance,) = launch()
    address = boto("ec2", "production").describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    allowed = "arn:aws:iam::111111111111:role/*"
    async with running(TOOLSETS="ec2", ALLOWED_ROLE_ARNS=allowed) as server, server.session() as call:
        found = await call("find_ip_owner", address=address["PrivateIpAddress"])
    assert [row["account"] for row in found["found"]] == ["production"]
    assert [(row["account"], row["error_code"]) for row in found["failures"]] == [("staging", "RoleNotAllowed")]


async def test_listings_go_on_past_one_page(call: Session) -> None:
    ids = [instance for _ in range(7) for instance in launch()]  # moto pages by reservation
    first = await call("describe_instances", max_results=5, **AT)
    assert first["truncated"] is True
    rest = await call("describe_instances", max_results=5, next_token=first["next_token"], **AT)
    assert {row["instance_id"] for row in first["instances"] + rest["instances"]} == set(ids)


LISTINGS = {
    "describe_security_groups": (
        "DescribeSecurityGroups",
        "securityGroupInfo",
        "groupId",
        "security_groups",
        "group_id",
    ),
    "describe_volumes": ("DescribeVolumes", "volumeSet", "volumeId", "volumes", "volume_id"),
    "describe_snapshots": ("DescribeSnapshots", "snapshotSet", "snapshotId", "snapshots", "snapshot_id"),
    "describe_vpcs": ("DescribeVpcs", "vpcSet", "vpcId", "vpcs", "vpc_id"),
    "describe_subnets": ("DescribeSubnets", "subnetSet", "subnetId", "subnets", "subnet_id"),
}
MEMBERS = {
    "DescribeSecurityGroups": "<groupName>g</groupName><ipPermissions/>",
    "DescribeVolumes": "<status>in-use</status><size>8</size>",
    "DescribeSnapshots": "<status>completed</status>",
    "DescribeVpcs": "<cidrBlock>10.0.0.0/16</cidrBlock>",
    "DescribeSubnets": "<vpcId>vpc-1</vpcId><cidrBlock>10.0.0.0/24</cidrBlock>",
}


class _PagedEC2(Handler):
    """Two pages of one row each, for listings that moto gives in one piece."""

    def answer(self, body: bytes) -> None:
        sent = parse_qs(body.decode())
        (action,) = sent["Action"]
        _, collection, identifier, *_ = next(row for row in LISTINGS.values() if row[0] == action)
        last = sent.get("NextToken") == ["more"]
        row = f"<item><{identifier}>{'b' if last else 'a'}</{identifier}>{MEMBERS[action]}</item>"
        following = "" if last else "<nextToken>more</nextToken>"
        namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
        rows = f"<{collection}>{row}</{collection}>{following}"
        self.reply(f'<{action}Response xmlns="{namespace}">{rows}</{action}Response>')


async def test_every_other_listing_goes_on_past_one_page(
    environment: None, empty_aws: None, wire: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(_PagedEC2) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", url)
        async with running(TOOLSETS="ec2") as server, server.session(*wire) as call:
            for tool, (*_, member, name) in LISTINGS.items():
                first = await call(tool, max_results=5, **AT)
                assert ([row[name] for row in first[member]], first["truncated"]) == (["a"], True), tool
                rest = await call(tool, max_results=5, next_token=first["next_token"], **AT)
                assert ([row[name] for row in rest[member]], rest["truncated"]) == (["b"], False), tool


BAD: list[tuple[str, dict[str, Any]]] = [
    ("describe_instance", {"instance_id": "web-1"}),
    ("stop_instances", {"instance_ids": []}),
    ("terminate_instances", {"instance_ids": ["i-123"]}),
    ("find_ip_owner", {"address": "300.1.1.1"}),
    ("create_tags", {"resource_ids": ["i-0123456789abcdef0"], "tags": {"aws:x": "y"}}),
    ("create_tags", {"resource_ids": ["i-0123456789abcdef0"], "tags": {"x": "y" * 257}}),
    ("delete_tags", {"resource_ids": ["web"], "tag_keys": ["x"]}),
    ("describe_instances", {"filters": {"tag:Name": []}}),
    ("create_snapshot", {"volume_id": "i-0123456789abcdef0"}),
    ("describe_instances", {"max_results": 1}),
    *(
        ("authorize_security_group_ingress", {"group_id": "sg-0123456789abcdef0"} | {"ip_protocol": "tcp"} | wrong)
        for wrong in (
            {"from_port": 1, "to_port": 2},
            {"from_port": 1, "to_port": 2, "cidr": "10.0.0.1/8"},
            {"from_port": 3, "to_port": 2, "cidr": "10.0.0.0/8"},
            {"cidr": "10.0.0.0/8"},
            {"from_port": 1, "to_port": 70_000, "cidr": "10.0.0.0/8"},
            {"from_port": 1, "to_port": 2, "cidr": "10.0.0.0"},
            {"from_port": 1, "to_port": 2, "cidr": "10.0.0.0/8", "prefix_list_id": "pl-0123456789abcdef0"},
            {"ip_protocol": "-1", "from_port": 1, "to_port": 2, "cidr": "10.0.0.0/8"},
            {"ip_protocol": "icmp", "cidr": "10.0.0.0/8"},
            {"ip_protocol": "999", "cidr": "10.0.0.0/8"},
        )
    ),
]


async def test_bad_input_is_refused(call: Session) -> None:
    for tool, arguments in BAD:
        assert (await call(tool, **arguments, **AT)).error_code == "InvalidParameter", (tool, arguments)
