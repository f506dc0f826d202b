"""What may be written: the server's validators, by type, with their texts. Types without one take anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from omniherd.emulator.access import SERVER_ROLES
from omniherd.emulator.cluster_part_rules import ClusterPartRules
from omniherd.emulator.cluster_rules import ClusterRules
from omniherd.emulator.gotext import has_control, quote, size
from omniherd.emulator.imported_secrets_rules import ImportedSecretsRules
from omniherd.emulator.machine_rules import MachineRules, selector_faults
from omniherd.emulator.machine_set_rules import CLUSTER, MACHINE_SET, MachineSetRules
from omniherd.emulator.metadata_rules import judge_metadata
from omniherd.emulator.policies import judge_policy
from omniherd.emulator.records import RUNNING, TEARING_DOWN, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from omniherd.emulator.records import Stored
    from omniherd.emulator.store import Store

    Judge = Callable[[str, Stored | None, Stored], list[str]]

__all__ = ["Validators"]

_O = ".omni.sidero.dev"
_TOKEN_NAME = 16

_EMAIL = re.compile(r"[^@\s<>]*@[^@\s<>]+")


class Validators:
    """All validators.

    Args:
        store: The state that they look things up in.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        sets = MachineSetRules(store)
        judges: dict[str, Judge] = {
            **MachineRules(store).judges(),
            **ClusterPartRules(store).judges(),
            "AccessPolicies": judge_policy,
            "Clusters": ClusterRules(store).judge,
            "ConfigPatches": self._config_patch,
            "DefaultJoinTokens": self._default_join_token,
            "EulaAcceptances": self._eula,
            "Identities": self._identity,
            "ImportedClusterSecrets": ImportedSecretsRules(store).judge,
            "JoinTokens": self._join_token,
            "MachineRequests": self._machine_request,
            "MachineSetNodes": sets.judge_node,
            "MachineSets": sets.judge_set,
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
        texts = judge_metadata(verb, current, resource)
        judge = self._judges.get(resource.type)
        if judge is None or (verb != "create" and current is None):
            return texts
        texts.extend(judge(verb, current, resource))
        if verb == "update" and current is not None and resource.phase == TEARING_DOWN:
            texts.extend(judge("destroy", current, current))
        return texts

    def judges(self, type_name: str) -> bool:
        """Whether a type has rules of its own."""
        return type_name in self._judges

    def _find(self, name: str, id_: str) -> Stored | None:
        return self._store.find("default", name + _O, id_)

    def _force_destroy(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb != "create" or self._find("ClusterMachines", resource.id) is not None:
            return []
        return [
            f"cannot create/update a NodeForceDestroyRequest for node {quote(resource.id)}, "
            "as there is no matching cluster machine"
        ]

    def _config_patch(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        if verb not in {"create", "update"}:
            return []
        from omniherd.emulator.config_patches import judge_config_patch

        if verb == "create":
            for name, label, shown in (("Clusters", CLUSTER, "cluster"), ("MachineSets", MACHINE_SET, "machine set")):
                found = self._find(name, resource.labels.get(label, ""))
                if found is not None and found.phase != RUNNING:
                    return [f"{shown} {quote(found.id)} is tearing down"]
        text, fault = plain_data(resource)
        if fault is not None:
            return [fault]
        # What is compressed with Omni's own dictionary is taken on trust.
        if text is None or (verb == "update" and current is not None and plain_data(current)[0] == text):
            return []
        return judge_config_patch(text)

    def _machine_request(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        if resource.namespace == "default":
            return []
        version = resource.decode().talos_version
        if verb == "update" and current is not None and current.decode() != resource.decode():
            return ["machine request spec is immutable"]
        if verb != "create" or re.match(r"v?\d+\.\d+\.\d+", version):
            return []
        return [f"invalid talos version format: {quote(version)}"]

    # --- people and tokens ------------------------------------------------------------------------------------------

    def _default_join_token(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb == "create":
            return []
        token = resource.decode().token_id
        texts = [] if self._find("JoinTokens", token) is not None else [f"no token with id {quote(token)} exists"]
        if resource.id == "default" and (verb != "update" or resource.phase == TEARING_DOWN):
            texts.append("destroying the default join token resource is not allowed")
        return texts

    def _eula(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb != "create":
            return []
        if self._find("EulaAcceptances", "eula") is not None:
            return ["EULA has already been accepted"]
        spec = resource.decode()
        faults = (
            ("resource ID must be eula", resource.id == "eula"),
            ("name is required when accepting the EULA", spec.accepted_by_name),
            ("email is required when accepting the EULA", spec.accepted_by_email),
        )
        return [text for text, fine in faults if not fine][:1]

    @staticmethod
    def _identity(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb != "create":
            return []
        if resource.id != resource.id.lower():
            return ["must be lowercase"]
        return [] if _EMAIL.fullmatch(resource.id) else [f"not a valid email address: {resource.id}"]

    def _join_token(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        if verb in {"teardown", "destroy"}:
            default = self._find("DefaultJoinTokens", "default")
            if default is not None and default.decode().token_id == resource.id:
                return ["deleting default join token is not possible"]
            return []
        name = resource.decode().name
        if verb == "update" and current is not None and current.decode().name == name:
            return []
        if not name:
            return ["the join token name cannot be empty"]
        if size(name) > _TOKEN_NAME:
            return [f"join token name cannot be longer than {_TOKEN_NAME} symbols"]
        return ["the join token name must not contain control characters"] if has_control(name) else []

    @staticmethod
    def _role_field(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        return _role(resource.decode().role) if verb in {"create", "update"} else []

    @staticmethod
    def _label_rule(verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb not in {"create", "update"}:
            return []
        spec = resource.decode()
        if spec.assign_role_on_registration:
            return ["assignroleonregistration is deprecated, please use assignrole instead"]
        fault, _ = selector_faults(spec.match_labels)
        return [*_role(spec.assign_role), *([] if fault is None else [f"invalid match labels: {fault}"])]


def _role(role: str) -> list[str]:
    return [] if role in SERVER_ROLES else [f"unknown role to parse: {quote(role)}"]


def plain_data(resource: Stored) -> tuple[str | None, str | None]:
    """Return the text of a spec with compressed and plain data, or what is wrong with it; neither when unreadable."""
    from omniherd.emulator.forms import check_frames, unpacked

    spec = resource.decode()
    if not spec.compressed_data:
        return spec.data, None
    try:
        check_frames(spec.compressed_data)
    except StateError as error:
        return None, error.message
    spec.ClearField("data")
    spec = unpacked(resource.type, spec)
    return (None if spec.compressed_data else spec.data), None
