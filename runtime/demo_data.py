"""What the embedded AWS holds: three believable accounts, as tables. All values are made up and say so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REGION = "us-east-1"
ACCOUNTS = {"production": "111111111111", "staging": "222222222222", "development": "333333333333"}


@dataclass(frozen=True)
class DemoSecret:
    """A secret and its versions, oldest first."""

    name: str
    versions: tuple[str | bytes, ...]
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    deleted: bool = False


def _database(account: str, version: int) -> str:
    return f'{{"engine": "postgres", "username": "shop", "password": "demo-{account}-{version}", "port": 5432}}'


SECRETS: dict[str, tuple[DemoSecret, ...]] = {
    "production": (
        DemoSecret(
            "prod/shop/database",
            (_database("production", 1), _database("production", 2)),
            "The shop's database",
            {"Environment": "production", "Team": "shop"},
        ),
        DemoSecret(
            "shared/api-key", ("demo-api-key-of-production",), "The same name in every account", {"Team": "platform"}
        ),
        DemoSecret("prod/payments/stripe", ("demo-stripe-production",), "Payment provider", {"Team": "payments"}),
        DemoSecret("prod/mail/smtp", ('{"host":"smtp.example.com","password":"demo-smtp"}',), "", {"Team": "platform"}),
        DemoSecret("prod/tls/keystore", (b"\x00demo-keystore\xff",), "A binary secret", {"Team": "platform"}),
        DemoSecret("prod/legacy/ftp", ("demo-ftp",), "Scheduled for deletion", {"Team": "legacy"}, deleted=True),
    ),
    "staging": (
        DemoSecret("staging/shop/database", (_database("staging", 1),), "The shop's database", {"Team": "shop"}),
        DemoSecret(
            "shared/api-key", ("demo-api-key-of-staging",), "The same name in every account", {"Team": "platform"}
        ),
        DemoSecret(
            "staging/payments/stripe", ("demo-stripe-staging",), "Payment provider, test mode", {"Team": "payments"}
        ),
        DemoSecret("staging/feature-flags", ('{"checkout_v2": true, "rate": 0.10}',), "Kept to the last zero"),
    ),
    "development": (
        DemoSecret("dev/shop/database", (_database("development", 1),), "The shop's database", {"Team": "shop"}),
        DemoSecret(
            "shared/api-key", ("demo-api-key-of-development",), "The same name in every account", {"Team": "platform"}
        ),
    ),
}


@dataclass(frozen=True)
class DemoRecord:
    """A record set; `more` is what routes it, in AWS's words, a health check by its name."""

    name: str
    type: str
    ttl: int = 300
    values: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)


NAME_SERVERS = (  # moto gives every zone these
    "ns-2048.awsdns-64.com.", "ns-2049.awsdns-65.net.", "ns-2050.awsdns-66.org.", "ns-2051.awsdns-67.co.uk.",
)  # fmt: skip
VPC = "vpc-0de30de30de30de30"
_ALIAS = {
    "HostedZoneId": "Z35SXDOTRQ7X7K",
    "DNSName": "dualstack.shop-1234567890.us-east-1.elb.amazonaws.com.",
    "EvaluateTargetHealth": True,
}

# Health check -> (host, path)
HEALTH_CHECKS: dict[str, dict[str, tuple[str, str]]] = {
    "production": {
        "api-blue": ("blue.example.com", "/health"),
        "api-green": ("green.example.com", "/health"),
        "pay-primary": ("pay-1.example.com", "/health"),
    },
    "staging": {"staging-web": ("web.staging.example.com", "/")},
    "development": {},
}
# Host -> what most checkers say of it now; of the others they say what happened last week.
FAILING = {"pay-1.example.com": "Failure: Resolved IP: 192.0.2.41. The connection timed out"}
LAST_WEEK = "Failure: HTTP Status Code 503, Service Unavailable"


def _weighted(identifier: str, weight: int, *values: str, check: str) -> DemoRecord:
    routing = {"SetIdentifier": identifier, "Weight": weight, "HealthCheckId": check}
    return DemoRecord("api.example.com.", "A", 60, values, routing)


# Zone -> (private, records)
ZONES: dict[str, dict[str, tuple[bool, list[DemoRecord]]]] = {
    "production": {
        "example.com.": (
            False,
            [
                DemoRecord("example.com.", "A", more={"AliasTarget": _ALIAS}),
                DemoRecord("example.com.", "MX", 3600, ("10 mail.example.com.",)),
                DemoRecord("example.com.", "TXT", 3600, ('"v=spf1 include:mail.example.com -all"',)),
                DemoRecord("example.com.", "CAA", 3600, ('0 issue "ca.example.net"',)),
                DemoRecord("www.example.com.", "CNAME", 300, ("example.com.",)),
                DemoRecord("*.apps.example.com.", "A", 300, ("192.0.2.30",)),
                _weighted("blue", 90, "192.0.2.20", "192.0.2.21", check="api-blue"),
                _weighted("green", 10, "192.0.2.22", check="api-green"),
                DemoRecord(
                    "pay.example.com.", "A", 60, ("192.0.2.41",),
                    {"SetIdentifier": "primary", "Failover": "PRIMARY", "HealthCheckId": "pay-primary"},
                ),
                DemoRecord(
                    "pay.example.com.", "A", 60, ("192.0.2.42",),
                    {"SetIdentifier": "secondary", "Failover": "SECONDARY"},
                ),
                DemoRecord("staging.example.com.", "NS", 3600, NAME_SERVERS),
                DemoRecord("partner.example.com.", "NS", 3600, ("ns1.example.net.", "ns2.example.net.")),
            ],
        ),
        "internal.example.com.": (True, [DemoRecord("db.internal.example.com.", "A", 60, ("10.0.1.15",))]),
    },
    "staging": {
        "staging.example.com.": (
            False,
            [
                DemoRecord("staging.example.com.", "A", 300, ("198.51.100.10",)),
                DemoRecord("web.staging.example.com.", "A", 60, ("198.51.100.11",)),
            ],
        )
    },
    "development": {},
}  # fmt: skip

# Bucket -> (versioned, {key: body})
BUCKETS: dict[str, dict[str, tuple[bool, dict[str, bytes]]]] = {
    "production": {
        "demo-shop-production-assets": (True, {"index.html": b"<h1>Shop</h1>", "img/logo.svg": b"<svg/>"}),
        "demo-shop-production-logs": (False, {"2026/11/23/app.log": b"started\nready\n"}),
    },
    "staging": {"demo-shop-staging-assets": (False, {"index.html": b"<h1>Staging</h1>"})},
    "development": {},
}

# Name -> (instance type, running)
INSTANCES: dict[str, dict[str, tuple[str, bool]]] = {
    "production": {"web-1": ("t3.small", True), "web-2": ("t3.small", True), "batch": ("m5.large", False)},
    "staging": {"web-1": ("t3.micro", True)},
    "development": {"sandbox": ("t3.nano", False)},
}

# Role -> (service that may assume it, allowed action)
ROLES: dict[str, dict[str, tuple[str, str]]] = {
    "production": {
        "shop-web": ("ec2.amazonaws.com", "secretsmanager:GetSecretValue"),
        "backup": ("backup.amazonaws.com", "s3:GetObject"),
    },
    "staging": {"shop-web": ("ec2.amazonaws.com", "secretsmanager:GetSecretValue")},
    "development": {},
}
USERS: dict[str, tuple[str, ...]] = {"production": ("ci-deployer",), "staging": (), "development": ("alice",)}

# Group, port, from where, why; in production.
OPEN_PORTS: tuple[tuple[str, int, str, str], ...] = (
    ("web", 443, "0.0.0.0/0", "the shop"),
    ("web", 80, "0.0.0.0/0", "redirects"),
    ("database", 5432, "172.31.0.0/16", "from the VPC"),
    ("legacy", 22, "0.0.0.0/0", "should not be open"),
)
