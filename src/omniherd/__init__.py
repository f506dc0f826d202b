"""omniherd: unofficial Python SDK, command line and emulator for Sidero Omni.

Example:
    >>> from omniherd import Omni
    >>> from omniherd.resources import Cluster
    >>> with Omni.connect() as omni:
    ...     for cluster in omni.list(Cluster, labels="env=prod"):
    ...         print(cluster.id, cluster.spec.kubernetes_version)
"""

from __future__ import annotations

from omniherd._version import __version__

# What type checkers take for true; importing `typing` would double the time that `import omniherd` takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from omniherd._async.cache import AsyncCache as AsyncCache
    from omniherd._async.client import AsyncEdit as AsyncEdit
    from omniherd._async.client import AsyncOmni as AsyncOmni
    from omniherd._async.client import AsyncStream as AsyncStream
    from omniherd._async.controller import AsyncController as AsyncController
    from omniherd._async.controller import AsyncRun as AsyncRun
    from omniherd._async.login import AsyncLogin as AsyncLogin
    from omniherd._async.talos_client import AsyncTalosClient as AsyncTalosClient
    from omniherd._async.watch import AsyncWatch as AsyncWatch
    from omniherd._core.controller import controller as controller
    from omniherd._core.deleting import DeleteResult as DeleteResult
    from omniherd._core.retry import RetryPolicy as RetryPolicy
    from omniherd._core.watch import Event as Event
    from omniherd._core.watch import EventKind as EventKind
    from omniherd._sync.cache import Cache as Cache
    from omniherd._sync.client import Edit as Edit
    from omniherd._sync.client import Omni as Omni
    from omniherd._sync.client import Stream as Stream
    from omniherd._sync.controller import Controller as Controller
    from omniherd._sync.controller import Run as Run
    from omniherd._sync.login import Login as Login
    from omniherd._sync.talos_client import TalosClient as TalosClient
    from omniherd._sync.watch import Watch as Watch
    from omniherd.errors import OmniError as OmniError
    from omniherd.resource import Metadata as Metadata
    from omniherd.resource import Phase as Phase
    from omniherd.resource import Resource as Resource
    from omniherd.resource import resource_class as resource_class
    from omniherd.selectors import Selector as Selector
    from omniherd.selectors import label as label

# Public name -> the module that has it. Nothing is imported before it is asked for: `import omniherd` costs next to
# nothing, and the command line's --help never loads gRPC.
_HOMES = {
    "AsyncCache": "omniherd._async.cache",
    "AsyncController": "omniherd._async.controller",
    "AsyncEdit": "omniherd._async.client",
    "AsyncLogin": "omniherd._async.login",
    "AsyncOmni": "omniherd._async.client",
    "AsyncRun": "omniherd._async.controller",
    "AsyncStream": "omniherd._async.client",
    "AsyncTalosClient": "omniherd._async.talos_client",
    "AsyncWatch": "omniherd._async.watch",
    "Cache": "omniherd._sync.cache",
    "Controller": "omniherd._sync.controller",
    "DeleteResult": "omniherd._core.deleting",
    "Edit": "omniherd._sync.client",
    "Event": "omniherd._core.watch",
    "EventKind": "omniherd._core.watch",
    "Login": "omniherd._sync.login",
    "Metadata": "omniherd.resource",
    "Omni": "omniherd._sync.client",
    "OmniError": "omniherd.errors",
    "Phase": "omniherd.resource",
    "Resource": "omniherd.resource",
    "RetryPolicy": "omniherd._core.retry",
    "Run": "omniherd._sync.controller",
    "Selector": "omniherd.selectors",
    "Stream": "omniherd._sync.client",
    "TalosClient": "omniherd._sync.talos_client",
    "Watch": "omniherd._sync.watch",
    "controller": "omniherd._core.controller",
    "label": "omniherd.selectors",
    "resource_class": "omniherd.resource",
}

__all__ = [
    "AsyncCache",
    "AsyncController",
    "AsyncEdit",
    "AsyncLogin",
    "AsyncOmni",
    "AsyncRun",
    "AsyncStream",
    "AsyncTalosClient",
    "AsyncWatch",
    "Cache",
    "Controller",
    "DeleteResult",
    "Edit",
    "Event",
    "EventKind",
    "Login",
    "Metadata",
    "Omni",
    "OmniError",
    "Phase",
    "Resource",
    "RetryPolicy",
    "Run",
    "Selector",
    "Stream",
    "TalosClient",
    "Watch",
    "__version__",
    "controller",
    "label",
    "resource_class",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
