"""Metrics, and alarms on them, as CloudWatch evaluates them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Final

from contract.metrics import PRODUCERS, WORKERS
from simulation.expressions import evaluate
from simulation.policies import MINUTE, Alarm, Query

# Seconds until a sample can be seen, by namespace: services publish a minute when it is over, workers' metrics come by
# way of their log, and producers call CloudWatch themselves.
DELAYS: Final = {WORKERS: 30.0, PRODUCERS: 5.0}
DELAY_SECONDS: Final = 60.0
# CloudWatch looks at some more periods than an alarm requires, and skips missing ones.
EXTRA_PERIODS: Final = 2
_STATISTICS: Final[dict[str, Callable[[list[float]], float]]] = {
    "Sum": sum,
    "Maximum": max,
    "Average": fmean,
    "SampleCount": lambda values: float(len(values)),
}


class CloudWatch:
    """Holds the samples of each metric; times are in seconds.

    Args:
        late: For so much longer than usual a namespace's samples cannot be seen.
        silent: In this time a namespace gets none.
    """

    def __init__(
        self, late: Mapping[str, float] | None = None, silent: Mapping[str, tuple[float, float]] | None = None
    ) -> None:
        self._late, self._silent = late or {}, silent or {}
        # By metric and ten seconds, the values and when they can be seen first.
        self._samples: defaultdict[str, defaultdict[int, list[tuple[float, float]]]]
        self._samples = defaultdict(lambda: defaultdict(list))

    def put(self, namespace: str, metric: str, at: float, value: float) -> None:
        """Stores a sample."""
        since, until = self._silent.get(namespace, (0.0, 0.0))
        if since <= at < until:
            return
        seen = at + DELAYS.get(namespace, DELAY_SECONDS) + self._late.get(namespace, 0.0)
        self._samples[metric][int(at // 10)].append((seen, value))

    def value(self, query: Query, end: int, now: int) -> float | None:
        """A metric's statistic over the period that ends before a second, as it can be seen now."""
        by_time = self._samples[query.metric]
        found = [
            value
            for time in range((end - query.period) // 10, end // 10)
            if time in by_time
            for seen, value in by_time[time]
            if seen <= now
        ]
        return _STATISTICS[query.statistic](found) if found else None

    def breach(self, alarm: Alarm, now: int) -> float | None:
        """The alarm's latest value that breaches if it is in ALARM at a second, else None."""
        # A period of several minutes slides by the minute.
        ends = [now - alarm.period * k for k in range(alarm.periods + EXTRA_PERIODS)]
        series = {name: [self.value(query, end, now) for end in ends] for name, query in alarm.queries.items()}
        real = [point for point in evaluate(alarm.expression, series) if point is not None][: alarm.periods]
        breaching = [point for point in real if point > alarm.threshold]
        # Missing data does not breach.
        return breaching[0] if len(breaching) >= alarm.datapoints else None

    @staticmethod
    def is_due(alarm: Alarm, now: int) -> bool:
        """Whether CloudWatch evaluates an alarm at a second: every minute, or as often as its period is short."""
        return now % min(alarm.period, MINUTE) == 0
