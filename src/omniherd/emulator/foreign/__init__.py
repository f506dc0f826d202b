"""A Talos cluster that stands outside Omni, to be imported: its machines are reached directly, as talosctl does."""

from __future__ import annotations

from omniherd.emulator.foreign.cluster import ForeignCluster

__all__ = ["ForeignCluster"]
