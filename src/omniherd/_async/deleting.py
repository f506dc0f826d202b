"""The verbs that end a resource: teardown, destroy, and delete, which does both and waits."""
# ruff: noqa: A002, ASYNC109 - `id` is the field's name for it; a timeout here is a gRPC deadline too

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar, overload

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.reading import WAIT_TIMEOUT
from omniherd._async.writing import AsyncWriting
from omniherd._backend import aio as backend
from omniherd._core.decoding import decode
from omniherd._core.deleting import BLOCKERS, DeleteResult
from omniherd._core.requests import check_id, label_queries, resource_text, text_of
from omniherd.errors import (
    DeadlineExceeded,
    DeleteTimeout,
    FinalizersPending,
    InputError,
    NotFound,
    OmniError,
    Unimplemented,
)
from omniherd.resource import Phase, Resource, resource_class

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from google.protobuf.message import Message

    from omniherd._core.requests import Labels

__all__ = ["AsyncDeleting"]

R = TypeVar("R", bound="Resource[Any]")

_STATE = "/cosi.resource.State/"


class AsyncDeleting(AsyncWriting):
    """What tears resources down and destroys them."""

    async def destroy(
        self,
        kind: type[Resource[Any]] | str,
        id: str,
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: Timeout = DEFAULT,
    ) -> None:
        """Destroy a resource at once, without a teardown. `delete` is what people usually want.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            namespace: Its namespace, by default the one of the type.
            owner: The controller that owns it.
            timeout: Seconds, instead of the client's.

        Raises:
            NotFound: It does not exist.
            FinalizersPending: Somebody holds a finalizer on it.
            OwnerConflict: A controller owns it.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.wire import cosi_resource

        options = cosi_resource.DestroyOptions(owner=owner)
        await self._end(
            "Destroy", cosi_resource.DestroyRequest, options, kind, id, namespace=namespace, timeout=timeout
        )

    async def teardown(
        self,
        kind: type[Resource[Any]] | str,
        id: str,
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: Timeout = DEFAULT,
    ) -> bool:
        """Put a resource in phase tearing down, so that whoever holds a finalizer lets go of it.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            namespace: Its namespace, by default the one of the type.
            owner: The controller that owns it.
            timeout: Seconds, instead of the client's.

        Returns:
            Whether nobody holds a finalizer, so that it can be destroyed. The server itself destroys what users manage.

        Raises:
            NotFound: It does not exist.
            OwnerConflict: A controller owns it.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.wire import cosi_resource

        options = cosi_resource.TeardownOptions(owner=owner)
        try:
            data = await self._end(
                "Teardown", cosi_resource.TeardownRequest, options, kind, id, namespace=namespace, timeout=timeout
            )
        except Unimplemented:

            def tear_down(current: Any) -> None:
                current.metadata.phase = Phase.TEARING_DOWN

            torn = await self._edit(
                resource_class(kind), id, tear_down, namespace=namespace, owner=owner, timeout=timeout
            )
            return not torn.finalizers
        return bool(decode(cosi_resource.TeardownResponse.FromString, data).destroy_ready)

    async def teardown_and_destroy(
        self,
        kind: type[Resource[Any]] | str,
        id: str,
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: float | None = WAIT_TIMEOUT,
    ) -> None:
        """Tear a resource down, and have the server wait for the finalizers and destroy it.

        `delete` does the same from this side and says what blocks; so does this on servers that lack the call.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            namespace: Its namespace, by default the one of the type.
            owner: The controller that owns it.
            timeout: Seconds for everything.

        Raises:
            NotFound: It does not exist.
            DeadlineExceeded: Somebody still holds a finalizer on it.
            OwnerConflict: A controller owns it.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.wire import cosi_resource

        deadline = None if timeout is None else time.monotonic() + timeout
        # A teardown of our own first: only after it "not found" means that the server's cleanup was faster.
        await self.teardown(kind, id, namespace=namespace, owner=owner, timeout=timeout)
        options = cosi_resource.TeardownAndDestroyOptions(owner=owner)
        repetition = 0
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                await self._end(
                    "TeardownAndDestroy",
                    cosi_resource.TeardownAndDestroyRequest,
                    options,
                    kind,
                    id,
                    namespace=namespace,
                    timeout=left,
                    long=True,
                )
            except NotFound:
                return
            except FinalizersPending:
                # A controller put a finalizer on it between the server's two steps, and lets go at once.
                await backend.sleep(self.channel.retry.delay(repetition))
                repetition += 1
                if deadline is not None and time.monotonic() >= deadline:
                    raise
            except Unimplemented:
                await self.delete(kind, id, namespace=namespace, owner=owner, timeout=left)
                return
            else:
                return

    async def delete(
        self,
        kind: type[Resource[Any]] | str,
        id: str,
        *,
        namespace: str | None = None,
        owner: str = "",
        timeout: float | None = WAIT_TIMEOUT,
    ) -> None:
        """Tear a resource down, wait until nobody holds a finalizer on it, and see to it that it is gone.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            namespace: Its namespace, by default the one of the type.
            owner: The controller that owns it.
            timeout: Seconds for everything; None to wait for ever.

        Raises:
            NotFound: It does not exist. That it is gone after the teardown is success.
            DeleteTimeout: It is still tearing down; `details["finalizers"]` says who holds it, `details["blocking"]`
                which resources must go first, where that is known. Calling `delete` again goes on waiting.
            OwnerConflict: A controller owns it.
            InvalidArgument: The server's validators refuse, a machine class that is in use for example.
            APIError: Otherwise refused, or not got through.
        """
        cls: type[Resource[Any]] = resource_class(kind)
        where = cls.default_namespace if namespace is None else namespace
        deadline = None if timeout is None else time.monotonic() + timeout
        ready = await self.teardown(cls, id, namespace=where, owner=owner)
        last: Any = None
        repetition = 0
        try:
            while True:
                if ready:
                    try:
                        await self.destroy(cls, id, namespace=where, owner=owner)
                    except NotFound:
                        return
                    except FinalizersPending as error:
                        if deadline is not None and time.monotonic() >= deadline:
                            raise DeadlineExceeded(str(error)) from error
                        await backend.sleep(self.channel.retry.delay(repetition))
                        repetition += 1
                    else:
                        return
                async with contextlib.aclosing(self._states(cls, id, where, deadline)) as states:
                    async for resource in states:
                        if resource is None:
                            return
                        last = resource
                        if not resource.finalizers:
                            break
                ready = True
        except DeadlineExceeded:
            if deadline is None or time.monotonic() < deadline:
                raise
        raise await self._delete_timeout(cls, where, id, timeout, last)

    @overload
    async def delete_many(
        self,
        kind: type[R],
        *,
        labels: Labels,
        namespace: str | None = None,
        owner: str = "",
        concurrency: int = 8,
        timeout: float | None = WAIT_TIMEOUT,
    ) -> DeleteResult[R]: ...
    @overload
    async def delete_many(
        self,
        kind: str,
        *,
        labels: Labels,
        namespace: str | None = None,
        owner: str = "",
        concurrency: int = 8,
        timeout: float | None = WAIT_TIMEOUT,
    ) -> DeleteResult[Resource[Any]]: ...
    async def delete_many(
        self,
        kind: type[Any] | str,
        *,
        labels: Labels,
        namespace: str | None = None,
        owner: str = "",
        concurrency: int = 8,
        timeout: float | None = WAIT_TIMEOUT,
    ) -> DeleteResult[Any]:
        """Delete every resource that a selector matches, several at a time.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            labels: The selector. An empty one is refused: it would match everything.
            namespace: Their namespace, by default the one of the type.
            owner: The controller that owns them.
            concurrency: How many are deleted at the same time.
            timeout: Seconds for each one.

        Returns:
            Which are gone, and which failed and why. What somebody else deleted meanwhile counts as gone.

        Raises:
            InputError: The selector is empty, or the concurrency is not positive.
            SelectorError: The selector does not parse.
            APIError: They cannot be listed.
        """
        if not label_queries(labels):
            raise InputError(
                "delete_many needs a selector; an empty one would delete everything",
                hint="to delete everything, list the resources and delete each one",
            )
        if concurrency < 1:
            raise InputError(f"concurrency is at least 1, not {concurrency}")
        cls: type[Resource[Any]] = resource_class(kind)
        found = await self.list(cls, namespace=namespace, labels=labels)

        async def one(resource: Resource[Any]) -> OmniError | None:
            try:
                await self.delete(cls, resource.id, namespace=resource.namespace, owner=owner, timeout=timeout)
            except NotFound:
                return None
            except OmniError as error:
                return error
            return None

        outcomes = await backend.each(found, one, concurrency)
        result: DeleteResult[Any] = DeleteResult()
        for resource, error in zip(found, outcomes, strict=True):
            if error is None:
                result.deleted.append(resource)
            else:
                result.failed.append((resource.id, error))
        return result

    async def _end(
        self,
        verb: str,
        request: Callable[..., Message],
        options: Message,
        kind: type[Resource[Any]] | str,
        id: str,
        *,
        namespace: str | None,
        timeout: Timeout,
        long: bool = False,
    ) -> bytes:
        cls: type[Resource[Any]] = resource_class(kind)
        check_id(id)
        where = cls.default_namespace if namespace is None else namespace
        message = request(namespace=where, type=cls.type_name, id=id, options=options)
        return await self.channel.unary(
            _STATE + verb,
            message.SerializeToString(),
            timeout=timeout,
            long=long,
            resource=resource_text(where, cls.type_name, id),
        )

    async def _delete_timeout(
        self, cls: type[Resource[Any]], namespace: str, id: str, timeout: float | None, last: Any
    ) -> DeleteTimeout:
        what = resource_text(namespace, cls.type_name, id)
        if last is None:
            with contextlib.suppress(OmniError):
                last = await self.get(cls, id, namespace=namespace, timeout=5)
        finalizers = [] if last is None else list(last.finalizers)
        blocking: builtins.list[str] = []
        for type_name, label in BLOCKERS.get(cls.type_name, ()):
            with contextlib.suppress(OmniError):
                found = await self.list(type_name, labels=f"{label}={id}", timeout=5)
                blocking.extend(text_of(resource) for resource in found)
        held = f"held by {', '.join(finalizers)}" if finalizers else "nobody holds it any more"
        if blocking:
            shown = ", ".join(blocking[:5]) + (f" and {len(blocking) - 5} more" if len(blocking) > 5 else "")
            held += f"; these must go first: {shown}"
        return DeleteTimeout(
            f"{what} is still tearing down after {timeout:g} s: {held}",
            resource=what,
            details={"finalizers": finalizers, "blocking": blocking, "last": last},
            hint="wait longer, or look at those who hold it; deleting again goes on waiting",
        )
