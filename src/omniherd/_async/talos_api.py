"""The calls to Talos machines that people make most, by name."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.talos import AsyncTalosCalls
from omniherd.errors import InputError

if TYPE_CHECKING:
    import builtins

    from omniherd._async.service import AsyncAnswers
    from omniherd.services import NodeReply
    from omniherd.wire import machine, storage
    from omniherd.wire import time as talos_time

__all__ = ["AsyncTalos"]


class AsyncTalos(AsyncTalosCalls):
    """Talos machines; made by `omni.talos(...)`, and by `AsyncTalosClient.talos(...)` without Omni.

    With one machine, or only a cluster, a failure is raised. With several, each machine's failure is in its reply.
    What has no method here is a `call("Method", request)` or a `stream("Method", request)`.

    Example:
        >>> for reply in await omni.talos("lab", labels="omni.sidero.dev/role-worker").version():
        ...     print(reply.node, reply.error or reply.message.version.tag)
    """

    # --- looking ------------------------------------------------------------------------------------------------

    async def version(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.Version]]:
        """Return Talos's version: `message.version.tag`."""
        return await self.call("Version", timeout=timeout, safe=True)

    async def hostname(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.Hostname]]:
        """Return the hostnames: `message.hostname`."""
        return await self.call("Hostname", timeout=timeout, safe=True)

    async def services(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.ServiceList]]:
        """Return Talos's services with their states: `message.services`."""
        return await self.call("ServiceList", timeout=timeout, safe=True)

    async def processes(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.Process]]:
        """Return the running processes: `message.processes`."""
        return await self.call("Processes", timeout=timeout, safe=True)

    async def memory(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.Memory]]:
        """Return how much memory is used: `message.meminfo`, in KiB."""
        return await self.call("Memory", timeout=timeout, safe=True)

    async def system_stat(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.SystemStat]]:
        """Return boot time and processor counters: `message.boot_time` in Unix seconds, `message.cpu_total`."""
        return await self.call("SystemStat", timeout=timeout, safe=True)

    async def mounts(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.Mounts]]:
        """Return the mounted file systems with their sizes: `message.stats`, in bytes."""
        return await self.call("Mounts", timeout=timeout, safe=True)

    async def disks(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[storage.Disks]]:
        """Return the disks: `message.disks`."""
        return await self.call("storage.StorageService/Disks", timeout=timeout, safe=True)

    async def time(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[talos_time.Time]]:
        """Return the machines' clocks beside their time server's: `message.localtime`, `message.remotetime`."""
        return await self.call("time.TimeService/Time", timeout=timeout, safe=True)

    def dmesg(
        self, *, follow: bool = False, tail: bool = False, timeout: float | None = None
    ) -> AsyncAnswers[NodeReply[bytes]]:
        """Yield the kernel's log, in pieces as they come.

        Args:
            follow: Go on with new lines until closed.
            tail: Begin with new lines, without those of the past.
            timeout: Seconds until the stream is cut off, None for never.
        """
        from omniherd.wire import machine

        return self._replies("Dmesg", machine.DmesgRequest(follow=follow, tail=tail), _data, timeout)

    def logs(
        self,
        service: str,
        *,
        follow: bool = False,
        tail_lines: int = -1,
        namespace: str = "system",
        timeout: float | None = None,
    ) -> AsyncAnswers[NodeReply[bytes]]:
        """Yield the log of a service or container, in pieces as they come.

        Args:
            service: `kubelet`, `etcd`, `machined`, or a container's id.
            follow: Go on with new lines until closed.
            tail_lines: The last lines to begin with; -1 for all.
            namespace: `system` for Talos's services, `k8s.io` for containers.
            timeout: Seconds until the stream is cut off, None for never.
        """
        from omniherd.wire import machine

        request = machine.LogsRequest(namespace=namespace, id=service, follow=follow, tail_lines=tail_lines)
        if namespace == "k8s.io":
            # The driver that knows of pods.
            request.driver = 1
        return self._replies("Logs", request, _data, timeout)

    def events(self, *, tail_events: int = 0, timeout: float | None = None) -> AsyncAnswers[NodeReply[machine.Event]]:
        """Yield Talos's events until closed.

        Args:
            tail_events: Past events to begin with; -1 for all that are kept.
            timeout: Seconds until the stream is cut off, None for never.
        """
        from omniherd.wire import machine

        return self.stream("Events", machine.EventsRequest(tail_events=tail_events), timeout=timeout)

    async def read_file(self, path: str, *, timeout: float | None = 60.0) -> bytes:
        """Return a file of one machine.

        Args:
            path: The file.
            timeout: Seconds.

        Raises:
            InputError: Not exactly one machine was named.
            APIError: There is no such file, or the role is too low.
        """
        from omniherd.wire import machine

        if len(self.nodes) != 1:
            raise InputError("a file is read from one machine", hint="name it: omni.talos(nodes='machine')")
        answers = self._replies("Read", machine.ReadRequest(path=path), _data, timeout)
        async with answers:
            return b"".join([reply.result() async for reply in answers])

    def list_files(
        self, path: str = "/", *, recurse: bool = False, depth: int = 0, timeout: float | None = 60.0
    ) -> AsyncAnswers[NodeReply[machine.FileInfo]]:
        """Yield what is in a directory.

        Args:
            path: The directory.
            recurse: Its directories as well.
            depth: How deep, with `recurse`; 0 for no bound.
            timeout: Seconds.
        """
        from omniherd.wire import machine

        request = machine.ListRequest(root=path, recurse=recurse, recursion_depth=depth)
        return self.stream("List", request, timeout=timeout)

    # --- etcd ---------------------------------------------------------------------------------------------------

    async def etcd_members(
        self, *, local: bool = False, timeout: Timeout = DEFAULT
    ) -> builtins.list[NodeReply[machine.EtcdMembers]]:
        """Return etcd's members: `message.members`. Ask a control plane; a cluster alone reaches one.

        Args:
            local: What the machine itself believes, also when etcd as a whole does not answer.
            timeout: Seconds, instead of the client's.

        Raises:
            InvalidArgument: The machine is no control plane.
        """
        from omniherd.wire import machine

        request = machine.EtcdMemberListRequest(query_local=local)
        return await self.call("EtcdMemberList", request, timeout=timeout, safe=True)

    async def etcd_status(self, *, timeout: Timeout = DEFAULT) -> builtins.list[NodeReply[machine.EtcdStatus]]:
        """Return each member's state: `message.member_status`."""
        return await self.call("EtcdStatus", timeout=timeout, safe=True)

    def etcd_snapshot(self, *, timeout: float | None = None) -> AsyncAnswers[NodeReply[bytes]]:
        """Yield a snapshot of etcd, piece by piece. Ask one control plane. It holds all of the cluster's secrets."""
        from omniherd.wire import machine

        return self._replies("EtcdSnapshot", machine.EtcdSnapshotRequest(), _data, timeout)

    # --- acting -------------------------------------------------------------------------------------------------

    async def reboot(
        self, *, mode: Literal["default", "powercycle", "force"] = "default", timeout: Timeout = DEFAULT
    ) -> builtins.list[NodeReply[machine.Reboot]]:
        """Reboot machines. For a while afterwards they do not answer: `Unavailable`.

        Args:
            mode: `powercycle` goes through the firmware, `force` does not wait for anything to end.
            timeout: Seconds, instead of the client's.
        """
        from omniherd._core.service_requests import enum_value
        from omniherd.wire import machine

        number = enum_value("machine.RebootRequest.Mode", "", mode)
        return await self.call("Reboot", machine.RebootRequest(mode=number), timeout=timeout)

    async def shutdown(
        self, *, force: bool = False, timeout: Timeout = DEFAULT
    ) -> builtins.list[NodeReply[machine.Shutdown]]:
        """Shut machines down.

        Args:
            force: Without draining the node first.
            timeout: Seconds, instead of the client's.
        """
        from omniherd.wire import machine

        return await self.call("Shutdown", machine.ShutdownRequest(force=force), timeout=timeout)

    async def service_restart(
        self, service: str, *, timeout: Timeout = DEFAULT
    ) -> builtins.list[NodeReply[machine.ServiceRestart]]:
        """Restart one of Talos's services."""
        from omniherd.wire import machine

        return await self.call("ServiceRestart", machine.ServiceRestartRequest(id=service), timeout=timeout)

    async def service_start(
        self, service: str, *, timeout: Timeout = DEFAULT
    ) -> builtins.list[NodeReply[machine.ServiceStart]]:
        """Start one of Talos's services."""
        from omniherd.wire import machine

        return await self.call("ServiceStart", machine.ServiceStartRequest(id=service), timeout=timeout)

    async def service_stop(
        self, service: str, *, timeout: Timeout = DEFAULT
    ) -> builtins.list[NodeReply[machine.ServiceStop]]:
        """Stop one of Talos's services."""
        from omniherd.wire import machine

        return await self.call("ServiceStop", machine.ServiceStopRequest(id=service), timeout=timeout)


def _data(message: Any) -> bytes:
    piece: bytes = message.bytes
    return piece
