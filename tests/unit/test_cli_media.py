from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from image_factory import IMAGE, Factory, image_factory

from omniherd.cli.media import label_pairs, preset_rows
from omniherd.emulator import Emulator
from omniherd.errors import InputError
from omniherd.resources import InstallationMediaConfig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command_shell import Shell


@pytest.fixture(scope="module")
def factory() -> Iterator[Factory]:
    with image_factory() as running:
        yield running


@pytest.fixture(scope="module")
def server(factory: Factory) -> Iterator[Emulator]:
    with Emulator() as emulator:
        emulator.store.put(
            "FeaturesConfigs.omni.sidero.dev",
            "features-config",
            {"image_factory_base_url": factory.url, "image_factory_pxe_base_url": "http://pxe.example"},
        )
        yield emulator


def test_labels() -> None:
    assert label_pairs(["a=b", "c", "d="]) == {"a": "b", "c": "", "d": ""}
    with pytest.raises(InputError, match='invalid label format "a=b=c", expected key=value'):
        label_pairs(["a=b=c"])


def test_rows_of_presets() -> None:
    preset = InstallationMediaConfig(
        "p",
        spec={
            "architecture": 2,
            "sbc": {"overlay": "rpi_5"},
            "machine_labels": {"z": "", "a": "b"},
            "bootloader": 3,
            "grpc_tunnel": 2,
            "embedded_machine_config": "x",
        },
    )
    assert preset_rows([preset]) == [
        ("p", "arm64", "1.13.5", "sbc", "rpi_5", "false", "-", "a=b z", "bios", "disabled", "-", "yes")
    ]


def test_the_life_of_a_preset(shell: Shell) -> None:
    code, out, err = shell("im", "preset", "create", "edge", "--initial-labels", "a=b,c", "--arch", "arm64")
    assert (code, out, err) == (0, 'Created installation media preset "edge"\n', "")
    code, out, err = shell("media", "preset", "ls", "-o", "json")
    assert code == 0, err
    [preset] = [preset for preset in json.loads(out) if preset["name"] == "edge"]
    assert (preset["arch"], preset["labels"], preset["platform"]) == ("arm64", {"a": "b", "c": ""}, None)
    code, out, err = shell("media", "preset", "list", "-o", "wide")
    assert out.splitlines()[0].split()[-2:] == ["EMBEDDED", "CONFIG"]
    assert shell("media", "preset", "create", "edge2", OMNIHERD_READ_ONLY="true")[0] == 1
    for _ in range(2):
        code, out, err = shell("media", "preset", "delete", "edge")
        assert (code, out, err) == (0, 'Deleted installation media preset "edge"\n', "")


def test_a_configuration_in_an_image(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "embedded.yaml").write_text("machine: {}\n")
    words = ("--embedded-machine-config-file", "embedded.yaml", "--talos-version", "1.13.5")
    code, _, err = shell("media", "preset", "create", "embedded", *words)
    assert code == 0, err
    code, out, err = shell("get", "installationmediaconfig", "embedded", "-o", "jsonpath={.spec.embeddedmachineconfig}")
    assert out.strip() == "machine: {}", err
    code, _, err = shell("media", "preset", "create", "embedded2", "--embedded-machine-config-file", "none.yaml")
    assert code == 1
    assert 'failed to read embedded machine config file "none.yaml": open none.yaml: no such file' in err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--platform", "aws", "--overlay", "rpi_5"), "--platform and --overlay cannot be used together"),
        (("--overlay-options", "{}"), "--overlay-options requires --overlay to be set"),
        (("--bootloader", "lilo"), 'unknown bootloader "lilo", must be one of: auto, uefi, bios, dual'),
    ],
)
def test_presets_that_are_not_sent(shell: Shell, words: tuple[str, ...], text: str) -> None:
    code, out, err = shell("media", "preset", "create", "x", *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {text}")


def test_an_image_of_a_preset(shell: Shell, factory: Factory, tmp_path: Path) -> None:
    shell("media", "preset", "create", "disk", "--extra-kernel-args", "quiet")
    code, out, err = shell("media", "download", "disk", "--output", "images/new", "--format", "raw")
    assert code == 0, err
    [image] = (tmp_path / "images" / "new").iterdir()
    assert image.read_bytes() == IMAGE
    assert stat.S_IMODE(image.stat().st_mode) == 0o600
    assert out == f"Generating the image...\nDownloading to {image}\nDownloaded to {image}\n"
    assert err == "Using server's SideroLink gRPC tunnel setting: false\n"
    assert factory.asked[-1][0].endswith("/1.13.5/metal-amd64.raw.xz")
    # A file is not written over, a directory that looks like one is written into.
    code, _, err = shell("media", "download", "disk", "--output", str(image))
    assert (code, err) == (1, f"Error: destination {image} already exists\n")
    (tmp_path / "v1.13").mkdir()
    code, _, err = shell("media", "download", "disk", "--output", "v1.13")
    assert code == 0, err
    assert len(list((tmp_path / "v1.13").iterdir())) == 1
    code, out, err = shell("media", "download", "disk", "--format", "pxe", "--arch", "arm64")
    assert out.startswith("http://pxe.example/pxe/"), err
    assert out.endswith("/1.13.5/metal-arm64\n")


def test_a_factory_that_refuses(shell: Shell, factory: Factory, tmp_path: Path) -> None:
    shell("media", "preset", "create", "refused")
    factory.refuse = (500, "no space")
    code, out, err = shell("media", "download", "refused", "--output", "out")
    factory.refuse = None
    assert (code, out) == (1, "Generating the image...\n")
    assert err.endswith("Error: failed to download the installation media, error code: 500, message: no space\n")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_download_registers_an_image(shell: Shell) -> None:
    for words in (("media", "download", "disk"), ("download", "iso")):
        code, _, err = shell(*words, "--read-only")
        assert code == 1
        assert "read-only" in err
