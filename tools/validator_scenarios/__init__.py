"""What `record_validators.py` asks a server: scenarios of writes and reads, by name. The answers are in the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import access, clusters, imports, machines, metadata, patches, people, policies, providers

if TYPE_CHECKING:
    from .steps import Step

__all__ = ["SCENARIOS"]

# In the order of the record.
SCENARIOS: dict[str, list[Step]] = {
    name: steps
    for part in (metadata, clusters, machines, patches, policies, people, access, providers, imports)
    for name, steps in part.SCENARIOS.items()
}
