"""Kills, and a split and a merge, where every service is somebody else's."""

from __future__ import annotations

import pytest

from tests.independent.conftest import MakeRig, Report
from tests.scenarios import QUICK_RESHARDING, kill_often, split_and_merge


@pytest.mark.thorough
def test_nothing_is_lost_by_kills(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=2)
    kill_often(stage, kills=3)
    findings = stage.audit()
    report("3 kills -9, on others' emulators", findings, restarts=len(stage.fleet.exits))
    assert findings.problems == []
    assert set(stage.fleet.exits) <= {-9, 11}


@pytest.mark.thorough
def test_shards_split_and_merge(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=1, environment=QUICK_RESHARDING)
    split_and_merge(stage)
    findings = stage.audit()
    report("a split and a merge, on others' emulators", findings)
    assert findings.problems == []
    assert findings.accepted > 50
    assert findings.duplicates == 0
    assert stage.fleet.exits == []
