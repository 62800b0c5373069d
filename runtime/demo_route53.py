"""What moto's Route 53 lacks and the demo shows: answers to resolvers, and checkers who disagree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from runtime import demo_data as data

_CHECKERS = ("us-east-1", "us-west-2", "eu-west-1", "ap-southeast-2", "ap-northeast-1", "sa-east-1")
_ALIASED = "192.0.2.80"
_FINE = "Success: HTTP Status Code 200, OK"


def complete() -> None:
    """Teach moto, in this process, TestDNSAnswer and what health checkers say."""
    from moto.core.responses import ActionResult
    from moto.route53.responses import Route53
    from moto.route53.urls import url_paths

    def test_dns_answer(self: Any) -> Any:
        name, kind = self._get_param("RecordName"), self._get_param("RecordType")
        zone = self.backend.get_hosted_zone(self._get_param("HostedZoneId"))
        values = _answer(zone.rrsets, name if name.endswith(".") else f"{name}.", kind)
        return ActionResult(
            {
                "Nameserver": zone.delegation_set.name_servers[0],
                "RecordName": name,
                "RecordType": kind,
                "RecordData": values or [],
                "ResponseCode": "NOERROR" if values is not None else "NXDOMAIN",
                "Protocol": "UDP",
            }
        )

    def observed(self: Any) -> str | None:
        return data.FAILING.get(self.backend.get_health_check(self._get_param("HealthCheckId")).fqdn)

    def get_health_check_status(self: Any) -> Any:
        failure = observed(self)
        says = [_FINE if failure is None or number == 0 else failure for number in range(len(_CHECKERS))]
        return ActionResult(_observations(says, timedelta(seconds=12)))

    def get_health_check_last_failure_reason(self: Any) -> Any:
        failure = observed(self)
        since = timedelta(seconds=12) if failure else timedelta(days=7)
        return ActionResult(_observations([failure or data.LAST_WEEK] * 2, since))

    for method in (test_dns_answer, get_health_check_status, get_health_check_last_failure_reason):
        setattr(Route53, method.__name__, method)
    for path in ("testdnsanswer", "healthcheck/(?P<health_check_id>[^/]+)/lastfailurereason"):
        url_paths[rf"{{0}}/(?P<api_version>[\d_-]+)/{path}$"] = Route53.dispatch


def _answer(rrsets: Sequence[Any], name: str, kind: str) -> list[str] | None:
    """Return the values of the heaviest record set of a name, or of the wildcard beside it; None where no name is."""
    parent = name.split(".", 1)[1]
    named = [one for one in rrsets if one.name == name] or [one for one in rrsets if one.name == f"*.{parent}"]
    fitting = [one for one in named if one.type in (kind, "CNAME")]
    if not fitting:
        return [] if named else None
    best = max(fitting, key=lambda one: int(one.weight or 0))
    return [_ALIASED] if best.alias_target else list(best.records)


def _observations(says: Sequence[str], apart: timedelta) -> dict[str, Any]:
    now = datetime.now(UTC).replace(microsecond=0)
    rows = [
        {
            "Region": _CHECKERS[number],
            "IPAddress": f"198.51.100.{number + 1}",
            "StatusReport": {"Status": status, "CheckedTime": now - (number + 1) * apart},
        }
        for number, status in enumerate(says)
    ]
    return {"HealthCheckObservations": rows}
