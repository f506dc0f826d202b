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
from omniherd.emulator.names import SERVICE_ACCOUNT_LABEL
from omniherd.emulator.packed import plain_data
from omniherd.emulator.policies import judge_policy
from omniherd.emulator.records import RUNNING, TEARING_DOWN

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
            "MachineSetNodes": sets.judge_node,
            "MachineSets": sets.judge_set,
            "NodeForceDestroyRequests": self._force_destroy,
            "PublicKeys": self._role_field,
            "SAMLLabelRules": self._label_rule,
            "Users": self._role_field,
        }
        self._judges = {name + _O: judge for name, judge in judges.items()}
        self._among_providers: dict[str, Judge] = {"MachineRequests" + _O: _machine_request}

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

    def judge_among_providers(self, verb: str, current: Stored | None, resource: Stored) -> list[str]:
        """Return what is wrong with a creation or an update in the namespaces of infra providers.

        The server asks for it last, when everything else of a write is fine.
        """
        judge = self._among_providers.get(resource.type)
        return [] if judge is None else judge(verb, current, resource)

    def judges(self, type_name: str) -> bool:
        """Whether a type has rules of its own."""
        return type_name in self._judges or type_name in self._among_providers

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

    # --- people and tokens ------------------------------------------------------------------------------------------

    def _default_join_token(self, verb: str, _current: Stored | None, resource: Stored) -> list[str]:
        if verb == "create":
            return []
        token = resource.decode().token_id
        if self._find("JoinTokens", token) is None:
            return [f"no token with id {quote(token)} exists"]
        if resource.id == "default" and (verb != "update" or resource.phase == TEARING_DOWN):
            return ["destroying the default join token resource is not allowed"]
        return []

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
        texts = ["must be lowercase"] if any(map(str.isupper, resource.id)) else []
        if SERVICE_ACCOUNT_LABEL not in resource.labels and not _EMAIL.fullmatch(resource.id):
            texts.append(f"not a valid email address: {resource.id}")
        return texts

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


def _machine_request(_verb: str, current: Stored | None, resource: Stored) -> list[str]:
    from omniherd.template.versions import VersionRefused, parse_version

    spec = resource.decode()
    if current is not None:
        return [] if current.decode() == spec else ["machine request spec is immutable"]
    try:
        parse_version(spec.talos_version)
    except VersionRefused:
        return [f"invalid talos version format: {quote(spec.talos_version)}"]
    return []
