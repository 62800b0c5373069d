"""AWS IAM: what roles may do: managed policies, which roles they are attached to, and roles' inline policies.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-vs-inline.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from errors import InvalidParameter, after, is_missing, translate
from services._iam import (
    InlineDocument,
    ManagedDocument,
    MaxItems,
    Path,
    PolicyArn,
    PolicyName,
    PolicyVersionId,
    RoleName,
    Token,
    difference,
    page_of,
    rows_of,
    spare_own_policy,
    spare_own_role,
)
from services._policies import Policy, danger_of, gives_anything
from services.base import READ, WRITE, AWSModel, AWSServiceBase, Page, Plan, Standing, Target, Timestamp, tool

_MOST_VERSIONS = 5
_NOTHING = "Nothing is lost."


class PolicyRow(AWSModel):
    policy_name: str
    arn: str = Field(alias="Arn")
    default_version_id: str | None = None
    attachment_count: int | None = None
    update_date: Timestamp | None = None
    description: str | None = None


class Policies(Page):
    policies: list[PolicyRow]
    count: int


class PolicyVersion(AWSModel):
    version_id: str
    is_default_version: bool
    create_date: Timestamp | None = None


class PolicyDetail(PolicyRow):
    """A managed policy with the document of one version, and its versions."""

    version_id: str
    document: dict[str, Any]
    versions: list[PolicyVersion] = []


class WrittenVersion(AWSModel):
    """A new version, and how it differs from the default one before it. No id on a dry run."""

    policy_arn: str
    version_id: str | None = None
    is_default_version: bool
    deleted_version_id: str | None = None
    diff: list[str]
    dry_run: bool | None = None


class Attachment(AWSModel):
    role_name: str
    policy_arn: str
    attached: bool


class InlinePolicy(AWSModel):
    """An inline policy that was written, and how it differs from what stood there."""

    role_name: str
    policy_name: str
    replaced: bool
    diff: list[str]
    dry_run: bool | None = None


def _danger(document: str) -> str | None:
    return danger_of(Policy(document))


def _is_dangerous(arguments: Mapping[str, Any], _: Standing) -> bool:
    """Whether a policy gives more than its bearer's own work: to be confirmed like what cannot be undone."""
    return _danger(arguments["document"]) is not None


def _is_dangerous_or_deletes(arguments: Mapping[str, Any], standing: Standing) -> bool:
    return arguments["replace_oldest"] is True or _is_dangerous(arguments, standing)


def _allows_everything(arguments: Mapping[str, Any], _: Standing) -> bool:
    return arguments["allow_everything"] is True


class IAMPoliciesService(AWSServiceBase):
    """Policies. One that gives more than its bearer's own work is confirmed before it is written."""

    client_name = "iam"
    toolset = "iam"

    @tool(READ, "iam:ListPolicies")
    def list_policies(
        self,
        target: Target,
        scope: Literal["Local", "AWS", "All"] = "Local",
        only_attached: bool = False,
        max_results: MaxItems = 100,
        next_token: Token | None = None,
    ) -> Policies:
        """List managed policies: the account's own (Local), AWS's, or all."""
        chosen = {"Scope": scope, "OnlyAttached": only_attached}
        page = page_of(self.client(target), "list_policies", max_results, next_token, **chosen)
        return Policies(**rows_of("policies", [PolicyRow.model_validate(row) for row in page["Policies"]], page))

    @tool(READ, "iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions", resource="policy_arn")
    def get_policy(
        self,
        policy_arn: PolicyArn,
        target: Target,
        version_id: PolicyVersionId | None = None,
    ) -> PolicyDetail:
        """Return a managed policy with its document and versions; the default version's unless another is named."""
        client = self.client(target)
        policy = client.get_policy(PolicyArn=policy_arn)["Policy"]
        version = version_id or policy["DefaultVersionId"]
        document = _document(client, policy_arn, version)
        versions = _versions(client, policy_arn)
        rows = [PolicyVersion.model_validate(row) for row in versions]
        return PolicyDetail.model_validate({**policy, "VersionId": version, "Document": document, "Versions": rows})

    @tool(WRITE, "iam:CreatePolicy", resource="policy_name", destroys_if=_is_dangerous)
    def create_policy(
        self,
        policy_name: PolicyName,
        document: ManagedDocument,
        target: Target,
        description: Annotated[str, StringConstraints(max_length=1000)] | None = None,
        path: Path | None = None,
    ) -> PolicyRow:
        """Create a managed policy. One that gives more power, much of several services or all secrets is confirmed.

        Args:
            document: JSON
        """
        optional = {"Description": description, "Path": path}
        request = {name: value for name, value in optional.items() if value}
        answer = self.client(target).create_policy(PolicyName=policy_name, PolicyDocument=document, **request)
        return PolicyRow.model_validate(answer["Policy"])

    def plan_create_policy(self, policy_name: PolicyName, document: ManagedDocument, path: Path | None) -> Plan:
        """Say what the policy means for whoever gets it."""
        return Plan(f"policy {path or '/'}{policy_name}", str(_danger(document)), {})

    @tool(
        WRITE, "iam:CreatePolicyVersion", "iam:ListPolicyVersions", "iam:GetPolicyVersion", "iam:DeletePolicyVersion",
        "iam:GetRole", "iam:ListAttachedRolePolicies", resource="policy_arn", destructive=True,
        destroys_if=_is_dangerous_or_deletes,
    )  # fmt: skip
    def create_policy_version(
        self,
        policy_arn: PolicyArn,
        document: ManagedDocument,
        target: Target,
        set_as_default: bool = True,
        replace_oldest: bool = False,
        dry_run: bool = False,
    ) -> WrittenVersion:
        """Write a new version of a managed policy; answers its difference. Confirmed as create_policy is.

        Args:
            document: JSON
            replace_oldest: Delete the oldest of five versions first
        """
        client = self.client(target)
        versions = _versions(client, policy_arn)
        oldest = _to_be_replaced(versions)
        if oldest is not None and not replace_oldest:
            raise InvalidParameter(
                f"The policy has {_MOST_VERSIONS} versions already, which is IAM's limit.",
                next_step=f"Pass replace_oldest to delete {oldest}; it needs confirmation.",
            )
        default = next(row["VersionId"] for row in versions if row["IsDefaultVersion"])
        diff = difference(_document(client, policy_arn, default), json.loads(document))
        if dry_run:
            return WrittenVersion(policy_arn=policy_arn, is_default_version=set_as_default, diff=diff, dry_run=True)
        if set_as_default:
            spare_own_policy(client, policy_arn, target)
        made = _replace(client, policy_arn, oldest, PolicyDocument=document, SetAsDefault=set_as_default)
        return WrittenVersion(
            policy_arn=policy_arn, version_id=made["VersionId"], is_default_version=made["IsDefaultVersion"],
            deleted_version_id=oldest, diff=diff,
        )  # fmt: skip

    def plan_create_policy_version(
        self,
        policy_arn: PolicyArn,
        document: ManagedDocument,
        target: Target,
        set_as_default: bool,
        replace_oldest: bool,
    ) -> Plan:
        """Say which version would be gone, and what the new one means for those who have the policy."""
        client = self.client(target)
        if set_as_default:
            spare_own_policy(client, policy_arn, target)
        versions = _versions(client, policy_arn)
        oldest = _to_be_replaced(versions) if replace_oldest else None
        lost = [f"Version {oldest} is gone for good."] if oldest else []
        return Plan(policy_arn, " ".join([*lost, _danger(document) or ""]).strip() or _NOTHING, {"versions": versions})

    @tool(
        WRITE, "iam:AttachRolePolicy", "iam:GetRole", "iam:GetPolicy", "iam:GetPolicyVersion", resource="role_name",
        idempotent=True, destroys_if=_allows_everything, guard=spare_own_role,
    )  # fmt: skip
    def attach_role_policy(
        self, role_name: RoleName, policy_arn: PolicyArn, target: Target, allow_everything: bool = False
    ) -> Attachment:
        """Attach a managed policy to a role. One that could do anything only if that is said, and confirmed."""
        client = self.client(target)
        if not allow_everything and (danger := _danger_of_managed(client, policy_arn)) is not None:
            raise InvalidParameter(danger, next_step="If that is meant pass allow_everything; it needs confirmation.")
        client.attach_role_policy(RoleName=role_name, PolicyArn=policy_arn)
        return Attachment(role_name=role_name, policy_arn=policy_arn, attached=True)

    def plan_attach_role_policy(self, role_name: RoleName, policy_arn: PolicyArn, target: Target) -> Plan:
        """Say what the policy means for whoever has the role."""
        client = self.client(target)
        role = client.get_role(RoleName=role_name)["Role"]
        danger = _danger_of_managed(client, policy_arn)
        state = {"trust": role["AssumeRolePolicyDocument"], "created": role["CreateDate"], "danger": danger}
        return Plan(f"{policy_arn} on {role['Arn']}", danger or _NOTHING, state)

    @tool(
        WRITE, "iam:DetachRolePolicy", resource="role_name", destructive=True, idempotent=True, guard=spare_own_role,
    )  # fmt: skip
    def detach_role_policy(self, role_name: RoleName, policy_arn: PolicyArn, target: Target) -> Attachment:
        """Detach a managed policy from a role."""
        self.client(target).detach_role_policy(RoleName=role_name, PolicyArn=policy_arn)
        return Attachment(role_name=role_name, policy_arn=policy_arn, attached=False)

    @tool(
        WRITE, "iam:PutRolePolicy", "iam:GetRole", "iam:GetRolePolicy", resource="role_name",
        destructive=True, idempotent=True, destroys_if=_is_dangerous, guard=spare_own_role,
    )  # fmt: skip
    def put_role_policy(
        self,
        role_name: RoleName,
        policy_name: PolicyName,
        document: InlineDocument,
        target: Target,
        dry_run: bool = False,
    ) -> InlinePolicy:
        """Write a role's inline policy, or replace it; answers the difference. Confirmed as create_policy is.

        Args:
            document: JSON
        """
        client = self.client(target)
        before = _inline(client, role_name, policy_name)
        if not dry_run:
            client.put_role_policy(RoleName=role_name, PolicyName=policy_name, PolicyDocument=document)
        return InlinePolicy(
            role_name=role_name, policy_name=policy_name, replaced=before is not None,
            diff=difference(before or {}, json.loads(document)), dry_run=dry_run or None,
        )  # fmt: skip

    def plan_put_role_policy(
        self, role_name: RoleName, policy_name: PolicyName, document: InlineDocument, target: Target
    ) -> Plan:
        """Say what the policy means for whoever has the role."""
        client = self.client(target)
        role = client.get_role(RoleName=role_name)["Role"]
        state = {"before": _inline(client, role_name, policy_name), "trust": role["AssumeRolePolicyDocument"]}
        return Plan(f"{policy_name} on {role['Arn']}", str(_danger(document)), state)


def _versions(client: Any, policy_arn: str) -> list[Mapping[str, Any]]:
    pages = client.get_paginator("list_policy_versions").paginate(PolicyArn=policy_arn)
    return [row for page in pages for row in page["Versions"]]


def _to_be_replaced(versions: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the version that a policy with as many as IAM admits must lose for a new one; never the default one."""
    if len(versions) < _MOST_VERSIONS:
        return None
    oldest = min((row for row in versions if not row["IsDefaultVersion"]), key=lambda row: int(row["VersionId"][1:]))
    return str(oldest["VersionId"])


def _replace(client: Any, policy_arn: str, oldest: str | None, **new: Any) -> Mapping[str, Any]:
    """Write a new version, after deleting the one that must make room for it, if any."""
    done: list[str] = []
    try:
        if oldest is not None:
            client.delete_policy_version(PolicyArn=policy_arn, VersionId=oldest)
            done.append(f"version {oldest} was deleted")
        made: Mapping[str, Any] = client.create_policy_version(PolicyArn=policy_arn, **new)["PolicyVersion"]
    except Exception as error:
        raise after(done, error) from error
    return made


def _document(client: Any, policy_arn: str, version_id: str) -> Any:
    return client.get_policy_version(PolicyArn=policy_arn, VersionId=version_id)["PolicyVersion"]["Document"]


def _danger_of_managed(client: Any, policy_arn: str) -> str | None:
    default = client.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
    return gives_anything(Policy(json.dumps(_document(client, policy_arn, default))))


def _inline(client: Any, role_name: str, policy_name: str) -> Any:
    """Return a role's inline policy, or None where it has none of that name; a role that is missing is an error."""
    try:
        return client.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
    except Exception as error:
        if not is_missing(translate(error)):
            raise
    client.get_role(RoleName=role_name)
    return None
