"""The demo, as a newcomer meets it: what it prints is enough to use it, and what is in there is worth looking at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from fastmcp import Client

from runtime import demo_data
from tests.conftest import TOKEN, Answer
from tests.processes import Process, server_process

SHARED = "shared/api-key"


@pytest.fixture(scope="module")
def demo() -> Iterator[Process]:
    """The demo on a laptop with AWS settings of its own, none of which may matter."""
    own = {"AWS_PROFILE": "mine", "AWS_REGION": "eu-west-1", "ACCOUNT_MINE_PROFILE": "mine", "ACCOUNTS_FILE": "/mine"}
    allowed = {"ALLOWED_ROLE_ARNS": "arn:aws:iam::999999999999:role/mine", "ALLOWED_REGIONS": "eu-west-1"}
    with server_process("--demo", **own, **allowed) as running:
        yield running


def configuration(demo: Process) -> dict[str, object]:
    """What it prints for a client's configuration."""
    printed = re.search(r"(?ms)^\{\n.*?^\}$", demo.printed)
    assert printed, demo.printed
    return json.loads(printed[0])  # type: ignore[no-any-return]


async def test_the_client_configuration_that_it_prints_reaches_each_account(demo: Process) -> None:
    async with Client(configuration(demo)) as client:
        listed = Answer(await client.call_tool("list_accounts", {}))
        names = [account["name"] for account in listed["accounts"]]
        assert names == ["production", "staging", "development"]
        values = set()
        for account in names:
            arguments = {"secret_id": SHARED, "account": account}
            values.add(Answer(await client.call_tool("get_secret_value", arguments))["secret_value"])
        assert values == {f"demo-api-key-of-{account}" for account in names}


async def test_it_holds_a_dozen_secrets_with_tags_versions_and_a_pending_deletion(demo: Process) -> None:
    async with Client(configuration(demo)) as client:
        secrets = []
        for account in demo_data.ACCOUNTS:
            arguments = {"account": account, "include_planned_deletion": True}
            secrets += Answer(await client.call_tool("list_secrets", arguments))["secrets"]
        assert len(secrets) >= 12
        assert sum("tags" in secret for secret in secrets) >= 6
        assert sum("deleted_date" in secret for secret in secrets) == 1
        arguments = {"secret_id": "prod/shop/database", "account": "production"}
        assert Answer(await client.call_tool("list_secret_versions", arguments))["count"] == 2


async def test_its_organization_has_the_accounts_and_one_that_is_not_configured(demo: Process) -> None:
    async with Client(configuration(demo)) as client:
        found = Answer(await client.call_tool("discover_accounts", {}))["accounts"]
    configured = {account.get("configured_as"): account["path"] for account in found}
    assert {*demo_data.ACCOUNTS, None} == set(configured)
    assert configured["production"] == "/Root/Workloads"


@pytest.mark.parametrize("arguments", [{}, {"resource_name": SHARED}, {"event_name": "GetSecretValue"}])
async def test_its_trail_says_who_read_a_secret(demo: Process, arguments: dict[str, str]) -> None:
    async with Client(configuration(demo)) as client:
        events = Answer(await client.call_tool("lookup_events", {"account": "staging", **arguments}))["events"]
    assert len(events) >= 3
    assert ":222222222222:" in events[0]["principal_arn"]


async def test_its_prompts_ask_for_plain_words(demo: Process) -> None:
    async with Client(configuration(demo)) as client:
        prompts = await client.list_prompts()
    assert len(prompts) == 3
    for prompt in prompts:
        for argument in prompt.arguments or []:
            assert argument.description
            assert "schema" not in argument.description, argument


def test_it_says_that_it_is_no_aws_and_how_to_call_it(demo: Process) -> None:
    greeting = demo.printed.partition("DEMO: ")[2]
    assert greeting.startswith("nothing here is AWS")
    for told in (f"{demo.url}/mcp", f"{demo.url}/sse", "fastmcp call", "Token  demo-", SHARED):
        assert told in greeting
    assert "Moto" not in demo.printed
    assert "WARNING" not in demo.printed


@pytest.fixture(scope="module")
def whole() -> Iterator[Process]:
    """The demo with every toolset."""
    with server_process("--demo", TOOLSETS="all", MCP_AUTH_TOKEN=TOKEN) as running:
        yield running


async def test_with_every_toolset_there_are_zones_buckets_instances_and_roles_too(whole: Process) -> None:
    async with Client(f"{whole.url}/mcp", auth=TOKEN) as client:
        for tool in ("list_hosted_zones", "list_buckets", "describe_instances", "list_roles"):
            assert Answer(await client.call_tool(tool, {"account": "production"}))["count"] >= 2, tool


async def test_it_shows_each_route53_tool_something_worth_looking_at(whole: Process) -> None:
    async with Client(f"{whole.url}/mcp", auth=TOKEN) as client:

        async def call(tool: str, **arguments: object) -> Answer:
            return Answer(await client.call_tool(tool, {"account": "production", **arguments}))

        zones = {zone["name"]: zone for zone in (await call("list_hosted_zones"))["hosted_zones"]}
        assert [zone["private_zone"] for zone in zones.values()] == [False, True]
        zone = {"hosted_zone_id": zones["example.com."]["id"]}
        records = (await call("list_resource_record_sets", **zone))["resource_record_sets"]
        for routed in ("alias_target", "weight", "failover", "health_check_id"):
            assert any(routed in record for record in records), routed
        checks = (await call("list_health_checks"))["health_checks"]
        assert {check["status"]["status"] for check in checks} == {"Healthy", "Unhealthy"}
        assert all(check["name"] and check["status"]["last_failure"] for check in checks)
        asked = {"record_name": "api.example.com", "record_type": "A", **zone}
        assert (await call("test_dns_answer", **asked))["record_data"] == ["192.0.2.20", "192.0.2.21"]
        owner = await call("find_zone_owner", name="web.staging.example.com")
        assert "in production (111111111111) delegates to it." in owner["verdict"]
        swap = {"action": "UPSERT", "name": "www.example.com", "type": "CNAME", "ttl": 60}
        done = await call("change_resource_record_sets", changes=[{**swap, "resource_records": ["x."]}], **zone)
        assert (await call("get_change", change_id=done["change_id"], wait=True))["status"] == "INSYNC"
        undone = await call("change_resource_record_sets", changes=done["undo"], **zone)
        assert undone["after"] == done["before"]


async def test_it_shows_what_ec2_s3_and_iam_are_asked_about_at_night() -> None:
    with server_process("--demo", TOOLSETS="s3,ec2,iam") as demo:
        async with Client(configuration(demo)) as client:

            async def call(tool: str, **arguments: object) -> Answer:
                return Answer(await client.call_tool(tool, {"account": "production", **arguments}))

            versions = (await call("list_object_versions", bucket="demo-shop-production-assets"))["versions"]
            assert {row["delete_marker"] for row in versions} == {True, False}
            assert (await call("list_multipart_uploads", bucket="demo-shop-production-logs"))["uploads"]
            concerns = (await call("get_bucket_posture", bucket="demo-shop-production-logs"))["concerns"]
            assert "Its ACL grants to everyone, or to every AWS account." in concerns
            groups = (await call("describe_security_groups"))["security_groups"]
            rules = [(group["group_name"], rule["from_port"]) for group in groups for rule in group["ingress"]]
            assert ("legacy", 22) in rules
            (snapshot,) = (await call("describe_snapshots"))["snapshots"]
            assert snapshot["description"] == "before the migration"
            assert len((await call("describe_instances"))["instances"]) == 3
            assert (await call("list_access_keys"))["count"] == 1
            (policy,) = (await call("list_policies"))["policies"]
            assert len((await call("get_policy", policy_arn=policy["arn"]))["versions"]) == 2
