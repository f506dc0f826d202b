"""The tests that the table of meanings points at exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
ROW = re.compile(r"^\| (Test\w+) \| (.+?) \| (.+) \|$", re.MULTILINE)
POINTER = re.compile(r"(\w+/\w+\.py)::(test_\w+)")


def test_the_table_points_at_tests():
    rows = ROW.findall((TESTS / "truth" / "meanings.md").read_text())
    assert len(rows) == 61
    assert len({name for name, _, _ in rows}) == len(rows)
    for name, _, here in rows:
        pointers = POINTER.findall(here)
        assert pointers or here.startswith("— "), name
        for file, test in pointers:
            assert re.search(rf"^(async )?def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"{name}: {test}"
