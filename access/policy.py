"""One decision per call: may this caller use a tool of this scope, as that identity, in that region?"""

from __future__ import annotations

import re
from typing import Protocol

from access.callers import Caller, Scope
from access.identity import Grant, Identity, Target
from config import Settings
from errors import (
    AccountNotAllowed,
    InvalidParameter,
    NoCredentials,
    ProfileNotAllowed,
    Refusal,
    RegionNotAllowed,
    RoleNotAllowed,
    ScopeRequired,
    UnknownAccount,
)
from named_accounts import REGION, ROLE_ARN, Account, account_key

_PROFILE = re.compile(r"[^\x00-\x20\x7f\[\]](?:[^\x00-\x1f\x7f\[\]]{0,254}[^\x00-\x20\x7f\[\]])?")


class Host(Protocol):
    """What the host's AWS configuration holds. Answers come from files, never from AWS."""

    def profiles(self) -> frozenset[str]: ...
    def profile_region(self, profile: str) -> str | None: ...
    def regions(self) -> frozenset[str]: ...


class Policy:
    """Decides from the settings and the host's AWS configuration alone; it keeps no state and calls no AWS."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._accounts = settings.accounts_by_name

    def require_scope(self, caller: Caller, scope: Scope) -> None:
        """Refuse a caller who lacks the scope, whatever else the call says."""
        if scope not in caller.scopes:
            raise ScopeRequired(
                f"This needs the scope `{scope}`.", next_step="Ask the server's operator for it, or use another tool."
            )

    def decide(self, caller: Caller, target: Target) -> Grant:
        """Return what the target resolves to for this caller.

        Raises:
            Refusal: a name is unknown or malformed, or the identity or region is not allowed.
        """
        _refuse_blank(target)
        account = self._account(target.account)
        identity = self._identity(target, account)
        self._check_caller(caller, identity)
        return Grant(identity, self._region(target, account, identity), self.name_of(identity, account))

    def place(self, caller: Caller, target: Target) -> tuple[str | None, str | None]:
        """Account and region that a target means, for telling where a call would have run.

        What is refused is not repeated: it may be anything. A configured account's name and a known region are said.
        """
        try:
            grant = self.decide(caller, target)
        except Refusal:
            account = self._accounts.get(account_key(target.account or ""))
            region = target.region or (account.region if account else None)
            return account.name if account else None, region if region in self._host.regions() else None
        return grant.account or grant.identity.account_id, grant.region

    def accounts_of(self, caller: Caller) -> tuple[Account, ...]:
        """The configured accounts that this caller may use."""
        return tuple(a for a in self._settings.accounts if caller.accounts is None or a.name in caller.accounts)

    def name_of(self, identity: Identity, named: Account | None = None) -> str | None:
        """The configured name of an identity; the account that the call named where several share the identity."""
        candidates = (*((named,) if named else ()), *self._settings.accounts)
        return next((account.name for account in candidates if identity_of(account) == identity), None)

    def _account(self, name: str | None) -> Account | None:
        if name is None:
            return None
        if (account := self._accounts.get(account_key(name))) is None:
            raise UnknownAccount(
                "No account of that name is configured.", next_step="Call list_accounts for the names."
            )
        return account

    def _identity(self, target: Target, account: Account | None) -> Identity:
        if target.profile is not None:
            self._check_profile(target.profile)
        if target.role_arn is not None:
            self._check_role(target.role_arn)
        if target.profile is not None:
            return Identity(profile=target.profile)
        if target.role_arn is not None:
            return self._role(target.role_arn)
        if account is not None:
            return self._configured(account)
        if not self._settings.allow_default_credentials:
            raise NoCredentials(
                "This server does not use its default credentials.", next_step="Name an account, profile or role_arn."
            )
        return Identity()

    def _configured(self, account: Account) -> Identity:
        identity = identity_of(account)
        if identity.profile is not None:
            self._check_profile(identity.profile)
        elif identity.role_arn is not None:
            self._check_role(identity.role_arn)
        return identity

    def _role(self, role_arn: str) -> Identity:
        external_id = next((a.external_id for a in self._settings.accounts if a.role_arn == role_arn), None)
        return Identity(role_arn=role_arn, external_id=external_id)

    def _check_role(self, role_arn: str) -> None:
        if not ROLE_ARN.fullmatch(role_arn):
            raise InvalidParameter(
                "role_arn: not an IAM role's ARN.", next_step="Give arn:aws:iam::<12 digits>:role/<name>."
            )
        if not self._settings.role_is_allowed(role_arn):
            raise RoleNotAllowed(
                "That role is not among those this server may assume.", next_step="Call list_accounts."
            )

    def _check_profile(self, profile: str) -> None:
        if not _PROFILE.fullmatch(profile):
            raise InvalidParameter("profile: not a profile's name.")
        allowed = self._settings.allowed_profiles
        if (allowed is not None and profile not in allowed) or profile not in self._host.profiles():
            raise ProfileNotAllowed(
                "That profile is not among those this server may use.", next_step="Call list_accounts."
            )

    def _check_caller(self, caller: Caller, identity: Identity) -> None:
        if caller.accounts is None:
            return
        if not any(identity_of(account) == identity for account in self.accounts_of(caller)):
            raise AccountNotAllowed(
                "This caller may not use that account.", next_step="Call list_accounts for those it may."
            )

    def _region(self, target: Target, account: Account | None, identity: Identity) -> str:
        region = target.region or (account.region if account else None)
        if region is None and identity.profile:
            region = self._host.profile_region(identity.profile)
        region = region or self._settings.region
        if not REGION.fullmatch(region):
            raise InvalidParameter("region: not a region's name.", next_step="Give a region such as us-east-1.")
        allowed = self._settings.allowed_regions
        if (allowed is not None and region not in allowed) or region not in self._host.regions():
            raise RegionNotAllowed("That region is unknown or not allowed here.", next_step="Use an allowed region.")
        return region


def identity_of(account: Account) -> Identity:
    """The identity that a configured account stands for: its profile, else its role."""
    if account.profile is not None:
        return Identity(profile=account.profile)
    return Identity(role_arn=account.role_arn, external_id=account.external_id)


def _refuse_blank(target: Target) -> None:
    for name in Target.model_fields:
        value = getattr(target, name)
        if value is not None and not value.strip():
            raise InvalidParameter(f"{name}: is blank.", next_step=f"Leave {name} out, or give it a value.")
