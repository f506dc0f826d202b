"""The gRPC side of the emulator: one aio server in a thread of its own, raw bytes in and out."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from omniherd.emulator.access import is_newer
from omniherd.emulator.faults import Faults
from omniherd.emulator.records import StateError
from omniherd.errors import ConfigError
from omniherd.signing import SIGNATURE_HEADER
from omniherd.wire.calls import CALLS

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from omniherd.emulator.access import Principal
    from omniherd.emulator.auth import Keyring
    from omniherd.emulator.faults import Meeting

__all__ = [
    "MESSAGE_LIMIT",
    "SERVICES",
    "Bell",
    "Companion",
    "Incoming",
    "Method",
    "Server",
    "StreamMethod",
    "Talos",
    "UnaryMethod",
]

_log = logging.getLogger(__name__)

MESSAGE_LIMIT = 32 * 1024 * 1024
STREAM_LIMIT = 250

# What a server has itself; services of Talos are reached with metadata that leads to a machine, else they are unknown.
SERVICES = frozenset(
    {
        "auth.AuthService",
        "cosi.resource.State",
        "management.ManagementService",
        "oidc.OIDCService",
        "omni.resources.ResourceService",
    }
)

# How long calls may take to end when the server stops, in seconds; those that only wait end at once.
_GRACE = 0.5

# grpc's own refusal of a large message has another text than the real server's, so its limit stands above ours.
_CORE_LIMIT = 2 * MESSAGE_LIMIT


class Bell:
    """What a waiting call listens to: news for it, and the end of the server."""

    def __init__(self, bells: WeakSet[Bell]) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._closing = False
        bells.add(self)

    def ring(self) -> None:
        """Wake the call; from any thread."""
        self._loop.call_soon_threadsafe(self._rung.set)

    def close(self) -> None:
        """Wake the call for good; from the server's own thread."""
        self._closing = True
        self._rung.set()

    async def heard(self) -> None:
        """Wait until it rings.

        Raises:
            StateError: `UNAVAILABLE`: the server stops.
        """
        await self._rung.wait()
        self._rung.clear()
        if self._closing:
            raise StateError("UNAVAILABLE", "the emulator stops")


class Incoming:
    """A call that came in.

    Args:
        path: The method's path.
        metadata: Its metadata, texts only.
        keyring: Who knows the keys.
        bells: The bells of the server's calls.

    Attributes:
        path: The method's path.
        metadata: The metadata, in the order it came.
        organizations: The organizations of the subject of the client's certificate; empty where none was asked for.
    """

    def __init__(self, path: str, metadata: Sequence[tuple[str, str]], keyring: Keyring, bells: WeakSet[Bell]) -> None:
        self.path = path
        self.metadata = metadata
        self._bells = bells
        self.organizations: tuple[str, ...] = ()
        self._keyring = keyring
        self._principal: Principal | None = None

    @property
    def principal(self) -> Principal:
        """Who made the call.

        Raises:
            StateError: `UNAUTHENTICATED`.
        """
        if self._principal is None:
            self._principal = self._keyring.authenticate(self.path, self.metadata)
            self.verified_email()
        return self._principal

    def check_signature(self) -> None:
        """Refuse a call whose signature is wrong; one without a signature passes.

        Raises:
            StateError: `UNAUTHENTICATED`.
        """
        if self.header(SIGNATURE_HEADER) is not None:
            self._principal = self.principal

    def admit(self) -> None:
        """Take a call without a signature as nobody's, for what everybody may see."""
        if self._principal is None and self.header(SIGNATURE_HEADER) is None:
            from omniherd.emulator.access import Principal

            self._principal = Principal("", "None")

    @property
    def known(self) -> Principal | None:
        """Who made the call, as far as that was asked already; None for nobody, or for not yet."""
        return self._principal

    def bell(self) -> Bell:
        """Return what the call can wait for."""
        return Bell(self._bells)

    def verified_email(self) -> str:
        """Return whose bearer token came with the call, empty for none.

        Raises:
            StateError: `UNAUTHENTICATED`: it is no token of the identity provider.
        """
        kind, _, token = (self.header("authorization") or "").partition(" ")
        return self._keyring.verified_email(token) if kind.lower() == "bearer" else ""

    def header(self, name: str) -> str | None:
        """Return the first value of a metadata key, None when it was not sent."""
        return next((value for key, value in self.metadata if key == name), None)


class Companion(Protocol):
    """What serves beside gRPC, in the same loop."""

    async def start(self) -> None:
        """Serve; an `OSError` is told to who starts the server."""

    async def stop(self) -> None:
        """End."""


Send = Callable[[bytes], Awaitable[None]]


class Talos(Protocol):
    """What takes calls that are for Talos."""

    def takes(self, path: str, runtime: str | None) -> bool:
        """Tell whether a call is for Talos."""
        ...

    def check(self, call: Incoming) -> None:
        """Refuse a call that is not, but names machines that are not there."""

    async def serve(self, call: Incoming, data: bytes, send: Send) -> None:
        """Answer a call."""


UnaryMethod = Callable[[Incoming, Any], Awaitable["Message | bytes"]]
StreamMethod = Callable[[Incoming, Any, Send], Awaitable[None]]
Method = UnaryMethod | StreamMethod


class Server:
    """A server in a background thread.

    Args:
        methods: What answers, by path: coroutines of (call, request) for single answers, of (call, request, send) for
            streams. Known methods that are not here answer UNIMPLEMENTED.
        keyring: Who checks signatures.
        host: A loopback address, or `localhost`.
        port: The port, 0 for a free one.
        certificate: Certificate chain and key, PEM, for TLS; None for plain text.
        clients: The authority, PEM, whose certificates clients must have; None for clients without certificates.
        faults: The faults that calls meet.
        talos: What takes the calls that are for Talos; None for nothing.

    Attributes:
        companions: What serves beside it, from its start to its end.
        port: The port, 0 before the start.

    Raises:
        ConfigError: The host is not a loopback address, or the port is taken.
    """

    def __init__(
        self,
        methods: dict[str, Method],
        keyring: Keyring,
        host: str,
        port: int,
        certificate: tuple[bytes, bytes] | None = None,
        *,
        clients: bytes | None = None,
        faults: Faults | None = None,
        talos: Talos | None = None,
    ) -> None:
        _check_loopback(host)
        self._clients = clients
        self.talos = talos
        self._methods = methods
        self._keyring = keyring
        self._host = host
        self._wanted_port = port
        self._certificate = certificate
        self._faults = faults
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._bells: WeakSet[Bell] = WeakSet()
        self.companions: list[Companion] = []
        self.port = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that serves; only while it runs."""
        assert self._loop is not None  # noqa: S101 - callers wait for the start
        return self._loop

    def start(self) -> None:
        """Serve; returns when calls can come."""
        self._started.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name="omniherd-emulator", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise ConfigError(f"cannot serve on {self._host}:{self._wanted_port}: {self._failure}") from self._failure

    def stop(self) -> None:
        """End all calls and the thread; does nothing when it does not run."""
        thread, loop, stop = self._thread, self._loop, self._stop
        if thread is None or loop is None or stop is None:
            return
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(stop.set)
        thread.join()
        self._thread = None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - whatever it was belongs to who started the server
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        import grpc
        import grpc.aio

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = grpc.aio.server(
            handlers=(_handler(self),),
            options=(
                ("grpc.max_receive_message_length", _CORE_LIMIT),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", STREAM_LIMIT),
                ("grpc.max_metadata_size", 1024 * 1024),
                ("grpc.absolute_max_metadata_size", 1024 * 1024),
                # Without these the core resets calls at random when many come at once, which a real server does not.
                ("grpc.http.overload_protection", 0),
                ("grpc.server.max_pending_requests", 100_000),
                ("grpc.server.max_pending_requests_hard_limit", 100_000),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 100),
                ("grpc.http2.max_ping_strikes", 0),
            ),
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        address = f"{host}:{self._wanted_port}"
        if self._certificate is None:
            self.port = server.add_insecure_port(address)
        else:
            chain, key = self._certificate
            credentials = grpc.ssl_server_credentials([(key, chain)], self._clients, self._clients is not None)
            self.port = server.add_secure_port(address, credentials)
        await server.start()
        try:
            for companion in self.companions:
                await companion.start()
        except OSError:
            await server.stop(None)
            raise
        self._started.set()
        await self._stop.wait()
        for bell in tuple(self._bells):
            bell.close()
        for companion in self.companions:
            await companion.stop()
        await server.stop(_GRACE)
        # Their last steps are still to come; the loop's end would cancel them, and grpc would log that.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=_GRACE)

    # --- one call ---------------------------------------------------------------------------------------------------

    def incoming(self, path: str, context: Any) -> Incoming:
        """Return the call of a context."""
        metadata = context.invocation_metadata() or ()
        call = self.call(path, [(str(key), value) for key, value in metadata if isinstance(value, str)])
        if self._clients is not None:
            call.organizations = _organizations(context.auth_context())
        return call

    def call(self, path: str, metadata: Sequence[tuple[str, str]]) -> Incoming:
        """Return a call with its metadata, by whatever way it came.

        Raises:
            StateError: It is meant for a node that cannot be reached.
        """
        call = Incoming(path, metadata, self._keyring, self._bells)
        if self.talos is not None and not self.talos.takes(path, call.header("runtime")):
            self.talos.check(call)
        return call

    def meet(self, path: str) -> Meeting | None:
        """Return the faults that a call meets, None for none."""
        return None if self._faults is None else self._faults.meet(path, lambda: Bell(self._bells).heard())

    def method(self, path: str) -> Method | None:
        """Return what answers a path."""
        return self._methods.get(path)


def _organizations(peer: Mapping[str, Sequence[bytes]]) -> tuple[str, ...]:
    """Return the organizations of a peer's certificate, out of a subject in the form of RFC 2253."""
    subject = b"".join(peer.get("x509_subject", ())).decode("utf-8", "replace")
    return tuple(part[2:] for part in subject.split(",") if part.startswith("O="))


def _check_loopback(host: str) -> None:
    if host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(f"the emulator serves on loopback addresses only, not on {host!r}")


def _unknown(path: str) -> str:
    service, _, method = path.removeprefix("/").rpartition("/")
    if service in SERVICES:
        return f"unknown method {method} for service {service}"
    return f"unknown service {service}"


def _handler(server: Server) -> Any:
    """Return the generic handler that routes every path; a function, since the base class comes with grpc."""
    import grpc

    handlers: Any = grpc

    async def fail(context: Any, code: str, text: str) -> None:
        await context.abort(grpc.StatusCode[code], text)

    def parse(path: str, data: bytes) -> Any:
        from omniherd._core.pool import message

        if len(data) > MESSAGE_LIMIT:
            raise StateError(
                "RESOURCE_EXHAUSTED", f"grpc: received message larger than max ({len(data)} vs. {MESSAGE_LIMIT})"
            )
        try:
            return message(CALLS[path].request).FromString(data)
        except Exception:  # noqa: BLE001 - protobuf's error class depends on its backend
            raise StateError("INTERNAL", "grpc: error unmarshalling request: unexpected EOF") from None

    async def guarded(context: Any, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except StateError as error:
            await fail(context, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - a caller must get an answer; the log has the trace
            # A caller whose connection broke amid its answer gets none, and that is no failure here.
            if context.done():
                return None
            _log.exception("the emulator failed on a call")
            await fail(context, "INTERNAL", f"the emulator failed, which is a bug of omniherd: {error!r}")

    def unary(path: str, method: Any) -> Any:
        async def serve(data: bytes, context: Any) -> Any:
            async def work() -> bytes:
                meeting = server.meet(path)
                if meeting is not None:
                    await meeting.before()
                answer = await method(server.incoming(path, context), parse(path, data))
                if meeting is not None:
                    meeting.after()
                return answer if isinstance(answer, bytes) else answer.SerializeToString()

            return await guarded(context, work())

        return handlers.unary_unary_rpc_method_handler(serve)

    def stream(path: str, method: Any) -> Any:
        async def serve(data: bytes, context: Any) -> None:
            async def work() -> None:
                meeting = server.meet(path)
                if meeting is None:
                    await method(server.incoming(path, context), parse(path, data), context.write)
                    return
                await meeting.before()
                with contextlib.suppress(Faults.ends):
                    await method(server.incoming(path, context), parse(path, data), meeting.sender(context.write))
                    meeting.after()

            await guarded(context, work())

        return handlers.unary_stream_rpc_method_handler(serve)

    def refused(path: str) -> Any:
        known = path in CALLS and path.removeprefix("/").partition("/")[0] in SERVICES and not is_newer(path)
        text = f"{path} is not emulated" if known else _unknown(path)

        async def serve(_requests: Any, context: Any) -> None:
            async def work() -> None:
                server.incoming(path, context)
                raise StateError("UNIMPLEMENTED", text)

            await guarded(context, work())

        return handlers.stream_stream_rpc_method_handler(serve)

    def through(path: str, talos: Talos) -> Any:
        async def serve(requests: Any, context: Any) -> None:
            async def work() -> None:
                meeting = server.meet(path)
                send = context.write
                if meeting is not None:
                    await meeting.before()
                    send = meeting.sender(send)
                call = server.incoming(path, context)
                with contextlib.suppress(Faults.ends):
                    async for data in requests:
                        await talos.serve(call, data, send)
                        break
                    else:
                        raise StateError("UNKNOWN", "EOF")
                    if meeting is not None:
                        meeting.after()

            await guarded(context, work())

        # Without knowing the method, which may be none of Talos': the form that all others fit into.
        return handlers.stream_stream_rpc_method_handler(serve)

    cache: dict[str, Any] = {}

    class Router(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, handler_call_details: Any) -> Any:
            path: str = handler_call_details.method
            runtime = next((value for key, value in handler_call_details.invocation_metadata if key == "runtime"), None)
            if server.talos is not None and server.talos.takes(path, runtime):
                return through(path, server.talos)
            found = cache.get(path)
            if found is None:
                method = server.method(path)
                if method is None:
                    return refused(path)
                found = cache[path] = (stream if CALLS[path].server_stream else unary)(path, method)
            return found

    return Router()
