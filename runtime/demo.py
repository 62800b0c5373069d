"""The embedded AWS: moto in this process, on loopback. Nothing here is AWS, and nothing of it is used in production."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from runtime import demo_data as data
from runtime import demo_route53, demo_trail

Client = Callable[[str | None, str], Any]


@dataclass(frozen=True)
class DemoAWS:
    """The running stand-in."""

    url: str
    server: Any

    def stop(self) -> None:
        """Stop answering."""
        self.server.stop()


def start() -> DemoAWS:
    """Start an AWS on a free loopback port.

    Raises:
        ConfigurationError: moto, which only the demo needs, is not installed.
    """
    try:
        from moto import settings
        from moto.cloudtrail.responses import CloudTrailResponse
        from moto.server import ThreadedMotoServer
    except ImportError:
        from errors import ConfigurationError

        raise ConfigurationError("--demo: needs the packages of requirements-demo.txt (`make demo`)") from None
    CloudTrailResponse.lookup_events = _lookup_events  # type: ignore[attr-defined]  # moto has none
    # A thousand images, each with a snapshot, would take longer than all the rest, and hide what is the demo's own.
    settings.ec2_load_default_amis = lambda: False
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    demo_route53.complete()
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return DemoAWS(f"http://{host}:{port}", server)


def environment(aws: DemoAWS) -> dict[str, str]:
    """Return what the settings and botocore are given: this AWS, its accounts, and none of the operator's own files."""
    accounts = {
        f"ACCOUNT_{name.upper()}_ROLE_ARN": f"arn:aws:iam::{number}:role/aws-ops-target"
        for name, number in data.ACCOUNTS.items()
    }
    return {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_REGION": data.REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        **accounts,
    }


def seed(client: Client, toolsets: Collection[str]) -> None:
    """Fill the accounts with what these toolsets can show; EC2's part alone takes as long as everything else.

    Args:
        client: Returns a boto3 client for an account's name, or None for the server's own, and a service.
        toolsets: TOOLSETS.
    """
    _organization(client(None, "organizations"))
    for account in data.ACCOUNTS:
        _secrets(client(account, "secretsmanager"), data.SECRETS[account])
        for service, fill in (("route53", _zones), ("s3", _buckets), ("ec2", _instances), ("iam", _roles)):
            if {service, "all"} & set(toolsets):
                fill(client(account, service), account)


def greeting(url: str, token: str) -> str:
    """Return what a newcomer reads: where it is, with which token, and what to try."""
    config = {
        "mcpServers": {
            "aws-ops": {"type": "http", "url": f"{url}/mcp", "headers": {"Authorization": f"Bearer {token}"}}
        }
    }
    call = f".venv/bin/fastmcp call {url}/mcp"
    return f"""
DEMO: nothing here is AWS. Three made-up accounts: {", ".join(data.ACCOUNTS)}.

URL    {url}/mcp (Streamable HTTP), {url}/sse (SSE)
Token  {token}

Client configuration:
{json.dumps(config, indent=2)}

Try in another terminal, or ask your client for the same:
  {call} list_accounts --auth {token}
  {call} get_secret_value secret_id=shared/api-key account=production --auth {token}
  {call} get_secret_value secret_id=shared/api-key account=staging --auth {token}

Below, the audit trail: a line for each call. Ctrl-C ends the demo.
"""


def _lookup_events(response: Any) -> str:
    asked = json.loads(response.body or "{}")
    return json.dumps(demo_trail.lookup_events(response.current_account, response.region, asked))


def _organization(organizations: Any) -> None:
    """The three accounts, and one more that the server is not configured for."""
    from moto.organizations import utils as ids

    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    workloads = organizations.create_organizational_unit(ParentId=root, Name="Workloads")["OrganizationalUnit"]["Id"]
    for name, number in {**data.ACCOUNTS, "data-lake": "444444444444"}.items():
        ids.make_random_account_id = partial(str, number)
        email, tags = f"{name}@example.com", [{"Key": "Environment", "Value": name}]
        organizations.create_account(AccountName=name, Email=email, Tags=tags)
        organizations.move_account(AccountId=number, SourceParentId=root, DestinationParentId=workloads)


def _secrets(manager: Any, secrets: tuple[data.DemoSecret, ...]) -> None:
    for secret in secrets:
        tags = [{"Key": key, "Value": value} for key, value in secret.tags.items()]
        first, *later = (_value(version) for version in secret.versions)
        manager.create_secret(Name=secret.name, Description=secret.description, Tags=tags, **first)
        for value in later:
            manager.put_secret_value(SecretId=secret.name, **value)
        if secret.deleted:
            manager.delete_secret(SecretId=secret.name, RecoveryWindowInDays=14)


def _value(version: str | bytes) -> dict[str, str | bytes]:
    return {"SecretString": version} if isinstance(version, str) else {"SecretBinary": version}


def _health_checks(route53: Any, account: str) -> dict[str, str]:
    """Make an account's health checks and return their ids by name."""
    ids = {}
    for name, (host, path) in data.HEALTH_CHECKS[account].items():
        config = {"Type": "HTTPS", "FullyQualifiedDomainName": host, "Port": 443, "ResourcePath": path}
        made = route53.create_health_check(CallerReference=f"demo-{name}", HealthCheckConfig=config)
        ids[name] = made["HealthCheck"]["Id"]
        tags = [{"Key": "Name", "Value": name}]
        route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=ids[name], AddTags=tags)
    return ids


def _zones(route53: Any, account: str) -> None:
    health_checks = _health_checks(route53, account)
    for name, (private, records) in data.ZONES[account].items():
        config = {"Comment": "demo", "PrivateZone": private}
        vpc = {"VPC": {"VPCRegion": data.REGION, "VPCId": data.VPC}} if private else {}
        zone = route53.create_hosted_zone(Name=name, CallerReference=f"demo-{name}", HostedZoneConfig=config, **vpc)
        changes = [{"Action": "UPSERT", "ResourceRecordSet": _record(record, health_checks)} for record in records]
        route53.change_resource_record_sets(HostedZoneId=zone["HostedZone"]["Id"], ChangeBatch={"Changes": changes})


def _record(record: data.DemoRecord, health_checks: dict[str, str]) -> dict[str, Any]:
    content: dict[str, Any] = {"Name": record.name, "Type": record.type, **record.more}
    if record.values:
        content |= {"TTL": record.ttl, "ResourceRecords": [{"Value": value} for value in record.values]}
    if "HealthCheckId" in content:
        content["HealthCheckId"] = health_checks[content["HealthCheckId"]]
    return content


def _buckets(s3: Any, account: str) -> None:
    for name, (versioned, objects) in data.BUCKETS[account].items():
        s3.create_bucket(Bucket=name)
        if versioned:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        for key, body in objects.items():
            s3.put_object(Bucket=name, Key=key, Body=body)
    if account == "production":
        _bucket_histories(s3)


def _bucket_histories(s3: Any) -> None:
    """A version before, a deleted object, an upload never finished, and a bucket that is open to everyone."""
    bucket, logs = "demo-shop-production-assets", "demo-shop-production-logs"
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"<h1>Shop, with a typo</h1>", ContentType="text/html")
    s3.put_object(Bucket=bucket, Key="old.html", Body=b"<h1>Old</h1>")
    s3.delete_object(Bucket=bucket, Key="old.html")
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "Team", "Value": "shop"}]})
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=_BLOCK_ALL)
    s3.create_multipart_upload(Bucket=logs, Key="2026/11/23/dump.tar")
    s3.put_bucket_acl(Bucket=logs, ACL="public-read")


_BLOCK_ALL = {
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True,
}  # fmt: skip


def _network(ec2: Any) -> None:
    """Security groups, one of them too open; a volume with its snapshot; an address that nobody uses."""
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    groups: dict[str, str] = {}
    for name, port, cidr, description in data.OPEN_PORTS:
        if name not in groups:
            made = ec2.create_security_group(GroupName=name, Description=f"The {name}'s", VpcId=vpc["VpcId"])
            groups[name] = made["GroupId"]
        ranges = [{"CidrIp": cidr, "Description": description}]
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
        ec2.authorize_security_group_ingress(GroupId=groups[name], IpPermissions=[rule])
    volume = ec2.create_volume(AvailabilityZone=f"{data.REGION}a", Size=20)["VolumeId"]
    ec2.create_tags(Resources=[volume], Tags=[{"Key": "Name", "Value": "shop-data"}])
    ec2.create_snapshot(VolumeId=volume, Description="before the migration")
    ec2.allocate_address(Domain="vpc")


def _keys_and_versions(iam: Any) -> None:
    """An access key, and a policy with a version before."""
    iam.create_access_key(UserName="ci-deployer")
    (policy,) = [row for row in iam.list_policies(Scope="Local")["Policies"] if row["PolicyName"] == "read-logs"]
    iam.create_policy_version(PolicyArn=policy["Arn"], PolicyDocument=_policy("logs:Get*"), SetAsDefault=True)


def _instances(ec2: Any, account: str) -> None:
    stopped = []
    for name, (kind, running) in data.INSTANCES[account].items():
        tags = [
            {
                "ResourceType": "instance",
                "Tags": [{"Key": "Name", "Value": name}, {"Key": "Environment", "Value": account}],
            }
        ]
        started = ec2.run_instances(
            ImageId="ami-12c6146b", InstanceType=kind, MinCount=1, MaxCount=1, TagSpecifications=tags
        )
        if not running:
            stopped.append(started["Instances"][0]["InstanceId"])
    if stopped:
        ec2.stop_instances(InstanceIds=stopped)
    if account == "production":
        _network(ec2)


def _roles(iam: Any, account: str) -> None:
    for name, (service, action) in data.ROLES[account].items():
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy("sts:AssumeRole", principal=service))
        iam.put_role_policy(RoleName=name, PolicyName=f"{name}-inline", PolicyDocument=_policy(action))
    if data.ROLES[account]:
        policy = iam.create_policy(PolicyName="read-logs", PolicyDocument=_policy("logs:GetLogEvents"))
        iam.attach_role_policy(RoleName=next(iter(data.ROLES[account])), PolicyArn=policy["Policy"]["Arn"])
    for user in data.USERS[account]:
        iam.create_user(UserName=user)
    if account == "production":
        _keys_and_versions(iam)


def _policy(action: str, principal: str | None = None) -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action}
    statement |= {"Principal": {"Service": principal}} if principal else {"Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
