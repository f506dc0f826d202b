"""The secrets that all machines of a Talos cluster share."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_list, is_mapping
from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KeyPair", "Secrets", "one_line_base64"]


@dataclass(frozen=True, repr=False)
class KeyPair:
    """A certificate authority.

    Attributes:
        crt: The certificate: PEM, in base64.
        key: The private key: PEM, in base64.
    """

    crt: str
    key: str

    def __repr__(self) -> str:
        return "KeyPair(...)"


@dataclass(frozen=True, repr=False)
class Secrets:
    """The secrets of a cluster. None of them shows in `repr`.

    Attributes:
        cluster_id: What machines find each other by.
        cluster_secret: What they encrypt with what they tell each other.
        bootstrap_token: What a kubelet joins Kubernetes with.
        machine_token: What a machine joins Talos with.
        aescbc_encryption_secret: What Kubernetes' secrets are encrypted with in etcd, up to Talos 1.2; else empty.
        secretbox_encryption_secret: The same since Talos 1.3; else empty.
        etcd: etcd's authority, None when the configuration has none; the same goes for the following.
        kubernetes: Kubernetes' authority.
        aggregator: The authority of Kubernetes' aggregation layer.
        service_account_key: The key that signs Kubernetes' service accounts: PEM, in base64.
        talos: The authority of Talos' API.
    """

    cluster_id: str = ""
    cluster_secret: str = ""
    bootstrap_token: str = ""
    machine_token: str = ""
    aescbc_encryption_secret: str = ""
    secretbox_encryption_secret: str = ""
    etcd: KeyPair | None = None
    kubernetes: KeyPair | None = None
    aggregator: KeyPair | None = None
    service_account_key: str | None = None
    talos: KeyPair | None = None

    def __repr__(self) -> str:
        return "Secrets(...)"

    @classmethod
    def of(cls, documents: Sequence[Mapping[str, Any]]) -> Secrets:
        """Take the secrets out of a machine's configuration.

        Args:
            documents: The configuration of a control plane; a worker's holds only some of them.

        Returns:
            The secrets; what the configuration does not have is empty or None.

        Raises:
            InputError: The configuration has no machine or cluster section, or a key that is no base64.

        Example:
            >>> secrets = Secrets.of([{"machine": {"token": "a.b"}, "cluster": {"id": "x", "token": "c.d"}}])
            >>> secrets.machine_token, secrets.bootstrap_token, secrets
            ('a.b', 'c.d', Secrets(...))
        """
        main = next((one for one in documents if not one.get("kind")), None)
        machine, cluster = (None, None) if main is None else (main.get("machine"), main.get("cluster"))
        if not is_mapping(machine) or not is_mapping(cluster):
            raise InputError("the machine configuration has no machine or no cluster section")
        etcd = cluster.get("etcd")
        account = cluster.get("serviceAccount")
        token = _text(cluster, "token").split(".")
        return cls(
            cluster_id=_text(cluster, "id"),
            cluster_secret=_text(cluster, "secret"),
            # A token that is not of two parts comes to nothing but the dot.
            bootstrap_token=".".join(token) if len(token) == 2 else ".",
            machine_token=_text(machine, "token"),
            aescbc_encryption_secret=_text(cluster, "aescbcEncryptionSecret"),
            secretbox_encryption_secret=_secretbox(documents) or _text(cluster, "secretboxEncryptionSecret"),
            etcd=_pair(etcd.get("ca")) if is_mapping(etcd) else None,
            kubernetes=_pair(cluster.get("ca")),
            aggregator=_pair(cluster.get("aggregatorCA")),
            service_account_key=one_line_base64(_text(account, "key")) if is_mapping(account) else None,
            talos=_pair(machine.get("ca")),
        )

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Secrets:
        r"""Read secrets as `talosctl gen secrets` and Omni keep them.

        Raises:
            InputError: The text holds something else, or a key that is no base64.

        Example:
            >>> Secrets.from_yaml("cluster:\n    id: x\n").cluster_id
            'x'
        """
        from omniherd.yamlform import load

        value: Any = load(text)
        if not is_mapping(value):
            raise InputError("a mapping is expected, with the cluster's secrets")
        cluster, secrets, trustd, certs = (
            _section(value, name) for name in ("cluster", "secrets", "trustdinfo", "certs")
        )
        account = certs.get("k8sserviceaccount")
        return cls(
            cluster_id=_text(cluster, "id"),
            cluster_secret=_text(cluster, "secret"),
            bootstrap_token=_text(secrets, "bootstraptoken"),
            machine_token=_text(trustd, "token"),
            aescbc_encryption_secret=_text(secrets, "aescbcencryptionsecret"),
            secretbox_encryption_secret=_text(secrets, "secretboxencryptionsecret"),
            etcd=_pair(certs.get("etcd")),
            kubernetes=_pair(certs.get("k8s")),
            aggregator=_pair(certs.get("k8saggregator")),
            service_account_key=one_line_base64(_text(account, "key")) if is_mapping(account) else None,
            talos=_pair(certs.get("os")),
        )

    def to_yaml(self) -> str:
        """Return the secrets as YAML, to the byte as Talos' library writes them.

        Example:
            >>> Secrets(cluster_id="x").to_yaml().splitlines()[:3]
            ['cluster:', '    id: x', '    secret: ""']
        """
        from omniherd.yamlform import dump

        secrets = {"bootstraptoken": self.bootstrap_token}
        if self.aescbc_encryption_secret:
            secrets["aescbcencryptionsecret"] = self.aescbc_encryption_secret
        if self.secretbox_encryption_secret:
            secrets["secretboxencryptionsecret"] = self.secretbox_encryption_secret
        account = self.service_account_key
        value = {
            "cluster": {"id": self.cluster_id, "secret": self.cluster_secret},
            "secrets": secrets,
            "trustdinfo": {"token": self.machine_token},
            "certs": {
                "etcd": _plain(self.etcd),
                "k8s": _plain(self.kubernetes),
                "k8saggregator": _plain(self.aggregator),
                "k8sserviceaccount": None if account is None else {"key": account},
                "os": _plain(self.talos),
            },
        }
        return dump(value, sort=False)


def _plain(pair: KeyPair | None) -> dict[str, str] | None:
    return None if pair is None else {"crt": pair.crt, "key": pair.key}


def _section(value: Mapping[Any, Any], name: str) -> Mapping[Any, Any]:
    section: Any = value.get(name)
    return section if is_mapping(section) else {}


def _text(section: Mapping[Any, Any], name: str) -> str:
    value = section.get(name)
    return "" if value is None else str(value)


def _pair(value: Any) -> KeyPair | None:
    if not is_mapping(value):
        return None
    return KeyPair(one_line_base64(_text(value, "crt")), one_line_base64(_text(value, "key")))


def one_line_base64(text: str) -> str:
    """Return the same bytes, written in one line."""
    try:
        data = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except binascii.Error:
        # The text may be half a key, and stays out of the message.
        raise InputError("a certificate or key in the machine configuration is no base64") from None
    return base64.b64encode(data).decode()


def _secretbox(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return the key of the first provider that encrypts secrets, when that is a secretbox; else empty."""
    found: Any = next((one.get("config") for one in documents if one.get("kind") == "KubeEtcdEncryptionConfig"), None)
    resources: Any = found.get("resources") if is_mapping(found) else None
    for resource in resources if is_list(resources) else ():
        if not is_mapping(resource) or "secrets" not in (resource.get("resources") or ()):
            continue
        providers: Any = resource.get("providers")
        first: Any = providers[0] if is_list(providers) and providers else None
        box: Any = first.get("secretbox") if is_mapping(first) else None
        keys: Any = box.get("keys") if is_mapping(box) else None
        for key in keys if is_list(keys) else ():
            return _text(key, "secret") if is_mapping(key) else ""
    return ""
