"""`management.ManagementService`: files for clients, join tokens, checks; accounts are in `omniherd.emulator.accounts`.

What is not here answers UNIMPLEMENTED.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.access import frame, insufficient, rank
from omniherd.emulator.access_table import RPC_ACCESS
from omniherd.emulator.catalog import SIDEROLINK_ADDRESS, join_arguments
from omniherd.emulator.config_patches import judge_config_patch
from omniherd.emulator.gotext import quote
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from omniherd.emulator.accounts import Accounts
    from omniherd.emulator.server import Incoming, Method, UnaryMethod
    from omniherd.emulator.services.guards import Gate
    from omniherd.emulator.services.json_schema import Fault
    from omniherd.emulator.store import Store

__all__ = ["ManagementService"]

_PREFIX = "/management.ManagementService/"
_GRANTS = frozenset({"", "auto", "authcode", "authcode-keyboard"})
_TOKEN_NAME_LIMIT = 16
_SCHEMA_LIMIT = 1_000_000
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class ManagementService:
    """The service.

    Args:
        store: The state.
        accounts: The calls for service accounts and users.
        account: Name of the instance.
        endpoint: The server's address, without a slash at its end.
        pages: The address of its pages, where Kubernetes clients log in.
        gate: Who may call.
    """

    def __init__(
        self,
        store: Store,
        accounts: Accounts,
        account: str,
        endpoint: Callable[[], str],
        pages: Callable[[], str],
        *,
        gate: Gate,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._account = account
        self._endpoint = endpoint
        self._pages = pages
        self._gate = gate

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        found: dict[str, UnaryMethod] = {
            "Omniconfig": self.omniconfig,
            "Kubeconfig": self.kubeconfig,
            "Talosconfig": self.talosconfig,
            "ValidateConfig": self.validate_config,
            "ValidateJSONSchema": self.validate_json_schema,
            "CreateJoinToken": self.create_join_token,
            "GetMachineJoinConfig": self.machine_join_config,
            **self._accounts.methods(),
        }
        return {_PREFIX + name: self._guarded(_PREFIX + name, method) for name, method in found.items()}

    def _guarded(self, path: str, method: UnaryMethod) -> UnaryMethod:
        """Put the check of the caller's role before a method."""

        async def guarded(call: Incoming, request: Any) -> Any:
            if RPC_ACCESS[path].get("role") == "signed":
                call.principal  # noqa: B018 - it raises where nobody known signed
            else:
                self._gate.require(call, request)
            return await method(call, request)

        return guarded

    # --- files ------------------------------------------------------------------------------------------------------

    async def omniconfig(self, call: Incoming, _request: Any) -> Any:
        """Answer Omniconfig."""
        text = (
            "contexts:\n"
            "    default:\n"
            f"        url: {self._endpoint()}/\n"
            "        auth:\n"
            "            siderov1:\n"
            f"                identity: {call.principal.identity}\n"
            "context: default\n"
        )
        return message("management.OmniconfigResponse")(omniconfig=text.encode())

    async def talosconfig(self, call: Incoming, request: Any) -> Any:
        """Answer Talosconfig; the cluster need not exist."""
        principal = call.principal
        if request.break_glass:
            _require(self._gate.role(call, request), "Admin")
        if request.raw or request.break_glass:
            raise StateError("PERMISSION_DENIED", "not allowed")
        cluster = _cluster(call)
        name = f"{self._account}-{cluster}" if cluster else self._account
        text = (
            f"context: {name}\n"
            "contexts:\n"
            f"    {name}:\n"
            "        endpoints:\n"
            f"            - {self._endpoint()}/\n"
            "        auth:\n"
            "            siderov1:\n"
            f"                identity: {principal.identity}\n"
        )
        if cluster:
            text += f"        cluster: {cluster}\n"
        return message("management.TalosconfigResponse")(talosconfig=text.encode())

    async def kubeconfig(self, call: Incoming, request: Any) -> Any:
        """Answer Kubeconfig; for people the cluster need not exist."""
        role = self._gate.role(call, request)
        if request.break_glass:
            _require(role, "Admin")
            raise StateError("PERMISSION_DENIED", "not allowed")
        if request.service_account:
            _require(role, "Operator")
            text = self._service_account_kubeconfig(_cluster(call), request)
        else:
            text = self._user_kubeconfig(call, request)
        return message("management.KubeconfigResponse")(kubeconfig=text.encode())

    def _user_kubeconfig(self, call: Incoming, request: Any) -> str:
        if request.grant_type not in _GRANTS:
            raise StateError("INVALID_ARGUMENT", f"invalid grant type {quote(request.grant_type)}")
        cluster = _cluster(call)
        name = f"{self._account}-{cluster}"
        user = f"{name}-{call.principal.identity}"
        arguments = [
            "oidc-login",
            "get-token",
            f"--oidc-issuer-url={self._pages()}/oidc",
            "--oidc-client-id=native",
            f"--oidc-extra-scope=cluster:{cluster}",
        ]
        if request.grant_type:
            arguments.append(f"--grant-type={request.grant_type}")
        if request.oidc_cache_isolation:
            arguments.append(f"--token-cache-dir={request.oidc_cache_base_dir}/{user}")
        listed = "".join(f"        - {argument}\n" for argument in arguments)
        return (
            "apiVersion: v1\n"
            "kind: Config\n"
            "clusters:\n"
            "  - cluster:\n"
            f"      server: {self._endpoint()}\n"
            f"    name: {name}\n"
            "contexts:\n"
            "  - context:\n"
            f"      cluster: {name}\n"
            "      namespace: default\n"
            f"      user: {user}\n"
            f"    name: {name}\n"
            f"current-context: {name}\n"
            "users:\n"
            f"- name: {user}\n"
            "  user:\n"
            "    exec:\n"
            "      apiVersion: client.authentication.k8s.io/v1\n"
            "      args:\n"
            f"{listed}"
            "      command: kubectl\n"
            "      env: null\n"
            "      interactiveMode: IfAvailable\n"
            "      provideClusterInfo: false\n"
        )

    def _service_account_kubeconfig(self, cluster: str, request: Any) -> str:
        if not cluster:
            raise StateError("INVALID_ARGUMENT", "cluster name is not in context")
        if not request.service_account_user:
            raise StateError("INVALID_ARGUMENT", "service account user name is not set")
        if not request.HasField("service_account_ttl"):
            raise StateError("INVALID_ARGUMENT", "service account ttl is not set")
        if request.service_account_ttl.seconds <= 0:
            raise StateError("INVALID_ARGUMENT", "service account ttl is must be positive")
        try:
            cluster_uuid = self._store.get("default", "ClusterUUIDs.omni.sidero.dev", cluster).decode().uuid
        except StateError as error:
            raise StateError("UNKNOWN", f"failed to get cluster UUID: {error.message}") from None
        now = self._store.now()[0]
        token = _token(
            {
                "cluster": cluster,
                "cluster_uuid": cluster_uuid,
                "exp": now + request.service_account_ttl.seconds,
                "groups": list(request.service_account_groups),
                "iat": now,
                "iss": f"omni-{self._account}-service-account-issuer",
                "sub": request.service_account_user,
            }
        )
        name = f"{self._account}-{cluster}-{request.service_account_user}"
        return (
            "apiVersion: v1\n"
            "clusters:\n"
            "- cluster:\n"
            f"    server: {self._endpoint()}\n"
            f"  name: {name}\n"
            "contexts:\n"
            "- context:\n"
            f"    cluster: {name}\n"
            "    namespace: default\n"
            f"    user: {name}\n"
            f"  name: {name}\n"
            f"current-context: {name}\n"
            "kind: Config\n"
            "users:\n"
            f"- name: {name}\n"
            "  user:\n"
            f"    token: {token}\n"
        )

    # --- checks and tokens ------------------------------------------------------------------------------------------

    async def validate_config(self, _call: Incoming, request: Any) -> bytes:
        """Answer ValidateConfig."""
        texts = judge_config_patch(request.config)
        if not texts:
            return b""
        listed = texts[0].startswith(("overriding ", "element "))
        raise StateError("INVALID_ARGUMENT", frame(texts) if listed else texts[0])

    async def validate_json_schema(self, _call: Incoming, request: Any) -> Any:
        """Answer ValidateJSONSchema."""
        from omniherd.emulator.services.json_schema import parse_schema, validate

        if len(request.schema) > _SCHEMA_LIMIT:
            raise StateError("UNKNOWN", "json schema can not be bigger than 1MB")
        schema = parse_schema(request.schema)
        answer = message("management.ValidateJsonSchemaResponse")()
        _tell_faults(answer, validate(schema, _yaml_data(request.data)))
        return answer

    async def create_join_token(self, _call: Incoming, request: Any) -> Any:
        """Answer CreateJoinToken."""
        if not request.name:
            raise StateError("INVALID_ARGUMENT", "token name cannot be empty")
        if len(request.name) > _TOKEN_NAME_LIMIT:
            raise StateError("INVALID_ARGUMENT", f"token name cannot be longer than {_TOKEN_NAME_LIMIT} symbols")
        token = "".join(secrets.choice(_ALPHABET) for _ in range(44))
        fields: dict[str, Any] = {"name": request.name}
        if request.HasField("expiration_time"):
            fields["expiration_time"] = request.expiration_time
        self._store.put("JoinTokens.omni.sidero.dev", token, fields)
        return message("management.CreateJoinTokenResponse")(id=token)

    async def machine_join_config(self, _call: Incoming, request: Any) -> Any:
        """Answer GetMachineJoinConfig."""
        token = request.join_token
        if not token:
            token = self._store.get("default", "DefaultJoinTokens.omni.sidero.dev", "default").decode().token_id
        arguments = join_arguments(token, tunnel=request.use_grpc_tunnel)
        api = arguments[0].removeprefix("siderolink.api=")
        config = (
            f"apiVersion: v1alpha1\nkind: SideroLinkConfig\napiUrl: {api}\n---\n"
            f"apiVersion: v1alpha1\nkind: EventSinkConfig\nendpoint: '[{SIDEROLINK_ADDRESS}]:8091'\n---\n"
            f"apiVersion: v1alpha1\nkind: KmsgLogConfig\nname: omni-kmsg\nurl: tcp://[{SIDEROLINK_ADDRESS}]:8092\n"
        )
        return message("management.GetMachineJoinConfigResponse")(kernel_args=arguments, config=config)


def _yaml_data(text: str) -> Any:
    """Return what a YAML text says, as JSON could say it."""
    import yaml

    from omniherd.emulator.goyamltext import go_yaml_fault_4

    try:
        data: Any = yaml.safe_load(re.sub(r"(?i)\.nan", "null", text))
    except yaml.YAMLError as error:
        raise StateError("UNKNOWN", f"failed to unmarshal YAML {go_yaml_fault_4(error, text)}") from None
    return {} if data is None else data


def _tell_faults(answer: Any, faults: Iterable[Fault]) -> None:
    """Put faults and what is below them into an answer, one after the other."""
    for fault in faults:
        place = "/" + "/".join(fault.data)
        for name in fault.missing:
            path = f"{place.rstrip('/')}/{name}"
            answer.errors.add(schema_path=fault.schema, data_path=path, cause="property is required")
        if not fault.missing:
            answer.errors.add(schema_path=fault.schema, data_path=place, cause=fault.cause)
        _tell_faults(answer, fault.causes)


def _require(role: str, least: str) -> None:
    if rank(role) < rank(least):
        raise StateError("PERMISSION_DENIED", insufficient(role))


def _cluster(call: Incoming) -> str:
    return call.header("cluster") or call.header("context") or ""


def _token(claims: dict[str, Any]) -> str:
    """Return a token with claims; nobody checks its signature, and it says so."""

    def part(content: dict[str, Any]) -> str:
        text = json.dumps(content, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    signature = base64.urlsafe_b64encode(b"not-a-real-signature").decode().rstrip("=")
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{signature}"
