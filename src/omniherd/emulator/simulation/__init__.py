"""Machines that live: they join, become nodes of clusters, go away and come back, in time that tests step through."""

from __future__ import annotations

from omniherd.emulator.simulation.fleet import Fleet
from omniherd.emulator.simulation.schedule import Pace, Schedule

__all__ = ["Fleet", "Pace", "Schedule"]
