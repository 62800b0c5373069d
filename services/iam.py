"""AWS IAM: roles, policies, users and their keys. It never creates access keys.

Source: https://docs.aws.amazon.com/IAM/latest/APIReference/
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from errors import InvalidParameter, after, is_missing, translate
from services._iam import (
    AccessKey,
    AccessKeys,
    Attachment,
    ChangedTrust,
    GoneRole,
    InlineDocument,
    InlinePolicy,
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
from services._policies import Policy, danger_of, open_to_everyone, trusts_any_login
from services.base import DESTROY, READ, WRITE, AWSServiceBase, Plan, Target, tool
from toolcall.call import Call

_MOST_VERSIONS = 5


def _trust_is_not_open(arguments: Mapping[str, Any]) -> None:
    document = Policy(arguments["trust_policy"])
    if open_to_everyone(document):
        raise InvalidParameter(
            "trust_policy: it lets anybody assume the role.",
            next_step="Name principals, or a fixed aws:PrincipalOrgID or aws:PrincipalAccount as a condition.",
        )
    if trusts_any_login(document):
        raise InvalidParameter(
            "trust_policy: it takes whoever logs in at a public identity provider.",
            next_step="Add a condition on the provider's :sub (or :aud) without a leading wildcard.",
        )


def _danger(document: Any) -> str | None:
    try:
        return danger_of(Policy(str(document)))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):  # no policy at all: refused for that when it is parsed
        return None


def _is_dangerous(arguments: Mapping[str, Any]) -> bool:
    """Whether a policy gives whoever has it anything: an act to be confirmed like those that cannot be undone."""
    return _danger(arguments.get("document")) is not None


def _is_dangerous_or_deletes(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("replace_oldest") is True or _is_dangerous(arguments)


def _allows_everything(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("allow_everything") is True


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
        """Say what would be gone; refuse a role that is AWS's, this server's own, or held by an instance profile."""
        client = self.client(target)
        role = _role(client, role_name)
        if (role.path or "/").startswith(("/aws-service-role/", "/aws-reserved/")):
            raise InvalidParameter("The role is AWS's own: the service or IAM Identity Center that made it deletes it.")
        if role.arn == Call.current().grant(target).identity.role_arn:
            raise InvalidParameter("This server reaches the account through that role. Nothing was done.")
        held = _all(client, "list_instance_profiles_for_role", "InstanceProfiles", role_name)
        if held:
            names = ", ".join(row["InstanceProfileName"] for row in held)
            raise InvalidParameter(f"The instance profile {names} holds the role. Nothing was done.")
        used = role.last_used.last_used_date if role.last_used else None
        lost = (
            f"The role and its inline policies ({', '.join(role.inline_policies) or 'none'}) are gone, "
            f"{', '.join(role.attached_policies) or 'nothing'} is detached; who uses it loses access. "
            f"Last used: {f'{used:%Y-%m-%d %H:%M}' if used else 'never, as far as AWS tells'}."
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
        """Create a managed policy. One that could do anything needs confirmation.

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
        resource="policy_arn", destructive=True, destroys_if=_is_dangerous_or_deletes,
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
        """Write a new version of a managed policy; answers its difference. One that could do anything is confirmed.

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
        diff = _diff(_document(client, policy_arn, default), json.loads(document))
        if dry_run:
            return WrittenVersion(policy_arn=policy_arn, is_default_version=set_as_default, diff=diff, dry_run=True)
        done: list[str] = []
        try:
            if oldest is not None:
                client.delete_policy_version(PolicyArn=policy_arn, VersionId=oldest)
                done.append(f"version {oldest} was deleted")
            made = client.create_policy_version(
                PolicyArn=policy_arn, PolicyDocument=document, SetAsDefault=set_as_default
            )["PolicyVersion"]
        except Exception as error:
            raise after(done, error) from error
        return WrittenVersion(
            policy_arn=policy_arn, version_id=made["VersionId"], is_default_version=made["IsDefaultVersion"],
            deleted_version_id=oldest, diff=diff,
        )  # fmt: skip

    def plan_create_policy_version(
        self, policy_arn: PolicyArn, document: ManagedDocument, target: Target, replace_oldest: bool
    ) -> Plan:
        """Say which version would be gone, and what the new one means for those who have the policy."""
        versions = _versions(self.client(target), policy_arn)
        oldest = _to_be_replaced(versions) if replace_oldest else None
        lost = [f"Version {oldest} is gone for good."] if oldest else []
        return Plan(policy_arn, " ".join([*lost, _danger(document) or ""]).strip() or _NOTHING, {"versions": versions})

    @tool(
        WRITE, "iam:AttachRolePolicy", "iam:GetRole", "iam:GetPolicy", "iam:GetPolicyVersion", resource="role_name",
        idempotent=True, destroys_if=_allows_everything,
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

    @tool(WRITE, "iam:DetachRolePolicy", resource="role_name", destructive=True, idempotent=True)
    def detach_role_policy(self, role_name: RoleName, policy_arn: PolicyArn, target: Target) -> Attachment:
        """Detach a managed policy from a role."""
        self.client(target).detach_role_policy(RoleName=role_name, PolicyArn=policy_arn)
        return Attachment(role_name=role_name, policy_arn=policy_arn, attached=False)

    @tool(
        WRITE, "iam:PutRolePolicy", "iam:GetRole", "iam:GetRolePolicy", resource="role_name",
        destructive=True, idempotent=True, destroys_if=_is_dangerous,
    )  # fmt: skip
    def put_role_policy(
        self,
        role_name: RoleName,
        policy_name: PolicyName,
        document: InlineDocument,
        target: Target,
        dry_run: bool = False,
    ) -> InlinePolicy:
        """Write a role's inline policy, or replace it; answers the difference. One that could do anything is confirmed.

        Args:
            document: JSON
        """
        client = self.client(target)
        before = _inline(client, role_name, policy_name)
        if not dry_run:
            client.put_role_policy(RoleName=role_name, PolicyName=policy_name, PolicyDocument=document)
        return InlinePolicy(
            role_name=role_name, policy_name=policy_name, replaced=before is not None,
            diff=_diff(before or {}, json.loads(document)), dry_run=dry_run or None,
        )  # fmt: skip

    def plan_put_role_policy(
        self, role_name: RoleName, policy_name: PolicyName, document: InlineDocument, target: Target
    ) -> Plan:
        """Say what the policy means for whoever has the role."""
        client = self.client(target)
        role = client.get_role(RoleName=role_name)["Role"]
        state = {"before": _inline(client, role_name, policy_name), "trust": role["AssumeRolePolicyDocument"]}
        return Plan(f"{policy_name} on {role['Arn']}", str(_danger(document)), state)

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
        keys = [key for user in page["Users"] for key in _keys_if_there(client, user["UserName"])]
        return AccessKeys(**_rows("access_keys", keys, page))

    def _page(self, target: Target, operation: str, size: int, marker: str | None, **more: Any) -> Any:
        request = {"MaxItems": size, "Marker": marker, **more}
        given = {name: value for name, value in request.items() if value is not None}
        return getattr(self.client(target), operation)(**given)


_NOTHING = "Nothing is lost."


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
            "LastUsed": role.get("RoleLastUsed") or None,
        }
    )


def _all(client: Any, operation: str, member: str, role_name: str) -> list[Any]:
    pages = client.get_paginator(operation).paginate(RoleName=role_name)
    return [row for page in pages for row in page[member]]


def _versions(client: Any, policy_arn: str) -> list[Mapping[str, Any]]:
    pages = client.get_paginator("list_policy_versions").paginate(PolicyArn=policy_arn)
    return [row for page in pages for row in page["Versions"]]


def _to_be_replaced(versions: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the version that a policy with as many as IAM admits must lose for a new one; never the default one."""
    if len(versions) < _MOST_VERSIONS:
        return None
    oldest = min((row for row in versions if not row["IsDefaultVersion"]), key=lambda row: int(row["VersionId"][1:]))
    return str(oldest["VersionId"])


def _document(client: Any, policy_arn: str, version_id: str) -> Any:
    return client.get_policy_version(PolicyArn=policy_arn, VersionId=version_id)["PolicyVersion"]["Document"]


def _danger_of_managed(client: Any, policy_arn: str) -> str | None:
    default = client.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"]
    return _danger(json.dumps(_document(client, policy_arn, default)))


def _inline(client: Any, role_name: str, policy_name: str) -> Any:
    """Return a role's inline policy, or None where it has none of that name; a role that is missing is an error."""
    try:
        return client.get_role_policy(RoleName=role_name, PolicyName=policy_name)["PolicyDocument"]
    except Exception as error:
        if not is_missing(translate(error)):
            raise
    client.get_role(RoleName=role_name)
    return None


def _keys(client: Any, user_name: str) -> list[AccessKey]:
    found = []
    pages = client.get_paginator("list_access_keys").paginate(UserName=user_name)
    for row in [row for page in pages for row in page["AccessKeyMetadata"]]:
        used = client.get_access_key_last_used(AccessKeyId=row["AccessKeyId"])["AccessKeyLastUsed"]
        found.append(
            AccessKey(
                user_name=user_name,
                access_key_id=row["AccessKeyId"],
                status=row["Status"],
                age_days=(datetime.now(UTC) - row["CreateDate"]).days,
                last_used_date=used.get("LastUsedDate"),
                last_used_service=_known(used.get("ServiceName")),
                last_used_region=_known(used.get("Region")),
            )
        )
    return found


def _keys_if_there(client: Any, user_name: str) -> list[AccessKey]:
    """Return a user's keys; none where the user has been deleted since the users were listed."""
    try:
        return _keys(client, user_name)
    except Exception as error:
        if not is_missing(translate(error)):
            raise
        return []


def _known(text: str | None) -> str | None:
    """Return what AWS tells of a key's last use; of a key never used it says N/A."""
    return None if text == "N/A" else text


def _diff(before: Any, after: Any) -> list[str]:
    old, new = (json.dumps(document, indent=1, sort_keys=True).splitlines() for document in (before, after))
    return [
        line for line in difflib.unified_diff(old, new, lineterm="", n=1) if not line.startswith(("---", "+++", "@@"))
    ]
