"""Events survive: workers are killed and a shard is split, and every event still comes, once, with its end.

What an undisturbed worker makes of the same stream is the measure. EVENT_KILLS (6) is how often; `make chaos` has more.
"""

from __future__ import annotations

import json
import os
import random
import time

import pytest

from contract.event import EventMessage
from local.rig import Rig, drain
from local.waiting import wait_for
from tests.faults.conftest import MakeRig, Report
from tests.scenarios import HALF, QUICK_RESHARDING, TARGETS, kill_one

KILLS = int(os.environ.get("EVENT_KILLS", "6"))
SETTINGS = {
    "zones": [{"name": "middle", "polygon": [[0.3, 0], [0.7, 0], [0.7, 1], [0.3, 1]]}],
    "lines": [{"name": "gate", "start": [0.5, 0], "end": [0.5, 1]}],
    "events": [
        {"name": "visitor", "kind": "appear", "classes": ["person"], "zone": "middle"},
        {"name": "gone", "kind": "leave", "classes": ["person"], "zone": "middle"},
        {"name": "stay", "kind": "dwell", "zone": "middle", "seconds": 2},
        {"name": "gate", "kind": "cross", "line": "gate"},
        {"name": "crowd", "kind": "count", "more_than": 2},
    ],
    "store": "events",
    "announce": "events",
    "before_seconds": 2,
    "after_seconds": 1,
}


@pytest.mark.thorough
def test_every_event_comes_once_whatever_dies(rig: MakeRig, report: Report) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown when the test fails
    chance = random.Random(seed)
    stage = rig(shards=1, environment={"SOURCE_DEFAULTS": json.dumps(SETTINGS)} | QUICK_RESHARDING)
    stage.fleet.scale(1)
    stage.send(cameras=3, fps=2)
    for number in range(KILLS):
        work(stage, chance)
        kill_one(stage, TARGETS[number % len(TARGETS)], chance)
        if number == KILLS // 2:
            stage.resources.client("kinesis").split_shard(
                StreamName=stage.resources.stream, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(HALF)
            )
    stage.stop_sending()
    stage.wait_for_outcomes()
    stage.wait_for(lambda: ended(stage), "the ends of all events", stage.progress)
    findings = stage.audit()
    undisturbed = replay(stage)
    mine = {event.event_id for event in stage.events}
    report(
        f"events: {KILLS} kills -9 and a split", findings, restarts=len(stage.fleet.exits),
        events=len(mine), lost=len(undisturbed - mine), invented=len(mine - undisturbed),
    )  # fmt: skip
    assert findings.problems == []
    assert findings.duplicates > 0 or KILLS < 10  # with so many kills, some hit a worker at work
    assert findings.tallied > 0
    assert mine == undisturbed
    assert len(mine) > KILLS
    assert len(stage.fleet.exits) == KILLS


def work(stage: Rig, chance: random.Random) -> None:
    """Lets the worker come to any stage of its life: its start, its first frames, or its work."""
    if frames := chance.choice((0, 5, 30)):
        before = stage.outcomes
        stage.wait_for(lambda: stage.outcomes >= before + frames, f"{frames} outcomes", stage.progress)
    time.sleep(chance.uniform(0, 5))


def ended(stage: Rig) -> bool:
    """Whether every event that began has its end."""
    stage.collect()
    phases = {phase: {event.event_id for event in stage.events if event.phase == phase} for phase in ("start", "end")}
    return phases["start"] == phases["end"]


def replay(stage: Rig) -> set[str]:
    """The events that a worker makes of the whole stream which nobody disturbs."""
    stage.fleet.scale(0)
    sqs, name = stage.resources.client("sqs"), f"{stage.resources.stream}-again"
    urls = {kind: sqs.create_queue(QueueName=f"{name}-{kind}")["QueueUrl"] for kind in ("results", "events")}
    stage.fleet.change(
        {"KCL_APPLICATION_NAME": name, "SQS_QUEUE_URL": urls["results"], "EVENTS_QUEUE_URL": urls["events"]}
    )
    stage.fleet.scale(1)
    came: list[EventMessage] = []

    def complete() -> bool:
        came.extend(map(EventMessage.model_validate_json, drain(stage.resources, urls["events"])))
        begun, over = ({event.event_id for event in came if event.phase == phase} for phase in ("start", "end"))
        return begun == over and len(over) >= len({event.event_id for event in stage.events})

    wait_for(complete, "the same events", lambda: len(came))
    return {event.event_id for event in came}
