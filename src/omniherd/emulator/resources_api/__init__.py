"""`omni.resources.ResourceService`: resources as JSON in strings, as Omni's web page reads them."""

from omniherd.emulator.resources_api.service import ResourceService

__all__ = ["ResourceService"]
