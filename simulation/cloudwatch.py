"""Metrics by the minute, and alarms on them, as CloudWatch evaluates them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from statistics import fmean
from typing import Final

from simulation.expressions import evaluate
from simulation.policies import Alarm, Query

# Minutes until the data of a minute that has ended is visible.
DELAY_MINUTES: Final = 1
# CloudWatch looks at some more periods than an alarm requires, and skips missing ones.
EXTRA_PERIODS: Final = 2
_STATISTICS: Final[dict[str, Callable[[list[float]], float]]] = {
    "Sum": sum,
    "Maximum": max,
    "Average": fmean,
    "SampleCount": lambda values: float(len(values)),
}


class CloudWatch:
    """Holds the samples of each metric."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(lambda: defaultdict(list))

    def put(self, metric: str, minute: int, value: float) -> None:
        """Stores a sample of a minute."""
        self._samples[metric][minute].append(value)

    def value(self, query: Query, end: int) -> float | None:
        """A metric's statistic over the period that ends before a minute."""
        by_minute = self._samples[query.metric]
        found = [v for minute in range(end - query.period, end) if minute in by_minute for v in by_minute[minute]]
        return _STATISTICS[query.statistic](found) if found else None

    def breach(self, alarm: Alarm, now: int) -> float | None:
        """The alarm's latest value if it is in ALARM at the beginning of a minute, else None."""
        period = max(query.period for query in alarm.queries.values())
        seen = now - DELAY_MINUTES
        points = [self._point(alarm, seen - period * k) for k in range(alarm.periods + EXTRA_PERIODS)]
        real = [point for point in points if point is not None][: alarm.periods]
        # Missing data does not breach.
        if len(real) < alarm.periods or any(point <= alarm.threshold for point in real):
            return None
        return real[0]

    def _point(self, alarm: Alarm, end: int) -> float | None:
        return evaluate(alarm.expression, {name: self.value(query, end) for name, query in alarm.queries.items()})
