"""What the services beyond resources answer with: plain values, the same for tasks and threads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from omniherd.errors import OmniError
    from omniherd.resource import Resource

__all__ = [
    "AuthorizationCode",
    "BootAsset",
    "Confirmation",
    "JoinConfig",
    "KeyInfo",
    "ManifestSync",
    "NodeReply",
    "SchemaError",
    "Schematic",
    "ServiceAccountInfo",
    "SupportBundle",
    "SupportProgress",
    "TalosChange",
    "UpgradeCheck",
    "UserInfo",
]

T = TypeVar("T")


class UserInfo(NamedTuple):
    """A person who may log in.

    Attributes:
        id: Id of the user.
        email: The identity, in lower case.
        role: None, Reader, Operator or Admin.
        labels: Labels that the identity provider (SAML) gave.
        last_active: When the person was last seen, as the server writes it; empty when never.
    """

    id: str
    email: str
    role: str
    labels: dict[str, str]
    last_active: str


class KeyInfo(NamedTuple):
    """A public key of a service account.

    Attributes:
        id: Its fingerprint.
        armored: The key as text.
        expires: From when it is refused.
        created: When it was registered, None where the server does not say.
        last_used: When it last signed a call, None where the server does not say.
    """

    id: str
    armored: str
    expires: datetime | None
    created: datetime | None
    last_used: datetime | None


class ServiceAccountInfo(NamedTuple):
    """A service account as it is listed.

    Attributes:
        name: The name, without the suffix of its identity.
        role: None, Reader, Operator or Admin.
        keys: Its public keys, expired ones among them.
        last_active: When it was last seen, as the server writes it; empty when never.
    """

    name: str
    role: str
    keys: tuple[KeyInfo, ...]
    last_active: str


class Confirmation(NamedTuple):
    """A key that waits for its owner to confirm it.

    Attributes:
        login_url: The page to confirm it on.
        public_key_id: The key's id: a fingerprint, or the hash of a plain key.
    """

    login_url: str
    public_key_id: str


class AuthorizationCode(NamedTuple):
    """The end of an OIDC login of a Kubernetes client.

    Attributes:
        redirect_url: Where the browser goes next; empty when the code is to be typed.
        code: The code to type where the client cannot listen for a browser.
    """

    redirect_url: str
    code: str


class Schematic(NamedTuple):
    """An image's contents, registered with the image factory.

    Attributes:
        id: SHA-256 of the schematic, in hex.
        pxe_url: Where machines boot it from over the network; empty where the server does not say.
        grpc_tunnel: Whether machines will tunnel their connection through gRPC.
        yaml: The schematic as the factory stores it; the kernel arguments in it hold a join token.
    """

    id: str
    pxe_url: str
    grpc_tunnel: bool
    yaml: str

    def __repr__(self) -> str:
        return f"Schematic({self.id!r}, pxe_url={self.pxe_url!r}, grpc_tunnel={self.grpc_tunnel})"


class BootAsset(NamedTuple):
    """Where an image is fetched from.

    Attributes:
        url: The image.
        headers: HTTP headers that the factory demands; they may hold a credential.
        factory: Host of the image factory.
        storage_key: Name of the image in the server's own storage, empty where it has none.
    """

    url: str
    headers: dict[str, str]
    factory: str
    storage_key: str

    def __repr__(self) -> str:
        return f"BootAsset(factory={self.factory!r}, headers={sorted(self.headers)})"


class JoinConfig(NamedTuple):
    """What a machine must be told to find its Omni. It holds a join token.

    Attributes:
        kernel_args: Kernel arguments, one each.
        config: The same as a machine configuration of several YAML documents.
    """

    kernel_args: tuple[str, ...]
    config: str

    def __repr__(self) -> str:
        return f"JoinConfig({len(self.kernel_args)} kernel arguments, {len(self.config)} characters of configuration)"


class UpgradeCheck(NamedTuple):
    """Whether Kubernetes can be upgraded.

    Attributes:
        ok: It can.
        reason: Why not.
    """

    ok: bool
    reason: str


class ManifestSync(NamedTuple):
    """One step of bringing Kubernetes bootstrap manifests up to date.

    Attributes:
        kind: `manifest` (one was applied), `rollout` (one is waited for) or `unknown`.
        path: The object: kind, namespace and name.
        object: The manifest, as the server sent it.
        diff: What changes, as a unified diff.
        skipped: Whether it was left alone.
    """

    kind: str
    path: str
    object: bytes
    diff: str
    skipped: bool


class SupportProgress(NamedTuple):
    """How far a support bundle is.

    Attributes:
        source: Who reports: `omni` or `cluster`.
        state: What it is doing: `collect <file>`.
        total: Steps of that source.
        value: Steps done, where the source counts them.
        error: Why a step failed; empty when it did not.
    """

    source: str
    state: str
    total: int
    value: int
    error: str


class SupportBundle(NamedTuple):
    """A support bundle.

    Attributes:
        data: A zip file; encrypted with age when that was asked for.
        errors: The steps that failed. The server says OK all the same: without a look at these, an empty bundle
            passes for a good one.
        recipients: Who can decrypt it.
    """

    data: bytes
    errors: tuple[SupportProgress, ...]
    recipients: tuple[str, ...]

    def __repr__(self) -> str:
        return f"SupportBundle({len(self.data)} bytes, {len(self.errors)} errors)"


class SchemaError(NamedTuple):
    """Where a document does not fit its JSON schema.

    Attributes:
        data_path: The place in the document, `/a/0`.
        schema_path: The rule, as a URL of the schema with a fragment.
        cause: What is wrong: `got string, want integer`.
        errors: What led to it, where the rule is made of several.
    """

    data_path: str
    schema_path: str
    cause: str
    errors: tuple[SchemaError, ...] = ()


class NodeReply(NamedTuple, Generic[T]):
    """What one Talos machine answered.

    Attributes:
        node: The machine, as it was asked for; its id when a selector chose it; empty when the server chose one.
        message: The answer, None when it failed.
        error: Why it failed, None when it did not.
    """

    node: str
    message: T | None
    error: OmniError | None = None

    def result(self) -> T:
        """Return the answer.

        Raises:
            OmniError: The machine failed to give one.
        """
        if self.error is not None:
            raise self.error
        if self.message is None:
            raise LookupError(f"{self.node or 'the machine'} gave no answer")
        return self.message


class TalosChange(NamedTuple):
    """A change of a machine's own resources.

    Attributes:
        kind: `created` (it exists), `updated`, `destroyed` or `bootstrapped` (all that existed has been reported).
        resource: The resource after the change; with `bootstrapped` it has no id.
    """

    kind: str
    resource: Resource[Any]


def moment(timestamp: Any) -> datetime | None:
    """Return a protobuf timestamp as a time in UTC, None where it is not set."""
    if not timestamp.seconds and not timestamp.nanos:
        return None
    return datetime.fromtimestamp(timestamp.seconds, UTC).replace(microsecond=timestamp.nanos // 1000)
