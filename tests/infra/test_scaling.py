"""Autoscaling as it is synthesised, and in the simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from simulation.__main__ import simulate
from simulation.policies import Scaling
from simulation.run import run
from simulation.traffic import SHAPES, last_moment
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
        "wake": ("ExactCapacity", 120, [1]),
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


def test_without_its_guards_the_simulation_finds_what_goes_wrong(synth: Synth) -> None:
    scaling = Scaling.from_stack(synth(FOUR))
    moment = last_moment(sleeps(scaling) * 60 + 20)
    assert run(scaling, moment, 4, 1024).unread == 0
    # Without the `look` policy, records that came at the wrong moment stay unread.
    assert run(replace(scaling, schedule={}), moment, 4, 1024).unread > 0
    # Without the condition on lag, tasks are stopped while they are behind.
    blind = [
        replace(a, expression="IF(FILL(incoming, 0) == 0, 1, 0)") if a.policy.endswith("sleep") else a
        for a in scaling.alarms
    ]
    backlog = next(shape for shape in SHAPES if shape.name == "four hours' backlog")
    quiet = replace(backlog, rate=lambda at, _: 12.0 if at < 3600 else 0.0, broken_hours=2)
    assert run(scaling, quiet, 4, 1024).stopped_behind == []
    assert run(replace(scaling, alarms=blind), quiet, 4, 1024).stopped_behind != []


def sleeps(scaling: Scaling) -> int:
    """The minute at which the last task is stopped."""
    return next(c.minute for c in run(scaling, last_moment(1e9), 4, 1024).changes if c.after == 0)
