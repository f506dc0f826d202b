"""Talos' own API of the emulated machines, and the way that Omni lets calls through to them."""
