"""What a client can read, complete and begin with beside the tools: resources, completions, prompts.

A resource is read by the tool of the same job, so that policy, limits and the audit trail hold for it as well.
"""

# No postponed annotations here: fastmcp describes a prompt's `"str"` to clients as a JSON schema to be matched.
from collections.abc import Mapping
from typing import Any

from fastmcp import FastMCP
from fastmcp.exceptions import ResourceError
from mcp.types import CompletionArgument, CompletionContext, PromptReference, ResourceTemplateReference

from aws_regions import partitions
from toolcall.desk import Desk
from toolcall.spec import READ
from toolcall.tool import ServiceTool

SECRET_URI = "secret://{account}/{region}/{name*}"
_MOST = 100
_LEAKED = (
    "The secret {secret_id} in account {account} has leaked. Never show or fetch its value. "
    "1. describe_secret: does it rotate by a function? Then rotate_secret; else update_secret or patch_secret "
    "with generate. 2. compare_secrets against the same name in the other accounts that list_accounts shows, "
    "to find copies, and treat those likewise. 3. lookup_events with the secret as resource_name: who read it "
    "lately? 4. Report version ids before and after, copies found, readers, and what a person must still do "
    "where the credential is used."
)
_PROMOTE = (
    "Promote the secret {secret_id} from account {from_account} to {to_account} without showing its value. "
    "1. describe_secret on both sides. 2. compare_secrets: if equal, stop; else say which keys differ. "
    "3. Ask me before anything is overwritten. 4. copy_secret with overwrite and with_metadata. "
    "5. compare_secrets again. Report both version ids; rollback_secret undoes it."
)
_DRIFT = (
    "Find drift among the secrets that begin with {name_prefix} in the accounts {accounts}. Never fetch "
    "a value. list_secrets in each account; report names that are missing somewhere; compare_secrets for those "
    "that are in several, and report the keys that differ, are missing or differ in type. A table, worst first."
)


def add_to(mcp: FastMCP[Any], desk: Desk, tools: Mapping[str, ServiceTool]) -> None:
    """Register what the tools at hand make possible."""
    describe, list_secrets = tools.get("describe_secret"), tools.get("list_secrets")
    if describe is None or list_secrets is None:
        return
    _add_resource(mcp, describe)
    _add_prompts(mcp)
    _add_completions(mcp, desk, list_secrets)


def _add_resource(mcp: FastMCP[Any], describe: ServiceTool) -> None:
    @mcp.resource(SECRET_URI, name="secret", mime_type="application/json")
    async def secret(account: str, region: str, name: str) -> str:
        """A secret's metadata, never its value."""
        answer = await describe.run({"secret_id": name, "account": account, "region": region})
        text = str(getattr(answer.content[0], "text", ""))
        if answer.is_error:
            raise ResourceError(text)
        return text


def _add_prompts(mcp: FastMCP[Any]) -> None:
    @mcp.prompt
    def rotate_leaked_credential(secret_id: str, account: str) -> str:
        """Replace a credential that has leaked, and find out who used it.

        Args:
            secret_id: Secret name or ARN.
            account: The account it leaked from.
        """
        return _LEAKED.format(secret_id=secret_id, account=account)

    @mcp.prompt
    def promote_secret(secret_id: str, from_account: str = "staging", to_account: str = "production") -> str:
        """Bring a secret from one account to another, unseen.

        Args:
            secret_id: Secret name.
            from_account: Where it is.
            to_account: Where it goes.
        """
        return _PROMOTE.format(secret_id=secret_id, from_account=from_account, to_account=to_account)

    @mcp.prompt
    def find_secret_drift(name_prefix: str, accounts: str) -> str:
        """Find secrets that differ between accounts.

        Args:
            name_prefix: What the names begin with.
            accounts: Account names, separated by commas.
        """
        return _DRIFT.format(name_prefix=name_prefix, accounts=accounts)


def _add_completions(mcp: FastMCP[Any], desk: Desk, list_secrets: ServiceTool) -> None:
    @mcp.completion
    async def complete(
        ref: PromptReference | ResourceTemplateReference,  # noqa: ARG001
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> list[str]:
        known = dict(context.arguments or {}) if context is not None else {}
        caller = desk.caller()
        if READ not in caller.scopes:
            return []
        if argument.name in ("account", "from_account", "to_account"):
            names = [account.name for account in desk.policy.accounts_of(caller)]
        elif argument.name == "region":
            names = sorted(desk.settings.allowed_regions or partitions())
        elif argument.name in ("name", "secret_id"):
            names = await _secret_names(list_secrets, argument.value, known)
        else:
            names = []
        return [name for name in names if name.startswith(argument.value)][:_MOST]


async def _secret_names(list_secrets: ServiceTool, prefix: str, known: Mapping[str, str]) -> list[str]:
    account = known.get("account") or known.get("from_account")
    wanted = {"name_prefix": prefix, "account": account, "region": known.get("region")}
    answer = await list_secrets.run({name: value for name, value in wanted.items() if value} | {"max_results": _MOST})
    content = answer.structured_content or {}
    return [secret["name"] for secret in content.get("secrets", [])]
