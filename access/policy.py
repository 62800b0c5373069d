"""One decision per call: may this caller use a tool of this scope, as that identity, in that region?"""

from __future__ import annotations

import re
from typing import Protocol

from access.callers import Caller, Scope
from access.identity import Grant, Identity, Target
from aws_regions import partitions
from config import Settings
from errors import (
    AccountNotAllowed,
    InvalidParameter,
    NoCredentials,
    ProfileNotAllowed,
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
    def profile_roles(self, profile: str | None) -> list[str]: ...


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
        self._check_caller(caller, target)
        account = self._account(target.account)
        identity = self._identity(target, account)
        return Grant(identity, self._region(target, account, identity), self.name_of(identity, account))

    def place(self, caller: Caller, target: Target) -> tuple[str | None, str | None]:
        """Account and region that a target means, for telling where a call would have run.

        What is refused is not repeated: it may be anything. A configured account's name and a known region are said.
        """
        try:
            grant = self.decide(caller, target)
        except AccountNotAllowed:
            return None, None
        except Exception:  # the host's AWS configuration may be broken, which is another failure's to tell
            account = self._accounts.get(account_key(target.account or ""))
            region = target.region or (account.region if account else None)
            return account.name if account else None, region if region in partitions() else None
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
        if not self._settings.profile_is_allowed(profile) or profile not in self._host.profiles():
            raise ProfileNotAllowed(
                "That profile is not among those this server may use.", next_step="Call list_accounts."
            )
        if not all(self._profiles_role_is_allowed(role) for role in self._host.profile_roles(profile)):
            raise RoleNotAllowed(
                "That profile assumes a role that is not among those this server may assume.",
                next_step="Call list_accounts.",
            )

    def _profiles_role_is_allowed(self, role_arn: str) -> bool:
        """As if it were spelled out; without a list the roles of the accounts' own profiles are the accounts' roles."""
        if self._settings.role_is_allowed(role_arn):
            return True
        own = (account.profile for account in self._settings.accounts if account.profile)
        return self._settings.allowed_role_arns is None and any(
            role_arn in self._host.profile_roles(name) for name in own
        )

    def _check_caller(self, caller: Caller, target: Target) -> None:
        """Refuse a confined caller what lies outside his accounts, in the same words whether it exists or not."""
        if caller.accounts is None:
            return
        if target.account is not None and account_key(target.account) not in caller.accounts:
            raise _not_allowed()
        if target.profile is None and target.role_arn is None:
            if target.account is None and self._settings.allow_default_credentials:
                raise _not_allowed()
            return
        named = Identity(profile=target.profile) if target.profile else self._role(target.role_arn or "")
        if not any(identity_of(account) == named for account in self.accounts_of(caller)):
            raise _not_allowed()

    def _region(self, target: Target, account: Account | None, identity: Identity) -> str:
        region = target.region or (account.region if account else None)
        of_profile = self._host.profile_region(identity.profile) if region is None and identity.profile else None
        region = region or of_profile or self._settings.region
        of, step = ("The profile's region", "Name a region in the call, or correct the profile's.") if of_profile else (
            "region:", "Give a region such as us-east-1.")  # fmt: skip
        if not REGION.fullmatch(region):
            raise InvalidParameter(f"{of} {'is ' if of_profile else ''}not a region's name.", next_step=step)
        if not self._region_is_allowed(region):
            said = "The profile's region is" if of_profile else "That region is"
            raise RegionNotAllowed(f"{said} unknown or not allowed here.", next_step="Use an allowed region.")
        if partitions()[region] != self._partition(identity, account):
            raise RegionNotAllowed(
                "That region is of another partition of AWS than the identity.",
                next_step="Name a region of the identity's own partition.",
            )
        return region

    def _region_is_allowed(self, region: str) -> bool:
        allowed = self._settings.allowed_regions
        return region in partitions() and (allowed is None or region in allowed)

    def _partition(self, identity: Identity, account: Account | None) -> str | None:
        """The partition of an identity: its role's, else that of the region that goes with its profile, else ours."""
        roles = [identity.role_arn] if identity.role_arn else self._host.profile_roles(identity.profile)
        if roles and ROLE_ARN.fullmatch(roles[0]):
            return roles[0].split(":")[1]
        own = self._host.profile_region(identity.profile) if identity.profile else None
        account = account or next((a for a in self._settings.accounts if identity_of(a) == identity), None)
        configured = account.region if account is not None and identity_of(account) == identity else None
        places = [one for one in (configured, own, self._settings.region) if one is not None and one in partitions()]
        return partitions()[places[0]] if places else None


def _not_allowed() -> AccountNotAllowed:
    return AccountNotAllowed("This caller may not use that account.", next_step="Call list_accounts for those it may.")


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
