"""Knowing where you are: the configured accounts, the organization's, and who did what in them.

Source: https://docs.aws.amazon.com/organizations/latest/APIReference/,
https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints

from access.identity import Identity
from access.policy import identity_of
from errors import InvalidParameter, is_denial, translate
from named_accounts import Account
from services._trail import Event, event_of, fits, whatever_is_elsewhere
from services.base import READ, AWSModel, AWSServiceBase, Page, Tags, Target, tool
from toolcall.call import Call
from toolcall.desk import Desk
from toolcall.fanout import gather

Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Moment = Annotated[AwareDatetime, Field(strict=False)]  # a string on the wire
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
_NUMBERS_SECONDS, _ASK_AGAIN_SECONDS, _MOST_NUMBERS_AT_ONCE = 3.0, 60.0, 32
_SHARE_OF_TIME = 0.4  # for accounts that may hang, of what a call has left
# A wire argument and the attribute it looks up; AWS takes one per request. The first of them that is given is looked
# up; the rest are held against what comes back.
_LOOKUPS = {
    "access_key_id": "AccessKeyId", "event_name": "EventName", "resource_name": "ResourceName", "username": "Username",
}  # fmt: skip
_MOST_PAGES = 10  # AWS takes two lookups a second, of an account and region


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
    state: str = Field(description="ACTIVE, SUSPENDED, ...")
    path: str | None = None
    tags: Tags | None = None
    configured_as: str | None = None
    also_configured_as: list[str] | None = None
    reachable: bool | None = None
    reason: str | None = None
    unknown: dict[str, str] | None = Field(default=None, description="What AWS would not tell, and why")


class DiscoveredAccounts(Page):
    accounts: list[DiscoveredAccount]
    count: int


class Events(Page):
    events: list[Event]
    count: int
    note: str | None = Field(default=None, description="What could not be found here, and where it is")


def _ends_after_it_starts(arguments: Mapping[str, Any]) -> None:
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
        pool = ThreadPoolExecutor(_MOST_NUMBERS_AT_ONCE, thread_name_prefix="account-number")
        for account in accounts:
            identity = identity_of(account)
            if self.desk.credentials.known_account_id(identity) is None and self._ask_again.get(identity, now) <= now:
                asking.append(pool.submit(contextvars.copy_context().run, self._ask_number, account))
        wait(asking, timeout=_NUMBERS_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)

    def _ask_number(self, account: Account) -> None:
        caller = Call.current().caller
        self._ask_again[identity_of(account)] = time.monotonic() + _ASK_AGAIN_SECONDS
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
        "sts:GetCallerIdentity",
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
        reached = self._reach([name for row in page["Accounts"] for name in configured.get(row["Id"], [])])
        names: dict[str, str] = {}
        accounts = [
            _discovered(organizations, row, names, configured.get(row["Id"], []), reached) for row in page["Accounts"]
        ]
        following = page.get("NextToken") or None
        return DiscoveredAccounts(
            accounts=accounts, count=len(accounts), truncated=following is not None, next_token=following
        )

    @tool(READ, "cloudtrail:LookupEvents", resource="resource_name", check=_ends_after_it_starts)
    def lookup_events(
        self,
        target: Target,
        resource_name: Text | None = None,
        event_name: Text | None = None,
        username: Text | None = None,
        access_key_id: Text | None = None,
        start_time: Moment | None = None,
        end_time: Moment | None = None,
        max_results: Annotated[int, Field(ge=1, le=50)] = 20,
        next_token: Token | None = None,
    ) -> Events:
        """Look up CloudTrail's last 90 days, newest first: who did what to a resource, in the call's region.

        Who read a secret last: event_name GetSecretValue with resource_name.

        Args:
            resource_name: Name, id or ARN, as AWS or the request named it
        """
        given = {
            "access_key_id": access_key_id, "event_name": event_name, "resource_name": resource_name,
            "username": username,
        }  # fmt: skip
        wanted = {name: value for name, value in given.items() if value is not None}
        first = next(iter(wanted.items()), None)
        attributes = [{"AttributeKey": _LOOKUPS[first[0]], "AttributeValue": first[1]}] if first else []
        optional = {"LookupAttributes": attributes, "StartTime": start_time, "EndTime": end_time}
        request = {"MaxResults": max_results, **{name: value for name, value in optional.items() if value}}
        client, events, following = self.client(target, "cloudtrail"), list[Event](), next_token
        for _ in range(_MOST_PAGES):
            page = client.lookup_events(**request, **({"NextToken": following} if following else {}))
            events += [event for event in map(event_of, page["Events"]) if fits(event, wanted)]
            following = page.get("NextToken") or None
            if following is None or events or len(wanted) < 2:
                break
        found_none = not events and following is None and next_token is None
        region = Call.current().grant(target).region
        note = whatever_is_elsewhere(client.meta.partition, region, start_time, end_time, found_none=found_none)
        return Events(
            events=events, count=len(events), truncated=following is not None, next_token=following, note=note
        )

    def _configured_by_number(self) -> dict[str, list[str]]:
        """Return the configured names of each account's number; one that only AWS knows is asked for."""
        call, numbers = Call.current(), dict[str, list[str]]()
        accounts = {account.name: identity_of(account) for account in self.desk.policy.accounts_of(call.caller)}
        known = {name: self.desk.credentials.known_account_id(identity) for name, identity in accounts.items()}
        asked = gather(
            [Target(account=name) for name, number in known.items() if number is None],
            lambda one: self.desk.credentials.account_id(call.grant(one), call.caller),
            share=_SHARE_OF_TIME,
        )
        for name, number in {**known, **{str(one.account): number for one, number in asked.answers}}.items():
            if number is not None:
                numbers.setdefault(number, []).append(name)
        return numbers

    def _reach(self, names: list[str]) -> dict[str, str | None]:
        """Return, for each account's name, why it cannot be reached, or None."""
        gathered = gather(
            [Target(account=name) for name in names],
            lambda target: self.client(target).get_caller_identity(),
            share=_SHARE_OF_TIME,
        )
        reached: dict[str, str | None] = {str(target.account): None for target, _ in gathered.answers}
        return reached | {str(failure.account): failure.error_code for failure in gathered.failures}


def _discovered(
    organizations: Any,
    row: Mapping[str, Any],
    names: dict[str, str],
    configured: list[str],
    reached: Mapping[str, str | None],
) -> DiscoveredAccount:
    """Return an account's row. What AWS denies of it is named, and empties neither the row nor the list."""
    found, unknown = dict[str, Any](), dict[str, str]()
    asked: dict[str, Callable[[], Any]] = {
        "Path": lambda: _path(organizations, row["Id"], names),
        "Tags": lambda: _tags(organizations, row["Id"]),
    }
    for name, ask in asked.items():
        try:
            found[name] = ask()
        except Exception as error:
            failure = translate(error)
            if not is_denial(failure):
                raise
            unknown[name.lower()] = failure.error_code
    reasons = [reached.get(name) for name in configured]
    return DiscoveredAccount.model_validate(
        {
            **row,
            **found,
            "State": row.get("State") or row["Status"],  # Status was to end on 2026-09-09
            "ConfiguredAs": configured[0] if configured else None,
            "AlsoConfiguredAs": configured[1:] or None,
            "Reachable": None in reasons if configured else None,
            "Reason": reasons[0] if configured and None not in reasons else None,
            "Unknown": unknown or None,
        }
    )


def _tags(organizations: Any, account_id: str) -> list[Any]:
    pages = organizations.get_paginator("list_tags_for_resource").paginate(ResourceId=account_id)
    return [tag for page in pages for tag in page["Tags"]]


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
