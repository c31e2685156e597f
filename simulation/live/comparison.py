"""What was measured beside what was forecast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from rich.table import Table

from simulation.live.plan import BEGINS, QUIET_SECONDS, Measured, Plan
from simulation.live.rehearsal import Rehearsed
from simulation.pipeline import STEP_SECONDS, Conditions
from simulation.policies import MINUTE, Scaling
from simulation.run import Outcome, run
from simulation.scaling import Change

_FIRST: Final = int(BEGINS // MINUTE)
# A task of one core; what it does is measured.
_CPU: Final = 1024


@dataclass(frozen=True, slots=True)
class Course:
    """How it went; times are of CloudWatch's clock.

    Attributes:
        minutes: Of each minute from the start on: frames a second, desired and running tasks, lag in seconds.
        first_read: Seconds from the first frame until a task reads.
    """

    minutes: list[tuple[float, int, int, float]]
    changes: list[Change]
    first_read: float

    @property
    def figures(self) -> dict[str, float]:
        """The course in a few numbers."""
        ends = [minute for minute, values in enumerate(self.minutes, start=1) if values[0]][-1]
        behind = [minute for minute, values in enumerate(self.minutes, start=1) if values[3] > STEP_SECONDS]
        return {
            "first read, s after the first frame": round(self.first_read),
            "most tasks": max(desired for _, desired, _, _ in self.minutes),
            "worst lag, s": round(max(lag for _, _, _, lag in self.minutes)),
            "caught up, min after the last frame": max(behind, default=ends) - ends,
            "asleep, min after the last frame": round(self.changes[-1].second / MINUTE - _FIRST - ends),
            "task minutes": sum(desired for _, desired, _, _ in self.minutes),
        }


def forecast(plan: Plan, scaling: Scaling, measured: Measured) -> Course:
    """What the simulation says of the plan's burst over tasks such as the measured one."""
    start = measured.start_seconds * plan.speed
    conditions = Conditions(core_frames_per_second=measured.frames_per_second / plan.speed, start_seconds=start)
    outcome: Outcome = run(scaling, measured.shape(plan), plan.shards, _CPU, conditions)
    changes = [change for change in outcome.changes if change.second >= BEGINS]
    return Course(outcome.minutes[_FIRST:], changes, changes[0].second + start - BEGINS - QUIET_SECONDS)


def course(rehearsed: Rehearsed) -> Course:
    """What was measured."""
    moments = {moment.second: moment for moment in rehearsed.moments}
    minutes = []
    for first in range(int(BEGINS), math.ceil(rehearsed.moments[-1].second / MINUTE) * MINUTE, MINUTE):
        last = moments[min(first + MINUTE - STEP_SECONDS, rehearsed.moments[-1].second)]
        frames = sum(first <= second < first + MINUTE for second in rehearsed.captured)
        minutes.append((frames / MINUTE, last.desired, last.reading, rehearsed.lag(last.second)))
    first_read = rehearsed.changes[0].second + rehearsed.starts[0] * rehearsed.plan.speed
    return Course(minutes, rehearsed.changes, first_read - rehearsed.captured[0])


def differences(foreseen: Course, seen: Course) -> dict[str, float]:
    """How far both are apart, by the minute."""
    pairs = list(zip(foreseen.minutes, seen.minutes, strict=False))
    return {
        "tasks, mean difference": round(fmean(abs(a[2] - b[2]) for a, b in pairs), 2),
        "minutes with the same number of tasks, %": round(100 * fmean(a[2] == b[2] for a, b in pairs)),
        "lag, mean difference in s": round(fmean(abs(a[3] - b[3]) for a, b in pairs)),
    }


def table(foreseen: Course, seen: Course) -> Table:
    """A row for each figure."""
    made = Table("in CloudWatch's time", "forecast", "measured")
    for (name, one), other in zip(foreseen.figures.items(), seen.figures.values(), strict=True):
        made.add_row(name, f"{one:g}", f"{other:g}")
    for name, value in differences(foreseen, seen).items():
        made.add_row(name, "", f"{value:g}")
    return made


def report(measured: Measured, rehearsed: Rehearsed, foreseen: Course, seen: Course) -> dict[str, Any]:
    """All of it for programs."""
    return {
        "plan": {name: getattr(rehearsed.plan, name) for name in rehearsed.plan.__slots__},
        "measured": {name: getattr(measured, name) for name in measured.__slots__},
        "start_seconds": rehearsed.starts,
        "lease_moves": rehearsed.moves,
        "exits": rehearsed.exits,
        "audit": rehearsed.findings.as_dict(),
        "forecast": _as_dict(foreseen),
        "seen": _as_dict(seen),
        "differences": differences(foreseen, seen),
    }


def _as_dict(course: Course) -> dict[str, Any]:
    changes = [[change.second, change.before, change.after, change.by] for change in course.changes]
    return {"figures": course.figures, "changes": changes, "minutes": course.minutes}
