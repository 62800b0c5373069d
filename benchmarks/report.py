"""The figures as a table of ratios, a page and a plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Protocol

CONCURRENCIES = (1, 4, 16, 64)
PAGE = """# What a call costs

`make bench` wrote this page: the server beside a minimal FastMCP + boto3 server (`benchmarks/minimal_server.py`: one
tool, one account, no authentication, policy, audit or limits) and a loop of raw boto3 in threads, against a stand-in
for AWS that takes {latency} ms to answer. All run in turns within a round; a figure is the median of {rounds} rounds,
a ratio the median of the rounds' ratios (in brackets the smallest and largest). Ratios travel between machines;
absolute figures do not.

{table}

![Calls a second by concurrency](benchmarks.png)

| calls a second at concurrency | {concurrencies} |
|---|{rule}
{rates}

Measured {date} on {machine}: Python {python}, {packages}.
Server, stand-in and load generator share the machine. The server does all it does in production (bearer token, policy,
audit to a file), with `MAX_CONCURRENT_CALLS_PER_IDENTITY` raised to 64, since all calls are one identity's.
"""
NAMES = {"ours": "aws-ops, /mcp", "ours, SSE": "aws-ops, SSE", "minimal": "minimal server", "boto3": "raw boto3"}


class Figures(Protocol):
    """What was measured; see run.Measured."""

    def median(self, name: str) -> float: ...
    def ratio(self, name: str, to: str) -> list[float]: ...


def write(figures: Figures, rounds: int, folder: Path | None) -> None:
    """Print the table; write page and plot where a folder is given."""
    table = "\n".join(["| | ratio | figures |", "|---|---|---|", *rows(figures)])
    print(table)
    if folder is None:
        return
    folder.mkdir(exist_ok=True)
    (folder / "benchmarks.md").write_text(page(figures, table, rounds))
    plot(figures, folder / "benchmarks.png")
    print(f"written: {folder}/benchmarks.md, {folder}/benchmarks.png")


def rows(figures: Figures) -> Iterator[str]:
    yield from call_rows(figures)
    yield row(
        "start to /healthz, to the bare imports", figures.ratio("start", "imports"),
        f"{figures.median('start'):.2f} to {figures.median('imports'):.2f} s",
    )  # fmt: skip
    yield row(
        "first call of a new account, to a warm call plus STS", cold_ratios(figures),
        f"{1000 * figures.median('cold'):.1f} ms, of which STS {1000 * figures.median('STS alone'):.1f}, "
        f"the call {1000 * figures.median('warm'):.1f}, ours {1000 * figures.median('cold: ours'):.1f}",
    )  # fmt: skip
    base = figures.median("memory with 0")
    for count in (100, 1000):
        yield row(
            f"memory with {count:,} accounts in use, to one", figures.ratio(f"memory with {count}", "memory with 0"),
            f"{base:.0f} MB + {figures.median(f'memory with {count}') - base:.0f} MB",
        )  # fmt: skip


def call_rows(figures: Figures) -> Iterator[str]:
    """What a call costs: throughput, processor's time, added latency; each to the minimal server's."""
    for concurrency in CONCURRENCIES:
        for name in ("ours", "ours, SSE"):
            ours, minimal = f"{name}: rate at {concurrency}", f"minimal: rate at {concurrency}"
            yield row(
                f"throughput at {concurrency}, {NAMES[name]} to minimal", figures.ratio(ours, minimal),
                f"{figures.median(ours):.0f} to {figures.median(minimal):.0f} calls/s",
            )  # fmt: skip
    for name in ("ours", "ours, SSE"):
        ours, minimal = f"{name}: processor at 64", "minimal: processor at 64"
        yield row(
            f"processor time of a call at 64, {NAMES[name]} to minimal", figures.ratio(ours, minimal),
            f"{1000 * figures.median(ours):.2f} to {1000 * figures.median(minimal):.2f} ms",
        )  # fmt: skip
    for name in ("ours", "ours, SSE"):
        ours, minimal = f"{name}: added at 1", "minimal: added at 1"
        yield row(
            f"added latency at 1, {NAMES[name]} to minimal", figures.ratio(ours, minimal),
            f"{1000 * figures.median(ours):.1f} to {1000 * figures.median(minimal):.1f} ms "
            f"(raw boto3 {1000 * figures.median('boto3: added at 1'):.1f} ms)",
        )  # fmt: skip


def row(name: str, ratios: list[float], detail: str) -> str:
    return f"| {name} | **{median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) | {detail} |"


def cold_ratios(figures: Figures) -> list[float]:
    return [1 / (1 - share) for share in figures.ratio("cold: ours", "cold")]


def page(figures: Figures, table: str, rounds: int) -> str:
    return PAGE.format(
        latency=20,
        rounds=rounds,
        table=table,
        concurrencies=" | ".join(map(str, CONCURRENCIES)),
        rule="---|" * len(CONCURRENCIES),
        rates="\n".join(rates(figures, name, label) for name, label in NAMES.items()),
        date=datetime.now(UTC).date().isoformat(),
        machine=machine(),
        python=platform.python_version(),
        packages=", ".join(f"{name} {version(name)}" for name in ("fastmcp", "boto3", "uvicorn")),
    )


def rates(figures: Figures, name: str, label: str) -> str:
    """One row of absolute rates."""
    return " | ".join([f"| {label}", *(f"{figures.median(f'{name}: rate at {n}'):.0f}" for n in CONCURRENCIES)]) + " |"


def machine() -> str:
    """The processor, and how many cores of it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}"


def plot(figures: Figures, path: Path) -> None:
    """Draw calls a second by concurrency."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    styles = {"ours": "o-", "ours, SSE": "s--", "minimal": "^-", "boto3": "x:"}
    chart, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for name, label in NAMES.items():
        rates = [figures.median(f"{name}: rate at {n}") for n in CONCURRENCIES]
        axes.plot(CONCURRENCIES, rates, styles[name], label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(CONCURRENCIES, map(str, CONCURRENCIES))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("calls at a time")
    axes.set_ylabel("calls a second")
    axes.set_title("describe_secret, AWS answering in 20 ms; one process each")
    axes.grid(alpha=0.3)
    axes.legend()
    chart.savefig(path, dpi=120)
