"""What the secrets of a cluster that is taken in must have."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_list, is_mapping
from omniherd.emulator.access import frame
from omniherd.emulator.goyamltext import go_yaml_fault_4

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["ImportedSecretsRules"]

_SECTIONS = {"cluster": "Cluster", "secrets": "Secrets", "trustdinfo": "TrustdInfo", "certs": "Certs"}
_AUTHORITIES = ("etcd", "k8s", "k8saggregator", "os")
_ACCOUNT = "k8sserviceaccount"
_KEYS = "secrets.secretboxencryptionsecret, secrets.aescbcencryptionsecret"
_SHOWN = 10  # bytes of a misplaced value
_NO_PEM = "failed to parse PEM block"
_PEM = re.compile(rb"-----BEGIN [^-]+-----\r?\n.*?-----END [^-]+-----", re.DOTALL)


class ImportedSecretsRules:
    """The rules for `ImportedClusterSecrets`.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def judge(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        """Return what is wrong with a write, one text for each fault; certificates are looked at no closer."""
        if verb != "create":
            return []
        if self._store.find("default", "Clusters.omni.sidero.dev", resource.id) is not None:
            text = "cannot create an ImportedClusterSecrets, as there is already an existing cluster with name"
            return [f'{text}: "{resource.id}"']
        try:
            bundle = _bundle(resource.decode().data)
        except ValueError as error:
            return [f"failed to unmarshal imported cluster secret: {error}"]
        faults = [*_of_cluster(bundle), *_of_certificates(bundle)]
        return [f"failed to validate imported cluster secret: {frame(faults)}"] if faults else []


def _bundle(text: str) -> Mapping[str, Any]:
    """Return the secrets of a text.

    Raises:
        ValueError: It has another form; the message is Go's.
    """
    import yaml

    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(go_yaml_fault_4(error, text)) from None
    if content is None:
        return {}
    if not is_mapping(content):
        raise _misplaced(content, "Bundle")
    for name, kind in _SECTIONS.items():
        part = content.get(name)
        if part is not None and not is_mapping(part):
            raise _misplaced(part, kind)
    certificates = _mapping(content.get("certs"))
    for name in (*_AUTHORITIES, _ACCOUNT):
        for value in _mapping(certificates.get(name)).values():
            _decoded(value)
    return content


def _misplaced(value: Any, kind: str) -> ValueError:
    text = str(value)
    shown = text if len(text.encode()) <= _SHOWN else text.encode()[: _SHOWN - 3].decode(errors="replace") + "..."
    what = "!!seq" if is_list(value) else f"!!str `{shown}`"
    return ValueError(f"yaml: construct errors:\n  line 1: cannot construct {what} into secrets.{kind}")


def _decoded(value: Any) -> bytes:
    text = str(value or "").replace("\r", "").replace("\n", "")  # as Go passes over them
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        wrong = re.search(r"[^A-Za-z0-9+/]", text)
        place = len(text) if wrong is None else wrong.start()
        raise ValueError(f"yaml: construct errors:\n  line 1: illegal base64 data at input byte {place}") from None


def _of_cluster(bundle: Mapping[str, Any]) -> list[str]:
    faults: list[str] = []
    for name, fields in (("cluster", ("id", "secret")), ("secrets", ("bootstraptoken",)), ("trustdinfo", ("token",))):
        part = bundle.get(name)
        if part is None:
            faults.append(f"{name} is required")
            continue
        faults.extend(f"{name}.{field} is required" for field in fields if not part.get(field))
        if name == "secrets":
            given = sum(bool(part.get(key)) for key in ("secretboxencryptionsecret", "aescbcencryptionsecret"))
            if given != 1:
                faults.append(f"only one of [{_KEYS}] is allowed" if given else f"one of [{_KEYS}] is required")
    return faults


def _of_certificates(bundle: Mapping[str, Any]) -> list[str]:
    certificates = bundle.get("certs")
    if certificates is None:
        return ["certs is required"]
    faults: list[str] = []
    for name, field, parts in (
        *((name, name, ("crt", "key")) for name in _AUTHORITIES),
        (_ACCOUNT, f"{_ACCOUNT}.key", ("key",)),
    ):
        pair = certificates.get(name)
        if pair is None:
            faults.append(f"certs.{name} is required")
        elif not all(_PEM.search(_decoded(_mapping(pair).get(part))) for part in parts):
            faults.append(f"certs.{field} is invalid: {_NO_PEM}")
    return faults


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if is_mapping(value) else {}
