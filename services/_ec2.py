"""What the files of EC2 share: argument types, pages of rows, names and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import Field, StringConstraints

from errors import translate
from services.base import AWSModel, Page

P = TypeVar("P", bound="Rows")
FilterName = Annotated[str, StringConstraints(min_length=1, max_length=132)]  # tag: and a tag's key
FilterValues = Annotated[list[str], Field(min_length=1, max_length=200)]
Filters = Annotated[dict[FilterName, FilterValues], Field(max_length=50)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
MaxResults = Annotated[int, Field(ge=5, le=1000)]


def page_of(
    client: Any, operation: str, filters: Filters | None, size: int, token: str | None, **more: Any
) -> Mapping[str, Any]:
    """Ask for one page of a list."""
    given = [{"Name": name, "Values": values} for name, values in (filters or {}).items()]
    request = {"Filters": given, "MaxResults": size, **more}
    if token:
        request["NextToken"] = token
    page: Mapping[str, Any] = getattr(client, operation)(**request)
    return page


def dry(run: Callable[[], Any], dry_run: bool) -> bool:
    """Run, and tell whether it was only tried: AWS answers a dry run that would succeed with an error."""
    try:
        run()
    except Exception as error:
        if dry_run and translate(error).error_code == "DryRunOperation":
            return True
        raise
    return dry_run


def name_of(row: Mapping[str, Any]) -> str | None:
    """Return the value of the Name tag."""
    return next((tag["Value"] for tag in row.get("Tags", []) if tag["Key"] == "Name"), None)


class Rows(Page):
    """A page of rows; its subclasses say of what."""

    count: int

    @classmethod
    def of(cls: type[P], rows: Sequence[AWSModel], page: Mapping[str, Any]) -> P:
        """Return a page from its rows and AWS's answer."""
        following = page.get("NextToken") or None
        field = next(name for name in cls.model_fields if name not in Page.model_fields and name != "count")
        content: dict[str, Any] = {field: list(rows), "count": len(rows)}
        return cls(**content, truncated=following is not None, next_token=following)
