"""Secrets of clusters that are taken in from outside: what they must have."""

from __future__ import annotations

from .steps import Step, specs

SCENARIOS: dict[str, list[Step]] = {}

_TEXTS = (
    "a: [\n",
    "text\n",
    "- cluster\n",
    "{}\n",
    "other: 1\n",
    "cluster:\nsecrets:\ntrustdinfo:\ncerts:\n",
    "cluster: {}\nsecrets: {}\ntrustdinfo: {}\ncerts: {}\n",
    "cluster: {id: a}\nsecrets: {bootstraptoken: b}\ntrustdinfo: {token: c}\ncerts: {}\n",
    "cluster: {id: a, secret: b}\n"
    "secrets: {bootstraptoken: c, secretboxencryptionsecret: d, aescbcencryptionsecret: e}\n",
    "cluster: text\n",
    "certs: {etcd: {crt: '', key: ''}, k8s: {crt: YQ==, key: YQ==}, k8saggregator: {}, os: {crt: '***', key: ''}}\n",
    "certs: {etcd: {crt: '', key: ''}, k8s: {crt: YQ==, key: YQ==}, k8saggregator: {}, os: {}}\n",
    "certs: {k8sserviceaccount: {key: ''}}\n",
    "certs: {k8sserviceaccount: {key: YQ==}}\n",
)

SCENARIOS["imported-secrets"] = specs("ImportedClusterSecrets", *({"data": text} for text in _TEXTS))
