"""Config patches looked through as omnictl does: do they parse, are their keys known, do they touch what Omni owns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from omniherd.errors import InputError, YAMLError
from omniherd.template.documents import Source, syntax_text
from omniherd.template.language import NEWEST, OLDEST
from omniherd.template.patch_deletes import DeleteRefused, take_out_deletes
from omniherd.template.problems import Fault, bullets, fault, go_quote
from omniherd.template.talos_documents import kind_findings, known_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_config_patch", "sanitize_config_patch"]

_FORBIDDEN_KINDS = frozenset(
    (
        "UnattendedInstallConfig",
        "DiscoveryIdentityConfig",
        "KubeClusterConfig",
        "KubeEtcdEncryptionConfig",
        "KubeAPIServerCAConfig",
        "KubeAggregatorCAConfig",
    )
)
_FORBIDDEN_IN_KIND = {"KubeServiceAccountConfig": ("issuer.privateKey",)}
_ROLES_IN_KIND = {"KubeTalosAPIAccessConfig": "allowedRoles"}
_LEGACY_KEYS = frozenset(("machine", "cluster", "debug", "persist"))


class _OverTheEnd(Exception):
    pass


def check_config_patch(data: str | bytes, *, dialect: str = OLDEST, every_document: bool = False) -> Fault | None:
    """Check a config patch: that it parses, that its keys are known, and that it touches nothing that Omni owns.

    Args:
        data: The patch, one document or several.
        dialect: `"1.9"` looks for forbidden fields in the first document only, as Omni 1.9 does; `"1.10"` in all, and
            for more of them.
        every_document: Whether to look at all documents in 1.9 too.

    Returns:
        What is wrong, None when nothing is.
    """
    text = _check_documents(data, dialect)
    if text is not None:
        return fault(text)
    found: list[Fault] = []
    try:
        for index, document in enumerate(_values(data)):
            if index and dialect == OLDEST and not every_document:
                break
            if _is_text_map(document):
                found += _forbidden(document, dialect)
    except YAMLError as error:
        return fault(error.message)
    return bullets(found) if found else None


def _values(data: str | bytes) -> Iterator[Any]:
    from omniherd.yamlform import compose_all, construct

    for node in compose_all(data):
        yield construct(node)


def _check_documents(data: str | bytes, dialect: str) -> str | None:
    """Return what a loader of machine configuration finds wrong first."""
    from omniherd.yamlform import compose_all

    known: set[tuple[str, str, str]] = set()
    decoded = 0
    try:
        for node in compose_all(data):
            root: Any = node
            line = int(root.start_mark.line) + 1
            try:
                root, deletes = take_out_deletes(root)
            except DeleteRefused as error:
                return f"error processing patch delete statements at line {line}: {error}"
            decoded += deletes
            if root is None or (root.id == "scalar" and _is_null(root)):
                continue
            if root.id != "mapping":
                return f"expected a YAML document at line {line}"
            identity = (_find(root, "apiVersion"), _find(root, "kind") or "v1alpha1", _find(root, "name"))
            title = "/".join(identity)
            if identity in known:
                return f"duplicate document {title} is not allowed (line {line})"
            known.add(identity)
            wrong = _check_document(root, dialect)
            if wrong is not None:
                return f"error decoding document {title} (line {line}): {wrong}"
            decoded += 1
    except YAMLError as error:
        return f"decode error: {syntax_text(error, Source(data))}"
    except _OverTheEnd as error:
        return str(error)
    except RecursionError:
        return "decode error: yaml: exceeded max depth"
    return None if decoded else "config not found"


def _is_null(node: Any) -> bool:
    from omniherd.yamlform.goyaml import scalar

    return scalar(node) is None


def _find(node: Any, name: str) -> str:
    for key, value in node.value:
        if key.id == "scalar" and key.value == name:
            return value.value if value.id == "scalar" else ""
    return ""


def _check_document(root: Any, dialect: str) -> str | None:
    version, kind = "", ""
    flat = [node for pair in root.value for node in pair]
    for node, after in zip(flat, [*flat[1:], None], strict=True):
        # Go looks at values too, and takes what follows them.
        name = node.value if node.id == "scalar" else ""
        if name in _LEGACY_KEYS:
            version = "v1alpha1"
        elif name in {"kind", "apiVersion"}:
            if after is None:
                # Go runs over the end of its list, and says so.
                raise _OverTheEnd(f"recovered: runtime error: index out of range [{len(flat)}] with length {len(flat)}")
            if after.id != "scalar":
                tag = "!!map" if after.id == "mapping" else "!!seq"
                line = int(after.start_mark.line) + 1
                what = "kind" if name == "kind" else "version"
                return f"{what} decode: yaml: construct errors:\n  line {line}: cannot construct {tag} into string"
            if name == "kind":
                kind = after.value
            else:
                version = after.value
    if not (version == "v1alpha1" and not kind):
        if not kind:
            return "missing kind"
        if not version:
            return "missing apiVersion"
        if not (version == "v1alpha1" and known_kind(kind)):
            # The newer branch knows newer kinds, which nobody has listed yet.
            return None if dialect == NEWEST else f"{go_quote(kind)} {go_quote(version)}: not registered"
    return kind_findings(root, kind)


def _is_text_map(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)  # pyright: ignore[reportUnknownVariableType]


def _forbidden(document: dict[str, Any], dialect: str) -> Iterator[Fault]:
    from omniherd.machineconfig.sanitize import ADMIN_ROLE, MISSING, OWNED, OWNED_SINCE_1_10, ROLES, at_path

    kind = document.get("kind")
    fields: tuple[str, ...] = tuple(path for path in OWNED if dialect == NEWEST or path not in OWNED_SINCE_1_10)
    roles: str | None = ROLES
    if dialect == NEWEST and isinstance(kind, str) and kind:
        if kind in _FORBIDDEN_KINDS:
            yield fault(f"the {go_quote(kind)} document is not allowed in the config patch")
            return
        fields = _FORBIDDEN_IN_KIND.get(kind, ())
        roles = _ROLES_IN_KIND.get(kind)
    for path in fields:
        if at_path(document, path) is not MISSING:
            yield fault(f"overriding {go_quote(path)} is not allowed in the config patch")
    granted = at_path(document, roles) if roles else None
    if roles and isinstance(granted, list):
        for _ in range(granted.count(ADMIN_ROLE)):  # pyright: ignore[reportUnknownMemberType]
            yield fault(f"element {go_quote(ADMIN_ROLE)} is not allowed in field {go_quote(roles)}")


def sanitize_config_patch(data: str | bytes) -> str:
    r"""Return a config patch without what Omni owns.

    Args:
        data: The patch, one document or several.

    Returns:
        The patch written anew, keys sorted, indent 2; empty text when it had no documents.

    Raises:
        InputError: The patch does not load.

    Example:
        >>> sanitize_config_patch("machine:\n  token: x\n  sysctls: {a: '1'}\n")
        'machine:\n  sysctls:\n    a: "1"\n'
    """
    from omniherd.machineconfig import sanitize
    from omniherd.yamlform import dump

    text = _check_documents(data, OLDEST)
    if text is not None:
        raise InputError(text)
    documents = [document if _is_text_map(document) else {} for document in _values(data)]
    return "---\n".join(dump(document, indent=2) for document in sanitize(documents))
