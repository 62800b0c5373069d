"""What every call needs, gathered once at start: who calls, what is allowed, how it runs, where it is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from access.audit import AuditTrail
from access.callers import Caller
from access.confirmation import Confirmations
from access.credentials import CredentialStore
from access.limits import RateLimit
from access.policy import Policy
from access.refusals import RefusalLog
from config import Settings
from runtime.execution import Execution
from runtime.shutdown import InFlight


@dataclass(frozen=True)
class Desk:
    """The collaborators of a tool call."""

    settings: Settings
    policy: Policy
    credentials: CredentialStore
    execution: Execution
    audit: AuditTrail
    refusals: RefusalLog
    confirmations: Confirmations
    calls: RateLimit
    reveals: RateLimit
    requests: RateLimit
    in_flight: InFlight
    caller: Callable[[], Caller]
    observe: Callable[[Mapping[str, Any]], None] = lambda _record: None
