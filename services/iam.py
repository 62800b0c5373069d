"""AWS IAM: roles and who may use them.

Source: https://docs.aws.amazon.com/IAM/latest/APIReference/
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from errors import InvalidParameter, after
from services._iam import (
    MaxItems,
    Path,
    PathPrefix,
    PolicyArn,
    RoleName,
    Token,
    TrustDocument,
    difference,
    page_of,
    rows_of,
    spare_own_role,
)
from services._policy_decisions import lets_strangers_in, refuse_open, who_comes_in
from services.base import (
    DESTROY,
    READ,
    WRITE,
    AWSModel,
    AWSServiceBase,
    NewTags,
    Page,
    Plan,
    Tags,
    Target,
    Timestamp,
    listed,
    to_aws_tags,
    tool,
)


class RoleRow(AWSModel):
    role_name: str
    arn: str = Field(alias="Arn")
    path: str | None = None
    description: str | None = None
    create_date: Timestamp | None = None
    max_session_duration: int | None = None


class Roles(Page):
    roles: list[RoleRow]
    count: int


class LastUsed(AWSModel):
    last_used_date: Timestamp | None = None
    region: str | None = None


class Role(RoleRow):
    """A role with all that decides what it may do, and who may use it."""

    trust_policy: dict[str, Any]
    attached_policies: dict[str, str] = Field(default={}, description="Name and ARN")
    inline_policies: dict[str, dict[str, Any]] = {}
    permissions_boundary: str | None = None
    last_used: LastUsed | None = None
    tags: Tags = {}


class WrittenRole(AWSModel):
    role_name: str
    arn: str = Field(alias="Arn")


class ChangedTrust(AWSModel):
    """A trust policy before and after, and the lines that differ."""

    role_name: str
    before: dict[str, Any]
    after: dict[str, Any]
    diff: list[str]
    dry_run: bool | None = None


class GoneRole(AWSModel):
    role_name: str


_refuse_open = refuse_open("trust_policy", opened="lets anybody assume the role")
_lets_strangers_in = lets_strangers_in("trust_policy")
_LETS_THEM = "assume the role"


class IAMService(AWSServiceBase):
    """Roles."""

    client_name = "iam"
    toolset = "iam"

    @tool(READ, "iam:ListRoles")
    def list_roles(
        self,
        target: Target,
        path_prefix: PathPrefix | None = None,
        max_results: MaxItems = 100,
        next_token: Token | None = None,
    ) -> Roles:
        """List roles."""
        page = page_of(self.client(target), "list_roles", max_results, next_token, PathPrefix=path_prefix)
        return Roles(**rows_of("roles", [RoleRow.model_validate(row) for row in page["Roles"]], page))

    @tool(
        READ, "iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:GetRolePolicy",
        resource="role_name",
    )  # fmt: skip
    def get_role(self, role_name: RoleName, target: Target) -> Role:
        """Return a role in one answer: trust policy, attached and inline policies, boundary, last use."""
        return _role(self.client(target), role_name)

    @tool(
        WRITE, "iam:CreateRole", "iam:TagRole", resource="role_name",
        check=_refuse_open, destroys_if=_lets_strangers_in,
    )  # fmt: skip
    def create_role(
        self,
        role_name: RoleName,
        trust_policy: TrustDocument,
        target: Target,
        description: Annotated[str, StringConstraints(max_length=1000)] | None = None,
        path: Path | None = None,
        max_session_duration: Annotated[int, Field(ge=3600, le=43200)] | None = None,
        permissions_boundary: PolicyArn | None = None,
        tags: NewTags | None = None,
    ) -> WrittenRole:
        """Create a role. A trust policy open to anybody is refused; one that lets unknown accounts in is confirmed.

        Args:
            trust_policy: JSON
        """
        optional = {
            "Description": description, "Path": path, "MaxSessionDuration": max_session_duration,
            "PermissionsBoundary": permissions_boundary,
            "Tags": to_aws_tags(tags or {}),
        }  # fmt: skip
        request = {name: value for name, value in optional.items() if value}
        answer = self.client(target).create_role(RoleName=role_name, AssumeRolePolicyDocument=trust_policy, **request)
        return WrittenRole.model_validate(answer["Role"])

    def plan_create_role(self, role_name: RoleName, trust_policy: TrustDocument, target: Target) -> Plan:
        """Say which strangers the role lets in."""
        return Plan(f"role {role_name}", who_comes_in(trust_policy, target, to=_LETS_THEM), {})

    @tool(
        WRITE, "iam:UpdateAssumeRolePolicy", "iam:GetRole", resource="role_name",
        destructive=True, idempotent=True,
        check=_refuse_open, guard=spare_own_role, destroys_if=_lets_strangers_in,
    )  # fmt: skip
    def update_assume_role_policy(
        self, role_name: RoleName, trust_policy: TrustDocument, target: Target, dry_run: bool = False
    ) -> ChangedTrust:
        """Replace a role's trust policy; answers the difference. One open to anybody is refused; see create_role."""
        client = self.client(target)
        before = client.get_role(RoleName=role_name)["Role"]["AssumeRolePolicyDocument"]
        if not dry_run:
            client.update_assume_role_policy(RoleName=role_name, PolicyDocument=trust_policy)
        after = json.loads(trust_policy)
        return ChangedTrust(
            role_name=role_name, before=before, after=after, diff=difference(before, after), dry_run=dry_run or None
        )

    def plan_update_assume_role_policy(self, role_name: RoleName, trust_policy: TrustDocument, target: Target) -> Plan:
        """Say which strangers the role would let in."""
        role = self.client(target).get_role(RoleName=role_name)["Role"]
        state = {"before": role["AssumeRolePolicyDocument"], "id": role["RoleId"]}
        return Plan(role["Arn"], who_comes_in(trust_policy, target, to=_LETS_THEM), state)

    @tool(
        DESTROY, "iam:DeleteRole", "iam:GetRole", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
        "iam:GetRolePolicy", "iam:DetachRolePolicy", "iam:DeleteRolePolicy", "iam:ListInstanceProfilesForRole",
        resource="role_name", idempotent=True, voids_state=True, guard=spare_own_role,
    )  # fmt: skip
    def delete_role(self, role_name: RoleName, target: Target) -> GoneRole:
        """Delete a role for good, with its inline policies; attached ones are detached."""
        client = self.client(target)
        role = _role(client, role_name)
        done: list[str] = []
        try:
            for policy, arn in role.attached_policies.items():
                client.detach_role_policy(RoleName=role_name, PolicyArn=arn)
                done.append(f"policy {policy} was detached")
            for policy in role.inline_policies:
                client.delete_role_policy(RoleName=role_name, PolicyName=policy)
                done.append(f"inline policy {policy} was deleted")
            client.delete_role(RoleName=role_name)
        except Exception as error:
            raise after(done, error) from error
        return GoneRole(role_name=role_name)

    def plan_delete_role(self, role_name: RoleName, target: Target) -> Plan:
        """Say what would be gone; refuse a role that is AWS's, or held by an instance profile."""
        client = self.client(target)
        role = _role(client, role_name)
        if (role.path or "/").startswith(("/aws-service-role/", "/aws-reserved/")):
            raise InvalidParameter("The role is AWS's own: the service or IAM Identity Center that made it deletes it.")
        held = _all(client, "list_instance_profiles_for_role", "InstanceProfiles", role_name)
        if held:
            names = ", ".join(row["InstanceProfileName"] for row in held)
            raise InvalidParameter(f"The instance profile {names} holds the role. Nothing was done.")
        used = role.last_used.last_used_date if role.last_used else None
        lost = (
            f"The role, its {len(role.tags)} tag(s) and its inline policies ({listed(role.inline_policies)}) are gone, "
            f"{listed(role.attached_policies, none='nothing')} is detached; who uses it loses access. "
            f"Last used: {f'{used:%Y-%m-%d %H:%M}' if used else 'never, as far as AWS tells'}."
        )
        # One made anew in the same second, of the same content, is another.
        made = client.get_role(RoleName=role_name)["Role"]["RoleId"]
        state = {**role.model_dump(mode="json", exclude={"last_used"}), "id": made}
        return Plan(target=role.arn, will_be_lost=lost, state=state)


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
            "LastUsed": role.get("RoleLastUsed") or None,
        }
    )


def _all(client: Any, operation: str, member: str, role_name: str) -> list[Any]:
    pages = client.get_paginator(operation).paginate(RoleName=role_name)
    return [row for page in pages for row in page[member]]
