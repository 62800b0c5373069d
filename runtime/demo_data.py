"""What the embedded AWS holds: three believable accounts, as tables. All values are made up and say so."""

from __future__ import annotations

from dataclasses import dataclass, field

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

# Zone -> (private, [(name, type, ttl, values)])
ZONES: dict[str, dict[str, tuple[bool, list[tuple[str, str, int, list[str]]]]]] = {
    "production": {
        "example.com.": (
            False,
            [
                ("example.com.", "A", 300, ["192.0.2.10"]),
                ("example.com.", "MX", 3600, ["10 mail.example.com."]),
                ("example.com.", "TXT", 3600, ['"v=spf1 include:mail.example.com -all"']),
                ("www.example.com.", "CNAME", 300, ["example.com."]),
                ("api.example.com.", "A", 60, ["192.0.2.20", "192.0.2.21"]),
            ],
        ),
        "internal.example.com.": (True, [("db.internal.example.com.", "A", 60, ["10.0.1.15"])]),
    },
    "staging": {"staging.example.com.": (False, [("staging.example.com.", "A", 300, ["198.51.100.10"])])},
    "development": {},
}

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
