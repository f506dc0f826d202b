"""The foreign cluster as a whole."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any

from omniherd.emulator.foreign.documents import configuration
from omniherd.emulator.foreign.factory import ImageFactory
from omniherd.emulator.foreign.resources import of_configuration, of_schematic
from omniherd.emulator.imports import Arrival, join_token
from omniherd.emulator.records import StateError
from omniherd.emulator.seed import OUTSIDE, ClusterPlan, MachinePlan, add_cluster
from omniherd.errors import InputError
from omniherd.machineconfig import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Clock
    from omniherd.emulator.talos.nodes import Node

__all__ = ["ForeignCluster"]

_APPLY = "/machine.MachineService/ApplyConfiguration"
_AUTO, _NO_REBOOT = 1, 2  # ApplyConfigurationRequest.Mode
_APPLIED = "Applied configuration without a reboot"
_STATUSES = "MachineStatuses.omni.sidero.dev"
_MOST = 200
_VANILLA = "customization: {}\n"


class ForeignCluster:
    """A Talos cluster of its own, reached over TLS with certificates on both sides.

    All its machines are behind one endpoint on a loopback address, which hands calls on to those that they name, as a
    control plane does. With it comes an image factory that knows the schematic of its machines. It serves from a
    thread of its own between `start` and `stop`, or as a context manager.

    Args:
        name: The cluster's name.
        control_planes: How many control planes it has, at least one.
        workers: How many workers it has.
        talos: The Talos version of its machines.
        kubernetes: Its Kubernetes version.
        schematic: The schematic that its machines were installed from; empty for Talos from elsewhere.
        discovery: Whether its machines know of each other: it is off in clusters without a discovery service.
        first: The place of its first machine among all foreign machines, from 1 on; ids and addresses follow from it.
        host: A loopback address.
        port: The port, 0 for a free one.
        clock: Nanoseconds since 1970, for tests; the machine's clock by default.

    Raises:
        InputError: It would have no control plane, or too many machines; or the schematic or a version is none.
        ConfigError: The host is no loopback address.

    Example:
        >>> from omniherd.emulator.foreign import ForeignCluster
        >>> with ForeignCluster(control_planes=1, workers=1) as cluster:
        ...     cluster.nodes
        ['192.0.251.1', '192.0.251.2']
    """

    def __init__(
        self,
        name: str = "outside",
        *,
        control_planes: int = 1,
        workers: int = 1,
        talos: str = "1.13.5",
        kubernetes: str = "1.35.5",
        schematic: str = _VANILLA,
        discovery: bool = True,
        first: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        from omniherd.emulator.auth import Keyring
        from omniherd.emulator.catalog import add_catalog
        from omniherd.emulator.certificate import Authority
        from omniherd.emulator.foreign.apid import Apid
        from omniherd.emulator.foreign.secrets import make_secrets
        from omniherd.emulator.server import Server
        from omniherd.emulator.store import Store
        from omniherd.emulator.talos.answers import Answers
        from omniherd.emulator.talos.health import Health
        from omniherd.emulator.talos.machine_api import MachineAPI
        from omniherd.emulator.talos.machine_log import MachineLog
        from omniherd.emulator.talos.node_resources import NodeResources
        from omniherd.emulator.talos.nodes import Nodes
        from omniherd.emulator.talos.running import Running
        from omniherd.emulator.talos.streams import Streams
        from omniherd.emulator.web import Front

        self.name = name
        self._join: Callable[[Arrival, list[dict[str, Any]]], object] | None = None
        self._host = host
        planes, others = _plans(name, control_planes, workers, first)
        self._plan = ClusterPlan(name, kubernetes, talos.removeprefix("v"), {}, planes, others)
        self._authority = Authority.make("talos")
        secrets = make_secrets(self._authority)
        factory = ImageFactory()
        self._schematic = schematic
        self._schematic_id = _known(factory, schematic) if schematic else ""
        self._lock = threading.RLock()
        self._texts = {
            machine.id: configuration(self._plan, machine, secrets, self._schematic_id)
            for machine in self._plan.machines
        }
        # What Omni would know of it is what its machines are made of here.
        self._store = Store(clock)
        add_catalog(self._store, name)
        add_cluster(self._store, self._plan)
        for machine in self._plan.machines:
            self._leave_omni(machine.id)
        self._nodes = Nodes(self._store)
        self._running = running = Running(self._store.clock, MachineLog(self._store))
        api = MachineAPI(self._nodes, running)
        streams = Streams(running, api, Health(self._nodes, running))
        self._resources = NodeResources(self._store, self._nodes, running, more=self._more, discovery=discovery)
        answers = Answers(running, {**api.unary(), _APPLY: self._apply}, streams, self._resources)
        self._admin = self._authority.issue(organization="os:admin")
        self._server = Server(
            {},
            Keyring(self._store),
            host,
            port,
            self._authority.issue((host, "localhost", *self.nodes)),
            clients=self._authority.certificate,
            talos=Apid(self._members, running, answers),
        )
        self._front = Front(factory.answer, host, 0)
        self._server.companions.append(self._front)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[str]:
        """The addresses of its machines, control planes first: what imports call nodes."""
        return [machine.outside for machine in self._plan.machines]

    @property
    def control_planes(self) -> list[str]:
        """The addresses of its control planes."""
        return [machine.outside for machine in self._plan.control_planes]

    @property
    def workers(self) -> list[str]:
        """The addresses of its workers."""
        return [machine.outside for machine in self._plan.workers]

    @property
    def machines(self) -> list[str]:
        """The ids of its machines, in the order of `nodes`."""
        return [machine.id for machine in self._plan.machines]

    @property
    def endpoint(self) -> str:
        """Host and port that all its machines are reached by."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._server.port}"

    @property
    def factory_url(self) -> str:
        """The address of its image factory."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._front.port}"

    @property
    def talosconfig(self) -> str:
        """A talosconfig with one context, whose user is an administrator."""
        return self._talosconfig(self._admin)

    def talosconfig_of(self, role: str) -> str:
        """Return a talosconfig of a user with another role.

        Args:
            role: `os:reader`, `os:operator` or `os:admin`.
        """
        return self._talosconfig(self._authority.issue(organization=role))

    def _talosconfig(self, pair: tuple[bytes, bytes]) -> str:
        from omniherd.yamlform import dump

        authority, certificate, key = (base64.b64encode(one).decode() for one in (self._authority.certificate, *pair))
        context = {
            "endpoints": [self.endpoint],
            "nodes": self.control_planes[:1],
            "ca": authority,
            "crt": certificate,
            "key": key,
        }
        return dump({"context": self.name, "contexts": {self.name: context}}, sort=False)

    def configuration(self, node: str) -> str:
        """Return the configuration that a machine runs, YAML documents.

        Args:
            node: Its address.

        Raises:
            InputError: It has no such machine.
        """
        with self._lock:
            return self._texts[self._machine(node).id]

    def configure(self, node: str, text: str) -> None:
        """Give a machine another configuration, as somebody did who looked after it.

        Args:
            node: Its address.
            text: The whole configuration, YAML documents.

        Raises:
            InputError: It has no such machine, or the text is no configuration.
        """
        machine = self._machine(node)
        read(text)
        self._take(machine.id, text)

    def power_off(self, node: str) -> None:
        """Switch a machine off: it answers no more.

        Args:
            node: Its address.

        Raises:
            InputError: It has no such machine.
        """
        self._running.shut_down(self._node(node))

    def power_on(self, node: str) -> None:
        """Switch a machine on that was switched off.

        Args:
            node: Its address.

        Raises:
            InputError: It has no such machine.
        """
        self._running.power_on(self._node(node))

    def _node(self, node: str) -> Node:
        machine = self._machine(node)
        return next(one for one in self._members() if one.id == machine.id)

    def _machine(self, node: str) -> MachinePlan:
        for machine in self._plan.machines:
            if machine.outside == node:
                return machine
        raise InputError(f"the foreign cluster has no machine {node!r}", hint="its `nodes` lists those it has")

    def _leave_omni(self, machine: str) -> None:
        """Take a machine's address in Omni's network off."""
        status = self._store.get("default", _STATUSES, machine)
        spec = status.decode()
        spec.management_address = ""
        self._store.modify("default", _STATUSES, machine, spec=spec.SerializeToString(deterministic=True))

    # --- what its machines do -----------------------------------------------------------------------------------------

    def _members(self) -> list[Node]:
        known = {node.id: node for node in self._nodes.members(self.name)}
        return [known[machine.id] for machine in self._plan.machines]

    def _more(self, node: Node) -> Iterator[Stored]:
        with self._lock:
            written = self._texts[node.id]
        yield from of_configuration(read(written), written)
        yield from of_schematic(self._schematic_id, self._schematic)

    def _apply(self, node: Node, request: Any) -> dict[str, Any]:
        """Answer ApplyConfiguration."""
        try:
            text = request.data.decode()
            documents = read(text)
        except (UnicodeDecodeError, InputError) as error:
            raise StateError("INVALID_ARGUMENT", f"failed to parse config: {error}") from None
        answer = {"mode": _NO_REBOOT if request.mode == _AUTO else request.mode, "mode_details": _APPLIED}
        if request.dry_run:
            return {**answer, "mode_details": f"Dry run summary:\n{_APPLIED}"}
        self._take(node.id, text)
        if self._join is not None and join_token(documents):
            plan = next(machine for machine in self._plan.machines if machine.id == node.id)
            self._join(Arrival(plan, self._plan.talos, self._schematic_id), documents)
        return answer

    def _take(self, machine: str, text: str) -> None:
        with self._lock:
            self._texts[machine] = text
        self._resources.outdate(machine)

    def on_join(self, join: Callable[[Arrival, list[dict[str, Any]]], object]) -> None:
        """Let somebody know when a machine is given a configuration that leads to an Omni.

        Args:
            join: Called with the machine and its configuration.
        """
        self._join = join

    # --- serving ----------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Serve; returns itself.

        Raises:
            ConfigError: The port is taken.
        """
        self._server.start()
        return self

    def stop(self) -> None:
        """End all calls; does nothing when it does not run."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _plans(
    name: str, control_planes: int, workers: int, first: int
) -> tuple[tuple[MachinePlan, ...], tuple[MachinePlan, ...]]:
    """Return the control planes and the workers of a cluster."""
    count = control_planes + workers
    if control_planes < 1 or workers < 0 or first < 1 or first + count - 1 > _MOST:
        limit = f"all of them have no more than {_MOST} machines together"
        raise InputError(f"a foreign cluster has at least one control plane, and {limit}")
    names = [
        *(f"{name}-cp-{number}" for number in range(1, control_planes + 1)),
        *(f"{name}-worker-{number}" for number in range(1, workers + 1)),
    ]
    plans = tuple(MachinePlan(OUTSIDE + first - 1 + place, hostname) for place, hostname in enumerate(names))
    return plans[:control_planes], plans[control_planes:]


def _known(factory: ImageFactory, schematic: str) -> str:
    """Return the id of a schematic, once the factory knows it.

    Raises:
        InputError: It is none.
    """
    try:
        return factory.know(schematic)
    except StateError as error:
        raise InputError(f"this is no schematic: {error.message}") from None
