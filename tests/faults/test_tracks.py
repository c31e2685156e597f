"""Tracks outlive a lease: workers are killed and replaced, objects keep their ids and lines their counts."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from contract.message import ResultMessage
from local.rig import kill, pids_of
from local.waiting import wait_for
from tests.faults.conftest import MakeRig, Report

LINE = {"name": "middle", "start": [0.5, 0], "end": [0.5, 1]}
ZONE = {"name": "left", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}


@pytest.mark.thorough
def test_ids_and_counts_outlive_killed_and_replaced_workers(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=2, environment={"SOURCES_REFRESH_SECONDS": "1"})
    for camera in ("c1", "c2"):
        stage.resources.configure(camera, json.dumps({"tracking": True, "lines": [LINE], "zones": [ZONE]}))
    stage.resources.configure("c3", json.dumps({"detect": {"every": 3, "every_still": 5}}))
    stage.fleet.scale(1)
    stage.send(cameras=3, fps=2, width=640)

    def results_grow_by(number: int) -> None:
        before = len(stage.results)

        def grown() -> bool:
            stage.collect()
            return len(stage.results) >= before + number

        wait_for(grown, f"{number} results", stage.progress)

    results_grow_by(25)
    for _ in range(2):
        worker = stage.fleet.workers[0]
        kill(pids_of(worker))
        wait_for(lambda gone=worker: gone not in stage.fleet.workers, "another worker")  # type: ignore[misc]
        results_grow_by(20)
    stage.fleet.scale(2)  # leases move gracefully
    results_grow_by(20)
    stage.resources.configure("c2", "{}")
    results_grow_by(20)
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("tracks: two kills -9, one handover", findings, restarts=len(stage.fleet.exits))
    assert findings.problems == []

    frames: dict[str, list[ResultMessage]] = defaultdict(list)
    for result in stage.results:
        frames[result.frame_id].append(result)
    assert any(len(copies) > 1 for copies in frames.values())  # or nothing was killed at work
    for copies in frames.values():
        # A frame that is processed again says the same: ids, totals, and whether it was looked at.
        lasting = [copy for copy in copies if copy.lines or copy.source == "c3"]
        said = {copy.model_dump_json(include={"summary", "zones", "lines"}) for copy in lasting}
        assert len(said) <= 1
    mine = sorted(
        (copies[0] for copies in frames.values() if copies[0].source == "c1"), key=lambda r: r.frame_index or 0
    )
    ids = [{seen.track_id for seen in result.summary if seen.track_id} for result in mine]
    everything = set().union(*ids)
    assert len({track.split("-")[0] for track in everything}) == 1  # one tracker's, from the first frame to the last
    assert sum(map(len, ids)) > 3 * len(everything)
    assert all(result.lines and result.zones for result in mine)
    crossed = sum(line.inward + line.outward for result in mine for line in result.lines or ())
    last = (mine[-1].lines or ())[0]
    assert last.in_total + last.out_total == crossed > 0
    seen_by_c3 = [result for result in stage.results if result.source == "c3"]
    assert all(result.lines is None for result in seen_by_c3)
    assert {seen.origin for result in seen_by_c3 for seen in result.summary} == {"detected", "tracked"}
    c2 = max((r for r in stage.results if r.source == "c2"), key=lambda r: r.frame_index or 0)
    assert c2.lines is None  # its settings went while the worker ran
    assert c2.zones is None


@pytest.mark.thorough
def test_a_source_keeps_its_totals_when_one_more_camera_moves_it_to_another_shard(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=2, environment={"SOURCES_REFRESH_SECONDS": "1"})
    for camera in range(1, 4):
        stage.resources.configure(f"c{camera}", json.dumps({"tracking": True, "lines": [LINE]}))
    stage.fleet.scale(1)
    for cameras in (2, 3):
        stage.send(cameras=cameras, fps=3, frames=60, width=640, first=0).wait()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("one more camera moves others to another shard", findings)
    assert findings.problems == []

    mine = sorted((result for result in stage.results if result.source == "c2"), key=lambda result: result.processed_at)
    assert len({result.shard_id for result in mine}) == 2
    before, crossed = (0, 0), 0
    for result in mine:
        [line] = result.lines or ()
        total = line.in_total, line.out_total
        assert total == (before[0] + line.inward, before[1] + line.outward)
        before, crossed = total, crossed + line.inward + line.outward
    assert crossed == sum(before) > 0
