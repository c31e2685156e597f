"""Twenty times `kill -9`, at random moments, of each part and of all at once."""

from __future__ import annotations

import random
import time

import pytest

from local.scene import kill, parts, pids_of, wait_for
from tests.faults.conftest import MakeScene, Report

KILLS = 20
TARGETS = ("worker", "daemon", "record processor", "all")


@pytest.mark.timeout(900)
def test_nothing_is_lost_however_often_something_is_killed(scene: MakeScene, report: Report) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    stage = scene(shards=2)
    stage.fleet.scale(1)
    stage.send(cameras=4, fps=2)
    killed: list[str] = []
    while len(killed) < KILLS:
        # From its start on, so that starting, leasing, working and checkpointing are all hit.
        time.sleep(chance.uniform(0.5, 9))
        target = TARGETS[len(killed) % len(TARGETS)]
        worker = stage.fleet.workers[0]
        pids = pids_of(worker) if target == "all" else parts(worker)[target]
        if pids:
            kill([chance.choice(pids)] if target == "record processor" else pids)
            killed.append(target)
            wait_for(lambda gone=worker: gone not in stage.fleet.workers, "another worker", 60)  # type: ignore[misc]
    stage.stop_sending()
    stage.wait_for_outcomes(timeout=240)
    findings = stage.audit()
    report("20 kills -9: worker, JVM, record processor, all", findings, restarts=len(stage.fleet.exits))
    assert findings.problems == []
    assert findings.accepted > 100
    # -9: killed; 11: its daemon or a record processor was.
    assert set(stage.fleet.exits) <= {-9, 11}
    assert len(stage.fleet.exits) == KILLS
