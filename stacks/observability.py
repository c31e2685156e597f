"""Alarms, which tell the topic, and the dashboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdktf import Fn, TerraformStack
from cdktf_cdktf_provider_aws.cloudwatch_dashboard import CloudwatchDashboard
from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm
from cdktf_cdktf_provider_aws.sqs_queue import SqsQueue

from contract.metrics import WORKERS
from stacks.config import Config
from stacks.failures import TaskFailures
from stacks.leases import LeaseTables
from stacks.metrics import UNOWNED_SECONDS, WAITING_SECONDS, Metric, of_workers, query, result
from stacks.names import Names
from stacks.queue import QUEUE_RETENTION_SECONDS
from stacks.service import Service
from stacks.storage import Storage
from stacks.topic import AlarmTopic

# Share of the retention after which unread records are in danger.
LAG_OF_RETENTION = 0.5
MINUTE = 60
# A task that fails so often in a quarter of an hour will not mend itself.
CRASH_LOOP_FAILURES = 3
CRASH_LOOP_SECONDS = 15 * MINUTE


class Observability:
    """Alarms and dashboard of one environment.

    Each alarm defines how it treats missing data. A missing count is zero, so it breaches nothing. A lag without
    data means that no worker reads the stream, or none is heard: `frames-stopped` and `metrics-missing` watch that.
    """

    def __init__(
        self,
        stack: TerraformStack,
        config: Config,
        topic: AlarmTopic,
        storage: Storage,
        tables: LeaseTables,
        service: Service,
        failures: TaskFailures,
        undelivered: Mapping[str, SqsQueue],
    ) -> None:
        self._stack, self._config, self._topic = stack, config, topic
        metrics = self._metrics(config, storage, tables, service) | {"failures": failures.metric}
        self._alarms(metrics)
        for rule, queue in undelivered.items():
            self._alarm(
                f"undelivered-{rule}", "The target of a rule did not take events", _waiting(queue.name), 0, 1,
                name=Names(config).of_rule(rule),
            )  # fmt: skip
        CloudwatchDashboard(
            stack,
            "dashboard",
            dashboard_name=Names(config).dashboard,
            dashboard_body=Fn.jsonencode({"widgets": self._widgets(metrics)}),
        )

    @staticmethod
    def _metrics(config: Config, storage: Storage, tables: LeaseTables, service: Service) -> dict[str, Metric]:
        of_stream = {"StreamName": Names(config).stream}
        of_service = {"ClusterName": service.cluster.name, "ServiceName": service.service.name}

        return {
            "incoming": Metric("AWS/Kinesis", "IncomingRecords", of_stream),
            "incoming-bytes": Metric("AWS/Kinesis", "IncomingBytes", of_stream),
            "write-throttled": Metric("AWS/Kinesis", "WriteProvisionedThroughputExceeded", of_stream),
            "stream-lag": Metric("AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", of_stream, "Maximum"),
            "read-throttled": Metric("AWS/Kinesis", "ReadProvisionedThroughputExceeded", of_stream),
            "frames": of_workers(config, "Frames"),
            "quarantined": of_workers(config, "Quarantined"),
            "latency": of_workers(config, "EndToEndLatency", "p95"),
            "inference": of_workers(config, "InferenceTime", "p95"),
            "lag": of_workers(config, "MillisBehindLatest", "Maximum"),
            "unowned-shards": of_workers(config, "UnownedShards", "Maximum"),
            "unowned-seconds": of_workers(config, "UnownedSeconds", "Maximum"),
            "waiting": of_workers(config, "WaitingSeconds", "Maximum"),
            "since-read": of_workers(config, "SecondsSinceRead", "Maximum"),
            "workers": of_workers(config, "Workers"),
            "lines-dropped": of_workers(config, "LinesDropped"),
            "dead-letters": _waiting(storage.dead_letters.name),
            "results": _waiting(storage.results.name),
            "events-dead-letters": _waiting(storage.events_dead_letters.name),
            "events": _waiting(storage.events.name),
            "quarantine": _waiting(storage.quarantine.name),
            "results-age": _of_queue("ApproximateAgeOfOldestMessage", storage.results.name),
            "events-age": _of_queue("ApproximateAgeOfOldestMessage", storage.events.name),
            "sent": _of_queue("NumberOfMessagesSent", storage.results.name, "Sum"),
            "events-sent": _of_queue("NumberOfMessagesSent", storage.events.name, "Sum"),
            "table-reads": Metric("AWS/DynamoDB", "ConsumedReadCapacityUnits", {"TableName": tables.leases.name}),
            "table-writes": Metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": tables.leases.name}),
            "cpu": Metric("AWS/ECS", "CPUUtilization", of_service, "Average"),
            "memory": Metric("AWS/ECS", "MemoryUtilization", of_service, "Average"),
            "tasks": Metric("ECS/ContainerInsights", "RunningTaskCount", of_service, "Maximum"),
            "wanted": Metric("ECS/ContainerInsights", "DesiredTaskCount", of_service, "Minimum"),
            **(
                {"unhealthy": Metric("AWS/ApplicationELB", "UnHealthyHostCount", balancer.dimensions, "Maximum")}
                if (balancer := service.balancer)
                else {}
            ),
        }

    def _alarms(self, metrics: dict[str, Metric]) -> None:
        lag_limit = self._config.stream.retention_hours * 3600 * 1000 * LAG_OF_RETENTION
        self._alarm("lag", "Records wait for half of the retention; they expire unread", metrics["lag"], lag_limit, 5)
        # The lag does not show it: an iterator's age is that of reads that were made.
        self._alarm(
            "unowned", "A shard is read by nobody; its records expire", metrics["unowned-seconds"], UNOWNED_SECONDS, 1
        )
        self._alarm(
            "waiting", "A worker waits for a service: its /health names it", metrics["waiting"], WAITING_SECONDS, 1
        )
        self._alarm("dead-letters", "Messages were not handled by any consumer", metrics["dead-letters"], 0, 1)
        self._alarm("quarantine", "Records could not be processed", metrics["quarantine"], 0, 1)
        self._alarm("write-throttled", "Cameras send more than the shards take", metrics["write-throttled"], 0, 5)
        self._alarm("read-throttled", "Too many readers of the stream", metrics["read-throttled"], 0, 5)
        if "unhealthy" in metrics:
            self._alarm("unhealthy", "A worker is unhealthy: its /health says why", metrics["unhealthy"], 0, 5)
        self._alarm(
            "crash-loop",
            "Tasks fail again and again: the log of failures has ECS's reasons, the worker's log its own",
            metrics["failures"],
            CRASH_LOOP_FAILURES - 1,
            1,
            period=CRASH_LOOP_SECONDS,
        )
        self._alarm(
            "events-dead-letters", "Events were not handled by any consumer", metrics["events-dead-letters"], 0, 1
        )
        for name in ("results", "events"):
            self._alarm(
                f"{name}-age",
                f"{name.title()} wait for half of the queue's retention; they expire unread",
                metrics[f"{name}-age"],
                QUEUE_RETENTION_SECONDS * LAG_OF_RETENTION,
                1,
            )
        self._alarm(
            "lines-dropped", "Lines of the log were dropped, metrics among them", metrics["lines-dropped"], 0, 1
        )
        # No worker runs, or workers start and die again and again.
        self._alarm_on(
            "frames-stopped",
            "Records arrive and no frame is processed",
            "IF(FILL(incoming, 0) > 0 AND FILL(frames, 0) == 0, 1, 0)",
            {"incoming": metrics["incoming"], "frames": metrics["frames"]},
        )
        self._alarm_on(
            "tasks-missing",
            "Fewer tasks run than are wanted: ECS's events say why",
            "wanted - FILL(tasks, 0)",
            {"wanted": metrics["wanted"], "tasks": metrics["tasks"]},
        )
        # Autoscaling and the other alarms see nothing then.
        self._alarm_on(
            "metrics-missing",
            "Tasks run and their metrics do not arrive: see the log and its group",
            "IF(tasks > 0 AND FILL(workers, 0) == 0, 1, 0)",
            {"tasks": metrics["tasks"], "workers": metrics["workers"]},
        )

    def _alarm_on(self, id_: str, description: str, expression: str, metrics: dict[str, Metric]) -> None:
        """An alarm on an expression of several metrics that is above zero for ten minutes."""
        CloudwatchMetricAlarm(
            self._stack,
            f"alarm-{id_}",
            alarm_name=Names(self._config).own(id_),
            alarm_description=description,
            comparison_operator="GreaterThanThreshold",
            threshold=0,
            evaluation_periods=10,
            metric_query=[
                *(query(name, metric, MINUTE) for name, metric in metrics.items()),
                result(expression),
            ],
            treat_missing_data="notBreaching",
            alarm_actions=[self._topic.arn],
            ok_actions=[self._topic.arn],
        )

    def _alarm(
        self,
        id_: str,
        description: str,
        metric: Metric,
        threshold: float,
        periods: int,
        *,
        period: int = MINUTE,
        name: str = "",
    ) -> None:
        CloudwatchMetricAlarm(
            self._stack,
            f"alarm-{id_}",
            alarm_name=name or Names(self._config).own(id_),
            alarm_description=description,
            namespace=metric.namespace,
            metric_name=metric.name,
            dimensions=metric.dimensions,
            statistic=metric.statistic,
            period=period,
            evaluation_periods=periods,
            comparison_operator="GreaterThanThreshold",
            threshold=threshold,
            treat_missing_data="notBreaching",
            alarm_actions=[self._topic.arn],
            ok_actions=[self._topic.arn],
        )

    def _widgets(self, metrics: dict[str, Metric]) -> list[dict[str, Any]]:
        titles = {
            "Traffic": ("incoming", "frames"),
            "Bytes in": ("incoming-bytes",),
            "Lag, and that of any reader that polls": ("lag", "stream-lag"),
            "Shards that nobody reads": ("unowned-shards", "unowned-seconds"),
            "Waiting for services, and since the last read": ("waiting", "since-read"),
            "Latency and inference, p95": ("latency", "inference"),
            "Quarantine and dead letters": ("quarantined", "quarantine", "dead-letters", "events-dead-letters"),
            "Events": ("events-sent",),
            "Results and events waiting": ("results", "events"),
            "Age of the oldest result and event": ("results-age", "events-age"),
            "Throttled, and lines of the log dropped": ("write-throttled", "read-throttled", "lines-dropped"),
            "Tasks": ("wanted", "tasks", "unhealthy", "failures"),
            "CPU and memory": ("cpu", "memory"),
            "What costs: tasks": ("tasks",),
            "What costs: requests": ("sent", "table-reads", "table-writes"),
        }
        rows = {
            title: [metrics[name].widget_row() for name in names if name in metrics] for title, names in titles.items()
        }
        # Text without quotes, because quotes would have to be escaped twice.
        stream = Names(self._config).stream
        schema = f"{{{WORKERS},StreamName,Application,ShardId}}"
        search = f"SEARCH('{schema} MillisBehindLatest {stream}', 'Maximum', {MINUTE})"
        rows["Lag by shard"] = [[{"expression": search, "id": "shards"}]]
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
                    "metrics": metric_rows,
                },
            }
            for number, (title, metric_rows) in enumerate(rows.items())
        ]


def _of_queue(name: str, queue: str, statistic: str = "Maximum") -> Metric:
    return Metric("AWS/SQS", name, {"QueueName": queue}, statistic)


def _waiting(queue: str) -> Metric:
    return _of_queue("ApproximateNumberOfMessagesVisible", queue)
