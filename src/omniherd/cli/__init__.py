"""The command line: `omniherd`."""
