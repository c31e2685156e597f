"""The number of tasks: none while no camera sends, at most one for each shard.

| policy | metric | effect |
| --- | --- | --- |
| wake | a producer says that it begins, or records arrive, and no task is wanted | 1 task more |
| look | the clock, four times in the retention | at least 1 task, for ten minutes |
| out | the oldest unread record is 5, 15, 30 minutes old, or nobody read a shard for so long | 1, 2, 4 tasks more |
| cpu | CPU above its target for three minutes | as many as bring it to the target |
| in | caught up, every shard read, and one task fewer could carry the load | 1 task less |
| sleep | no record, no frame and no lag for 15 minutes, every shard read, a worker that lives for ten | none |

What drives tasks is what the workers of this application say of themselves. The stream's own metrics tell who reads it
only with polling, and tell of a replay beside the live pipeline as of the pipeline itself.

CloudWatch has no data on workers while none lives, and none on incoming records while nobody writes; data may come late
or not at all, as with a log that is away. So each alarm defines what missing data means:

- What drives an alarm is never filled. The latest minute of a metric often comes late, and a filled one would
  hide it (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html, on FILL).
- `sleep` needs a lag that was measured: a stream that nobody reads may hide any backlog. A lag that is missing is
  filled so that it keeps the tasks, for CloudWatch would go back to a quarter of an hour that has one. Both Kinesis and
  the workers have to say that nothing comes, because either may be late.
- The lag of a shard that nobody reads is not measured, so the workers say for how long it has been so
  (`UnownedSeconds`): it is at most so far behind. As a lag it has an alarm of its own for `out`, and like a lag it
  keeps `in` and `sleep` from stopping tasks. There it only guards, and may be filled: workers of an older image do
  not say it. What arrives on such a shard while no task runs wakes one as ever.
- A worker that waits for a service falls behind, and more tasks would wait beside it: its lag adds none.
- `wake` adds a task instead of setting a number, so that metrics that come late stop nobody. It wants to see neither a
  task that ECS wants nor a worker, by two services' metrics, before it believes that there is none. A task that is
  wanted and does not come up needs no other beside it, as far as ECS's metric comes in time.
- A producer may begin while the last tasks leave: they read no more, and their last words are in the window for as long
  as the knock. So `knock` overlooks workers that were seen in two of its periods alone; one that stays is seen in ten.
- A producer's word is there within seconds and read every ten, and a task wakes a minute and a half after the first
  frame. CloudWatch bills a metric and a high-resolution alarm on three: 1.20 dollars a month. Records of producers that
  say nothing are seen in the stream's metrics, by the minute and a minute late.
- Target tracking ignores missing data, and scales in while CPU is low, however far behind a worker is. So it
  scales out only, and `in` asks for the lag too.
- Records that arrive between a task's last read and the end of that minute wake nobody. `look` finds them, and
  whatever else waits unread: it is the one policy that needs no metric.

`python -m simulation` replays traffic through these policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdktf import Fn, TerraformStack
from cdktf_cdktf_provider_aws.appautoscaling_policy import (
    AppautoscalingPolicy,
    AppautoscalingPolicyStepScalingPolicyConfiguration,
    AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration,
    AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification,
)
from cdktf_cdktf_provider_aws.appautoscaling_scheduled_action import (
    AppautoscalingScheduledAction,
    AppautoscalingScheduledActionScalableTargetAction,
)
from cdktf_cdktf_provider_aws.appautoscaling_target import AppautoscalingTarget
from cdktf_cdktf_provider_aws.cloudwatch_metric_alarm import CloudwatchMetricAlarm

from contract.metrics import PRODUCERS, STARTED
from stacks.config import Config
from stacks.metrics import UNOWNED_SECONDS, WAITING_SECONDS, Metric, of_workers, query, result
from stacks.names import Names
from stacks.service import Service

MINUTE: Final = 60
# A task reads its first record within two minutes, and its metrics may take as long again.
WAKE_COOLDOWN_SECONDS: Final = 5 * MINUTE
# The least period of an alarm, and for how long neither worker nor task may have been seen when a producer begins.
KNOCK_SECONDS: Final = 10
KNOCK_PERIODS: Final = 12
# Periods in which a worker may have been seen all the same: those that leave speak in the period of a knock that they
# do not hear any more, or in the one before.
LAST_WORDS: Final = 2
OUT_COOLDOWN_SECONDS: Final = 2 * MINUTE
IN_COOLDOWN_SECONDS: Final = 5 * MINUTE
QUIET_SECONDS: Final = 15 * MINUTE
# A reader that is this close to the stream's end has caught up.
CAUGHT_UP_MILLIS: Final = 10_000
NOTHING_BEHIND_MILLIS: Final = 1_000
EVERY_SHARD_READ: Final = f"FILL(unowned, 0) < {UNOWNED_SECONDS}"
# A worker says every ten seconds that it lives. The first after a sleep is not stopped in its first ten minutes, for
# somebody has started it: a deployment does so to see it become healthy.
LIVES_BEFORE_SLEEP: Final = 10 * MINUTE // 10
# Tasks to add, by the age of the oldest unread record in minutes.
OUT_STEPS: Final = ((5, 1), (15, 2), (30, 4))
# Below the CPU target, so that the remaining tasks do not cause a scale-out at once.
SPARE_CPU_FACTOR: Final = 0.85
LOOK_MINUTES: Final = 10
LOOKS_IN_RETENTION: Final = 4


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the number of tasks, from this distance above the alarm's threshold on."""

    lower_bound: float
    adjustment: int


class Autoscaling:
    """The scalable target and its policies."""

    def __init__(self, stack: TerraformStack, config: Config, service: Service) -> None:
        self._stack, self._config = stack, config
        self._target = AppautoscalingTarget(
            stack,
            "scaling-target",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            # From the ARN, which is new for a service that is replaced (`stacks/capacity.py`): AWS forgets the scaling
            # of the old one, so that target and policies are replaced with it.
            resource_id=Fn.element(Fn.split(":", service.service.id), 5),
            min_capacity=config.service.min_tasks,
            max_capacity=config.max_tasks,
        )
        of_stream = {"StreamName": Names(config).stream}
        of_service = {"ClusterName": service.cluster.name, "ServiceName": service.service.name}
        self._incoming = Metric("AWS/Kinesis", "IncomingRecords", of_stream)
        self._knocks = Metric(PRODUCERS, STARTED, of_stream)
        self._lag = of_workers(config, "MillisBehindLatest", "Maximum")
        self._unowned = of_workers(config, "UnownedSeconds", "Maximum")
        self._waiting = of_workers(config, "WaitingSeconds", "Maximum")
        self._frames = of_workers(config, "Frames")
        self._workers = of_workers(config, "Workers")
        self._tasks = Metric("ECS/ContainerInsights", "RunningTaskCount", of_service, "Average")
        self._wanted = Metric("ECS/ContainerInsights", "DesiredTaskCount", of_service, "Maximum")
        self._cpu = Metric("AWS/ECS", "CPUUtilization", of_service, "Average")
        if config.service.min_tasks == 0:
            self._wake()
            self._look()
            self._sleep()
        if config.max_tasks > 1:
            self._out()
            self._follow_cpu()
            self._in()

    def _wake(self) -> None:
        policy = self._steps("wake", "ChangeInCapacity", WAKE_COOLDOWN_SECONDS, [Step(0, 1)])
        self._alarm(
            "wake",
            "Records arrive and no task is wanted",
            "IF(incoming > 0 AND FILL(wanted, 0) == 0 AND FILL(workers, 0) == 0, 1, 0)",
            {"incoming": self._incoming, "wanted": self._wanted, "workers": self._workers},
            policy,
        )
        # A knock in one of the last periods is enough. Workers and tasks are looked for in all of them, because their
        # metrics come later than a knock.
        self._alarm(
            "knock",
            "A producer begins and no task is wanted",
            "IF(knocks > 0 AND SUM(FILL(wanted, 0)) == 0"
            f" AND SUM(IF(FILL(workers, 0) > 0, 1, 0)) <= {LAST_WORDS}, 1, 0)",
            {"knocks": self._knocks, "wanted": self._wanted, "workers": self._workers},
            policy,
            period=KNOCK_SECONDS,
            evaluation_periods=KNOCK_PERIODS,
            datapoints_to_alarm=1,
        )

    def _look(self) -> None:
        wanted = self._config.stream.retention_hours // LOOKS_IN_RETENTION
        hours = next(hours for hours in (24, 12, 6) if hours <= wanted)
        for name, minute, least in (("look", 0, 1), ("look-ends", LOOK_MINUTES, 0)):
            AppautoscalingScheduledAction(
                self._stack,
                f"scaling-{name}",
                name=Names(self._config).own(name),
                service_namespace=self._target.service_namespace,
                scalable_dimension=self._target.scalable_dimension,
                resource_id=self._target.resource_id,
                schedule=f"cron({minute} {','.join(map(str, range(0, 24, hours)))} * * ? *)",
                scalable_target_action=AppautoscalingScheduledActionScalableTargetAction(
                    min_capacity=str(least), max_capacity=str(self._config.max_tasks)
                ),
            )

    def _sleep(self) -> None:
        policy = self._steps("sleep", "ExactCapacity", IN_COOLDOWN_SECONDS, [Step(0, 0)])
        # One period of 15 minutes, which slides by the minute: a single record in it, or a single lag above the limit,
        # keeps the tasks.
        self._alarm(
            "sleep",
            "No records, and none unread, for 15 minutes",
            f"IF(FILL(incoming, 0) == 0 AND FILL(frames, 0) == 0 AND workers > {LIVES_BEFORE_SLEEP}"
            f" AND FILL(lag, {NOTHING_BEHIND_MILLIS}) < {NOTHING_BEHIND_MILLIS} AND {EVERY_SHARD_READ}, 1, 0)",
            {
                "incoming": self._incoming,
                "frames": self._frames,
                "workers": self._workers,
                "lag": self._lag,
                "unowned": self._unowned,
            },
            policy,
            period=QUIET_SECONDS,
        )

    def _out(self) -> None:
        first = OUT_STEPS[0][0]
        steps = [Step((minutes - first) * MINUTE * 1000, tasks) for minutes, tasks in OUT_STEPS]
        policy = self._steps("out", "ChangeInCapacity", OUT_COOLDOWN_SECONDS, steps)
        for id_, description, expression, metrics in (
            (
                "out",
                "Records wait",
                f"IF(FILL(waiting, 0) < {WAITING_SECONDS}, lag, 0)",
                {"lag": self._lag, "waiting": self._waiting},
            ),
            ("out-unowned", "A shard is read by nobody", "unowned * 1000", {"unowned": self._unowned}),
        ):
            self._alarm(
                id_,
                description,
                expression,
                metrics,
                policy,
                threshold=first * MINUTE * 1000,
                evaluation_periods=2,
            )

    def _follow_cpu(self) -> None:
        specification = AppautoscalingPolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification(
            predefined_metric_type="ECSServiceAverageCPUUtilization"
        )
        self._policy(
            "cpu",
            policy_type="TargetTrackingScaling",
            target_tracking_scaling_policy_configuration=AppautoscalingPolicyTargetTrackingScalingPolicyConfiguration(
                target_value=self._config.service.cpu_target,
                scale_out_cooldown=OUT_COOLDOWN_SECONDS,
                scale_in_cooldown=IN_COOLDOWN_SECONDS,
                disable_scale_in=True,
                predefined_metric_specification=specification,
            ),
        )

    def _in(self) -> None:
        policy = self._steps("in", "ChangeInCapacity", IN_COOLDOWN_SECONDS, [Step(0, -1)])
        spare = self._config.service.cpu_target * SPARE_CPU_FACTOR
        self._alarm(
            "in",
            "One task fewer could carry the load",
            f"IF(tasks > {self._config.least_tasks} AND lag < {CAUGHT_UP_MILLIS} AND {EVERY_SHARD_READ}"
            f" AND cpu * tasks < {spare:g} * (tasks - 1), 1, 0)",
            {"tasks": self._tasks, "lag": self._lag, "unowned": self._unowned, "cpu": self._cpu},
            policy,
            evaluation_periods=10,
        )

    def _steps(self, id_: str, adjustment_type: str, cooldown: int, steps: list[Step]) -> AppautoscalingPolicy:
        bounds: list[float | None] = [*(step.lower_bound for step in steps[1:]), None]
        return self._policy(
            id_,
            policy_type="StepScaling",
            step_scaling_policy_configuration=AppautoscalingPolicyStepScalingPolicyConfiguration(
                adjustment_type=adjustment_type,
                cooldown=cooldown,
                metric_aggregation_type="Maximum",
                step_adjustment=[
                    AppautoscalingPolicyStepScalingPolicyConfigurationStepAdjustment(
                        scaling_adjustment=step.adjustment,
                        metric_interval_lower_bound=f"{step.lower_bound:g}",
                        metric_interval_upper_bound=None if upper is None else f"{upper:g}",
                    )
                    for step, upper in zip(steps, bounds, strict=True)
                ],
            ),
        )

    def _policy(self, id_: str, **arguments: object) -> AppautoscalingPolicy:
        return AppautoscalingPolicy(
            self._stack,
            f"scaling-{id_}",
            name=Names(self._config).own(id_),
            service_namespace=self._target.service_namespace,
            scalable_dimension=self._target.scalable_dimension,
            resource_id=self._target.resource_id,
            **arguments,  # type: ignore[arg-type]
        )

    def _alarm(
        self,
        id_: str,
        description: str,
        expression: str,
        metrics: dict[str, Metric],
        policy: AppautoscalingPolicy,
        *,
        threshold: float = 0,
        period: int = MINUTE,
        evaluation_periods: int = 1,
        datapoints_to_alarm: int | None = None,
    ) -> None:
        CloudwatchMetricAlarm(
            self._stack,
            f"scaling-alarm-{id_}",
            alarm_name=Names(self._config).own(f"scaling-{id_}"),
            alarm_description=description,
            comparison_operator="GreaterThanThreshold",
            threshold=threshold,
            evaluation_periods=evaluation_periods,
            datapoints_to_alarm=datapoints_to_alarm,
            metric_query=[*(query(name, metric, period) for name, metric in metrics.items()), result(expression)],
            treat_missing_data="notBreaching",
            alarm_actions=[policy.arn],
        )
