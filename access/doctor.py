"""The doctor behind `--check`: a line per thing it looked at, with what is wrong and what to do. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from access.callers import Caller
from access.credentials import CredentialStore
from access.identity import Grant, Identity, Target
from access.policy import Policy
from config import Account, Settings
from errors import AWSOpsError, translate

_DOCTOR = Caller("check")
_ADVICE = {
    "AccessDenied": "the role's trust policy must name the server's identity (and the external id, if it asks), "
    "and the server's own policy must allow sts:AssumeRole on the role",
    "NoCredentials": "give the server credentials: IRSA in EKS; AWS_PROFILE, keys or `aws sso login` on a laptop",
    "ServiceUnavailable": "STS does not answer: check the network, proxies, VPC endpoints and AWS_REGION",
    "RegionDisabledException": "STS is not active in this region: enable it in the account, or set another AWS_REGION",
    "InvalidClientTokenId": "the access key is unknown, or the region needs opting in",
    "ExpiredToken": "renew the credentials (`aws sso login`), and check the clock",
    "SignatureDoesNotMatch": "the secret key or the clock is wrong",
    "ValidationError": "ROLE_SESSION_SECONDS may exceed the role's maximum session duration",
    "ProfileNotAllowed": "the profile is not in this host's AWS config, or not in ALLOWED_PROFILES",
    "RoleNotAllowed": "the role is not in ALLOWED_ROLE_ARNS",
    "RegionNotAllowed": "the region is unknown, or not in ALLOWED_REGIONS",
}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    ok: bool
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.what}: {self.detail}"


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at the base identity, then at each configured account, in the order of the configuration."""
    credentials = CredentialStore(settings)
    # Unstamped: whether the stamps are allowed is looked at apart, to say so.
    plain = CredentialStore(settings.model_copy(update={"stamp_caller": False}))
    policy = Policy(settings, credentials)
    yield Finding(True, "configuration", f"{len(settings.accounts)} accounts, region {settings.region}")
    yield _base(credentials, settings)
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield from pool.map(lambda account: _account(plain, policy, account, settings.stamp_caller), settings.accounts)


def _base(credentials: CredentialStore, settings: Settings) -> Finding:
    try:
        arn = credentials.caller_arn(Grant(Identity(), settings.region), _DOCTOR)
    except Exception as error:
        return _wrong("base identity", translate(error))
    return Finding(True, "base identity", arn)


def _account(credentials: CredentialStore, policy: Policy, account: Account, stamped: bool) -> Finding:
    what = f"account {account.name}"
    try:
        grant = policy.decide(_DOCTOR, Target(account=account.name))
        arn = credentials.caller_arn(grant, _DOCTOR)
        role, external_id = grant.identity.role_arn, grant.identity.external_id
        missing = credentials.missing_stamp_permissions(role, external_id, _DOCTOR) if stamped and role else []
    except Exception as error:
        return _wrong(what, translate(error))
    if missing:
        return Finding(False, what, f"STAMP_CALLER needs {', '.join(missing)} in the role's trust policy")
    number = grant.identity.account_id
    if number is not None and f":{number}:" not in arn:
        return Finding(False, what, f"answered as {arn}, which is another account")
    return Finding(True, what, f"{arn} in {grant.region}")


def _wrong(what: str, failure: AWSOpsError) -> Finding:
    advice = next((text for code, text in _ADVICE.items() if failure.error_code.startswith(code)), failure.next_step)
    return Finding(False, what, f"{failure.error_code}: {failure.message} To do: {advice or 'see the message'}.")
