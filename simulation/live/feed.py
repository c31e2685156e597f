"""Carries metrics of real processes to the simulation's CloudWatch, where an alarm of the stack asks for them.

A metric counts only under the namespace and the dimensions that the stack's alarms name: what a worker or producer
calls otherwise than the stack wakes and stops nobody here either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from contract.metrics import PRODUCERS, WORKERS
from simulation.cloudwatch import CloudWatch
from simulation.live.clock import Clock
from simulation.pipeline import STREAM
from simulation.policies import Query, Scaling

# Times that processes measure pass faster for CloudWatch.
_TIMES: Final = {"Seconds", "Milliseconds"}
_ALL: Final = timedelta(days=1)
# Namespaces whose metrics are counts, which alarms sum up.
_SUMMED: Final = {PRODUCERS, STREAM}

_Key = tuple[str, str, frozenset[tuple[str, str]]]


class Feed:
    """Stores samples at the second of CloudWatch's day at which they were made.

    Args:
        embedded: A client of the embedded AWS's CloudWatch; what it holds at the first poll is passed over.
    """

    def __init__(self, scaling: Scaling, cloudwatch: CloudWatch, clock: Clock, embedded: Any) -> None:
        self._cloudwatch, self._clock, self._embedded = cloudwatch, clock, embedded
        queries: Iterable[Query] = (query for alarm in scaling.alarms for query in alarm.queries.values())
        self._wanted: set[_Key] = {(query.namespace, query.metric, query.dimensions) for query in queries}
        self._totals: dict[_Key, float] = {}
        self._polled = clock.now

    def line(self, text: str) -> dict[str, float]:
        """Stores what a worker's line in the embedded metric format says; gives the greatest value of each metric."""
        fields: dict[str, Any] = json.loads(text)
        taken: dict[str, float] = {}
        for directive in fields.get("_aws", {}).get("CloudWatchMetrics", []):
            [names] = directive["Dimensions"]
            dimensions = frozenset((name, str(fields[name])) for name in names)
            for metric in directive["Metrics"]:
                name = metric["Name"]
                if (directive["Namespace"], name, dimensions) not in self._wanted:
                    continue
                factor = self._clock.speed if metric["Unit"] in _TIMES else 1.0
                said = fields[name] if isinstance(fields[name], list) else [fields[name]]
                values = [value * factor for value in said]
                at = self._clock.at(fields["_aws"]["Timestamp"] / 1000)
                for value in values:
                    self._cloudwatch.put(WORKERS, name, at, value)
                taken[name] = max(values)
        return taken

    def poll(self) -> None:
        """Stores, as of the last time, what producers and stream have said since then to the embedded AWS."""
        since, self._polled = self._polled, self._clock.now
        now = datetime.now(UTC)
        for key in self._wanted:
            namespace, name, dimensions = key
            if namespace not in _SUMMED:
                continue
            points = self._embedded.get_metric_statistics(
                Namespace=namespace, MetricName=name, Period=int(_ALL.total_seconds()), Statistics=["Sum"],
                StartTime=now - _ALL, EndTime=now + _ALL,
                Dimensions=[{"Name": name, "Value": value} for name, value in sorted(dimensions)],
            )["Datapoints"]  # fmt: skip
            total = sum(point["Sum"] for point in points)
            if total > self._totals.setdefault(key, total):
                self._cloudwatch.put(namespace, name, since, total - self._totals[key])
                self._totals[key] = total
