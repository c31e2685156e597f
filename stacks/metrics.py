"""CloudWatch metrics, in the forms for alarms and dashboards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import (
    CloudwatchMetricAlarmMetricQuery,
    CloudwatchMetricAlarmMetricQueryMetric,
)

from contract.metrics import WORKERS
from stacks.config import Config
from stacks.names import Names

# A lease finds its next owner within the failover time and ten seconds; what takes longer does not mend itself.
UNOWNED_SECONDS: Final = 60
# Services throttle for seconds; longer than this one is away, or somebody has changed a permission or a route.
WAITING_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and its statistic over a period."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str = "Sum"

    def widget_row(self) -> list[Any]:
        """The metric's form for a dashboard's widget."""
        flat = [part for pair in self.dimensions.items() for part in pair]
        return [self.namespace, self.name, *flat, {"stat": self.statistic}]


def of_workers(config: Config, name: str, statistic: str = "Sum") -> Metric:
    """A metric that the workers of the environment's KCL application write."""
    stream = Names(config).stream
    return Metric(WORKERS, name, {"StreamName": stream, "Application": stream}, statistic)


def query(id_: str, metric: Metric, period: int) -> CloudwatchMetricAlarmMetricQuery:
    """A metric under a name, for an alarm's expression; the period is in seconds."""
    return CloudwatchMetricAlarmMetricQuery(
        id=id_,
        metric=CloudwatchMetricAlarmMetricQueryMetric(
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=metric.dimensions,
            stat=metric.statistic,
            period=period,
        ),
    )


def result(expression: str) -> CloudwatchMetricAlarmMetricQuery:
    """The expression that an alarm watches."""
    return CloudwatchMetricAlarmMetricQuery(id="result", expression=expression, return_data=True)
