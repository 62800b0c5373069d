"""The regions that botocore knows, and the partition of each: read from its smallest file, without importing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def partitions() -> Mapping[str, str]:
    """Return each region's partition: us-east-1 is of aws, cn-north-1 of aws-cn."""
    place = Path(str(getattr(find_spec("botocore"), "origin", "")))
    content = json.loads((place.parent / "data" / "partitions.json").read_text("utf-8"))
    return {
        region: partition["id"]
        for partition in content["partitions"]
        for region in partition["regions"]
        if not region.endswith("-global")
    }
