"""Modules that gRPC imports for its asyncio twin, which commands do not use: a fifth of a short command's time.

gRPC imports `asyncio` and `grpc.aio` whoever asks for it, and uses neither for calls that block. In a process of the
command line's own, stand-ins take their places; whoever does use one of them gets the real module, loaded then.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

__all__ = ["put_off"]

_UNUSED = ("asyncio", "grpc.aio")


class _Later(ModuleType):
    """A module that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        import importlib

        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def put_off() -> None:
    """Let the modules wait until they are used, those that are not loaded already."""
    for name in _UNUSED:
        sys.modules.setdefault(name, _Later(name))
