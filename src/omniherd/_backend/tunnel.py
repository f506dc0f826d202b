"""A way for gRPC to servers whose certificates it cannot judge.

Talos's certificates are Ed25519, which gRPC's TLS library refuses to verify, with no option to change that. TLS of
Python's own can. So gRPC speaks plain HTTP/2 to a socket in a directory that only this user may enter, and what it says
goes on from there in a TLS connection of Python's.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import ssl
import tempfile
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from omniherd.errors import CredentialError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omniherd.talosconfig import TalosContext

__all__ = ["Tunnel", "relay", "tls_context"]

T = TypeVar("T")

_CONNECT = 10.0
_PIECE = 256 * 1024
_NAME = "s"
# Bytes that the path of a socket may be long, everywhere.
_LONGEST = 100


def tls_context(context: TalosContext) -> ssl.SSLContext:
    """Return how TLS is spoken with the servers of a talosconfig's context.

    Raises:
        CredentialError: The certificate, the key or the CA cannot be used.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["h2"])
    try:
        if context.ca is None:
            made.load_default_certs()
        else:
            made.load_verify_locations(cadata=context.ca.decode("ascii"))
        if context.certificate is not None and context.key is not None:
            # Python reads keys out of files only. The label is Talos's own; what is inside is the usual form.
            key = context.key.replace(b" ED25519 PRIVATE KEY-----", b" PRIVATE KEY-----")
            with tempfile.TemporaryDirectory(prefix="omniherd-") as folder:
                path = Path(folder) / "client.pem"
                path.touch(0o600)
                path.write_bytes(context.certificate.rstrip() + b"\n" + key)
                made.load_cert_chain(path)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "it is malformed"
        raise CredentialError(f"the certificates of the talosconfig's context {context.name}: {reason}") from None
    return made


class Tunnel:
    """A socket that leads to the first of some servers that answers.

    Args:
        servers: Hosts and ports, in the order in which they are tried. The one that answered last is tried first.
        context: How TLS is spoken with them.

    Attributes:
        target: What gRPC connects to.
        failure: Why the last attempt got nowhere, or None.
    """

    def __init__(self, servers: Sequence[tuple[str, int]], context: ssl.SSLContext) -> None:
        self._servers = list(servers)
        self._context = context
        folder = _private_folder()
        # Who never closes leaves no folder behind when the program ends.
        self._remove = weakref.finalize(self, _remove, folder, os.getpid())
        self._path = str(Path(folder) / _NAME)
        self.target = f"unix:{self._path}"
        self.failure: str | None = None
        self._closed = False
        self._near: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(self._path)
            self._listener.listen()
        except BaseException:
            self._listener.close()
            self._remove()
            raise
        self._thread = threading.Thread(target=self._listen, name="omniherd-tunnel", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all connections and remove the socket. Closing twice does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            near = list(self._near)
        # What sleeps in `accept` wakes for a guest only.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as guest:
            guest.connect(self._path)
        self._thread.join(_CONNECT)
        for one in near:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._remove()

    def _listen(self) -> None:
        with self._listener:
            while True:
                near, _ = self._listener.accept()
                with self._lock:
                    if self._closed:
                        near.close()
                        return
                    self._near.add(near)
                threading.Thread(target=self._serve, args=(near,), name="omniherd-tunnel", daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            with near:
                far = self._connect()
                if far is None:
                    return
                with far:
                    try:
                        answered = relay(near, far)
                    except ssl.SSLError as error:
                        # With TLS 1.3 a server refuses a client's certificate when the handshake is over.
                        refused = "ALERT" in (error.reason or "")
                        what = "it refuses the talosconfig's certificate" if refused else "its TLS broke"
                        self.failure = f"{what}: {_words(error)}"
                    except OSError as error:
                        self.failure = _reason(error)
                    else:
                        if not answered and not self._closed:
                            self.failure = "it closed the connection without a word"
        finally:
            with self._lock:
                self._near.discard(near)

    def _connect(self) -> socket.socket | None:
        failures: list[str] = []
        for server in list(self._servers):
            host, port = server
            raw: socket.socket | None = None
            try:
                raw = socket.create_connection(server, timeout=_CONNECT)
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = self._context.wrap_socket(raw, server_hostname=host)
            except (OSError, ValueError) as error:
                if raw is not None:
                    raw.close()
                failures.append(f"{host}:{port}: {_reason(error)}")
                continue
            with self._lock:
                self._servers.remove(server)
                self._servers.insert(0, server)
            self.failure = None
            return far
        self.failure = "; ".join(failures)
        return None


def _private_folder() -> str:
    folder = tempfile.mkdtemp(prefix="omniherd-")
    if len(os.fsencode(folder)) + 1 + len(_NAME) <= _LONGEST:
        return folder
    Path(folder).rmdir()
    return tempfile.mkdtemp(prefix="omniherd-", dir="/tmp")


def _remove(folder: str, process: int) -> None:
    # A child that was forked ends in its own time; the folder is its parent's.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def relay(near: socket.socket, far: socket.socket) -> bool:
    """Pass on what two sockets say, until one of them has said all.

    One thread does it for both directions: a TLS connection bears one at a time.

    Args:
        near: A socket, with TLS or without.
        far: Another.

    Returns:
        Whether the far one said anything.

    Raises:
        OSError: A connection broke.
    """
    partner = {near: far, far: near}
    # What is still to be sent to a socket. Nothing new is read for it before: slow readers hold up fast writers.
    left: dict[socket.socket, memoryview] = {near: memoryview(b""), far: memoryview(b"")}
    answered = False
    with selectors.DefaultSelector() as selector:
        for one in partner:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ)
        while True:
            wanted = dict.fromkeys(partner, 0)
            moved = False
            for one, other in partner.items():
                if not left[other]:
                    data = _attempt(partial(one.recv, _PIECE), wanted, one, selectors.EVENT_READ)
                    if data == b"":
                        return answered
                    if data is not None:
                        left[other] = memoryview(data)
                        answered = answered or one is far
                        moved = True
                if left[one]:
                    count = _attempt(partial(one.send, left[one]), wanted, one, selectors.EVENT_WRITE)
                    if count:
                        left[one] = left[one][count:]
                        moved = True
            if not moved:
                for one, events in wanted.items():
                    _register(selector, one, events)
                selector.select()


def _attempt(act: Callable[[], T], wanted: dict[socket.socket, int], one: socket.socket, event: int) -> T | None:
    """Do what may have to wait; note what for. TLS may have to write before it can read, and the other way round."""
    try:
        return act()
    except ssl.SSLWantReadError:
        wanted[one] |= selectors.EVENT_READ
    except ssl.SSLWantWriteError:
        wanted[one] |= selectors.EVENT_WRITE
    except BlockingIOError:
        wanted[one] |= event
    return None


def _register(selector: selectors.BaseSelector, one: socket.socket, events: int) -> None:
    known = one in selector.get_map()
    if events and known:
        selector.modify(one, events)
    elif events:
        selector.register(one, events)
    elif known:
        selector.unregister(one)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {_words(error)}"
    if isinstance(error, TimeoutError):
        return "no answer"
    number = error.errno if isinstance(error, OSError) else None
    return (os.strerror(number) if number and number > 0 else str(error)).lower()


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
