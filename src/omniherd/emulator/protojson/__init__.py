"""Messages in JSON as Go reads and writes them, with its texts for what is wrong."""

from omniherd.emulator.protojson.reading import read
from omniherd.emulator.protojson.scanning import JSONFault
from omniherd.emulator.protojson.writing import write

__all__ = ["JSONFault", "read", "write"]
