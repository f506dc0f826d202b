"""A Talos API of its own: scripted answers behind TLS with Ed25519 certificates on both sides, as Talos has them."""

import base64
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from omniherd._backend.tunnel import relay

LABEL = b"ED25519 PRIVATE KEY"


class Authority:
    """A certificate authority made by the openssl program; Python has nothing to make one with."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.run("genpkey", "-algorithm", "ed25519", "-out", f"{name}.key")
        self.run(
            "req", "-x509", "-new", "-key", f"{name}.key", "-subj", "/O=talos", "-days", "2", "-out", f"{name}.crt"
        )

    def run(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def read(self, file):
        return (self.folder / file).read_bytes()

    def issue(self, name, alternative):
        self.run("genpkey", "-algorithm", "ed25519", "-out", f"{name}.key")
        self.run("req", "-new", "-key", f"{name}.key", "-subj", "/O=os:admin", "-out", f"{name}.csr")
        (self.folder / "extensions").write_text(f"subjectAltName={alternative}\n")
        ours = ("-CA", f"{self.name}.crt", "-CAkey", f"{self.name}.key", "-extfile", "extensions", "-days", "2")
        self.run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *ours)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program to make certificates")
    folder = tmp_path_factory.mktemp("talos-ca")
    made = Authority(folder, "ca")
    made.issue("server", "IP:127.0.0.1")
    made.issue("client", "IP:127.0.0.1")
    return made


def talosconfig(authority, endpoints, *, client="client", nodes=()):
    """The text of a talosconfig, with keys labelled as Talos labels them."""
    coded = {
        "ca": authority.read("ca.crt"),
        "crt": authority.read(f"{client}.crt"),
        "key": authority.read(f"{client}.key").replace(b"PRIVATE KEY", LABEL),
    }
    lines = [f"      {name}: {base64.b64encode(data).decode()}" for name, data in coded.items()]
    return "\n".join(
        [
            "context: lab",
            "contexts:",
            "  lab:",
            f"      endpoints: {list(endpoints)}",
            f"      nodes: {list(nodes)}",
            *lines,
            "",
        ]
    )


@contextlib.contextmanager
def tls_front(authority, port):
    """Yield the port of a TLS server that asks for certificates and passes everything on to a plain one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "server.crt", authority.folder / "server.key")
    context.load_verify_locations(authority.folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(raw):
        with (
            raw,
            contextlib.suppress(OSError),
            context.wrap_socket(raw, server_side=True) as near,
            socket.create_connection(("127.0.0.1", port)) as far,
        ):
            relay(near, far)

    def listen():
        while True:
            raw, _ = listener.accept()
            if ended.is_set():
                raw.close()
                return
            threads.append(threading.Thread(target=serve, args=(raw,), daemon=True))
            threads[-1].start()

    ended = threading.Event()
    threads.append(threading.Thread(target=listen, daemon=True))
    threads[0].start()
    with listener:
        address = listener.getsockname()
        yield address[1]
        ended.set()
        socket.create_connection(address).close()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def talos_endpoint(authority, answer):
    """Yield a script and its address; see `scripted_server`."""
    from scripted_server import scripted

    with scripted(answer) as script, tls_front(authority, script.port) as port:
        yield script, f"127.0.0.1:{port}"
