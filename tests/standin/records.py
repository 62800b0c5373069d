"""What both halves of the stand-in speak of: a call that was seen, a fault that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

# The account of every key that AssumeRole did not issue; moto's own default.
BASE_ACCOUNT = "123456789012"

Kind = Literal[
    "throttle",
    "http500",
    "http503",
    "slow",
    "hang",
    "reset",
    "garbage",
    "truncate",
    "empty",
    "lost",
    "expired",
    "denied",
    "error",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A rule: which calls it meets, how often, and what becomes of them. Rules are tried in the order they were set.

    `service`, `operation` and `role_arn` may hold `*`. A REST service's operation is `"GET /2013-04-01/hostedzone"`.

    Args:
        kind: `throttle`, `http500`, `http503`, `expired`, `denied`, `error`: AWS's error, in the service's protocol;
            `slow`: AWS's answer, late; `hang`: none while the socket lives; `reset`: RST instead of an answer;
            `lost`: the request is applied, then RST; `truncate`: half of AWS's answer, then FIN;
            `garbage`: 200 with bytes of no format; `empty`: 200 and `{}`.
        account: The account of the key that signed.
        role_arn: The role an AssumeRole asks for.
        times: How many calls it meets; for ever where absent.
        after: How many matching calls it lets pass first.
        probability: Of meeting a matching call; drawn from a seeded generator.
        applied: Let the request reach AWS first. `slow`, `lost` and `truncate` always do.
        ms: How late `slow` is.
        seconds: How long `hang` holds a socket at most, before RST.
        status: HTTP status of `error`.
        code: Error code of `error`.
        message: Text of any error.
    """

    kind: Kind
    service: str | None = None
    operation: str | None = None
    account: str | None = None
    role_arn: str | None = None
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    applied: bool = False
    ms: float = 1000
    seconds: float = 120
    status: int = 400
    code: str | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(get_args(Kind))}")
        if self.kind == "error" and self.code is None:
            raise ValueError("an 'error' needs a code")

    @property
    def reaches_aws(self) -> bool:
        """Whether the request is applied although its answer is spoilt."""
        return self.applied or self.kind in ("slow", "lost", "truncate")


@dataclass(slots=True)
class Call:
    """One AWS request as it was seen. Bodies and web-identity tokens are kept as SHA-256 only."""

    id: int
    time: float
    service: str
    operation: str
    account: str
    body_sha256: str
    access_key: str | None = None
    region: str | None = None
    signer_role_arn: str | None = None  # the role and session the signing key was issued for
    signer_session_name: str | None = None

    role_arn: str | None = None  # this and the next eight: of an AssumeRole*
    session_name: str | None = None
    external_id: str | None = None
    source_identity: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    transitive_tag_keys: list[str] = field(default_factory=list)
    policy: str | None = None
    policy_arns: list[str] = field(default_factory=list)
    duration_seconds: int | None = None
    web_identity_sha256: str | None = None

    client_token: str | None = None  # ClientRequestToken, ClientToken or CallerReference
    invocation_id: str | None = None  # amz-sdk-invocation-id: one per call of a client, the same for its retries
    sdk_request: str | None = None  # amz-sdk-request
    user_agent: str | None = None

    fault: str | None = None  # the id of the rule that met it
    upstream: bool = False  # it went on to AWS, and may have been applied
    status: int | None = None  # of the answer; absent while, or because, there is none
