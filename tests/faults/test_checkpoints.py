"""Checkpoints that do not wait for a batch's end, nor for the next record."""

from __future__ import annotations

import pytest

from audit import read_ledger
from local.processes import Worker
from local.rig import Rig, kill, observe, pids_of
from tests.faults.conftest import MakeRig, Report

STUCK = 4
FRAMES = 56


@pytest.mark.thorough
def test_a_batch_may_take_longer_than_the_daemon_waits_and_its_end_needs_no_next_one(
    rig: MakeRig, report: Report
) -> None:
    stage = rig(shards=1)
    stage.send(cameras=2, frames=FRAMES // 2, fps=30).wait()
    slow = stage.environment | {"STUCK_SHARD_SECONDS": str(STUCK), "KCL_MAX_RECORDS": "1000"}

    # The only batch takes some seconds for each that the daemon waits for an answer.
    with Worker(slow, stage.folder / "worker-slow.log", "tests.faults.slow_worker") as worker:
        worker.wait_for(lambda: checkpoint(stage) != "TRIM_HORIZON", "a checkpoint")
        assert stage.outcomes < FRAMES
        stage.wait_for_outcomes(FRAMES // 2)
        pids = pids_of(worker)
        kill(pids)
    begun_again = checkpoint(stage)
    with Worker(slow, stage.folder / "worker-again.log", "tests.faults.slow_worker") as worker:
        stage.wait_for_outcomes(FRAMES)
        # Nothing follows the last frame; its checkpoint comes all the same.
        last = max(int(result.sequence_number) for result in stage.results)
        worker.wait_for(lambda: checkpoint(stage) == str(last), "a checkpoint at the last frame")
        assert worker.alive
    findings = stage.audit()
    report("one batch for longer than the daemon waits, killed in the midst of it", findings)
    assert findings.problems == []
    assert findings.accepted == len(read_ledger(stage.folder / "ledger.jsonl")) == FRAMES
    # What was stored before the checkpoint was not read again.
    times = [result.sequence_number for result in stage.results]
    assert all(times.count(number) == 1 for number in times if int(number) <= int(begun_again))


def checkpoint(stage: Rig) -> str:
    """Where the only shard is read on after a kill."""
    if not stage.lease_table():
        return "TRIM_HORIZON"
    items = observe(stage.resources, "dynamodb").scan(TableName=stage.resources.stream)["Items"]
    return str(items[0]["checkpoint"]["S"])
