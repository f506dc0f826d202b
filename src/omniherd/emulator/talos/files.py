"""The few files of a machine that can be read."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from omniherd.emulator.records import StateError
from omniherd.emulator.talos.hardware import cpus, load, memory, mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from omniherd.emulator.talos.nodes import Node

__all__ = ["listing", "read"]

_FILE, _DIRECTORY = 0o644, 0o20000000755  # as Go writes the modes of files and directories
_KERNEL = "6.18.24-talos"


def _files(node: Node, uptime: float) -> dict[str, str]:
    version = node.version
    info = memory(node)
    loads = load(node)
    return {
        "/etc/hostname": f"{node.name}\n",
        "/etc/hosts": f"127.0.0.1 localhost\n{node.address_in_cluster} {node.name}\n::1 localhost\n",
        "/etc/os-release": (
            f'NAME="Talos"\nID=talos\nVERSION_ID={version}\nPRETTY_NAME="Talos ({version})"\n'
            'HOME_URL="https://www.talos.dev/"\n'
        ),
        "/etc/resolv.conf": "nameserver 127.0.0.53\n",
        "/proc/cmdline": f"{node.status.kernel_cmdline}\n",
        "/proc/cpuinfo": "\n".join(
            f"processor\t: {one['processor']}\nvendor_id\t: {one['vendor_id']}\nmodel name\t: {one['model_name']}\n"
            f"cpu MHz\t\t: {one['cpu_mhz']:.3f}\n"
            for one in cpus(node)
        ),
        "/proc/loadavg": f"{loads['load1']} {loads['load5']} {loads['load15']} 1/200 1000\n",
        "/proc/meminfo": "".join(
            f"{name + ':':<16}{info[key]:>8} kB\n"
            for name, key in (("MemTotal", "memtotal"), ("MemFree", "memfree"), ("MemAvailable", "memavailable"))
        ),
        "/proc/mounts": "".join(f"{one['filesystem']} {one['mounted_on']} auto rw 0 0\n" for one in mounts(node)),
        "/proc/uptime": f"{uptime:.2f} {uptime:.2f}\n",
        "/proc/version": f"Linux version {_KERNEL} (talos@buildkitsandbox)\n",
    }


def read(node: Node, path: str, uptime: float) -> bytes:
    """Return the content of a file.

    Args:
        node: The machine.
        path: Its path.
        uptime: Seconds since the machine booted.

    Raises:
        StateError: `UNKNOWN`: there is no such file; `INVALID_ARGUMENT`: it is a directory.
    """
    files = _files(node, uptime)
    if path in files:
        return files[path].encode()
    if any(name.startswith(path.rstrip("/") + "/") for name in files):
        raise StateError("INVALID_ARGUMENT", "path must be a regular file")
    raise StateError("UNKNOWN", f"stat {path}: no such file or directory")


def listing(node: Node, root: str, depth: int, uptime: float) -> Iterator[dict[str, Any]]:
    """Return what lies below a path, itself first.

    Args:
        node: The machine.
        root: The path, `/` when it is empty.
        depth: How many levels deep to go.
        uptime: Seconds since the machine booted.

    Raises:
        StateError: `UNKNOWN`: there is no such path.
    """
    files = _files(node, uptime)
    root = posixpath.normpath(root or "/")
    sizes: dict[str, int | None] = {"/": None}
    for name, text in files.items():
        sizes[name] = len(text.encode())
        parent = posixpath.dirname(name)
        while parent != "/":
            sizes[parent] = None
            parent = posixpath.dirname(parent)
    if root not in sizes:
        raise StateError("UNKNOWN", f"lstat {root}: no such file or directory")
    start = root.rstrip("/") + "/"
    for name in sorted(sizes):
        if name != root and not name.startswith(start):
            continue
        relative = "." if name == root else name.removeprefix(start)
        if name != root and relative.count("/") + 1 > depth:
            continue
        size = sizes[name]
        yield {
            "name": name,
            "relative_name": relative,
            "size": 4096 if size is None else size,
            "mode": _DIRECTORY if size is None else _FILE,
            "modified": node.joined,
            "is_dir": size is None,
        }
