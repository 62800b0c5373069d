"""The actions that a tool declares are those it needs: what each reading tool asks of AWS, held against its own list.

Under SESSION_POLICIES=1 what is missing from the list is denied; and the README's policies are made from it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.conftest import Session, boto, running
from tests.contract import all_tools
from tests.declared import FREE, needed

TOOLS = {name: tool.spec for name, (_, tool) in all_tools().items() if not tool.spec.scope.changes}
SECRET = json.dumps({"user": "u", "password": "p"})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}],
    }
)
GRANT = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]})


@pytest.fixture
def asked() -> Iterator[dict[str, set[str]]]:
    """The actions that each tool has asked AWS for, as they are asked for."""
    with needed() as found:
        yield found


@pytest.fixture
def samples(aws: str) -> dict[str, Any]:
    """Values for the arguments that reading tools require, of things that are there."""
    secrets, s3, ec2, iam, route53 = (boto(name) for name in ("secretsmanager", "s3", "ec2", "iam", "route53"))
    for name in ("app/db", "app/other"):
        secrets.create_secret(Name=name, SecretString=SECRET)
    secrets.put_resource_policy(SecretId="app/db", ResourcePolicy=GRANT)
    s3.create_bucket(Bucket="a-bucket")
    s3.put_bucket_versioning(Bucket="a-bucket", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket="a-bucket", Key="k", Body=b"content")["VersionId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    iam.put_role_policy(RoleName="reader", PolicyName="inline", PolicyDocument=GRANT)
    policy = iam.create_policy(PolicyName="managed", PolicyDocument=GRANT)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName="reader", PolicyArn=policy)
    iam.create_user(UserName="ci")
    iam.create_access_key(UserName="ci")
    made = route53.create_hosted_zone(Name="example.com", CallerReference="1")
    zone, change = (made[part]["Id"].rsplit("/", 1)[1] for part in ("HostedZone", "ChangeInfo"))
    boto("route53", "production").create_hosted_zone(Name="example.com", CallerReference="2")
    check = {"Type": "HTTP", "IPAddress": "192.0.2.1", "Port": 80}
    health = route53.create_health_check(CallerReference="1", HealthCheckConfig=check)["HealthCheck"]["Id"]
    return {
        "secret_id": "app/db", "secret_ids": ["app/db"], "bucket": "a-bucket", "key": "k", "version_id": version,
        "instance_id": instance["InstanceId"], "address": instance["PrivateIpAddress"], "role_name": "reader",
        "policy_arn": policy, "principal_arn": role, "actions": ["s3:GetObject"],
        "hosted_zone_id": zone, "change_id": change, "name": "example.com", "record_name": "example.com",
        "record_type": "NS", "type": "NS", "health_check_id": health,
    }  # fmt: skip


# Further calls, where optional arguments make a tool ask for more.
MORE: dict[str, list[dict[str, Any]]] = {
    "find_ip_owner": [{"address": "203.0.113.9"}],
    "audit_secrets": [{"compare_values": True}],
    "find_zone_owner": [{"name": "www.example.com"}],
    "compare_secrets": [{"other_secret_id": "app/other"}],
    "explain_denial": [
        {"encoded_message": "x"},
        {
            "error_message": "User: arn:aws:sts::123456789012:assumed-role/reader/s is not authorized to perform: "
            "s3:GetObject on resource: arn:aws:s3:::mine/a.txt because no identity-based policy allows the "
            "s3:GetObject action"
        },
    ],
}
# Declared for what these accounts do not hold.
SOMETIMES = {
    "s3:GetObjectVersion", "s3:ListBucket",  # for a version; and so that what is missing is a 404
    "organizations:DescribeOrganizationalUnit", "organizations:ListParents", "organizations:ListTagsForResource",
    "secretsmanager:DescribeSecret", "secretsmanager:ListSecretVersionIds",  # of replicas, of stuck rotations
    "secretsmanager:GetSecretValue",  # which BatchGetSecretValue stands on
}  # fmt: skip


def calls_of(tool: Any, samples: dict[str, Any]) -> Iterator[dict[str, Any]]:
    required = tool.input_schema.get("required", [])
    missing = [argument for argument in required if argument not in samples]
    assert not missing, f"{tool.name}: give samples a value for {missing}"
    right = {argument: samples[argument] for argument in required}
    yield right
    yield {argument: samples[argument] for argument in tool.input_schema["properties"] if argument in samples}
    for more in MORE.get(tool.name, []):
        yield {**right, **more}


@pytest.fixture
async def session(aws: str) -> AsyncIterator[Session]:
    async with running(TOOLSETS="all") as server, server.session() as opened:
        yield opened


async def test_every_reading_tool_declares_the_actions_that_it_asks_for_and_no_others(
    session: Session, samples: dict[str, Any], asked: dict[str, set[str]]
) -> None:
    for tool in await session.client.list_tools():
        for arguments in calls_of(tool, samples) if tool.name in TOOLS else ():
            await session(tool.name, **arguments)
    wrong = []
    for name, spec in TOOLS.items():
        if spec.actions and not asked[name]:
            wrong.append(f"{name} asked for nothing: give samples what it takes")
        if denied := asked[name] - set(spec.actions) - FREE:
            wrong.append(f"{name} would be denied {denied} under SESSION_POLICIES=1")
        if unused := set(spec.actions) - asked[name] - SOMETIMES - FREE:
            wrong.append(f"{name} declares {unused}, which it never asks for")
    assert wrong == [], "\n".join(wrong)
