"""What the files of IAM share: argument types, reading pages, and how two policies differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from errors import InvalidParameter, is_missing, translate
from services._policies import Policy, parse_policy
from services.base import Standing, Target
from toolcall.call import Call
from toolcall.standing import Standing as StandingOf

# IAM counts characters without white space: 6144 for managed policies, 10240 for a role's inline ones, 2048 for trust.
MAX_POLICY, MAX_INLINE, MAX_TRUST = 6_144, 10_240, 2_048


def _of_at_most(most: int, *, trust: bool = False) -> Any:
    def check(text: str) -> str:
        size = len("".join(text.split()))
        if size > most:
            raise ValueError(f"has {size} characters without white space; IAM takes {most}")
        parse_policy(text)
        for number, statement in enumerate(Policy(text).statements, 1):
            _check_kind(number, set(statement), trust=trust)
        return text

    return AfterValidator(check)


def _check_kind(number: int, parts: set[str], *, trust: bool) -> None:
    names_who, names_what = parts & {"Principal", "NotPrincipal"}, parts & {"Resource", "NotResource"}
    if trust and (not names_who or names_what):
        raise ValueError(f"statement {number}: a trust policy names a Principal, and no Resource")
    if not trust and (names_who or len(names_what) != 1):
        raise ValueError(f"statement {number}: a permissions policy names a Resource, and no Principal")


# What stands may be under any path of "!" to "~"; its name is the part behind it.
_UNDER_A_PATH = r"([!-~]{1,510}/)?[A-Za-z0-9_+=,.@-]{1,128}"
RoleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{1,64}$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{1,128}$")]
PolicyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{1,128}$")]
PolicyVersionId = Annotated[str, StringConstraints(pattern=r"^v[0-9]{1,9}(\.[A-Za-z0-9-]{0,64})?$")]
PolicyArn = Annotated[
    str, StringConstraints(pattern=rf"^arn:aws[a-z-]*:iam::([0-9]{{12}}|aws):policy/{_UNDER_A_PATH}$")
]
PrincipalArn = Annotated[
    str, StringConstraints(pattern=rf"^arn:aws[a-z-]*:iam::[0-9]{{12}}:(user|role|group)/{_UNDER_A_PATH}$")
]
Path = Annotated[str, StringConstraints(pattern=r"^/([!-~]{1,510}/)?$")]
PathPrefix = Annotated[str, StringConstraints(pattern=r"^/[!-~]{0,511}$")]
ManagedDocument = Annotated[str, _of_at_most(MAX_POLICY)]
InlineDocument = Annotated[str, _of_at_most(MAX_INLINE)]
TrustDocument = Annotated[str, _of_at_most(MAX_TRUST, trust=True)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
MaxItems = Annotated[int, Field(ge=1, le=1000)]


def spare_own_role(arguments: Mapping[str, Any], standing: Standing) -> None:
    """Refuse to change a role by which this server comes to the account: locked out, it cannot let itself in again."""
    if arguments["role_name"].lower() in {name.lower() for name in standing.own_roles(arguments["target"])}:
        raise InvalidParameter(
            "role_name: this server reaches the account through that role, so it does not change it.",
            next_step="Change it from outside this server.",
        )


def spare_own_policy(client: Any, policy_arn: str, target: Target) -> None:
    """Refuse to change a policy that is attached to a role by which this server comes, or bounds it."""
    for name in StandingOf(Call.current()).own_roles(target):
        try:
            boundary = client.get_role(RoleName=name)["Role"].get("PermissionsBoundary", {})
            pages = client.get_paginator("list_attached_role_policies").paginate(RoleName=name)
            attached = {row["PolicyArn"] for page in pages for row in page["AttachedPolicies"]}
        except Exception as error:
            if is_missing(translate(error)):
                continue
            raise
        if policy_arn in {*attached, boundary.get("PermissionsBoundaryArn")}:
            raise InvalidParameter(
                f"policy_arn: the role {name}, through which this server reaches the account, has that policy.",
                next_step="Pass set_as_default=false, or change it from outside this server.",
            )


def page_of(client: Any, operation: str, size: int, marker: str | None, **more: Any) -> Any:
    """Ask for one page of a list."""
    request = {"MaxItems": size, "Marker": marker, **more}
    given = {name: value for name, value in request.items() if value is not None}
    return getattr(client, operation)(**given)


def rows_of(field: str, rows: list[Any], page: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page's content; IAM says IsTruncated, and Marker continues."""
    cut = bool(page.get("IsTruncated"))
    return {field: rows, "count": len(rows), "truncated": cut, "next_token": page["Marker"] if cut else None}


def difference(before: Any, after: Any) -> list[str]:
    """Return the lines in which two policies differ, with a line around them."""
    old, new = (json.dumps(document, indent=1, sort_keys=True).splitlines() for document in (before, after))
    return [
        line for line in difflib.unified_diff(old, new, lineterm="", n=1) if not line.startswith(("---", "+++", "@@"))
    ]
