"""Knowing where you are: the configured accounts, the organization's, and who did what in them.

Source: https://docs.aws.amazon.com/organizations/latest/APIReference/,
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
"""

from __future__ import annotations

import contextvars
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from access.identity import Identity
from access.policy import identity_of
from config import Account
from errors import InvalidParameter
from services.base import READ, AWSModel, AWSServiceBase, Page, Tags, Target, Timestamp, tool
from toolcall.call import Call
from toolcall.desk import Desk
from toolcall.fanout import MOST_AT_ONCE, gather

Text = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Moment = Annotated[AwareDatetime, Field(strict=False)]  # a string on the wire
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
# A wire argument and the attribute it looks up; AWS takes one per request.
_NUMBERS_SECONDS, _ASK_AGAIN_SECONDS = 3.0, 60.0
_LOOKUPS = {"resource_name": "ResourceName", "event_name": "EventName", "username": "Username"}


class ConfiguredAccount(AWSModel):
    """A named account: how it is reached, and the region its calls run in unless they say otherwise."""

    name: str
    account_id: str | None = None
    region: str
    role_arn: str | None = None
    profile: str | None = None
    regions: tuple[str, ...] | None = None
    tags: dict[str, str] | None = None


class ConfiguredAccounts(AWSModel):
    accounts: list[ConfiguredAccount]
    count: int


class CallerIdentity(AWSModel):
    """Who a call is in AWS."""

    arn: str
    user_id: str
    account: str
    name: str | None = None


class DiscoveredAccount(AWSModel):
    """An account of the organization. `reachable` is absent where no configured name stands for it."""

    id: str
    name: str
    email: str | None = None
    status: str
    path: str | None = None
    tags: Tags | None = None
    configured_as: str | None = None
    reachable: bool | None = None
    reason: str | None = None


class DiscoveredAccounts(Page):
    accounts: list[DiscoveredAccount]
    count: int


class Event(AWSModel):
    """One CloudTrail event: who did what, from where, and whether AWS let them."""

    event_id: str
    event_time: Timestamp
    event_name: str
    event_source: str
    username: str | None = None
    principal_arn: str | None = None
    source_identity: str | None = None
    source_ip: str | None = None
    region: str | None = None
    read_only: bool | None = None
    error_code: str | None = None
    resources: list[str] = []


class Events(Page):
    events: list[Event]
    count: int


def _looks_up_one(arguments: Mapping[str, Any]) -> None:
    if sum(arguments[name] is not None for name in _LOOKUPS) > 1:
        raise InvalidParameter(f"Give one of {', '.join(_LOOKUPS)}: AWS looks up by one attribute.")
    start, end = arguments["start_time"], arguments["end_time"]
    if start is not None and end is not None and start > end:
        raise InvalidParameter("start_time: is after end_time.")


class AccountsService(AWSServiceBase):
    """The accounts themselves."""

    client_name = "sts"
    toolset = "accounts"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._ask_again: dict[Identity, float] = {}

    @tool(READ)
    def list_accounts(self) -> ConfiguredAccounts:
        """List the configured accounts: name, number, role or profile, default region."""
        policy, settings, credentials = self.desk.policy, self.desk.settings, self.desk.credentials
        accounts, configured = [], policy.accounts_of(Call.current().caller)
        self._ask_numbers(configured)
        for account in configured:
            identity = identity_of(account)
            accounts.append(
                ConfiguredAccount(
                    name=account.name,
                    account_id=credentials.known_account_id(identity),
                    region=account.region or credentials.profile_region(account.profile or "") or settings.region,
                    role_arn=identity.role_arn,
                    profile=identity.profile,
                    regions=account.regions or None,
                    tags=account.tags or None,
                )
            )
        return ConfiguredAccounts(accounts=accounts, count=len(accounts))

    def _ask_numbers(self, accounts: Iterable[Account]) -> None:
        """Let AWS say a profile's account number where no file does; one that does not answer soon goes without.

        Each is asked once a minute at most, so that one that hangs does not hold a thread per call.
        """
        now, asking = time.monotonic(), []
        pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="account-number")
        for account in accounts:
            identity = identity_of(account)
            if self.desk.credentials.known_account_id(identity) is None and self._ask_again.get(identity, now) <= now:
                self._ask_again[identity] = now + _ASK_AGAIN_SECONDS
                asking.append(pool.submit(contextvars.copy_context().run, self._ask_number, account))
        wait(asking, timeout=_NUMBERS_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)

    def _ask_number(self, account: Account) -> None:
        caller = Call.current().caller
        self.desk.credentials.account_id(self.desk.policy.decide(caller, Target(account=account.name)), caller)

    @tool(READ, "sts:GetCallerIdentity")
    def get_caller_identity(self, target: Target) -> CallerIdentity:
        """Return who the server is in an account."""
        answer = self.client(target).get_caller_identity()
        return CallerIdentity(
            arn=answer["Arn"],
            user_id=answer["UserId"],
            account=answer["Account"],
            name=Call.current().grant(target).account,
        )

    @tool(
        READ,
        "organizations:ListAccounts",
        "organizations:ListParents",
        "organizations:DescribeOrganizationalUnit",
        "organizations:ListTagsForResource",
    )
    def discover_accounts(
        self,
        target: Target,
        max_results: Annotated[int, Field(ge=1, le=20)] = 20,
        next_token: Token | None = None,
    ) -> DiscoveredAccounts:
        """List the organization's accounts with OU path and tags, and whether each is configured and reachable.

        Run it in the management or a delegated administrator's account.
        """
        organizations = self.client(target, "organizations")
        page = organizations.list_accounts(MaxResults=max_results, **({"NextToken": next_token} if next_token else {}))
        configured = self._configured_by_number()
        reached = self._reach([configured[row["Id"]] for row in page["Accounts"] if row["Id"] in configured])
        names: dict[str, str] = {}
        accounts = []
        for row in page["Accounts"]:
            name = configured.get(row["Id"])
            reason = reached.get(name) if name else None
            accounts.append(
                DiscoveredAccount.model_validate(
                    {
                        **row,
                        "Path": _path(organizations, row["Id"], names),
                        "Tags": organizations.list_tags_for_resource(ResourceId=row["Id"])["Tags"],
                        "ConfiguredAs": name,
                        "Reachable": reason is None if name else None,
                        "Reason": reason,
                    }
                )
            )
        following = page.get("NextToken") or None
        return DiscoveredAccounts(
            accounts=accounts, count=len(accounts), truncated=following is not None, next_token=following
        )

    @tool(READ, "cloudtrail:LookupEvents", resource="resource_name", check=_looks_up_one)
    def lookup_events(
        self,
        target: Target,
        resource_name: Text | None = None,
        event_name: Text | None = None,
        username: Text | None = None,
        start_time: Moment | None = None,
        end_time: Moment | None = None,
        max_results: Annotated[int, Field(ge=1, le=50)] = 20,
        next_token: Token | None = None,
    ) -> Events:
        """Look up CloudTrail's last 90 days, newest first: who did what to a resource, who last read a secret.

        Args:
            resource_name: Name, id or ARN, as AWS recorded it
            event_name: Such as GetSecretValue
        """
        looked_up = {"resource_name": resource_name, "event_name": event_name, "username": username}
        attributes = [
            {"AttributeKey": _LOOKUPS[name], "AttributeValue": value} for name, value in looked_up.items() if value
        ]
        optional = {
            "LookupAttributes": attributes, "StartTime": start_time, "EndTime": end_time, "NextToken": next_token,
        }  # fmt: skip
        request = {name: value for name, value in optional.items() if value}
        page = self.client(target, "cloudtrail").lookup_events(MaxResults=max_results, **request)
        events = [_event(row) for row in page["Events"]]
        following = page.get("NextToken") or None
        return Events(events=events, count=len(events), truncated=following is not None, next_token=following)

    def _configured_by_number(self) -> dict[str, str]:
        accounts = self.desk.policy.accounts_of(Call.current().caller)
        numbers = ((self.desk.credentials.known_account_id(identity_of(account)), account.name) for account in accounts)
        return {number: name for number, name in numbers if number is not None}

    def _reach(self, names: list[str]) -> dict[str, str | None]:
        """Return, for each account's name, why it cannot be reached, or None."""
        gathered = gather(
            [Target(account=name) for name in names], lambda target: self.client(target).get_caller_identity()
        )
        reached: dict[str, str | None] = {str(target.account): None for target, _ in gathered.answers}
        return reached | {str(failure.account): failure.error_code for failure in gathered.failures}


def _path(organizations: Any, account_id: str, names: dict[str, str]) -> str:
    """Return the OUs above an account, such as /Root/Workloads/Production; `names` remembers those seen."""
    child, parts = account_id, list[str]()
    while True:
        (parent,) = organizations.list_parents(ChildId=child)["Parents"]
        if parent["Type"] == "ROOT":
            return "/".join(["", "Root", *reversed(parts)])
        child = parent["Id"]
        if child not in names:
            unit = organizations.describe_organizational_unit(OrganizationalUnitId=child)
            names[child] = unit["OrganizationalUnit"]["Name"]
        parts.append(names[child])


def _event(row: Mapping[str, Any]) -> Event:
    detail = json.loads(row.get("CloudTrailEvent") or "{}")
    who = detail.get("userIdentity", {})
    return Event.model_validate(
        {
            **row,
            "PrincipalArn": who.get("arn"),
            "SourceIdentity": who.get("sessionContext", {}).get("sourceIdentity"),
            "SourceIp": detail.get("sourceIPAddress"),
            "Region": detail.get("awsRegion"),
            "ReadOnly": {"true": True, "false": False}.get(str(row.get("ReadOnly")).lower()),
            "ErrorCode": detail.get("errorCode"),
            "Resources": [item["ResourceName"] for item in row.get("Resources", []) if item.get("ResourceName")],
        }
    )
