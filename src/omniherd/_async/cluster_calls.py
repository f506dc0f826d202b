"""The part of ManagementService that is about one cluster: files for its clients, upgrades, support."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncAnswers, AsyncService
from omniherd.services import ManifestSync, SupportBundle, SupportProgress, UpgradeCheck

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from omniherd._core.service_requests import Lifetime

__all__ = ["AsyncClusterCalls"]

GrantType = Literal["", "auto", "authcode", "authcode-keyboard"]
InventoryPolicy = Literal["must-match", "adopt-if-no-inventory", "adopt-all"]

# The server gathers the files of every machine, which it waits for one after another.
_SUPPORT_TIMEOUT = 900.0
_KINDS = {1: "manifest", 2: "rollout"}


class AsyncClusterCalls(AsyncService):
    """Calls about one cluster, which the signed metadata `cluster` names."""

    service: ClassVar[str] = "management.ManagementService"

    async def kubeconfig(
        self,
        cluster: str,
        *,
        grant_type: GrantType = "",
        oidc_cache_dir: str = "",
        oidc_cache_isolation: bool = False,
        break_glass: bool = False,
        timeout: Timeout = DEFAULT,
    ) -> str:
        """Return a kubeconfig in which people log in by OIDC, as YAML text.

        The server does not check that the cluster exists: a name with a typing error gives a file that leads nowhere.

        Args:
            cluster: The cluster's id.
            grant_type: How kubectl logs in: `auto`, `authcode` (needs a browser), `authcode-keyboard` (a code to
                type).
            oidc_cache_dir: Where kubectl keeps its tokens, with `oidc_cache_isolation`.
            oidc_cache_isolation: Give this cluster a token cache of its own.
            break_glass: An administrator's file that goes past Omni; most servers refuse to hand it out.
            timeout: Seconds, instead of the client's.

        Raises:
            InvalidArgument: There is no such grant type.
            PermissionDenied: The caller may not read clusters, or break-glass access is switched off.
        """
        from omniherd.wire import management

        request = management.KubeconfigRequest(
            grant_type=grant_type,
            oidc_cache_base_dir=oidc_cache_dir,
            oidc_cache_isolation=oidc_cache_isolation,
            break_glass=break_glass,
        )
        return await self._kubeconfig(request, cluster, timeout)

    async def service_account_kubeconfig(
        self,
        cluster: str,
        *,
        user: str,
        lifetime: Lifetime,
        groups: Iterable[str] = (),
        timeout: Timeout = DEFAULT,
    ) -> str:
        """Return a kubeconfig with a token in it, for programs, as YAML text. Whoever has it is in: keep it secret.

        Args:
            cluster: The cluster's id.
            user: The name that Kubernetes knows the program by.
            lifetime: How long the token is good for, as a duration or in seconds.
            groups: The program's groups in Kubernetes, such as `system:masters`. Without any it may do next to
                nothing.
            timeout: Seconds, instead of the client's.

        Raises:
            InputError: The lifetime is not positive.
            InvalidArgument: The user is empty.
            UnknownError: There is no such cluster.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd._core.service_requests import duration, texts
        from omniherd.wire import management

        request = management.KubeconfigRequest(
            service_account=True, service_account_user=user, service_account_groups=texts(groups)
        )
        request.service_account_ttl.CopyFrom(duration(lifetime))
        return await self._kubeconfig(request, cluster, timeout)

    async def _kubeconfig(self, request: Any, cluster: str, timeout: Timeout) -> str:
        answer = await self._call("Kubeconfig", request, cluster=cluster, timeout=timeout, safe=True)
        text: str = answer.kubeconfig.decode()
        return text

    async def talosconfig(
        self,
        cluster: str | None = None,
        *,
        raw: bool = False,
        break_glass: bool = False,
        timeout: Timeout = DEFAULT,
    ) -> str:
        """Return a talosconfig, as YAML text. The server does not check that the cluster exists.

        Args:
            cluster: The cluster's id; None gives a file for all of them.
            raw: An operator's file that goes past Omni; most servers refuse to hand it out.
            break_glass: The same for an administrator.
            timeout: Seconds, instead of the client's.

        Raises:
            PermissionDenied: The caller may not read clusters, or such files are switched off.
        """
        from omniherd.wire import management

        request = management.TalosconfigRequest(raw=raw, break_glass=break_glass)
        answer = await self._call("Talosconfig", request, cluster=cluster, timeout=timeout, safe=True)
        text: str = answer.talosconfig.decode()
        return text

    async def kubernetes_upgrade_pre_checks(
        self, cluster: str, version: str, *, timeout: Timeout = 120.0
    ) -> UpgradeCheck:
        """Find out whether a cluster's Kubernetes can be upgraded.

        Args:
            cluster: The cluster's id.
            version: The version to go to, with or without a leading `v`.
            timeout: Seconds; the server asks the cluster.

        Raises:
            InvalidArgument: There is no way from the present version to that one.
            UnknownError: There is no such cluster, or it has no control plane yet.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd.wire import management

        request = management.KubernetesUpgradePreChecksRequest(new_version=version)
        answer = await self._call("KubernetesUpgradePreChecks", request, cluster=cluster, timeout=timeout, safe=True)
        return UpgradeCheck(answer.ok, answer.reason)

    def sync_manifests(
        self,
        cluster: str,
        *,
        dry_run: bool = True,
        inventory_policy: InventoryPolicy = "must-match",
        reconcile_timeout: Lifetime | None = None,
        force_conflicts: bool = False,
        prune: bool = True,
        timeout: float | None = None,
    ) -> AsyncAnswers[ManifestSync]:
        """Bring a cluster's bootstrap manifests up to date, and yield each step. In sync, there is none.

        Args:
            cluster: The cluster's id.
            dry_run: Only say what would change.
            inventory_policy: What to do with objects that something else applied.
            reconcile_timeout: How long to wait for what was applied, as a duration or in seconds.
            force_conflicts: Take fields over from whoever owns them.
            prune: Remove what is not among the manifests any more.
            timeout: Seconds for everything, None for no bound.

        Raises:
            InputError: There is no such policy.
            UnknownError: There is no such cluster.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd._core.service_requests import duration, enum_value
        from omniherd.wire import management

        policy = enum_value("management.KubernetesSSAOptions.InventoryPolicy", "", inventory_policy)
        request = management.KubernetesSyncManifestRequest(dry_run=dry_run)
        if policy or force_conflicts or not prune:
            # Left out when there is nothing to say: its mere presence means something to newer servers.
            request.ssa.inventory_policy = policy
            request.ssa.force_conflicts = force_conflicts
            request.ssa.no_prune = not prune
        if reconcile_timeout is not None:
            request.ssa.reconcile_timeout.CopyFrom(duration(reconcile_timeout))

        def step(answer: Any) -> ManifestSync:
            return ManifestSync(
                _KINDS.get(answer.response_type, "unknown"), answer.path, answer.object, answer.diff, answer.skipped
            )

        return self._stream("KubernetesSyncManifests", request, step, cluster=cluster, timeout=timeout)

    async def support_bundle(
        self,
        cluster: str = "",
        *,
        progress: Callable[[SupportProgress], object] | None = None,
        path: str | os.PathLike[str] | None = None,
        encrypt: bool = False,
        recipients: Iterable[str] = (),
        default_recipients: bool = True,
        timeout: float | None = _SUPPORT_TIMEOUT,
    ) -> SupportBundle:
        """Gather what a support engineer needs. It holds configurations: treat it as a secret.

        Args:
            cluster: The cluster's id; empty for everything of all clusters. An unknown one gives an empty zip and an
                error in `errors`, not an exception.
            progress: Called with each step.
            path: A file to write the bundle to, replaced as a whole once all of it is here; its owner alone may read
                it.
            encrypt: Encrypt it with age. Servers up to 1.9.3 send a plain zip all the same, without `recipients`.
            recipients: Public age keys in addition.
            default_recipients: Whether the server's own recipients can decrypt it.
            timeout: Seconds, None for no bound.

        Raises:
            InternalError: The stream ended without a bundle.
            PermissionDenied: The caller is no Operator.
            OSError: The file cannot be written.

        Example:
            >>> bundle = await omni.management.support_bundle("lab", path="support.zip", progress=print)
            >>> [step.error for step in bundle.errors]
            []
        """
        from omniherd._core.files import write_atomic
        from omniherd._core.service_requests import texts
        from omniherd.errors import InternalError
        from omniherd.wire import management

        request = management.GetSupportBundleRequest(
            cluster=cluster,
            encrypt=encrypt,
            encryption_recipients=texts(recipients),
            encryption_no_default_recipients=not default_recipients,
        )
        failed: list[SupportProgress] = []
        data: list[bytes] = []
        able: list[str] = []
        answers: AsyncAnswers[Any] = self._stream("GetSupportBundle", request, lambda message: message, timeout=timeout)
        async with answers:
            async for answer in answers:
                able.extend(answer.encryption_recipients)
                if answer.bundle_data:
                    data.append(answer.bundle_data)
                if answer.HasField("progress"):
                    said = answer.progress
                    step = SupportProgress(said.source, said.state, said.total, said.value, said.error)
                    if step.error:
                        failed.append(step)
                    if progress is not None:
                        progress(step)
        if not data:
            raise InternalError("the server sent no support bundle", details={"errors": failed})
        whole = b"".join(data)
        if path is not None:
            write_atomic(path, whole)
        return SupportBundle(whole, tuple(failed), tuple(able))
