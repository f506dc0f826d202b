"""The client: verbs on resources, and any other method, over one channel."""
# ruff: noqa: ASYNC109 - `id` is the field's name for it; a timeout here is a gRPC deadline too

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from omniherd._async.channel import DEFAULT, AsyncChannel, Timeout
from omniherd._async.deleting import AsyncDeleting
from omniherd._async.stream import AsyncStream, decoder
from omniherd._async.writing import AsyncEdit
from omniherd._backend.tls import TLS

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from google.protobuf.message import Message

    from omniherd._async.auth import AsyncAuth
    from omniherd._async.cache import AsyncCache
    from omniherd._async.clusters import AsyncClusters
    from omniherd._async.machines import AsyncMachines
    from omniherd._async.management import AsyncManagement
    from omniherd._async.media import AsyncMedia
    from omniherd._async.oidc import AsyncOIDC
    from omniherd._async.talos_api import AsyncTalos
    from omniherd._async.templates import AsyncTemplates
    from omniherd._core.cache import Index, Report
    from omniherd._core.requests import Labels
    from omniherd._core.retry import RetryPolicy
    from omniherd.credentials import Connection
    from omniherd.resource import Resource
    from omniherd.signing import Signer

__all__ = ["AsyncEdit", "AsyncOmni", "AsyncStream"]

# Proxies may keep a connection alive whose other end is gone; a cache looks after so many seconds.
_SILENCE = 600.0
R = TypeVar("R", bound="Resource[Any]")


class AsyncOmni(AsyncDeleting):
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

    # --- caches ---------------------------------------------------------------------------------------------------

    @overload
    def cache(
        self,
        kind: type[R],
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        indexes: Mapping[str, Index[R]] | None = None,
        on_error: Report[R] | None = None,
        max_silence: float | None = _SILENCE,
    ) -> AsyncCache[R]: ...
    @overload
    def cache(
        self,
        kind: str,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        indexes: Mapping[str, Index[Resource[Any]]] | None = None,
        on_error: Report[Resource[Any]] | None = None,
        max_silence: float | None = _SILENCE,
    ) -> AsyncCache[Resource[Any]]: ...
    def cache(
        self,
        kind: type[Any] | str,
        *,
        namespace: str | None = None,
        labels: Labels = None,
        id_regexp: str | None = None,
        indexes: Mapping[str, Index[Any]] | None = None,
        on_error: Report[Any] | None = None,
        max_silence: float | None = _SILENCE,
    ) -> AsyncCache[Any]:
        """Keep the resources of a type here, in step with the server; use it as a context manager.

        Args:
            kind: A class of `omniherd.resources`, a full type name, or an alias.
            namespace: Their namespace, by default the one of the type.
            labels: A selector; what stops matching is gone from the cache.
            id_regexp: A regular expression on ids.
            indexes: Functions by name; each says under which texts a resource is to be found.
            on_error: Called with an error and the event it is about, None where it is about the watch: what handlers
                and indexes raise, and what keeps the cache from being current. By default it goes to the log.
            max_silence: Seconds without a message after which the stream is opened anew; None to trust the connection.

        Raises:
            SelectorError: The selector does not parse.

        Example:
            >>> async with omni.cache("clusters", indexes={"talos": lambda one: one.spec.talos_version}) as clusters:
            ...     print([one.id for one in clusters.by("talos", "1.13.4")])
        """
        from omniherd._async.cache import AsyncCache
        from omniherd._core.requests import label_queries
        from omniherd._core.watch import WatchState
        from omniherd.resource import resource_class

        cls = resource_class(kind)
        state: WatchState[Any] = WatchState(
            cls,
            cls.default_namespace if namespace is None else namespace,
            queries=label_queries(labels),
            id_regexp=id_regexp,
            on_expired="restart",
            max_silence=max_silence,
            retry=self.channel.retry,
        )
        return AsyncCache(self.channel, state, indexes=indexes, on_error=on_error)

    # --- services -------------------------------------------------------------------------------------------------

    @property
    def management(self) -> AsyncManagement:
        """Omni's management calls: accounts, people, join tokens, kubeconfigs, logs, images, the audit log."""
        from omniherd._async.management import AsyncManagement

        return AsyncManagement(self)

    @property
    def auth(self) -> AsyncAuth:
        """Keys of people: registered, confirmed, revoked."""
        from omniherd._async.auth import AsyncAuth

        return AsyncAuth(self)

    @property
    def oidc(self) -> AsyncOIDC:
        """The last step of a Kubernetes client's login."""
        from omniherd._async.oidc import AsyncOIDC

        return AsyncOIDC(self)

    @property
    def machines(self) -> AsyncMachines:
        """What takes several calls about machines: finding, labelling, locking, taking them out of a cluster."""
        from omniherd._async.machines import AsyncMachines

        return AsyncMachines(self)

    @property
    def templates(self) -> AsyncTemplates:
        """Cluster templates: compared with the server, brought to it, and made from it."""
        from omniherd._async.templates import AsyncTemplates

        return AsyncTemplates(self)

    @property
    def clusters(self) -> AsyncClusters:
        """What takes several calls about clusters: new certificate authorities, imports of Talos clusters."""
        from omniherd._async.clusters import AsyncClusters

        return AsyncClusters(self)

    @property
    def media(self) -> AsyncMedia:
        """Installation media: presets, what goes into an image, downloads."""
        from omniherd._async.media import AsyncMedia

        return AsyncMedia(self)

    def talos(
        self, cluster: str | None = None, *, nodes: str | Iterable[str] = (), labels: Labels = None
    ) -> AsyncTalos:
        """Return the Talos API of some machines, which Omni passes on.

        Args:
            cluster: The cluster. Without machines, one of its control planes answers.
            nodes: Machines by id, name in Kubernetes, hostname or address.
            labels: Machines by a selector on the labels of their MachineStatuses, instead.

        Raises:
            InputError: Nothing is chosen, or machines by both name and label.

        Example:
            >>> [reply] = await omni.talos("lab", nodes="worker-1").version()
        """
        from omniherd._async.talos_api import AsyncTalos
        from omniherd._async.talos_routes import AsyncOmniRoute

        return AsyncTalos(AsyncOmniRoute(self, cluster, nodes, labels))

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
        decode = decoder(path, stream=False)
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
            lambda: self.channel.open(path, encoded, metadata=metadata, timeout=timeout), decoder(path, stream=True)
        )
