"""Knowing where you are: the configured accounts."""

from __future__ import annotations

from access.policy import identity_of
from services.base import READ, AWSModel, AWSServiceBase, tool
from toolcall.call import Call


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


class AccountsService(AWSServiceBase):
    """The accounts themselves."""

    client_name = "sts"
    toolset = "accounts"

    @tool(READ, open_world=False)
    def list_accounts(self) -> ConfiguredAccounts:
        """List the configured accounts: name, number, role or profile, default region."""
        call = Call.current()
        policy, settings = self.desk.policy, self.desk.settings
        accounts = []
        for account in policy.accounts_of(call.caller):
            identity = identity_of(account)
            region = account.region or self.desk.credentials.profile_region(account.profile or "") or settings.region
            accounts.append(
                ConfiguredAccount(
                    name=account.name,
                    account_id=self.desk.credentials.known_account_id(identity),
                    region=region,
                    role_arn=identity.role_arn,
                    profile=identity.profile,
                    regions=account.regions or None,
                    tags=account.tags or None,
                )
            )
        return ConfiguredAccounts(accounts=accounts, count=len(accounts))
