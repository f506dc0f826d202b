"""The secrets of a foreign cluster, made by chance."""

from __future__ import annotations

import base64
import secrets

from omniherd.emulator.certificate import Authority
from omniherd.machineconfig import KeyPair, Secrets

__all__ = ["make_secrets"]

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


def make_secrets(talos: Authority) -> Secrets:
    """Return what a cluster keeps to itself, all of it new.

    Args:
        talos: The authority of Talos' API, which its endpoint serves with.
    """
    return Secrets(
        cluster_id=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        cluster_secret=_random(),
        bootstrap_token=_token(),
        machine_token=_token(),
        aescbc_encryption_secret=_random(),
        secretbox_encryption_secret=_random(),
        etcd=_pair(Authority.make("etcd")),
        kubernetes=_pair(Authority.make("kubernetes")),
        aggregator=_pair(Authority.make(common_name="front-proxy")),
        service_account_key=base64.b64encode(Authority.make().key).decode(),
        talos=_pair(talos),
    )


def _pair(authority: Authority) -> KeyPair:
    return KeyPair(base64.b64encode(authority.certificate).decode(), base64.b64encode(authority.key).decode())


def _random() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _token() -> str:
    first, second = ("".join(secrets.choice(_LETTERS) for _ in range(count)) for count in (6, 16))
    return f"{first}.{second}"
