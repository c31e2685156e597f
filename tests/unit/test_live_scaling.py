"""The parts of the rehearsal of scaling: its clock, its metrics, its tasks and their share, its comparison."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from audit import Findings
from contract.metrics import PRODUCERS, STARTED, WORKERS
from kcl_worker.operating.metrics import embedded
from local.processes import Worker
from local.rig import Fleet
from local.waiting import wait_for
from simulation.cloudwatch import CloudWatch
from simulation.live.clock import Clock
from simulation.live.comparison import course, differences, forecast, table
from simulation.live.feed import Feed
from simulation.live.plan import BEGINS, Measured, Plan
from simulation.live.quota import Meter, Quota
from simulation.live.rehearsal import Moment, Rehearsed
from simulation.live.service import Service
from simulation.pipeline import STARTING_CPU
from simulation.policies import MINUTE, Alarm, Query, Scaling, StepPolicy
from simulation.scaling import Change

SPEED = 8.0
OF_WORKERS = {"StreamName": "cv2kinesis", "Application": "cv2kinesis"}


def query(metric: str, statistic: str, namespace: str, dimensions: dict[str, str]) -> Query:
    return Query(metric, statistic, MINUTE, namespace, frozenset(dimensions.items()))


LAG = query("MillisBehindLatest", "Maximum", WORKERS, OF_WORKERS)
LIVING = query("Workers", "Sum", WORKERS, OF_WORKERS)
KNOCKS = query(STARTED, "Sum", PRODUCERS, {"StreamName": "cv2kinesis"})
WANTED = query("DesiredTaskCount", "Maximum", "ECS/ContainerInsights", {"ServiceName": "${of terraform}"})
WAKE = Alarm(
    "wake", "wake", "IF(knocks > 0 AND FILL(wanted, 0) == 0, 1, 0)",
    {"knocks": KNOCKS, "wanted": WANTED, "lag": LAG, "workers": LIVING}, 0.0, 1, 1,
)  # fmt: skip
SCALING = Scaling(0, 2, [WAKE], {"wake": StepPolicy(exact=False, cooldown=300, steps=[(0, 1)])}, None)


class Embedded:
    """CloudWatch's side of `get_metric_statistics`: the sums of all time."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}

    def get_metric_statistics(self, **asked: Any) -> dict[str, Any]:
        assert asked["Dimensions"] == [{"Name": "StreamName", "Value": "cv2kinesis"}]
        return {"Datapoints": [{"Sum": self.sums[name]} for name in [asked["MetricName"]] if name in self.sums]}


class Stage:
    """A feed in a minute of CloudWatch's, which does not pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.time", lambda: 1_000_000.0)
        self.clock, self.cloudwatch, self.embedded = Clock(SPEED, BEGINS), CloudWatch(), Embedded()
        self.feed = Feed(SCALING, self.cloudwatch, self.clock, self.embedded)

    def value(self, query: Query) -> float | None:
        """Over the first minute, once all of it can be seen."""
        return self.cloudwatch.value(query, int(BEGINS) + MINUTE, int(BEGINS) + 10 * MINUTE)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_cloudwatch_s_clock_passes_faster_than_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [1_000_000.0], list[float]()
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("time.sleep", slept.append)
    clock = Clock(SPEED, BEGINS)
    now[0] += 5
    assert (clock.now, clock.at(1_000_010.0)) == (BEGINS + 40, BEGINS + 80)
    clock.wait_until(BEGINS + 60)
    clock.wait_until(BEGINS)
    assert slept == [2.5, 0]


def test_a_worker_s_line_counts_where_the_stack_looks_and_its_times_pass_faster(stage: Stage) -> None:
    line = embedded({"Workers": 1, "MillisBehindLatest": [700.0, 40.0], "Detections": 9}, OF_WORKERS)
    assert stage.feed.line(json.dumps(line)) == {"Workers": 1, "MillisBehindLatest": 700 * SPEED}
    assert (stage.value(LIVING), stage.value(LAG)) == (1, 700 * SPEED)


@pytest.mark.parametrize(
    "dimensions",
    [OF_WORKERS | {"ShardId": "shardId-0"}, OF_WORKERS | {"Application": "replay"}, {"StreamName": "cv2kinesis"}],
)
def test_another_s_line_does_not_count(stage: Stage, dimensions: dict[str, str]) -> None:
    assert stage.feed.line(json.dumps(embedded({"Workers": 1}, dimensions))) == {}
    assert stage.feed.line('{"message": "no metrics"}') == {}
    assert stage.value(LIVING) is None


def test_only_what_comes_to_the_embedded_cloudwatch_from_the_first_look_on_counts(stage: Stage) -> None:
    stage.embedded.sums[STARTED] = 3
    stage.feed.poll()
    assert stage.value(KNOCKS) is None
    stage.embedded.sums[STARTED] = 5
    for _ in range(2):
        stage.feed.poll()
    assert stage.value(KNOCKS) == 2


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(dict(os.environ), tmp_path, "tests.unit.speaking_worker")
    yield made
    for worker in made.all:
        worker.stop(0)
    made.close()


def test_tasks_come_speak_and_go(fleet: Fleet, stage: Stage) -> None:
    with Quota(0.5) as quota:
        service = Service(fleet, quota, stop_seconds=300)
        service.scale(2)
        assert (service.desired, service.reading, len(service.tasks)) == (2, 0, 2)

        def both() -> bool:
            service.listen(stage.feed)
            return service.reading == 2

        wait_for(both, "two tasks that read")
        assert service.lag == 1.5 * SPEED
        service.report(stage.cloudwatch, BEGINS + 30)
        tasks = Query("RunningTaskCount", "Average", MINUTE)
        assert (stage.value(WANTED), stage.value(tasks)) == (2, 2)
        assert 0 <= (stage.value(Query("CPUUtilization", "Maximum", MINUTE)) or 0) <= 100
        service.scale(0)
        assert (service.desired, service.reading, service.lag) == (0, 0, 0)
        wait_for(lambda: not service.alive, "end of both")
        assert {task.worker.process.returncode for task in service.tasks} == {-signal.SIGTERM}
        assert fleet.exits == []


def test_a_task_that_has_nothing_to_read_runs_all_the_same(fleet: Fleet, stage: Stage) -> None:
    with Quota(0.5) as quota:
        fleet.change({"IDLE": "1"})
        service = Service(fleet, quota, stop_seconds=300)
        service.scale(1)

        def speaks() -> bool:
            service.listen(stage.feed)
            return service.tasks[0].speaks

        wait_for(speaks, "a task that speaks")
        service.report(stage.cloudwatch, BEGINS + 30)
        assert service.reading == 0
        assert stage.value(Query("RunningTaskCount", "Average", MINUTE)) == 1
        assert (stage.value(Query("CPUUtilization", "Maximum", MINUTE)) or 0) <= STARTING_CPU


def test_a_task_that_ends_by_itself_is_replaced_and_one_that_does_not_end_is_killed(
    tmp_path: Path, stage: Stage, fleet: Fleet
) -> None:
    with Quota(0.5) as quota:
        fleet.change({"DEAF": "1"})
        service = Service(fleet, quota, stop_seconds=0.1)
        service.scale(1)
        [first] = service.tasks
        first.worker.process.kill()
        wait_for(lambda: fleet.exits, "a replacement")
        service.scale(1)
        assert [task.worker.alive for task in service.tasks] == [False, True]
        service.scale(0)
        wait_for(lambda: not service.alive, "end of a task that is deaf")
        assert service.tasks[1].worker.process.returncode in (-signal.SIGKILL, -signal.SIGTERM)
        assert fleet.exits == [-signal.SIGKILL]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processor time")
def test_who_has_used_up_its_share_stands_still_until_it_has_some_again(tmp_path: Path) -> None:
    with Worker(dict(os.environ), tmp_path / "log", "tests.unit.speaking_worker") as worker:
        pid, meter = worker.process.pid, Meter(worker)
        assert worker.line() is not None
        used = meter.read(10.0)
        assert meter.used == used > 0  # Python has started
        meter.hold(allowance=0.01, used=0.05, most=0.02)
        wait_for(lambda: state(pid) == "T", "a worker that stands still")
        meter.hold(allowance=0.01, used=0.0, most=0.02)
        assert state(pid) == "T"
        meter.hold(allowance=0.04, used=0.0, most=0.02)
        wait_for(lambda: state(pid) != "T", "a worker that goes on")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processor time")
def test_a_busy_worker_gets_its_share_alone(tmp_path: Path) -> None:
    busy = tmp_path / "busy.py"
    busy.write_text("while True: pass")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with Quota(0.2) as quota, subprocess.Popen([sys.executable, str(busy)], env=environment) as process:

        class Busy:
            """What the quota wants to know of a worker."""

            alive = True

        Busy.process = process  # type: ignore[attr-defined]
        meter = quota.meter(Busy())  # type: ignore[arg-type]
        meter.held = True
        wait_for(lambda: state(process.pid) == "T", "a busy process that stands still")
        process.kill()


PLAN = Plan(shards=2, speed=SPEED)


def rehearsed(**changes: Any) -> Rehearsed:
    """A minute with a frame each ten seconds, which waits for 20 s; a task from the second minute on."""
    first = int(BEGINS)
    captured = [first + 10.0 * number for number in range(6)]
    owners = [{}, {"a": "w0", "b": "w0"}, {"a": "w0", "b": ""}, {"a": "w0", "b": "w1"}]
    values: dict[str, Any] = {
        "plan": PLAN,
        "moments": [
            Moment(first + 10 * n, int(6 <= n < 18), int(6 <= n < 12), 0.0, owners[min(n, 3)]) for n in range(19)
        ],
        "changes": [Change(first + 60, 0, 1, "scaling-wake"), Change(first + 180, 1, 0, "scaling-sleep")],
        "captured": captured,
        "processed": [at + 20 for at in captured],
        "starts": [2.0],
        "exits": [],
        "findings": Findings(),
    }
    return Rehearsed(**{**values, **changes})


def test_the_lag_is_that_of_the_oldest_frame_without_an_outcome() -> None:
    lags = [rehearsed().lag(BEGINS + second) for second in (0, 15, 25, 65, 70)]
    assert lags == [0, 15, 15, 15, 0]


def test_moves_of_leases_are_counted() -> None:
    assert rehearsed().moves == 1


@pytest.mark.parametrize(
    "changes",
    [{"exits": [11]}, {"findings": Findings(problems=["lost"])}, {"moments": rehearsed().moments[:-1]}],
)  # fmt: skip
def test_it_succeeds_where_all_frames_came_and_all_tasks_went(changes: dict[str, Any]) -> None:
    one = Scaling(0, 1, [], {}, None)
    assert rehearsed().succeeded(one)
    assert not rehearsed().succeeded(SCALING)  # of two tasks, one came
    assert not rehearsed(**changes).succeeded(one)


def test_a_course_is_told_by_the_minute_and_held_against_another() -> None:
    seen = course(rehearsed())
    assert seen.minutes == [(0.1, 0, 0, 10), (0.0, 1, 1, 0), (0.0, 1, 0, 0)]
    assert seen.figures == {
        "first read, s after the first frame": 76,
        "most tasks": 1,
        "worst lag, s": 10,
        "caught up, min after the last frame": 0,
        "asleep, min after the last frame": 2,
        "task minutes": 2,
    }
    other = course(rehearsed(processed=[at + 110 for at in rehearsed().captured]))
    assert differences(seen, other) == {
        "tasks, mean difference": 0,
        "minutes with the same number of tasks, %": 100,
        "lag, mean difference in s": 47,
    }
    assert table(seen, other).row_count == 9


def test_what_a_task_was_measured_to_do_is_what_the_forecast_reckons_with() -> None:
    measured = Measured(start_seconds=10, frames_per_second=8)
    shape = measured.shape(PLAN)
    assert [shape.rate(BEGINS + second, 0) for second in (60, 120, 719, 720)] == [0, 0.9, 0.9, 0]
    asleep = forecast(PLAN, SCALING, measured)
    assert [minute[:2] for minute in asleep.minutes[2:4]] == [(1.8, 0), (1.8, 1)]
    # The knock is seen when its minute is over, and the task takes 80 s of CloudWatch's.
    assert asleep.first_read == 80 + 60
