"""What every service is built on: AWSServiceBase, and the names a service's author needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from access.confirmation import Plan
from access.identity import Target
from access.quoting import listed, quoted
from toolcall import standing
from toolcall.call import Call
from toolcall.desk import Desk
from toolcall.results import AWSModel, Page, Said, Timestamp
from toolcall.spec import DESTROY, READ, REVEAL, WRITE, Standing, ToolSpec, spec_of, tool
from toolcall.tags import FirstTags, NewTags, TagKeys, Tags, to_aws_tags
from toolcall.tool import ServiceTool

__all__ = [
    "DESTROY", "READ", "REVEAL", "WRITE",
    "AWSModel", "AWSServiceBase", "FirstTags", "NewTags", "Page", "Plan", "Said", "Standing", "TagKeys", "Tags",
    "Target", "Timestamp", "listed", "quoted", "to_aws_tags", "tool",
]  # fmt: skip


class AWSServiceBase:
    """A manager of one AWS service: plain, synchronous methods, marked `@tool`, that run in threads.

    Credentials are resolved per call (profile > role_arn > default) and clients built on first use.

    Attributes:
        client_name: boto3's name of the service.
        toolset: The group of tools that TOOLSETS switches on.
    """

    client_name: ClassVar[str]
    toolset: ClassVar[str]

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def client(self, target: Target, service: str | None = None) -> Any:
        """Return a boto3 client that signs as the target's identity, in its region; of this service or another."""
        return Call.current().client(service or self.client_name, target)

    @property
    def standing(self) -> Standing:
        """Tells whose an AWS account is, for the call at hand; it may ask STS."""
        return standing.Standing(Call.current())

    def tools(self) -> Iterator[ServiceTool]:
        """Yield the tools that the settings admit, in the order in which they are written."""
        for name, spec in self.specs():
            if spec.scope.changes and self.desk.settings.read_only:
                continue
            if spec.scope is REVEAL and not self.desk.settings.reveal:
                continue
            yield ServiceTool.of(getattr(self, name), spec, self.desk, self._plan_of(name, spec))

    def _plan_of(self, name: str, spec: ToolSpec) -> Callable[..., Plan | None] | None:
        """Return what plans a tool's irreversible act: by convention plan_<tool>, of some of its arguments.

        Raises:
            TypeError: it asks for what the tool does not take.
        """
        if not spec.may_destroy:
            return None
        plan = getattr(self, f"plan_{name}")
        if unknown := set(inspect.signature(plan).parameters) - set(inspect.signature(getattr(self, name)).parameters):
            raise TypeError(f"plan_{name} takes {', '.join(sorted(unknown))}, which {name} does not")
        return plan  # type: ignore[no-any-return]

    @classmethod
    def specs(cls) -> Iterator[tuple[str, ToolSpec]]:
        """Yield the name and spec of each tool of this service, switched on or not."""
        for name, member in vars(cls).items():
            if (spec := spec_of(member)) is not None:
                yield name, spec
