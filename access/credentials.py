"""Identity -> credentials -> boto3 client; all STS work. The only importer of boto3."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import create_loader
from cachetools import LRUCache

from access.callers import Caller
from access.host import HostConfiguration, way_of
from access.identity import Grant, Identity
from access.integrity import CONNECT_SECONDS, check_answers
from access.renewal import Obtained, RenewingCredentials
from access.sources import check_kinds, know_logins, why_none
from access.tls import share_tls
from access.trace import MAX_ATTEMPTS, uncounted, watch
from config import Settings
from errors import NoCredentials, is_denial, translate, unusable

# A client's methods are made for it anew: 160 KB for STS, 180 for Secrets Manager, 380 for S3, 430 for IAM, 1,500 for
# EC2, which is about 130 and 2 for each operation. The bound keeps the clients of 68 accounts' secrets, or of 7
# accounts' EC2; what falls out costs 2 to 5 ms, and a handshake, when it is next asked for.
MAX_CLIENT_KILOBYTES = 12_000
MAX_IDENTITIES = 4096
# Where botocore looks last, whatever the profile: another's credentials to a profile that has none of its own.
_KNOW_NO_PROFILE = ("ec2-credentials-file", "boto-config", "container-role", "iam-role")


@dataclass(frozen=True)
class Signer:
    """Whose signature a client bears. Sessions of an assumed role belong to one caller, whose name they carry."""

    identity: Identity
    caller: str | None = None
    session_policy: str | None = None


@cache
def _loader() -> Any:
    """The one reader of botocore's API models, which are large: they are read once a process."""
    return create_loader()


class _Session(botocore.session.Session):  # type: ignore[misc]  # botocore has no types
    """A botocore session whose loader is shared, and whose clients are each handed their own credentials."""

    handed: RenewingCredentials | None = None

    @cached_property
    def boto(self) -> boto3.Session:
        """The boto3 session of this one; a second would register boto3's hooks a second time."""
        return boto3.Session(botocore_session=self)

    def get_credentials(self) -> Any:
        return self.handed if self.handed is not None else super().get_credentials()


class _Clients(LRUCache[tuple[Signer, str, str], Any]):
    """The clients at hand, bounded by what they weigh."""

    def __init__(self) -> None:
        super().__init__(MAX_CLIENT_KILOBYTES, lambda client: 130 + 2 * len(client.meta.service_model.operation_names))

    def popitem(self) -> tuple[tuple[Signer, str, str], Any]:
        """Let the one go that was unused longest. Its idle connections close now, those in use when they are done."""
        key, client = super().popitem()
        client.close()
        return key, client


class CredentialStore:
    """Resolves credentials per call and builds clients lazily: one per signer, service and region.

    A client is not shared between identities, so neither are its connections, its retry quota or what it caches.
    Both caches are bounded; what falls out is built again when it is next asked for.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._sessions: dict[str | None, _Session] = {}
        self._clients = _Clients()
        self._credentials: LRUCache[Signer, RenewingCredentials] = LRUCache(MAX_IDENTITIES)
        self._account_ids: dict[Identity, tuple[str, str]] = {}
        self._caller_arns: dict[Identity, tuple[str, str]] = {}
        self._asking: dict[Identity, threading.Lock] = {}
        self.host = HostConfiguration()

    # --- clients -----------------------------------------------------------------------------------------------

    def client(self, grant: Grant, service: str, caller: Caller, session_policy: str | None = None) -> Any:
        """Return a client that signs as the grant's identity. Builds on first use; assumes no role yet."""
        signer = self._signer(grant.identity, caller, session_policy)
        key = (signer, service, grant.region)
        with self._lock:
            if (client := self._clients.get(key)) is None:
                client = self._clients[key] = self._build(signer, service, grant.region, self._client_config(service))
            return client

    def account_id(self, grant: Grant, caller: Caller) -> str:
        """Return the account number of an identity: from its ARN or a file, else one GetCallerIdentity, remembered.

        It is asked anew once the access key is another: the host's files may have come to mean another account.
        """
        identity = grant.identity
        if known := identity.account_id or self.host.account_id(identity.profile):
            return known
        sts = self.client(Grant(identity, self._settings.region), "sts", caller)
        with uncounted(), self._asking.setdefault(identity, threading.Lock()):
            key = self._held(grant, caller).access_key
            if self._account_ids.get(identity, ("", ""))[0] != key:
                self._account_ids[identity] = key, str(sts.get_caller_identity()["Account"])
            return self._account_ids[identity][1]

    def known_account_id(self, identity: Identity) -> str | None:
        """Return an identity's account number where it is known without asking AWS: from its ARN, a file, an answer."""
        told = identity.account_id or self.host.account_id(identity.profile)
        return told or self._account_ids.get(identity, ("", None))[1]

    def expires_at(self, grant: Grant, caller: Caller) -> float | None:
        """Return when the credentials that sign now end, in seconds since the epoch; None for those that never do."""
        return self._held(grant, caller).expires_at

    def _held(self, grant: Grant, caller: Caller) -> RenewingCredentials:
        signer = self._signer(grant.identity, caller, None)  # it takes the lock as well, to look at the profiles
        with self._lock:
            return self._credentials_of(signer)

    def caller_arn(self, grant: Grant, caller: Caller) -> str:
        """Ask AWS who the identity is, and return its ARN."""
        return str(
            self.client(Grant(grant.identity, self._settings.region), "sts", caller).get_caller_identity()["Arn"]
        )

    def roles_of(self, grant: Grant, caller: Caller) -> list[str]:
        """Return the ARNs of the roles by which an identity comes, or of their sessions; none for a user's keys.

        Files tell of a profile's roles, its sources' included; STS, whose answer is remembered, of any other identity.
        """
        identity = grant.identity
        if identity.role_arn is not None:
            return [identity.role_arn]
        if told := self.host.roles_of(identity.profile):
            return told
        key = self._held(grant, caller).access_key
        with uncounted(), self._asking.setdefault(identity, threading.Lock()):
            known, arn = self._caller_arns.get(identity, (None, ""))
            if known != key:
                # New keys of the same identity are as a rule the same role's, so that while STS is down it is known.
                with suppress(Exception) if known else nullcontext():
                    arn = self.caller_arn(grant, caller)
                    self._caller_arns[identity] = key, arn
        return [arn] if ":assumed-role/" in arn else []

    def _signer(self, identity: Identity, caller: Caller, session_policy: str | None) -> Signer:
        if identity.role_arn is not None:
            return Signer(identity, caller.session_name, session_policy)
        if identity.profile is not None and "role_arn" in self.host.profile(identity.profile):
            return Signer(identity, caller.session_name)  # the profile assumes a role: its sessions are a caller's too
        return Signer(identity)

    def _build(self, signer: Signer, service: str, region: str, config: Config) -> Any:
        # Called under the lock: boto3 sessions are not thread-safe; clients are.
        session = self._session(signer.identity.profile)
        session.handed = credentials = self._credentials_of(signer)
        try:
            client = session.boto.client(service, region_name=region, config=config)
            share_tls(client)
        except (ValueError, TypeError, OSError) as error:
            raise unusable(error) from error
        finally:
            session.handed = None
        check_answers(client)
        watch(client, credentials)
        return client

    def _credentials_of(self, signer: Signer) -> RenewingCredentials:
        if (credentials := self._credentials.get(signer)) is None:
            credentials = self._credentials[signer] = RenewingCredentials(self._how_to_obtain(signer))
        return credentials

    def _client_config(self, service: str) -> Config:
        # For what it presigns, boto3's default is still the old signature.
        signature = {"signature_version": "s3v4"} if service == "s3" else {}
        return Config(
            **signature,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=min(self._settings.call_deadline_seconds, 60),
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            max_pool_connections=self._settings.max_concurrent_calls_per_identity,
            user_agent_extra="aws-ops",
            s3={"us_east_1_regional_endpoint": "regional"},
            parameter_validation=True,
        )

    # --- credentials -------------------------------------------------------------------------------------------

    def _how_to_obtain(self, signer: Signer) -> Callable[[], Obtained]:
        if signer.identity.role_arn is not None:
            return lambda: self._assume(signer)
        return lambda: self._resolve(signer)

    def _assume(self, signer: Signer) -> Obtained:
        identity = signer.identity
        request: dict[str, Any] = {
            "RoleArn": identity.role_arn,
            "RoleSessionName": signer.caller,
            "DurationSeconds": self._settings.role_session_seconds,
        }
        if identity.external_id is not None:
            request["ExternalId"] = identity.external_id
        if signer.session_policy is not None:
            request["Policy"] = signer.session_policy
        if self._settings.stamp_caller:
            request |= stamps(signer.caller or "")
        with uncounted():
            answer = self._sts().assume_role(**request)["Credentials"]
        frozen = ReadOnlyCredentials(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
        return Obtained(frozen, answer["Expiration"].timestamp())

    def missing_stamp_permissions(self, role_arn: str, external_id: str | None, caller: Caller) -> list[str]:
        """Return the actions that a role's trust policy lacks for the stamps, asking STS with each stamp alone."""
        plain = {"RoleArn": role_arn, "RoleSessionName": caller.session_name, "DurationSeconds": 900}
        if external_id is not None:
            plain["ExternalId"] = external_id
        marks = stamps(caller.session_name)
        missing = []
        for action, names in (("sts:SetSourceIdentity", ["SourceIdentity"]), ("sts:TagSession", ["Tags"])):
            try:
                self._sts().assume_role(**plain, **{name: marks[name] for name in names})
            except Exception as error:
                if not is_denial(translate(error)):
                    raise
                missing.append(action)
        return missing

    def _sts(self) -> Any:
        """The client that assumes roles, signed by the server's default credentials, in the server's region."""
        key = (Signer(Identity()), "sts:AssumeRole", self._settings.region)
        with self._lock:
            if (client := self._clients.get(key)) is None:
                client = self._clients[key] = self._build(key[0], "sts", self._settings.region, _sts_config())
            return client

    def _resolve(self, signer: Signer) -> Obtained:
        """Run botocore's own provider chain anew: environment, files, SSO, web identity, container, instance."""
        profile = signer.identity.profile
        session = self._new_session(profile)
        if profile is not None:
            for provider in _KNOW_NO_PROFILE:
                session.get_component("credential_provider").remove(provider)
        _refuse_mfa(session, profile)
        know_logins(session.full_config["profiles"])
        if signer.caller is not None:
            session.full_config["profiles"][profile]["role_session_name"] = signer.caller
        session.set_default_client_config(_sts_config())
        try:
            credentials = session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials is not None else None
        except Exception as error:
            self.host.check()  # where a file has broken, that is the reason
            raise why_none(error) from error
        if frozen is None:
            raise NoCredentials(
                "The server has no AWS credentials for this identity.",
                next_step="Give it some (IRSA, a profile, the environment); `python server.py --check` tells more.",
            )
        check_kinds(credentials.method, frozen)
        expiry = getattr(credentials, "_expiry_time", None)
        return Obtained(frozen, expiry.timestamp() if expiry is not None else None)

    def base_credentials_resolve(self) -> bool:
        """Tell whether the server's own credentials resolve now, using temporary ones while they last."""
        with self._lock:
            base = self._credentials_of(Signer(Identity()))
        try:
            base.recheck()
        except Exception:
            return False
        return True

    # --- sessions, and what the host's AWS configuration holds ---------------------------------------------------

    def _session(self, profile: str | None) -> _Session:
        if (session := self._sessions.get(profile)) is None:
            session = self._sessions[profile] = self._new_session(profile)
        return session

    def _new_session(self, profile: str | None) -> _Session:
        session = _Session(profile=profile)
        session.register_component("data_loader", _loader())
        session._config = self.host.for_session(stale=profile is None)  # what full_config would read from the files
        # boto3 reads AWS_DEFAULT_REGION only; the server's region holds for every session, STS included.
        session.set_config_variable("region", self._settings.region)
        return session

    def profiles(self) -> frozenset[str]:
        return frozenset(self.host.profiles())

    def profile_roles(self, profile: str | None) -> list[str]:
        return self.host.roles_of(profile)

    def profile_region(self, profile: str) -> str | None:
        region = self.host.profile(profile).get("region")
        return str(region) if region else None


def _refuse_mfa(session: _Session, profile: str | None) -> None:
    """Refuse a profile that wants a code typed in: botocore would ask at the terminal, or eat an MCP client's stdin.

    Keys in the environment go before AWS_PROFILE, as botocore has it; a profile that a call names goes before them.
    """
    if profile is None and session.get_component("credential_provider").get_provider("env").load() is not None:
        return
    for table in way_of(session.full_config["profiles"], profile or session.profile or "default"):
        if "mfa_serial" in table and "role_arn" in table and "web_identity_token_file" not in table:
            raise NoCredentials(
                "The profile asks for an MFA code, which a server cannot give.",
                next_step="Use a profile without mfa_serial, or put a session's keys into the credentials file.",
            )


def stamps(session_name: str) -> dict[str, Any]:
    """What marks every action of a session in CloudTrail with its caller, along role chains too."""
    tags = [{"Key": "aws-ops-caller", "Value": session_name}]
    return {"SourceIdentity": session_name, "Tags": tags, "TransitiveTagKeys": ["aws-ops-caller"]}


def _sts_config() -> Config:
    """Every identity shares the STS clients, so they retry in `legacy` mode: it has no quota for one to use up."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=5,
        retries={"mode": "legacy", "total_max_attempts": MAX_ATTEMPTS},
        max_pool_connections=64,
        user_agent_extra="aws-ops",
    )
