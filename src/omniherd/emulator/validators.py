"""What may be written: the server's validators, by type, with their texts. Types without one take anything."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from omniherd.emulator.access_table import ROLES
from omniherd.emulator.cluster_rules import ClusterRules
from omniherd.emulator.records import RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

    Judge = Callable[[str, Stored | None, Stored], list[str]]

__all__ = ["Validators"]

_O = ".omni.sidero.dev"
_L = "omni.sidero.dev/"
_CLUSTER = _L + "cluster"
_MACHINE_SET = _L + "machine-set"
_CONTROL_PLANE = _L + "role-controlplane"
_WORKER = _L + "role-worker"

_EMAIL = re.compile(r"[^@\s<>]*@[^@\s<>]+")


class Validators:
    """All validators.

    Args:
        store: The state that they look things up in.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        judges: dict[str, Judge] = {
            "AccessPolicies": self._access_policy,
            "Clusters": ClusterRules(store).judge,
            "ConfigPatches": self._config_patch,
            "DefaultJoinTokens": self._default_join_token,
            "EulaAcceptances": self._eula,
            "ExposedServices": self._exposed_service,
            "Identities": self._identity,
            "JoinTokens": self._join_token,
            "KubernetesManifestGroups": self._manifest_group,
            "MachineClasses": self._machine_class,
            "MachineSetNodes": self._machine_set_node,
            "MachineSets": self._machine_set,
            "NodeForceDestroyRequests": self._force_destroy,
            "PublicKeys": self._role_field,
            "SAMLLabelRules": self._label_rule,
            "Users": self._role_field,
        }
        self._judges = {name + _O: judge for name, judge in judges.items()}

    def judge(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        """Return what is wrong with a write, one text for each fault.

        Args:
            verb: `create`, `update`, `teardown` or `destroy`.
            current: What is stored; None when nothing is.
            resource: What is to be stored; for the last two verbs what is stored.
        """
        judge = self._judges.get(resource.type)
        return [] if judge is None else judge(verb, current, resource)

    # --- clusters' parts --------------------------------------------------------------------------------------------

    def _find(self, name: str, id_: str) -> Stored | None:
        return self._store.find("default", name + _O, id_)

    def _machine_set(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb in {"teardown", "destroy"} or resource.phase != RUNNING:
            return []
        texts: list[str] = []
        cluster = resource.labels.get(_CLUSTER)
        if cluster is None:
            texts.append(f'label "{_CLUSTER}" does not exist')
        found = self._find("Clusters", cluster or "")
        if found is None:
            texts.append(f'the cluster "{cluster or ""}" does not exist')
        elif verb == "create" and found.phase != RUNNING:
            texts.append(f'the cluster "{cluster}" is tearing down')
        if cluster is None or found is None:
            return texts
        return texts + self._machine_set_content(resource, cluster)

    def _machine_set_content(self, resource: Stored, cluster: str) -> list[str]:
        control_plane = _CONTROL_PLANE in resource.labels
        if not control_plane and _WORKER not in resource.labels:
            return [f'machine set must have either "{_CONTROL_PLANE}" or "{_WORKER}" label']
        if control_plane and resource.id != f"{cluster}-control-planes":
            return [f'control plane machine set must have ID "{cluster}-control-planes"']
        if not resource.id.startswith(f"{cluster}-"):
            return [f'machine set of cluster "{cluster}" ID must have "{cluster}-" as prefix']
        spec = resource.decode()
        texts: list[str] = []
        if spec.HasField("bootstrap_spec"):
            if not control_plane:
                texts.append("bootstrap spec is not allowed for worker machine sets")
            elif not _is_uuid(spec.bootstrap_spec.cluster_uuid):
                texts.append(f'invalid cluster UUID "{spec.bootstrap_spec.cluster_uuid}"')
        for name in ("machine_class", "machine_allocation"):
            if spec.HasField(name):
                texts.extend(self._allocation(getattr(spec, name)))
        return texts

    def _allocation(self, allocation: Any) -> list[str]:
        if not allocation.name:
            return ["machine allocation source name is not set"]
        if self._find("MachineClasses", allocation.name) is None:
            return [f'machine class with name "{allocation.name}" doesn\'t exist']
        if allocation.machine_count and allocation.allocation_type:
            return ["machine count can be set only if static allocation type is used"]
        return []

    def _machine_set_node(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb != "create":
            return []
        texts = [
            f'label "{label}" does not exist' for label in (_CLUSTER, _MACHINE_SET) if label not in resource.labels
        ]
        machine_set = resource.labels.get(_MACHINE_SET, "")
        cluster = resource.labels.get(_CLUSTER, "")
        refusal = f'adding machine set node to the machine set "{machine_set}" is not allowed: '
        found = self._find("MachineSets", machine_set)
        owner = self._find("Clusters", cluster)
        if found is None:
            texts.append(refusal + "the machine set does not exist")
        elif found.phase != RUNNING:
            texts.append(refusal + "the machine set is tearing down")
        elif owner is None:
            texts.append(refusal + f'the cluster "{cluster}" does not exist')
        elif owner.phase != RUNNING:
            texts.append(refusal + f'the cluster "{cluster}" is tearing down')
        elif found.labels.get(_CLUSTER) != cluster:
            texts.append(refusal + f'the machine set belongs to the cluster "{found.labels.get(_CLUSTER, "")}"')
        return texts

    def _force_destroy(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb not in {"create", "update"} or self._find("ClusterMachines", resource.id) is not None:
            return []
        return [
            f'cannot create/update a NodeForceDestroyRequest for node "{resource.id}", '
            "as there is no matching cluster machine"
        ]

    def _machine_class(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb in {"teardown", "destroy"}:
            users = [
                found.id
                for found in self._store.list("default", "MachineSets" + _O)
                if resource.id in _class_names(found.decode())
            ]
            if not users:
                return []
            return [f"can not delete the machine class as it is still in use by machine sets: {', '.join(users)}"]
        spec = resource.decode()
        if bool(spec.match_labels) == spec.HasField("auto_provision"):
            return ["machine class should either have auto provision or match labels set"]
        return []

    def _config_patch(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb in {"teardown", "destroy"} or resource.phase != RUNNING:
            return []
        from omniherd.emulator.config_patches import judge_config_patch
        from omniherd.emulator.forms import unpacked

        spec = unpacked(resource.type, resource.decode())
        # What is compressed with Omni's own dictionary is taken on trust.
        return [] if spec.compressed_data else judge_config_patch(spec.data)

    def _manifest_group(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb in {"teardown", "destroy"} or resource.decode().mode:
            return []
        return ["the manifest should have mode field set"]

    def _exposed_service(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb != "create":
            return []
        texts = [] if _CLUSTER in resource.labels else [f'label "{_CLUSTER}" does not exist']
        return [*texts, *([] if _L + "exposed-service-alias" in resource.labels else ["alias must be set"])]

    # --- people and tokens ------------------------------------------------------------------------------------------

    @staticmethod
    def _access_policy(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb == "create" and resource.id != "access-policy":
            return [f'access policy ID mismatch: expected "access-policy", got "{resource.id}"']
        return []

    def _default_join_token(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb == "create":
            return []
        token = resource.decode().token_id
        return [] if self._find("JoinTokens", token) is not None else [f'no token with id "{token}" exists']

    @staticmethod
    def _eula(verb: str, _current: Stored | None, _resource: Stored) -> list[str]:
        return ["EULA has already been accepted"] if verb == "create" else []

    @staticmethod
    def _identity(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb != "create":
            return []
        if resource.id != resource.id.lower():
            return ["must be lowercase"]
        return [] if _EMAIL.fullmatch(resource.id) else [f"not a valid email address: {resource.id}"]

    @staticmethod
    def _join_token(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb in {"create", "update"} and not resource.decode().name:
            return ["the join token name cannot be empty"]
        return []

    @staticmethod
    def _role_field(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        return _role(resource.decode().role) if verb in {"create", "update"} else []

    @staticmethod
    def _label_rule(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        return _role(resource.decode().assign_role_on_registration) if verb in {"create", "update"} else []


def _role(role: str) -> list[str]:
    return [] if role in ROLES else [f'unknown role to parse: "{role}"']


def _class_names(spec: Any) -> set[str]:
    return {spec.machine_class.name, spec.machine_allocation.name} - {""}


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
