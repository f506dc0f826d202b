"""Talos's own API without Omni: a cluster reached by its talosconfig."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omniherd._async.channel import AsyncChannel
from omniherd._async.talos_api import AsyncTalos
from omniherd._async.talos_routes import AsyncDirectRoute
from omniherd._core.talos import api_address
from omniherd.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from omniherd._core.retry import RetryPolicy
    from omniherd.talosconfig import TalosContext

__all__ = ["AsyncTalosClient"]


class AsyncTalosClient:
    """A client of one Talos cluster, past Omni. Make it with `connect`.

    Safe to share between tasks of one event loop. Close it, or use it as a context manager.

    Attributes:
        context: The talosconfig's context: where it connects to, and with which certificate.
        channel: What calls go over.

    Example:
        >>> async with AsyncTalosClient.connect("talosconfig") as cluster:
        ...     for reply in await cluster.talos(nodes=["10.0.0.2", "10.0.0.3"]).version():
        ...         print(reply.node, reply.result().version.tag)
    """

    def __init__(self, context: TalosContext, channel: AsyncChannel) -> None:
        self.context = context
        self.channel = channel

    @classmethod
    def connect(
        cls,
        talosconfig: str | os.PathLike[str] | None = None,
        *,
        context: TalosContext | str | None = None,
        endpoints: Iterable[str] = (),
        timeout: float | None = 30.0,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """Read a talosconfig and return a client. The first call opens the connection.

        Args:
            talosconfig: The file; by default `$TALOSCONFIG`, else `config` in the Talos directory.
            context: A context of it instead of the current one; or a context that was read already.
            endpoints: Where the API is, instead of the context's endpoints: `host`, or `host:port` for a port other
                than 50000. The first that answers is used.
            timeout: Seconds that each call may take unless it says otherwise; None for no bound.
            retry: When failed calls are repeated.

        Raises:
            ConfigError: The file cannot be used, or no endpoint is known.
            ContextNotFound: It has no such context.
            CredentialError: Its certificates cannot be used.
        """
        from omniherd._backend.tunnel import Tunnel, tls_context
        from omniherd.credentials import Endpoint
        from omniherd.talosconfig import read_talosconfig

        chosen = (
            read_talosconfig(talosconfig, context=context) if context is None or isinstance(context, str) else context
        )
        servers = [api_address(endpoint) for endpoint in (tuple(endpoints) or chosen.endpoints)]
        if not servers:
            raise ConfigError(
                f"context {chosen.name} of the talosconfig names no endpoint",
                hint="give one: the address of a control plane, or of a load balancer before them",
            )
        tls = tls_context(chosen)
        host, port = servers[0]
        endpoint = Endpoint(host, port, tls=True, url=f"{host}:{port}")
        channel = AsyncChannel(endpoint, timeout=timeout, retry=retry, dig=lambda: Tunnel(servers, tls))
        return cls(chosen, channel)

    def talos(self, *, nodes: str | Iterable[str] = ()) -> AsyncTalos:
        """Return the API of some machines: the same methods as `AsyncOmni.talos` has.

        Args:
            nodes: Machines by address or hostname, as the cluster itself knows them. By default those of the
                talosconfig; where that has none either, the machine that is connected to.

        Raises:
            InputError: A name is empty, or several in one text.
        """
        return AsyncTalos(AsyncDirectRoute(self.channel, nodes or self.context.nodes))

    async def close(self) -> None:
        """End every call and close the connection. Closing twice does nothing."""
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.channel.endpoint.url} context={self.context.name!r}>"
