"""What a server has from the start: versions, media, platforms, its own settings. Values follow Omni v1.9.3."""

from __future__ import annotations

import functools
import json
import uuid
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from omniherd.emulator.store import Store

__all__ = ["JOIN_TOKEN", "SERVER_VERSION", "add_catalog", "load_catalog", "use_factory"]

SERVER_VERSION = "v1.9.3"
"""The version of Omni that the emulator says it is."""

JOIN_TOKEN = "w0mT3kV8yQe5ZrB1uHcN7xLpJ2sGfD9aXoRi6EtKq4M"  # noqa: S105 - a token of no server
"""The token that the seeded machines joined with."""

SIDEROLINK_ADDRESS = "fdae:41e4:649b:9303::1"

_TALOS_VERSIONS = "TalosVersions.omni.sidero.dev"
_FEATURES = "FeaturesConfigs.omni.sidero.dev"

_OWNERS = {
    "Namespaces.meta.cosi.dev": "meta",
    _TALOS_VERSIONS: "VersionsController",
    "KubernetesVersions.omni.sidero.dev": "VersionsController",
    "InstallationMedias.omni.sidero.dev": "InstallationMediaController",
}

# What the image factory of the recorded server offers.
_EXTENSIONS = ("iscsi-tools", "qemu-guest-agent", "hello-world-service")


@functools.cache
def load_catalog() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the fixed resources by type and id, in the server's order; specs by proto field name."""
    text = resources.files("omniherd.emulator").joinpath("data/catalog.json").read_text("utf-8")
    return cast("dict[str, dict[str, dict[str, Any]]]", json.loads(text))


def add_catalog(store: Store, account: str) -> None:
    """Store what a fresh server has.

    Args:
        store: Where to.
        account: Name of the instance.
    """
    from omniherd.emulator.forms import TYPES

    for type_name, found in load_catalog().items():
        if TYPES[type_name].namespace == "virtual":
            continue
        owner = _OWNERS.get(type_name, "")
        for id_, spec in found.items():
            fields = {
                name: value.replace("{account}", account) if isinstance(value, str) else value
                for name, value in spec.items()
            }
            store.put(type_name, id_, fields, owner=owner)
            if type_name == _TALOS_VERSIONS:
                store.put(type_name, id_, fields, owner=owner, finalizers=("TalosExtensionsController",))
    for version in load_catalog()[_TALOS_VERSIONS]:
        store.put(
            "TalosExtensions.omni.sidero.dev",
            version,
            {"items": [_extension(name) for name in _EXTENSIONS]},
            owner="TalosExtensionsController",
        )
    _add_settings(store, account)
    _add_join_token(store)


def _extension(name: str) -> dict[str, str]:
    return {
        "name": f"siderolabs/{name}",
        "author": "Sidero Labs",
        "version": "v1",
        "description": name,
        "ref": f"ghcr.io/siderolabs/{name}:v1",
        "digest": "sha256:" + "0" * 64,
    }


def _add_settings(store: Store, account: str) -> None:
    store.put(
        "SysVersions.system.sidero.dev",
        "current",
        {"backend_version": SERVER_VERSION, "instance_name": account, "backend_api_version": 2},
    )
    store.put(
        _FEATURES,
        "features-config",
        {
            "etcd_backup_settings": {"tick_interval": 60, "min_interval": 3600, "max_interval": 86400},
            "embedded_discovery_service": True,
            "audit_log_enabled": True,
            "image_factory_base_url": "http://127.0.0.1:9999",
            "image_factory_pxe_base_url": "http://pxe.127.0.0.1:9999",
            "user_pilot_settings": {},
            "stripe_settings": {},
            "posthog_settings": {},
            "account": {"id": str(uuid.uuid5(uuid.NAMESPACE_DNS, account)), "name": account},
        },
    )
    store.put(
        "AuthConfigs.omni.sidero.dev",
        "auth-config",
        {
            "auth0": {"enabled": True, "domain": "auth.localhost", "client_id": "dummy"},
            "webauthn": {},
            "saml": {},
            "oidc": {},
        },
    )
    store.put(
        "EulaAcceptances.omni.sidero.dev",
        "eula",
        {"accepted_by_name": "Emulator", "accepted_by_email": f"{account}@example.org"},
    )
    store.put(
        "EtcdBackupStoreStatuses.omni.sidero.dev",
        "etcdbackup-store-status",
        {"configuration_name": "s3", "configuration_error": "not initialized"},
    )
    store.put(
        "EtcdBackupOverallStatuses.omni.sidero.dev",
        "etcdbackup-overall-status",
        {"configuration_name": "s3", "configuration_error": "not initialized"},
        owner="EtcdBackupOverallStatusController",
    )


def use_factory(store: Store, url: str) -> str:
    """Name another image factory; return the one that was named before.

    Args:
        store: The state.
        url: Where it is.
    """
    found = store.get("default", _FEATURES, "features-config")
    spec = found.decode()
    before, spec.image_factory_base_url = spec.image_factory_base_url, url
    store.modify("default", _FEATURES, found.id, spec=spec.SerializeToString(deterministic=True))
    return str(before)


def _add_join_token(store: Store) -> None:
    for finalizers in ((), ("JoinTokenStatusController",)):
        store.put("JoinTokens.omni.sidero.dev", JOIN_TOKEN, {"name": "initial token"}, finalizers=finalizers)
    store.put(
        "JoinTokenStatuses.omni.sidero.dev",
        JOIN_TOKEN,
        {"name": "initial token", "state": "ACTIVE", "is_default": True},
        owner="JoinTokenStatusController",
        labels={"omni.sidero.dev/active-join-token": ""},
    )
    store.put("DefaultJoinTokens.omni.sidero.dev", "default", {"token_id": JOIN_TOKEN})
    store.put(
        "SiderolinkAPIConfigs.omni.sidero.dev",
        "siderolink-config",
        {
            "machine_api_advertised_url": "grpc://127.0.0.1:8090",
            "wireguard_advertised_endpoint": "127.0.0.1:50180",
            "events_port": 8091,
            "logs_port": 8092,
        },
    )
    store.put(
        "ConnectionParams.omni.sidero.dev",
        "siderolink-config",
        {
            "args": kernel_args(JOIN_TOKEN),
            "api_endpoint": "grpc://127.0.0.1:8090",
            "wireguard_endpoint": "127.0.0.1:50180",
            "join_token": JOIN_TOKEN,
            "events_port": 8091,
            "logs_port": 8092,
        },
        owner="ConnectionParamsController",
    )


def join_arguments(token: str, *, tunnel: bool = False) -> list[str]:
    """Return the kernel arguments that make a machine join.

    Args:
        token: The join token.
        tunnel: Whether it is to talk through a gRPC tunnel.
    """
    query = f"grpc_tunnel=true&jointoken={token}" if tunnel else f"jointoken={token}"
    return [
        f"siderolink.api=grpc://127.0.0.1:8090?{query}",
        f"talos.events.sink=[{SIDEROLINK_ADDRESS}]:8091",
        f"talos.logging.kernel=tcp://[{SIDEROLINK_ADDRESS}]:8092",
    ]


def kernel_args(token: str) -> str:
    """Return the kernel arguments of a machine that joined with a token, in one line."""
    return " ".join(join_arguments(token))
