"""Machine configurations of Talos: made as Omni makes them, read, compared, cleaned and merged.

Everything here is pure: documents are plain dicts as YAML holds them, the main one is the one without a `kind`, and
nothing is asked of a server.
"""

from __future__ import annotations

from omniherd.machineconfig.contract import Contract
from omniherd.machineconfig.difference import difference
from omniherd.machineconfig.generate import generate
from omniherd.machineconfig.merge import merge
from omniherd.machineconfig.read import read
from omniherd.machineconfig.sanitize import sanitize
from omniherd.machineconfig.secrets import KeyPair, Secrets

__all__ = ["Contract", "KeyPair", "Secrets", "difference", "generate", "merge", "read", "sanitize"]
