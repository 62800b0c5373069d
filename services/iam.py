"""AWS IAM: roles, policies, users and their keys. It never creates access keys.

Source: https://docs.aws.amazon.com/IAM/latest/APIReference/
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from errors import InvalidParameter
from services._iam import (
    AccessKey,
    AccessKeys,
    Attachment,
    ChangedTrust,
    GoneRole,
    InlineDocument,
    InlinePolicy,
    LastUsed,
    ManagedDocument,
    MaxItems,
    Path,
    Policies,
    PolicyArn,
    PolicyDetail,
    PolicyName,
    PolicyRow,
    PolicyVersion,
    Role,
    RoleName,
    RoleRow,
    Roles,
    Token,
    TrustDocument,
    User,
    Users,
    WrittenRole,
    WrittenVersion,
)
from services._policies import Policy, allows_everything, open_to_everyone
from services.base import DESTROY, READ, WRITE, AWSServiceBase, Plan, Target, tool

_MOST_VERSIONS = 5


def _trust_is_not_open(arguments: Mapping[str, Any]) -> None:
    document = Policy(arguments["trust_policy"])
    if open_to_everyone(document):
        raise InvalidParameter("trust_policy: it lets anybody assume the role: name principals, or add a condition.")
    if any("Principal" not in statement for statement in document.statements):
        raise InvalidParameter("trust_policy: each statement names a Principal.")


def _grants_everything(arguments: Mapping[str, Any]) -> bool:
    """Whether a policy allows everything on everything: an act to be confirmed like those that cannot be undone."""
    try:
        return allows_everything(Policy(str(arguments.get("document"))))
    except (ValueError, KeyError, TypeError, AttributeError):  # no policy at all: refused for that when it is parsed
        return False


class IAMService(AWSServiceBase):
    """Roles and policies."""

    client_name = "iam"
    toolset = "iam"

    @tool(READ, "iam:ListRoles")
    def list_roles(
        self,
        target: Target,
        path_prefix: Path | None = None,
        max_results: MaxItems = 100,
        next_token: Token | None = None,
    ) -> Roles:
        """List roles."""
        page = self._page(target, "list_roles", max_results, next_token, PathPrefix=path_prefix)
        return Roles(**_rows("roles", [RoleRow.model_validate(row) for row in page["Roles"]], page))

    @tool(
        READ, "iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:GetRolePolicy",
        resource="role_name",
    )  # fmt: skip
    def get_role(self, role_name: RoleName, target: Target) -> Role:
        """Return a role in one answer: trust policy, attached and inline policies, boundary, last use."""
        return _role(self.client(target), role_name)

    @tool(WRITE, "iam:CreateRole", "iam:TagRole", resource="role_name", check=_trust_is_not_open)
    def create_role(
        self,
        role_name: RoleName,
        trust_policy: TrustDocument,
        target: Target,
        description: Annotated[str, StringConstraints(max_length=1000)] | None = None,
        path: Path | None = None,
        max_session_duration: Annotated[int, Field(ge=3600, le=43200)] | None = None,
        permissions_boundary: PolicyArn | None = None,
        tags: Annotated[dict[str, str], Field(min_length=1, max_length=50)] | None = None,
    ) -> WrittenRole:
        """Create a role. A trust policy open to anybody is refused.

        Args:
            trust_policy: JSON
        """
        optional = {
            "Description": description, "Path": path, "MaxSessionDuration": max_session_duration,
            "PermissionsBoundary": permissions_boundary,
            "Tags": [{"Key": key, "Value": value} for key, value in (tags or {}).items()],
        }  # fmt: skip
        request = {name: value for name, value in optional.items() if value}
        answer = self.client(target).create_role(RoleName=role_name, AssumeRolePolicyDocument=trust_policy, **request)
        return WrittenRole.model_validate(answer["Role"])

    @tool(
        WRITE, "iam:UpdateAssumeRolePolicy", "iam:GetRole", resource="role_name",
        destructive=True, idempotent=True, check=_trust_is_not_open,
    )  # fmt: skip
    def update_assume_role_policy(
        self, role_name: RoleName, trust_policy: TrustDocument, target: Target, dry_run: bool = False
    ) -> ChangedTrust:
        """Replace a role's trust policy; answers both and their difference. One open to anybody is refused."""
        client = self.client(target)
        before = client.get_role(RoleName=role_name)["Role"]["AssumeRolePolicyDocument"]
        if not dry_run:
            client.update_assume_role_policy(RoleName=role_name, PolicyDocument=trust_policy)
        after = json.loads(trust_policy)
        return ChangedTrust(
            role_name=role_name, before=before, after=after, diff=_diff(before, after), dry_run=dry_run or None
        )

    @tool(
        DESTROY, "iam:DeleteRole", "iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
        "iam:GetRolePolicy", "iam:DetachRolePolicy", "iam:DeleteRolePolicy", "iam:ListInstanceProfilesForRole",
        resource="role_name", idempotent=True,
    )  # fmt: skip
    def delete_role(self, role_name: RoleName, target: Target) -> GoneRole:
        """Delete a role for good, with its inline policies; attached ones are detached."""
        client = self.client(target)
        role = _role(client, role_name)
        for arn in role.attached_policies.values():
            client.detach_role_policy(RoleName=role_name, PolicyArn=arn)
        for name in role.inline_policies:
            client.delete_role_policy(RoleName=role_name, PolicyName=name)
        client.delete_role(RoleName=role_name)
        return GoneRole(role_name=role_name)

    def plan_delete_role(self, role_name: RoleName, target: Target) -> Plan:
        """Say what would be gone; refuse a role that an instance profile still holds."""
        client = self.client(target)
        role = _role(client, role_name)
        if client.list_instance_profiles_for_role(RoleName=role_name)["InstanceProfiles"]:
            raise InvalidParameter("An instance profile holds the role. Nothing was done.")
        used = role.last_used.last_used_date if role.last_used else None
        lost = (
            f"The role and {len(role.inline_policies)} inline policies are gone, "
            f"{len(role.attached_policies)} detached; "
            f"its users lose access. Last used: {used or 'never, as far as AWS tells'}."
        )
        state = role.model_dump(mode="json", exclude={"last_used"})
        return Plan(target=role.arn, will_be_lost=lost, state=state)

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
        page = self._page(target, "list_policies", max_results, next_token, Scope=scope, OnlyAttached=only_attached)
        return Policies(**_rows("policies", [PolicyRow.model_validate(row) for row in page["Policies"]], page))

    @tool(READ, "iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions", resource="policy_arn")
    def get_policy(
        self,
        policy_arn: PolicyArn,
        target: Target,
        version_id: Annotated[str, StringConstraints(pattern=r"^v[0-9]{1,6}$")] | None = None,
    ) -> PolicyDetail:
        """Return a managed policy with its document and versions; the default version's unless another is named."""
        client = self.client(target)
        policy = client.get_policy(PolicyArn=policy_arn)["Policy"]
        version = version_id or policy["DefaultVersionId"]
        document = client.get_policy_version(PolicyArn=policy_arn, VersionId=version)["PolicyVersion"]["Document"]
        versions = client.list_policy_versions(PolicyArn=policy_arn)["Versions"]
        rows = [PolicyVersion.model_validate(row) for row in versions]
        return PolicyDetail.model_validate({**policy, "VersionId": version, "Document": document, "Versions": rows})

    @tool(WRITE, "iam:CreatePolicy", resource="policy_name", destroys_if=_grants_everything)
    def create_policy(
        self,
        policy_name: PolicyName,
        document: ManagedDocument,
        target: Target,
        description: Annotated[str, StringConstraints(max_length=1000)] | None = None,
        path: Path | None = None,
    ) -> PolicyRow:
        """Create a managed policy. One that allows everything needs confirmation.

        Args:
            document: JSON
        """
        optional = {"Description": description, "Path": path}
        request = {name: value for name, value in optional.items() if value}
        answer = self.client(target).create_policy(PolicyName=policy_name, PolicyDocument=document, **request)
        return PolicyRow.model_validate(answer["Policy"])

    def plan_create_policy(self, policy_name: PolicyName, document: ManagedDocument, target: Target) -> Plan:
        """Say what a policy that allows everything means."""
        self.client(target)
        return Plan(f"policy {policy_name}", _EVERYTHING, {"document": document})

    @tool(
        WRITE, "iam:CreatePolicyVersion", "iam:ListPolicyVersions", resource="policy_arn",
        destructive=True, destroys_if=_grants_everything,
    )  # fmt: skip
    def create_policy_version(
        self, policy_arn: PolicyArn, document: ManagedDocument, target: Target, set_as_default: bool = True
    ) -> WrittenVersion:
        """Write a new version of a managed policy. One that allows everything needs confirmation.

        Args:
            document: JSON
        """
        client = self.client(target)
        if len(client.list_policy_versions(PolicyArn=policy_arn)["Versions"]) >= _MOST_VERSIONS:
            raise InvalidParameter(f"The policy has {_MOST_VERSIONS} versions already, which is IAM's limit.")
        answer = client.create_policy_version(
            PolicyArn=policy_arn, PolicyDocument=document, SetAsDefault=set_as_default
        )
        return WrittenVersion.model_validate({**answer["PolicyVersion"], "PolicyArn": policy_arn})

    def plan_create_policy_version(self, policy_arn: PolicyArn, document: ManagedDocument, target: Target) -> Plan:
        """Say what a policy that allows everything means for those who have it."""
        policy = self.client(target).get_policy(PolicyArn=policy_arn)["Policy"]
        return Plan(policy_arn, _EVERYTHING, {"document": document, "version": policy["DefaultVersionId"]})

    @tool(WRITE, "iam:AttachRolePolicy", resource="role_name", idempotent=True)
    def attach_role_policy(self, role_name: RoleName, policy_arn: PolicyArn, target: Target) -> Attachment:
        """Attach a managed policy to a role."""
        self.client(target).attach_role_policy(RoleName=role_name, PolicyArn=policy_arn)
        return Attachment(role_name=role_name, policy_arn=policy_arn, attached=True)

    @tool(WRITE, "iam:DetachRolePolicy", resource="role_name", destructive=True, idempotent=True)
    def detach_role_policy(self, role_name: RoleName, policy_arn: PolicyArn, target: Target) -> Attachment:
        """Detach a managed policy from a role."""
        self.client(target).detach_role_policy(RoleName=role_name, PolicyArn=policy_arn)
        return Attachment(role_name=role_name, policy_arn=policy_arn, attached=False)

    @tool(
        WRITE, "iam:PutRolePolicy", "iam:ListRolePolicies", resource="role_name",
        destructive=True, idempotent=True, destroys_if=_grants_everything,
    )  # fmt: skip
    def put_role_policy(
        self, role_name: RoleName, policy_name: PolicyName, document: InlineDocument, target: Target
    ) -> InlinePolicy:
        """Write an inline policy of a role, or replace it. One that allows everything needs confirmation.

        Args:
            document: JSON
        """
        client = self.client(target)
        replaced = policy_name in client.list_role_policies(RoleName=role_name)["PolicyNames"]
        client.put_role_policy(RoleName=role_name, PolicyName=policy_name, PolicyDocument=document)
        return InlinePolicy(role_name=role_name, policy_name=policy_name, replaced=replaced)

    def plan_put_role_policy(self, role_name: RoleName, document: InlineDocument, target: Target) -> Plan:
        """Say what a policy that allows everything means for a role."""
        role = _role(self.client(target), role_name)
        return Plan(role.arn, _EVERYTHING, {"document": document, "inline": role.inline_policies})

    @tool(READ, "iam:ListUsers")
    def list_users(self, target: Target, max_results: MaxItems = 100, next_token: Token | None = None) -> Users:
        """List users and when their passwords were last used."""
        page = self._page(target, "list_users", max_results, next_token)
        return Users(**_rows("users", [User.model_validate(row) for row in page["Users"]], page))

    @tool(READ, "iam:ListUsers", "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed")
    def list_access_keys(
        self,
        target: Target,
        user_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}$")] | None = None,
        max_results: Annotated[int, Field(ge=1, le=50)] = 20,
        next_token: Token | None = None,
    ) -> AccessKeys:
        """List access keys with age and last use, of one user or of a page of users."""
        client = self.client(target)
        if user_name is not None:
            return AccessKeys(**_rows("access_keys", _keys(client, user_name), {}))
        page = self._page(target, "list_users", max_results, next_token)
        keys = [key for user in page["Users"] for key in _keys(client, user["UserName"])]
        return AccessKeys(**_rows("access_keys", keys, page))

    def _page(self, target: Target, operation: str, size: int, marker: str | None, **more: Any) -> Any:
        request = {"MaxItems": size, "Marker": marker, **more}
        given = {name: value for name, value in request.items() if value is not None}
        return getattr(self.client(target), operation)(**given)


_EVERYTHING = "It allows every action on every resource: whoever has it can do, and delete, anything in the account."


def _rows(field: str, rows: list[Any], page: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page's content; IAM says IsTruncated, and Marker continues."""
    cut = bool(page.get("IsTruncated"))
    return {field: rows, "count": len(rows), "truncated": cut, "next_token": page["Marker"] if cut else None}


def _role(client: Any, role_name: str) -> Role:
    role = client.get_role(RoleName=role_name)["Role"]
    attached = _all(client, "list_attached_role_policies", "AttachedPolicies", role_name)
    names = _all(client, "list_role_policies", "PolicyNames", role_name)
    inline = {n: client.get_role_policy(RoleName=role_name, PolicyName=n)["PolicyDocument"] for n in names}
    return Role.model_validate(
        {
            **role,
            "TrustPolicy": role["AssumeRolePolicyDocument"],
            "AttachedPolicies": {row["PolicyName"]: row["PolicyArn"] for row in attached},
            "InlinePolicies": inline,
            "PermissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "LastUsed": LastUsed.model_validate(role.get("RoleLastUsed") or {}),
        }
    )


def _all(client: Any, operation: str, member: str, role_name: str) -> list[Any]:
    pages = client.get_paginator(operation).paginate(RoleName=role_name)
    return [row for page in pages for row in page[member]]


def _keys(client: Any, user_name: str) -> list[AccessKey]:
    found = []
    for row in client.list_access_keys(UserName=user_name)["AccessKeyMetadata"]:
        used = client.get_access_key_last_used(AccessKeyId=row["AccessKeyId"])["AccessKeyLastUsed"]
        found.append(
            AccessKey(
                user_name=user_name,
                access_key_id=row["AccessKeyId"],
                status=row["Status"],
                age_days=(datetime.now(UTC) - row["CreateDate"]).days,
                last_used_date=used.get("LastUsedDate"),
                last_used_service=used.get("ServiceName"),
                last_used_region=used.get("Region"),
            )
        )
    return found


def _diff(before: Any, after: Any) -> list[str]:
    old, new = (json.dumps(document, indent=1, sort_keys=True).splitlines() for document in (before, after))
    return [
        line for line in difflib.unified_diff(old, new, lineterm="", n=1) if not line.startswith(("---", "+++", "@@"))
    ]
