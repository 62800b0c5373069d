"""AWS IAM: users and the age and use of their access keys. It never creates keys.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from errors import is_missing, translate
from services._iam import MaxItems, Token, UserName, page_of, rows_of
from services.base import READ, AWSModel, AWSServiceBase, Page, Target, Timestamp, tool


class User(AWSModel):
    user_name: str
    arn: str = Field(alias="Arn")
    path: str | None = None
    create_date: Timestamp | None = None
    password_last_used: Timestamp | None = None


class Users(Page):
    users: list[User]
    count: int


class AccessKey(AWSModel):
    """An access key's facts; the secret part is known to nobody but its owner."""

    user_name: str
    access_key_id: str
    status: str
    age_days: int
    last_used_date: Timestamp | None = None
    last_used_service: str | None = None
    last_used_region: str | None = None


class AccessKeys(Page):
    access_keys: list[AccessKey]
    count: int


class IAMUsersService(AWSServiceBase):
    """Users and their keys."""

    client_name = "iam"
    toolset = "iam"

    @tool(READ, "iam:ListUsers")
    def list_users(self, target: Target, max_results: MaxItems = 100, next_token: Token | None = None) -> Users:
        """List users and when their passwords were last used."""
        page = page_of(self.client(target), "list_users", max_results, next_token)
        return Users(**rows_of("users", [User.model_validate(row) for row in page["Users"]], page))

    @tool(READ, "iam:ListUsers", "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed")
    def list_access_keys(
        self,
        target: Target,
        user_name: UserName | None = None,
        max_results: Annotated[int, Field(ge=1, le=50)] = 20,
        next_token: Token | None = None,
    ) -> AccessKeys:
        """List access keys with age and last use, of one user or of a page of users."""
        client = self.client(target)
        if user_name is not None:
            return AccessKeys(**rows_of("access_keys", _keys(client, user_name), {}))
        page = page_of(client, "list_users", max_results, next_token)
        keys = [key for user in page["Users"] for key in _keys_if_there(client, user["UserName"])]
        return AccessKeys(**rows_of("access_keys", keys, page))


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
