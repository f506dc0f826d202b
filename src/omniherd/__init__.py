"""omniherd: unofficial Python SDK, command line and emulator for Sidero Omni."""
