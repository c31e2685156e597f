"""What drawn zones and lines would have counted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from consumer.trying import try_shapes
from contract.frame import format_time
from contract.shapes import Line, Zone
from contract.source_settings import SourceSettings
from kcl_worker.tracking.scene import Scene, Shot
from kcl_worker.vision.detections import Detections
from tests.happenings import NOON

WIDTH, HEIGHT = 1280, 720
GATE = Line(name="gate", start=(0.0, 0.5), end=(1.0, 0.5))
STEP = Zone(name="step", polygon=((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)))


def seen(number: int, **places: tuple[float, float]) -> dict[str, Any]:
    """A result: where tracks stand."""
    summary = [
        {"class": "person", "conf": 0.9, "bbox": [x - 0.02, y - 0.1, 0.04, 0.1], "track_id": track}
        for track, (x, y) in places.items()
    ]
    return {
        "frame_id": f"door/s/{number:09d}",
        "captured_at": format_time(NOON + timedelta(seconds=number / 5)),
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "summary": summary,
    }


def test_crossings_and_visitors_are_counted_once_whatever_the_order() -> None:
    results = [seen(number, a=(0.3, 0.2 + 0.06 * number), b=(0.6, 0.8 - 0.06 * number)) for number in range(11)]
    tried = try_shapes(list(reversed(results)), [STEP], [GATE])
    assert tried["lines"] == [{"name": "gate", "in": 1, "out": 1}]
    assert tried["zones"] == [{"name": "step", "most": 2, "tracks": 2}]
    assert (tried["frames"], tried["tracks"], tried["since"]) == (11, 2, results[0]["captured_at"])
    turned = Line(name="gate", start=GATE.end, end=GATE.start)
    [_] = [try_shapes(results[:9], [], [turned])["lines"]]
    assert try_shapes(results, [], [turned])["lines"] == [{"name": "gate", "in": 1, "out": 1}]
    assert try_shapes(results[:1], [], [GATE])["lines"] == [{"name": "gate", "in": 0, "out": 0}]


def test_who_trembles_on_a_line_or_has_no_track_crosses_nothing() -> None:
    trembling = [seen(number, a=(0.3, 0.5 + 0.01 * (-1) ** number)) for number in range(20)]
    assert try_shapes(trembling, [], [GATE])["lines"] == [{"name": "gate", "in": 0, "out": 0}]
    for result in (walking := [seen(number, a=(0.3, 0.1 * number)) for number in range(11)]):
        del result["summary"][0]["track_id"]
    tried = try_shapes(walking, [STEP], [GATE])
    assert (tried["lines"][0]["in"], tried["tracks"], tried["zones"][0]["most"]) == (0, 0, 1)
    assert try_shapes([], [STEP], [GATE])["since"] is None


def test_it_counts_what_the_worker_counts() -> None:
    """The same walks through the worker's scene, with the line in its settings."""
    random = np.random.default_rng(5)
    scene, settings = Scene(0.5), SourceSettings(lines=(GATE,))
    ways = [(random.uniform(0.1, 0.9), random.uniform(0, 0.3), random.uniform(0.02, 0.04)) for _ in range(6)]
    results, counted = [], [0, 0]
    for number in range(40):
        boxes = [(x, abs((y + speed * number) % 2 - 1)) for x, y, speed in ways]
        xyxy = np.array([((x - 0.02) * WIDTH, (y - 0.1) * HEIGHT, (x + 0.02) * WIDTH, y * HEIGHT) for x, y in boxes])
        found = Detections(xyxy.astype(np.float32), np.full(6, 0.9, np.float32), np.zeros(6, np.int64))
        shot = Shot(f"door/s/{number}", "s", number / 5, number / 5, found, range(6), WIDTH, HEIGHT)
        told = scene.add(shot, settings)
        tracks, lines = told[0], told[1]
        counted = [counted[0] + lines[0].inward, counted[1] + lines[0].outward]
        result = seen(number, **{f"t{place}": at for place, at in enumerate(boxes)})
        for item, track in zip(result["summary"], tracks, strict=True):
            item["track_id"] = track
        results.append(result)
    assert sum(counted) > 3
    assert try_shapes(results, [], [GATE])["lines"] == [{"name": "gate", "in": counted[0], "out": counted[1]}]
