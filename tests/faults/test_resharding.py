"""A split and a merge in the middle of the stream: parents are finished before their children begin."""

from __future__ import annotations

from tests.faults.conftest import MakeRig, Report
from tests.scenarios import QUICK_RESHARDING, split_and_merge


def test_shards_split_and_merge_under_load(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=1, environment=QUICK_RESHARDING)
    split_and_merge(stage)
    findings = stage.audit()
    report("a split and a merge", findings)
    assert findings.problems == []
    assert findings.accepted > 50
    assert findings.duplicates == 0
    assert stage.fleet.exits == []
