"""Finds the services: a module here with an AWSServiceBase in it is all it takes to add its tools."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache

from services._conversation import add_to
from services.base import AWSServiceBase
from toolcall.desk import Desk
from toolcall.tool import ServiceTool

__all__ = ["add_to", "service_classes", "tools", "toolsets"]


@cache
def service_classes() -> tuple[type[AWSServiceBase], ...]:
    """Return every service class, in the order of its module's name."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return tuple(
        member
        for module in modules
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, AWSServiceBase) and member.__module__ == module.__name__
        and member is not AWSServiceBase
    )  # fmt: skip


def toolsets() -> frozenset[str]:
    """Return the names that TOOLSETS may hold, besides `all`."""
    return frozenset(service.toolset for service in service_classes())


def tools(desk: Desk) -> Iterator[ServiceTool]:
    """Yield the tools that the settings switch on."""
    chosen = desk.settings.toolsets
    for service in service_classes():
        if "all" in chosen or service.toolset in chosen:
            yield from service(desk).tools()
