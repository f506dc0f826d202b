"""Calls of the emulator beyond resources, one module a subject."""
