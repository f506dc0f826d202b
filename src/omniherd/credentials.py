"""Where a client connects to, and as whom.

Explicit arguments come first, then a service account's key in the environment, then the current context of the
omniconfig file with a person's key from the key directory. Everything is decided without asking the server.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from omniherd._core.files import make_private_directory, reason, write_atomic
from omniherd.errors import ConfigError, CredentialError, KeyExpired
from omniherd.omniconfig import OmniConfig, locate, talos_dir
from omniherd.signing import CLOCK_SKEW, PGPKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.signing import Signer

__all__ = [
    "ENDPOINT_VARIABLE",
    "INFRA_PROVIDER_PREFIX",
    "INFRA_PROVIDER_SUFFIX",
    "SERVICE_ACCOUNT_SUFFIX",
    "SERVICE_ACCOUNT_VARIABLES",
    "USER_KEY_LIFETIME",
    "Connection",
    "Endpoint",
    "KeyStore",
    "ServiceAccount",
    "check_user_key",
    "resolve",
    "service_account_identity",
    "service_account_name",
]

SERVICE_ACCOUNT_VARIABLES = ("SIDERO_SERVICE_ACCOUNT_KEY", "OMNI_SERVICE_ACCOUNT_KEY")
"""Variables that may hold a service account's key; the first one that is set counts, even when it is empty."""
ENDPOINT_VARIABLE = "OMNI_ENDPOINT"
SERVICE_ACCOUNT_SUFFIX = "@serviceaccount.omni.sidero.dev"
INFRA_PROVIDER_SUFFIX = "@infra-provider.serviceaccount.omni.sidero.dev"
INFRA_PROVIDER_PREFIX = "infra-provider:"
USER_KEY_LIFETIME = timedelta(hours=4)
"""For how long a person's new key is made."""

_LONGEST_USER_KEY = timedelta(hours=8, minutes=1)
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_HOST = re.compile(r"[^\s/?#@\\]+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address.

    Attributes:
        host: Name or address, an IPv6 address without its brackets.
        port: TCP port.
        tls: Whether the connection is encrypted: by `https` only.
        url: The URL it was read from.

    Example:
        >>> Endpoint.parse("https://omni.example.com").target
        'omni.example.com:443'
    """

    host: str
    port: int
    tls: bool
    url: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read a URL: `https` is TLS on port 443 unless it says otherwise, `http`, `grpc` and others plain on port 80.

        Raises:
            ConfigError: There is no scheme or no host, or the port is no number up to 65535.
        """
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"server URL {url!r}: {error}") from None
        if not parts.scheme or not host or not _HOST.fullmatch(host):
            raise ConfigError(
                f"server URL {url!r} has no host",
                hint="write it in full, such as https://omni.example.com",
            )
        tls = parts.scheme.lower() == "https"
        return cls(host, port if port is not None else 443 if tls else 80, tls, url)

    @property
    def target(self) -> str:
        """`host:port` as gRPC takes it, IPv6 addresses in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def service_account_identity(name: str) -> str:
    """Return the identity that the server gives to a service account.

    Example:
        >>> service_account_identity("ci"), service_account_identity("infra-provider:lab")
        ('ci@serviceaccount.omni.sidero.dev', 'lab@infra-provider.serviceaccount.omni.sidero.dev')
    """
    if name.startswith(INFRA_PROVIDER_PREFIX):
        return name.removeprefix(INFRA_PROVIDER_PREFIX) + INFRA_PROVIDER_SUFFIX
    return name + SERVICE_ACCOUNT_SUFFIX


def service_account_name(identity: str) -> str | None:
    """Return the name of a service account by its identity, as renewing and destroying want it; None for a person.

    Example:
        >>> service_account_name("lab@infra-provider.serviceaccount.omni.sidero.dev")
        'infra-provider:lab'
    """
    if identity.endswith(INFRA_PROVIDER_SUFFIX):
        return INFRA_PROVIDER_PREFIX + identity.removesuffix(INFRA_PROVIDER_SUFFIX)
    if identity.endswith(SERVICE_ACCOUNT_SUFFIX):
        return identity.removesuffix(SERVICE_ACCOUNT_SUFFIX)
    return None


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account's name and key, in the form that `OMNI_SERVICE_ACCOUNT_KEY` carries.

    Attributes:
        name: The account's name, without the suffix of its identity.
        key: Its private key; does not show when printed.

    Example:
        >>> key = PGPKey.generate("", "", service_account_identity("ci"), timedelta(days=365))
        >>> ServiceAccount.decode(ServiceAccount("ci", key).encode()).name
        'ci'
    """

    name: str
    key: PGPKey

    @classmethod
    def decode(cls, text: str) -> ServiceAccount:
        """Read the base64 text.

        Raises:
            CredentialError: It is not base64, not JSON, or holds no key.
        """
        document = _parse_json(_decode_base64(text))
        name, armored = document.get("name"), document.get("pgp_key")
        for value in (name, armored):
            if value is not None and not isinstance(value, str):
                raise CredentialError("the service account key holds something other than texts")
        key = PGPKey.from_armored(armored or "", identity=name or "")
        return cls(name or "", key)

    def encode(self) -> str:
        """Return the base64 text. It holds the private key."""
        document = {"name": self.name, "pgp_key": self.key.private_armored()}
        return base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()


class KeyStore:
    """The directory of people's private keys, one file a context and identity.

    Attributes:
        directory: Where keys are written and first looked for.
        legacy: The old directory, read where the first has no such file; None when the directory was chosen.

    Example:
        >>> KeyStore("keys").path("lab", "me@example.com")
        'keys/lab-me@example.com.pgp'
    """

    __slots__ = ("directory", "legacy")

    def __init__(self, directory: str | os.PathLike[str], legacy: str | os.PathLike[str] | None = None) -> None:
        self.directory = os.fspath(directory)
        self.legacy = None if legacy is None else os.fspath(legacy)

    def __repr__(self) -> str:
        return f"KeyStore({self.directory!r}, legacy={self.legacy!r})"

    @classmethod
    def locate(
        cls, keys_dir: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None
    ) -> KeyStore:
        """Find the directory: `$SIDEROV1_KEYS_DIR`, else `keys_dir`, else `keys` in the Talos directory.

        Args:
            keys_dir: A chosen directory.
            environ: The environment, the process's by default.
        """
        env = os.environ if environ is None else environ
        chosen = env.get("SIDEROV1_KEYS_DIR") or keys_dir
        if chosen:
            return cls(chosen)
        home = Path(env["HOME"]) if env.get("HOME") else Path.home()
        data = env.get("XDG_DATA_HOME") or home / ".local" / "share"
        return cls(talos_dir(env) / "keys", Path(data) / "omni" / "keys")

    def path(self, context: str, identity: str) -> str:
        """Return the file that a new key goes to.

        Raises:
            CredentialError: The names do not make a file name.
        """
        return str(Path(self.directory) / _key_file(context, identity))

    def find(self, context: str, identity: str) -> str:
        """Return the file to read: the one in the old directory where only that is there.

        Raises:
            CredentialError: The names do not make a file name.
        """
        first = self.path(context, identity)
        if self.legacy is not None and not Path(first).exists():
            second = Path(self.legacy) / _key_file(context, identity)
            if second.exists():
                return str(second)
        return first

    def load(self, context: str, identity: str, *, now: float | None = None) -> PGPKey:
        """Read a key that can be used.

        Args:
            context: Name of the context.
            identity: The person's e-mail address.
            now: Unix seconds, the present by default.

        Raises:
            KeyExpired: The key's time is over.
            CredentialError: There is no key, or it is none of Omni's; the text says why.
        """
        path = self.find(context, identity)
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            fault = reason(error)
        else:
            key = PGPKey.from_armored(text, identity=identity)
            check_user_key(key, time.time() if now is None else now)
            return key
        raise CredentialError(f"open {path}: {fault}", details={"path": path})

    def save(self, context: str, identity: str, key: PGPKey) -> str:
        """Write a key, readable by its owner only, and return the file.

        Raises:
            CredentialError: The file cannot be written.
        """
        path = self.path(context, identity)
        try:
            make_private_directory(self.directory)
            write_atomic(path, key.private_armored())
        except OSError as error:
            raise CredentialError(f"open {path}: {reason(error)}") from None
        return path

    def delete(self, context: str, identity: str) -> bool:
        """Delete the file that `find` gives; say whether there was one.

        Raises:
            CredentialError: The file cannot be deleted.
        """
        path = self.find(context, identity)
        try:
            Path(path).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CredentialError(f"remove {path}: {reason(error)}") from None
        return True


def check_user_key(key: PGPKey, now: float) -> None:
    """Make sure that a person's key is worth sending.

    The clock of the server may differ by five minutes, so a key that expired that recently passes. The texts are those
    of omnictl.

    Args:
        key: The key.
        now: Unix seconds.

    Raises:
        KeyExpired: The key's time is over.
        CredentialError: It is revoked, never expires or too late, belongs to nobody, or cannot sign.
    """
    expires = key.expires
    if expires is None:
        raise CredentialError("key does not contain a valid key lifetime")
    if key.public.is_revoked:
        raise CredentialError("key is revoked")
    if key.is_expired(now, CLOCK_SKEW):
        raise KeyExpired("key expired", details={"expires": expires})
    if expires.timestamp() - now > _LONGEST_USER_KEY.total_seconds():
        from omniherd._core.durations import duration_text

        lifetime = duration_text(expires - key.created)
        raise CredentialError(f"key lifetime is too long: {lifetime}", details={"expires": expires})
    if key.email is None:
        fault = f"missing '@' or angle-addr: {key.user_ids[0]}" if key.user_ids else "no address: "
        raise CredentialError(f"key does not contain a valid email address: mail: {fault}")
    # One that expired within the tolerance can be sent, though the library refuses to open it for signing.
    if not key.is_expired(time.time()):
        key.check()


Kind = Literal["explicit", "service-account", "user", "anonymous"]


@dataclass(frozen=True, slots=True)
class Connection:
    """Where to connect, and who signs.

    Attributes:
        endpoint: The server.
        signer: Who signs the calls, or None: nobody, or a person whose key is not usable (see `problem`).
        kind: Where the signer comes from: `explicit`, `service-account` (a key of one, given or in the environment),
            `user` (a context with an identity) or `anonymous` (a context without).
        identity: The name that is sent, or `""`.
        context: Name of the context that was used, or None.
        key_store: Where a person's key belongs; only for `user`.
        problem: Why a person's key is not usable; a login makes a new one.
        notices: Lines for standard error.
    """

    endpoint: Endpoint
    signer: Signer | None
    kind: Kind
    identity: str = ""
    context: str | None = None
    key_store: KeyStore | None = None
    problem: CredentialError | None = field(default=None, repr=False)
    notices: tuple[str, ...] = ()

    def require_signer(self) -> Signer | None:
        """Return the signer, or None for an anonymous connection.

        Raises:
            CredentialError: The person's key is missing or not usable; `KeyExpired` when its time is over.
        """
        if self.problem is not None:
            raise self.problem
        return self.signer


def resolve(
    *,
    endpoint: str | None = None,
    service_account_key: str | None = None,
    signer: Signer | None = None,
    context: str | None = None,
    omniconfig: str | os.PathLike[str] | None = None,
    keys_dir: str | os.PathLike[str] | None = None,
    create_config: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Connection:
    """Decide where to connect, and as whom.

    The signer is `signer`, else `service_account_key`, else the first set one of `SERVICE_ACCOUNT_VARIABLES`, else the
    key of the context's identity. The server is `endpoint`, else `$OMNI_ENDPOINT`, else, where no key was given before
    the context's turn, the URL of the context. A context is not read at all when it is not needed.

    Args:
        endpoint: URL of the server.
        service_account_key: The text that `OMNI_SERVICE_ACCOUNT_KEY` would hold.
        signer: A signer of any kind.
        context: Name of a context, the current one by default. A key in the environment goes before it.
        omniconfig: The file, by default the one that `omniherd.omniconfig.locate` finds.
        keys_dir: Directory of people's keys, see `KeyStore.locate`.
        create_config: Write the default omniconfig file where there is none, also when it is not needed.
        environ: The environment, the process's by default.

    Raises:
        ConfigError: No server is known, its URL makes no sense, or the omniconfig file cannot be used.
        ContextNotFound: The context is not in the file.
        CredentialError: A service account's key is malformed.

    Example:
        >>> key = PGPKey.generate("", "", "ci@example.com", 3600)
        >>> resolve(endpoint="https://omni.example.com", signer=key, environ={}).endpoint.target
        'omni.example.com:443'
    """
    env = os.environ if environ is None else environ
    notices: tuple[str, ...] = ()
    config: OmniConfig | None = None
    text = service_account_key
    variable = next((name for name in SERVICE_ACCOUNT_VARIABLES if name in env), None) if text is None else None
    if variable is not None:
        text = env[variable]
    by_context = signer is None and text is None
    if create_config or by_context:
        location = locate(omniconfig, env)
        notices = location.notices
        config = OmniConfig.load(location.path, create=create_config)
    url = endpoint or env.get(ENDPOINT_VARIABLE, "")
    if signer is not None:
        return Connection(_endpoint(url), signer, "explicit", signer.identity, notices=notices)
    if text is not None:
        try:
            account = ServiceAccount.decode(text)
        except CredentialError as error:
            if variable is not None:
                error.hint = f"{variable} is not what a service account's key looks like"
            raise
        return Connection(_endpoint(url), account.key, "service-account", account.name, notices=notices)
    return _by_context(cast("OmniConfig", config), context, url, KeyStore.locate(keys_dir, env), notices)


def _by_context(
    config: OmniConfig, name: str | None, url: str, store: KeyStore, notices: tuple[str, ...]
) -> Connection:
    chosen = config.context(name)
    context = name or config.current
    if chosen.basic:
        notices = (*notices, "[WARN] basic auth is deprecated and has no effect")
    try:
        endpoint = _endpoint(url or chosen.require_url(context))
    except ConfigError as error:
        # What was noticed on the way must reach the person all the same.
        error.details["notices"] = notices
        raise
    if not chosen.identity:
        return Connection(endpoint, None, "anonymous", context=context, notices=notices)
    signer: Signer | None = None
    problem: CredentialError | None = None
    try:
        signer = store.load(context, chosen.identity)
    except CredentialError as error:
        problem = error
        problem.hint = "log in again: a new key is made and confirmed in the browser"
    return Connection(endpoint, signer, "user", chosen.identity, context, store, problem, notices)


def _endpoint(url: str) -> Endpoint:
    if not url:
        raise ConfigError(
            "no server is given",
            hint=f"set {ENDPOINT_VARIABLE} to its URL: a key alone does not say where to connect",
            details={"missing": "endpoint"},
        )
    return Endpoint.parse(url)


def _key_file(context: str, identity: str) -> str:
    name = f"{context}-{identity}.pgp"
    if "/" in name or "\0" in name:
        raise CredentialError(f"no file can be named {name!r}; rename the context")
    return name


def _decode_base64(text: str) -> bytes:
    """Decode standard base64 as Go does: line ends are skipped, and an error names the offending byte."""
    raw = text.encode("utf-8", "surrogateescape")
    digits = [(position, byte) for position, byte in enumerate(raw) if byte not in b"\r\n"]
    wrong = next((number for number, (_, byte) in enumerate(digits) if byte not in _BASE64), len(digits))
    offset: int | None = None
    padding = digits[wrong:]
    if not padding:
        # The text ends within a group of four: the group is at fault.
        offset = len(raw) - wrong % 4 if wrong % 4 else None
    elif padding[0][1] != ord("=") or wrong % 4 < 2:
        offset = padding[0][0]
    else:
        needed = 4 - wrong % 4
        if needed == 2 and len(padding) == 1:
            offset = len(raw)
        elif needed == 2 and padding[1][1] != ord("="):
            offset = padding[1][0] - 1
        elif len(padding) > needed:
            offset = padding[needed][0]
    if offset is not None:
        raise CredentialError(f"illegal base64 data at input byte {offset}")
    return base64.b64decode(bytes(byte for _, byte in digits))


def _parse_json(data: bytes) -> dict[str, Any]:
    """Read a JSON object; the errors are Go's, and hold nothing of the text."""
    text = data.decode("utf-8", "replace")
    problem = ""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        document = None
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        problem = "unexpected end of JSON input" if at_end else "invalid character in the service account key's JSON"
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return cast("dict[str, Any]", document)
    # Raised out here: the decoder's error carries the whole text, which holds a private key.
    raise CredentialError(problem or "the service account key is no JSON object")
