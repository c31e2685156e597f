"""The simulation's parts: metric math, alarms, and Application Auto Scaling."""

from __future__ import annotations

import pytest

from simulation import fleet
from simulation.cloudwatch import CloudWatch
from simulation.expressions import Series, evaluate
from simulation.pipeline import Shard
from simulation.policies import MINUTE, Alarm, Query, Scaling, StepPolicy, TargetTracking
from simulation.scaling import AutoScaler


@pytest.mark.parametrize(
    ("expression", "values", "result"),
    [
        ("lag", {"lag": 7.0}, 7),
        ("IF(a > 0 AND b == 0, 1, 0)", {"a": 1.0, "b": 0.0}, 1),
        ("IF(a > 0 AND b == 0, 1, 0)", {"a": 1.0, "b": None}, None),
        ("IF(a > 0 OR b == 0, 1, 0)", {"a": 0.0, "b": 1.0}, 0),
        ("FILL(a, 0) + 2", {"a": None}, 2),
        ("a / (b - 1)", {"a": 1.0, "b": 1.0}, None),
    ],
)
def test_metric_math(expression: str, values: dict[str, float | None], result: float | None) -> None:
    assert evaluate(expression, {name: [value] for name, value in values.items()}) == [result]


def test_a_sum_is_over_all_periods() -> None:
    series: Series = {"a": [0.0, 1.0, 2.0], "b": [None, None, 0.0], "c": [0.0, None, 3.0]}
    assert evaluate("IF(a > 0 AND SUM(FILL(b, 0)) == 0, a, 0)", series) == [0, 1, 2]
    assert evaluate("IF(a > 0 AND SUM(c) == 0, a, 0)", series) == [0, 0, 0]


@pytest.mark.parametrize("expression", ["ANOMALY_DETECTION_BAND(a)", "a ** 2", "a if b else c"])
def test_what_is_not_known_is_refused(expression: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        evaluate(expression, {"a": [1.0], "b": [1.0], "c": [1.0]})


def alarm(**changes: object) -> Alarm:
    values = {
        "name": "out",
        "policy": "out",
        "expression": "lag",
        "queries": {"lag": Query("Lag", "Maximum", MINUTE)},
        "threshold": 10.0,
        "periods": 2,
        "datapoints": 2,
    }
    return Alarm(**{**values, **changes})  # type: ignore[arg-type]


def put(cloudwatch: CloudWatch, minute: int, value: float, metric: str = "Lag") -> None:
    cloudwatch.put("AWS/Kinesis", metric, minute * MINUTE, value)


def test_an_alarm_needs_all_its_periods_and_passes_over_missing_ones() -> None:
    cloudwatch = CloudWatch()
    put(cloudwatch, 0, 11)
    assert cloudwatch.breach(alarm(), 2 * MINUTE) is None
    put(cloudwatch, 2, 12)  # none at minute 1
    assert cloudwatch.breach(alarm(), 4 * MINUTE) == 12
    assert cloudwatch.breach(alarm(), 9 * MINUTE) is None  # long ago
    put(cloudwatch, 3, 10)
    assert cloudwatch.breach(alarm(), 5 * MINUTE) is None


def test_a_period_of_many_minutes_slides() -> None:
    cloudwatch = CloudWatch()
    put(cloudwatch, 0, 11)
    quarter = alarm(queries={"lag": Query("Lag", "Maximum", 15 * MINUTE)}, periods=1, datapoints=1)
    breaches = [cloudwatch.breach(quarter, minute * MINUTE) is not None for minute in (0, 2, 15, 200)]
    assert breaches == [False, True, True, False]


def test_a_short_period_is_seen_every_ten_seconds_and_one_of_many_is_enough() -> None:
    cloudwatch = CloudWatch()
    knock = alarm(queries={"lag": Query("Lag", "Sum", 10)}, threshold=0.0, periods=6, datapoints=1)
    assert [second for second in range(0, 60, 5) if cloudwatch.is_due(knock, second)] == list(range(0, 60, 10))
    assert not cloudwatch.is_due(alarm(), 50)
    cloudwatch.put("cv2kinesis/producers", "Lag", 100, 1)
    seen = [second for second in range(90, 240, 10) if cloudwatch.breach(knock, second)]
    assert (seen[0], seen[-1]) == (110, 180)


def test_metrics_may_come_late_or_not_at_all() -> None:
    cloudwatch = CloudWatch(late={"AWS/Kinesis": 600}, silent={"cv2kinesis": (0, 120)})
    query = Query("Lag", "Maximum", MINUTE)
    put(cloudwatch, 0, 11)
    assert [cloudwatch.value(query, 60, now) for now in (600, 660)] == [None, 11]
    for at in (60, 120):
        cloudwatch.put("cv2kinesis", "Lag", at, 1)
    assert [cloudwatch.value(query, end, 900) for end in (120, 180)] == [None, 1]


def scaler(cloudwatch: CloudWatch, policy: StepPolicy, **changes: object) -> AutoScaler:
    values = {
        "minimum": 0,
        "maximum": 4,
        "alarms": [alarm(periods=1, datapoints=1)],
        "steps": {"out": policy},
        "tracking": None,
    }
    return AutoScaler(Scaling(**{**values, **changes}), cloudwatch)  # type: ignore[arg-type]


def test_steps_within_the_cooldown_add_only_what_goes_further() -> None:
    cloudwatch = CloudWatch()
    scaling = scaler(cloudwatch, StepPolicy(exact=False, cooldown=300, steps=[(0, 1), (10, 3)]))
    for minute, lag in enumerate((11, 11, 25)):
        put(cloudwatch, minute, lag)
        scaling.decide((minute + 2) * MINUTE)
    assert [(change.before, change.after) for change in scaling.changes] == [(0, 1), (1, 3)]


def test_an_exact_capacity_takes_tasks_away_too_and_limits_hold() -> None:
    cloudwatch = CloudWatch()
    put(cloudwatch, 0, 11)
    down = scaler(cloudwatch, StepPolicy(exact=True, cooldown=300, steps=[(0, 1)]))
    down.desired = 3
    down.decide(2 * MINUTE)
    assert down.desired == 1
    up = scaler(cloudwatch, StepPolicy(exact=False, cooldown=300, steps=[(0, 9)]))
    up.decide(2 * MINUTE)
    assert up.desired == 4


def test_cpu_above_its_target_for_three_minutes_scales_out_in_proportion() -> None:
    cloudwatch = CloudWatch()
    scaling = scaler(cloudwatch, StepPolicy(True, 300, [(0, 1)]), alarms=[], tracking=TargetTracking(70, 120))
    scaling.desired = 2
    for minute, cpu in enumerate((90, 90, 60, 90, 90, 90)):
        put(cloudwatch, minute, cpu, "CPUUtilization")
        scaling.decide((minute + 2) * MINUTE)
    assert [(change.minute, change.after) for change in scaling.changes] == [(7, 3)]


def test_the_clock_sets_the_least_number() -> None:
    scaling = scaler(CloudWatch(), StepPolicy(True, 300, [(0, 1)]), schedule={6: 1, 16: 0})
    for minute in range(20):
        scaling.decide(minute * MINUTE)
    assert [(change.minute, change.after) for change in scaling.changes] == [(6, 1)]


def test_a_shard_is_read_from_its_oldest_record() -> None:
    shard = Shard()
    shard.unread.extend([(0, 10), (10, 10)])
    assert (shard.read(15), shard.lag(20)) == (15, 10)
    assert (shard.read(15), shard.lag(20)) == (5, 0)


def test_a_fleet_has_the_shards_that_its_bytes_want() -> None:
    config = fleet.config(1000)
    assert config.stream.least_shards == 358  # 300 MB/s at four fifths of a MiB each
    assert config.max_tasks == 20
    day, at_once = fleet.shapes(1000)
    assert at_once.rate(2 * 3600, 7) * 358 == pytest.approx(5000)
    assert max(day.rate(minute * 60.0, 0) for minute in range(26 * 60)) * 358 == pytest.approx(5000, rel=0.01)
    assert fleet.config(1).max_tasks == 1
