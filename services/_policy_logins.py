"""Logins at identity providers that a trust takes: whether they are tied to one tenant, or to an app of anybody's.

A provider whose issuer is one customer's own (a cluster's, a workspace's, an enterprise's) ties its logins by itself.
One whose issuer all customers share says in a claim whose a login is; which claim, IAM's user guide lists.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_oidc_secure-by-default.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from services._policy_grammar import principals_of, required

_NAME = r"[^:/*?$]+"
_END = r"(:.*)?"
_GITHUB = (
    rf"repo:{_NAME}/.*|(repository_owner|repository_owner_id|repository_id|enterprise|enterprise_id):{_NAME}{_END}"
)
_ORGANIZATION = rf"organization:{_NAME}{_END}"
_PARTY_OF_A_KIND = rf"{_NAME}:{_NAME}([:/].*)?"
_WHOLE = r"[^*?$]+"
# By issuer: which claim names the tenant, and how its name stands there whole.
_SHARED: Mapping[str, Mapping[str, str]] = {
    "token.actions.githubusercontent.com": {
        ":sub": _GITHUB, ":repository": rf"{_NAME}/.*", ":repository_owner": _WHOLE, ":repository_owner_id": _WHOLE,
        ":repository_id": _WHOLE, ":enterprise": _WHOLE, ":enterprise_id": _WHOLE,
    },
    "vstoken.actions.githubusercontent.com": {":sub": _GITHUB},
    "oidc-configuration.audit-log.githubusercontent.com": {":sub": rf"https://github\.com/{_NAME}"},
    "gitlab.com": {":sub": rf"project_path:{_NAME}/.*"},
    "app.terraform.io": {":sub": _ORGANIZATION},
    "app.eu.terraform.io": {":sub": _ORGANIZATION},
    "agent.buildkite.com": {":sub": _ORGANIZATION},
    "oidc.codefresh.io": {":sub": _PARTY_OF_A_KIND},
    "studio.datachain.ai/api": {":sub": _PARTY_OF_A_KIND},
    "scalr.io": {":sub": _PARTY_OF_A_KIND},
    "tokens.cloud.shisho.dev": {":sub": _PARTY_OF_A_KIND},
    "proidc.upbound.io": {":sub": _PARTY_OF_A_KIND},
    "oidc.modal.com": {":sub": rf"modal:workspace_id:{_NAME}{_END}"},
    "rh-oidc.s3.us-east-1.amazonaws.com/22ejnvnnturfmt6km08idd0nt4hekbn7": {
        ":sub": rf"system:serviceaccount:{_NAME}:.*"
    },
    "api.pulumi.com/oidc": {
        ":aud": _WHOLE, ":sub": rf"pulumi:{_NAME}:(org|pulumi\.organization\.login):{_NAME}{_END}"
    },
    "sandboxes.cloud": {":aud": _WHOLE},
    "oidc.vercel.com": {":aud": _WHOLE, ":sub": rf"owner:{_NAME}{_END}"},
    "sts.windows.net/33e01921-4d64-4f8c-a055-5bdaffd5e33d": {"sts:rolesessionname": _WHOLE},
}  # fmt: skip
# Providers where anybody registers an app, or makes a pool, and anybody may log in to it.
_PUBLIC = re.compile(
    r"(www\.amazon\.com|graph\.facebook\.com|accounts\.google\.com|"
    r"cognito-identity[a-z0-9-]{0,32}(\.[a-z0-9-]{1,32})?\.amazonaws\.com(\.cn)?)"
)
_APP = (":aud", ":oaud", ":app_id", ":sub")


def takes_any_login(statement: Mapping[str, Any]) -> bool:
    """Tell whether a statement takes whoever logs in at a provider, whichever tenant, app or repository it is of."""
    return any(not _is_tied(statement, provider) for provider in _providers(statement))


def apps_of_anybody(statement: Mapping[str, Any]) -> Iterator[str]:
    """Yield the public providers at which a statement takes an app's or a pool's logins: whose it is, none can tell."""
    return (provider for provider in _providers(statement) if _PUBLIC.fullmatch(provider))


def is_public_provider(name: str) -> bool:
    """Tell whether a federated principal is one of those that belong to no account."""
    return _PUBLIC.fullmatch(_issuer(name)) is not None


def _providers(statement: Mapping[str, Any]) -> Iterator[str]:
    for kind, name in principals_of(statement):
        if kind == "federated" and ":saml-provider/" not in name:
            yield _issuer(name)


def _issuer(name: str) -> str:
    return name.rpartition(":oidc-provider/")[2].lower().removeprefix("https://").rstrip("/")


def _is_tied(statement: Mapping[str, Any], provider: str) -> bool:
    holds = _rule_of(provider)
    return any(all(holds(key, value) for value in values) for _, key, values in required(statement))


def _rule_of(provider: str) -> Callable[[str, str], bool]:
    """Return what tells whether a condition's key and value tie logins at a provider."""
    if claims := _SHARED.get(provider):
        forms = {provider + claim if claim.startswith(":") else claim: form for claim, form in claims.items()}
        return lambda key, value: key in forms and re.fullmatch(forms[key], value, re.DOTALL) is not None
    if _PUBLIC.fullmatch(provider):
        return lambda key, value: key.endswith(_APP) and re.fullmatch(_WHOLE, value) is not None
    return lambda key, value: key.endswith((":sub", ":aud")) and not value.startswith(("*", "?", "${"))
