"""Runs one shape of traffic from start to end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from simulation.cloudwatch import CloudWatch
from simulation.pipeline import GIB_HOUR, STEP_SECONDS, VCPU_HOUR, Conditions, Pipeline
from simulation.policies import Scaling
from simulation.scaling import AutoScaler, Change
from simulation.traffic import Shape

# Minutes: a scale-out so soon after a scale-in takes it back.
REGRET_MINUTES: Final = 15
# A worker that is further behind, in seconds, must not be stopped.
BEHIND_SECONDS: Final = 60


@dataclass
class Outcome:
    """The outcome of a shape.

    Attributes:
        minutes: At each minute: incoming frames a second, desired tasks, running tasks, lag in seconds.
        stopped_behind: Changes that removed a task although records waited.
    """

    shape: Shape
    minutes: list[tuple[float, int, int, float]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    stopped_behind: list[Change] = field(default_factory=list)
    worst_lag: float = 0
    unread: float = 0
    task_hours: float = 0

    @property
    def flaps(self) -> int:
        """Scale-ins that were taken back within a quarter of an hour; a wake from zero tasks does not count."""
        pairs = zip(self.changes, self.changes[1:], strict=False)
        return sum(
            0 < first.after < first.before
            and second.after > second.before
            and second.minute - first.minute < REGRET_MINUTES
            for first, second in pairs
        )

    def cost(self, cpu: int, memory: int) -> float:
        """The price of the tasks on Fargate in dollars; `cpu` is in 1024ths of a core, `memory` in MiB."""
        return self.task_hours * (cpu / 1024 * VCPU_HOUR + memory / 1024 * GIB_HOUR)


def run(scaling: Scaling, shape: Shape, shards: int, cpu: int, conditions: Conditions | None = None) -> Outcome:
    """Replays a shape from midnight on, with the least number of tasks of `cpu` 1024ths of a core at first."""
    conditions = conditions or Conditions()
    cloudwatch = CloudWatch(conditions.late, conditions.silent)
    orphaned_at = None if shape.orphaned_hour is None else shape.orphaned_hour * 3600
    pipeline = Pipeline(
        shards,
        cloudwatch,
        conditions.core_frames_per_second * cpu / 1024,
        shape.broken_hours * 3600,
        orphaned_at,
        conditions,
    )
    scaler, outcome = AutoScaler(scaling, cloudwatch), Outcome(shape)
    for minute in range(int(shape.hours * 60)):
        incoming = 0.0
        for second in range(minute * 60, minute * 60 + 60, STEP_SECONDS):
            seen, lag = len(scaler.changes), pipeline.lag
            if second:
                scaler.decide(second)
            outcome.stopped_behind += [
                change for change in scaler.changes[seen:] if change.after < change.before and lag > BEHIND_SECONDS
            ]
            rates = [shape.rate(second, shard) for shard in range(shards)]
            pipeline.step(second, scaler.desired, rates)
            incoming += sum(rates) * STEP_SECONDS / 60
        outcome.minutes.append((incoming, scaler.desired, pipeline.running, pipeline.lag))
    outcome.changes, outcome.worst_lag, outcome.unread = scaler.changes, pipeline.worst_lag, pipeline.unread
    outcome.task_hours = pipeline.task_seconds / 3600
    return outcome
