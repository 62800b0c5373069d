"""`--check`: a line for each thing that is wrong, which says what to do, and never takes long."""

from __future__ import annotations

import logging.config
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import server as front_door
from tests.conftest import ROLES, TOKEN, aws_environment, server_environment
from tests.processes import run_server
from tests.standin import Standin

EXTERNAL_ID = "the-agreed-upon-id"
ASSUME = {"operation": "AssumeRole", "role_arn": ROLES["staging"]}
STS = {"service": "sts"}
DENIED = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:AssumeRole"
TOO_LONG = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
UNSIGNED = "The request signature we calculated does not match.\n\nThe Canonical String was\n'x-amz-security-token:hush"


@pytest.fixture(scope="module")
def standin() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


Check = Callable[..., tuple[int, dict[str, str]]]


@pytest.fixture
def check(standin: Standin, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Check]:
    """Run `--check` with two accounts; return its status and its lines by what they are about. None unsets."""
    standin.reset()
    for name, value in {**server_environment(), **aws_environment(standin.url)}.items():
        monkeypatch.setenv(name, value)

    def run(**environment: str | None) -> tuple[int, dict[str, str]]:
        for name, value in environment.items():
            monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
        status = front_door.main(["--check"])
        printed = capfd.readouterr()
        assert printed.err == ""
        assert "hush" not in printed.out
        return status, {line[6:].partition(":")[0]: line for line in printed.out.splitlines()}

    yield run
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}})


def error(code: str, message: str, **where: str) -> dict[str, Any]:
    return {"kind": "error", "code": code, "status": 403, "message": message, **where}


# What STS says to the AssumeRole of one account, and the advice.
ONE_ROLE = [
    (error("AccessDenied", DENIED, **ASSUME), "trust policy must name the server's identity"),
    (error("AccessDenied", DENIED, **ASSUME), "configure the account's external id"),
    (error("RegionDisabledException", "STS is not activated in this region", **ASSUME), "set another AWS_REGION"),
    (error("ValidationError", TOO_LONG, **ASSUME), "lower ROLE_SESSION_SECONDS"),
    ({"kind": "http503", **ASSUME}, "VPC endpoints"),
    ({"kind": "throttle", **ASSUME}, "Wait and retry"),
]


@pytest.mark.parametrize(("fault", "advice"), ONE_ROLE, ids=lambda value: str(value)[:40])
def test_a_role_that_cannot_be_assumed_is_one_line_with_advice_and_the_others_are_well(
    check: Check, standin: Standin, fault: dict[str, Any], advice: str
) -> None:
    standin.fault(**fault)
    status, lines = check()
    assert status == 1
    wrong = lines.pop("account staging")
    assert wrong.startswith("FAIL")
    assert advice in wrong.partition("To do: ")[2]
    assert {line[:2] for line in lines.values()} == {"ok"}


def test_a_denied_role_with_an_external_id_is_told_that_it_may_be_the_wrong_one(check: Check, standin: Standin) -> None:
    standin.fault(**error("AccessDenied", DENIED, **ASSUME))
    line = check(ACCOUNT_STAGING_EXTERNAL_ID=EXTERNAL_ID)[1]["account staging"]
    assert "sts:ExternalId it asks for must be the one configured" in line
    assert EXTERNAL_ID not in line


# What STS says to the server's own credentials, and the advice.
BASE = [
    (error("InvalidClientTokenId", "The security token included in the request is invalid.", **STS), "key is unknown"),
    (error("ExpiredToken", "The security token included in the request is expired", **STS), "aws sso login"),
    (error("SignatureDoesNotMatch", UNSIGNED, **STS), "secret key or the clock"),
    (error("InvalidIdentityToken", "No OpenIDConnect provider found in your account", **STS), "OIDC provider"),
    (error("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", **STS), "this service account"),
    ({"kind": "reset", **STS}, "check the network"),
]


@pytest.mark.parametrize(("fault", "advice"), BASE, ids=lambda value: str(value)[:40])
def test_base_credentials_that_sts_refuses_are_told_with_advice(
    check: Check, standin: Standin, fault: dict[str, Any], advice: str
) -> None:
    standin.fault(**fault)
    status, lines = check()
    assert status == 1
    assert len(lines) == 4
    assert advice in lines["base identity"].partition("To do: ")[2]
    assert all(line.startswith("FAIL") for what, line in lines.items() if what != "configuration")


@pytest.mark.parametrize(
    ("environment", "what", "advice"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "base identity", "IRSA"),
        ({"AWS_PROFILE": "no-such"}, "base identity", "an AWS_PROFILE that exists"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "base identity", "proxies"),
        ({"AWS_REGION": "us-east-9"}, "configuration", "AWS_REGION"),
        ({"ACCOUNT_DEV_PROFILE": "no-such"}, "account dev", "not in this host's AWS config"),
        ({"ALLOWED_ROLE_ARNS": ROLES["production"]}, "account staging", "ALLOWED_ROLE_ARNS"),
        ({"ACCOUNT_STAGING_REGION": "eu-west-1", "ALLOWED_REGIONS": "us-east-1"}, "account staging", "ALLOWED_REGIONS"),
        ({"ACCOUNT_STAGING_ROLE_ARN": "role/x"}, "configuration", "ACCOUNT_STAGING_ROLE_ARN"),
        ({"MCP_AUTH_TOKEN": "hush"}, "configuration", "MCP_AUTH_TOKEN"),
    ],
    ids=str,
)
def test_what_the_environment_gets_wrong_is_named(
    check: Check, environment: dict[str, str | None], what: str, advice: str
) -> None:
    status, lines = check(**environment)
    assert status == 1
    assert lines[what].startswith("FAIL")
    assert advice in lines[what]


@pytest.mark.parametrize(
    ("variable", "more"),
    [
        ("MCP_CALLERS_FILE", {}),
        ("ACCOUNTS_FILE", {}),
        ("AUDIT_LOG", {}),
        ("MCP_JWT_JWKS_URI", {"MCP_JWT_ISSUER": "https://idp.example", "MCP_JWT_AUDIENCE": "aws-ops"}),
    ],
)
def test_a_file_or_address_that_cannot_be_used_is_named_by_its_variable_and_not_by_its_path(
    check: Check, variable: str, more: dict[str, str]
) -> None:
    path = "http://127.0.0.1:9/hush" if variable.endswith("URI") else "/does/not/exist/hush"
    status, lines = check(**{variable: path, **more})
    assert status == 1
    (line,) = lines.values()
    assert line.startswith(f"FAIL  configuration: {variable}: ")


def test_an_audit_file_that_could_be_made_is_well_and_is_not_made(check: Check, tmp_path: Path) -> None:
    assert check(AUDIT_LOG=str(tmp_path / "audit"))[0] == 0
    assert not (tmp_path / "audit").exists()


def test_a_role_that_answers_as_another_account_is_wrong(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile in the way of a role, say, or a broken endpoint."""
    elsewhere = "arn:aws:sts::999999999999:assumed-role/x/y"
    monkeypatch.setattr("access.credentials.CredentialStore.caller_arn", lambda *_: elsewhere)
    status, lines = check()
    assert status == 1
    assert "which is another account" in lines["account staging"]


def test_seventy_accounts_whose_sts_hangs_are_told_of_in_bounded_time(standin: Standin) -> None:
    standin.reset()
    standin.fault("hang", operation="AssumeRole", seconds=60)
    fleet = {f"ACCOUNT_A{n}_ROLE_ARN": f"arn:aws:iam::{n:012d}:role/aws-ops-target" for n in range(1, 71)}
    settings = {"MCP_AUTH_TOKEN": TOKEN, "CALL_DEADLINE_SECONDS": "1", **aws_environment(standin.url)}
    began = time.monotonic()
    ended = run_server("--check", timeout=60, **settings, **fleet)
    assert time.monotonic() - began < 1 + 71 * 0.05 + 10  # and the start of a process, on a loaded machine
    lines = ended.stdout.splitlines()
    assert ended.returncode == 1
    assert len(lines) == 2 + 70
    assert all("To do: check the network" in line for line in lines[2:])
