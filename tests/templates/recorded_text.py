"""Recorded outputs, and how they are compared."""

import re
from collections import Counter
from pathlib import Path

SCENARIOS = sorted((Path(__file__).parent.parent / "data" / "templates" / "server").glob("*.json"))
TIME = re.compile(r"(?<!0001-01-01T)\b(?!0001)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def comparable(text, step):
    """Return of an output what a step of a scenario says that must be the same."""
    text = TIME.sub("<TIME>", text)
    for pattern, replacement in step.get("normalize", ()):
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    how = step.get("compare", "exact")
    if how == "lines-any-order":
        return Counter(text.splitlines())
    if how == "blocks-any-order":
        blocks = re.split(r"(?m)^(?=\* |--- )", re.sub(r"(?m)^(\* .*)\n(?=--- )", r"\1 / ", text))
        return Counter(tuple(sorted(line for line in block.splitlines() if line[:1] not in " @")) for block in blocks)
    return text
