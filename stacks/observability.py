"""What is watched: alarms to an SNS topic, and the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cdktf import Fn, TerraformStack
from cdktf_cdktf_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import (
    CloudwatchMetricAlarm,
    CloudwatchMetricAlarmMetricQuery,
    CloudwatchMetricAlarmMetricQueryMetric,
)
from cdktf_cdktf_provider_aws.sns_topic import SnsTopic
from cdktf_cdktf_provider_aws.sns_topic_subscription import SnsTopicSubscription

from stacks.config import Config
from stacks.service import Service
from stacks.storage import Storage
from stacks.stream import Stream

# The worker's own metrics: `kcl_worker/metrics.py`.
NAMESPACE = "cv2kinesis"
# Of the retention, after which unread records are in danger.
LAG_OF_RETENTION = 0.5
MINUTE = 60


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, and how it is summed up over a minute."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    statistic: str = "Sum"

    def widget_row(self) -> list[Any]:
        """As a dashboard's widget wants it."""
        flat = [part for pair in self.dimensions.items() for part in pair]
        return [self.namespace, self.name, *flat, {"stat": self.statistic}]


class Observability:
    """Alarms and dashboard of one environment.

    How an alarm takes missing data is part of it: counts that are missing are zero, so nothing is
    breached; a lag without data is a stream that nobody reads, which `frames-stopped` watches.
    """

    def __init__(
        self, stack: TerraformStack, config: Config, stream: Stream, storage: Storage, service: Service
    ) -> None:
        self._stack, self._config = stack, config
        self.topic = SnsTopic(stack, "alarms", name=config.name("cv2kinesis-alarms"), kms_master_key_id="alias/aws/sns")
        if config.alarms.email:
            SnsTopicSubscription(
                stack, "alarms-email", topic_arn=self.topic.arn, protocol="email", endpoint=config.alarms.email
            )
        metrics = self._metrics(config, stream, storage, service)
        self._alarms(metrics)
        CloudwatchDashboard(
            stack,
            "dashboard",
            dashboard_name=config.name("VideoPipeline"),
            dashboard_body=Fn.jsonencode({"widgets": self._widgets(metrics)}),
        )

    @staticmethod
    def _metrics(config: Config, stream: Stream, storage: Storage, service: Service) -> dict[str, Metric]:
        of_stream = {"StreamName": config.name(config.stream.name)}
        of_service = {"ClusterName": service.cluster.name, "ServiceName": service.service.name}
        of_target = {
            "LoadBalancer": service.balancer.arn_suffix,
            "TargetGroup": service.target.arn_suffix,
        }

        def queue(name: str) -> Metric:
            return Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": name}, "Maximum")

        return {
            "incoming": Metric("AWS/Kinesis", "IncomingRecords", of_stream),
            "incoming-bytes": Metric("AWS/Kinesis", "IncomingBytes", of_stream),
            "lag": Metric("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", of_stream, "Maximum"),
            "write-throttled": Metric("AWS/Kinesis", "WriteProvisionedThroughputExceeded", of_stream),
            "read-throttled": Metric("AWS/Kinesis", "ReadProvisionedThroughputExceeded", of_stream),
            "frames": Metric(NAMESPACE, "Frames", of_stream),
            "quarantined": Metric(NAMESPACE, "Quarantined", of_stream),
            "latency": Metric(NAMESPACE, "EndToEndLatency", of_stream, "p95"),
            "inference": Metric(NAMESPACE, "InferenceTime", of_stream, "p95"),
            "worker-lag": Metric(NAMESPACE, "MillisBehindLatest", of_stream, "Maximum"),
            "dead-letters": queue(storage.dead_letters.name),
            "results": queue(storage.results.name),
            "quarantine": queue(storage.quarantine.name),
            "cpu": Metric("AWS/ECS", "CPUUtilization", of_service, "Average"),
            "memory": Metric("AWS/ECS", "MemoryUtilization", of_service, "Average"),
            "tasks": Metric("ECS/ContainerInsights", "RunningTaskCount", of_service, "Maximum"),
            "unhealthy": Metric("AWS/ApplicationELB", "UnHealthyHostCount", of_target, "Maximum"),
        }

    def _alarms(self, metrics: dict[str, Metric]) -> None:
        lag_limit = self._config.stream.retention_hours * 3600 * 1000 * LAG_OF_RETENTION
        self._alarm("lag", "Records wait for half of the retention; they expire unread", metrics["lag"], lag_limit, 5)
        self._alarm("dead-letters", "Messages were not handled by any consumer", metrics["dead-letters"], 0, 1)
        self._alarm("quarantine", "Records could not be processed", metrics["quarantine"], 0, 1)
        self._alarm("write-throttled", "Cameras send more than the shards take", metrics["write-throttled"], 0, 5)
        self._alarm("read-throttled", "Too many readers of the stream", metrics["read-throttled"], 0, 5)
        self._alarm("unhealthy", "A worker is unhealthy: its /health says why", metrics["unhealthy"], 0, 5)
        # Traffic without frames: no worker runs, or one starts and dies again and again.
        queries = [
            self._query("incoming", metrics["incoming"]),
            self._query("frames", metrics["frames"]),
            CloudwatchMetricAlarmMetricQuery(
                id="stopped", expression="IF(FILL(incoming, 0) > 0 AND FILL(frames, 0) == 0, 1, 0)", return_data=True
            ),
        ]
        CloudwatchMetricAlarm(
            self._stack,
            "alarm-frames-stopped",
            alarm_name=self._config.name("cv2kinesis-frames-stopped"),
            alarm_description="Records arrive and no frame is processed",
            comparison_operator="GreaterThanThreshold",
            threshold=0,
            evaluation_periods=10,
            metric_query=queries,
            treat_missing_data="notBreaching",
            alarm_actions=[self.topic.arn],
            ok_actions=[self.topic.arn],
        )

    def _alarm(self, id_: str, description: str, metric: Metric, threshold: float, minutes: int) -> None:
        CloudwatchMetricAlarm(
            self._stack,
            f"alarm-{id_}",
            alarm_name=self._config.name(f"cv2kinesis-{id_}"),
            alarm_description=description,
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=metric.dimensions,
            statistic=metric.statistic,
            period=MINUTE,
            evaluation_periods=minutes,
            comparison_operator="GreaterThanThreshold",
            threshold=threshold,
            treat_missing_data="notBreaching",
            alarm_actions=[self.topic.arn],
            ok_actions=[self.topic.arn],
        )

    @staticmethod
    def _query(id_: str, metric: Metric) -> CloudwatchMetricAlarmMetricQuery:
        return CloudwatchMetricAlarmMetricQuery(
            id=id_,
            metric=CloudwatchMetricAlarmMetricQueryMetric(
                namespace=metric.namespace,
                metric_name=metric.name,
                dimensions=metric.dimensions,
                stat=metric.statistic,
                period=MINUTE,
            ),
        )

    def _widgets(self, metrics: dict[str, Metric]) -> list[dict[str, Any]]:
        titles = {
            "Traffic": ("incoming", "frames"),
            "Bytes in": ("incoming-bytes",),
            "Lag": ("lag", "worker-lag"),
            "Latency and inference, p95": ("latency", "inference"),
            "Quarantine and dead letters": ("quarantined", "quarantine", "dead-letters"),
            "Results waiting": ("results",),
            "Throttled": ("write-throttled", "read-throttled"),
            "Tasks": ("tasks", "unhealthy"),
            "CPU and memory": ("cpu", "memory"),
        }
        return [
            {
                "type": "metric",
                "x": number % 3 * 8,
                "y": number // 3 * 6,
                "width": 8,
                "height": 6,
                "properties": {
                    "title": title,
                    "region": self._config.region,
                    "period": MINUTE,
                    "metrics": [metrics[name].widget_row() for name in names],
                },
            }
            for number, (title, names) in enumerate(titles.items())
        ]
