"""Data that clients send packed by zstd: whether it can be read, and its text."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from omniherd.emulator.records import Stored

__all__ = ["check_frames", "plain_data", "unpack"]

_MAGIC = bytes.fromhex("28b52ffd")
_DICTIONARY_BYTES, _SIZE_BYTES = (0, 1, 2, 4), (0, 2, 4, 8)
_REPEATED = 1


def check_frames(packed: Any) -> None:
    """Look whether packed data begins as zstd's frames do and is there to its end.

    Args:
        packed: A packed field: bytes, or a list of them; empty when nothing is packed.

    Raises:
        StateError: `UNKNOWN`, as the server tells it.
    """
    for frame in filter(None, [packed] if isinstance(packed, bytes) else packed):
        if len(frame) < len(_MAGIC) or (frame.startswith(_MAGIC) and _is_cut(frame)):
            raise StateError("UNKNOWN", "unexpected EOF")
        if not frame.startswith(_MAGIC):
            raise StateError("UNKNOWN", "invalid input: magic number mismatch")


def _is_cut(frame: bytes) -> bool:
    """Whether a frame ends before its last block, or before the checksum after that."""
    at = len(_MAGIC)
    if len(frame) <= at:
        return True
    shape = frame[at]
    single = bool(shape & 0x20)
    at += 1 + (not single) + _DICTIONARY_BYTES[shape & 3] + (_SIZE_BYTES[shape >> 6] or single)
    last = False
    while not last:
        if len(frame) < at + 3:
            return True
        block = int.from_bytes(frame[at : at + 3], "little")
        last = bool(block & 1)
        at += 3 + (1 if block >> 1 & 3 == _REPEATED else block >> 3)
    return len(frame) < at + (4 if shape & 4 else 0)


def unpack(frame: bytes) -> str | None:
    """Return the text of a zstd frame; None when it cannot be read here.

    Clients compress with a dictionary that Omni has and the emulator has not, and Python reads zstd by itself from
    3.14 on only.
    """
    for name in ("compression.zstd", "zstandard"):
        try:
            library: Any = import_module(name)
        except ModuleNotFoundError:
            continue
        decompress = library.decompress if name == "compression.zstd" else _stream_decompress(library)
        try:
            return str(decompress(frame), "utf-8")
        except (library.ZstdError, UnicodeDecodeError):
            return None
    return None


def _stream_decompress(zstandard: Any) -> Any:
    """Return what reads frames that do not tell their size, too."""
    return zstandard.ZstdDecompressor().decompressobj().decompress


def plain_data(resource: Stored) -> tuple[str | None, str | None]:
    """Return the text of a spec with packed and plain data, or what is wrong with it; neither when unreadable here."""
    spec = resource.decode()
    if not spec.compressed_data:
        return spec.data, None
    try:
        check_frames(spec.compressed_data)
    except StateError as error:
        return None, error.message
    return unpack(spec.compressed_data), None
