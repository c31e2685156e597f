"""Autoscaling as it is synthesised, and in the simulation."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from simulation.__main__ import simulate
from simulation.pipeline import START_SECONDS, Conditions
from simulation.policies import Scaling
from simulation.run import run
from simulation.traffic import HOUR, SHAPES, Shape, last_moment
from stacks.config import Config
from tests.infra.conftest import Synth

FOUR: dict[str, Any] = {"stream": {"shards": 4}, "service": {"cpu": 1024, "memory": 4096}}


def resources(stack: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name.removeprefix("scaling-"): value for name, value in stack["resource"].get(kind, {}).items()}


def test_from_none_to_a_task_for_each_shard_and_ten_at_most(synth: Synth) -> None:
    for shards, most in ((1, 1), (4, 4), (30, 10)):
        [target] = resources(synth({"stream": {"shards": shards}}), "aws_appautoscaling_target").values()
        assert (target["min_capacity"], target["max_capacity"]) == (0, most)
    service = synth()["resource"]["aws_ecs_service"]["service"]
    assert service["lifecycle"] == {"ignore_changes": ["desired_count"]}


def test_the_policies(synth: Synth) -> None:
    policies = resources(synth(FOUR), "aws_appautoscaling_policy")
    steps = {
        name: (
            policy["adjustment_type"],
            policy["cooldown"],
            [s["scaling_adjustment"] for s in policy["step_adjustment"]],
        )
        for name, policy in ((n, p.get("step_scaling_policy_configuration")) for n, p in policies.items())
        if policy
    }
    assert steps == {
        "wake": ("ChangeInCapacity", 300, [1]),
        "out": ("ChangeInCapacity", 120, [1, 2, 4]),
        "in": ("ChangeInCapacity", 300, [-1]),
        "sleep": ("ExactCapacity", 300, [0]),
    }
    cpu = policies["cpu"]["target_tracking_scaling_policy_configuration"]
    assert (cpu["target_value"], cpu["scale_out_cooldown"], cpu["scale_in_cooldown"]) == (70, 120, 300)


def test_a_minimum_of_tasks_needs_neither_waking_nor_sleeping(synth: Synth) -> None:
    stack = synth({"stream": {"shards": 2}, "service": {"min_tasks": 1}})
    assert set(resources(stack, "aws_appautoscaling_policy")) == {"out", "cpu", "in"}
    assert resources(stack, "aws_appautoscaling_scheduled_action") == {}
    assert set(resources(synth(), "aws_appautoscaling_policy")) == {"wake", "sleep"}


@pytest.mark.parametrize(("hours", "schedule"), [(24, "0,6,12,18"), (48, "0,12"), (8760, "0")])
def test_somebody_looks_four_times_in_the_retention(synth: Synth, hours: int, schedule: str) -> None:
    looks = resources(synth({"stream": {"retention_hours": hours}}), "aws_appautoscaling_scheduled_action")
    assert {look["schedule"] for look in looks.values()} == {f"cron({m} {schedule} * * ? *)" for m in (0, 10)}
    assert looks["look"]["scalable_target_action"]["min_capacity"] == "1"


@pytest.mark.thorough
def test_no_shape_of_traffic_is_lost_flaps_or_loses_a_worker_that_is_behind(synth: Synth) -> None:
    synth()  # skips without node
    config = Config.of(FOUR)
    outcomes = {outcome.shape.name: outcome for outcome in simulate(config)}
    assert len(outcomes) == len(SHAPES) + 1
    for outcome in outcomes.values():
        assert (outcome.unread, outcome.flaps, outcome.stopped_behind) == (0, 0, [])
        assert outcome.worst_lag < config.stream.retention_hours * 3600 / 2
    assert outcomes["a camera on and off"].task_hours < outcomes["a camera on and off"].shape.hours * 0.6
    assert max(desired for _, desired, _, _ in outcomes["four hours' backlog"].minutes) == 4
    assert outcomes["a day"].minutes[-1][1] == 0  # asleep at the end


def test_a_shard_that_nobody_reads_counts_as_lag(synth: Synth) -> None:
    scaling = Scaling.from_stack(synth(FOUR))
    assert {alarm.name for alarm in scaling.alarms if alarm.policy == "scaling-out"} == {
        "cv2kinesis-scaling-out", "cv2kinesis-scaling-out-unowned",
    }  # fmt: skip
    orphan = next(shape for shape in SHAPES if shape.orphaned_hour is not None)
    told = run(scaling, orphan, 4, 1024)
    assert any(change.by == "scaling-out" and change.after > change.before for change in told.changes)
    assert told.worst_lag < 15 * 60
    assert (told.unread, told.stopped_behind) == (0, [])
    # No other metric shows it: without the workers' word it waits until somebody looks, and tasks stop meanwhile.
    silent = [
        replace(a, expression=a.expression.replace("FILL(unowned, 0) < 60", "1")) for a in scaling.alarms
        if "unowned" not in a.name
    ]  # fmt: skip
    untold = run(replace(scaling, alarms=silent), orphan, 4, 1024)
    assert untold.worst_lag > 3600
    assert untold.stopped_behind != []
    # It keeps the tasks, too, where no more may run.
    kept = [alarm for alarm in scaling.alarms if "unowned" not in alarm.name]
    assert run(replace(scaling, alarms=kept, schedule={}), orphan, 4, 1024).minutes[-1][1] > 0


@pytest.mark.parametrize("second", range(0, 60, 10))
def test_a_task_reads_within_a_hundred_seconds_of_the_first_frame(synth: Synth, second: int) -> None:
    scaling = Scaling.from_stack(synth(FOUR))
    begins = 40 * 60 + second  # the task of the first look has been stopped again

    def rate(at: float, shard: int) -> float:
        return 5.0 if shard == 0 and at >= begins else 0.0

    shape = Shape("a camera", 1, rate)
    woken = run(scaling, shape, 4, 1024)
    assert begins - 60 < 60 * next(m for m, (_, desired, _, _) in enumerate(woken.minutes) if desired and m > 30)
    assert START_SECONDS < woken.worst_lag < 100
    # The stream's own metrics take longer.
    assert 100 < run(scaling, shape, 4, 1024, Conditions(knocks=False)).worst_lag < 240


@pytest.mark.parametrize(
    "second", [0, *(pytest.param(second, marks=pytest.mark.thorough) for second in (-20, -10, 10, 20, 30))]
)
def test_a_producer_that_begins_while_the_last_tasks_leave_wakes_one(synth: Synth, second: int) -> None:
    scaling = Scaling.from_stack(synth(FOUR))
    moment = last_moment(sleeps(scaling, Conditions()) * 60 + second)
    heard = run(scaling, moment, 4, 1024)
    assert (heard.unread, heard.worst_lag < 4 * 60) == (0, True)
    if second == 0:  # the leavers have spoken since
        strict = [replace(a, expression=re.sub(r"<= \d+", "<= 0", a.expression)) for a in scaling.alarms]
        assert run(replace(scaling, alarms=strict), moment, 4, 1024).worst_lag > HOUR


def test_a_running_fleet_is_woken_by_nobody_and_a_late_metric_stops_no_task(synth: Synth) -> None:
    scaling = Scaling.from_stack(synth(FOUR))

    def rate(at: float, shard: int) -> float:
        # A camera in another stops and begins, again and again.
        return 4.0 if shard or at % 1200 < 600 else 0.0

    shape = Shape("a fleet", 4, rate)
    assert not [change for change in run(scaling, shape, 4, 1024).changes[1:] if change.by == "scaling-wake"]
    late = dict.fromkeys(("cv2kinesis", "ECS/ContainerInsights"), 900.0)
    unheard = run(scaling, shape, 4, 1024, Conditions(late=late))
    assert any(change.by == "scaling-wake" for change in unheard.changes)
    assert all(change.after > change.before for change in unheard.changes)


def test_nobody_scales_out_for_an_outage(synth: Synth) -> None:
    scaling = Scaling.from_stack(synth(FOUR))
    away = (1 * HOUR, 2 * HOUR)
    evening = Shape("an evening", 4, lambda at, _: 1.0)
    told = run(scaling, evening, 4, 1024, Conditions(outage=away))
    assert told.unread < 200
    assert not [change for change in told.changes if away[0] <= change.second < away[1]]
    assert [change for change in told.changes if change.second > away[1]]
    blind = [replace(a, expression="lag") if a.name.endswith("scaling-out") else a for a in scaling.alarms]
    changes = run(replace(scaling, alarms=blind), evening, 4, 1024, Conditions(outage=away)).changes
    assert [change for change in changes if away[0] <= change.second < away[1]]


def test_no_alarm_sees_who_else_reads_the_stream(synth: Synth) -> None:
    scaling = Scaling.from_stack(synth(FOUR))
    used = {query.metric for alarm in scaling.alarms for query in alarm.queries.values()}
    assert not {name for name in used if name.startswith(("GetRecords", "SubscribeToShard"))}
    # With the stream's metrics, a replay adds tasks, and with fan-out tasks are never stopped.
    of_stream = [
        replace(a, queries={n: replace(q, metric="GetRecords.IteratorAgeMilliseconds") if n == "lag" else q
                            for n, q in a.queries.items()})
        for a in scaling.alarms
    ]  # fmt: skip
    blind = replace(scaling, alarms=of_stream)
    slow = Shape("a slow camera", 4, lambda at, shard: 0.5 if at < 2 * HOUR else 0.0)
    replay = Conditions(replay=(0.5 * HOUR, 1.5 * HOUR))
    assert max(desired for _, desired, _, _ in run(scaling, slow, 4, 1024, replay).minutes) == 1
    assert max(desired for _, desired, _, _ in run(blind, slow, 4, 1024, replay).minutes) == 4
    assert run(scaling, slow, 4, 1024, Conditions(fan_out=True)).minutes[-1][1] == 0
    assert run(blind, slow, 4, 1024, Conditions(fan_out=True)).minutes[-1][1] > 0


FLEET, EVER = "ECS/ContainerInsights", (0.0, 1e9)
CONDITIONS = {
    "fan-out": Conditions(fan_out=True),
    "a replay": Conditions(replay=(HOUR, 7 * HOUR)),
    "producers that say nothing": Conditions(knocks=False),
    "the workers' metrics late": Conditions(late={"cv2kinesis": 600}),
    "the stream's metrics late": Conditions(late={"AWS/Kinesis": 600}),
    "the fleet's metrics late": Conditions(late={FLEET: 600, "AWS/ECS": 600}),
    "all late": Conditions(late=dict.fromkeys(("cv2kinesis", "AWS/Kinesis", FLEET, "AWS/ECS"), 600)),
    "no metrics of the workers": Conditions(silent={"cv2kinesis": EVER}),
    "three hours without the workers' metrics": Conditions(silent={"cv2kinesis": (HOUR, 4 * HOUR)}),
    "no metrics of the stream": Conditions(silent={"AWS/Kinesis": EVER}),
    "no metrics of the fleet": Conditions(silent={FLEET: EVER}),
    "none of workers and fleet": Conditions(silent={FLEET: EVER, "cv2kinesis": EVER}),
    "an outage": Conditions(outage=(1.6 * HOUR, 3 * HOUR)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", CONDITIONS)
def test_nothing_is_lost_whatever_metrics_do(synth: Synth, name: str) -> None:
    scaling, conditions = Scaling.from_stack(synth(FOUR)), CONDITIONS[name]
    for shape in SHAPES:
        if shape.orphaned_hour is not None and ("workers" in name or name == "all late"):
            continue  # nobody else could say it: `metrics-missing` calls a person
        outcome = run(scaling, shape, 4, 1024, conditions)
        assert (outcome.unread, outcome.flaps, outcome.stopped_behind) == (0, 0, []), shape.name
        assert outcome.worst_lag < 12 * HOUR, shape.name


@pytest.mark.thorough
def test_without_its_guards_the_simulation_finds_what_goes_wrong(synth: Synth) -> None:
    scaling = Scaling.from_stack(synth(FOUR))
    # Without the `look` policy, records that came at the wrong moment stay unread, if their producer says nothing.
    unheard = Conditions(knocks=False)
    moment = last_moment(sleeps(scaling, unheard) * 60 + 20)
    assert run(scaling, moment, 4, 1024, unheard).unread == 0
    assert run(replace(scaling, schedule={}), moment, 4, 1024, unheard).unread > 0
    # Without the condition on lag, tasks are stopped while they are behind.
    blind = [
        replace(a, expression="IF(FILL(incoming, 0) == 0, 1, 0)") if a.policy.endswith("sleep") else a
        for a in scaling.alarms
    ]
    backlog = next(shape for shape in SHAPES if shape.name == "four hours' backlog")
    quiet = replace(backlog, rate=lambda at, _: 12.0 if at < 3600 else 0.0, broken_hours=2)
    assert run(scaling, quiet, 4, 1024).stopped_behind == []
    assert run(replace(scaling, alarms=blind), quiet, 4, 1024).stopped_behind != []


def sleeps(scaling: Scaling, conditions: Conditions) -> int:
    """The minute at which the last task is stopped."""
    return next(c.minute for c in run(scaling, last_moment(1e9), 4, 1024, conditions).changes if c.after == 0)
