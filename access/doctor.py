"""The doctor behind `--check`: a line per thing it looked at, with what is wrong and what to do. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from access.callers import Caller
from access.credentials import CredentialStore
from access.identity import Grant, Identity, Target
from access.policy import Policy
from config import Settings
from errors import AWSOpsError, DeadlineExceeded, UnreadableConfiguration, translate
from named_accounts import Account

_DOCTOR = Caller("check")
_AT_ONCE = 32
# Nothing may keep the doctor longer: at most so long, or a call's deadline, and a little for each account.
_PATIENCE, _PATIENCE_PER_ACCOUNT = 15.0, 0.05
_NO_WAY = "check the network, proxies, VPC endpoints, and AWS_REGION, whose STS is asked"
_ADVICE = {
    "AccessDenied": "the role's trust policy must name the server's identity, and the server's own policy must allow "
    "sts:AssumeRole on the role",
    "NoCredentials": "give the server credentials: IRSA in EKS; an AWS_PROFILE that exists, keys or `aws sso login` "
    "on a laptop",
    "ServiceUnavailable": f"STS does not answer: {_NO_WAY}",
    "DeadlineExceeded": _NO_WAY,
    "RegionDisabledException": "STS is not active in this region: enable it in the account, or set another AWS_REGION",
    "InvalidClientTokenId": "the access key is unknown, or the region needs opting in",
    "ExpiredToken": "renew the credentials (`aws sso login`), and check the clock",
    "SignatureDoesNotMatch": "the secret key or the clock is wrong",
    "InvalidIdentityToken": "the cluster's OIDC provider must exist in IAM, with the audience sts.amazonaws.com",
    "ValidationError": "if it is about DurationSeconds, lower ROLE_SESSION_SECONDS: each role has a maximum, and where "
    "the server's identity is a role itself, as with IRSA, it is an hour",
    "ProfileNotAllowed": "the profile is not in this host's AWS config, or not in ALLOWED_PROFILES",
    "RoleNotAllowed": "the role is not in ALLOWED_ROLE_ARNS",
    "RegionNotAllowed": "the region is unknown, or not in ALLOWED_REGIONS",
}
_OF_THE_BASE = {
    "AccessDenied": "the trust policy of the server's own role must name what it signs in with; for IRSA that is the "
    "cluster's OIDC provider and this service account",
}
_EXTERNAL_ID = {
    True: "; an sts:ExternalId it asks for must be the one configured here",
    False: "; if it asks for an sts:ExternalId, configure the account's external id",
}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    ok: bool
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.what}: {' '.join(self.detail.split())}"


_Check = tuple[str, Callable[[], Finding]]


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at the base identity and at each configured account, in the order of the configuration, in bounded time."""
    credentials = CredentialStore(settings)
    # Unstamped: whether the stamps are allowed is looked at apart, to say so.
    plain = CredentialStore(settings.model_copy(update={"stamp_caller": False}))
    policy = Policy(settings, credentials)
    yield _configuration(credentials, settings)
    checks: list[_Check] = [
        ("base identity", partial(_base, credentials, settings)),
        *(
            (f"account {account.name}", partial(_account, plain, policy, account, settings.stamp_caller))
            for account in settings.accounts
        ),
    ]
    yield from _in_bounded_time(checks, min(_PATIENCE, settings.call_deadline_seconds))


def _in_bounded_time(checks: Sequence[_Check], seconds: float) -> Iterator[Finding]:
    """Run the checks side by side; yield a finding of each, in their order."""
    seconds += len(checks) * _PATIENCE_PER_ACCOUNT
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        end = time.monotonic() + seconds
        for what, running in [(what, pool.submit(check)) for what, check in checks]:
            try:
                yield running.result(max(0.0, end - time.monotonic()))
            except TimeoutError:
                yield _wrong(what, DeadlineExceeded(f"No answer within {seconds:.0f} seconds."))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # what hangs is left behind; the process ends without it


def _configuration(credentials: CredentialStore, settings: Settings) -> Finding:
    try:
        credentials.host.check()
    except UnreadableConfiguration as error:
        return Finding(False, "configuration", f"{error.where}. To do: mend the file; no profile works until then.")
    return Finding(True, "configuration", f"{len(settings.accounts)} accounts, region {settings.region}")


def _base(credentials: CredentialStore, settings: Settings) -> Finding:
    try:
        arn = credentials.caller_arn(Grant(Identity(), settings.region), _DOCTOR)
    except Exception as error:
        return _wrong("base identity", translate(error), _ADVICE | _OF_THE_BASE)
    return Finding(True, "base identity", arn)


def _account(credentials: CredentialStore, policy: Policy, account: Account, stamped: bool) -> Finding:
    what = f"account {account.name}"
    try:
        grant = policy.decide(_DOCTOR, Target(account=account.name))
        arn = credentials.caller_arn(grant, _DOCTOR)
        role, external_id = grant.identity.role_arn, grant.identity.external_id
        missing = credentials.missing_stamp_permissions(role, external_id, _DOCTOR) if stamped and role else []
    except Exception as error:
        denied = _ADVICE["AccessDenied"] + _EXTERNAL_ID[account.external_id is not None]
        return _wrong(what, translate(error), _ADVICE | {"AccessDenied": denied})
    if missing:
        return Finding(False, what, f"STAMP_CALLER needs {', '.join(missing)} in the role's trust policy")
    number = grant.identity.account_id
    if number is not None and f":{number}:" not in arn:
        return Finding(False, what, f"answered as {arn}, which is another account")
    return Finding(True, what, f"{arn} in {grant.region}")


def _wrong(what: str, failure: AWSOpsError, advice: Mapping[str, str] = _ADVICE) -> Finding:
    to_do = next((text for code, text in advice.items() if failure.error_code.startswith(code)), failure.next_step)
    said = f"{failure.error_code}: {failure.message.rstrip(' .')}."
    return Finding(False, what, f"{said} To do: {(to_do or 'see the message').rstrip('.')}.")
