"""AWS Secrets Manager: what is wrong with an account's secrets, found from metadata, policies and fingerprints.

Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/best-practices.html
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from services._policies import Policy, open_to_everyone
from services._secrets import CURRENT, PENDING, read
from services.base import READ, AWSModel, AWSServiceBase, Target, tool
from toolcall.call import Call
from toolcall.fanout import TargetFailure, gather
from toolcall.results import AWSModel as Row

_MOST_PER_REGION = 500
_SEVERITIES = ("high", "medium", "low")
_AWS_MANAGED_KEY = "alias/aws/secretsmanager"


class Finding(Row):
    """One thing that is wrong with one secret, and what to do about it."""

    severity: str
    finding: str
    region: str
    secret: str
    detail: str
    to_do: str


class SecretsAudit(AWSModel):
    """The findings, worst first; `failures` names regions that could not be looked at."""

    findings: list[Finding]
    counts: dict[str, int]
    secrets_seen: int
    regions: list[str]
    truncated: bool = False
    failures: list[TargetFailure] = []


class SecretsAuditService(AWSServiceBase):
    """Looks at all secrets of an account."""

    client_name = "secretsmanager"
    toolset = "secrets-admin"

    @tool(
        READ,
        "secretsmanager:ListSecrets",
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetResourcePolicy",
        "secretsmanager:GetSecretValue",
    )
    def audit_secrets(
        self,
        target: Target,
        regions: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1, max_length=40)]
        | None = None,
        unread_days: Annotated[int, Field(ge=1, le=3650)] = 90,
        pending_hours: Annotated[int, Field(ge=1, le=720)] = 24,
        compare_values: bool = False,
    ) -> SecretsAudit:
        """Find secrets with overdue, failed or stuck rotation, broken replicas, open policies and the like.

        Args:
            regions: The call's region if not given
            compare_values: Also find equal values, by fingerprint
        """
        asked = [target.model_copy(update={"region": region}) for region in regions or [_region(target)]]
        for one in asked:
            Call.current().grant(one)
        look = _Look(unread_days, pending_hours, compare_values)
        gathered = gather(asked, lambda one: look.region(self.client(one), _region(one)))
        seen = [report for _, report in gathered.answers]
        findings = [finding for report in seen for finding in report.findings] + look.duplicates()
        findings.sort(key=lambda finding: (_SEVERITIES.index(finding.severity), finding.region, finding.secret))
        return SecretsAudit(
            findings=findings,
            counts={severity: sum(f.severity == severity for f in findings) for severity in _SEVERITIES},
            secrets_seen=sum(report.secrets for report in seen),
            regions=[report.region for report in seen],
            truncated=any(report.truncated for report in seen),
            failures=gathered.failures,
        )


class _Report:
    def __init__(self, region: str) -> None:
        self.region, self.secrets, self.truncated = region, 0, False
        self.findings: list[Finding] = []


class _Look:
    """One audit: its thresholds, and the fingerprints seen so far in all its regions."""

    def __init__(self, unread_days: int, pending_hours: int, compare_values: bool) -> None:
        self._now = datetime.now(UTC)
        self._unread, self._pending = timedelta(days=unread_days), timedelta(hours=pending_hours)
        self._compare = compare_values
        self._key = secrets.token_bytes(32)
        self._seen: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def region(self, client: Any, region: str) -> _Report:
        """Look at one region's secrets."""
        report = _Report(region)
        pages = client.get_paginator("list_secrets").paginate(IncludePlannedDeletion=True)
        for row in (row for page in pages for row in page["SecretList"]):
            if report.secrets >= _MOST_PER_REGION:
                report.truncated = True
                break
            report.secrets += 1
            for severity, finding, detail, to_do in self._secret(client, region, row):
                report.findings.append(
                    Finding(
                        severity=severity,
                        finding=finding,
                        region=region,
                        secret=row["Name"],
                        detail=detail,
                        to_do=to_do,
                    )
                )
        return report

    def _secret(self, client: Any, region: str, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
        if deleted := row.get("DeletedDate"):
            yield ("low", "PendingDeletion", f"deleted on {deleted:%Y-%m-%d}", "restore_secret if it is still needed")
            return
        yield from self._rotation(row)
        yield from self._use(row)
        yield from _replicas(client, row)
        yield from _policy(client, row)
        if self._compare:
            held = read(client, row["ARN"])
            data = held.secret_binary if held.secret_binary is not None else held.text.encode()
            self._seen[hmac.digest(self._key, data, hashlib.sha256).hex()].append((region, row["Name"]))

    def _rotation(self, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
        versions: Mapping[str, list[str]] = row.get("SecretVersionsToStages") or {}
        stuck = [version for version, stages in versions.items() if PENDING in stages and CURRENT not in stages]
        changed = row.get("LastChangedDate") or row.get("CreatedDate") or self._now
        if stuck and self._now - changed > self._pending:
            yield (
                "high", "RotationStuck", f"AWSPENDING on version {stuck[0]} since {changed:%Y-%m-%d} or longer",
                "look at the rotation function's log; take the stage off that version, then rotate_secret",
            )  # fmt: skip
        if not row.get("RotationEnabled"):
            yield ("low", "NoRotation", "automatic rotation is off", "configure_rotation")
            return
        days = (row.get("RotationRules") or {}).get("AutomaticallyAfterDays")
        last = row.get("LastRotatedDate")
        due = row.get("NextRotationDate") or (last + timedelta(days=days) if last and days else None)
        if due is not None and due < self._now - timedelta(days=1):
            yield (
                "high",
                "RotationOverdue",
                f"was due on {due:%Y-%m-%d}",
                "look at the rotation function's log; rotate_secret",
            )
        elif last is None:
            yield (
                "high",
                "NeverRotated",
                "rotation is on but has never succeeded",
                "rotate_secret, and read the function's log",
            )

    def _use(self, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
        read_last = row.get("LastAccessedDate")
        if (read_last or row.get("CreatedDate") or self._now) < self._now - self._unread:
            when = f"last read on {read_last:%Y-%m-%d}" if read_last else "never read"
            yield ("low", "Unused", when, "lookup_events for its readers, then delete_secret with a recovery window")
        if row.get("KmsKeyId") in (None, _AWS_MANAGED_KEY) or str(row.get("KmsKeyId")).endswith(_AWS_MANAGED_KEY):
            yield (
                "low", "DefaultKey", "encrypted with the account's default key, which no other account can use",
                "update_secret with kms_key_id",
            )  # fmt: skip

    def duplicates(self) -> list[Finding]:
        """Return a finding for each secret whose value another has too."""
        return [
            Finding(
                severity="medium", finding="DuplicateValue", region=region, secret=name,
                detail=f"the same value as {len(places) - 1} other(s)",
                to_do="give each use a value of its own: update_secret with generate",
            )
            for places in self._seen.values()
            if len({name for _, name in places}) > 1
            for region, name in places
        ]  # fmt: skip


def _replicas(client: Any, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    if not row.get("PrimaryRegion"):
        return
    for replica in client.describe_secret(SecretId=row["ARN"]).get("ReplicationStatus", []):
        if replica.get("Status") == "Failed":
            reason = replica.get("StatusMessage") or "no reason given"
            yield ("high", "ReplicaFailed", f"{replica['Region']}: {reason}", "replicate_secret to that region again")


def _policy(client: Any, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    text = client.get_resource_policy(SecretId=row["ARN"]).get("ResourcePolicy")
    if not text:
        return
    policy = Policy(text)
    if open_to_everyone(policy):
        yield ("high", "PublicPolicy", "its resource policy lets anybody in", "put_secret_policy that names principals")
        return
    owner = row["ARN"].split(":")[4]
    foreign = sorted(number for number in _accounts(policy) if number != owner)
    if foreign:
        yield ("medium", "CrossAccountPolicy", f"readable from {', '.join(foreign)}", "check that each still needs it")


def _accounts(policy: Policy) -> set[str]:
    """Return the account numbers in the principals of what a policy allows."""
    text = json.dumps([statement.get("Principal") for statement in policy.allows()])
    return {part for part in text.replace('"', ":").split(":") if len(part) == 12 and part.isdigit()}


def _region(target: Target) -> str:
    return Call.current().grant(target).region
