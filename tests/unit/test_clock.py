"""Times of streams: stamps are believed while they keep the clock's pace, and no longer."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.clock import Clock
from contract.source_settings import SourceSettings
from kcl_worker.tracking.scene import Scene
from kcl_worker.tracking.scene import Shot as SceneShot
from kcl_worker.vision.detections import Detections
from producer.clock import LEAP_SECONDS, WINDOW_SECONDS, HostClock, StreamClock

EPOCH = 1_700_000_000.0
# Stamps are measured for two windows; a picture at least is in each.
PROBATION_SECONDS = 2 * WINDOW_SECONDS + 2
# While nobody knows yet that stamps are wrong.
WRONG_SECONDS = 3 * LEAP_SECONDS


@dataclass(frozen=True)
class Shot:
    """A picture: when it was taken, what its stream says of that, and when it arrives."""

    taken: float
    stamp: float | None
    arrived: float


def film(fps: float, seconds: float, jitter: float = 0.0, seed: int = 0, drift: float = 0.0) -> list[Shot]:
    """What a camera sends whose stamps are right; the network delivers in order."""
    delays, arrived = random.Random(seed), 0.0
    shots = []
    for number in range(int(fps * seconds)):
        taken = number / fps
        arrived = max(arrived, taken + 0.02 + delays.uniform(0, jitter))
        shots.append(Shot(taken, 7000 + taken * (1 + drift), arrived))
    return shots


def stamped(shots: Iterable[Shot], clock: StreamClock | None = None) -> Iterator[tuple[Shot, float]]:
    """Each picture with the error of its time; asserts that no time runs backwards or ahead of the clock."""
    clock = clock or StreamClock()
    before = float("-inf")
    for shot in shots:
        at = clock.captured_at(shot.stamp, EPOCH + shot.arrived).timestamp() - EPOCH
        assert before <= at <= shot.arrived + 1e-5
        before = at
        yield shot, at - shot.taken


rates = st.sampled_from([1.0, 5.0, 12.5, 25.0])


@settings(deadline=None)
@given(rates, st.floats(0, 0.15), st.integers(0, 1000), st.sampled_from([-1e-4, 0.0, 1e-4]))
def test_stamps_that_keep_the_pace_make_times_even(fps: float, jitter: float, seed: int, drift: float) -> None:
    errors = [error for shot, error in stamped(film(fps, 60, jitter, seed, drift)) if shot.taken > PROBATION_SECONDS]
    assert min(errors) > 0
    assert max(errors) <= 0.02 + jitter + 1e-5
    if fps >= 12.5:
        assert max(errors) - min(errors) < 0.03 + jitter / 4  # of delays that reach `jitter`


@settings(deadline=None)
@given(rates, rates, st.floats(0, 0.15), st.integers(0, 1000))
def test_invented_stamps_are_not_believed(fps: float, invented: float, jitter: float, seed: int) -> None:
    shots = [Shot(shot.taken, n / invented, shot.arrived) for n, shot in enumerate(film(fps, 40, jitter, seed))]
    for _, error in stamped(shots):
        assert 0 < error <= 0.02 + jitter + 1e-5


@pytest.mark.parametrize("counted", [24, 25.5, 30])
def test_a_rate_that_is_nearly_right_is_not_right(counted: float) -> None:
    shots = [Shot(shot.taken, n / counted, shot.arrived) for n, shot in enumerate(film(25, 120, 0.05))]
    assert all(error < 0.08 for _, error in stamped(shots))


@settings(deadline=None)
@given(rates, st.floats(1, 9), st.integers(20, 40))
def test_a_burst_after_a_stall_keeps_its_times(fps: float, stall: float, begins: int) -> None:
    shots, arrived = list[Shot](), 0.0
    for shot in film(fps, 60, 0.01):
        late = begins + stall if begins <= shot.arrived < begins + stall else shot.arrived
        arrived = max(late, arrived + 0.001)
        shots.append(Shot(shot.taken, shot.stamp, arrived))
    for shot, error in stamped(shots):
        assert shot.taken < PROBATION_SECONDS or 0 < error < 0.04


def repeated(stamp: float) -> float:
    return 7020.0


def backwards(stamp: float) -> float:
    return 14040 - stamp


def ahead(stamp: float) -> float:
    return stamp + 3600


def again(stamp: float) -> float:
    return stamp - 7020


def slower(stamp: float) -> float:
    return 7020 + (stamp - 7020) / 5


def faster(stamp: float) -> float:
    return 7020 + (stamp - 7020) * 5


@pytest.mark.parametrize("claim", [repeated, backwards, ahead, again, slower, faster])
@pytest.mark.parametrize("fps", [1, 5, 12.5, 25])
def test_stamps_that_go_wrong_are_given_up(fps: float, claim: object) -> None:
    """They were right for twenty seconds."""
    assert callable(claim)
    shots = [
        Shot(shot.taken, claim(shot.stamp) if shot.taken > 20 else shot.stamp, shot.arrived)
        for shot in film(fps, 60, 0.05)
    ]
    for shot, error in stamped(shots):
        if 20 <= shot.taken <= 20 + WRONG_SECONDS:
            assert -WRONG_SECONDS < error < 0.08
        else:
            assert 0 < error < 0.08


@pytest.mark.parametrize("leap", [3600.0, -3600.0, 0.7, -0.7])
def test_a_single_wrong_stamp_harms_no_more_than_a_window_or_two(leap: float) -> None:
    shots = film(10, 60, 0.05)
    shots[300] = Shot(shots[300].taken, (shots[300].stamp or 0) + leap, shots[300].arrived)
    for shot, error in stamped(shots):
        assert error < 0.08
        assert error > -1.0 if 29 < shot.taken < 30 + PROBATION_SECONDS else error > 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.none() | st.floats(-1e9, 1e9), st.floats(0, 100)), max_size=200))
def test_whatever_a_stream_says_times_never_run_backwards_or_ahead(claims: list[tuple[float | None, float]]) -> None:
    arrived = 0.0
    shots = []
    for stamp, seconds in claims:
        arrived += seconds
        shots.append(Shot(arrived, stamp, arrived))
    for _ in stamped(shots):
        pass


@pytest.mark.parametrize("fps", [5, 12.5, 25])
def test_a_walker_before_a_camera_whose_stamps_are_invented_is_one_person(fps: float) -> None:
    shots = [Shot(shot.taken, n / 25, shot.arrived) for n, shot in enumerate(film(fps, 22, 0.05))]
    scene, ids = Scene(0.5), set[str | None]()
    for number, (shot, error) in enumerate(stamped(shots)):
        x = 20 + 25 * shot.taken
        walker = Detections(
            np.array([[x, 100, x + 40, 200]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int32)
        )
        frame = SceneShot(f"a/s/{number}", "s", shot.taken + error, shot.arrived, walker, [0], 640, 360)
        found = scene.add(frame, SourceSettings(tracking=True)).ids
        ids.update(found)
    assert len(ids - {None}) == 1


def test_a_stream_that_begins_again_is_measured_again() -> None:
    clock = StreamClock()
    for _, error in stamped(film(10, 30), clock):
        assert error > 0
    clock.begin()
    later = [Shot(shot.taken + 40, shot.stamp, shot.arrived + 40) for shot in film(10, 30)]
    assert all(0 < error < 0.03 for _, error in stamped(later, clock))


def test_the_hosts_time_goes_on_where_its_clock_is_set_back_and_leaps_where_it_is_set_ahead() -> None:
    wall, ticks = [1000.0], [5.0]
    clock = HostClock(lambda: wall[0], lambda: ticks[0])
    assert clock.now() == 1000
    for change, expected in (1, 1001), (-3600, 1002), (1, 1003), (86400, 83802):
        wall[0], ticks[0] = wall[0] + change, ticks[0] + 1
        assert clock.now() == expected


def test_once_a_service_has_told_its_time_a_step_of_this_machines_clock_changes_nothing() -> None:
    """A machine without a clock of its own starts a day behind; later NTP sets it right."""
    true, behind, ticks = datetime(2026, 1, 2, 12, tzinfo=UTC), timedelta(days=1), 0.0
    services = Clock(lambda: true - behind, lambda: ticks)
    host = HostClock(lambda: services.now().timestamp(), lambda: ticks)
    assert host.now() == (true - behind).timestamp()  # nothing was told yet
    services.learn(format_datetime(true, usegmt=True))
    assert services.skew == behind
    for change in timedelta(days=1), timedelta(), timedelta(), timedelta(hours=-1):
        behind = change
        true, ticks = true + timedelta(seconds=10), ticks + 10
        assert services.now() == true
        assert host.now() == true.timestamp()
    behind = timedelta()
    services.learn(format_datetime(true, usegmt=True))  # the machine's clock is right, and finer than a `Date`
    assert services.skew == timedelta()
    true += timedelta(milliseconds=300)
    assert services.now() == true
    behind = timedelta(hours=-2)
    services.learn(format_datetime(true.replace(microsecond=0), usegmt=True))
    assert services.now() == true.replace(microsecond=0)
