"""Putting the server together: settings -> desk -> FastMCP app -> HTTP surface. Nothing runs yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import fastmcp
from fastmcp import FastMCP
from mcp.server.request_state import RequestStateSecurity
from starlette.applications import Starlette

import services
from access import callers
from access.audit import AuditTrail
from access.authentication import Authentication, authentication_of
from access.cautions import cautions
from access.confirmation import Confirmations
from access.credentials import CredentialStore
from access.limits import RateLimit
from access.policy import Policy
from access.refusals import RefusalLog
from config import Settings
from errors import ConfigurationError
from runtime import logs
from runtime.execution import Execution
from runtime.http import build_app
from runtime.launched import LaunchedMCP, Surface
from runtime.readiness import Readiness
from runtime.shutdown import InFlight
from toolcall.desk import Desk
from toolcall.gate import Gate

if TYPE_CHECKING:
    from runtime.metrics import Metrics

log = logging.getLogger("aws_ops.server")
VERSION = "0.1.0"
FEWEST_REQUESTS_PER_MINUTE = 60
REFUSAL_LINES_PER_MINUTE, UNAUTHENTICATED_LINES_PER_MINUTE = 100, 20
INSTRUCTIONS = """AWS operations across accounts. Every AWS tool takes, optionally: `account` (a configured name, see \
list_accounts), `profile`, `role_arn`, `region`. Priority: profile > role_arn > the server's default credentials. An \
answer names the account_id and region it came from. Lists say `truncated`; pass `next_token` to go on. A failure has \
error_code, message, next_step and retryable; on OutcomeUnknown look before you repeat."""


@dataclass(frozen=True)
class App:
    """The FastMCP app with what its tools work with."""

    mcp: FastMCP[Any]
    desk: Desk
    metrics: Metrics | None
    unauthenticated: RefusalLog

    def flush(self) -> None:
        """Write down what is still to be summarised, when nothing more will come."""
        self.unauthenticated.flush()
        self.desk.refusals.flush()


def build(
    settings: Settings,
    *,
    verifier: callers.CallerVerifier | None = None,
    stranger: callers.Caller = callers.NOBODY,
    stderr: bool = False,
) -> App:
    """Put the app together. Reads files at most; AWS is not called before the first tool call.

    Args:
        settings: All that the environment says.
        verifier: Tells callers over HTTP.
        stranger: Who calls over HTTP where there is no verifier.
        stderr: Whether what AUDIT_LOG calls stdout is stderr.

    Raises:
        ConfigurationError: a toolset is unknown.
    """
    if unknown := set(settings.toolsets) - services.toolsets() - {"all"}:
        raise ConfigurationError(f"TOOLSETS: unknown: {', '.join(sorted(unknown))}")
    in_flight = InFlight()
    metrics = _metrics(settings, in_flight)
    desk = _desk(
        settings, in_flight, metrics, lambda: callers.current_caller(verifier, stranger), stdout=2 if stderr else 1
    )
    gate = Gate(desk)
    mcp = _fastmcp(settings, verifier, gate)
    gate.tools = {tool.name: mcp.add_tool(tool) for tool in services.tools(desk)}  # type: ignore[misc]
    services.add_to(mcp, desk, gate.tools)
    unauthenticated = RefusalLog(desk.audit, UNAUTHENTICATED_LINES_PER_MINUTE)
    mcp.surface = Surface(
        [*settings.allowed_hosts, settings.host],
        list(settings.allowed_origins),
        settings.sse_max_streams,
        unauthenticated.write_unauthenticated,
        lambda http: _prepare_logs(settings, nobody=http and (verifier is None or verifier.knows_nobody)),
    )
    return App(mcp, desk, metrics, unauthenticated)


def _prepare_logs(settings: Settings, *, nobody: bool) -> None:
    logs.configure(settings.log_level, settings.log_format, "stderr")
    if nobody:
        log.warning("MCP_AUTH_TOKEN: not set, so nobody gets in over HTTP")
    for caution in cautions(settings):
        log.warning(caution)


def launched(settings: Settings) -> App:
    """Return the app for launchers other than ours: whoever serves it asks for the settings' tokens; without any, for
    tokens that nobody has. Touches no network.

    Raises:
        ConfigurationError: a part of the configuration cannot be used.
    """
    authentication = authentication_of(settings, fetch=False)
    verifier = authentication.verifier if authentication is not None else callers.CallerVerifier([])
    return build(settings, verifier=verifier, stderr=True)


def _desk(
    settings: Settings,
    in_flight: InFlight,
    metrics: Metrics | None,
    caller: Callable[[], callers.Caller],
    *,
    stdout: int,
) -> Desk:
    credentials = CredentialStore(settings)
    key = _key(settings)
    audit = AuditTrail(settings.audit_log, key, stdout=stdout)
    return Desk(
        settings=settings,
        policy=Policy(settings, credentials),
        credentials=credentials,
        execution=Execution(settings.max_concurrent_calls, settings.max_concurrent_calls_per_identity),
        audit=audit,
        refusals=RefusalLog(audit, REFUSAL_LINES_PER_MINUTE),
        confirmations=Confirmations(key),
        calls=RateLimit(settings.rate_limit_per_minute, "calls"),
        reveals=RateLimit(settings.reveal_limit_per_minute, "reveals"),
        requests=RateLimit(max(settings.rate_limit_per_minute, FEWEST_REQUESTS_PER_MINUTE), "requests"),
        in_flight=in_flight,
        observe=metrics.observe if metrics is not None else lambda _record: None,
        caller=caller,
    )


def _fastmcp(settings: Settings, verifier: callers.CallerVerifier | None, gate: Gate) -> LaunchedMCP:
    _forget_fastmcps_environment()
    key = _key(settings)
    # A question's state returns to whichever replica gets the answer, so the key is the shared one.
    shared = RequestStateSecurity(keys=[sha256(f"request state {key}".encode()).digest()]) if key else None
    mcp = LaunchedMCP(
        "aws-ops",
        version=VERSION,
        instructions=INSTRUCTIONS,
        auth=verifier,
        middleware=[gate],
        mask_error_details=True,
        on_duplicate="error",
        request_state_security=shared,
    )
    # Without this every modern tools/call lists all tools first, to look for header-bound parameters; we have none.
    mcp._mcp_server.get_tool_input_schema = lambda _name: None
    return mcp


def _forget_fastmcps_environment() -> None:
    """Give fastmcp its own defaults back: a launcher has imported it, FASTMCP_* and any `.env` in reach with it."""
    for name, field in type(fastmcp.settings).model_fields.items():
        setattr(fastmcp.settings, name, field.get_default(call_default_factory=True))
    fastmcp.settings.telemetry_mode = "off"  # its spans would carry what clients send
    fastmcp.settings.check_for_updates = "off"


def _key(settings: Settings) -> str | None:
    return settings.audit_hmac_key.get_secret_value() if settings.audit_hmac_key else None


def _metrics(settings: Settings, in_flight: InFlight) -> Metrics | None:
    if settings.metrics_port is None:
        return None
    from runtime.metrics import Metrics  # costs a start without metrics nothing

    return Metrics(in_flight)


def web_app(settings: Settings, authentication: Authentication | None) -> tuple[App, Starlette]:
    """Return the app and its whole HTTP surface.

    Raises:
        ConfigurationError: it would stand open, or a part of the configuration cannot be used.
    """
    settings.require_callers()
    verifier = authentication.verifier if authentication is not None else None
    app = build(settings, verifier=verifier, stranger=callers.ANYBODY)
    web = build_app(
        app.mcp,
        allowed_hosts=[*settings.allowed_hosts, settings.host],
        allowed_origins=list(settings.allowed_origins),
        sse_max_streams=settings.sse_max_streams,
        refused=app.unauthenticated.write_unauthenticated,
        replica_name=settings.replica_name,
        ready=Readiness(app.desk.in_flight, app.desk.credentials.base_credentials_resolve, app.desk.audit.check),
    )
    return app, web
