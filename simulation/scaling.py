"""Application Auto Scaling: how alarms, the CPU target and the clock change the number of tasks.

https://docs.aws.amazon.com/autoscaling/application/userguide/step-scaling-policy-overview.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from simulation.cloudwatch import CloudWatch
from simulation.policies import MINUTE, Alarm, Query, Scaling

# The alarm of a target needs its metric above the target for this number of minutes.
TRACKING_MINUTES: Final = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the desired number of tasks, at a second."""

    second: int
    before: int
    after: int
    by: str

    @property
    def minute(self) -> int:
        return self.second // MINUTE


class AutoScaler:
    """Decides every ten seconds; an alarm repeats its action while it is active."""

    def __init__(self, scaling: Scaling, cloudwatch: CloudWatch) -> None:
        self._scaling, self._cloudwatch = scaling, cloudwatch
        self._minimum = scaling.minimum
        self.desired = scaling.minimum
        self.changes: list[Change] = []
        # By policy: the second at which its cooldown ends, and the tasks that it has added meanwhile.
        self._cooldowns: dict[str, tuple[int, int]] = {}

    def decide(self, now: int) -> None:
        """Decides at a second. If several policies scale out, the largest number counts; a policy that
        scales in counts only if none scales out."""
        # Several alarms may carry out one policy.
        due = [alarm for alarm in self._scaling.alarms if self._cloudwatch.is_due(alarm, now)]
        wanted = [(alarm.policy, self._step(alarm, now)) for alarm in due]
        if now % MINUTE == 0:
            self._minimum = self._scaling.schedule.get(now // MINUTE % (24 * 60), self._minimum)
            wanted.append(("cpu", self._track(now)))
        wishes = [(policy, number) for policy, number in wanted if number is not None]
        out = max(wishes, key=lambda wish: wish[1], default=("", self.desired))
        chosen = out if out[1] > self.desired else min(wishes, key=lambda wish: wish[1], default=out)
        self._set(now, *chosen)
        self._set(now, "limits", self.desired)

    def _step(self, alarm: Alarm, now: int) -> int | None:
        value = self._cloudwatch.breach(alarm, now)
        if value is None:
            return None
        policy = self._scaling.steps[alarm.policy]
        adjustment = [change for bound, change in policy.steps if value - alarm.threshold >= bound][-1]
        until, added = self._cooldowns.get(alarm.policy, (0, 0))
        if policy.exact or adjustment < 0:
            return None if now < until else adjustment if policy.exact else self.desired + adjustment
        # Within the cooldown, only the part beyond the step already made counts.
        return self.desired + (adjustment if now >= until else max(0, adjustment - added))

    def _track(self, now: int) -> int | None:
        tracking, cpu = self._scaling.tracking, Query("CPUUtilization", "Average", MINUTE)
        if tracking is None or now < self._cooldowns.get("cpu", (0, 0))[0]:
            return None
        # Its latest minute is not there yet.
        values = [self._cloudwatch.value(cpu, now - MINUTE * k, now) for k in range(1, TRACKING_MINUTES + 1)]
        if any(value is None or value <= tracking.target for value in values):
            return None
        return math.ceil(self.desired * (values[0] or 0) / tracking.target)

    def _set(self, now: int, policy: str, number: int) -> None:
        number = max(self._minimum, min(self._scaling.maximum, number))
        if number == self.desired:
            return
        self.changes.append(Change(now, self.desired, number, policy))
        if policy in self._scaling.steps:
            self._cooldowns[policy] = now + self._scaling.steps[policy].cooldown, number - self.desired
        elif policy == "cpu" and self._scaling.tracking:
            self._cooldowns[policy] = now + self._scaling.tracking.cooldown, number - self.desired
        self.desired = number
