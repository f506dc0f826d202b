"""The secrets of a Talos cluster: made once, held by the configurations of its control planes."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field

from omniherd.emulator.certificate import Authority

__all__ = ["Secrets"]

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a cluster keeps to itself.

    Attributes:
        identity: The id of the cluster that its members find each other by.
        secret: What they encrypt with what they tell about themselves.
        token: The token that nodes join Kubernetes with.
        machine_token: The token that machines join Talos with.
        secretbox: The key that Kubernetes encrypts secrets at rest with.
        talos: The authority of Talos' API.
        kubernetes: The authority of Kubernetes' API.
        etcd: The authority of etcd.
        aggregator: The authority of aggregated API servers.
        service_account: The key that signs the tokens of service accounts.
    """

    identity: str
    secret: str = field(repr=False)
    token: str = field(repr=False)
    machine_token: str = field(repr=False)
    secretbox: str = field(repr=False)
    talos: Authority
    kubernetes: Authority
    etcd: Authority
    aggregator: Authority
    service_account: Authority

    @classmethod
    def make(cls) -> Secrets:
        """Make new ones, by chance."""
        return cls(
            base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            base64.b64encode(secrets.token_bytes(32)).decode(),
            _token(),
            _token(),
            base64.b64encode(secrets.token_bytes(32)).decode(),
            Authority.make("talos"),
            Authority.make("kubernetes"),
            Authority.make("etcd"),
            Authority.make(common_name="front-proxy"),
            Authority.make("service accounts"),
        )


def _token() -> str:
    first, second = ("".join(secrets.choice(_LETTERS) for _ in range(count)) for count in (6, 16))
    return f"{first}.{second}"
