"""EC2's tools over moto, in two accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Server, Session, boto

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


async def test_one_instance_comes_with_its_checks_and_console(call: Session) -> None:
    (instance,) = launch()
    detail = await call("describe_instance", instance_id=instance, console_output=True, **AT)
    assert detail["instance"]["instance_id"] == instance
    assert detail["termination_protected"] is False
    assert detail["console"]["truncated"] is False
    assert detail["volumes"]


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
    await call("authorize_security_group_ingress", **{**rule, "cidr": "2001:db8::/32"}, **AT)


async def test_volumes_snapshots_and_tags(call: Session) -> None:
    volume = boto("ec2", "production").create_volume(AvailabilityZone="us-east-1a", Size=8)["VolumeId"]
    snapshot = await call("create_snapshot", volume_id=volume, description="d", tags={"Name": "s"}, **AT)
    assert snapshot["volume_id"] == volume
    listed = await call("describe_snapshots", filters={"snapshot-id": [snapshot["snapshot_id"]]}, **AT)
    assert listed["count"] == 1
    await call("create_tags", resource_ids=[volume], tags={"Name": "data", "Team": "x"}, **AT)
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


async def test_listings_go_on_past_one_page(call: Session) -> None:
    ids = [instance for _ in range(7) for instance in launch()]  # moto pages by reservation
    first = await call("describe_instances", max_results=5, **AT)
    assert first["truncated"] is True
    rest = await call("describe_instances", max_results=5, next_token=first["next_token"], **AT)
    assert {row["instance_id"] for row in first["instances"] + rest["instances"]} == set(ids)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("describe_instance", {"instance_id": "web-1"}),
    ("stop_instances", {"instance_ids": []}),
    ("terminate_instances", {"instance_ids": ["i-123"]}),
    ("find_ip_owner", {"address": "300.1.1.1"}),
    ("create_tags", {"resource_ids": ["i-0123456789abcdef0"], "tags": {"aws:x": "y"}}),
    ("create_snapshot", {"volume_id": "i-0123456789abcdef0"}),
    ("describe_instances", {"max_results": 1}),
    *(
        ("authorize_security_group_ingress", {"group_id": "sg-0123456789abcdef0", "ip_protocol": "tcp", **wrong})
        for wrong in (
            {"from_port": 1, "to_port": 2},
            {"from_port": 1, "to_port": 2, "cidr": "10.0.0.1/8"},
            {"from_port": 3, "to_port": 2, "cidr": "10.0.0.0/8"},
            {"cidr": "10.0.0.0/8"},
            {"from_port": 1, "to_port": 70_000, "cidr": "10.0.0.0/8"},
        )
    ),
]


async def test_bad_input_is_refused(call: Session) -> None:
    for tool, arguments in BAD:
        assert (await call(tool, **arguments, **AT)).error_code == "InvalidParameter", (tool, arguments)
