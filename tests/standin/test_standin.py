"""The stand-in does what it is told: real boto3 clients, without retries, over real sockets."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectionError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError

from tests.standin import BASE_ACCOUNT, Standin
from tests.standin.client import ROOT

ONE, TWO = "111111111111", "222222222222"
SESSION = boto3.Session()


@pytest.fixture(scope="module")
def running() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


@pytest.fixture
def aws(running: Standin) -> Standin:
    running.reset()
    return running


@pytest.fixture(scope="module")
def running_canned() -> Iterator[Standin]:
    with Standin(canned=True) as standin:
        yield standin


@pytest.fixture
def canned(running_canned: Standin) -> Standin:
    running_canned.reset()
    return running_canned


def client(aws: Standin, service: str, keys: dict[str, Any] | None = None, **config: Any) -> Any:
    keys = keys or {"AccessKeyId": "AKIABASE", "SecretAccessKey": "base", "SessionToken": None}
    return SESSION.client(
        service,
        region_name="eu-west-1",
        endpoint_url=aws.url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(**{"retries": {"total_max_attempts": 1}, "read_timeout": 20, **config}),
    )


def assume(aws: Standin, account: str, role: str = "ops", **arguments: Any) -> dict[str, Any]:
    role_arn = f"arn:aws:iam::{account}:role/{role}"
    sts = client(aws, "sts")
    keys: dict[str, Any] = sts.assume_role(RoleArn=role_arn, RoleSessionName="alice", **arguments)["Credentials"]
    return keys


def code_of(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize("fixture", ["aws", "canned"])
def test_assume_role_issues_keys_of_the_account_it_names(fixture: str, request: pytest.FixtureRequest) -> None:
    standin = request.getfixturevalue(fixture)
    keys = [assume(standin, account) for account in (ONE, TWO, ONE)]
    assert len({key["AccessKeyId"] for key in keys}) == 3
    accounts = [client(standin, "sts", key).get_caller_identity()["Account"] for key in keys]
    assert accounts == [ONE, TWO, ONE]


def test_secrets_of_one_name_in_two_accounts_are_kept_apart(aws: Standin) -> None:
    for account in (ONE, TWO):
        client(aws, "secretsmanager", assume(aws, account)).create_secret(Name="db", SecretString=f"of {account}")
    for account in (ONE, TWO):
        answer = client(aws, "secretsmanager", assume(aws, account)).get_secret_value(SecretId="db")
        assert answer["SecretString"] == f"of {account}"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client(aws, "secretsmanager").get_secret_value(SecretId="db")


def test_a_key_with_the_session_token_of_another_is_turned_down(aws: Standin) -> None:
    mixed = assume(aws, ONE) | {"SessionToken": assume(aws, TWO)["SessionToken"]}
    for service, ask in (("secretsmanager", "list_secrets"), ("sts", "get_caller_identity")):
        with pytest.raises(ClientError, match="security token included in the request is invalid"):
            getattr(client(aws, service, mixed), ask)()


def test_reset_empties_aws_and_leaves_issued_keys_to_their_account(aws: Standin) -> None:
    keys = assume(aws, ONE)
    secrets = client(aws, "secretsmanager", keys)
    for _ in range(2):
        secrets.create_secret(Name="db", SecretString="x")
        aws.fault("denied")
        aws.reset()
        assert secrets.list_secrets()["SecretList"] == []
        assert [call.operation for call in aws.calls()] == ["ListSecrets"]
        assert client(aws, "sts", keys).get_caller_identity()["Account"] == ONE


ERRORS = [
    ("throttle", "secretsmanager", ("ThrottlingException", 400)),
    ("throttle", "sts", ("Throttling", 400)),
    ("throttle", "ec2", ("RequestLimitExceeded", 503)),
    ("throttle", "s3", ("SlowDown", 503)),
    ("throttle", "route53", ("Throttling", 400)),
    ("http500", "secretsmanager", ("InternalServiceError", 500)),
    ("http500", "iam", ("InternalFailure", 500)),
    ("http503", "secretsmanager", ("ServiceUnavailable", 503)),
    ("http503", "route53", ("ServiceUnavailable", 503)),
    ("expired", "secretsmanager", ("ExpiredTokenException", 400)),
    ("expired", "sts", ("ExpiredToken", 403)),
    ("expired", "s3", ("ExpiredToken", 400)),
    ("expired", "ec2", ("RequestExpired", 400)),
    ("denied", "secretsmanager", ("AccessDeniedException", 400)),
    ("denied", "iam", ("AccessDenied", 403)),
    ("denied", "route53", ("AccessDenied", 403)),
]
READS = {
    "secretsmanager": "list_secrets",
    "sts": "get_caller_identity",
    "ec2": "describe_key_pairs",
    "s3": "list_buckets",
    "route53": "list_hosted_zones",
    "iam": "list_roles",
}


@pytest.mark.parametrize(("kind", "service", "expected"), ERRORS)
def test_an_error_has_the_code_and_status_of_its_service(
    aws: Standin, kind: Any, service: str, expected: tuple[str, int]
) -> None:
    fault = aws.fault(kind, service=service, times=1)
    read = getattr(client(aws, service), READS[service])
    with pytest.raises(ClientError) as raised:
        read()
    assert code_of(raised) == expected
    [call] = aws.calls()
    assert (call.service, call.fault, call.upstream, call.status) == (service, fault, False, expected[1])
    read()


@pytest.mark.parametrize("service", READS)
def test_any_error_can_be_made_up_with_its_text(aws: Standin, service: str) -> None:
    aws.fault("error", status=409, code="Odd", message="value <hunter2> & more")
    with pytest.raises(ClientError) as raised:
        getattr(client(aws, service), READS[service])()
    assert code_of(raised) == ("Odd", 409)
    assert raised.value.response["Error"]["Message"] == "value <hunter2> & more"


def test_a_denial_bears_the_text_it_was_given(aws: Standin) -> None:
    aws.fault("denied", message="explicit deny in a service control policy")
    with pytest.raises(ClientError, match="explicit deny in a service control policy"):
        client(aws, "secretsmanager").list_secrets()


def test_a_slow_answer_arrives(aws: Standin) -> None:
    aws.fault("slow", ms=50)
    assert client(aws, "secretsmanager").list_secrets()["SecretList"] == []


def test_a_hanging_call_is_never_answered(aws: Standin) -> None:
    aws.fault("hang")
    with pytest.raises(ReadTimeoutError):
        client(aws, "secretsmanager", read_timeout=0.3).list_secrets()
    [call] = aws.calls()
    assert (call.upstream, call.status) == (False, None)


def test_a_hang_ends_with_a_reset_after_its_seconds(aws: Standin) -> None:
    aws.fault("hang", seconds=0.2)
    with pytest.raises(ConnectionResetError):
        raw(aws, "GET", "/")


def test_a_reset_is_an_rst_before_any_answer(aws: Standin) -> None:
    aws.fault("reset")
    with pytest.raises(ConnectionResetError):
        raw(aws, "GET", "/")
    with pytest.raises((ConnectionClosedError, ConnectionError)):
        client(aws, "secretsmanager").create_secret(Name="db", SecretString="x")
    aws.clear()
    assert client(aws, "secretsmanager").list_secrets()["SecretList"] == []


def test_a_lost_answer_leaves_its_change_in_aws(aws: Standin) -> None:
    aws.fault("lost", operation="CreateSecret")
    secrets = client(aws, "secretsmanager")
    with pytest.raises((ConnectionClosedError, ConnectionError)):
        secrets.create_secret(Name="db", SecretString="x")
    assert [secret["Name"] for secret in secrets.list_secrets()["SecretList"]] == ["db"]
    assert [(call.upstream, call.status) for call in aws.calls("CreateSecret")] == [(True, None)]


def test_an_error_can_hide_that_its_change_was_applied(aws: Standin) -> None:
    aws.fault("http500", operation="CreateSecret", applied=True)
    secrets = client(aws, "secretsmanager")
    with pytest.raises(ClientError, match="InternalServiceError"):
        secrets.create_secret(Name="db", SecretString="x")
    assert [secret["Name"] for secret in secrets.list_secrets()["SecretList"]] == ["db"]


def test_garbage_is_no_answer_a_client_can_read(aws: Standin) -> None:
    aws.fault("garbage")
    for service in ("secretsmanager", "sts"):
        with pytest.raises((ResponseParserError, ValueError)):
            getattr(client(aws, service), READS[service])()


def test_an_empty_answer_is_a_success_without_members(aws: Standin) -> None:
    aws.fault("empty")
    assert set(client(aws, "secretsmanager").list_secrets()) == {"ResponseMetadata"}


def test_a_truncated_answer_breaks_off_within_its_content_length(aws: Standin) -> None:
    aws.fault("truncate")
    with pytest.raises(http.client.IncompleteRead) as raised:
        raw(aws, "GET", "/")
    assert 0 < len(raised.value.partial) <= (raised.value.expected or 0) + 1


def test_a_truncated_object_is_an_incomplete_read(aws: Standin) -> None:
    s3 = client(aws, "s3")
    s3.create_bucket(Bucket="box", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="box", Key="a", Body=b"x" * 1000)
    aws.fault("truncate", operation="GET /box/a")
    with pytest.raises((IncompleteReadError, ResponseStreamingError)):
        s3.get_object(Bucket="box", Key="a")["Body"].read()


def test_a_rule_meets_one_account_only(aws: Standin) -> None:
    one, two = (client(aws, "secretsmanager", assume(aws, account)) for account in (ONE, TWO))
    fault = aws.fault("throttle", account=ONE)
    with pytest.raises(ClientError, match="ThrottlingException"):
        one.list_secrets()
    two.list_secrets()
    assert [(call.account, call.fault) for call in aws.calls("ListSecrets")] == [(ONE, fault), (TWO, None)]


def test_a_rule_meets_the_assumption_of_one_role_only(aws: Standin) -> None:
    aws.fault("denied", operation="AssumeRole", role_arn=f"arn:aws:iam::{ONE}:role/ops")
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(aws, ONE)
    assume(aws, ONE, role="reader")
    assume(aws, TWO)


def test_a_rule_meets_as_many_calls_as_it_says_after_those_it_lets_pass(aws: Standin) -> None:
    aws.fault("throttle", operation="ListSecrets", after=1, times=2)
    secrets = client(aws, "secretsmanager")
    assert [fails(secrets.list_secrets) for _ in range(5)] == [False, True, True, False, False]
    [rule] = aws.faults()
    assert (rule["matched"], rule["met"]) == (5, 2)


def test_a_rule_of_half_probability_meets_some_calls(aws: Standin) -> None:
    aws.fault("throttle", probability=0.5)
    secrets = client(aws, "secretsmanager")
    assert {fails(secrets.list_secrets) for _ in range(30)} == {True, False}


def test_the_first_rule_that_meets_a_call_decides_and_one_taken_back_does_not(aws: Standin) -> None:
    first = aws.fault("denied", operation="List*")
    aws.fault("throttle", service="secretsmanager")
    secrets = client(aws, "secretsmanager")
    with pytest.raises(ClientError, match="AccessDenied"):
        secrets.list_secrets()
    aws.clear(first)
    with pytest.raises(ClientError, match="Throttling"):
        secrets.list_secrets()


def test_a_rule_with_an_unknown_field_is_refused(aws: Standin) -> None:
    with pytest.raises(TypeError):
        aws.fault("denied", acount=ONE)
    status, text = raw(aws, "POST", "/_standin/faults", json.dumps({"kind": "denied", "acount": ONE}).encode())
    assert (status, b"acount" in text) == (400, True)


def test_an_assume_role_call_is_remembered_with_all_it_asked_for(aws: Standin) -> None:
    tags = [{"Key": "caller", "Value": "alice"}, {"Key": "empty", "Value": ""}]
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    assume(
        aws, ONE, ExternalId="x-1", SourceIdentity="alice@corp", Tags=tags, Policy=policy, DurationSeconds=900,
        TransitiveTagKeys=["caller"], PolicyArns=[{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}],
    )  # fmt: skip
    [call] = aws.calls("AssumeRole")
    assert (call.service, call.account, call.access_key, call.region) == ("sts", BASE_ACCOUNT, "AKIABASE", "eu-west-1")
    assert (call.role_arn, call.session_name) == (f"arn:aws:iam::{ONE}:role/ops", "alice")
    assert (call.external_id, call.source_identity, call.policy) == ("x-1", "alice@corp", policy)
    assert (call.tags, call.transitive_tag_keys) == ({"caller": "alice", "empty": ""}, ["caller"])
    assert (call.policy_arns, call.duration_seconds) == (["arn:aws:iam::aws:policy/ReadOnlyAccess"], 900)


def test_idempotency_tokens_and_the_sdks_headers_are_remembered(aws: Standin) -> None:
    token = "a" * 32
    client(aws, "secretsmanager").create_secret(Name="db", SecretString="x", ClientRequestToken=token)
    client(aws, "route53").create_hosted_zone(Name="example.org", CallerReference="ref-1")
    client(aws, "ec2").run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, ClientToken="tok-1")
    calls = aws.calls()
    assert [call.client_token for call in calls] == [token, "ref-1", "tok-1"]
    assert [call.operation for call in calls] == ["CreateSecret", "POST /2013-04-01/hostedzone", "RunInstances"]
    assert all(call.invocation_id and call.sdk_request == "attempt=1; max=1" for call in calls)


def test_no_secret_value_is_remembered(aws: Standin) -> None:
    client(aws, "secretsmanager").create_secret(Name="db", SecretString="hunter2")
    _, text = raw(aws, "GET", "/_standin/calls")
    assert b"hunter2" not in text
    [call] = aws.calls()
    assert len(call.body_sha256) == 64


def test_calls_can_be_asked_for_by_account_and_from_a_point_on(aws: Standin) -> None:
    keys = assume(aws, ONE)
    client(aws, "secretsmanager", keys).list_secrets()
    [seen] = aws.calls(account=ONE)
    assert seen.signer_role_arn == f"arn:aws:iam::{ONE}:role/ops"
    client(aws, "secretsmanager").list_secrets()
    assert [call.account for call in aws.calls(since=seen.id)] == [BASE_ACCOUNT]
    aws.forget_calls()
    assert aws.calls() == []


@pytest.mark.parametrize("fixture", ["aws", "canned"])
def test_a_web_identity_is_answered_and_remembered_by_the_hash_of_its_token(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    standin = request.getfixturevalue(fixture)
    anonymous = SESSION.client(
        "sts", "eu-west-1", endpoint_url=standin.url, config=Config(signature_version="unsigned")
    )
    answer = anonymous.assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::{TWO}:role/ops", RoleSessionName="pod", WebIdentityToken="header.claims.signature"
    )
    assert client(standin, "sts", answer["Credentials"]).get_caller_identity()["Account"] == TWO
    text = raw(standin, "GET", "/_standin/calls")[1]
    assert b"header.claims.signature" not in text
    [call] = standin.calls("AssumeRoleWithWebIdentity")
    assert call.web_identity_sha256 == hashlib.sha256(b"header.claims.signature").hexdigest()
    assert (call.service, call.session_name, call.access_key) == ("sts", "pod", None)


@pytest.mark.parametrize("fixture", ["aws", "canned"])
def test_keys_past_their_lifetime_are_expired(fixture: str, request: pytest.FixtureRequest) -> None:
    standin = request.getfixturevalue(fixture)
    standin.lifetime(60)
    assert assume(standin, ONE)["Expiration"] <= datetime.now(UTC) + timedelta(seconds=60)
    standin.lifetime(0)
    keys = assume(standin, ONE)
    for service, expected in (("secretsmanager", "ExpiredTokenException"), ("sts", "ExpiredToken")):
        with pytest.raises(ClientError) as raised:
            getattr(client(standin, service, keys), READS[service])()
        assert raised.value.response["Error"]["Code"] == expected
    assert [call.upstream for call in standin.calls(account=ONE)] == [False, False]
    standin.lifetime(None)
    client(standin, "sts", assume(standin, ONE)).get_caller_identity()


def test_a_large_object_passes_with_head_and_100_continue(aws: Standin) -> None:
    s3 = client(aws, "s3")
    s3.create_bucket(Bucket="box", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    body = os.urandom(5_000_000)
    s3.put_object(Bucket="box", Key="big file/ü", Body=io.BytesIO(body), Metadata={"under_score": "1"})
    head = s3.head_object(Bucket="box", Key="big file/ü")
    assert (head["ContentLength"], head["Metadata"]) == (len(body), {"under_score": "1"})
    assert s3.get_object(Bucket="box", Key="big file/ü")["Body"].read() == body
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="box", Key="absent")


def test_an_aws_chunked_upload_passes(aws: Standin) -> None:
    s3 = client(aws, "s3")
    s3.create_bucket(Bucket="box", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    encoded = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIABASE/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host",
        "Content-Encoding": "aws-chunked",
        "Expect": "100-continue",
        "Transfer-Encoding": "chunked",
        "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Decoded-Content-Length": "11",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    with closing(connect(aws)) as connection:
        connection.request("PUT", "/box/chunked", iter([encoded[:20], encoded[20:]]), headers, encode_chunked=True)
        assert connection.getresponse().status == 200
    assert s3.get_object(Bucket="box", Key="chunked")["Body"].read() == b"hello world"


def test_a_presigned_url_is_its_signers(aws: Standin) -> None:
    keys = assume(aws, ONE)
    url = urlsplit(client(aws, "sts", keys).generate_presigned_url("get_caller_identity"))
    status, text = raw(aws, "GET", f"{url.path}?{url.query}")
    assert (status, f"<Account>{ONE}</Account>".encode() in text) == (200, True)
    assert [call.operation for call in aws.calls(account=ONE)] == ["GetCallerIdentity"]


def test_a_connection_serves_many_calls_and_a_request_in_pieces(aws: Standin) -> None:
    host, port = urlsplit(aws.url).hostname, urlsplit(aws.url).port
    with socket.create_connection((host, port)) as connection:
        for piece in (
            b"GET /_standin/ca",
            b"lls HTTP/1.1\r\nHost: x\r\n",
            b"\r\nGET /_standin/faults HTTP/1.1\r\n\r\n",
        ):
            connection.sendall(piece)
            time.sleep(0.02)
        connection.shutdown(socket.SHUT_WR)
        received = connection.makefile("rb").read()
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_a_canned_value_says_whose_key_signed(canned: Standin) -> None:
    for account in (ONE, TWO):
        keys = assume(canned, account, role="team/reader")
        answer = client(canned, "secretsmanager", keys).get_secret_value(SecretId="db")
        assert answer["SecretString"] == f"{account} reader {keys['AccessKeyId']}"
        assert answer["ARN"] == f"arn:aws:secretsmanager:eu-west-1:{account}:secret:db-AbCdEf"
    answer = client(canned, "secretsmanager").get_secret_value(SecretId=answer["ARN"])
    assert (answer["Name"], answer["SecretString"]) == ("db", f"{BASE_ACCOUNT} - AKIABASE")


def test_every_canned_secrets_manager_operation_is_answered(canned: Standin) -> None:
    secrets = client(canned, "secretsmanager")
    token = "b" * 32
    assert secrets.describe_secret(SecretId="db")["Name"] == "db"
    assert len(secrets.list_secrets()["SecretList"]) == 3
    assert len(secrets.list_secret_version_ids(SecretId="db")["Versions"]) == 1
    assert secrets.create_secret(Name="db", SecretString="x", ClientRequestToken=token)["VersionId"] == token
    put = secrets.put_secret_value(SecretId="db", SecretString="x", ClientRequestToken=token)
    assert (put["VersionId"], put["VersionStages"]) == (token, ["AWSCURRENT"])
    assert secrets.update_secret(SecretId="db", Description="x")["Name"] == "db"
    assert secrets.rotate_secret(SecretId="db")["Name"] == "db"
    assert secrets.delete_secret(SecretId="db")["DeletionDate"] > datetime.now(UTC)
    assert secrets.restore_secret(SecretId="db")["Name"] == "db"
    assert secrets.get_resource_policy(SecretId="db")["Name"] == "db"
    assert len(secrets.get_random_password(PasswordLength=20)["RandomPassword"]) == 20
    secrets.tag_resource(SecretId="db", Tags=[{"Key": "a", "Value": "b"}])
    secrets.untag_resource(SecretId="db", TagKeys=["a"])


def test_canned_answers_of_other_services_name_the_account(canned: Standin) -> None:
    keys = assume(canned, ONE)
    assert client(canned, "sts", keys).get_caller_identity()["Arn"] == f"arn:aws:sts::{ONE}:assumed-role/ops/alice"
    assert client(canned, "route53", keys).list_hosted_zones()["HostedZones"][0]["Name"] == f"{ONE}.example."
    assert client(canned, "s3", keys).list_buckets()["Buckets"][0]["Name"] == f"bucket-of-{ONE}"
    assert client(canned, "ec2", keys).describe_instances()["Reservations"][0]["OwnerId"] == ONE
    assert client(canned, "iam", keys).list_roles()["Roles"][0]["Arn"] == f"arn:aws:iam::{ONE}:role/reader"


def test_an_operation_that_is_not_canned_is_refused_by_name(canned: Standin) -> None:
    with pytest.raises(ClientError, match="BatchGetSecretValue is not among the canned answers"):
        client(canned, "secretsmanager").batch_get_secret_value(SecretIdList=["db"])
    with pytest.raises(ClientError, match="ListUsers is not among the canned answers"):
        client(canned, "iam").list_users()


def test_canned_answers_can_fail_too(canned: Standin) -> None:
    canned.fault("throttle", operation="GetSecretValue", times=1)
    secrets = client(canned, "secretsmanager")
    assert [fails(lambda: secrets.get_secret_value(SecretId="db")) for _ in range(2)] == [True, False]


def test_the_canned_server_loads_no_moto_and_ends_on_sigterm() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "tests.standin", "--canned"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("standin http://127.0.0.1:")
    process.send_signal(signal.SIGTERM)
    _, imported = process.communicate(timeout=10)
    assert (process.returncode, "moto" in imported, "asyncio" in imported) == (0, False, True)


def test_the_server_does_not_outlive_the_test_that_started_it() -> None:
    script = "import os; from tests.standin import Standin; s = Standin(canned=True); s.__enter__(); print(s.url); "
    ended = subprocess.run(
        [sys.executable, "-c", script + "import sys; sys.stdout.flush(); os.kill(os.getpid(), 9)"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=20,
    )  # fmt: skip
    url = urlsplit(ended.stdout.strip())
    for _ in range(200):
        try:
            socket.create_connection((url.hostname, url.port)).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    pytest.fail("the stand-in still listens")


def fails(call: Any) -> bool:
    try:
        call()
    except ClientError:
        return True
    return False


def connect(aws: Standin) -> http.client.HTTPConnection:
    url = urlsplit(aws.url)
    return http.client.HTTPConnection(url.hostname or "", url.port, timeout=20)


def raw(aws: Standin, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    with closing(connect(aws)) as connection:
        connection.request(method, target, body)
        response = connection.getresponse()
        return response.status, response.read()
