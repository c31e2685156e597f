"""`kill -9` again and again, at random moments, of each part and of all at once.

KILLS (12) is how often; `make chaos KILLS=20`.
"""

from __future__ import annotations

import os

import pytest

from tests.faults.conftest import MakeRig, Report
from tests.scenarios import kill_often

KILLS = int(os.environ.get("KILLS", "12"))


@pytest.mark.thorough
def test_nothing_is_lost_however_often_something_is_killed(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=2)
    kill_often(stage, KILLS)
    findings = stage.audit()
    report(f"{KILLS} kills -9: worker, JVM, record processor, all", findings, restarts=len(stage.fleet.exits))
    assert findings.problems == []
    assert findings.accepted > 100
    # -9: killed; 11: its daemon or a record processor was.
    assert set(stage.fleet.exits) <= {-9, 11}
    assert len(stage.fleet.exits) == KILLS
