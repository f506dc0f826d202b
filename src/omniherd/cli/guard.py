"""Between a command and the server: `--read-only` refuses calls that change something, `--dry-run` shows them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from omniherd.errors import InputError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Guard", "changes_something"]

_STATE = "/cosi.resource.State/"
_MANAGEMENT = "/management.ManagementService/"
_READING = frozenset(
    (
        *(f"{_STATE}{name}" for name in ("Get", "List", "Watch")),
        *(
            f"/omni.resources.ResourceService/{name}"
            for name in ("Controllers", "DependencyGraph", "Get", "List", "Watch")
        ),
        *(
            f"{_MANAGEMENT}{name}"
            for name in (
                "GetBootAssetURL",
                "GetMachineJoinConfig",
                "GetSupportBundle",
                "Kubeconfig",
                "KubernetesUpgradePreChecks",
                "ListServiceAccounts",
                "ListUsers",
                "MachineLogs",
                "Omniconfig",
                "ReadAuditLog",
                "Talosconfig",
                "ValidateConfig",
                "ValidateJSONSchema",
            )
        ),
        # To log in is no change of the fleet.
        "/auth.AuthService/AwaitPublicKeyConfirmation",
        "/auth.AuthService/RegisterPublicKey",
    )
)


def changes_something(path: str, request: bytes) -> bool:
    """Tell whether a call changes something on the server. What is not known to be harmless is not.

    Args:
        path: The method.
        request: The encoded request.

    Example:
        >>> changes_something("/cosi.resource.State/Get", b"")
        False
    """
    if path == f"{_MANAGEMENT}KubernetesSyncManifests":
        from omniherd.wire import management

        return not management.KubernetesSyncManifestRequest.FromString(request).dry_run
    return path not in _READING


class Guard:
    """A client's channel that lets through what reads.

    Args:
        channel: The channel.
        dry_run: Show the first call that would change something, and end the command there: what comes after depends
            on its answer. Otherwise refuse it.
    """

    def __init__(self, channel: Any, *, dry_run: bool) -> None:
        self._channel = channel
        self._dry_run = dry_run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary(self, path: str, request: bytes, **options: Any) -> bytes:
        """Make a call with one answer; see the channel's."""
        self._meet(path, request)
        answer: bytes = self._channel.unary(path, request, **options)
        return answer

    def open(self, path: str, request: bytes, **options: Any) -> Any:
        """Start a call that answers with a stream; see the channel's."""
        self._meet(path, request)
        return self._channel.open(path, request, **options)

    def _meet(self, path: str, request: bytes) -> None:
        if not changes_something(path, request):
            return
        if not self._dry_run:
            raise InputError(
                f"read-only: {path} is refused", hint="leave out --read-only, and unset OMNIHERD_READ_ONLY"
            )
        sys.stdout.write(_shown(path, request, self._stored))
        sys.stdout.flush()
        sys.stderr.write("dry run: nothing was changed\n")
        raise click.exceptions.Exit(0)

    def _stored(self, namespace: str, kind: str, ident: str) -> Any:
        from omniherd.resource import resource_class
        from omniherd.wire import cosi_resource

        request = cosi_resource.GetRequest(namespace=namespace, type=kind, id=ident)
        data = self._channel.unary(f"{_STATE}Get", request.SerializeToString(), safe=True)
        return resource_class(kind).from_proto(cosi_resource.GetResponse.FromString(data).resource)


def _shown(path: str, request: bytes, stored: Callable[[str, str, str], Any]) -> str:
    """Return what a call would do: the change of a resource, or the call itself."""
    from omniherd.cli.output import changes
    from omniherd.resource import resource_class
    from omniherd.wire import cosi_resource

    verb = path.removeprefix(_STATE)
    if verb == "Create":
        made = cosi_resource.CreateRequest.FromString(request).resource
        return changes.created(resource_class(made.metadata.type).from_proto(made))
    if verb == "Update":
        proto = cosi_resource.UpdateRequest.FromString(request).new_resource
        after = resource_class(proto.metadata.type).from_proto(proto)
        before = stored(after.namespace, after.type, after.id)
        return changes.updated(before, after, colour=sys.stdout.isatty())
    if verb in {"Teardown", "Destroy", "TeardownAndDestroy"}:
        # The three ask in the same form.
        asked = cosi_resource.DestroyRequest.FromString(request)
        try:
            return changes.removed(stored(asked.namespace, asked.type, asked.id), colour=sys.stdout.isatty())
        except NotFound:
            return f"Deleting resource '{asked.id}', which does not exist\n"
    return _call(path, request)


def _call(path: str, request: bytes) -> str:
    from google.protobuf.json_format import MessageToDict

    from omniherd._core.pool import message
    from omniherd.wire.calls import CALLS
    from omniherd.yamlform import dump

    fields = MessageToDict(message(CALLS[path].request).FromString(request), preserving_proto_field_name=True)
    lines = "".join(f"    {line}\n" for line in dump(fields).splitlines()) if fields else ""
    return f"Calling {path.rpartition('.')[2]}\n\n{lines}\n"
