"""Counters for Prometheus, on a port of their own. Labels are tools, classes and outcomes; never a name from a call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_asgi_app

from runtime.connections import Crowd
from runtime.serve import listen, protocol_options
from runtime.shutdown import InFlight


class Metrics:
    """Counts audit records."""

    def __init__(self, in_flight: InFlight) -> None:
        self._registry = CollectorRegistry()
        labels = ("tool", "class", "outcome")
        self._calls = Counter("aws_ops_calls", "Tool calls.", labels, registry=self._registry)
        self._seconds = Histogram("aws_ops_call_seconds", "Time per call.", ("tool",), registry=self._registry)
        self._attempts = Counter("aws_ops_aws_requests", "Attempts at AWS.", ("tool",), registry=self._registry)
        Gauge("aws_ops_calls_in_flight", "Calls at hand.", registry=self._registry).set_function(
            lambda: in_flight.calls
        )

    def observe(self, record: Mapping[str, Any]) -> None:
        """Count one call by its audit record."""
        self._calls.labels(record["tool"], record["class"], record["error_code"] or record["outcome"]).inc()
        self._seconds.labels(record["tool"]).observe(record["duration_ms"] / 1000)
        self._attempts.labels(record["tool"]).inc(record["attempts"])

    def serve(self, host: str, port: int) -> None:
        """Answer GET /metrics, however many ask, in one thread: to write them all down takes milliseconds.

        Raises:
            ConfigurationError: the port cannot be had.
        """
        listener = listen(host, port, "METRICS_HOST, METRICS_PORT")
        app = make_asgi_app(self._registry)
        config = uvicorn.Config(app, **protocol_options(Crowd()), lifespan="off")
        server = uvicorn.Server(config)
        threading.Thread(target=server.run, args=([listener],), name="metrics", daemon=True).start()
