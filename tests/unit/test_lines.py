"""Crossings of lines: whatever trembles, flickers or turns back, an object is counted once or never."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.geometry import Place, crossing, distance
from contract.lines import BAND_OF_DIAGONAL, BAND_OF_HEIGHT, Standing, Step, follow
from contract.shapes import Line
from contract.source_settings import SourceSettings
from kcl_worker.tracking.scene import Scene, SceneState, Shot
from kcl_worker.vision.detections import Detections

WIDTH, HEIGHT = 640, 360
BAND = BAND_OF_DIAGONAL * math.hypot(WIDTH, HEIGHT)
GATE = Line(name="gate", start=(0.5, 0), end=(0.5, 1))
DOOR = Line(name="door", start=(0.5, 0.3), end=(0.5, 0.7))  # can be passed by

fractions = st.floats(0, 1)
places = st.tuples(fractions, fractions)
near_the_middle = st.floats(0.4, 0.6)


def counted(path: Iterable[Place], line: Line = GATE, height: float = 0) -> list[int]:
    """What counts along a path: 1 from left to right, -1 back."""
    standing, before, counts = Standing(), None, []
    for place in path:
        standing, count = follow(standing, Step(before, place, height), line, WIDTH, HEIGHT)
        before = place
        counts += [count] if count else []
    return counts


def crossed(path: Sequence[Place], line: Line) -> list[int]:
    """The steps that really cross."""
    steps = (crossing(before, after, line.start, line.end) for before, after in itertools.pairwise(path))
    return [step for step in steps if step]


@given(st.lists(st.floats(-0.99, 0.99), max_size=50), st.floats(0, 1), st.floats(0, 80))
def test_what_stays_within_the_band_counts_nothing(tremble: list[float], y: float, height: float) -> None:
    band = max(BAND, BAND_OF_HEIGHT * height)
    assert counted([(0.5 + share * band / WIDTH, y) for share in tremble], height=height) == []


@given(st.lists(near_the_middle, max_size=60))
def test_each_change_of_sides_beyond_the_band_counts_once(xs: list[float]) -> None:
    # Small x is on the right of a line that goes down the picture.
    sides = [1 if x < 0.5 else -1 for x in xs if abs(x - 0.5) * WIDTH > BAND]
    changes = [after for before, after in itertools.pairwise(sides) if before != after]
    assert counted([(x, 0.5) for x in xs]) == changes


@given(st.lists(places, max_size=60), st.sampled_from((GATE, DOOR)))
def test_never_more_than_the_real_crossings(path: list[Place], line: Line) -> None:
    counts, real = counted(path, line), crossed(path, line)
    for way in (1, -1):
        assert counts.count(way) <= real.count(way)


@given(st.lists(places, max_size=60))
def test_a_path_whose_net_movement_is_none_counts_as_many_ways_in_as_out(path: list[Place]) -> None:
    there = (0.1, 0.5)
    assert sum(counted([there, *path, there])) == 0
    # Back and forth: no two in the same direction follow each other.
    counts = counted([there, *path])
    assert all(first != second for first, second in itertools.pairwise(counts))


@given(st.lists(st.floats(-0.99, 0.99), max_size=30), st.booleans())
def test_who_hesitates_on_the_line_and_goes_on_counts_once(tremble: list[float], goes_on: bool) -> None:
    on_the_line = [(0.5 + share * BAND / WIDTH, 0.5) for share in tremble]
    assert counted([(0.3, 0.5), *on_the_line, (0.7 if goes_on else 0.3, 0.5)]) == [-1] * goes_on


def test_who_goes_through_a_lines_very_end_counts_the_same_both_ways() -> None:
    for line in (GATE, DOOR):
        for y in (line.start[1], line.end[1]):
            counts = counted([(0.4, y), (0.6, y), (0.4, y), (0.6, y)], line)
            assert counts == [-1, 1, -1]


def test_who_passes_by_the_lines_end_counts_nothing() -> None:
    assert counted([(0.4, 0.5), (0.4, 0.2), (0.6, 0.2), (0.6, 0.5)], DOOR) == []
    assert counted([(0.4, 0.5), (0.6, 0.5), (0.6, 0.2), (0.4, 0.2), (0.4, 0.5), (0.6, 0.5)], DOOR) == [-1, -1]


@pytest.mark.parametrize("line", [Line(name="edge", start=(0, 0.99), end=(1, 0.99)), GATE])
def test_a_line_along_the_pictures_edge_can_be_crossed(line: Line) -> None:
    path = [(0.3, 0.5), (0.3, 0.999)] if line.name == "edge" else [(0.3, 0.5), (0.7, 0.5)]
    assert len(counted(path, line, height=300)) == 1


def test_a_line_that_is_a_point_counts_nothing() -> None:
    point = Line(name="point", start=(0.5, 0.5), end=(0.5, 0.5))
    assert counted([(0.1, 0.1), (0.9, 0.9), (0.1, 0.9)], point) == []


def test_distances_are_in_pixels() -> None:
    assert distance((0.25, 0.9), GATE.start, GATE.end, WIDTH, HEIGHT) == pytest.approx(160)
    assert distance((0.5, 0.25), (0, 0.5), (1, 0.5), WIDTH, HEIGHT) == pytest.approx(-90)


SETTINGS = SourceSettings(tracking=True, lines=(GATE,))


def shot(number: int, x: float, *, seen: bool = True) -> Shot:
    """A person whose feet are at this x, in pixels."""
    boxes = np.array([[x - 20, 100, x + 20, 200]] if seen else np.zeros((0, 4)), np.float32)
    found = Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int32))
    return Shot(f"cam/s/{number:09d}", "s", number / 10, number / 10, found, range(len(boxes)), WIDTH, HEIGHT)


def totals(xs: Sequence[float], hidden: Sequence[int] = (), saved: int | None = None) -> tuple[int, int]:
    """Totals at a path's end; in each frame they are the sum of what was announced until then."""
    scene = Scene(0.5)
    announced = 0, 0
    for number, x in enumerate(xs):
        if number == saved:
            scene = Scene.from_state(SceneState.model_validate_json(scene.state().model_dump_json()), 0.5)
        [line] = scene.add(shot(number, x, seen=number not in hidden), SETTINGS).lines
        announced = announced[0] + line.inward, announced[1] + line.outward
        assert announced == (line.in_total, line.out_total)
    return announced


def test_a_person_who_stands_on_a_line_for_a_minute_is_not_counted() -> None:
    tremble = np.random.default_rng(3).normal(0, 3, 600)
    assert totals([WIDTH / 2 + x for x in tremble]) == (0, 0)


@pytest.mark.parametrize("saved", [None, 30, 50])
def test_a_person_who_comes_stands_and_goes_on_is_counted_once(saved: int | None) -> None:
    tremble = np.random.default_rng(4).normal(0, 3, 40).tolist()
    way = [200 + 6 * n for n in range(20)] + [WIDTH / 2 + x for x in tremble] + [WIDTH / 2 + 6 * n for n in range(20)]
    assert totals(way, saved=saved) == (0, 1)
    flickers = [n for n in range(len(way)) if n % 5 == 3]
    assert totals(way, hidden=flickers, saved=saved) == (0, 1)
    assert totals(way, hidden=range(40, 52), saved=saved) == (0, 1)  # occluded on the line for more than a second
