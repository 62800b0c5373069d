"""The front door: settings -> app -> run (HTTP, --stdio, --demo, --check)."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import fastmcp
from fastmcp import FastMCP
from mcp.server.request_state import RequestStateSecurity
from starlette.applications import Starlette

import config
import services
from access import callers, doctor
from access.audit import AuditTrail
from access.authentication import Authentication, authentication_of
from access.confirmation import Confirmations
from access.credentials import CredentialStore
from access.identity import Target
from access.limits import RateLimit
from access.policy import Policy
from access.refusals import RefusalLog
from config import Settings
from errors import ConfigurationError
from runtime import logs
from runtime.execution import Execution
from runtime.http import build_app
from runtime.readiness import Readiness
from runtime.serve import address_of, listen, serve
from runtime.shutdown import InFlight
from toolcall.desk import Desk
from toolcall.gate import Gate

VERSION = "0.1.0"
REFUSAL_LINES_PER_MINUTE = 100
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
INSTRUCTIONS = """AWS operations across accounts. Every AWS tool takes, optionally: `account` (a configured name, see \
list_accounts), `profile`, `role_arn`, `region`. Priority: profile > role_arn > the server's default credentials. An \
answer names the account_id and region it came from. Lists say `truncated`; pass `next_token` to go on. A failure has \
error_code, message, next_step and retryable; on OutcomeUnknown look before you repeat."""
log = logging.getLogger("aws_ops.server")


@dataclass(frozen=True)
class App:
    """The FastMCP app with what its tools work with."""

    mcp: FastMCP[Any]
    desk: Desk


def build(settings: Settings, *, verifier: callers.CallerVerifier | None = None, stderr: bool = False) -> App:
    """Put the app together. Reads files at most; AWS is not called before the first tool call.

    Raises:
        ConfigurationError: a toolset is unknown.
    """
    if unknown := set(settings.toolsets) - services.toolsets() - {"all"}:
        raise ConfigurationError(f"TOOLSETS: unknown: {', '.join(sorted(unknown))}")
    anonymous = callers.local_user() if stderr else callers.Caller("anonymous")
    credentials = CredentialStore(settings)
    key = settings.audit_hmac_key.get_secret_value() if settings.audit_hmac_key else None
    audit = AuditTrail(settings.audit_log, key, stdout=2 if stderr else 1)
    desk = Desk(
        settings=settings,
        policy=Policy(settings, credentials),
        credentials=credentials,
        execution=Execution(settings.max_concurrent_calls, settings.max_concurrent_calls_per_identity),
        audit=audit,
        refusals=RefusalLog(audit, REFUSAL_LINES_PER_MINUTE),
        confirmations=Confirmations(key),
        calls=RateLimit(settings.rate_limit_per_minute, "calls"),
        reveals=RateLimit(settings.reveal_limit_per_minute, "reveals"),
        in_flight=InFlight(),
        caller=lambda: callers.current_caller(verifier, anonymous),
    )
    gate = Gate(desk)
    fastmcp.settings.telemetry_mode = "off"  # its spans would carry what clients send
    mcp: FastMCP[Any] = FastMCP(
        "aws-ops",
        version=VERSION,
        instructions=INSTRUCTIONS,
        auth=verifier,
        middleware=[gate],
        mask_error_details=True,
        on_duplicate="error",
        # A question's state returns to whichever replica gets the answer, so the key is the shared one.
        request_state_security=RequestStateSecurity(keys=[sha256(f"request state {key}".encode()).digest()])
        if key
        else None,
    )
    gate.tools = {tool.name: mcp.add_tool(tool) for tool in services.tools(desk)}  # type: ignore[misc]
    # Without this every modern tools/call lists all tools first, to look for header-bound parameters; we have none.
    mcp._mcp_server.get_tool_input_schema = lambda _name: None
    return App(mcp, desk)


def __getattr__(name: str) -> Any:
    """Build the app when `server.mcp` is asked for, so that importing this module reads and touches nothing."""
    if name != "mcp":
        raise AttributeError(name)
    globals()["mcp"] = built = build(config.load()).mcp
    return built


def web_app(settings: Settings, authentication: Authentication | None) -> tuple[App, Starlette]:
    """Return the app and its whole HTTP surface.

    Raises:
        ConfigurationError: it would stand open, or a part of the configuration cannot be used.
    """
    verifier = authentication.verifier if authentication is not None else None
    if verifier is None and not settings.allow_anonymous:
        raise ConfigurationError(
            "MCP_AUTH_TOKEN: set it to a random token of 16 characters or more, or set MCP_CALLERS_FILE"
        )
    if verifier is None and settings.host not in LOOPBACK:
        raise ConfigurationError("MCP_ALLOW_ANONYMOUS: only with MCP_HOST on loopback")
    app = build(settings, verifier=verifier)
    web = build_app(
        app.mcp,
        allowed_hosts=[*settings.allowed_hosts, settings.host],
        allowed_origins=list(settings.allowed_origins),
        sse_max_streams=settings.sse_max_streams,
        ready=Readiness(app.desk.in_flight, app.desk.credentials.base_credentials_resolve, app.desk.audit.check),
    )
    return app, web


def serve_http(settings: Settings, greeting: Callable[[str], str] | None = None) -> int:
    """Serve SSE, Streamable HTTP and the probes until a signal; `greeting` is printed once it listens."""
    logs.configure(settings.log_level, settings.log_format, "stdout")
    authentication = authentication_of(settings)
    app, web = web_app(settings, authentication)
    app.desk.audit.open()
    listener = listen(settings.host, settings.port)
    _warn(settings)
    url = address_of(listener)

    def started() -> None:
        log.info("listening", extra={"url": url})
        if greeting is not None:
            print(greeting(url), flush=True)

    serve(web, listener, app.desk.in_flight, started, authentication.reload if authentication else None)
    return 0


def serve_stdio(settings: Settings) -> int:
    """Serve one local client over stdin and stdout; everything else that is printed goes to stderr."""
    logs.configure(settings.log_level, settings.log_format, "stderr")
    app = build(settings, stderr=True)
    app.desk.audit.open()
    _warn(settings)
    app.mcp.run(transport="stdio", show_banner=False)
    return 0


def serve_demo() -> int:
    """Serve an embedded AWS with three accounts; print how to reach it."""
    from runtime import demo

    aws = demo.start()
    try:
        settings, token = config.load_demo(demo.environment(aws))
        seeding = CredentialStore(settings)
        policy = Policy(settings, seeding)
        seeder = callers.Caller("demo-seed")

        def client(account: str, service: str) -> Any:
            return seeding.client(policy.decide(seeder, Target(account=account)), service, seeder)

        demo.seed(client)
        return serve_http(settings, greeting=lambda url: demo.greeting(url, token))
    finally:
        aws.stop()


def check() -> int:
    """Print what the doctor finds, a line each; return 0 where all is well, else 1. Starts nothing."""
    logs.configure("ERROR", "text", "stderr")
    try:
        settings = config.load()
        authentication = authentication_of(settings)
        build(settings)
    except ConfigurationError as error:
        print(doctor.Finding(False, "configuration", error.message))
        return 1
    well = True
    for finding in doctor.examine(settings):
        print(finding, flush=True)
        well = well and finding.ok
    if authentication is None:
        print("note  MCP_AUTH_TOKEN: not set, so only --stdio can start")
    return 0 if well else 1


def _warn(settings: Settings) -> None:
    if not settings.accounts and settings.allowed_role_arns is None:
        log.warning("no account is configured: any role that a caller names may be assumed; set ALLOWED_ROLE_ARNS")
    if settings.audit_hmac_key is None:
        log.warning("AUDIT_HMAC_KEY is not set: a random key fingerprints arguments until the next start")


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="server.py", description="MCP server for AWS operations across accounts.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stdio", action="store_true", help="serve one local client over stdin and stdout")
    how.add_argument("--demo", action="store_true", help="serve an embedded AWS with three accounts")
    how.add_argument("--check", action="store_true", help="check the configuration and each account; start nothing")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.stdio:
            return serve_stdio(config.load())
        if chosen.check:
            return check()
        return serve_demo() if chosen.demo else serve_http(config.load())
    except ConfigurationError as error:
        print(f"aws-ops cannot start: {error.message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    if threading.active_count() > 1:  # a thread that hangs in AWS must not keep a drained process from leaving
        logging.shutdown()
        os._exit(status)
    sys.exit(status)
