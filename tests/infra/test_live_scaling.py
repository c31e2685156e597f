"""The synthesised policies start and stop real workers, in compressed time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.interrupts import Interrupts
from local.processes import Aws
from local.resources import aws_environment
from local.rig import Rig
from producer.knock import Knock
from simulation.live.comparison import course, forecast
from simulation.live.plan import Plan
from simulation.live.quota import Quota
from simulation.live.rehearsal import Moment, Rehearsal
from simulation.policies import MINUTE, Scaling
from stacks.config import Config
from stacks.names import Names
from tests.infra.conftest import Synth
from tests.pictures import with_metadata

TWO: dict[str, Any] = {"stream": {"shards": 2}, "service": {"cpu": 1024, "memory": 4096}}


class Latecomer:
    """A camera that begins, with a few frames, while the last tasks leave."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self._tasks = rig, 0
        self._kinesis = rig.resources.client("kinesis")
        self.came = False

    def see(self, moment: Moment) -> None:
        """Sends once no task is wanted any more."""
        if self._tasks and not moment.desired and not self.came:
            self.came = True
            for index in range(4):
                record = with_metadata("late", "s1", index, datetime.now(UTC))
                put = self._kinesis.put_record(StreamName=self._rig.resources.stream, Data=record, PartitionKey="late")
                self._rig.accept(record, put["ShardId"], put["SequenceNumber"])
            Knock(self._kinesis, self._rig.resources.stream, pytest.fail).flowing()
        self._tasks = moment.desired


@pytest.mark.thorough
def test_tasks_come_with_a_burst_share_its_shards_and_go_and_who_comes_as_the_last_leave_is_read_too(
    synth: Synth, aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in aws_environment(aws.url).items():
        monkeypatch.setenv(variable, value)
    scaling = Scaling.from_stack(synth(TWO))
    plan = Plan(shards=2, speed=16, burst_seconds=8 * MINUTE)
    name = Names(Config.of(TWO)).stream
    with (
        Quota(plan.cores) as quota,
        Rig(aws.url, tmp_path, shards=plan.shards, environment=plan.environment(), name=name) as rig,
    ):
        latecomer = Latecomer(rig)
        rehearsal = Rehearsal(plan, scaling, rig, quota, Interrupts(), latecomer.see)
        measured = rehearsal.measure()
        rehearsed = rehearsal.run(measured)
    assert latecomer.came
    assert rehearsed.findings.problems == []
    numbers = [moment.desired for moment in rehearsed.moments]
    assert (numbers[0], max(numbers), numbers[-1]) == (0, 2, 0)
    assert rehearsed.exits == []
    assert rehearsed.moves >= 1
    assert rehearsed.changes[0].by == "scaling-wake"
    assert rehearsed.changes[-1].by == "scaling-sleep"
    assert rehearsed.succeeded(scaling)
    # Both have the same figures, however far apart.
    assert course(rehearsed).figures.keys() == forecast(plan, scaling, measured).figures.keys()
