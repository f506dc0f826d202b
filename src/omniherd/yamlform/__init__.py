"""YAML as Omni reads and writes it: Go's dialect, and the YAML form of specs and resources.

`load` and `dump` are the dialect; `spec_to_yaml` and `spec_from_yaml` turn spec messages into Omni's YAML form and
back; `render_resource` and `resources_from_yaml` do the same for whole resources.
"""

from __future__ import annotations

from omniherd.yamlform.documents import (
    dump_spec_mapping,
    load_spec_mapping,
    read_document,
    render_document,
    render_resource,
    resource_from_yaml,
    resource_to_dict,
    resources_from_yaml,
    typed_object,
)
from omniherd.yamlform.emit import dump
from omniherd.yamlform.goyaml import compose_all, construct, load, load_all
from omniherd.yamlform.specform import spec_from_mapping, spec_from_yaml, spec_to_mapping, spec_to_yaml

__all__ = [
    "compose_all",
    "construct",
    "dump",
    "dump_spec_mapping",
    "load",
    "load_all",
    "load_spec_mapping",
    "read_document",
    "render_document",
    "render_resource",
    "resource_from_yaml",
    "resource_to_dict",
    "resources_from_yaml",
    "spec_from_mapping",
    "spec_from_yaml",
    "spec_to_mapping",
    "spec_to_yaml",
    "typed_object",
]
