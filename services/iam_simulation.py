"""AWS IAM: what a principal could do, and why a call was denied.

Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html,
https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints

from errors import AWSError, InternalError, InvalidParameter, translate
from services._denials import encoded_in, read_denial
from services._iam import PrincipalArn, Token, rows_of
from services.base import READ, AWSModel, AWSServiceBase, Page, Target, tool
from toolcall.call import Call
from toolcall.scrub import scrub

Action = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{2,64}:[A-Za-z0-9]{1,128}$")]
ResourceArn = Annotated[str, StringConstraints(pattern=r"^(\*|arn:aws[a-z-]*:.{4,2000})$")]
_SESSION = re.compile(r"arn:aws[a-z-]*:sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")
_IDENTITY = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(user|role)/.+")
_HIDDEN = "****"  # how some services write an account's number into a resource


class SimulatedAction(AWSModel):
    """Whether one action on one resource would be allowed, and by which policies that was decided."""

    action: str
    resource: str
    decision: str
    matched_statements: list[str] = []
    missing_context: list[str] = []
    allowed_by_boundary: bool | None = None
    allowed_by_organizations: bool | None = None


class Simulation(Page):
    results: list[SimulatedAction]
    count: int
    all_allowed: bool


class Explanation(AWSModel):
    """Why a call was denied, as far as AWS tells."""

    likely_reason: str
    explicit_deny: bool | None = None
    principal: str | None = None
    action: str | None = None
    resource: str | None = None
    policy: str | None = Field(default=None, description="The ARN of the policy that decided")
    matched_statements: list[str] = []
    not_decoded: str | None = Field(default=None, description="Why the encoded part could not be read")
    simulated: str | None = None
    missing_context: list[str] = []
    not_simulated: str | None = Field(default=None, description="Why IAM was not asked, or did not say")
    to_do: str


def _says_what_was_denied(arguments: Mapping[str, Any]) -> None:
    if arguments["encoded_message"] is None and arguments["error_message"] is None:
        raise InvalidParameter("Give encoded_message, error_message or both.")


class IAMSimulationService(AWSServiceBase):
    """Asking IAM instead of trying."""

    client_name = "iam"
    toolset = "iam"

    @tool(READ, "iam:SimulatePrincipalPolicy", resource="principal_arn")
    def simulate_principal_policy(
        self,
        principal_arn: PrincipalArn,
        actions: Annotated[list[Action], Field(min_length=1, max_length=50)],
        target: Target,
        resources: Annotated[list[ResourceArn], Field(min_length=1, max_length=20)] | None = None,
        next_token: Token | None = None,
    ) -> Simulation:
        """Tell, per action and resource, whether a user, group or role would be allowed, and what decides it."""
        request: dict[str, Any] = {"PolicySourceArn": principal_arn, "ActionNames": actions}
        if resources:
            request["ResourceArns"] = resources
        if next_token:
            request["Marker"] = next_token
        page = self.client(target).simulate_principal_policy(**request)
        results = [result for row in page["EvaluationResults"] for result in simulated(row)]
        content = rows_of("results", results, page)
        all_allowed = all(result.decision == "allowed" for result in results) and not content["truncated"]
        return Simulation(**content, all_allowed=all_allowed)

    @tool(
        READ,
        "sts:DecodeAuthorizationMessage",
        "iam:SimulatePrincipalPolicy",
        "iam:GetRole",
        check=_says_what_was_denied,
    )
    def explain_denial(
        self,
        target: Target,
        encoded_message: Annotated[SecretStr, Field(min_length=1, max_length=10_240)] | None = None,
        error_message: Annotated[str, StringConstraints(min_length=1, max_length=16_384)] | None = None,
    ) -> Explanation:
        """Say in words why AWS denied a call: decodes its message, simulates the call, names the likely reason.

        Args:
            encoded_message: The encoded part of an UnauthorizedOperation
            error_message: The text of an AccessDenied
        """
        denial = read_denial(error_message or "")
        encoded = encoded_in(error_message or "")
        if encoded_message is not None:
            encoded = encoded_message.get_secret_value()
        facts: dict[str, Any] = {name: value for name, value in asdict(denial).items() if value is not None}
        if encoded is not None:
            facts |= self._decode(target, encoded, known=denial.says_anything)
        facts |= self._simulate(target, facts)
        likely, to_do = denial.reason() or _reason(facts)
        return Explanation(**{**facts, "likely_reason": likely, "to_do": to_do})

    def _decode(self, target: Target, encoded: str, *, known: bool) -> dict[str, Any]:
        """Return what the encoded message says; where it cannot be had, why, if there is something else to explain."""
        try:
            answer = self.client(target, "sts").decode_authorization_message(EncodedMessage=encoded)
            return _decoded(answer["DecodedMessage"])
        except Exception as error:
            if not known:
                raise
            return {"not_decoded": _why(error)}

    def _simulate(self, target: Target, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Ask IAM what it would decide, where the denial names an IAM principal, an action and a resource.

        Of a resource that is not known nothing is asked: what IAM says of every resource says nothing of one.
        """
        action, resource = facts.get("action"), facts.get("resource")
        if action is None or not _may_be_asked_about(facts.get("principal")):
            return {"not_simulated": "the denial does not name a user or role, and an action"}
        if resource is None or not (resource == "*" or resource.startswith("arn:")) or _HIDDEN in resource:
            return {"not_simulated": "the denial does not name its resource by an ARN"}
        try:
            principal = self._identity(target, facts["principal"])
            request = {"PolicySourceArn": principal, "ActionNames": [action], "ResourceArns": [resource]}
            page = self.client(target).simulate_principal_policy(**request)
            results = [result for row in page["EvaluationResults"] for result in simulated(row)]
        except Exception as error:  # the explanation is worth having without it
            return {"not_simulated": _why(error)}
        return _verdict(results[0]) if results else {"not_simulated": "IAM's answer holds no result"}

    def _identity(self, target: Target, principal: str) -> str:
        """Return the ARN of the user or role behind a principal; IAM tells the path of a session's role."""
        session = _SESSION.fullmatch(principal)
        if session is None:
            return principal
        role = str(self.client(target).get_role(RoleName=session["role"])["Role"]["Arn"])
        if role.split(":")[4] != session["account"]:
            raise InvalidParameter(
                f"The principal's role is in account {session['account']}: call again as that account."
            )
        return role


def _why(error: Exception) -> str:
    """Return why a step failed; a fault of our own is none of its failures."""
    failure = translate(error)
    if isinstance(failure, InternalError):
        raise error
    return f"{failure.error_code}: {scrub(failure.message, Call.current().secrets)}"


def simulated(row: Mapping[str, Any]) -> Iterator[SimulatedAction]:
    """Yield an evaluation's results, one per resource.

    Since 2026-07-30 per-resource results stand in ResourceSpecificResults only.
    """
    specific = row.get("ResourceSpecificResults") or []
    for one in specific:
        yield _result(row, one, one["EvalResourceName"], one["EvalResourceDecision"])
    if not specific:
        yield _result(row, row, row.get("EvalResourceName") or "*", row["EvalDecision"])


def _result(row: Mapping[str, Any], one: Mapping[str, Any], resource: str, decision: str) -> SimulatedAction:
    boundary = one.get("PermissionsBoundaryDecisionDetail") or row.get("PermissionsBoundaryDecisionDetail") or {}
    return SimulatedAction(
        action=row["EvalActionName"],
        resource=resource,
        decision=decision,
        matched_statements=[s["SourcePolicyId"] for s in one.get("MatchedStatements", []) if "SourcePolicyId" in s],
        missing_context=list(one.get("MissingContextValues") or row.get("MissingContextValues") or []),
        allowed_by_boundary=boundary.get("AllowedByPermissionsBoundary"),
        allowed_by_organizations=(row.get("OrganizationsDecisionDetail") or {}).get("AllowedByOrganizations"),
    )


def _decoded(text: str) -> dict[str, Any]:
    """Return what a decoded message says.

    Raises:
        AWSError: it is no message of that kind.
    """
    try:
        message = json.loads(text)
        context = message["context"]
        matched = (message.get("matchedStatements") or {}).get("items") or []
        names = [item.get("statementId") or item.get("policyId") for item in matched]
        found = {
            "explicit_deny": bool(message.get("explicitDeny")),
            "principal": (context.get("principal") or {}).get("arn"),
            "action": context.get("action"),
            "resource": context.get("resource"),
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise AWSError(
            "UnreadableMessage", "AWS's decoded message is none of the form that it has.", retryable=False
        ) from None
    plain = {
        name: value for name, value in found.items() if isinstance(value, bool) or (value and isinstance(value, str))
    }
    return {**plain, "matched_statements": [name for name in names if name and isinstance(name, str)]}


def _may_be_asked_about(principal: Any) -> bool:
    """Tell whether IAM simulates for a principal: a user, a role, or the role of a session."""
    return isinstance(principal, str) and bool(_SESSION.fullmatch(principal) or _IDENTITY.fullmatch(principal))


def _verdict(result: SimulatedAction) -> dict[str, Any]:
    by = {"boundary": result.allowed_by_boundary, "organization": result.allowed_by_organizations}
    return {
        "simulated": result.decision,
        "missing_context": result.missing_context,
        "not_allowed_by": [name for name, allowed in by.items() if allowed is False],
        **({"matched_statements": result.matched_statements} if result.decision == "explicitDeny" else {}),
    }


def _reason(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Say what the facts point at where AWS's own words do not; and no more than they do."""
    decision = facts.get("simulated")
    if facts.get("explicit_deny") or decision == "explicitDeny":
        named = ", ".join(facts.get("matched_statements", []))
        return (
            "a policy denies it explicitly",
            f"find the Deny statement{f': {named}' if named else ''}; no Allow outweighs it",
        )
    if decision == "allowed":
        first = "the role's trust policy" if facts["action"] == "sts:AssumeRole" else "the resource's own policy"
        return (
            "the identity's policies allow it, so something else denies it: the resource's own policy, a session "
            "policy, an endpoint's policy, a resource control policy, or a condition on the request",
            f"look at {first} first",
        )
    if decision is not None:
        return _what_is_missing(facts)
    if facts.get("action"):
        return (
            "AWS does not say which policy decided, and IAM could not be asked",
            "see not_simulated; simulate_principal_policy in the principal's own account tells more",
        )
    return (
        "unknown: the text names no principal and action",
        "give AWS's whole message, or its encoded part; CloudTrail (lookup_events) has the call as well",
    )


def _what_is_missing(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Say what IAM found no Allow in."""
    if "organization" in facts["not_allowed_by"]:
        return "no service control policy allows it", "the organization's administrator can change that"
    if "boundary" in facts["not_allowed_by"]:
        return "the permissions boundary does not allow it", "change the boundary, or use another role"
    if keys := ", ".join(facts["missing_context"]):
        return (
            f"no policy of the identity allows it, unless under a condition on {keys}, which IAM was not told",
            "look at those conditions; else attach or extend a policy that allows the action on the resource",
        )
    return (
        "no policy of the identity allows it",
        "attach or extend a policy that allows the action on the resource",
    )
