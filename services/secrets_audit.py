"""AWS Secrets Manager: what is wrong with an account's secrets, found from metadata, policies and fingerprints.

Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/best-practices.html
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from aws_regions import partitions
from errors import DeadlineExceeded, translate
from plain_words import printable
from services._policies import Policy, accounts_in, open_to_everyone, trusts_any_login
from services._secret_values import read
from services._secrets import CURRENT, KMS_READ, PENDING, NamePrefix, versions_of
from services.base import READ, AWSModel, AWSServiceBase, Standing, Target, tool
from toolcall.call import Call
from toolcall.fanout import TargetFailure, gather

_MOST_PER_REGION = 500
# AWS takes 50 GetResourcePolicy a second in a region from everybody together, and raises that for nobody.
_AT_ONCE_PER_REGION = 3
_NAMED_UNCHECKED = 10
_PROGRESS_EVERY = 20
_ALL = "all"
_SEVERITIES = ("high", "medium", "low")
_AWS_MANAGED_KEY = "alias/aws/secretsmanager"
_TO_DO = {
    "RotationOverdue": "read the rotation function's log in CloudWatch, then rotate_secret",
    "RotationStuck": "read the rotation function's log; take AWSPENDING off that version with "
    "update_secret_version_stage, then rotate_secret",
    "NeverRotated": "rotate_secret, and read the rotation function's log",
    "NoRotation": "configure_rotation",
    "ReplicaFailed": "replicate_secret to that region again, with force_overwrite if a secret of the name is there",
    "ReplicaNotInSync": "describe_secret later; if it stays, remove_secret_replicas and replicate_secret again",
    "PublicPolicy": "put_secret_policy that names principals",
    "ConditionalPolicy": "put_secret_policy that names principals, or check that the condition lets in few",
    "CrossAccountPolicy": "check that each account still needs it; put_secret_policy without those that do not",
    "DuplicateValue": "give each use a value of its own: update_secret with generate",
    "Unused": "lookup_events for its readers, then delete_secret with a recovery window",
    "DefaultKey": "update_secret with kms_key_id; other accounts cannot use the default key",
    "PendingDeletion": "restore_secret if it is still needed",
}
_Found = tuple[str, str, str]  # severity, finding, detail


class Finding(AWSModel):
    """One thing that is wrong with one secret."""

    severity: str
    finding: str
    region: str
    secret: str
    detail: str


class Unchecked(AWSModel):
    """A check that could not be made on some secrets, and why; `secrets` names the first of them."""

    check: str
    region: str
    error_code: str
    message: str
    count: int
    secrets: list[str]


class SecretsAudit(AWSModel):
    """The findings, worst first. `failures` names regions, `unchecked` checks, that could not be looked at."""

    findings: list[Finding]
    counts: dict[str, int] = Field(description="Findings per severity, those cut off included")
    to_do: dict[str, str] = Field(description="What to do about each kind of finding")
    secrets_seen: int
    regions: list[str]
    truncated: bool = False
    failures: list[TargetFailure] = []
    unchecked: list[Unchecked] = []


def _compares_values(arguments: Mapping[str, Any], _: Standing) -> bool:
    return arguments["compare_values"] is True


class SecretsAuditService(AWSServiceBase):
    """Looks at all secrets of an account."""

    client_name = "secretsmanager"
    toolset = "secrets-admin"

    @tool(
        READ,
        "secretsmanager:ListSecrets",
        "secretsmanager:DescribeSecret",
        "secretsmanager:ListSecretVersionIds",
        "secretsmanager:GetResourcePolicy",
        "secretsmanager:GetSecretValue",
        KMS_READ,
        reveals_if=_compares_values,
    )
    def audit_secrets(
        self,
        target: Target,
        regions: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1, max_length=40)]
        | None = None,
        name_prefix: NamePrefix | None = None,
        unread_days: Annotated[int, Field(ge=1, le=3650)] = 90,
        pending_hours: Annotated[int, Field(ge=1, le=720)] = 24,
        compare_values: bool = False,
        max_findings: Annotated[int, Field(ge=1, le=2000)] = 200,
    ) -> SecretsAudit:
        """Find secrets with overdue, failed or stuck rotation, broken replicas, open policies and the like.

        Args:
            regions: The call's region if not given; ["all"] for all that may be used
            compare_values: Also find equal values, by fingerprint; needs the scope `reveal`, for it reads them
        """
        asked = [target.model_copy(update={"region": region}) for region in self._regions(target, regions)]
        for one in asked:
            Call.current().grant(one)
        with _Look(timedelta(days=unread_days), timedelta(hours=pending_hours), compare_values) as look:
            gathered = gather(
                asked, lambda one: look.region(self.client(one), _region(one), name_prefix), progress=False
            )
        findings = sorted(look.findings, key=lambda found: (_SEVERITIES.index(found.severity), found.finding))
        shown = findings[:max_findings]
        return SecretsAudit(
            findings=shown,
            counts={severity: sum(f.severity == severity for f in findings) for severity in _SEVERITIES},
            to_do={name: text for name, text in _TO_DO.items() if any(found.finding == name for found in shown)},
            secrets_seen=look.seen,
            regions=[_region(one) for one, _ in gathered.answers],
            truncated=look.truncated or len(shown) < len(findings),
            failures=gathered.failures,
            unchecked=look.unchecked,
        )

    def _regions(self, target: Target, asked: list[str] | None) -> Iterable[str]:
        """Return the regions to look at: for `all` the account's own, else the allowed, else the partition's."""
        grant = Call.current().grant(target)
        if asked is None:
            return [grant.region]
        if asked != [_ALL]:
            return dict.fromkeys(asked)
        settings = self.desk.settings
        own = next((account.regions for account in settings.accounts if account.name == grant.account), ())
        everywhere = (one for one, partition in partitions().items() if partition == partitions()[grant.region])
        return sorted(own or settings.allowed_regions or everywhere)


class _Look:
    """One audit: its thresholds, and what it has found so far in all its regions."""

    def __init__(self, unread: timedelta, pending: timedelta, compare: bool) -> None:
        self._call, self._now = Call.current(), datetime.now(UTC)
        left = self._call.trace.deadline - time.monotonic()
        self._end = self._call.trace.deadline - min(1.5, left / 4)
        self._unread, self._pending, self._compare = unread, pending, compare
        self._key, self._values = secrets.token_bytes(32), defaultdict[str, list[tuple[str, str]]](list)
        self._refused = defaultdict[tuple[str, str, str], list[tuple[str, str]]](list)
        self._found: list[Finding] = []
        self._lock = threading.Lock()
        self.seen, self.truncated, self._over = 0, False, False

    def __enter__(self) -> _Look:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # a look that comes later reports to nobody
            self._over = True

    def region(self, client: Any, region: str, name_prefix: str | None) -> None:
        """Look at one region's secrets, several at once, as far as time allows."""
        request: dict[str, Any] = {"IncludePlannedDeletion": True}
        if name_prefix:
            request["Filters"] = [{"Key": "name", "Values": [name_prefix]}]
        pool = ThreadPoolExecutor(_AT_ONCE_PER_REGION, thread_name_prefix="audit")
        try:
            self._look_at(client.get_paginator("list_secrets").paginate(**request), client, region, name_prefix, pool)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _look_at(
        self, pages: Iterable[Any], client: Any, region: str, name_prefix: str | None, pool: ThreadPoolExecutor
    ) -> None:
        looked_at = 0
        for page in pages:
            rows = [row for row in page["SecretList"] if row["Name"].startswith(name_prefix or "")]
            looks = [
                pool.submit(copy_context().run, self._secret, client, region, row)
                for row in rows[: _MOST_PER_REGION - looked_at]
            ]
            looked_at += len(looks)
            _, late = wait(looks, timeout=max(self._end - time.monotonic(), 0))
            if late or len(looks) < len(rows) or (looked_at == _MOST_PER_REGION and page.get("NextToken")):
                self.truncated = True
                return

    def _secret(self, client: Any, region: str, row: Mapping[str, Any]) -> None:
        """Make every check on one secret. One that fails takes nothing from the others."""
        name, found = row["Name"], list[_Found]()
        for check, look in self._checks(client, region, row):
            try:
                found += look()
            except DeadlineExceeded:
                self.truncated = True
            except Exception as error:
                failure = translate(error)
                self._refused[check, region, failure.error_code].append((name, failure.message))
        with self._lock:
            self._found += [
                Finding(severity=severity, finding=finding, region=region, secret=name, detail=detail)
                for severity, finding, detail in found
            ]
            self.seen += 1
            if self.seen % _PROGRESS_EVERY == 1 and not self._over:
                self._call.progress(self.seen, None, f"{self.seen} secrets seen, {len(self._found)} findings")

    def _checks(
        self, client: Any, region: str, row: Mapping[str, Any]
    ) -> Iterator[tuple[str, Callable[[], Iterable[_Found]]]]:
        if deleted := row.get("DeletedDate"):
            yield "deletion", lambda: [("low", "PendingDeletion", f"deletion date {deleted:%Y-%m-%d}")]
            return
        yield "use", lambda: self._use(row)
        if row.get("PrimaryRegion") in (None, region):  # the rest is the primary's own
            yield "rotation", lambda: self._rotation(row)
            yield "pending", lambda: self._stuck(client, row)
            yield "replicas", lambda: _replicas(client, row)
            yield "policy", lambda: _policy(client, row)
        if self._compare:
            yield "value", lambda: self._remember(client, region, row)

    def _rotation(self, row: Mapping[str, Any]) -> Iterator[_Found]:
        if not row.get("RotationEnabled"):
            yield ("low", "NoRotation", "automatic rotation is off")
            return
        days = (row.get("RotationRules") or {}).get("AutomaticallyAfterDays")
        last = row.get("LastRotatedDate")
        due = row.get("NextRotationDate") or (last + timedelta(days=days) if last and days else None)
        if due is not None and due < self._now - timedelta(days=1):
            yield ("high", "RotationOverdue", f"was due on {due:%Y-%m-%d}; it has failed, or never begun")
        elif due is None and last is None:
            yield ("medium", "NeverRotated", "rotation is on but has never succeeded")

    def _stuck(self, client: Any, row: Mapping[str, Any]) -> Iterator[_Found]:
        versions: Mapping[str, list[str]] = row.get("SecretVersionsToStages") or {}
        pending = [version for version, stages in versions.items() if PENDING in stages and CURRENT not in stages]
        if not pending:
            return
        begun = {version["VersionId"]: version.get("CreatedDate") for version in versions_of(client, row["ARN"])}
        for version in pending:
            since = begun.get(version) or row.get("LastChangedDate")
            if since is not None and self._now - since > self._pending:
                yield ("high", "RotationStuck", f"AWSPENDING on version {version} since {since:%Y-%m-%d %H:%M} UTC")

    def _use(self, row: Mapping[str, Any]) -> Iterator[_Found]:
        read_last = row.get("LastAccessedDate")
        if (read_last or row.get("CreatedDate") or self._now) < self._now - self._unread:
            yield ("low", "Unused", f"last read on {read_last:%Y-%m-%d}" if read_last else "never read")
        key = row.get("KmsKeyId")
        if key is None or str(key).endswith(_AWS_MANAGED_KEY):
            yield ("low", "DefaultKey", "encrypted with the account's default key")

    def _remember(self, client: Any, region: str, row: Mapping[str, Any]) -> Iterable[_Found]:
        held = read(client, row["ARN"])
        data = held.secret_binary if held.secret_binary is not None else held.text.encode()
        with self._lock:
            self._values[hmac.digest(self._key, data, hashlib.sha256).hex()].append((region, row["Name"]))
        return []

    @property
    def findings(self) -> list[Finding]:
        """What was found, and of the values seen those that stand under several names."""
        with self._lock:
            shared = [places for places in self._values.values() if len({name for _, name in places}) > 1]
            return self._found + [
                Finding(
                    severity="medium", finding="DuplicateValue", region=region, secret=name,
                    detail="the same value as " + ", ".join(sorted({other for _, other in places} - {name})[:5]),
                )
                for places in shared
                for region, name in places
            ]  # fmt: skip

    @property
    def unchecked(self) -> list[Unchecked]:
        """The checks that failed, those of one kind, region and reason together."""
        return [
            Unchecked(
                check=check,
                region=region,
                error_code=code,
                message=failed[0][1],
                count=len(failed),
                secrets=[name for name, _ in failed[:_NAMED_UNCHECKED]],
            )
            for (check, region, code), failed in list(self._refused.items())
        ]


def _replicas(client: Any, row: Mapping[str, Any]) -> Iterator[_Found]:
    for replica in client.describe_secret(SecretId=row["ARN"]).get("ReplicationStatus", []):
        status, reason = replica.get("Status"), printable(replica.get("StatusMessage") or "no reason given")
        if status == "Failed":
            yield ("high", "ReplicaFailed", f"{replica['Region']}: {reason}")
        elif status != "InSync":
            yield ("medium", "ReplicaNotInSync", f"{replica['Region']}: {status}")


def _policy(client: Any, row: Mapping[str, Any]) -> Iterator[_Found]:
    text = client.get_resource_policy(SecretId=row["ARN"]).get("ResourcePolicy")
    if not text:
        return
    policy = Policy(text)
    if open_to_everyone(policy) or trusts_any_login(policy):
        yield ("high", "PublicPolicy", "its resource policy lets anybody in")
        return
    if open_to_everyone(policy, conditions=True):
        yield ("medium", "ConditionalPolicy", "its resource policy lets in anybody who meets a condition")
    owner = row["ARN"].split(":")[4]
    if foreign := sorted(number for number in accounts_in(policy) if number != owner):
        yield ("medium", "CrossAccountPolicy", f"readable from {', '.join(foreign)}")


def _region(target: Target) -> str:
    return Call.current().grant(target).region
