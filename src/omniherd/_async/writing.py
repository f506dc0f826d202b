"""The verbs that write: create, update, edit and apply."""
# ruff: noqa: A002, ASYNC109 - `id` is the field's name for it; a timeout here is a gRPC deadline too

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.waiting import AsyncWaiting
from omniherd._backend import aio as backend
from omniherd._core.decoding import decode
from omniherd._core.merge import MergeConflict, merge_resources
from omniherd._core.requests import check_id, text_of
from omniherd.errors import (
    AlreadyExists,
    NotFound,
    VersionConflict,
)
from omniherd.resource import Phase, Resource, resource_class

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType


__all__ = ["AsyncEdit", "AsyncWriting"]

R = TypeVar("R", bound="Resource[Any]")

_STATE = "/cosi.resource.State/"
# How often an edit that met somebody else's write is tried again before the conflict is the caller's.
_EDIT_ATTEMPTS = 10


class AsyncEdit(Generic[R]):
    """A change of one resource as a context: read on entry, written on a normal exit. Made by `AsyncOmni.edit`.

    Attributes:
        result: The resource as it was stored, once the context was left.
    """

    def __init__(
        self, client: AsyncWriting, cls: type[R], id: str, *, namespace: str | None, owner: str, timeout: Timeout
    ) -> None:
        self._client = client
        self._cls = cls
        self._id = id
        self._namespace = namespace
        self._owner = owner
        self._timeout: Timeout = timeout
        self._before: R | None = None
        self._mine: R | None = None
        self.result: R | None = None

    async def __aenter__(self) -> R:
        self._mine = await self._client.get(self._cls, self._id, namespace=self._namespace, timeout=self._timeout)
        self._before = self._mine.copy()
        return self._mine

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.result = await self._write()

    async def _write(self) -> R:
        before, mine = cast("R", self._before), cast("R", self._mine)
        for attempt in range(_EDIT_ATTEMPTS):
            if _unchanged(before, mine):
                return mine
            try:
                return await self._client.update(mine, owner=self._owner, timeout=self._timeout)
            except VersionConflict as conflict:
                if attempt + 1 == _EDIT_ATTEMPTS:
                    raise
                theirs = await self._client.get(self._cls, self._id, namespace=self._namespace, timeout=self._timeout)
                try:
                    before, mine = theirs, merge_resources(before, mine, theirs)
                except MergeConflict as both:
                    conflict.details["paths"] = list(both.paths)
                    conflict.hint = f"somebody else changed the same: {both}; read the resource again and decide"
                    raise conflict from None
        raise AssertionError  # the loop returns or raises


class AsyncWriting(AsyncWaiting):
    """What writes resources; reads them too, to change what is there."""

    async def create(self, resource: R, *, owner: str = "", timeout: Timeout = DEFAULT) -> R:
        """Create a resource; return it as it was stored. The argument stays as it is.

        Args:
            resource: The resource. Its version does not matter.
            owner: The controller that shall own it.
            timeout: Seconds, instead of the client's.

        Raises:
            AlreadyExists: There is one of that id.
            InvalidArgument: The server's validators refuse it; `details["errors"]` lists why.
            PermissionDenied: The identity may not create it.
            APIError: Otherwise refused, or not got through. After `Unavailable` or `DeadlineExceeded` it may exist all
                the same: a write is never repeated unless it certainly was not sent.
        """
        from omniherd.wire import cosi_resource

        check_id(resource.id)
        message = resource.to_proto()
        if not message.metadata.version:
            message.metadata.version = "undefined"
        if owner:
            message.metadata.owner = owner
        request = cosi_resource.CreateRequest(resource=message, options=cosi_resource.CreateOptions(owner=owner))
        data = await self.channel.unary(
            _STATE + "Create", request.SerializeToString(), timeout=timeout, resource=text_of(resource)
        )
        return resource.from_proto(decode(cosi_resource.CreateResponse.FromString, data).resource)

    async def update(
        self, resource: R, *, owner: str = "", expected_phase: Phase | str | None = None, timeout: Timeout = DEFAULT
    ) -> R:
        """Replace a resource by a changed one of the same version; return it as it was stored.

        Everything is replaced: labels, annotations and finalizers that are left out are gone.

        Args:
            resource: The resource, as read and then changed.
            owner: The controller that owns it, as which the update is made.
            expected_phase: Refuse unless the stored resource is in this phase; any by default.
            timeout: Seconds, instead of the client's.

        Raises:
            VersionConflict: It was changed in between.
            PhaseConflict: It is not in the expected phase.
            OwnerConflict: Another controller owns it.
            NotFound: It does not exist.
            InvalidArgument: The server's validators refuse it; `details["errors"]` lists why.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.wire import cosi_resource

        check_id(resource.id)
        options = cosi_resource.UpdateOptions(owner=owner)
        if expected_phase is not None:
            options.expected_phase = str(expected_phase)
        request = cosi_resource.UpdateRequest(new_resource=resource.to_proto(), options=options)
        data = await self.channel.unary(
            _STATE + "Update", request.SerializeToString(), timeout=timeout, resource=text_of(resource)
        )
        return resource.from_proto(decode(cosi_resource.UpdateResponse.FromString, data).resource)

    @overload
    def edit(
        self,
        kind: type[R],
        id: str,
        change: None = None,
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: Timeout = DEFAULT,
    ) -> AsyncEdit[R]: ...
    @overload
    def edit(
        self,
        kind: str,
        id: str,
        change: None = None,
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: Timeout = DEFAULT,
    ) -> AsyncEdit[Resource[Any]]: ...
    @overload
    def edit(
        self,
        kind: type[R],
        id: str,
        change: Callable[[R], R | None],
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: Timeout = DEFAULT,
    ) -> Awaitable[R]: ...
    @overload
    def edit(
        self,
        kind: str,
        id: str,
        change: Callable[[Resource[Any]], Resource[Any] | None],
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: Timeout = DEFAULT,
    ) -> Awaitable[Resource[Any]]: ...
    def edit(
        self,
        kind: type[Any] | str,
        id: str,
        change: Callable[[Any], Any] | None = None,
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: Timeout = DEFAULT,
    ) -> Any:
        """Read a resource, change it, write it; somebody else's write in between does no harm.

        As a context manager it gives the resource to change; when it was written by somebody else meanwhile, the change
        is put on the newer version, unless both changed the same field. With `change`, a function, it is called again
        on each newer version. Nothing is written when nothing changed.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            change: A function that changes the resource in place, or returns the one to write; anything else that it
                returns does not count.
            namespace: Its namespace, by default the one of the type.
            owner: The controller that owns it, as which the update is made.
            timeout: Seconds for each call, instead of the client's.

        Returns:
            The context manager, or with `change` the resource as it was stored.

        Raises:
            NotFound: It does not exist.
            VersionConflict: Somebody else changed the same field (`details["paths"]`), or kept on writing.
            InvalidArgument: The server's validators refuse the change.
            APIError: Otherwise refused, or not got through.

        Example:
            >>> async def upgrade(omni: AsyncOmni) -> None:
            ...     async with omni.edit(Cluster, "lab") as cluster:
            ...         cluster.spec.kubernetes_version = "1.36.1"
        """
        cls: type[Resource[Any]] = resource_class(kind)
        if change is None:
            return AsyncEdit(self, cls, id, namespace=namespace, owner=owner, timeout=timeout)
        return self._edit(cls, id, change, namespace=namespace, owner=owner, timeout=timeout)

    async def _edit(
        self,
        cls: type[R],
        id: str,
        change: Callable[[Any], Any],
        *,
        namespace: str | None,
        owner: str,
        timeout: Timeout,
    ) -> R:
        attempt = 1
        while True:
            current = await self.get(cls, id, namespace=namespace, timeout=timeout)
            before = current.copy()
            answer = change(current)
            # Whatever else a short function happens to return (`labels.pop` gives what it took) is no resource.
            changed = answer if isinstance(answer, cls) else current
            if _unchanged(before, changed):
                return changed
            try:
                return await self.update(changed, owner=owner, timeout=timeout)
            except VersionConflict:
                if attempt == _EDIT_ATTEMPTS:
                    raise
            await backend.sleep(self.channel.retry.delay(attempt - 1))
            attempt += 1

    async def apply(self, resource: R, *, replace: bool = False, owner: str = "", timeout: Timeout = DEFAULT) -> R:
        """Create a resource, or bring the one that exists to the given spec; return it as it is stored.

        Given labels and annotations are set and others kept; finalizers are kept. Nothing is written when nothing
        changes.

        Args:
            resource: What is wanted. Its version does not matter.
            replace: Remove the labels and annotations that are not given.
            owner: The controller that owns it.
            timeout: Seconds for each call, instead of the client's.

        Raises:
            InvalidArgument: The server's validators refuse it; `details["errors"]` lists why.
            APIError: Otherwise refused, or not got through.
        """

        def bring(current: Any) -> None:
            for name in ("labels", "annotations"):
                wanted = dict(getattr(resource, name))
                setattr(current, name, wanted if replace else {**getattr(current, name), **wanted})
            if current.spec != resource.spec:
                current.spec = resource.spec

        for attempt in range(_EDIT_ATTEMPTS):
            try:
                return await self._edit(
                    type(resource), resource.id, bring, namespace=resource.namespace, owner=owner, timeout=timeout
                )
            except NotFound:
                pass
            try:
                return await self.create(resource, owner=owner, timeout=timeout)
            except AlreadyExists:
                # Somebody created it just now; if it is gone again, this is worth another round.
                if attempt + 1 == _EDIT_ATTEMPTS:
                    raise
        raise AssertionError  # the loop returns or raises


def _unchanged(before: Resource[Any], after: Resource[Any]) -> bool:
    return before.metadata.proto == after.metadata.proto and before.spec == after.spec
