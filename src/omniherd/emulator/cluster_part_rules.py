"""What may be said beside a cluster: manifests, health checks, backups, exposed services, rotations of secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from omniherd.emulator.gotext import quote
from omniherd.emulator.goyamltext import go_yaml_fault
from omniherd.emulator.machine_set_rules import CLUSTER, relation_faults
from omniherd.emulator.packed import plain_data
from omniherd.emulator.records import TEARING_DOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

__all__ = ["ClusterPartRules"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_LOADING = "error loading JSON manifest into unstructured"
_SEPARATOR = re.compile(r"^---[ \t\r]*$", re.MULTILINE)
_MINUTE = 60 * 10**9
_RUNNER = "omni-healthcheck-"
_INTERVAL = 5 * 10**9
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_SUBDOMAIN_LENGTH = 253
_NAME_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '" + _SUBDOMAIN + "')"
)

Faults = list[str]


class ClusterPartRules:
    """The rules.

    Args:
        store: The state that they look things up in, and the clock.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def judges(self) -> dict[str, Callable[[str, Stored | None, Stored], Faults]]:
        """Return what judges each type, by its short name."""
        return {
            "EtcdBackupS3Configs": _judge_s3,
            "EtcdManualBackups": self._manual_backup,
            "ExposedServices": _judge_exposed_service,
            "InfraProviders": self._provider_end,
            "KubernetesHealthChecks": _judge_health_check,
            "KubernetesManifestGroups": _judge_manifests,
            "RotateKubernetesCAs": self._rotation,
            "RotateTalosCAs": self._rotation,
        }

    def _manual_backup(self, verb: str, current: Stored | None, resource: Stored) -> Faults:
        if verb not in {"create", "update"}:
            return []
        wanted = resource.decode().backup_at
        if current is not None and current.decode().backup_at == wanted:
            return []
        distance = wanted.seconds * 10**9 + wanted.nanos - self._store.clock()
        if abs(distance) <= _MINUTE:
            return []
        return [f"backup time must not be more than 1 minute in the {'past' if distance < 0 else 'future'}"]

    def _rotation(self, verb: str, _current: Stored | None, resource: Stored) -> Faults:
        if verb == "create" or (verb == "update" and resource.phase == TEARING_DOWN):
            return []
        status = self._store.find("default", "ClusterSecretsRotationStatuses" + _O, resource.id)
        if status is None or not status.decode().phase:
            return []
        doing = "modify" if verb == "update" else "delete"
        return [f"cannot {doing} the {resource.type} {quote(resource.id)} while a secret rotation is in progress"]

    def _provider_end(self, verb: str, _current: Stored | None, resource: Stored) -> Faults:
        if verb in {"create", "update"}:
            return []
        label = _L + "infra-provider-id"
        machines = [
            machine.id
            for machine in self._store.list("default", "Machines" + _O)
            if machine.labels.get(label) == resource.id and machine.phase != TEARING_DOWN
        ]
        if not machines:
            return []
        return [
            f"cannot delete the infra provider {quote(resource.id)}, as there are {len(machines)} running machines "
            f"managed by it: [{' '.join(machines)}]"
        ]


def _judge_s3(verb: str, _current: Stored | None, resource: Stored) -> Faults:
    spec = resource.decode()
    if verb not in {"create", "update"} or not spec.ByteSize():
        return []
    # A real server goes on and looks into the bucket.
    fault = None
    if not spec.bucket:
        fault = "bucket must be specified"
    elif bool(spec.access_key_id) != bool(spec.secret_access_key):
        fault = "access key and secret key must be specified together"
    return [] if fault is None else [f"incorrect settings for s3 client: {fault}"]


def _judge_exposed_service(verb: str, current: Stored | None, resource: Stored) -> Faults:
    texts = relation_faults(verb, current, resource, CLUSTER)
    alias = _L + "exposed-service-alias"
    if verb == "create" and not resource.labels.get(alias):
        texts.append("alias must be set")
    if verb == "update" and current is not None and current.labels.get(alias, "") != resource.labels.get(alias, ""):
        texts.append("alias cannot be changed")
    return texts


def _judge_health_check(verb: str, _current: Stored | None, resource: Stored) -> Faults:
    if verb not in {"create", "update"}:
        return []
    spec = resource.decode()
    fault = "healthcheck job manifest must be set" if not spec.job else None
    fault = fault or _runner_name(resource.id) or _job(spec.job)
    if fault is None and spec.HasField("interval"):
        nanoseconds = spec.interval.seconds * 10**9 + spec.interval.nanos
        if 0 < nanoseconds < _INTERVAL:
            fault = "healthcheck interval must be at least 5s"
    return [] if fault is None else [fault]


def _runner_name(id_: str) -> str | None:
    name = _RUNNER + id_
    texts: list[str] = []
    if len(name) > _SUBDOMAIN_LENGTH:
        texts.append(f"must be no more than {_SUBDOMAIN_LENGTH} characters")
    if not re.fullmatch(_SUBDOMAIN, name, re.ASCII):
        texts.append(_NAME_TEXT)
    if not texts:
        return None
    return f"healthcheck ID {quote(id_)} cannot be used to build the runner name {quote(name)}: {'; '.join(texts)}"


def _documents(text: str) -> tuple[list[Any], str | None]:
    """Return the documents of a manifest, or what is wrong with its YAML."""
    import yaml

    try:
        return list(yaml.load_all(text, Loader=yaml.CSafeLoader)), None
    except yaml.YAMLError as error:
        return [], go_yaml_fault(error, text)
    except (ValueError, OverflowError, RecursionError) as error:
        return [], f"yaml: {error}"


def _job(text: str) -> str | None:
    documents, fault = _documents(text)
    prefix = "healthcheck job manifest is invalid: failed to "
    if fault is not None:
        return f"{prefix}convert healthcheck job manifest to JSON: {fault}"
    first = documents[0] if documents else None
    if first is not None and not isinstance(first, dict):
        kind = _json_kind(first)
        return f"{prefix}unmarshal healthcheck job manifest: json: cannot unmarshal {kind} into Go value of type v1.Job"
    return None


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, list):
        return "array"
    return "string" if isinstance(value, str) else "number"


def _judge_manifests(verb: str, _current: Stored | None, resource: Stored) -> Faults:
    if verb not in {"create", "update"}:
        return []
    if not resource.decode().mode:
        return ["the manifest should have mode field set"]
    if CLUSTER not in resource.labels:
        return [f"the resource must have {CLUSTER} label set"]
    if _L + "system-manifest" in resource.labels:
        return ["system manifests can't be created by the user"]
    text, fault = plain_data(resource)
    if fault is not None:
        return [fault]
    # What cannot be unpacked here is taken on trust.
    documents: list[Any] = []
    for part in () if text is None else _SEPARATOR.split(text):
        found, fault = _documents(part.strip())
        if fault is not None:
            return [f"error converting manifest to JSON: {fault}"]
        documents.extend(found)
    for document in documents:
        if document == {}:
            continue
        if document is not None and not isinstance(document, dict):
            kind = _json_kind(document)
            return [f"{_LOADING}: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"]
        if document is not None and not cast("dict[str, Any]", document).get("kind"):
            return [f"{_LOADING}: Object 'Kind' is missing in '{_json(document)}'"]
    return []


def _json(document: Any) -> str:
    import json

    return json.dumps(document, separators=(",", ":"), default=str, sort_keys=True)
