"""An Omni server in process, for tests and rehearsals: real gRPC, real signatures, a fleet of its own making.

Example:
    >>> from omniherd.emulator import Emulator
    >>> with Emulator() as emulator:
    ...     sorted(emulator.environment())
    ['OMNI_ENDPOINT', 'OMNI_SERVICE_ACCOUNT_KEY']
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any, Literal, Self

    from omniherd import AsyncOmni, Omni
    from omniherd.emulator.auth import Keyring
    from omniherd.emulator.faults import Faults
    from omniherd.emulator.fixtures import Snapshot
    from omniherd.emulator.foreign import ForeignCluster
    from omniherd.emulator.persistence import Journal
    from omniherd.emulator.server import Server
    from omniherd.emulator.simulation import Fleet, Pace
    from omniherd.emulator.store import Clock, Store
    from omniherd.emulator.talos.machines import Machines
    from omniherd.emulator.web import Front

__all__ = ["Emulator"]

_KEY = "service_account_key"


class Emulator:
    """A server that answers like Omni v1.9.3, on a loopback address.

    It serves from a thread of its own between `start` and `stop`, or as a context manager, sync or async. Its state
    is in memory and gone with the object, unless it is given a file.

    Args:
        seed_fleet: Whether it starts with a fleet that stands still: three clusters on nine of twelve machines; None
            for yes, unless machines are to live.
        machines: How many living machines join: they boot, upgrade and fail as real ones, see `fleet`.
        speed: How many seconds of theirs pass in one real second; 0 for tests that step through time.
        seed: Where all their chance comes from: with the same seed and the same calls the same happens.
        host: A loopback address.
        port: The port, 0 for a free one.
        any_type: Whether Admins may also use resource types that Omni does not have.
        account: Name of the Omni instance.
        clock: Nanoseconds since 1970, for tests; the machine's clock by default.
        tls: True to serve TLS with a certificate made for it (see `certificate`), or PEM files of a certificate chain
            and its key; False for plain text.
        data: An SQLite file that keeps everything: a call is answered when its change is there. A file with a state
            goes on from it, and seeds are not looked at. None to keep the state in memory.
        seed_from: A file with the resources to start with instead of the fleet: a saved snapshot, or what
            `omnictl get -o yaml` printed; or the resources themselves, as `omniherd.emulator.fixtures.export` reads
            them from a real server. People and keys are left out.
        eula_accepted: Whether the licence is accepted already, as on every server in use; a server without that
            refuses all other calls.
        resource_service: Whether ResourceService is there, as on a server of one's own; on the hosted service every
            call of it ends with HTTP status 405.
        version: Which Omni it is: `1.9` is v1.9.3, `1.10` has the resource types and the calls that came after it, too.
        web_port: The port of the JSON gateway and the login page, 0 for a free one.
        single_port: Whether HTTP is served on `port`, too, as real servers do. Every byte then passes through Python on
            its way to gRPC, which is slower.

    Attributes:
        store: The state, for tests that want to look or change behind the API.
        faults: Faults on demand, for tests that want to see what their code does then.
        service_account_key: Key of an Admin, as `OMNI_SERVICE_ACCOUNT_KEY` takes it.
        certificate: The certificate that it serves with, PEM, for clients to trust; empty for plain text.

    Raises:
        ConfigError: The host is no loopback address, or a file cannot be used.
        InputError: There is no such version.

    Example:
        >>> with Emulator(seed_fleet=False) as emulator:
        ...     emulator.endpoint.startswith("http://127.0.0.1:")
        True
    """

    store: Store
    faults: Faults
    service_account_key: str
    certificate: bytes

    def __init__(
        self,
        *,
        seed_fleet: bool | None = None,
        machines: int = 0,
        speed: float = 1.0,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        any_type: bool = False,
        account: str = "emulator",
        clock: Clock | None = None,
        tls: bool | tuple[str | os.PathLike[str], str | os.PathLike[str]] = False,
        data: str | os.PathLike[str] | None = None,
        seed_from: str | os.PathLike[str] | Sequence[bytes] | None = None,
        eula_accepted: bool = True,
        resource_service: bool = True,
        version: Literal["1.9", "1.10"] = "1.9",
        web_port: int = 0,
        single_port: bool = False,
    ) -> None:
        from pathlib import Path

        from omniherd.emulator.access import Rules, is_newer
        from omniherd.emulator.accounts import Accounts
        from omniherd.emulator.auth import Keyring, signatures_first
        from omniherd.emulator.auth_service import AuthService
        from omniherd.emulator.catalog import add_catalog
        from omniherd.emulator.controllers import Controllers
        from omniherd.emulator.definitions import add_definitions
        from omniherd.emulator.eula import EULA, behind_eula, licence
        from omniherd.emulator.faults import Faults
        from omniherd.emulator.management_service import ManagementService
        from omniherd.emulator.oidc import OIDCProvider
        from omniherd.emulator.policies import Policies
        from omniherd.emulator.providers import ProviderRules
        from omniherd.emulator.resources_api import ResourceService
        from omniherd.emulator.resources_api.hosted import refusing
        from omniherd.emulator.resources_api.of_nodes import OfNodes
        from omniherd.emulator.server import Server
        from omniherd.emulator.services.audit_log import AuditLog
        from omniherd.emulator.services.clusters import ClusterCalls
        from omniherd.emulator.services.guards import Gate
        from omniherd.emulator.services.machines import MachineCalls
        from omniherd.emulator.services.power import PowerCalls
        from omniherd.emulator.services.schematics import SchematicCalls
        from omniherd.emulator.services.support_bundle import SupportBundle
        from omniherd.emulator.state_service import StateService
        from omniherd.emulator.store import Store
        from omniherd.emulator.talos.machines import Machines
        from omniherd.emulator.validators import Validators
        from omniherd.emulator.virtual import Virtual
        from omniherd.emulator.web import Front, Site

        self._foreign: list[ForeignCluster] = []
        self._factory = ""
        if version not in {"1.9", "1.10"}:
            raise InputError(f"the emulator has no version {version!r}", hint="it has 1.9 and 1.10")
        self._host = host
        self._tls = bool(tls)
        self._made = tls is True
        self.account = account
        self.store = Store(clock)
        self.faults = Faults(self.store)
        self._keyring: Keyring = Keyring(self.store)
        self._journal: Journal | None = None
        if data is not None:
            from omniherd.emulator.persistence import Journal

            self._journal = Journal(Path(data))
        if self._journal is not None and not self._journal.fresh:
            self._journal.load(self.store)
        else:
            add_definitions(self.store)
            add_catalog(self.store, account)
            if seed_from is not None:
                from omniherd.emulator.fixtures import read_seed, sow

                sow(self.store, read_seed(Path(seed_from)) if isinstance(seed_from, (str, os.PathLike)) else seed_from)
            elif seed_fleet or (seed_fleet is None and not machines):
                from omniherd.emulator.seed import add_fleet

                add_fleet(self.store)
        if not eula_accepted:
            self.store.remove("default", EULA, "eula")
        self._fleet: Fleet | None = None
        self._pace: Pace | None = None
        if machines:
            from omniherd.emulator.simulation import Fleet, Pace

            self._fleet = Fleet(self.store, machines, seed)
            self._pace = Pace(self._fleet.schedule, speed) if speed else None
        self._imports = Controllers(self.store, self._fleet).imports
        if self._fleet is not None:
            self._fleet.step(0)
        virtual = Virtual(self.store, lambda: self.endpoint + "/")
        rules = Rules(any_type=any_type, newer=version == "1.10")
        validators = Validators(self.store)
        policies = Policies(self.store)
        gate = Gate(self.store, policies)
        state = StateService(self.store, rules, ProviderRules(self.store), validators, virtual, policies=policies)
        accounts = Accounts(self.store, self._keyring, validators)
        management = ManagementService(
            self.store, accounts, account, lambda: self.endpoint, lambda: self.web_endpoint, gate=gate
        )
        auth = AuthService(self.store, self._keyring, lambda: self.web_endpoint)
        oidc = OIDCProvider(self.store, policies, self._keyring.tokens, lambda: self.web_endpoint)
        methods = {**state.methods(), **management.methods(), **auth.methods(), **oidc.methods()}
        audit = AuditLog(self.store, gate)
        self._machines: Machines = Machines(self.store, policies, audit)
        self._machines.running.living = self._fleet
        machine_calls = MachineCalls(self.store, self._machines, audit, gate)
        power = PowerCalls(self.store, self._machines, audit, gate)
        bundle = SupportBundle(self.store, self._machines, gate)
        clusters, schematics = ClusterCalls(self.store, gate), SchematicCalls(self.store, gate)
        for part in (machine_calls, power, clusters, schematics, bundle):
            methods.update(part.methods())
        if version == "1.9":
            methods = {path: method for path, method in methods.items() if not is_newer(path)}
        methods = {**audit.watching(methods), **audit.methods()}
        of_nodes = OfNodes(self.store, self._machines, policies)
        methods.update(ResourceService(self.store, methods, validators, of_nodes).methods())
        methods = behind_eula(signatures_first(methods), self.store, lambda: self.web_endpoint)
        if not resource_service:
            methods = refusing(methods)
        pair: tuple[bytes, bytes] | None = None
        if tls is True:
            from omniherd.emulator.certificate import self_signed

            pair = self_signed()
        elif tls:
            from omniherd.emulator.certificate import read_certificate

            pair = read_certificate(Path(tls[0]), Path(tls[1]))
        self.certificate = b"" if pair is None else pair[0]
        talos = self._machines.proxy
        talos.licence = licence(self.store, lambda: self.web_endpoint)
        self._answered = frozenset(methods) | talos.answered()
        inner = None if single_port else pair
        self._server: Server = Server(
            methods, self._keyring, host, 0 if single_port else port, inner, faults=self.faults, talos=talos
        )
        site = Site(self._server, self.store, auth, oidc, validators, hosted=not resource_service)
        self._single_port = single_port
        self._front: Front = Front(
            site.answer,
            host,
            port if single_port else web_port,
            pair,
            backend=(lambda: self._server.port) if single_port else None,
        )
        self._server.companions.append(self._front)
        kept = {} if self._journal is None else self._journal.facts
        self.service_account_key = kept.get(_KEY) or self._keyring.add_account("automation", "Admin")
        if self._journal is not None:
            self._journal.begin(self.store, {_KEY: self.service_account_key})
        audit.begin(self._journal)

    @property
    def port(self) -> int:
        """The port that it serves on, 0 before the start."""
        return self._front.port if self._single_port else self._server.port

    @property
    def endpoint(self) -> str:
        """The address for clients, `http://127.0.0.1:PORT`."""
        return self._url(self.port)

    @property
    def web_endpoint(self) -> str:
        """The address of the JSON gateway (`/api/`) and of the login page."""
        return self._url(self._front.port)

    def _url(self, port: int) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{port}"

    @property
    def fleet(self) -> Fleet:
        """The living machines, to step through their time and to let them fail.

        Raises:
            InputError: It has none.

        Example:
            >>> with Emulator(machines=3, speed=0) as emulator:
            ...     emulator.fleet.step(60)
            ...     emulator.fleet.disconnect(emulator.fleet.machines[0])
        """
        if self._fleet is None:
            raise InputError("the emulator has no living machines", hint="give it some: Emulator(machines=8)")
        return self._fleet

    def foreign_cluster(self, name: str = "outside", **options: Any) -> ForeignCluster:
        """Start a Talos cluster that stands outside, to be imported; it ends with the emulator.

        Its image factory is from then on the one that this Omni names. Its machines join this Omni when they are given
        a configuration that leads here.

        Args:
            name: The cluster's name.
            **options: What `ForeignCluster` takes besides.

        Example:
            >>> with Emulator(seed_fleet=False) as emulator:
            ...     emulator.foreign_cluster(workers=2).workers
            ['192.0.251.2', '192.0.251.3']
        """
        from omniherd.emulator.catalog import use_factory
        from omniherd.emulator.foreign import ForeignCluster

        first = 1 + sum(len(cluster.nodes) for cluster in self._foreign)
        given: dict[str, Any] = {"first": first, "host": self._host, "clock": self.store.clock, **options}
        cluster = ForeignCluster(name, **given)
        cluster.on_join(self._imports.join)
        cluster.start()
        before = use_factory(self.store, cluster.factory_url)
        if not self._foreign:
            self._factory = before
        self._foreign.append(cluster)
        return cluster

    def answered(self) -> frozenset[str]:
        """Return the paths of the calls that it answers, at least in part; all others end with UNIMPLEMENTED."""
        return self._answered

    def environment(self) -> dict[str, str]:
        """Return the environment variables that lead a client here."""
        return {"OMNI_ENDPOINT": self.endpoint, "OMNI_SERVICE_ACCOUNT_KEY": self.service_account_key}

    def connect(self, **options: Any) -> Omni:
        """Return a client that is connected to this emulator, as an Admin; it trusts a certificate made for it.

        Args:
            **options: What `Omni.connect` takes besides the server and the key.

        Example:
            >>> with Emulator() as emulator, emulator.connect() as omni:
            ...     [cluster.id for cluster in omni.list("clusters")]
            ['edge-lab', 'prod', 'staging']
        """
        from omniherd import Omni

        return Omni.connect(self.endpoint, service_account_key=self.service_account_key, **self._trust(options))

    def connect_async(self, **options: Any) -> AsyncOmni:
        """Return an async client that is connected to this emulator, as an Admin; it trusts a certificate made for it.

        Args:
            **options: What `AsyncOmni.connect` takes besides the server and the key.
        """
        from omniherd import AsyncOmni

        return AsyncOmni.connect(self.endpoint, service_account_key=self.service_account_key, **self._trust(options))

    def _trust(self, options: dict[str, Any]) -> dict[str, Any]:
        # A certificate from files is judged as clients elsewhere judge it: by the system's authorities.
        return {"ca": self.certificate, **options} if self._made else options

    def add_service_account(self, name: str, role: str = "Admin") -> str:
        """Make a service account; return its key as `OMNI_SERVICE_ACCOUNT_KEY` takes it.

        Args:
            name: Its name; `infra-provider:x` for an infra provider.
            role: `None`, `InfraProvider`, `Reader`, `Operator` or `Admin`.
        """
        return self._keyring.add_account(name, role)

    def log(self, machine: str, text: str) -> None:
        """Let a machine write to its log, which those who follow it see at once.

        Args:
            machine: Id of the machine.
            text: One line, or several.

        Raises:
            InputError: There is no such machine.

        Example:
            >>> with Emulator() as emulator, emulator.connect() as omni:
            ...     machine = omni.machines.find("fra-cp-1").id
            ...     emulator.log(machine, "disk nvme0n1 is slow")
            ...     len(list(omni.management.machine_logs(machine, tail_lines=1)))
            1
        """
        if not self._machines.log.has(machine):
            raise InputError(f"the emulator has no machine {machine!r}")
        self._machines.log.add(machine, text)

    def identity_token(self, email: str) -> str:
        """Return what an identity provider gives a person who has logged in there: `omni.auth.confirm` takes it.

        Args:
            email: The person's e-mail address.
        """
        return self._keyring.tokens.identity_token(email, self.store.now()[0])

    def power_on(self, machine: str) -> None:
        """Press the button of a machine that was shut down.

        Args:
            machine: Id of the machine.

        Raises:
            InputError: There is no such machine.
        """
        node = self._machines.nodes.node(machine)
        if node is None:
            raise InputError(f"the emulator has no machine {machine!r}")
        self._machines.running.power_on(node)

    def snapshot(self) -> Snapshot:
        """Return the state as it is now, to `restore` it or to save it to a file."""
        from omniherd.emulator.fixtures import Snapshot

        return Snapshot.of(self.store)

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a state, versions and times included. Controllers do not react; watches see what changes.

        Living machines are then what that state says of them; what was under way goes on from there.

        Args:
            snapshot: A snapshot of this emulator; in one of another the key of this one is not known.
        """
        snapshot.apply(self.store)
        if self._fleet is not None:
            self._fleet.recall()

    def start(self) -> Self:
        """Serve; returns when calls can come.

        Raises:
            ConfigError: The port is taken.
        """
        self._server.start()
        if self._pace is not None:
            self._pace.start()
        return self

    def stop(self) -> None:
        """End all calls and stop serving, and let time stand still; the state stays, and `start` serves it again."""
        if self._pace is not None:
            self._pace.stop()
        self._server.stop()

    def close(self) -> None:
        """Stop for good, and close the file that keeps the state; leaving a `with` block does it too."""
        self.stop()
        if self._foreign:
            from omniherd.emulator.catalog import use_factory

            for cluster in self._foreign:
                cluster.stop()
            use_factory(self.store, self._factory)
            self._foreign.clear()
        if self._journal is not None:
            self._journal.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)
