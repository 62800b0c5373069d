"""The front door: settings -> app -> run (HTTP, --stdio, --demo, --check, --audit-verify)."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import config
from config import Settings
from errors import ConfigurationError
from outlet import occupy_closed

# Further imports stand in the functions: a broken configuration is told before fastmcp takes its second to import.
log = logging.getLogger("aws_ops.server")


def __getattr__(name: str) -> Any:
    """Build the app when `server.mcp` is asked for, so that importing this module reads and touches nothing."""
    if name != "mcp":
        raise AttributeError(name)
    config.shield_fastmcp()
    from assembly import launched

    globals()["mcp"] = built = launched(config.load()).mcp
    return built


def serve_http(settings: Settings, greeting: Callable[[str], str] | None = None) -> int:
    """Serve SSE, Streamable HTTP and the probes until a signal; `greeting` is printed once it listens."""
    settings.require_callers()
    from access.authentication import authentication_of
    from assembly import web_app
    from runtime import logs
    from runtime.serve import address_of, listen, serve

    logs.configure(settings.log_level, settings.log_format, "stdout")
    logs.release_streams("stdout")
    authentication = authentication_of(settings)
    app, web = web_app(settings, authentication)
    listener = listen(settings.host, settings.port)
    if app.metrics is not None and settings.metrics_port is not None:
        app.metrics.serve(settings.metrics_host, settings.metrics_port)
    app.desk.audit.open()
    _warn(settings)
    url = address_of(listener)

    def started() -> None:
        log.info("listening", extra={"url": url})
        if greeting is not None:
            print(greeting(url), flush=True)

    serve(web, listener, app.desk.in_flight, started, authentication.reload if authentication else None)
    app.flush()
    return 0


def serve_stdio(settings: Settings) -> int:
    """Serve one local client over stdin and stdout; everything else that is printed goes to stderr."""
    from assembly import build
    from runtime import logs, stdio

    logs.configure(settings.log_level, settings.log_format, "stderr")
    logs.release_streams("stderr")
    app = build(settings, stderr=True)
    app.desk.audit.open()
    _warn(settings)
    stdio.serve(app.mcp, app.desk.in_flight)
    app.flush()
    sys.stdout = sys.stderr  # each answer was flushed by itself; a client that reads no more does not hold up the end
    return 0


def serve_demo() -> int:
    """Serve an embedded AWS with three accounts; print how to reach it."""
    from access.callers import Caller
    from access.credentials import CredentialStore
    from access.identity import Target
    from access.policy import Policy
    from runtime import demo

    aws = demo.start()
    try:
        settings, token = config.load_demo(demo.environment(aws))
        seeding = CredentialStore(settings)
        policy = Policy(settings, seeding)
        seeder = Caller("demo-seed")

        def client(account: str | None, service: str) -> Any:
            return seeding.client(policy.decide(seeder, Target(account=account)), service, seeder)

        demo.seed(client, settings.toolsets)
        return serve_http(settings, greeting=lambda url: demo.greeting(url, token))
    finally:
        aws.stop()


def check() -> int:
    """Print what the doctor finds, a line each; return 0 where all is well, else 1. Starts nothing."""
    from access import doctor
    from access.authentication import authentication_of
    from access.cautions import cautions
    from assembly import build
    from runtime import logs

    logs.configure("ERROR", "text", "stderr")
    try:
        settings = config.load()
        authentication = authentication_of(settings)
        build(settings).desk.audit.rehearse()
    except ConfigurationError as error:
        print(doctor.Finding(False, "configuration", error.message))
        return 1
    well = True
    for finding in doctor.examine(settings):
        print(finding, flush=True)
        well = well and finding.ok
    for caution in cautions(settings):
        print(f"note  {caution}")
    if authentication is None and not settings.allow_anonymous:
        print("note  MCP_AUTH_TOKEN: not set, so only --stdio can start")
    return 0 if well else 1


def audit_verify(path: str) -> int:
    """Print the audit lines that a value touched; return 0 where there is one. The value is read from stdin."""
    from access.verify import lines_that_touched

    settings = config.load()
    if settings.audit_hmac_key is None:
        raise ConfigurationError("AUDIT_HMAC_KEY: set it to the key that the trail was written with")
    value = sys.stdin.buffer.read().decode(errors="replace")
    count = 0
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for record, names in lines_that_touched(value, settings.audit_hmac_key.get_secret_value(), lines):
                shown = [str(record.get(name)) for name in ("ts", "request_id", "caller", "tool", "account", "outcome")]
                print(*shown, ",".join(names))
                count += 1
    except OSError as error:
        raise ConfigurationError(f"--audit-verify: the file cannot be read ({error.strerror})") from None
    return 0 if count else 1


def _warn(settings: Settings) -> None:
    from access.cautions import cautions

    if not settings.accounts and settings.allowed_role_arns is None:
        log.warning("no account is configured: any role that a caller names may be assumed; set ALLOWED_ROLE_ARNS")
    if settings.audit_hmac_key is None:
        log.warning("AUDIT_HMAC_KEY is not set: a random key fingerprints arguments until the next start")
    for caution in cautions(settings):
        log.warning(caution)


def main(arguments: list[str] | None = None) -> int:
    """Run as the command line says; return the exit status."""
    occupy_closed()
    parser = argparse.ArgumentParser(prog="server.py", description="MCP server for AWS operations across accounts.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--stdio", action="store_true", help="serve one local client over stdin and stdout")
    how.add_argument("--demo", action="store_true", help="serve an embedded AWS with three accounts")
    how.add_argument("--check", action="store_true", help="check the configuration and each account; start nothing")
    how.add_argument(
        "--audit-verify", metavar="FILE", help="show the lines of an audit file that touched the value on stdin"
    )
    chosen = parser.parse_args(arguments)
    config.shield_fastmcp()
    try:
        if chosen.stdio:
            return serve_stdio(config.load())
        if chosen.audit_verify:
            return audit_verify(chosen.audit_verify)
        if chosen.check:
            return check()
        return serve_demo() if chosen.demo else serve_http(config.load())
    except ConfigurationError as error:
        print(f"aws-ops cannot start: {error.message}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    status = main()
    if sys.stdout is not None:
        sys.stdout.flush()
    if threading.active_count() > 1:  # a thread that hangs in AWS must not keep a drained process from leaving
        logging.shutdown()
        os._exit(status)
    sys.exit(status)
