"""Workers come, go and die under load: leases spread, move, and nothing is lost."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from local.rig import Rig, kill, pids_of
from local.waiting import wait_for
from tests.faults.conftest import MakeRig, Report

SHARDS = 8
FAILOVER_SECONDS = 3


def spread(stage: Rig, workers: int) -> bool:
    """Whether every shard has an owner, and no worker more than its even share and one."""
    owners = Counter(owner for owner in stage.leases().values() if owner)
    return (
        sum(owners.values()) == SHARDS and len(owners) == workers and max(owners.values()) <= -(-SHARDS // workers) + 1
    )


def seconds_until_spread(stage: Rig, workers: int) -> float:
    started = time.monotonic()
    wait_for(lambda: spread(stage, workers), f"spread of {SHARDS} leases among {workers}", stage.leases)
    return round(time.monotonic() - started, 1)


@pytest.mark.thorough
def test_leases_follow_the_workers(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=SHARDS)
    stage.fleet.scale(1)
    stage.send(cameras=24, fps=1)
    times = {}
    for before, workers in ((0, 1), (1, 3), (3, 2), (2, 1)):
        stage.fleet.scale(workers)
        times[f"{before} to {workers}"] = seconds_until_spread(stage, workers)
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("8 shards on 1, 3, 2, 1 workers", findings, seconds_to_rebalance=times)
    assert findings.problems == []
    assert stage.fleet.exits == []


@pytest.mark.thorough
def test_leases_of_a_killed_leader_move_long_before_kcl_alone_would_move_them(rig: MakeRig, report: Report) -> None:
    # With the failover time that production has.
    stage = rig(shards=4, environment={"KCL_FAILOVER_SECONDS": "10"})
    stage.fleet.scale(1)  # the first is the leader
    stage.send(cameras=4, fps=2)
    stage.wait_for_outcomes(10)
    stage.fleet.scale(2)
    stage.fleet.workers[1].wait_for_shards(1)
    leader, other = stage.fleet.workers
    owned = set(stage.leases().values())
    assert len(owned) == 2
    with stage.fleet.paused():
        kill(pids_of(leader))
        died = time.monotonic()
        wait_for(lambda: len(set(stage.leases().values())) == 1, "one owner", stage.leases)  # KCL alone takes 133 s
        seconds = time.monotonic() - died
        assert other.alive
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("the leader killed, failover 10 s", findings, seconds_until_others_had_its_leases=round(seconds, 1))
    assert findings.problems == []
