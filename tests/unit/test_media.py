"""Presets of installation media, recipes of images, and downloads that are whole or not there."""

from __future__ import annotations

import asyncio
import contextlib
import stat
import threading
from typing import TYPE_CHECKING

import pytest
from image_factory import IMAGE, Factory, image_factory

from omniherd._core.media import (
    check_platform,
    check_version,
    image_url,
    local_name,
    matching_extensions,
    matching_media,
    pxe_url,
)
from omniherd.errors import AlreadyExists, InputError, NotFound, OmniError, Unavailable
from omniherd.resources import CloudPlatformConfig, InstallationMedia, JoinToken
from omniherd.services import MediaFile, MediaRecipe, Schematic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from omniherd import Omni
    from omniherd.emulator import Emulator

FEATURES = "FeaturesConfigs.omni.sidero.dev"
AUTH = "ImageFactoryAuths.omni.sidero.dev"
DIGEST = "ab" * 32


def recipe(**changes: object) -> MediaRecipe:
    fields = {
        "name": "p",
        "file_prefix": "p",
        "talos_version": "1.13.5",
        "architecture": "amd64",
        "profile": "metal",
        "extension": "iso",
        **changes,
    }
    return MediaRecipe(**fields)  # type: ignore[arg-type]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# --- names and addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "1.13.5/metal-amd64.iso"),
        ({"secure_boot": True}, "1.13.5/metal-amd64-secureboot.iso?secureboot=true"),
        ({"profile": "aws", "extension": "raw.xz", "architecture": "arm64"}, "1.13.5/aws-arm64.raw.xz"),
        ({"legacy_board": "rpi_generic", "talos_version": "1.7.0"}, "1.7.0/metal-amd64.iso"),
        ({"legacy_board": "rpi_generic", "talos_version": "1.6.8"}, "1.6.8/metal-rpi_generic-amd64.iso"),
        ({"talos_version": "../../x"}, "..%2F..%2Fx/metal-amd64.iso"),
    ],
)
def test_where_an_image_is_fetched(changes: dict[str, object], path: str) -> None:
    assert image_url("https://factory.example/base/", DIGEST, recipe(**changes)) == (
        f"https://factory.example/base/image/{DIGEST}/{path}"
    )


@pytest.mark.parametrize(
    ("factory", "begins"),
    [
        ("http://factory.example", "https://factory.example/image/"),
        ("http://127.0.0.1:99", "http://127.0.0.1:99/image/"),
        ("http://localhost", "http://localhost/image/"),
    ],
)
def test_images_are_fetched_by_tls_unless_from_this_machine(factory: str, begins: str) -> None:
    assert image_url(factory, DIGEST, recipe()).startswith(begins)


def test_where_machines_boot_from() -> None:
    assert pxe_url("http://pxe.f:99", DIGEST, recipe(secure_boot=True), None) == (
        f"http://pxe.f:99/pxe/{DIGEST}/1.13.5/metal-amd64-secureboot"
    )
    assert pxe_url("https://f", DIGEST, recipe(), ("me", "p@ss/")).startswith("https://me:p%40ss%2F@f/pxe/")


def test_the_name_of_a_file() -> None:
    assert local_name(recipe(extension="raw.xz"), DIGEST) == "p-1.13.5-ababab.xz"


def test_versions_that_something_asks_for() -> None:
    check_version("1.12.3-alpha.1", "1.12.3", "x")
    with pytest.raises(InputError, match=r"x requires Talos version >= 1\.12\.3 \(got 1\.12\.2\)"):
        check_version("1.12.2", "1.12.3", "x")
    with pytest.raises(InputError, match="failed to parse"):
        check_version("new", "1.0.0", "x")


def test_extensions_are_taken_once() -> None:
    assert matching_extensions(["a/zfs", "a/gvisor"], ["a/", "zfs"], "1.13.5") == ["a/zfs", "a/gvisor"]


def test_media_by_name_cloud_and_board() -> None:
    media = [
        InstallationMedia(f"{profile}-{arch}", spec={"name": name, "profile": profile, "architecture": arch})
        for name, profile in (("ISO", "metal"), ("Amazon", "aws"))
        for arch in ("amd64", "arm64")
    ]
    assert matching_media(media, "iso", "arm64").id == "metal-arm64"
    assert matching_media(media, "AWS", "amd64").id == "aws-amd64"
    with pytest.raises(InputError, match='no image found for "gcp"'):
        matching_media(media, "gcp", "amd64")
    with pytest.raises(InputError, match=r"multiple images found:\n  aws-amd64\n  aws-amd64"):
        matching_media([media[2], media[2]], "aws", "amd64")


# --- presets ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def omni(emulator: Emulator) -> Iterator[Omni]:
    with emulator.connect() as client:
        before = emulator.snapshot()
        yield client
        emulator.restore(before)


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (("amd64", "1.12.0", False), None),
        (("arm64", "1.12.0", False), 'does not support architecture "arm64"'),
        (("amd64", "1.12.0", True), "does not support secure boot"),
        (("amd64", "1.11.9", False), r"requires Talos version >= 1\.12\.0 \(got 1\.11\.9\)"),
    ],
)
def test_what_a_cloud_takes(image: tuple[str, str, bool], fault: str | None) -> None:
    cloud = CloudPlatformConfig("lab", spec={"architectures": ["AMD64"], "min_version": "1.12.0"})
    architecture, version, secure = image
    with pytest.raises(InputError, match=f'^cloud platform "lab" {fault}$') if fault else contextlib.nullcontext():
        check_platform(cloud, architecture, version, secure_boot=secure)


def test_a_preset_and_its_recipe(omni: Omni) -> None:
    made = omni.media.create_preset(
        "edge", talos_version="v1.12.7", extensions=["iscsi"], kernel_args="quiet a=b", labels={"site": "fra", "x": ""}
    )
    assert [made.id] == [preset.id for preset in omni.media.presets()]
    found = omni.media.preset_recipe("edge", format="raw")
    assert (found.talos_version, found.extension, found.media_id) == ("1.12.7", "raw.xz", "")
    assert found.extensions == ("siderolabs/iscsi-tools",)
    assert found.kernel_args == ("quiet", "a=b")
    assert found.labels == {"site": "fra", "x": ""}
    assert found.join_token == omni.get("defaultjointoken", "default").spec.token_id
    changed = omni.media.preset_recipe(
        "edge", talos_version="1.13.5", architecture="ARM64", labels={}, kernel_args=[], extensions=[], secure_boot=True
    )
    assert (changed.talos_version, changed.architecture, changed.secure_boot) == ("1.13.5", "arm64", True)
    assert (changed.labels, changed.kernel_args, changed.extensions) == ({}, (), ())
    with pytest.raises(NotFound) as caught:
        omni.media.preset_recipe("edge", talos_version="9.9.9", extensions=[])
    assert caught.value.details["during"] == 'unknown Talos version "9.9.9"'
    with pytest.raises(AlreadyExists):
        omni.media.create_preset("edge")
    assert omni.media.delete_preset("edge")
    assert not omni.media.delete_preset("edge")


def test_a_board_and_a_cloud(omni: Omni) -> None:
    omni.media.create_preset("board", overlay="rpi_generic", overlay_options="{a: b}", bootloader="sd")
    board = omni.media.preset_recipe("board")
    assert board.overlay is not None
    assert board.overlay[1:] == ("rpi_generic", "{a: b}")
    assert (board.profile, board.extension, board.bootloader) == ("metal", "raw.xz", "sd")
    omni.media.create_preset("cloud", platform="aws", grpc_tunnel="enabled")
    cloud = omni.media.preset_recipe("cloud")
    assert (cloud.profile, cloud.grpc_tunnel) == ("aws", "enabled")
    assert cloud.extension == omni.get("cloudplatformconfig", "aws").spec.disk_image_suffix


@pytest.mark.parametrize(
    ("fields", "error", "text", "during"),
    [
        ({"architecture": "riscv"}, InputError, "unsupported architecture", None),
        ({"platform": "aws", "overlay": "rpi_generic"}, InputError, "not for both", None),
        ({"platform": "none"}, NotFound, "none", 'failed to get cloud platform config for "none"'),
        ({"overlay": "none"}, NotFound, "none", 'failed to get SBC config for overlay "none"'),
        ({"overlay": "rpi_5", "talos_version": "1.12.0"}, InputError, "requires Talos version", None),
        ({"join_token": "none"}, NotFound, "none", 'join token "none" not found'),
        ({"extensions": ["none"]}, InputError, 'failed to find extension with name "none"', None),
        ({"extensions": "zfs", "talos_version": "9.9.9"}, NotFound, "9.9.9", "failed to get extensions for"),
        ({"embedded_machine_config": "a", "talos_version": "1.11.0"}, InputError, "not supported by Talos", None),
    ],
)
def test_what_a_preset_cannot_be(
    omni: Omni, fields: dict[str, object], error: type[OmniError], text: str, during: str | None
) -> None:
    with pytest.raises(error, match=text) as caught:
        omni.media.create_preset("x", **fields)  # type: ignore[arg-type]
    assert str(caught.value.details.get("during", "")).startswith(during or "")
    assert omni.media.presets() == []


def test_a_revoked_token_is_in_no_image(omni: Omni) -> None:
    token = omni.management.create_join_token("old")
    omni.management.revoke_join_token(token)
    with pytest.raises(InputError, match="has been revoked"):
        omni.media.check_join_token(token)
    omni.delete(JoinToken, token)


def test_a_medium(omni: Omni) -> None:
    found = omni.media.medium_recipe("iso", architecture="arm64", extensions=["qemu"], labels={"a": "b"})
    assert (found.media_id, found.extension, found.architecture) == (
        omni.get("installationmedia", found.media_id).id,
        "iso",
        "arm64",
    )
    assert found.extensions == ("siderolabs/qemu-guest-agent",)
    board = omni.media.medium_recipe("rpi_generic", architecture="arm64")
    assert image_url("https://f", DIGEST, board).endswith("/metal-arm64.raw.xz")
    with pytest.raises(InputError, match="doesn't support secure boot"):
        omni.media.medium_recipe("rpi_generic", architecture="arm64", secure_boot=True)
    with pytest.raises(InputError, match=r"Raspberry Pi 5 supports only Talos version >= 1\.12\.3"):
        omni.media.medium_recipe("rpi_5", talos_version="1.12.0")


# --- downloads --------------------------------------------------------------------------------------------------------


@pytest.fixture
def factory() -> Iterator[Factory]:
    with image_factory() as running:
        yield running


@pytest.fixture
def file(factory: Factory) -> MediaFile:
    return MediaFile(
        schematic=Schematic(DIGEST, "", grpc_tunnel=False, yaml=""),
        url=f"{factory.url}/image/x",
        pxe_url="",
        file_name="x.iso",
        authorization="Basic c2VjcmV0",
    )


def test_an_image_is_built_and_fetched(emulator: Emulator, omni: Omni, factory: Factory, tmp_path: Path) -> None:
    emulator.store.put(FEATURES, "features-config", {"image_factory_base_url": factory.url})
    omni.media.create_preset("edge", extensions=["iscsi"])
    built = omni.media.build(omni.media.preset_recipe("edge"))
    steps: list[tuple[int, int | None]] = []
    begun: list[bool] = []
    path = omni.media.download(
        built, tmp_path, begun=lambda: begun.append(True), progress=lambda *step: steps.append(step)
    )
    assert path == tmp_path / f"edge-1.13.5-{built.schematic.id[:6]}.iso"
    assert path.read_bytes() == IMAGE
    # A join token is in it.
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert steps[-1] == (len(IMAGE), len(IMAGE))
    assert begun == [True]
    assert factory.asked == [(f"/image/{built.schematic.id}/1.13.5/metal-amd64.iso", None)]


def test_an_enterprise_factory_gets_its_password(
    emulator: Emulator, omni: Omni, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.store.put(
        FEATURES,
        "features-config",
        {
            "image_factory_base_url": factory.url,
            "image_factory_pxe_base_url": "http://pxe",
            "is_enterprise_image_factory": True,
        },
    )
    omni.media.create_preset("edge")
    found = omni.media.preset_recipe("edge")
    with pytest.raises(NotFound) as caught:
        omni.media.build(found)
    assert caught.value.details["during"] == "failed to get image factory auth"
    read = type(omni).get

    class Login:
        class spec:  # noqa: N801 - as resources call it
            username, password = "me", "secret"

    def get(self: Omni, kind: object, *arguments: object, **options: object) -> object:
        if getattr(kind, "__name__", "") == "ImageFactoryAuth":
            return Login
        return read(self, kind, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(type(omni), "get", get)
    built = omni.media.build(found)
    assert built.authorization == "Basic bWU6c2VjcmV0"
    assert built.pxe_url.startswith("http://me:secret@pxe/pxe/")
    assert "secret" not in repr(built)
    assert "bWU6" not in repr(built)


def test_a_preset_of_another_factory(
    emulator: Emulator, omni: Omni, factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def create_schematic(_self: object, *, image_factory_url: str, **_options: object) -> Schematic:
        asked.append(image_factory_url)
        return Schematic(DIGEST, "", grpc_tunnel=False, yaml="")

    monkeypatch.setattr(type(omni.management), "create_schematic", create_schematic)
    fields = {"image_factory_base_url": "https://first", "secondary_image_factory_base_url": factory.url}
    emulator.store.put(FEATURES, "features-config", {**fields, "secondary_image_factory_pxe_base_url": "http://pxe2"})
    spec = {"architecture": 1, "image_factory_url": factory.url}
    emulator.store.put("InstallationMediaConfigs.omni.sidero.dev", "other", spec)
    built = omni.media.build(omni.media.preset_recipe("other"))
    assert (asked, built.url.startswith(factory.url)) == ([factory.url], True)
    assert built.pxe_url.startswith("http://pxe2/pxe/")


def test_a_refused_image(omni: Omni, factory: Factory, file: MediaFile, tmp_path: Path) -> None:
    factory.refuse = (404, "no such schematic")
    with pytest.raises(OmniError, match="error code: 404, message: no such schematic") as caught:
        omni.media.download(file, tmp_path)
    assert caught.value.details["status"] == 404
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_leaves_the_old_file(omni: Omni, factory: Factory, file: MediaFile, tmp_path: Path) -> None:
    target = tmp_path / "x.iso"
    target.write_text("old")
    factory.break_after = 1000
    with pytest.raises(Unavailable):
        omni.media.download(file, target)
    assert [path.name for path in tmp_path.iterdir()] == ["x.iso"]
    assert target.read_text() == "old"


def test_a_password_does_not_follow_a_redirect(omni: Omni, factory: Factory, file: MediaFile, tmp_path: Path) -> None:
    factory.redirect = f"{factory.url}/elsewhere"
    omni.media.download(file, tmp_path)
    assert factory.asked == [("/image/x", "Basic c2VjcmV0"), ("/elsewhere", None)]


def test_nothing_but_http_is_fetched(omni: Omni, file: MediaFile, tmp_path: Path) -> None:
    import dataclasses

    (tmp_path / "secret").write_text("s")
    local = dataclasses.replace(file, url=f"file://{tmp_path}/secret")
    with pytest.raises(OmniError, match="neither http nor https"):
        omni.media.download(local, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_factory_that_is_not_there(omni: Omni, file: MediaFile, tmp_path: Path) -> None:
    import dataclasses

    gone = dataclasses.replace(file, url="http://127.0.0.1:1/image/x")
    with pytest.raises(Unavailable, match=r"^cannot fetch from 127\.0\.0\.1:1: connection refused$"):
        omni.media.download(gone, tmp_path)


async def test_a_cancelled_download_ends(emulator: Emulator, factory: Factory, file: MediaFile, tmp_path: Path) -> None:
    factory.gate = threading.Event()
    begun = threading.Event()
    async with emulator.connect_async() as omni:
        task = asyncio.create_task(omni.media.download(file, tmp_path, progress=lambda _done, _total: begun.set()))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        factory.gate.set()
        # The thread notices with its next bytes, and takes its file away.
        await asyncio.get_running_loop().shutdown_default_executor()
    assert names(tmp_path) == []


async def test_presets_and_downloads_by_tasks(emulator: Emulator, factory: Factory, tmp_path: Path) -> None:
    before = emulator.snapshot()
    emulator.store.put(FEATURES, "features-config", {"image_factory_base_url": factory.url})
    async with emulator.connect_async() as omni:
        await omni.media.create_preset("task", platform="aws")
        built = await omni.media.build(await omni.media.preset_recipe("task"))
        path = await omni.media.download(built, tmp_path / "a.raw")
        assert path.read_bytes() == IMAGE
        assert await omni.media.delete_preset("task")
    emulator.restore(before)
