"""Values that Talos writes in another form than they are read in: sizes, addresses, ports, keys."""

from __future__ import annotations

import ipaddress
import math
import re
from typing import TYPE_CHECKING, Any, TypeGuard

from omniherd._core.shapes import is_mapping
from omniherd.machineconfig.secrets import one_line_base64
from omniherd.yamlform.goyaml import Scalar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Unfit", "form", "is_sequence", "source_text"]

_UNITS = ("", "k", "m", "g", "t", "p", "e")
_SIZES = {f"{unit}{end}": 1000**power for power, unit in enumerate(_UNITS) for end in ("", "b")} | {
    f"{unit}{end}": 1024**power for power, unit in enumerate(_UNITS[1:], 1) for end in ("i", "ib")
}
_SIZE = re.compile(r"([0-9.,]*)(.*)", re.DOTALL)
_SIZE_NAMES = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_RANGE = re.compile(r"([0-9]+)-([0-9]+)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_HEX = re.compile(r"(?:[0-9a-f]{2})*")


class Unfit(ValueError):
    """A value does not fit what it is for; the text says what is expected, and not what the value is."""


def is_sequence(value: Any) -> TypeGuard[list[Any]]:
    """Tell whether a value is a list: a scalar with its source is a tuple, and is none."""
    return isinstance(value, list)


def source_text(value: Any) -> str | None:
    """Return a scalar as it is written in the source, None for everything else."""
    if isinstance(value, Scalar):
        return value.text
    if type(value) is int or isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else None


def form(shape: str, value: Any) -> Any:
    """Return a value as Talos writes it.

    Args:
        shape: Its type, with the `~` before it.
        value: The value: a scalar, best with its source, a list or a mapping.

    Raises:
        Unfit: The value does not fit the type.
    """
    special = _VALUES.get(shape)
    if special is not None:
        return special(value)
    text = source_text(value)
    if text is None:
        raise Unfit("a text is expected")
    return _TEXTS[shape](text) if shape in _TEXTS else text


def _argument(value: Any) -> Any:
    return [_item(item) for item in value] if is_sequence(value) else _item(value) or None


def _item(item: Any) -> str:
    text = "" if item is None else source_text(item)
    if text is None:
        raise Unfit("a text is expected")
    return text


def _pair(*names: str) -> Callable[[Any], dict[str, str]]:
    def write(value: Any) -> dict[str, str]:
        if not is_mapping(value):
            raise Unfit("a mapping is expected")
        return {name: one_line_base64(_item(value.get(name))) for name in names}

    return write


def _mode(value: Any) -> int:
    number = _number(value)
    if number is None:
        raise Unfit("a number is expected")
    return number


def _number(value: Any) -> int | None:
    value = value.value if isinstance(value, Scalar) else value
    return value if type(value) is int else None


def _ports(value: Any) -> Any:
    number = _number(value)
    if number is not None:
        return number
    match = _RANGE.fullmatch(_item(value))
    if match is None:
        raise Unfit("a port or a range of ports is expected")
    low, high = int(match[1]), int(match[2])
    return low if low == high else f"{low}-{high}"


def _disk_size(value: Any) -> Any:
    size = _size(_item(value))
    if size % 1000 == 0:
        shown = _shown_size(size)
        if _size(shown) == size:
            return shown
    return size


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    unit = _SIZES.get(match[2].strip().lower()) if match else None
    if match is None or unit is None:
        raise Unfit("a size is expected")
    try:
        return int(float(match[1].replace(",", "")) * unit)
    except ValueError:
        raise Unfit("a size is expected") from None


def _shown_size(size: int) -> str:
    if size < 10:
        return f"{size} B"
    power = math.floor(math.log(size) / math.log(1000))
    value = math.floor(size / 1000**power * 10 + 0.5) / 10
    return f"{value:.{1 if value < 10 else 0}f} {_SIZE_NAMES[power]}"


def _address(text: str) -> str:
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise Unfit("an address is expected") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(address) if mapped is None else f"::ffff:{mapped}"


def _prefix(text: str) -> str:
    address, slash, length = text.partition("/")
    if not text:
        return ""
    if not slash or not length.isdecimal():
        raise Unfit("an address with the length of its network is expected")
    return f"{_address(address)}/{int(length)}"


def _address_and_port(text: str) -> str:
    if not text:
        return ""
    host, _, port = text.rpartition(":")
    if host.startswith("["):
        return f"[{_address(host.strip('[]'))}]:{port}"
    return f"{_address(host)}:{port}"


def _hardware_address(text: str) -> str:
    digits = text.replace(":", "").lower()
    if not _HEX.fullmatch(digits):
        raise Unfit("a hardware address like aa:bb:cc:dd:ee:ff is expected")
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def _url(text: str) -> str:
    scheme = _SCHEME.match(text)
    return text if scheme is None else scheme[0].lower() + text[scheme.end() :]


_VALUES: dict[str, Callable[[Any], Any]] = {
    "~meta.ArgValue": _argument,
    "~network.PortRange": _ports,
    "~v1alpha1.DiskSize": _disk_size,
    "~v1alpha1.FileMode": _mode,
    "~x509.PEMEncodedCertificate": _pair("crt"),
    "~x509.PEMEncodedCertificateAndKey": _pair("crt", "key"),
    "~x509.PEMEncodedKey": _pair("key"),
}
_TEXTS: dict[str, Callable[[str], str]] = {
    "~meta.URL": _url,
    "~nethelpers.HardwareAddr": _hardware_address,
    "~netip.Addr": _address,
    "~netip.AddrPort": _address_and_port,
    "~netip.Prefix": _prefix,
    "~network.Addr": _address,
    "~network.AddrPort": _address_and_port,
    "~network.Prefix": _prefix,
    "~v1alpha1.Base64Bytes": one_line_base64,
    "~v1alpha1.Endpoint": _url,
    "~v1alpha1.InstallDiskSizeMatcher": str.strip,
}
