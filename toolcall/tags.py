"""Tags: as one object on the wire, as a list of Key and Value at AWS, and one rule for those that a tool writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

MOST_TAGS = 50


def _tags_to_dict(value: Any) -> Any:
    return {tag["Key"]: tag.get("Value", "") for tag in value} if isinstance(value, list) else value


def _is_not_awss(key: str) -> str:
    if key.lower().startswith("aws:"):
        raise ValueError("tag keys that start with aws: are AWS's own")
    return key


def _may_be_written(tags: dict[str, str]) -> dict[str, str]:
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:
            raise ValueError("a tag's key has 1 to 128 characters, its value at most 256")
        _is_not_awss(key)
    return tags


Tags = Annotated[dict[str, str], BeforeValidator(_tags_to_dict)]
"""AWS's list of Key and Value as one object."""

NewTags = Annotated[dict[str, str], Field(min_length=1, max_length=MOST_TAGS), AfterValidator(_may_be_written)]
"""Tags to be written: at least one."""

FirstTags = Annotated[dict[str, str], Field(max_length=MOST_TAGS), AfterValidator(_may_be_written)]
"""Tags of something new: perhaps none."""

TagKey = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_is_not_awss)]
TagKeys = Annotated[list[TagKey], Field(min_length=1, max_length=MOST_TAGS)]


def to_aws_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as AWS's list of Key and Value."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
