"""The scaling policies of a synthesised stack."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class Query:
    """A metric in an alarm; `period` in seconds. Namespace and dimensions tell whose it is, as the stack has them."""

    metric: str
    statistic: str
    period: int
    namespace: str = ""
    dimensions: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that triggers a policy, once so many `datapoints` of the last `periods` are above the threshold."""

    name: str
    policy: str
    expression: str
    queries: dict[str, Query]
    threshold: float
    periods: int
    datapoints: int

    @property
    def period(self) -> int:
        """In seconds; that of all its metrics."""
        [period] = {query.period for query in self.queries.values()}
        return period


@dataclass(frozen=True, slots=True)
class StepPolicy:
    """A step policy; its steps are (lower bound above the threshold, adjustment). The cooldown is in seconds."""

    exact: bool
    cooldown: int
    steps: list[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class TargetTracking:
    """A target for the average CPU that only scales out. The cooldown is in seconds."""

    target: float
    cooldown: int


@dataclass(frozen=True, slots=True)
class Scaling:
    """All scaling of a stack."""

    minimum: int
    maximum: int
    alarms: list[Alarm]
    steps: dict[str, StepPolicy]
    tracking: TargetTracking | None
    # The least number of tasks from a minute of the day on.
    schedule: dict[int, int] = field(default_factory=dict)

    @classmethod
    def from_stack(cls, stack: dict[str, Any]) -> Scaling:
        """Reads the JSON that CDKTF has written.

        Raises:
            ValueError: If it holds something that the simulation does not know.
        """
        resources = stack["resource"]
        [target] = resources["aws_appautoscaling_target"].values()
        policies = resources["aws_appautoscaling_policy"]
        steps, tracking = {}, None
        for name, policy in policies.items():
            if policy["policy_type"] == "StepScaling":
                steps[name] = _steps(policy["step_scaling_policy_configuration"])
            else:
                tracking = _tracking(policy["target_tracking_scaling_policy_configuration"])
        alarms = [
            _alarm(alarm)
            for alarm in resources["aws_cloudwatch_metric_alarm"].values()
            if any("aws_appautoscaling_policy" in action for action in alarm["alarm_actions"])
        ]
        schedule: dict[int, int] = {}
        for action in resources.get("aws_appautoscaling_scheduled_action", {}).values():
            schedule |= _schedule(action)
        return cls(int(target["min_capacity"]), int(target["max_capacity"]), alarms, steps, tracking, schedule)


def _steps(policy: dict[str, Any]) -> StepPolicy:
    steps = [(float(s["metric_interval_lower_bound"]), s["scaling_adjustment"]) for s in policy["step_adjustment"]]
    exact = {"ExactCapacity": True, "ChangeInCapacity": False}[policy["adjustment_type"]]
    return StepPolicy(exact, policy["cooldown"], sorted(steps))


def _tracking(policy: dict[str, Any]) -> TargetTracking:
    if not policy.get("disable_scale_in"):
        raise ValueError("target tracking that scales in is not simulated")
    return TargetTracking(float(policy["target_value"]), policy["scale_out_cooldown"])


def _alarm(alarm: dict[str, Any]) -> Alarm:
    if alarm["treat_missing_data"] != "notBreaching" or alarm["comparison_operator"] != "GreaterThanThreshold":
        raise ValueError(f"{alarm['alarm_name']}: only notBreaching and GreaterThanThreshold are simulated")
    queries, expression = {}, ""
    for query in alarm["metric_query"]:
        if "metric" in query:
            metric = query["metric"]
            queries[query["id"]] = Query(
                metric["metric_name"], metric["stat"], metric["period"], metric["namespace"],
                frozenset(metric["dimensions"].items()),
            )  # fmt: skip
        if query.get("return_data"):
            expression = query.get("expression") or query["id"]
    [action] = alarm["alarm_actions"]
    found = re.fullmatch(r"\$\{aws_appautoscaling_policy\.([\w-]+)\.arn\}", action)
    if not found:
        raise ValueError(f"{alarm['alarm_name']}: {action} is no policy of the stack")
    periods = alarm["evaluation_periods"]
    return Alarm(
        alarm["alarm_name"], found[1], expression, queries, float(alarm["threshold"]), periods,
        alarm.get("datapoints_to_alarm", periods),
    )  # fmt: skip


def _schedule(action: dict[str, Any]) -> dict[int, int]:
    found = re.fullmatch(r"cron\((\d+) ([\d,]+) \* \* \? \*\)", action["schedule"])
    if not found:
        raise ValueError(f"{action['name']}: {action['schedule']} is not simulated")
    least = int(action["scalable_target_action"]["min_capacity"])
    return {int(hour) * 60 + int(found[1]): least for hour in found[2].split(",")}
