"""The part of ManagementService that is about one machine: logs, power, maintenance."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncAnswers, AsyncService

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AsyncMachineCalls"]


class AsyncMachineCalls(AsyncService):
    """Calls about one machine. All take its id; `omni.machines.find` gives it for a name."""

    service: ClassVar[str] = "management.ManagementService"

    def machine_logs(
        self, machine: str, *, follow: bool = False, tail_lines: int = -1, timeout: float | None = None
    ) -> AsyncAnswers[bytes]:
        """Yield the log of a machine as Omni recorded it, also while the machine is away.

        Each line is a JSON object without a line end: `msg` (which ends with one), `talos-level`, `talos-time` and
        fields of its own.

        Args:
            machine: The machine's id.
            follow: Go on with new lines until closed.
            tail_lines: The last lines to begin with; -1 for all, 0 for none.
            timeout: Seconds until the stream is cut off, None for never.

        Raises:
            NotFound: Omni has no log of such a machine.
            InvalidArgument: The id is empty.

        Example:
            >>> async for line in omni.management.machine_logs(machine, tail_lines=10):
            ...     print(json.loads(line)["msg"], end="")
        """
        from omniherd.wire import management

        request = management.MachineLogsRequest(machine_id=machine, follow=follow, tail_lines=tail_lines)
        line: Callable[[Any], bytes] = lambda message: message.bytes  # noqa: E731
        return self._stream("MachineLogs", request, line, timeout=timeout)

    async def power_on(self, machine: str, *, timeout: Timeout = DEFAULT) -> None:
        """Switch a machine on.

        Raises:
            NotFound: There is no such machine.
            FailedPrecondition: No static infra provider runs it, so somebody must press its button.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd.wire import management

        await self._call("MachinePowerOn", management.MachinePowerOnRequest(machine_id=machine), timeout=timeout)

    async def power_off(self, machine: str, *, timeout: Timeout = DEFAULT) -> None:
        """Shut a machine down.

        Raises:
            NotFound: There is no such machine.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd.wire import management

        await self._call("MachinePowerOff", management.MachinePowerOffRequest(machine_id=machine), timeout=timeout)

    async def maintenance_upgrade(self, machine: str, version: str, *, timeout: Timeout = 600.0) -> None:
        """Put another Talos on a machine that waits in maintenance mode.

        Args:
            machine: The machine's id.
            version: The Talos version, without a leading `v`.
            timeout: Seconds; the machine downloads an image.

        Raises:
            NotFound: There is no such machine.
            FailedPrecondition: It is not in maintenance mode, or the version is none that it can go to.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd.wire import management

        request = management.MaintenanceUpgradeRequest(machine_id=machine, version=version)
        await self._call("MaintenanceUpgrade", request, timeout=timeout)

    def maintenance_lifecycle(
        self,
        machine: str,
        operation: Literal["install", "upgrade"],
        *,
        version: str = "",
        disk: str = "",
        timeout: float | None = None,
    ) -> AsyncAnswers[str]:
        """Install or upgrade Talos on a machine that waits in maintenance mode, and yield what is happening.

        Args:
            machine: The machine's id.
            operation: `install` needs a disk and may have a version, `upgrade` needs a version and takes no disk.
            version: The Talos version, without a leading `v`.
            disk: The disk to install to: `/dev/sda`.
            timeout: Seconds for everything, None for no bound.

        Raises:
            NotFound: There is no such machine.
            InvalidArgument: The disk or the version is missing, or the disk too much.
            FailedPrecondition: It is not in maintenance mode, Talos is installed already, or the version is none that
                it can go to.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd._core.service_requests import enum_value
        from omniherd.wire import management

        number = enum_value("management.MaintenanceLifecycleRequest.Operation", "OPERATION_", operation)
        request = management.MaintenanceLifecycleRequest(
            machine_id=machine, operation=number, version=version, disk=disk
        )
        line: Callable[[Any], str] = lambda message: message.message  # noqa: E731
        return self._stream("MaintenanceLifecycle", request, line, timeout=timeout)

    async def reset_node_unique_token(self, machine: str, *, timeout: Timeout = DEFAULT) -> None:
        """Forget the token by which a machine proves that it is itself, so that it can join anew.

        Raises:
            NotFound: There is no such machine.
            PermissionDenied: The caller is no Admin.
        """
        from omniherd.wire import management

        await self._call("ResetNodeUniqueToken", management.ResetNodeUniqueTokenRequest(id=machine), timeout=timeout)
