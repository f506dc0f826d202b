"""Root certificates, and the pinning that stands in for "do not verify"."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omniherd._core.files import reason
from omniherd.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from omniherd.credentials import Endpoint

__all__ = ["TLS", "Trust", "pin", "read_ca", "system_roots", "trust"]

# Where Linux distributions, the BSDs and macOS keep the bundle; Go looks at the same places.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class TLS:
    """How the server's certificate is judged.

    Attributes:
        ca: A file of trusted CA certificates, or their PEM text as bytes; None for the system's.
        server_name: The name that the certificate must bear, where it is not the endpoint's host.
        insecure_skip_verify: Take whatever certificate the server presents now, and only that one from then on.
    """

    ca: str | os.PathLike[str] | bytes | None = None
    server_name: str | None = None
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class Trust:
    """What gRPC is given: root certificates (None for its own bundle) and the name to expect (None for the host)."""

    roots: bytes | None
    name: str | None


def trust(endpoint: Endpoint, tls: TLS, timeout: float) -> Trust:
    """Decide what to trust for a connection. With `insecure_skip_verify` this talks to the server.

    Raises:
        ConfigError: The CA file cannot be read or holds no certificate.
        Unavailable: The server's certificate cannot be fetched.
    """
    if tls.insecure_skip_verify:
        roots, name = pin(endpoint, timeout)
        return Trust(roots, name)
    return Trust(system_roots() if tls.ca is None else read_ca(tls.ca), tls.server_name)


def read_ca(ca: str | os.PathLike[str] | bytes) -> bytes:
    """Return CA certificates as PEM.

    Args:
        ca: A file, or the PEM text.

    Raises:
        ConfigError: The file cannot be read or holds no certificate.
    """
    if isinstance(ca, bytes):
        data, what = ca, "the CA given as bytes"
    else:
        what = f"the CA file {os.fspath(ca)}"
        try:
            data = Path(ca).read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read {what}: {reason(error)}") from None
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise ConfigError(f"{what} holds no PEM certificate")
    return data


def system_roots() -> bytes | None:
    """Return the system's root certificates as PEM, or None where there is no bundle: gRPC then uses its own.

    `SSL_CERT_FILE` names another bundle, as for OpenSSL and Go; `GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` is left to gRPC.
    """
    if os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        return None
    import ssl

    chosen = os.environ.get("SSL_CERT_FILE")
    for path in (chosen, ssl.get_default_verify_paths().cafile, *_BUNDLES):
        if path:
            try:
                return Path(path).read_bytes()
            except OSError:
                continue
    return None


def pin(endpoint: Endpoint, timeout: float) -> tuple[bytes, str]:
    """Fetch the certificate that a server presents; return it as PEM, with a name that it bears.

    gRPC's C core cannot skip verification. Trusting exactly this certificate, under a name of its own, comes closest:
    the first connection may be to an impostor, the following ones go to the same server as the first.

    Raises:
        Unavailable: The server does not answer, does not speak TLS, or its certificate bears no name at all.
    """
    import socket
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((endpoint.host, endpoint.port), timeout=timeout) as connection,
            context.wrap_socket(connection, server_hostname=endpoint.host) as wrapped,
        ):
            der = wrapped.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        raise Unavailable(
            f"no TLS with {endpoint.url}: {error.reason or error}",
            details={"sent": False},
            retryable=False,
            hint="use an http:// or grpc:// address for a server without TLS",
        ) from error
    except OSError as error:
        raise Unavailable(
            f"cannot connect to {endpoint.url}: {reason(error)}",
            details={"sent": False},
            hint="check the endpoint's address and port, and that the server runs",
        ) from error
    if der is None:
        raise Unavailable(f"{endpoint.url} presents no certificate", details={"sent": False}, retryable=False)
    pem = ssl.DER_cert_to_PEM_cert(der).encode()
    name = _name(pem, endpoint.host)
    if name is None:
        raise Unavailable(
            f"the certificate of {endpoint.url} bears no name, so gRPC cannot accept it",
            details={"sent": False},
            retryable=False,
            hint="give the server a certificate with a subject alternative name",
        )
    return pem, name


def _name(pem: bytes, host: str) -> str | None:
    """Return a name that a certificate bears, the wanted one if it is among them."""
    import ssl
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "certificate.pem"
        path.write_bytes(pem)
        # The standard library decodes certificates of verified peers only; this is the function that it uses for them.
        decoded: dict[str, Any] = cast("Any", ssl)._ssl._test_decode_cert(str(path))  # noqa: SLF001
    names = [value for kind, value in decoded.get("subjectAltName", ()) if kind in {"DNS", "IP Address"}]
    if not names:
        # Old servers' certificates bear a common name only; gRPC reads it where there is no alternative name.
        names = [value for part in decoded.get("subject", ()) for kind, value in part if kind == "commonName"]
    if host in names:
        return host
    return names[0].replace("*", "omniherd", 1) if names else None
