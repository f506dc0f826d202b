"""What the services beyond resources answer with: plain values, the same for tasks and threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.errors import OmniError
    from omniherd.resource import Resource

__all__ = [
    "AuthorizationCode",
    "BootAsset",
    "Confirmation",
    "ImportNode",
    "ImportPlan",
    "JoinConfig",
    "KeyInfo",
    "ManifestSync",
    "MediaFile",
    "MediaRecipe",
    "NodeReply",
    "SchemaError",
    "Schematic",
    "SecretRotation",
    "ServiceAccountInfo",
    "SupportBundle",
    "SupportProgress",
    "TalosChange",
    "UpgradeCheck",
    "UserInfo",
]

T = TypeVar("T")

Bootloader = Literal["auto", "dual", "sd", "grub"]
GRPCTunnel = Literal["auto", "enabled", "disabled"]


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


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaRecipe:
    """What goes into an installation image, with everything looked up; `omni.media` makes it.

    Attributes:
        name: What people call it.
        file_prefix: Beginning of the file's name.
        talos_version: The Talos version, without a leading `v`.
        architecture: `amd64` or `arm64`.
        profile: `metal`, or the cloud.
        extension: Ending of the file's name, without a dot: `iso`, `raw.xz`.
        media_id: Id of the InstallationMedia that it was made from, empty for one that a preset describes.
        overlay: Image, name and options of a board's overlay, None for other machines.
        legacy_board: The board's profile in the file names of Talos before 1.7.
        secure_boot: Whether it is signed for UEFI Secure Boot.
        extensions: Full names of the system extensions.
        kernel_args: Kernel arguments in addition to those that make the machine join.
        labels: What machines of the image are labelled with from the start.
        join_token: Id of the token in the image, empty for the default one.
        grpc_tunnel: `auto`, `enabled` or `disabled`: whether its machines tunnel their connection through gRPC.
        bootloader: `auto`, `dual`, `sd` or `grub`.
        embedded_machine_config: A machine configuration that is in the image.
        image_factory_url: Another image factory than the server's first, as presets of Omni 1.10 may name one.
    """

    name: str
    file_prefix: str
    talos_version: str
    architecture: str
    profile: str
    extension: str
    media_id: str = ""
    overlay: tuple[str, str, str] | None = None
    legacy_board: str = ""
    secure_boot: bool = False
    extensions: tuple[str, ...] = ()
    kernel_args: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    join_token: str = field(default="", repr=False)
    grpc_tunnel: GRPCTunnel = "auto"
    bootloader: Bootloader = "auto"
    embedded_machine_config: str = field(default="", repr=False)
    image_factory_url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaFile:
    """An installation image that can be fetched.

    Attributes:
        schematic: Its contents, as the image factory knows them.
        url: Where to fetch it.
        pxe_url: What to boot it from over the network. At an enterprise factory this holds a password.
        file_name: A name for the file.
        authorization: The HTTP header of that name that the factory demands, empty for none.
    """

    schematic: Schematic
    url: str
    pxe_url: str = field(repr=False)
    file_name: str
    authorization: str = field(default="", repr=False)


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


class SecretRotation(NamedTuple):
    """How far the rotation of a cluster's certificate authority is.

    Attributes:
        component: `TALOS_CA`, `KUBERNETES_CA`, or `NONE`.
        phase: `PRE_ROTATE`, `ROTATE`, `POST_ROTATE`, or `OK` where none goes on.
        status: What is being done, in the server's words.
        step: Which machine or part it is at.
        error: What keeps it from going on, empty for nothing.
    """

    component: str
    phase: str
    status: str
    step: str
    error: str


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


@dataclass(frozen=True, slots=True)
class ImportNode:
    """What a node of a Talos cluster that is to be imported says of itself.

    Attributes:
        address: How it was named.
        machine: Its id, as everywhere in Omni.
        hostname: Its hostname.
        control_plane: Whether it is a control plane.
        talos_version: The Talos version that it runs.
        images: The images of Kubernetes' parts that it runs: `kubelet`, and on control planes `apiserver`,
            `controller-manager` and `scheduler`.
        schematic_id: The schematic that it was installed from; empty where that was no image factory's.
        schematic: The schematic's text; empty where the node does not know it.
        config: Its configuration, YAML documents full of secrets; does not show when printed.
    """

    address: str
    machine: str
    hostname: str
    control_plane: bool
    talos_version: str
    images: Mapping[str, str] = field(repr=False)
    schematic_id: str
    schematic: str = field(repr=False)
    config: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What the import of a Talos cluster will make. Nothing of it is made yet; no secret shows when it is printed.

    Attributes:
        cluster: The cluster's name.
        talos_version: What its machines run.
        kubernetes_version: What it runs.
        initial_talos_version: What its machines ran when it was made; the config patches start from there.
        initial_kubernetes_version: What it ran then.
        nodes: All of its nodes.
        resources: What will be created in Omni, in this order. The first one and the config patches hold secrets.
        problems: Why it is not fit to be taken in as it is; more may be found when the image factory is asked.
        join: The documents that are put into each node's configuration; they hold a join token.
    """

    cluster: str
    talos_version: str
    kubernetes_version: str
    initial_talos_version: str
    initial_kubernetes_version: str
    nodes: tuple[ImportNode, ...]
    resources: tuple[Resource[Any], ...] = field(repr=False)
    problems: tuple[str, ...]
    join: tuple[Mapping[str, Any], ...] = field(repr=False)

    @property
    def control_planes(self) -> list[ImportNode]:
        """The nodes that are control planes."""
        return [node for node in self.nodes if node.control_plane]

    @property
    def workers(self) -> list[ImportNode]:
        """The nodes that are not."""
        return [node for node in self.nodes if not node.control_plane]

    def to_dict(self) -> dict[str, Any]:
        """Return what may be shown of it as plain values."""
        return {
            "cluster": self.cluster,
            "talos_version": self.talos_version,
            "kubernetes_version": self.kubernetes_version,
            "initial_talos_version": self.initial_talos_version,
            "initial_kubernetes_version": self.initial_kubernetes_version,
            "nodes": [
                {
                    "address": node.address,
                    "machine": node.machine,
                    "hostname": node.hostname,
                    "role": "controlplane" if node.control_plane else "worker",
                }
                for node in self.nodes
            ],
            "resources": [{"type": resource.type_name, "id": resource.id} for resource in self.resources],
            "problems": list(self.problems),
        }


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
