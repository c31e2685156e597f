"""Tracks outlive a lease: workers are killed and replaced, objects keep their ids and lines their counts."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from contract.message import ResultMessage
from local.scene import kill, pids_of, wait_for
from tests.faults.conftest import MakeScene, Report

LINE = {"name": "middle", "start": [0.5, 0], "end": [0.5, 1]}
ZONE = {"name": "left", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]}


@pytest.mark.timeout(400)
def test_ids_and_counts_outlive_killed_and_replaced_workers(scene: MakeScene, report: Report) -> None:
    stage = scene(shards=2, environment={"SOURCES_REFRESH_SECONDS": "1"})
    for camera in ("c1", "c2"):
        stage.resources.configure(camera, json.dumps({"tracking": True, "lines": [LINE], "zones": [ZONE]}))
    stage.fleet.scale(1)
    stage.send(cameras=3, fps=5, width=640)

    def results_grow_by(number: int) -> None:
        before = len(stage.results)

        def grown() -> bool:
            stage.collect()
            return len(stage.results) >= before + number

        wait_for(grown, f"{number} results", 90)

    results_grow_by(150)
    for _ in range(2):
        worker = stage.fleet.workers[0]
        kill(pids_of(worker))
        wait_for(lambda gone=worker: gone not in stage.fleet.workers, "another worker", 60)  # type: ignore[misc]
        results_grow_by(120)
    stage.fleet.scale(2)  # leases move gracefully
    results_grow_by(120)
    stage.resources.configure("c2", "{}")
    results_grow_by(60)
    stage.stop_sending()
    stage.wait_for_outcomes(timeout=120)
    findings = stage.audit()
    report("tracks: two kills -9, one handover", findings, restarts=len(stage.fleet.exits))
    assert findings.problems == []

    frames: dict[str, list[ResultMessage]] = defaultdict(list)
    for result in stage.results:
        frames[result.frame_id].append(result)
    assert any(len(copies) > 1 for copies in frames.values())  # or nothing was killed at work
    for copies in frames.values():
        # A frame that is processed again says the same, ids and totals included.
        said = {copy.model_dump_json(include={"summary", "zones", "lines"}) for copy in copies if copy.lines}
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
    assert all(result.lines is None for result in stage.results if result.source == "c3")
    c2 = max((r for r in stage.results if r.source == "c2"), key=lambda r: r.frame_index or 0)
    assert c2.lines is None  # its settings went while the worker ran
    assert c2.zones is None
