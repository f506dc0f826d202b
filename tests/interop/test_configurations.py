"""Machine configurations beside the official libraries: what these answer to our records and to random documents."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest
from machine_documents import Maker

from omniherd.errors import InputError
from omniherd.machineconfig import Secrets, difference, generate, merge, read, sanitize
from omniherd.yamlform import dump, load_all

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "src" / "omniherd" / "machineconfig" / "fields.json"
ANSWERS = ROOT / "tests" / "data" / "machineconfig" / "answers.json"
# Documents that exclude each other by name.
LINKS = {"BondConfig", "BridgeConfig", "DummyLinkConfig", "LinkConfig", "VLANConfig", "VRFConfig", "WireguardConfig"}
RIVALS = LINKS | {"HCloudVIPConfig", "ExistingVolumeConfig", "RawVolumeConfig", "SwapVolumeConfig"}
# Documents with an expression or a URL, which Talos merges part by part; so it does volumes.
IN_PARTS = {
    "HTTPProbeConfig",
    "KmsgLogConfig",
    "LinkAliasConfig",
    "OOMConfig",
    "RegistryMirrorConfig",
    "SideroLinkConfig",
}


@pytest.fixture(scope="session")
def recorder():
    specification = importlib.util.spec_from_file_location(
        "record_machine_configs", ROOT / "tools" / "record_machine_configs.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def judge(build, recorder):
    return recorder.Judge([str(build("machineconfig"))])


def text(documents):
    return "---\n".join(dump(document) for document in documents)


def by_identity(documents):
    return sorted(documents, key=lambda one: (one.get("kind", ""), one.get("name", "")))


def test_the_table_is_what_the_library_says(judge, recorder):
    assert recorder.table_text(judge) == TABLE.read_text()


def test_the_records_are_what_the_libraries_say(judge, recorder):
    assert recorder.answers_text(judge) == ANSWERS.read_text()


@pytest.mark.parametrize("version", ["1.2.0", "1.3.0", "1.13.0"])
def test_real_secrets_make_the_same_configurations(judge, version):
    """Keys and certificates as Talos makes them, with an endpoint and a disk as a cluster outside Omni has them."""
    secrets = judge.answer("new secrets", talos=version)
    assert Secrets.from_yaml(secrets).to_yaml() == secrets
    for role in ("controlplane", "worker"):
        for endpoint in ("https://k8s.example.org:6443", "https://[2001:db8::1]:6443"):
            made = judge.answer(
                "generate",
                cluster="lab",
                talos=version,
                kubernetes="1.36.0",
                secrets=secrets,
                control_plane=role == "controlplane",
                endpoint=endpoint,
                disk="/dev/sda",
                image="ghcr.io/siderolabs/installer:v1.13.0",
            )
            ours = generate(
                "lab",
                role,
                talos_version=version,
                kubernetes_version="1.36.0",
                secrets=Secrets.from_yaml(secrets),
                endpoint=endpoint,
                install_disk="/dev/sda",
                install_image="ghcr.io/siderolabs/installer:v1.13.0",
            )
            assert ours == made
            assert read(text(made)) == made


def test_random_documents_are_read_alike(judge, recorder):
    kinds = sorted(recorder.load(TABLE.read_text())["kinds"])
    texts = [dump(Maker(seed).document(kind)) for seed in range(30) for kind in kinds]
    answers = judge.ask([{"do": "read", "text": one} for one in texts])
    read_by_both = 0
    for one, answer in zip(texts, answers, strict=True):
        if "error" not in answer:
            assert read(one) == answer["answer"], one
            read_by_both += 1
    assert read_by_both > len(texts) * 0.95


@pytest.fixture(scope="session")
def pairs(recorder):
    """Pairs of configurations: one at random, and one that has something of it."""
    kinds = sorted(set(recorder.load(TABLE.read_text())["kinds"]) - RIVALS - {"v1alpha1"})
    found = []
    for seed in range(120):
        choice, maker = random.Random(seed), Maker(seed)
        chosen = ["v1alpha1", *choice.sample(kinds, 5)]
        before = [maker.document(kind) for kind in chosen]
        after = []
        for document, kind in zip(before, chosen, strict=True):
            if kind == "v1alpha1" or choice.random() < 0.8:
                kept = {key: document[key] for key in ("version", "debug", "apiVersion", "kind") if key in document}
                after.append(maker.changed(document, maker.document(kind)) | kept)
        found.append((text(before), text(after)))
    return found


def test_random_differences_are_told_alike(judge, pairs):
    answers = judge.ask([{"do": "difference", "text": before, "other": after} for before, after in pairs])
    patches = []
    for (before, after), answer in zip(pairs, answers, strict=True):
        if "error" not in answer:
            ours = difference(read(before), read(after))
            assert list(map(by_identity, ours)) == list(map(by_identity, answer["answer"])), before + after
            patches += map(text, ours)
    assert len(patches) > len(pairs)
    for patch, answer in zip(patches, judge.ask([{"do": "sanitize", "text": one} for one in patches]), strict=True):
        if "error" not in answer:
            assert "---\n".join(dump(one, indent=2) for one in sanitize(load_all(patch))) == answer["answer"]


@pytest.mark.parametrize("minor", range(3, 15))
def test_random_changes_to_what_omni_makes_are_told_alike(judge, recorder, minor):
    secrets = Secrets.from_yaml(recorder.load(ANSWERS.read_text())["secrets"])
    pairs = []
    for seed in range(20):
        role = ("controlplane", "worker")[seed % 2]
        made = generate("lab", role, talos_version=f"1.{minor}.0", kubernetes_version="1.36.0", secrets=secrets)
        maker = Maker(1000 * minor + seed)
        main, *others = made
        after = [
            maker.changed(main, maker.document("v1alpha1")) | {"version": "v1alpha1", "debug": False},
            *others[seed % 3 :],
        ]
        pairs.append((made, text(after)))
    questions = [{"do": "difference", "text": text(made), "other": after} for made, after in pairs]
    told = 0
    for (made, after), answer in zip(pairs, judge.ask(questions), strict=True):
        if "error" not in answer:
            ours = difference(made, read(after))
            assert list(map(by_identity, ours)) == list(map(by_identity, answer["answer"])), after
            told += 1
    assert told > len(pairs) / 2


def test_what_the_library_does_not_know_is_refused_by_both(judge):
    kind = "kind: MoonConfig\napiVersion: v1alpha1\n"
    for given in ("machine: {teleport: 1}", "machine: {pods: [], install: {moon: a}}", kind):
        with pytest.raises(ValueError, match=r"unknown keys|not registered"):
            judge.answer("read", text=given)
        with pytest.raises(InputError, match=r"no such field|are not known"):
            read(given)


def test_random_configurations_are_merged_alike(judge, pairs):
    answers = judge.ask([{"do": "merge", "text": before, "other": after} for before, after in pairs])
    merged = 0
    for (before, after), answer in zip(pairs, answers, strict=True):
        try:
            ours = merge(read(before), read(after))
        except InputError:
            continue
        if "error" not in answer:
            for document, official in zip(by_identity(ours), by_identity(answer["answer"]), strict=True):
                kind = official.get("kind", "")
                if kind not in IN_PARTS and not kind.endswith("VolumeConfig"):
                    assert document == official, before + after
                    merged += 1
    assert merged > len(pairs)
