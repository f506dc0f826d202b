"""What becomes of a cluster that is taken in, stage by stage, as a real server had it.

`tools/record_imports.py` made the record.
"""

import contextlib
import json
from pathlib import Path

import pytest
from import_player import play

from omniherd.emulator import Emulator
from omniherd.errors import InputError

RECORD = json.loads((Path(__file__).parents[1] / "data" / "imports.json").read_text())


@pytest.fixture(scope="module", params=[0, 1], ids=["still", "living"])
def stages(request):
    with Emulator(seed_fleet=False, machines=request.param, speed=0) as emulator, emulator.connect() as omni:

        def settle():
            with contextlib.suppress(InputError):
                emulator.fleet.step(60)

        return play(omni, settle)


@pytest.mark.parametrize("stage", RECORD)
def test_a_cluster_is_taken_in_as_on_a_server(stages, stage):
    ours, theirs = stages[stage], RECORD[stage]
    assert list(ours) == list(theirs)
    differing = {
        f"{key} {part}": (ours[key][part], theirs[key][part])
        for key in ours
        for part in ours[key]
        if ours[key][part] != theirs[key][part]
    }
    assert differing == {}
