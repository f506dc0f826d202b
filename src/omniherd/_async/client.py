"""The client: verbs on resources, over one channel."""
# ruff: noqa: A002, ASYNC109 - `id` is the field's name for it; a timeout here is a gRPC deadline too

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

from omniherd._async.channel import DEFAULT, AsyncChannel, AsyncMessages, Timeout
from omniherd._async.watch import AsyncWatch
from omniherd._backend import aio as backend
from omniherd._backend.tls import TLS
from omniherd._core.deleting import BLOCKERS, DeleteResult
from omniherd._core.merge import MergeConflict, merge_resources
from omniherd._core.pool import pool
from omniherd._core.requests import check_id, label_queries, list_options, resource_text
from omniherd._core.sorting import Sort, sorted_resources
from omniherd._core.watch import EventKind, OnExpired, WatchState
from omniherd.errors import (
    AlreadyExists,
    APIError,
    DeadlineExceeded,
    DeleteTimeout,
    FinalizersPending,
    InputError,
    NotFound,
    OmniError,
    Unimplemented,
    VersionConflict,
    WaitTimeout,
)
from omniherd.resource import Phase, Resource, resource_class

if TYPE_CHECKING:
    import builtins
    import os
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from types import TracebackType
    from typing import Self

    from google.protobuf.message import Message

    from omniherd._core.requests import Labels
    from omniherd._core.retry import RetryPolicy
    from omniherd.credentials import Connection
    from omniherd.signing import Signer

__all__ = ["AsyncEdit", "AsyncOmni", "AsyncStream"]

R = TypeVar("R", bound="Resource[Any]")

_STATE = "/cosi.resource.State/"
# How often an edit that met somebody else's write is tried again before the conflict is the caller's.
_EDIT_ATTEMPTS = 10
# Lists of a large fleet take longer than one answer, waits for finalizers longer still.
LIST_TIMEOUT: Final = 300.0
WAIT_TIMEOUT: Final = 300.0

# Built here, where the import lock lets one thread through: two pools would have classes of the same name that do not
# go together.
pool()


class AsyncStream:
    """The answers of a streaming call, decoded; iterate over it, or close it early.

    Obtained from `AsyncOmni.stream`. The call begins with the first step of the iteration.
    """

    def __init__(self, start: Callable[[], Awaitable[AsyncMessages]], decode: Callable[[bytes], Any]) -> None:
        self._start = start
        self._decode = decode
        self._messages: AsyncMessages | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._closed:
            raise StopAsyncIteration
        if self._messages is None:
            self._messages = await self._start()
        data = await self._messages.read()
        if data is None:
            self._closed = True
            raise StopAsyncIteration
        return self._decode(data)

    async def close(self) -> None:
        """End the call; the iteration then ends too."""
        self._closed = True
        if self._messages is not None:
            await self._messages.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._messages is not None:
            with contextlib.suppress(Exception):
                self._messages.cancel()


class AsyncEdit(Generic[R]):
    """A change of one resource as a context: read on entry, written on a normal exit. Made by `AsyncOmni.edit`.

    Attributes:
        result: The resource as it was stored, once the context was left.
    """

    def __init__(
        self, client: AsyncOmni, cls: type[R], id: str, *, namespace: str | None, owner: str, timeout: Timeout
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


class AsyncOmni:
    """A client of one Omni server. Make it with `connect`.

    Safe to share between tasks of one event loop. Close it, or use it as a context manager.

    Attributes:
        connection: Where it connects to, and as whom.
        channel: What calls go over.

    Example:
        >>> async def names() -> list[str]:
        ...     async with AsyncOmni.connect() as omni:
        ...         return [cluster.id for cluster in await omni.list("clusters")]
    """

    def __init__(self, connection: Connection, channel: AsyncChannel) -> None:
        self.connection = connection
        self.channel = channel

    @classmethod
    def connect(
        cls,
        endpoint: str | None = None,
        *,
        service_account_key: str | None = None,
        signer: Signer | None = None,
        context: str | None = None,
        omniconfig: str | os.PathLike[str] | None = None,
        keys_dir: str | os.PathLike[str] | None = None,
        connection: Connection | None = None,
        ca: str | os.PathLike[str] | bytes | None = None,
        server_name: str | None = None,
        insecure_skip_tls_verify: bool = False,
        gzip: bool = False,
        timeout: float | None = 30.0,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """Find out where to connect and as whom, and return a client. The first call opens the connection.

        What is not given comes from the environment (`OMNI_ENDPOINT`, `OMNI_SERVICE_ACCOUNT_KEY`), then from the
        omniconfig file's context.

        Args:
            endpoint: URL of the server; `https` is TLS, `http` and `grpc` are plain text.
            service_account_key: A service account's key, as `OMNI_SERVICE_ACCOUNT_KEY` holds it.
            signer: A signer of your own.
            context: A context of the omniconfig file, instead of its current one.
            omniconfig: The omniconfig file, instead of the usual one.
            keys_dir: Where people's keys lie.
            connection: What `omniherd.credentials.resolve` returned, instead of all the above.
            ca: A file of CA certificates to trust instead of the system's, or their PEM text as bytes.
            server_name: The name that the server's certificate bears, if it is not the endpoint's host.
            insecure_skip_tls_verify: Trust whatever certificate the server presents at the first call, and only that
                one afterwards. gRPC cannot skip verification; this comes closest and helps with self-signed servers.
                The certificate is fetched directly, past any proxy.
            gzip: Compress messages. It pays on slow lines only.
            timeout: Seconds that each call may take unless it says otherwise; None for no bound.
            retry: When failed calls are repeated. By default reads are, a few times, while the server is unavailable;
                writes only when they certainly were not sent.

        Raises:
            ConfigError: No server is known, or the omniconfig file cannot be used.
            CredentialError: There is no usable key.

        Example:
            >>> from omniherd.emulator import Emulator
            >>> with Emulator() as server:
            ...     omni = AsyncOmni.connect(server.endpoint, service_account_key=server.service_account_key)
        """
        if connection is None:
            from omniherd.credentials import resolve

            connection = resolve(
                endpoint=endpoint,
                service_account_key=service_account_key,
                signer=signer,
                context=context,
                omniconfig=omniconfig,
                keys_dir=keys_dir,
            )
        tls = TLS(ca=ca, server_name=server_name, insecure_skip_verify=insecure_skip_tls_verify)
        channel = AsyncChannel(
            connection.endpoint, connection.require_signer(), tls=tls, gzip=gzip, timeout=timeout, retry=retry
        )
        return cls(connection, channel)

    async def close(self) -> None:
        """End every call and watch and close the connections. Closing twice does nothing."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.connection.endpoint.url} as {self.connection.identity or 'nobody'}>"

    # --- reading --------------------------------------------------------------------------------------------------

    @overload
    async def get(self, kind: type[R], id: str, *, namespace: str | None = None, timeout: Timeout = DEFAULT) -> R: ...
    @overload
    async def get(
        self, kind: str, id: str, *, namespace: str | None = None, timeout: Timeout = DEFAULT
    ) -> Resource[Any]: ...
    async def get(
        self, kind: type[R] | str, id: str, *, namespace: str | None = None, timeout: Timeout = DEFAULT
    ) -> R | Resource[Any]:
        """Return one resource.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            namespace: Its namespace, by default the one of the type.
            timeout: Seconds, instead of the client's.

        Raises:
            NotFound: There is none of that id.
            PermissionDenied: The identity may not read the type, or the server does not know it.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.wire import cosi_resource

        cls = resource_class(kind)
        check_id(id)
        where = cls.default_namespace if namespace is None else namespace
        request = cosi_resource.GetRequest(namespace=where, type=cls.type_name, id=id)
        data = await self.channel.unary(
            _STATE + "Get",
            request.SerializeToString(),
            timeout=timeout,
            safe=True,
            resource=resource_text(where, cls.type_name, id),
        )
        return cls.from_proto(cosi_resource.GetResponse.FromString(data).resource)

    @overload
    async def list(
        self,
        kind: type[R],
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        sort: Sort | None = None,
        timeout: float | None = LIST_TIMEOUT,
    ) -> builtins.list[R]: ...
    @overload
    async def list(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        sort: Sort | None = None,
        timeout: float | None = LIST_TIMEOUT,
    ) -> builtins.list[Resource[Any]]: ...
    async def list(
        self,
        kind: type[R] | str,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        sort: Sort | None = None,
        timeout: float | None = LIST_TIMEOUT,
    ) -> builtins.list[R] | builtins.list[Resource[Any]]:
        """Return the resources of a type, all or those that match.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            namespace: Their namespace, by default the one of the type.
            labels: A selector: text such as `env in (prod, staging), !retired`, a mapping of labels to values, or one
                built with `omniherd.selectors`.
            id_regexp: An RE2 regular expression that is found somewhere in the id.
            sort: What to sort by: an attribute path (`created`, `spec.kubernetes_version`; a leading `-` turns the
                order around; what has no value comes last) or a key function. The server's order, by id, by default.
            timeout: Seconds for the whole list.

        Raises:
            SelectorError: The selector does not parse.
            InputError: There is nothing of the name to sort by.
            PermissionDenied: The identity may not read the type, or the server does not know it.
            APIError: Otherwise refused, or not got through.
        """
        from omniherd.wire import cosi_resource

        cls = resource_class(kind)
        where = cls.default_namespace if namespace is None else namespace
        request = cosi_resource.ListRequest(
            namespace=where, type=cls.type_name, options=list_options(labels, id_regexp)
        ).SerializeToString()
        decode = cosi_resource.ListResponse.FromString
        wrap = cls.from_proto
        deadline = None if timeout is None else time.monotonic() + timeout
        repetition = 0
        while True:
            found: builtins.list[Any] = []
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            messages = await self.channel.open(
                _STATE + "List", request, timeout=left, bulk=True, resource=resource_text(where, cls.type_name, "*")
            )
            try:
                read = messages.read
                while (data := await read()) is not None:
                    found.append(wrap(decode(data).resource))
                break
            except APIError as error:
                left = None if deadline is None else deadline - time.monotonic()
                delay = self.channel.retry.next_delay(error, safe=True, repetition=repetition, remaining=left)
                if delay is None:
                    raise
            finally:
                messages.cancel()
            repetition += 1
            await backend.sleep(delay)
        return found if sort is None else sorted_resources(found, sort)

    @overload
    def watch(
        self,
        kind: type[R],
        id: str | None = None,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        bootstrap: bool | None = None,
        tail: int = 0,
        bookmark: bytes | None = None,
        aggregated: bool = True,
        on_expired: OnExpired = "raise",
        resume: bool = True,
    ) -> AsyncWatch[R]: ...
    @overload
    def watch(
        self,
        kind: str,
        id: str | None = None,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        bootstrap: bool | None = None,
        tail: int = 0,
        bookmark: bytes | None = None,
        aggregated: bool = True,
        on_expired: OnExpired = "raise",
        resume: bool = True,
    ) -> AsyncWatch[Resource[Any]]: ...
    def watch(
        self,
        kind: type[R] | str,
        id: str | None = None,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        bootstrap: bool | None = None,
        tail: int = 0,
        bookmark: bytes | None = None,
        aggregated: bool = True,
        on_expired: OnExpired = "raise",
        resume: bool = True,
    ) -> AsyncWatch[R] | AsyncWatch[Resource[Any]]:
        """Follow one resource or a kind: what exists, then a `bootstrapped` event, then what happens.

        A watch survives lost connections; a stream that the server ends counts as one. It goes on after the last
        bookmark, so that no event is lost and none comes twice.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: One resource, which need not exist yet; by default the whole kind.
            namespace: Its namespace, by default the one of the type.
            labels: A selector, for a kind. What stops matching comes as destroyed.
            id_regexp: A regular expression on ids, for a kind.
            bootstrap: Whether to begin with what exists; by default unless `tail` or `bookmark` are given. Without any
                of them the first event is a `noop`, which says that the watch stands.
            tail: Begin with so many past events.
            bookmark: Begin after the event that bore this bookmark.
            aggregated: Let the server put several events in one message, which is several times faster.
            on_expired: When the server has forgotten the bookmark: `raise` WatchExpired, or `restart` with the contents
                and report how they differ from what was seen, by events marked `synthetic`. Restarting keeps the
                resources in memory.
            resume: Whether to go on after a break at all.

        Returns:
            An iterator over `Event`; close it, or use it as a context manager, or just stop iterating.

        Raises:
            InputError: The arguments do not go together.
            WatchExpired: While iterating: the bookmark is not known to the server any more.
            WatchError: While iterating, without `resume`: the server dropped events because the reader was slow.
            APIError: While iterating: refused, or the first connection did not come about.
        """
        cls = resource_class(kind)
        if id is not None:
            check_id(id)
        state = WatchState(
            cls,
            cls.default_namespace if namespace is None else namespace,
            id,
            queries=label_queries(labels),
            id_regexp=id_regexp,
            bootstrap=bootstrap,
            tail=tail,
            bookmark=bookmark,
            aggregated=aggregated,
            on_expired=on_expired,
            resume=resume,
            retry=self.channel.retry,
        )
        return AsyncWatch(self.channel, state)

    @overload
    async def wait_for(
        self,
        kind: type[R],
        id: str,
        predicate: Callable[[R], bool] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> R: ...
    @overload
    async def wait_for(
        self,
        kind: str,
        id: str,
        predicate: Callable[[Resource[Any]], bool] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> Resource[Any]: ...
    async def wait_for(
        self,
        kind: type[R] | str,
        id: str,
        predicate: Callable[[Any], bool] | None = None,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> R | Resource[Any]:
        """Wait until a resource exists and fulfils a condition; return it.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            predicate: The condition; by default that it exists. It is asked whenever the resource changes.
            timeout: Seconds; None to wait for ever.
            namespace: Its namespace, by default the one of the type.

        Raises:
            WaitTimeout: It did not come true in time; `details["last"]` is the last state seen, None if there was none.
            APIError: The resource cannot be read.
        """
        cls = resource_class(kind)
        last: Any = None
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            async with contextlib.aclosing(self._states(cls, id, namespace, deadline)) as states:
                async for resource in states:
                    last = resource
                    if resource is not None and (predicate is None or predicate(resource)):
                        return resource
        except DeadlineExceeded:
            pass
        what = resource_text(cls.default_namespace if namespace is None else namespace, cls.type_name, id)
        seen = "it does not exist" if last is None else f"it is at version {last.version}, {last.phase}"
        raise WaitTimeout(
            f"{what} did not become what was waited for within {timeout:g} s: {seen}",
            resource=what,
            details={"last": last},
        )

    async def wait_gone(
        self,
        kind: type[Resource[Any]] | str,
        id: str,
        timeout: float | None = WAIT_TIMEOUT,
        *,
        namespace: str | None = None,
    ) -> None:
        """Wait until a resource does not exist.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            id: Its id.
            timeout: Seconds; None to wait for ever.
            namespace: Its namespace, by default the one of the type.

        Raises:
            WaitTimeout: It still exists; `details["last"]` is the last state seen.
            APIError: The resource cannot be read.
        """
        cls = resource_class(kind)
        last: Any = None
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            async with contextlib.aclosing(self._states(cls, id, namespace, deadline)) as states:
                async for resource in states:
                    last = resource
                    if resource is None:
                        return
        except DeadlineExceeded:
            pass
        what = resource_text(cls.default_namespace if namespace is None else namespace, cls.type_name, id)
        raise WaitTimeout(f"{what} still exists after {timeout:g} s", resource=what, details={"last": last})

    # --- writing --------------------------------------------------------------------------------------------------

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
            _STATE + "Create", request.SerializeToString(), timeout=timeout, resource=_text(resource)
        )
        return resource.from_proto(cosi_resource.CreateResponse.FromString(data).resource)

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
            _STATE + "Update", request.SerializeToString(), timeout=timeout, resource=_text(resource)
        )
        return resource.from_proto(cosi_resource.UpdateResponse.FromString(data).resource)

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
            change: A function that changes the resource in place, or returns the one to write.
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
            changed: R = change(current) or current
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

    # --- deleting -------------------------------------------------------------------------------------------------

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
        return bool(cosi_resource.TeardownResponse.FromString(data).destroy_ready)

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

    # --- any other method -----------------------------------------------------------------------------------------

    async def call(
        self,
        path: str,
        request: Message,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: Timeout = DEFAULT,
        safe: bool = False,
    ) -> Any:
        """Call any method of the API that gives one answer.

        Args:
            path: The method, `/management.ManagementService/Kubeconfig`; see `omniherd.wire.calls`.
            request: Its request message, from `omniherd.wire`.
            metadata: Metadata in addition to the signature, which covers what Omni demands.
            timeout: Seconds, instead of the client's.
            safe: Whether the call may be repeated when the connection broke, as reads may.

        Returns:
            The answer's message.

        Raises:
            InputError: There is no such method, or it streams.
            APIError: Refused, or not got through.
        """
        decode = _decoder(path, stream=False)
        data = await self.channel.unary(
            path, request.SerializeToString(), metadata=metadata, timeout=timeout, safe=safe
        )
        return decode(data)

    def stream(
        self,
        path: str,
        request: Message,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: float | None = None,
    ) -> AsyncStream:
        """Call any method of the API that answers with a stream.

        Args:
            path: The method, `/management.ManagementService/MachineLogs`; see `omniherd.wire.calls`.
            request: Its request message, from `omniherd.wire`.
            metadata: Metadata in addition to the signature.
            timeout: Seconds until the stream is cut off, None for never.

        Returns:
            An iterator over the answers; close it, or use it as a context manager.

        Raises:
            InputError: There is no such method, or it does not stream.
            APIError: While iterating: refused, or the connection broke.
        """
        encoded = request.SerializeToString()
        return AsyncStream(
            lambda: self.channel.open(path, encoded, metadata=metadata, timeout=timeout), _decoder(path, stream=True)
        )

    # --- parts ----------------------------------------------------------------------------------------------------

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

    async def _states(
        self, cls: type[R], id: str, namespace: str | None, deadline: float | None
    ) -> AsyncGenerator[R | None, None]:
        """Give the present state of a resource (None: it does not exist), then each new one.

        Raises:
            DeadlineExceeded: The deadline passed.
        """
        where = cls.default_namespace if namespace is None else namespace
        check_id(id)
        seen = False
        watch = AsyncWatch(
            self.channel,
            WatchState(cls, where, id, on_expired="restart", retry=self.channel.retry),
            deadline=deadline,
        )
        try:
            async for event in watch:
                if event.kind == EventKind.BOOTSTRAPPED:
                    if not seen:
                        yield None
                    continue
                seen = True
                yield None if event.kind == EventKind.DESTROYED else event.resource
        except Unimplemented:
            # Types that are made up for each reader cannot be watched.
            pass
        finally:
            await watch.close()
        repetition = 0
        while True:
            try:
                current = await self.get(cls, id, namespace=where)
            except NotFound:
                yield None
            else:
                yield current
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise DeadlineExceeded("the time is over")
            delay = self.channel.retry.delay(repetition)
            await backend.sleep(delay if left is None else min(delay, left))
            repetition += 1

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
                blocking.extend(_text(resource) for resource in found)
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


def _text(resource: Resource[Any]) -> str:
    return resource_text(resource.namespace, resource.type, resource.id)


def _unchanged(before: Resource[Any], after: Resource[Any]) -> bool:
    return before.metadata.proto == after.metadata.proto and before.spec == after.spec


def _decoder(path: str, *, stream: bool) -> Callable[[bytes], Any]:
    from omniherd._core.pool import message
    from omniherd.wire.calls import CALLS

    call = CALLS.get(path)
    if call is None:
        raise InputError(f"the API has no method {path!r}")
    if call.server_stream != stream:
        raise InputError(f"{path} {'answers once' if stream else 'answers with a stream'}")
    if call.client_stream:
        raise InputError(f"{path} takes a stream of requests, which this call cannot send")
    return message(call.response).FromString
