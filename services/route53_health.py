"""Amazon Route 53: health checks, what the checkers around the world say now, and why a check failed last.

Source: https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from errors import is_denial, translate
from services._route53 import Token
from services.base import READ, AWSModel, AWSServiceBase, Page, Said, Target, Timestamp, tool
from toolcall.call import Call

HealthCheckId = Annotated[str, StringConstraints(pattern=r"^[\w-]{1,64}$")]
_TAGGED_AT_ONCE = 10
_HEALTHY_SHARE = 0.18
_KEPT_FOR_THE_ANSWER_SECONDS = 2.0


class Observation(AWSModel):
    """What one checker said."""

    region: str | None = None
    ip_address: str | None = Field(default=None, alias="IPAddress")
    status: Said
    checked_time: Timestamp | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Observation:
        """Return an observation from AWS's answer."""
        return cls.model_validate({**row, **row["StatusReport"]})


class CheckStatus(AWSModel):
    """How a health check stands.

    Attributes:
        status: Healthy where more than 18% of the checkers say so, as Route 53 counts; Inverted and Disabled are in.
        reason: Why it is what it is, or why nobody knows.
        healthy_checkers: How many of `checkers` succeed now.
        last_failure: The newest that any checker remembers.
    """

    status: Literal["Healthy", "Unhealthy", "Unknown"]
    reason: str
    healthy_checkers: int | None = None
    checkers: int | None = None
    last_failure: Observation | None = None


class HealthCheck(AWSModel):
    id: str
    name: str | None = None
    type: str
    endpoint: str | None = None
    status: CheckStatus | None = None
    request_interval: int | None = None
    failure_threshold: int | None = None
    inverted: bool | None = None
    disabled: bool | None = None
    child_health_checks: list[str] | None = None
    health_threshold: int | None = None


class HealthChecks(Page):
    health_checks: list[HealthCheck]
    count: int
    note: str | None = None


class Route53HealthService(AWSServiceBase):
    """Health checks."""

    client_name = "route53"
    toolset = "route53"

    @tool(
        READ, "route53:ListHealthChecks", "route53:GetHealthCheck", "route53:GetHealthCheckStatus",
        "route53:GetHealthCheckLastFailureReason", "route53:ListTagsForResources", resource="health_check_id",
    )  # fmt: skip
    def list_health_checks(
        self,
        target: Target,
        health_check_id: HealthCheckId | None = None,
        max_results: Annotated[int, Field(ge=1, le=100)] = 20,
        next_token: Token | None = None,
    ) -> HealthChecks:
        """List health checks, or return one: what it watches, whether it is healthy now, and why it failed last."""
        client = self.client(target)
        page: Mapping[str, Any] = {}
        if health_check_id is not None:
            rows = [client.get_health_check(HealthCheckId=health_check_id)["HealthCheck"]]
        else:
            page = client.list_health_checks(
                MaxItems=str(max_results), **({"Marker": next_token} if next_token else {})
            )
            rows = page["HealthChecks"]
        names = _names(client, [row["Id"] for row in rows])
        checks = [_described(client, row, names.get(row["Id"])) for row in rows]
        following = page["NextMarker"] if page.get("IsTruncated") else None
        unasked = sum(check.status is None for check in checks)
        return HealthChecks(
            health_checks=checks,
            count=len(checks),
            note=f"Time ran out: {unasked} could not be asked how they stand. List fewer at a time."
            if unasked
            else None,
            truncated=following is not None,
            next_token=following,
        )


def _names(client: Any, ids: Sequence[str]) -> dict[str, str]:
    """Return the Name tags, by which people know their checks; none where they may not be read."""
    names: dict[str, str] = {}
    try:
        for first in range(0, len(ids), _TAGGED_AT_ONCE):
            wanted = list(ids[first : first + _TAGGED_AT_ONCE])
            answer = client.list_tags_for_resources(ResourceType="healthcheck", ResourceIds=wanted)
            for resource in answer["ResourceTagSets"]:
                for tag in resource["Tags"]:
                    if tag["Key"] == "Name":
                        names[resource["ResourceId"]] = tag["Value"]
    except Exception as error:
        if not is_denial(translate(error)):
            raise
    return names


def _described(client: Any, row: Mapping[str, Any], name: str | None) -> HealthCheck:
    config = row["HealthCheckConfig"]
    late = Call.current().trace.deadline - time.monotonic() < _KEPT_FOR_THE_ANSWER_SECONDS
    return HealthCheck(
        id=row["Id"],
        name=name,
        type=config["Type"],
        endpoint=_endpoint(config),
        status=None if late else _status(client, row["Id"], config),
        request_interval=config.get("RequestInterval"),
        failure_threshold=config.get("FailureThreshold"),
        inverted=config.get("Inverted") or None,
        disabled=config.get("Disabled") or None,
        child_health_checks=config.get("ChildHealthChecks"),
        health_threshold=config.get("HealthThreshold"),
    )


def _endpoint(config: Mapping[str, Any]) -> str | None:
    """Return what is watched, as one would write it: https://www.example.com:443/health, or an alarm's name."""
    if (alarm := config.get("AlarmIdentifier")) is not None:
        return f"alarm {alarm['Name']} in {alarm['Region']}"
    host = config.get("FullyQualifiedDomainName") or config.get("IPAddress")
    if host is None:
        return config.get("RoutingControlArn")
    scheme = config["Type"].split("_")[0].lower()
    port = f":{config['Port']}" if config.get("Port") else ""
    path = config.get("ResourcePath") or ""
    address = config.get("IPAddress")
    at = f" at {address}" if address and address != host else ""
    return f"{scheme}://{host}{port}{path}{at}"


def _status(client: Any, check_id: str, config: Mapping[str, Any]) -> CheckStatus:
    if config.get("Disabled"):
        return _turned(config, healthy=True, reason="Disabled: Route 53 takes it for healthy without looking.")
    if config["Type"] == "CALCULATED":
        return CheckStatus(status="Unknown", reason="Calculated from child_health_checks; AWS answers for those only.")
    try:
        seen = [Observation.of(one) for one in _observations(client.get_health_check_status(HealthCheckId=check_id))]
        last = [
            Observation.of(one)
            for one in _observations(client.get_health_check_last_failure_reason(HealthCheckId=check_id))
        ]
    except Exception as error:  # one check that cannot be asked must not empty the list
        failure = translate(error)
        return CheckStatus(status="Unknown", reason=f"Could not be asked: {failure.error_code}: {failure.message}")
    if not seen:
        return CheckStatus(status="Unknown", reason="No checker has reported yet.")
    good = [one for one in seen if one.status.startswith("Success")]
    standing = _turned(config, healthy=len(good) > _HEALTHY_SHARE * len(seen), reason=_reason(seen, good))
    failures = [one for one in last if not one.status.startswith("Success")]
    newest = max(failures, key=_time, default=None)
    return standing.model_copy(
        update={"healthy_checkers": len(good), "checkers": len(seen), "last_failure": newest}
    )  # fmt: skip


def _time(one: Observation) -> float:
    return one.checked_time.timestamp() if one.checked_time is not None else 0.0


def _observations(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for row in answer["HealthCheckObservations"] if row.get("StatusReport", {}).get("Status")]


def _turned(config: Mapping[str, Any], *, healthy: bool, reason: str) -> CheckStatus:
    if config.get("Inverted"):
        healthy, reason = not healthy, f"{reason} Inverted: it counts as the opposite."
    return CheckStatus(status="Healthy" if healthy else "Unhealthy", reason=reason)


def _reason(seen: Sequence[Observation], good: Sequence[Observation]) -> str:
    text = f"{len(good)} of {len(seen)} checkers succeed"
    bad = Counter(one.status for one in seen if not one.status.startswith("Success"))
    return f"{text}; most others say: {bad.most_common(1)[0][0]}" if bad else f"{text}."
