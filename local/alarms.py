"""Stands in for the alarms that put a service to sleep and wake it, and for Application Auto Scaling behind them: moto
computes no metric math and scales nothing.

What an alarm does is read as it was deployed: its action is a policy, whose steps change the service's tasks within the
target's limits. When it does so is simpler than in CloudWatch: `knock` when its metric of producers has grown while no
task is wanted, `sleep` when the owner of this object says that all is done.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR = timedelta(hours=1)


class Alarms:
    """The alarms of one environment; each `look` evaluates them once.

    Args:
        connect: Makes a client of a service, as an administrator.
        name: Gives an alarm's full name.
        idle: Whether all that the producers of so many knocks have sent is processed.

    Attributes:
        changes: Numbers of tasks that were set, in order.
    """

    def __init__(self, connect: Callable[[str], Any], name: Callable[[str], str], idle: Callable[[int], bool]) -> None:
        self._ecs, self._cloudwatch = connect("ecs"), connect("cloudwatch")
        self._scaling, self._name, self._idle = connect("application-autoscaling"), name, idle
        self._heard = 0
        self.changes: list[int] = []

    def look(self) -> None:
        """Evaluates the alarms that are there."""
        if alarm := self._find("knock"):
            knocks = self._sum(alarm)
            if knocks > self._heard:
                self._heard = knocks
                self._act(alarm, lambda wanted: wanted == 0)
        if self._heard and (alarm := self._find("sleep")) and self._idle(self._heard):
            self._act(alarm, lambda wanted: wanted > 0)

    def _find(self, name: str) -> dict[str, Any] | None:
        found: list[dict[str, Any]] = self._cloudwatch.describe_alarms(AlarmNames=[self._name(name)])["MetricAlarms"]
        return found[0] if found else None

    def _sum(self, alarm: dict[str, Any]) -> int:
        """What the producers have said so far."""
        metric = next(each["MetricStat"]["Metric"] for each in alarm["Metrics"] if each["Id"] == "knocks")
        points = self._cloudwatch.get_metric_statistics(
            Namespace=metric["Namespace"], MetricName=metric["MetricName"], Dimensions=metric["Dimensions"],
            StartTime=datetime.now(UTC) - HOUR, EndTime=datetime.now(UTC) + HOUR, Period=3600, Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        return int(sum(point["Sum"] for point in points))

    def _act(self, alarm: dict[str, Any], applies: Callable[[int], bool]) -> None:
        """Does what the alarm's action says, where the service's tasks are so many."""
        policies = self._scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
        for policy in (each for each in policies if each["PolicyARN"] in alarm["AlarmActions"]):
            resource = policy["ResourceId"]
            _, cluster, name = resource.split("/")
            [service] = self._ecs.describe_services(cluster=cluster, services=[name])["services"]
            [target] = self._scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[resource])[
                "ScalableTargets"
            ]
            if not applies(service["desiredCount"]):
                continue
            steps = policy["StepScalingPolicyConfiguration"]
            [step] = steps["StepAdjustments"]
            before = 0 if steps["AdjustmentType"] == "ExactCapacity" else service["desiredCount"]
            wanted = min(max(before + step["ScalingAdjustment"], target["MinCapacity"]), target["MaxCapacity"])
            self._ecs.update_service(cluster=cluster, service=name, desiredCount=wanted)
            self.changes.append(wanted)
