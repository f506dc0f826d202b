"""The signature that Omni wants on every call, made and checked.

A signed call carries three metadata entries: when it was made (`x-sidero-timestamp`), what it is (`x-sidero-payload`, a
JSON text naming the method and the values of a fixed list of headers) and an OpenPGP signature over that text
(`x-sidero-signature`). The body of the call is not covered. `docs/signatures.md` describes it with examples.

This is the only module that knows OpenPGP. It has no I/O and does not import gRPC.
"""

from __future__ import annotations

import base64
import json
import math
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from omniherd._core import openpgp_packets as packets
from omniherd._core.signed_payload import VERSION, PayloadError, parse_payload, parse_signature_field, parse_timestamp
from omniherd.errors import CredentialError, InputError, KeyExpired

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pysequoia import Cert, PySigner, Tsk

    Metadata = tuple[tuple[str, str], ...]

__all__ = [
    "CLOCK_SKEW",
    "PAYLOAD_HEADER",
    "SIGNATURE_HEADER",
    "SIGNED_HEADERS",
    "TIMESTAMP_HEADER",
    "CallSigner",
    "PGPKey",
    "PublicKey",
    "SignatureRefused",
    "Signer",
    "sign_headers",
    "verify_headers",
]

TIMESTAMP_HEADER = "x-sidero-timestamp"
PAYLOAD_HEADER = "x-sidero-payload"
SIGNATURE_HEADER = "x-sidero-signature"
CLOCK_SKEW = 300
"""Seconds by which the clocks of client and server may differ."""

SIGNED_HEADERS = (
    TIMESTAMP_HEADER,
    "nodes",
    "selectors",
    "fieldSelectors",
    "runtime",
    "context",
    "cluster",
    "namespace",
    "uid",
    "authorization",
)
"""The headers whose values the payload must repeat exactly.

`fieldSelectors` is a name that cannot occur: metadata keys are lower case on the wire. Listing it is always wrong.
"""

_SIGNED = frozenset(SIGNED_HEADERS) - {TIMESTAMP_HEADER, "fieldSelectors"}
_OWN = frozenset({TIMESTAMP_HEADER, PAYLOAD_HEADER, SIGNATURE_HEADER})
_UNFIT = re.compile(r"[^!-~]")
_MAIL_IN_BRACKETS = re.compile(r"<([^<>@\s]+@[^<>@\s]+)>\s*$")
_BARE_MAIL = re.compile(r"[^<>@\s()]+@[^<>@\s()]+")
_SHA2 = frozenset({8, 9, 10})
_BACKDATED = 60


class SignatureRefused(CredentialError):
    """A call's signature is not accepted.

    Omni tells a caller nothing but "invalid signature"; `reason` is for the log of whoever checked it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("invalid signature", code="UNAUTHENTICATED", details={"reason": reason})
        self.reason = reason


@runtime_checkable
class Signer(Protocol):
    """Whatever can sign calls: a key in memory, an agent, a hardware token.

    Attributes:
        fingerprint: Of the primary key, 40 (version 4) or 64 (version 6) lower-case hexadecimal digits, also where a
            subkey signs.
        identity: The e-mail address or account name sent along. The server does not look at it.

    Example:
        >>> class Agent:
        ...     fingerprint = "9bf55c3ffec39af57ea823245b48278a81bb10e9"
        ...     identity = "ci"
        ...
        ...     def sign(self, data: bytes) -> bytes: ...
    """

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the primary key, lower-case hex."""
        ...

    @property
    def identity(self) -> str:
        """Who signs."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return a detached binary (not armored) OpenPGP signature over `data`, by SHA-256 or longer."""
        ...


class PublicKey:
    """An OpenPGP public key as a verifier needs it; a private key's public half too.

    Attributes:
        fingerprint: Of the primary key, lower-case hex.
        user_ids: The user ids as written, in order.
        created: When the key was made.
        lifetime: From creation to expiry, or None for a key that never expires.
        is_private: Whether secret parts came along; they are not kept.
        can_sign: Whether the primary key or a subkey may sign data.

    Example:
        >>> key = PublicKey.from_bytes(armored)  # doctest: +SKIP
        >>> key.fingerprint, key.email, key.expires  # doctest: +SKIP
    """

    __slots__ = ("_cert", "can_sign", "created", "fingerprint", "is_private", "lifetime", "user_ids")

    def __init__(self, cert: Cert, parts: list[packets.Packet]) -> None:
        self._cert = cert
        self.fingerprint: str = cert.fingerprint.lower()
        facts = packets.key_facts(parts, self.fingerprint)
        self.created: datetime = datetime.fromtimestamp(facts.created, UTC)
        self.lifetime: timedelta | None = None if facts.lifetime is None else timedelta(seconds=facts.lifetime)
        self.is_private: bool = facts.is_private
        self.can_sign: bool = facts.can_sign
        self.user_ids: tuple[str, ...] = facts.user_ids

    def __repr__(self) -> str:
        return f"PublicKey({self.fingerprint!r}, email={self.email!r}, expires={_moment(self.expires)!r})"

    @classmethod
    def from_bytes(cls, data: bytes | str) -> PublicKey:
        """Read one key, armored or binary.

        Raises:
            CredentialError: There is no key, more than one, or something else; the text is the one that Omni gives.
        """
        cert, parts = _load(data)
        return cls(cert, parts)

    @property
    def email(self) -> str | None:
        """The e-mail address in the first user id that has one (`Name (comment) <address>` or the bare address)."""
        return _email(self.user_ids)

    @property
    def expires(self) -> datetime | None:
        """The moment from which the key is no longer accepted, or None."""
        return None if self.lifetime is None else self.created + self.lifetime

    @property
    def is_revoked(self) -> bool:
        """Whether the owner has revoked the key."""
        return self._cert.is_revoked

    @property
    def armored(self) -> str:
        """The public key as armored text."""
        return str(self._cert)

    def is_expired(self, now: float, skew: float = 0) -> bool:
        """Whether the key is outside of its lifetime.

        Args:
            now: Unix seconds.
            skew: Tolerance in seconds: the key counts as valid when it is so at `now - skew` or `now + skew`. It is cut
                to half of a short key's lifetime.
        """
        return _is_expired(self.created, self.lifetime, now, skew)

    def verify(self, data: bytes, signature: bytes, now: float | None = None) -> None:
        """Check a detached binary signature as Omni does.

        Accepted are binary and text signatures by SHA-2 of 256 bits and more, made by the primary key or a signing
        subkey, not before the key's creation and not after now plus the clock skew, while the key is valid.

        Args:
            data: The signed bytes.
            signature: One signature packet; armor is refused.
            now: Unix seconds; the present by default.

        Raises:
            SignatureRefused: For any other signature, with the reason.
        """
        moment = time.time() if now is None else now
        try:
            facts = packets.parse_detached(signature)
        except packets.PacketError as error:
            raise SignatureRefused(f"no OpenPGP signature: {error}") from None
        if facts.kind not in {0, 1}:
            raise SignatureRefused(f"signature type 0x{facts.kind:02x} is not one over data")
        if facts.hash_algorithm not in _SHA2:
            raise SignatureRefused(f"hash algorithm {facts.hash_algorithm} is too weak or unknown")
        self._check_times(facts, moment)
        import pysequoia

        try:
            pysequoia.verify(data, self._certificates, signature=pysequoia.Sig.from_bytes(signature))
        except Exception as error:  # noqa: BLE001  (the library raises RuntimeError and panics by its own classes)
            reason = _first_line(error)
        else:
            return
        raise SignatureRefused(reason)

    def _certificates(self, _wanted: object) -> list[Cert]:
        return [self._cert]

    def _check_times(self, signature: packets.SignaturePacket, now: float) -> None:
        if signature.created is None:
            raise SignatureRefused("the signature has no creation time")
        created = self.created.timestamp()
        if signature.created < created:
            raise SignatureRefused("the signature is older than its key")
        skew = float(CLOCK_SKEW)
        if self.lifetime is not None:
            skew = min(skew, self.lifetime.total_seconds() / 2)
        # The server looks twice: at its own time, then at the latest time that a client's clock may show.
        reason = ""
        for at in (now, now + skew):
            if signature.created > at:
                reason = "the signature comes from the future"
            elif signature.lifetime is not None and at >= signature.created + signature.lifetime:
                reason = "the signature has expired"
            elif created > at:  # pragma: no cover  (a signature is not older than its key, so it was caught above)
                reason = "the key is not valid yet"
            elif self.is_expired(at):
                reason = "the key has expired"
            else:
                return
        raise SignatureRefused(reason)


class PGPKey:
    """An unprotected OpenPGP private key that signs calls; a `Signer`.

    The secret shows in nothing but `private_armored()`.

    Attributes:
        fingerprint: Of the primary key, lower-case hex.
        identity: The name sent with each signature: as given, else the e-mail address of the key.

    Example:
        >>> key = PGPKey.generate("ci", "", "ci@example.com", timedelta(hours=4))
        >>> key.identity, key.is_expired(time.time())
        ('ci@example.com', False)
    """

    __slots__ = ("_lock", "_public", "_signer", "_tsk", "fingerprint", "identity")

    def __init__(self, tsk: Tsk, public: PublicKey, identity: str | None = None) -> None:
        self._tsk = tsk
        self._public = public
        self._signer: PySigner | None = None
        self._lock = threading.Lock()
        self.fingerprint: str = public.fingerprint
        self.identity: str = identity if identity is not None else public.email or ""

    def __repr__(self) -> str:
        return f"PGPKey({self.fingerprint!r}, identity={self.identity!r}, expires={_moment(self.expires)!r})"

    def __reduce__(self) -> Any:
        raise TypeError("a private key is not pickled; hand its armored text over on purpose")

    @classmethod
    def from_armored(cls, text: str | bytes, identity: str | None = None) -> PGPKey:
        """Read a private key, armored or binary.

        Args:
            text: The key.
            identity: The name to send; by default the e-mail address in the key.

        Raises:
            CredentialError: There is no key, or more than one, or only a public one.
        """
        cert, parts = _load(text)
        public = PublicKey(cert, parts)
        if not public.is_private:
            raise CredentialError(
                "the key has no secret part",
                hint="give the private key block; the public one is for the server",
            )
        import pysequoia

        return cls(pysequoia.Tsk.from_bytes(_encoded(text)), public, identity)

    @classmethod
    def generate(cls, name: str, comment: str, email: str, lifetime: timedelta | float) -> PGPKey:
        """Make an Ed25519 key with the user id `name (comment) <email>`.

        Args:
            name: May be empty, as may the comment.
            comment: Goes in brackets behind the name.
            email: The identity.
            lifetime: From now to expiry, as a duration or in seconds. Omni takes at most 8 hours for a person's key
                and 365 days for a service account's.

        Raises:
            InputError: The lifetime is under a second, or an angle or round bracket stands where it would break the
                user id.
        """
        seconds = math.ceil(lifetime.total_seconds() if isinstance(lifetime, timedelta) else lifetime)
        if seconds < 1:
            raise InputError(f"a key's lifetime must be at least a second, not {seconds}")
        for part in (name, comment, email):
            if any(character in "()<>\0\r\n" for character in part):
                raise InputError(f"a user id cannot hold brackets or line ends: {part!r}")
        user_id = " ".join(
            piece for piece in (name, f"({comment})" if comment else "", f"<{email}>" if email else "") if piece
        )
        import pysequoia

        # The library dates new keys a minute back, for verifiers with a slow clock, and counts from there.
        tsk = pysequoia.Tsk.generate(
            user_id, cipher_suite=pysequoia.CipherSuite.Cv25519, validity_seconds=seconds + _BACKDATED
        )
        return cls(tsk, PublicKey(tsk.extract_certificate(), packets.split_packets(bytes(tsk))), email or None)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """The user ids as written."""
        return self._public.user_ids

    @property
    def email(self) -> str | None:
        """The e-mail address in the user ids, or None."""
        return self._public.email

    @property
    def created(self) -> datetime:
        """When the key was made."""
        return self._public.created

    @property
    def expires(self) -> datetime | None:
        """The moment from which the server refuses the key, or None."""
        return self._public.expires

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return self._public

    @property
    def public_armored(self) -> str:
        """The public half as armored text, as the server wants it."""
        return self._public.armored

    def private_armored(self) -> str:
        """The private key as armored text. Keep it secret."""
        return str(self._tsk)

    def is_expired(self, now: float, skew: float = 0) -> bool:
        """Whether the key is outside of its lifetime; see `PublicKey.is_expired`."""
        return self._public.is_expired(now, skew)

    def sign(self, data: bytes) -> bytes:
        """Return a detached binary signature over `data`. Safe to call from several threads.

        Raises:
            KeyExpired: The key's time is over.
            CredentialError: The key is protected by a passphrase, or has no part that may sign.
        """
        import pysequoia

        if self.is_expired(time.time()):
            raise KeyExpired(f"key {self.fingerprint} expired at {_moment(self.expires)}")
        with self._lock:
            if self._signer is None:
                self._signer = self._open_signer()
            return pysequoia.sign(self._signer, data, mode=pysequoia.SignatureMode.DETACHED, armor=False)

    def check(self) -> None:
        """Find out now whether the key can sign.

        Raises:
            KeyExpired: The key's time is over.
            CredentialError: The key is protected by a passphrase, or has no part that may sign.
        """
        self.sign(b"")

    def _open_signer(self) -> PySigner:
        try:
            return self._tsk.signer()
        except Exception as error:  # noqa: BLE001  (see PublicKey.verify)
            reason = _first_line(error)
        raise CredentialError(
            f"key {self.fingerprint} cannot sign: {reason}",
            hint="Omni's keys have no passphrase and a primary key or subkey that may sign",
        )


def sign_headers(
    signer: Signer, method_path: str, metadata: Sequence[tuple[str, str]], now: float
) -> list[tuple[str, str]]:
    """Make the three headers that sign one call.

    Args:
        signer: Whose signature it is.
        method_path: The full method as called, `/cosi.resource.State/Get`.
        metadata: All other metadata of the call. The values of the signed headers among it are covered, so they must be
            sent exactly so; what is not in `SIGNED_HEADERS` is free.
        now: Unix seconds, cut to an integer.

    Returns:
        Timestamp, payload and signature, to be sent in addition to `metadata`.

    Raises:
        InputError: `metadata` already holds one of the three; two of a kind are refused by the server.
        CredentialError: The signer cannot sign.

    Example:
        >>> key = PGPKey.generate("ci", "", "ci@example.com", 3600)
        >>> [name for name, value in sign_headers(key, "/cosi.resource.State/Get", [("runtime", "Omni")], time.time())]
        ['x-sidero-timestamp', 'x-sidero-payload', 'x-sidero-signature']
    """
    timestamp = str(int(now))
    # Absent headers are left out: the server takes a null for them, and refuses an empty list.
    signed: dict[str, list[str]] = {TIMESTAMP_HEADER: [timestamp]}
    for key, value in metadata:
        name = key.lower()
        if name in _SIGNED:
            signed.setdefault(name, []).append(value)
        elif name in _OWN:
            raise InputError(f"{name} is made by the signature itself")
    payload = json.dumps({"headers": signed, "method": method_path}, separators=(",", ":"))
    signature = base64.b64encode(signer.sign(payload.encode())).decode()
    # The server never compares the identity, but a blank in it would shift the fields behind it.
    identity = _UNFIT.sub("_", signer.identity)
    return [
        (TIMESTAMP_HEADER, timestamp),
        (PAYLOAD_HEADER, payload),
        (SIGNATURE_HEADER, f"{VERSION} {identity} {signer.fingerprint} {signature}"),
    ]


class CallSigner:
    """Signs the calls of one client, each payload once.

    Calls of one method with the same metadata have the same payload within a second, and Omni takes a signature as
    often as it comes until its timestamp ages out: a second one over the same bytes would cost time and prove nothing.
    Safe to use from several threads.

    Args:
        signer: Whose signatures they are.

    Example:
        >>> signer = CallSigner(PGPKey.generate("ci", "", "ci@example.com", 3600))
        >>> now = time.time()
        >>> signer.metadata("/cosi.resource.State/Get", (), now) is signer.metadata("/cosi.resource.State/Get", (), now)
        True
    """

    __slots__ = ("_made", "_signer")

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        # One tuple, so that a thread sees the signatures of the second that it reads. A signer may renew its key.
        self._made: tuple[int, dict[tuple[str, str, Metadata], Metadata]] = (0, {})

    def metadata(self, method_path: str, metadata: Metadata, now: float) -> Metadata:
        """Return a call's metadata with the three headers that sign it.

        Args:
            method_path: The full method as called.
            metadata: All other metadata of the call.
            now: Unix seconds.

        Raises:
            InputError: `metadata` already holds one of the three.
            CredentialError: The signer cannot sign.
        """
        second, made = self._made
        if second != int(now):
            made = {}
            self._made = (int(now), made)
        key = (self._signer.fingerprint, method_path, metadata)
        found = made.get(key)
        if found is None:
            found = made[key] = (*metadata, *sign_headers(self._signer, method_path, metadata, now))
        return found


def verify_headers(
    method_path: str,
    metadata: Sequence[tuple[str, str | bytes]],
    now: float,
    lookup: Callable[[str], PublicKey | None],
) -> PublicKey:
    """Check a call's signature as Omni's server does.

    Args:
        method_path: The method that was called, with its leading slash.
        metadata: All metadata of the call, names in lower case as gRPC delivers them.
        now: The server's time in Unix seconds.
        lookup: Gives the registered key of a fingerprint, or None. Whether that key is confirmed is its business.

    Returns:
        The key that signed; it alone says who the caller is, the identity in the header is not looked at.

    Raises:
        SignatureRefused: For every other call, whatever is wrong with it.
    """
    headers: dict[str, list[str]] = {}
    for name, value in metadata:
        headers.setdefault(name, []).append(value.decode("latin-1") if isinstance(value, bytes) else value)
    text = _first(headers, PAYLOAD_HEADER)
    try:
        fingerprint, signature = parse_signature_field(_first(headers, SIGNATURE_HEADER))
        timestamp = parse_timestamp(_first(headers, TIMESTAMP_HEADER))
        method, signed = parse_payload(text)
    except PayloadError as error:
        raise SignatureRefused(str(error)) from None
    key = lookup(fingerprint)
    if key is None:
        raise SignatureRefused(f"key {fingerprint} is not registered")
    if abs(timestamp - now) > CLOCK_SKEW:
        raise SignatureRefused(f"the timestamp is {timestamp - now:+.0f} s off")
    if method != method_path:
        raise SignatureRefused(f"the payload is for method {method!r}, not {method_path!r}")
    for name in SIGNED_HEADERS:
        if signed.get(name) != headers.get(name):
            raise SignatureRefused(f"payload and metadata differ in header {name}")
    # Undecodable characters cannot have been signed: a text that cannot be encoded back matches no signature.
    key.verify(text.encode("utf-8", "replace"), signature, now)
    return key


def _first(headers: dict[str, list[str]], name: str) -> str:
    values = headers.get(name)
    if not values or not values[0]:
        raise SignatureRefused(f"header {name} is missing")
    return values[0]


def _load(data: bytes | str) -> tuple[Cert, list[packets.Packet]]:
    """Read exactly one certificate; the texts of the errors are those of Omni's server and client."""
    import pysequoia

    raw = _encoded(data)
    problem = ""
    try:
        parts = packets.split_packets(packets.dearmor(raw))
        keys = sum(part.tag in {packets.PUBLIC_KEY, packets.SECRET_KEY} for part in parts)
        if keys == 0:
            problem = "gopenpgp: the key does not contain any entity"
        elif keys > 1:
            problem = "gopenpgp: the key contains too many entities"
        elif parts[0].tag not in {packets.PUBLIC_KEY, packets.SECRET_KEY}:
            problem = "gopenpgp: error in reading key ring: openpgp: invalid data: first packet was not a key"
        else:
            for part in parts:
                if part.tag == packets.SIGNATURE:
                    packets.parse_signature(part)
                elif part.tag in {packets.PUBLIC_SUBKEY, packets.SECRET_SUBKEY}:
                    packets.parse_key(part)
            packets.parse_key(parts[0])
            return pysequoia.Cert.from_bytes(raw), parts
    except packets.PacketError as error:
        problem = f"gopenpgp: error in reading key ring: openpgp: invalid data: {error}"
    except Exception as error:  # noqa: BLE001  (see PublicKey.verify)
        problem = f"gopenpgp: error in reading key ring: {_first_line(error)}"
    # Raised out here, so that the bytes of a key do not hang on the error's context.
    raise CredentialError(problem)


def _encoded(data: bytes | str) -> bytes:
    return data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)


def _email(user_ids: tuple[str, ...]) -> str | None:
    for user_id in user_ids:
        match = _MAIL_IN_BRACKETS.search(user_id)
        if match:
            return match[1]
        if _BARE_MAIL.fullmatch(user_id.strip()):
            return user_id.strip()
    return None


def _is_expired(created: datetime, lifetime: timedelta | None, now: float, skew: float) -> bool:
    start = created.timestamp()
    end = math.inf
    if lifetime is not None:
        end = start + lifetime.total_seconds()
        skew = min(skew, lifetime.total_seconds() / 2)
    return not (start <= now - skew < end or start <= now + skew < end)


def _moment(at: datetime | None) -> str:
    return "never" if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _first_line(error: Exception) -> str:
    # With RUST_BACKTRACE set the library appends its whole stack.
    return str(error).partition("\n")[0].strip() or type(error).__name__
