"""The floor: boto3 alone, in threads, on one assumed role. Prints one JSON line; run it as a process of its own."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import boto3
from botocore.config import Config

ROUNDS_TO_WARM_UP = 2


def main(concurrency: int, calls: int) -> dict[str, float]:
    """Make so many calls on so many threads; return calls a second and the median call, in seconds."""
    client = _client(concurrency)
    latencies: list[float] = []
    lock = threading.Lock()

    def call(_: int) -> None:
        began = time.perf_counter()
        client.describe_secret(SecretId="app/db")
        with lock:
            latencies.append(time.perf_counter() - began)

    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(call, range(concurrency * ROUNDS_TO_WARM_UP)))
        latencies.clear()
        began = time.perf_counter()
        list(threads.map(call, range(calls)))
        return {"rate": calls / (time.perf_counter() - began), "median": median(latencies)}


def assume_roles(count: int) -> dict[str, float]:
    """Assume so many roles one after the other; return the median, in seconds: what STS costs by itself."""
    sts = boto3.client("sts")
    seconds = []
    for number in range(count + 3):
        began = time.perf_counter()
        sts.assume_role(RoleArn=f"arn:aws:iam::{number:012}:role/bench", RoleSessionName="raw")
        seconds.append(time.perf_counter() - began)
    return {"median": median(seconds[3:])}


def _client(concurrency: int) -> Any:
    keys = boto3.client("sts").assume_role(RoleArn=os.environ["BENCH_ROLE_ARN"], RoleSessionName="raw")["Credentials"]
    return boto3.client(
        "secretsmanager",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
        config=Config(max_pool_connections=concurrency),
    )


if __name__ == "__main__":
    one, *more = map(int, sys.argv[1:])
    print(json.dumps(main(one, *more) if more else assume_roles(one)))
