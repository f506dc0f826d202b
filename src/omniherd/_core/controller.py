"""What a controller is made of, and the decorator that makes one: sync or async, as the function is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from omniherd._core.cache import keys_of
from omniherd._core.retry import RetryPolicy
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from omniherd._async.controller import AsyncController, AsyncRun
    from omniherd._core.requests import Labels
    from omniherd._core.watch import Event
    from omniherd._sync.controller import Controller, Run
    from omniherd.resource import Resource

    # Which keys a resource concerns.
    Key = Callable[[Any], str | Iterable[str] | None]

__all__ = ["CONTROLLER_RETRY", "Key", "Source", "check_concurrency", "controller"]

R = TypeVar("R", bound="Resource[Any]")

# A reconciliation that fails may need somebody to mend something: it is tried soon, then ever less often.
CONTROLLER_RETRY = RetryPolicy(initial=0.2, maximum=300.0)


@dataclass(frozen=True, slots=True)
class Source:
    """A type that a controller watches, and which keys its resources concern (None: their own ids)."""

    kind: type[Resource[Any]]
    key: Key | None
    namespace: str | None
    labels: Labels
    id_regexp: str | None

    def keys(self, event: Event[Any]) -> tuple[str, ...]:
        """Return the keys that an event concerns: those of the resource as it is, and as it was."""
        if self.key is None:
            return (event.resource.id,)
        found = keys_of(self.key(event.resource))
        return found if event.old is None else tuple(dict.fromkeys((*found, *keys_of(self.key(event.old)))))


def check_concurrency(concurrency: int) -> int:
    """Return it if it makes sense.

    Raises:
        InputError: It is no positive number.
    """
    if concurrency < 1:
        raise InputError(f"a controller works on at least one key at a time, not {concurrency}")
    return concurrency


class _Decorator:
    def __init__(self, kind: type[Resource[Any]] | str, options: dict[str, Any]) -> None:
        self._kind = kind
        self._options = options

    @overload
    def __call__(self, function: Callable[[AsyncRun, str], Awaitable[float | None]]) -> AsyncController: ...
    @overload
    def __call__(self, function: Callable[[Run, str], float | None]) -> Controller: ...
    def __call__(self, function: Callable[..., Any]) -> AsyncController | Controller:
        import inspect

        if inspect.iscoroutinefunction(function):
            from omniherd._async.controller import AsyncController

            return AsyncController(function, self._kind, **self._options)
        from omniherd._sync.controller import Controller

        return Controller(function, self._kind, **self._options)


def controller(
    kind: type[Resource[Any]] | str,
    *,
    namespace: str | None = None,
    labels: Labels = None,
    id_regexp: str | None = None,
    concurrency: int = 1,
    retry: RetryPolicy = CONTROLLER_RETRY,
    grace: float = 30.0,
    on_error: Callable[[Exception, str], object] | None = None,
) -> _Decorator:
    """Make a controller out of a function that is called with an id whenever something about it changed.

    The function gets a `Run` and an id. It looks at what there is (`run.get`, which asks no server), and does what is
    needed to bring the world in line; it is not told what changed, and may be called more often than something did.
    The resource may be gone. What it returns is None, or in how many seconds to call it again for that id. What it
    raises is reported, and it is called again after a delay that grows with each failure.

    Args:
        kind: The type whose ids it is called with: a class of `omniherd.resources`, a full type name, or an alias.
        namespace: Their namespace, by default the one of the type.
        labels: A selector; what stops matching is gone.
        id_regexp: A regular expression on ids.
        concurrency: For how many ids it may run at once; never twice for the same.
        retry: The delays after failures.
        grace: Seconds that calls are given to end when the controller stops.
        on_error: Called with what was raised and the id; by default it goes to the log.

    Returns:
        A decorator, which makes a `Controller` of a function and an `AsyncController` of an `async` one.

    Raises:
        InputError: The concurrency is no positive number.
        UnknownType: There is no type of that name.

    Example:
        >>> from omniherd import controller
        >>> from omniherd.resources import Cluster, MachineSet
        >>> @controller(Cluster, labels="env = prod", concurrency=4)
        ... def keep(run, id):
        ...     cluster = run.get(Cluster, id)
        ...     if cluster is not None:
        ...         print(cluster.id, cluster.spec.kubernetes_version)
        >>> keep = keep.watch(MachineSet, lambda one: one.labels.get("omni.sidero.dev/cluster"))
        >>> keep.run(omni)
    """
    from omniherd.resource import resource_class

    options: dict[str, Any] = {
        "namespace": namespace,
        "labels": labels,
        "id_regexp": id_regexp,
        "concurrency": check_concurrency(concurrency),
        "retry": retry,
        "grace": grace,
        "on_error": on_error,
    }
    return _Decorator(resource_class(kind), options)
