"""The rules for a template, all of them at once, with omnictl's texts and the places of what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from omniherd.errors import InputError
from omniherd.template import models
from omniherd.template.configpatch import check_config_patch
from omniherd.template.files import FileRefused, Files
from omniherd.template.inline import inline_text
from omniherd.template.language import OLDEST
from omniherd.template.problems import Fault, bullets, fault, go_quote, lines, under
from omniherd.template.translation import Translation
from omniherd.template.versions import VersionRefused, parse_version

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Rules", "machine_id_refusal"]

RESERVED_PREFIX = "omni.sidero.dev/"
_HEX = frozenset("0123456789abcdefABCDEF")
_DASHES = (8, 13, 18, 23)


@dataclass(frozen=True)
class Rules:
    """What a template is checked against.

    Attributes:
        files: Where its files are.
        dialect: The version of the language.
        strict: Whether to find what omnictl lets through, too: forbidden fields in later documents of a patch, and what
            keeps a template from becoming resources: equal ids, kernel arguments of a cluster with a machine class.
    """

    files: Files
    dialect: str = OLDEST
    strict: bool = False

    def check(self, documents: Sequence[models.Document]) -> Fault | None:
        """Return what is wrong with a template, None when nothing is.

        Args:
            documents: The template.
        """
        found: list[Fault] = []
        for document in documents:
            wrong = self.check_document(document)
            if wrong is not None:
                found.append(wrong)
        found += _check_list(documents)
        if self.strict and not found:
            # omnictl comes to these only when it renders.
            found += Translation(documents, self.files, self.dialect).faults()
        return bullets(found) if found else None

    def check_document(self, document: models.Document) -> Fault | None:
        """Return what is wrong with one document, None when nothing is."""
        place = document.place()
        if isinstance(document, models.Cluster):
            heading, found = f"error validating cluster {go_quote(document.name)}", self._cluster(document)
            return bullets(found, heading, place=place, short=f"cluster {go_quote(document.name)}") if found else None
        if isinstance(document, models.Machine):
            heading, found = f"machine {go_quote(document.name)} is invalid", self._machine(document)
            return bullets(found, heading, place=place, short=f"machine {go_quote(document.name)}") if found else None
        if isinstance(document, models.ControlPlane):
            found, heading, short = self._control_plane(document), "controlplane is invalid", "control plane"
        else:
            found, heading = self._workers(document), "workers is invalid"
            short = f"workers {go_quote(document.name)}"
        return bullets(found, heading, place=place, short=short) if found else None

    # --- documents ------------------------------------------------------------------------------------------------

    def _cluster(self, cluster: models.Cluster) -> list[Fault]:
        found: list[Fault] = []
        at_name = cluster.place("name")
        if not cluster.name:
            found.append(fault("name is required", at_name))
        if not all(one.isalpha() or one.isdecimal() or one in "-_" for one in cluster.name):
            found.append(fault("name should only contain letters, digits, dashes and underscores", at_name))
        found += _check_version(cluster.kubernetes.version, "Kubernetes", cluster.kubernetes)
        found += _check_version(cluster.talos.version, "Talos", cluster.talos)
        found += _check_encryption(cluster)
        found += _check_descriptors(cluster)
        found += self._patches(cluster.patches)
        for group in (self._manifests(cluster.kubernetes.manifests), self._checks(cluster.kubernetes.healthchecks)):
            if group:
                found.append(lines(group))
        return found

    def _control_plane(self, plane: models.ControlPlane) -> list[Fault]:
        found: list[Fault] = []
        if plane.name:
            found.append(fault("custom name is not allowed in the controlplane", plane.place("name")))
        spec = plane.bootstrap_spec
        if spec is not None:
            at = spec.places.get("") or plane.place("bootstrap_spec")
            if not spec.cluster_uuid:
                found.append(fault("clusterUUID is required in bootstrapSpec", at))
            if not spec.snapshot:
                found.append(fault("snapshot is required in bootstrapSpec", at))
        if plane.update_strategy is not None:
            found.append(fault("updateStrategy is not allowed in the controlplane", plane.place("update_strategy")))
        if plane.delete_strategy is not None:
            found.append(fault("deleteStrategy is not allowed in the controlplane", plane.place("delete_strategy")))
        return found + self._machine_set(plane)

    def _workers(self, workers: models.Workers) -> list[Fault]:
        found: list[Fault] = []
        if workers.name == "control-planes":
            found.append(fault('name "control-planes" cannot be used in workers', workers.place("name")))
        if workers.bootstrap_spec is not None:
            found.append(fault("bootstrapSpec is not allowed in workers", workers.place("bootstrap_spec")))
        return found + self._machine_set(workers)

    def _machine_set(self, machine_set: models.MachineSet) -> list[Fault]:
        found = _check_descriptors(machine_set)
        if machine_set.machine_class is not None:
            at = machine_set.place("machine_class")
            if machine_set.machines:
                found.append(fault("machine set can not have both machines and machine class defined", at))
            if machine_set.kernel_args is not None:
                text = "kernelArgs cannot be defined for machine set since it uses machine class"
                found.append(fault(text, machine_set.place("kernel_args")))
        for machine in machine_set.machines:
            reason = machine_id_refusal(machine)
            if reason:
                text = f"invalid machine ID {go_quote(machine)}: {reason}"
                found.append(fault(text, machine_set.place("machines")))
        return found + self._patches(machine_set.patches)

    def _machine(self, machine: models.Machine) -> list[Fault]:
        at_name = machine.place("name")
        found: list[Fault] = []
        if not machine.name:
            found.append(fault("name is required for machine", at_name))
        found += _check_descriptors(machine)
        reason = machine_id_refusal(machine.name)
        if reason:
            found.append(fault(f"invalid machine ID {go_quote(machine.name)}: {reason}", at_name))
        if machine.install.disk and machine.install.disk_selector:
            text = "install.disk and install.diskSelector are mutually exclusive"
            found.append(fault(text, machine.install.place("disk_selector")))
        return found + self._patches(machine.patches)

    # --- what is in them ------------------------------------------------------------------------------------------

    def _patches(self, patches: Sequence[models.Patch]) -> list[Fault]:
        found: list[Fault] = []
        for patch in patches:
            wrong = self._patch(patch)
            if wrong:
                title = go_quote(patch.title)
                found.append(bullets(wrong, f"patch {title} is invalid", place=patch.place(), short=f"patch {title}"))
        return found

    def _patch(self, patch: models.Patch) -> list[Fault]:
        found = _check_descriptors(patch)
        at_inline = patch.place("inline")
        if patch.file and patch.inline is not None:
            found.append(fault("path and inline are mutually exclusive", at_inline))
        if not patch.file and patch.inline is None:
            found.append(fault("path or inline is required"))
        if patch.file:
            at_file, name = patch.place("file"), go_quote(patch.file)
            try:
                data: str | bytes = self.files.read(patch.file)
            except FileRefused as error:
                found.append(fault(f"failed to access {name}: {error}", at_file))
            else:
                wrong = self._content(data)
                if wrong is not None:
                    found.append(under(f"failed to validate patch {name}", wrong, place=at_file, short=f"file {name}"))
        elif patch.inline is not None:
            if not patch.name and not patch.id_override:
                found.append(fault("either name or idOverride is required for inline patches"))
            name = go_quote(patch.title)
            try:
                data = inline_text(patch.inline)
            except InputError as error:
                found.append(fault(f"failed to marshal inline patch {name}: {error}", at_inline))
            else:
                wrong = self._content(data)
                if wrong is not None:
                    found.append(under(f"failed to validate inline patch {name}", wrong, place=at_inline, short=""))
        return found

    def _content(self, data: str | bytes) -> Fault | None:
        return check_config_patch(data, dialect=self.dialect, every_document=self.strict)

    def _manifests(self, manifests: Sequence[models.Manifest]) -> list[Fault]:
        found: list[Fault] = []
        names: set[str] = set()
        for manifest in manifests:
            wrong = self._manifest(manifest)
            if wrong:
                found.append(lines(wrong, short=f"manifest {go_quote(manifest.title)}"))
                continue
            if manifest.title in names:
                found.append(fault(f"duplicate manifest name {go_quote(manifest.title)}", manifest.place("name")))
            names.add(manifest.title)
        return found

    def _manifest(self, manifest: models.Manifest) -> list[Fault]:
        found: list[Fault] = []
        title, at = go_quote(manifest.title), manifest.place()
        if not manifest.title:
            found.append(fault("kubernetes manifest name is empty", at))
        if not manifest.mode:
            found.append(fault(f"kubernetes manifest {title} mode is not set", at))
        if manifest.file and manifest.inline is not None:
            found.append(fault("path and inline are mutually exclusive", manifest.place("inline")))
        if not manifest.file and manifest.inline is None:
            found.append(fault("path or inline is required", at))
        descriptors = _check_descriptors(manifest)
        if descriptors:
            heading = f"kubernetes manifest {title} descriptors validation failed"
            found.append(bullets(descriptors, heading, place=at, short=f"manifest {title}"))
        if manifest.file:
            try:
                self.files.look(manifest.file)
            except FileRefused as error:
                text = f"failed to access {go_quote(manifest.file)}: {error}"
                found.append(fault(text, manifest.place("file")))
        elif manifest.inline is not None:
            try:
                inline_text(manifest.inline)
            except InputError as error:
                text = f"failed to marshal inline manifest {title}: {error}"
                found.append(fault(text, manifest.place("inline")))
        return found

    def _checks(self, checks: Sequence[models.HealthCheck]) -> list[Fault]:
        found: list[Fault] = []
        titles: set[str] = set()
        for check in checks:
            wrong = self._check(check)
            if wrong:
                found.append(bullets(wrong, place=check.place()))
                continue
            if check.title in titles:
                found.append(fault(f"duplicate healthcheck {go_quote(check.title)}", check.place()))
            titles.add(check.title)
        return found

    def _check(self, check: models.HealthCheck) -> list[Fault]:
        found: list[Fault] = []
        if not check.title:
            found.append(fault("either name or idOverride is required for a healthcheck"))
        heading = f"healthcheck {go_quote(check.title)}"
        if check.job is not None and check.file:
            found.append(fault(f"{heading}: job and file are mutually exclusive", check.place("job")))
        elif check.job is None and not check.file:
            found.append(fault(f"{heading}: job or file is required"))
        elif check.file:
            try:
                self.files.look(check.file)
            except FileRefused as error:
                text = f"{heading}: failed to access {go_quote(check.file)}: {error}"
                found.append(fault(text, check.place("file")))
        elif check.job is not None:
            try:
                inline_text(check.job)
            except InputError as error:
                found.append(fault(f"{heading}: invalid job manifest: {error}", check.place("job")))
        return found + _check_descriptors(check)


_Described = models.Cluster | models.MachineSet | models.Machine | models.Patch | models.Manifest | models.HealthCheck


def _check_descriptors(element: _Described) -> list[Fault]:
    found: list[Fault] = []
    for what, attribute, values in (
        ("label", "labels", element.labels),
        ("annotation", "annotations", element.annotations),
    ):
        for key in values:
            if key.startswith(RESERVED_PREFIX):
                text = f"{what} {go_quote(key)} is invalid: prefix {go_quote(RESERVED_PREFIX)}"
                found.append(fault(f"{text} is reserved for internal use", element.place(attribute)))
    return found


def _check_version(version: str, product: str, element: models.Kubernetes | models.Talos) -> list[Fault]:
    found: list[Fault] = []
    if not version:
        found.append(fault("version is required"))
    else:
        try:
            parse_version(version)
        except VersionRefused as error:
            found.append(fault(f"version should be in semver format: {error}"))
        if product == "Talos" and not version.startswith("v"):
            found.append(fault("version should start with 'v'"))
    if not found:
        return []
    heading = f"error validating {product} version"
    return [bullets(found, heading, place=element.place("version"), short=f"{product} version")]


def _check_encryption(cluster: models.Cluster) -> list[Fault]:
    if not cluster.features.disk_encryption:
        return []
    at = cluster.features.place("disk_encryption")
    try:
        version = parse_version(cluster.talos.version)
    except VersionRefused as error:
        return [fault(str(error), at)]
    if version.before(1, 5, 0):
        return [fault("disk encryption is supported only for Talos version >= 1.5.0", at)]
    return []


def machine_id_refusal(text: str) -> str:
    """Return why a text is no machine id, empty when it is one: a UUID in any of its four forms.

    Args:
        text: The id.

    Example:
        >>> machine_id_refusal("node-1")
        'invalid UUID length: 6'
    """
    raw = text.encode("utf-8", "replace")
    length = len(raw)
    if length == 45:
        if text[:9].lower() != "urn:uuid:":
            return f"invalid urn prefix: {go_quote(raw[:9].decode('utf-8', 'replace'))}"
        raw = raw[9:]
    elif length == 38:
        raw = raw[1:]
    elif length not in {32, 36}:
        return f"invalid UUID length: {length}"
    digits = raw[:36].decode("latin-1")
    if length != 32:
        if any(digits[index] != "-" for index in _DASHES):
            return "invalid UUID format"
        digits = "".join(one for index, one in enumerate(digits) if index not in _DASHES)
    return "" if _HEX.issuperset(digits) else "invalid UUID format"


# --- rules for the template as a whole --------------------------------------------------------------------------------


def _check_list(documents: Sequence[models.Document]) -> list[Fault]:
    clusters = [one for one in documents if isinstance(one, models.Cluster)]
    planes = [one for one in documents if isinstance(one, models.ControlPlane)]
    workers = [one for one in documents if isinstance(one, models.Workers)]
    machines = [one for one in documents if isinstance(one, models.Machine)]
    found: list[Fault] = []
    for what, kind in (("cluster", clusters), ("controlplane", planes)):
        if len(kind) != 1:
            extra = kind[1].place() if kind else None
            text = f"template should contain 1 {what}, got {len(kind)}"
            found.append(fault(text, extra) if extra else fault(text))
    first: dict[str, models.Workers] = {}
    reported: set[str] = set()
    for one in workers:
        if one.name in first and one.name not in reported:
            reported.add(one.name)
            found.append(fault(f"duplicate workers with name {go_quote(one.name)}", one.place()))
        first.setdefault(one.name, one)
    used: dict[str, list[models.Workers]] = {}
    for one in workers:
        for machine in one.machines:
            used.setdefault(machine, []).append(one)
    for machine, sets in used.items():
        if len(sets) > 1:
            names = " ".join(go_quote(one.name) for one in sets)
            text = f"machine {go_quote(machine)} is used in multiple workers: [{names}]"
            found.append(fault(text, sets[1].place("machines")))
    in_planes = [machine for one in planes for machine in one.machines]
    shared = [machine for machine in used if machine in set(in_planes)]
    if shared:
        text = f"machines [{' '.join(shared)}] are used in both controlplane and workers"
        found.append(fault(text, used[shared[0]][0].place("machines")))
    known = {*in_planes, *used}
    for machine_document in machines:
        if machine_document.name not in known:
            text = f"machine {go_quote(machine_document.name)} is not used in controlplane or workers"
            found.append(fault(text, machine_document.place("name")))
    locked = {one.name: one for one in machines if one.locked}
    for machine in in_planes:
        if machine in locked:
            text = f"machine {go_quote(machine)} is locked and used in controlplane"
            found.append(fault(text, locked[machine].place("locked")))
    return found
