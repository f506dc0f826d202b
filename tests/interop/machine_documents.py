"""Documents of machine configurations, made at random out of the table of their fields."""

from __future__ import annotations

import random
from typing import Any

from omniherd.machineconfig.fields import fields_of, shape_of_kind

_TEXTS = ("a", "", "b-c", "1", "true", "null", "2026-11-24", "x: y", " z", "010")
# What the types that write themselves may be given; the first is their empty value.
_FORMS: dict[str, tuple[Any, ...]] = {
    "~block.ByteSize": ("", "10GiB", "-5MB", "100"),
    "~block.EncryptionProviderType": ("none", "luks2"),
    "~block.FilesystemType": ("none", "ext4", "xfs"),
    "~block.Size": ("", "10GiB", "80%"),
    "~block.VolumeType": ("partition", "disk", "directory"),
    "~cel.Expression": ("", "disk.size > 5u", "true"),
    "~meta.ArgValue": ("", "a", 5, False),
    "~meta.URL": ("", "https://a.example.org/b?c=d", "HTTP://192.0.2.1:80"),
    "~nethelpers.ADLACPActive": ("off", "on"),
    "~nethelpers.ADSelect": ("stable", "count"),
    "~nethelpers.ARPAllTargets": ("any", "all"),
    "~nethelpers.ARPValidate": ("none", "active"),
    "~nethelpers.AutoHostnameKind": ("off", "stable"),
    "~nethelpers.BondMode": ("balance-rr", "802.3ad"),
    "~nethelpers.BondXmitHashPolicy": ("layer2", "layer3+4"),
    "~nethelpers.ClientIdentifier": ("none", "mac", "duid"),
    "~nethelpers.DNSProtocol": ("Do53", "DoT"),
    "~nethelpers.DefaultAction": ("accept", "block"),
    "~nethelpers.FailOverMAC": ("none", "active"),
    "~nethelpers.HardwareAddr": ("", "AA:bb:cc:dd:ee:ff", "aabbccddeeff"),
    "~nethelpers.LACPRate": ("slow", "fast"),
    "~nethelpers.PrimaryReselect": ("always", "better"),
    "~nethelpers.Protocol": ("tcp", "udp"),
    "~nethelpers.RoutingRuleAction": ("unspec", "unicast"),
    "~nethelpers.RoutingTable": ("unspec", "main", "123"),
    "~nethelpers.VLANProtocol": ("802.1q", "802.1ad"),
    "~nethelpers.WOLMode": ("phy", "unicast"),
    "~netip.Addr": ("192.0.2.1", "2001:0DB8::0001", "::ffff:192.0.2.1"),
    "~netip.AddrPort": ("192.0.2.1:80", "[2001:DB8::1]:443"),
    "~netip.Prefix": ("192.0.2.0/24", "2001:DB8:0::/48", "192.0.2.7/24"),
    "~network.Addr": ("", "192.0.2.1", "2001:DB8::0:1"),
    "~network.AddrPort": ("", "192.0.2.1:80", "[2001:DB8::1]:443"),
    "~network.PortRange": (80, "80-90", "443-443"),
    "~network.Prefix": ("", "192.0.2.0/24", "2001:DB8::/48"),
    "~v1alpha1.Base64Bytes": ("", "YWJj", "YW\nJj"),
    "~v1alpha1.DiskSize": (0, 5, "100GB", 10_000_000_000, "1.5 TiB", "123 MB", 1_234_000, 99_950_000),
    "~v1alpha1.Endpoint": ("https://192.0.2.1:6443", "HTTPS://k.example.org"),
    "~v1alpha1.FileMode": (0, 0o644, 420),
    "~v1alpha1.InstallDiskSizeMatcher": (">= 500GB", " 1TB"),
    "~x509.PEMEncodedCertificate": ({"crt": "YWJj"}, {}),
    "~x509.PEMEncodedCertificateAndKey": ({"crt": "YWJj", "key": "ZGVm"}, {"crt": "YW\nJj"}),
    "~x509.PEMEncodedKey": ({"key": "ZGVm"}, {}),
}


class Maker:
    """Makes values of a shape; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def document(self, kind: str) -> dict[str, Any]:
        """Return a document of a kind, `v1alpha1` for the main one."""
        shape = shape_of_kind(kind)
        assert shape is not None
        document = self._struct(shape, 0)
        if kind == "v1alpha1":
            return document | {"version": "v1alpha1", "debug": self._random.random() < 0.5}
        return document | {"apiVersion": "v1alpha1", "kind": kind}

    def changed(self, value: Any, other: Any) -> Any:
        """Return a value that has something of another one."""
        if isinstance(value, dict) and isinstance(other, dict):
            keys = [*value, *(key for key in other if key not in value)]
            pick = {key: self._random.random() for key in keys}
            out = {key: value[key] for key in value if pick[key] < 0.8}
            for key in other:
                if key in value and pick[key] < 0.5:
                    out[key] = self.changed(value[key], other[key])
                elif pick[key] > 0.7:
                    out[key] = other[key]
            return out
        return other if self._random.random() < 0.4 else value

    def value(self, shape: str, depth: int) -> Any:
        """Return a value of a shape."""
        choose = self._random.choice
        if self._random.random() < 0.04:
            return None
        if shape.startswith("*"):
            return self.value(shape[1:], depth)
        if shape.startswith("[]"):
            return [self.value(shape[2:], depth + 1) for _ in range(choose((0, 1, 2)))]
        if shape.startswith("{}"):
            return {choose("abc"): self.value(shape[2:], depth + 1) for _ in range(choose((0, 1, 2)))}
        if shape.startswith("@"):
            return self._struct(shape, depth)
        if shape.startswith("~"):
            return choose(_FORMS[shape])
        return {
            "string": lambda: choose((*_TEXTS, 5, True, 1.5)),
            "bool": lambda: choose((True, False, "yes", "off")),
            "int": lambda: choose((0, 1, 42, 2.0)),
            "duration": lambda: choose(("1m", "90s", "1h30m", "0s", "1.5s", "10ms")),
            "interface": lambda: choose((None, "a", 1, True, 1.5, [1, "a"], {"b": {"c": []}}, {})),
        }[shape]()

    def _struct(self, shape: str, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in fields_of(shape):
            if field.name == "*":
                return self.value(field.shape, depth) or {}
            if field.name not in {"apiVersion", "kind"} and self._random.random() < (0.6 if depth < 2 else 0.4):
                found[field.name] = self.value(field.shape, depth + 1)
        return found
