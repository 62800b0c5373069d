"""AWS IAM: what a principal could do, and why a call was denied.

Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html,
https://docs.aws.amazon.com/STS/latest/APIReference/API_DecodeAuthorizationMessage.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints

from errors import DeadlineExceeded, InvalidParameter, translate
from services._iam import PrincipalArn, Token, rows_of
from services.base import READ, AWSModel, AWSServiceBase, Page, Target, tool

Action = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{2,64}:[A-Za-z0-9]{2,128}$")]
ResourceArn = Annotated[str, StringConstraints(pattern=r"^(\*|arn:aws[a-z-]*:.{4,2000})$")]
_DENIAL = re.compile(
    r"(?P<principal>arn:\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on resource: (?P<resource>\S*[^\s.,]))?"
)
_ENCODED = re.compile(r"[Ee]ncoded authorization failure message: (?P<message>[\w-]+)")
# The kinds of policy that AWS's own words in a denial point at, and what to do about each.
_KINDS = {
    "service control policy": "the organization's administrator can change it",
    "resource control policy": "the organization's administrator can change it",
    "permissions boundary": "change the boundary, or use another role",
    "session policy": "assume the role with another session policy, or with none",
    "VPC endpoint policy": "change the endpoint's policy",
    "resource-based policy": "change the resource's own policy to name the principal",
    "identity-based policy": "attach or extend a policy that allows the action; no Allow outweighs a Deny",
}


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
    matched_statements: list[str] = []
    simulated: str | None = None
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

    @tool(READ, "sts:DecodeAuthorizationMessage", "iam:SimulatePrincipalPolicy", check=_says_what_was_denied)
    def explain_denial(
        self,
        target: Target,
        encoded_message: Annotated[SecretStr, Field(min_length=1, max_length=10_240)] | None = None,
        error_message: Annotated[str, StringConstraints(min_length=1, max_length=4_096)] | None = None,
    ) -> Explanation:
        """Say in words why AWS denied a call: decodes its message, simulates the call, names the likely reason.

        Args:
            encoded_message: The encoded part of an UnauthorizedOperation
            error_message: The text of an AccessDenied
        """
        text, facts = error_message or "", dict[str, Any]()
        encoded = match["message"] if (match := _ENCODED.search(text)) else None
        if encoded_message is not None:
            encoded = encoded_message.get_secret_value()
        if encoded is not None:
            answer = self.client(target, "sts").decode_authorization_message(EncodedMessage=encoded)
            facts = _decoded(json.loads(answer["DecodedMessage"]))
        facts = {**_quoted(text), **{name: value for name, value in facts.items() if value is not None}}
        return _explanation({**facts, **self._simulate(target, facts)}, text)

    def _simulate(self, target: Target, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Ask IAM what it would decide, where the denial names an IAM principal and an action."""
        principal, action = _iam_principal(facts.get("principal")), facts.get("action")
        if principal is None or action is None:
            return {"not_simulated": "the denial does not name a user or role, and an action"}
        request: dict[str, Any] = {"PolicySourceArn": principal, "ActionNames": [action]}
        if str(facts.get("resource", "")).startswith("arn:"):
            request["ResourceArns"] = [facts["resource"]]
        try:
            page = self.client(target).simulate_principal_policy(**request)
        except Exception as error:  # the explanation is worth having without it
            failure = translate(error)
            if isinstance(failure, DeadlineExceeded):
                raise
            return {"not_simulated": f"{failure.error_code}: {failure.message}"}
        return {"simulated": next((r.decision for row in page["EvaluationResults"] for r in simulated(row)), None)}


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


def _decoded(message: Mapping[str, Any]) -> dict[str, Any]:
    context = message.get("context", {})
    matched = message.get("matchedStatements", {}).get("items", [])
    return {
        "explicit_deny": bool(message.get("explicitDeny")),
        "principal": context.get("principal", {}).get("arn"),
        "action": context.get("action"),
        "resource": context.get("resource"),
        "matched_statements": [str(item.get("statementId") or item.get("policyId")) for item in matched],
    }


def _quoted(text: str) -> dict[str, Any]:
    match = _DENIAL.search(text)
    found: dict[str, Any] = {key: value for key, value in (match.groupdict() if match else {}).items() if value}
    if match:
        found["explicit_deny"] = "explicit deny" in text
    return found


def _iam_principal(arn: Any) -> str | None:
    """Return the user or role behind an ARN; a session stands for its role."""
    if not isinstance(arn, str):
        return None
    session = re.fullmatch(r"(arn:aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.+", arn)
    if session:
        return f"{session[1]}:iam::{session[2]}:role/{session[3]}"
    return arn if re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:(user|role)/.+", arn) else None


def _explanation(facts: dict[str, Any], text: str) -> Explanation:
    for kind, to_do in _KINDS.items():
        if re.search(rf"explicit deny in an? {kind}", text):
            return Explanation(likely_reason=f"a {kind} denies it explicitly", to_do=to_do, **facts)
        if f"because no {kind} allows" in text:
            return Explanation(likely_reason=f"no {kind} allows it", to_do=to_do, **facts)
    return Explanation(**{**_reason(facts), **facts})


def _reason(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Say what the facts point at where AWS's own words do not; and no more than they do."""
    decision = facts.get("simulated")
    if facts.get("explicit_deny") or decision == "explicitDeny":
        named = ", ".join(facts.get("matched_statements", []))
        return {
            "likely_reason": "a policy denies it explicitly",
            "to_do": f"find the Deny statement{f': {named}' if named else ''}; no Allow outweighs it",
        }
    if decision == "allowed":
        return {
            "likely_reason": "the identity's policies allow it, so something else denies it: the resource's own "
            "policy, a session policy, an endpoint's policy, a resource control policy, or a condition on the request",
            "to_do": "look at the resource's own policy first",
        }
    if decision == "implicitDeny":
        return {
            "likely_reason": "no policy of the identity allows it",
            "to_do": "attach or extend a policy that allows the action on the resource",
        }
    if facts.get("action"):
        return {
            "likely_reason": "AWS does not say which policy decided, and IAM could not be asked",
            "to_do": "see not_simulated; simulate_principal_policy in the principal's own account tells more",
        }
    return {
        "likely_reason": "unknown: the text names no principal and action",
        "to_do": "give AWS's whole message, or its encoded part; CloudTrail (lookup_events) has the call as well",
    }
