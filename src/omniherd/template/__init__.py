"""Cluster templates: a fleet described in files, checked, turned into resources and compared with what is there.

```python
from omniherd import template

lab = template.load("lab.yaml")
lab.validate()
print(lab.render())
```

Everything here is pure: files are read, servers are not asked. `omni.templates` of a client does that.
"""

from __future__ import annotations

from omniherd.template.configpatch import check_config_patch, sanitize_config_patch
from omniherd.template.dangers import Danger, dangers
from omniherd.template.diff import resource_diff, text_diff
from omniherd.template.files import Files
from omniherd.template.fleet import Fleet, ResourceFile, read_fleet
from omniherd.template.fleet_export import FleetExport, export_fleet, resource_text
from omniherd.template.ignoring import Ignore
from omniherd.template.loading import Dialect
from omniherd.template.models import (
    BackupConfiguration,
    BootstrapSpec,
    Cluster,
    ControlPlane,
    Document,
    Features,
    HealthCheck,
    Inline,
    Install,
    Kubernetes,
    Machine,
    MachineClass,
    Manifest,
    Patch,
    Rolling,
    Strategy,
    Talos,
    Workers,
)
from omniherd.template.plan_files import FleetPlan, PlanPart, load_plan, save_plan
from omniherd.template.planning import (
    Plan,
    Step,
    Update,
    actual_resources,
    labelled_types,
    plan_delete,
    plan_resources,
    plan_sync,
    wanted_ids,
)
from omniherd.template.problems import Place, Problem, TemplateError
from omniherd.template.rendering import render_resource, render_resources
from omniherd.template.status import ClusterState
from omniherd.template.template import Template, export, load, loads

__all__ = [
    "BackupConfiguration",
    "BootstrapSpec",
    "Cluster",
    "ClusterState",
    "ControlPlane",
    "Danger",
    "Dialect",
    "Document",
    "Features",
    "Files",
    "Fleet",
    "FleetExport",
    "FleetPlan",
    "HealthCheck",
    "Ignore",
    "Inline",
    "Install",
    "Kubernetes",
    "Machine",
    "MachineClass",
    "Manifest",
    "Patch",
    "Place",
    "Plan",
    "PlanPart",
    "Problem",
    "ResourceFile",
    "Rolling",
    "Step",
    "Strategy",
    "Talos",
    "Template",
    "TemplateError",
    "Update",
    "Workers",
    "actual_resources",
    "check_config_patch",
    "dangers",
    "export",
    "export_fleet",
    "labelled_types",
    "load",
    "load_plan",
    "loads",
    "plan_delete",
    "plan_resources",
    "plan_sync",
    "read_fleet",
    "render_resource",
    "render_resources",
    "resource_diff",
    "resource_text",
    "sanitize_config_patch",
    "save_plan",
    "text_diff",
    "wanted_ids",
]
