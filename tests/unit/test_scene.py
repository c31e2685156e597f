"""Tracks, zones and lines, and how they outlive a lease."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import ValidationError

from contract.source_settings import Line, SourceSettings, Zone
from kcl_worker.detections import Detections
from kcl_worker.geometry import crossing, inside
from kcl_worker.scene import Scene, SceneState, Shot, count_zones
from kcl_worker.scenes import Scenes
from kcl_worker.tracker import LOST_SECONDS

WIDTH, HEIGHT, FPS = 640, 360, 10.0
SETTINGS = SourceSettings(tracking=True, lines=(Line(name="gate", start=(0.5, 0), end=(0.5, 1)),))
Seen = tuple[list[str | None], tuple[int, int]]


@dataclass
class Memory:
    """A store that remembers, as S3 does."""

    texts: dict[str, str] = field(default_factory=dict)
    puts: int = 0

    async def put(self, source: str, text: str) -> None:
        self.texts[source] = text
        self.puts += 1

    async def get(self, source: str) -> str | None:
        return self.texts.get(source)


def shot(number: int, *, seconds: float | None = None) -> Shot:
    """Two people who walk towards each other and past, one of them hidden for a while, and a doubtful third."""
    noise = np.random.default_rng(number)
    boxes = [(20 + 5 * number, 100, 0.9), (600 - 5 * number, 220, 0.8), (300, 20, 0.2)]
    if 30 <= number < 38:
        del boxes[1]
    xyxy = np.array([[x, y, x + 40, y + 100] for x, y, _ in boxes], np.float32)
    xyxy += noise.normal(0, 1, xyxy.shape).astype(np.float32)
    confidence = np.array([box[2] for box in boxes], np.float32)
    found = Detections(xyxy, confidence, np.zeros(len(boxes), np.int32))
    shown = [place for place, box in enumerate(boxes) if box[2] >= 0.5]
    return Shot(f"cam/s/{number:09d}", number / FPS if seconds is None else seconds, found, shown, WIDTH, HEIGHT)


def add(scene: Scene, one: Shot) -> Seen:
    ids, [line] = scene.add(one, SETTINGS)
    return ids, (line.in_total, line.out_total)


def film(scene: Scene, numbers: range) -> list[Seen]:
    return [add(scene, shot(number)) for number in numbers]


def test_objects_keep_their_ids_also_when_hidden_and_cross_the_line() -> None:
    seen = film(Scene("cam/s/000000000", 0.5), range(100))
    assert seen[0] == ([None, None], (0, 0))  # a track begins with an object's second frame
    first, second = seen[5][0]
    assert first
    assert second
    assert first != second
    for number, (ids, _) in enumerate(seen[1:], 1):
        assert ids == ([first] if 30 <= number < 38 else [first, second])
    assert seen[-1][1] == (1, 1)  # one goes right, one left


def test_a_scene_goes_on_from_its_state_as_if_nothing_had_been() -> None:
    whole = film(Scene("cam/s/000000000", 0.5), range(100))
    for cut in (1, 2, 20, 33, 50, 99):
        scene = Scene("cam/s/000000000", 0.5)
        film(scene, range(cut))
        text = scene.state().model_dump_json()
        restored = Scene.from_state(SceneState.model_validate_json(text), 0.5)
        assert film(restored, range(cut, 100)) == whole[cut:]
    assert len(text) < 8000


def test_after_a_long_gap_objects_are_others() -> None:
    scene = Scene("a", 0.5)
    before = film(scene, range(10))[-1][0]
    # Later; then a camera whose clock was set back.
    for number, seconds in ((11, 1.2 + LOST_SECONDS), (13, 1.0)):
        add(scene, shot(number, seconds=seconds))
        after, _ = add(scene, shot(number + 1, seconds=seconds + 0.1))
        assert not set(after) & set(before)
        assert None not in after
        before = after


def test_times_that_do_not_grow_do_no_harm() -> None:
    scene = Scene("a", 0.5)
    seen = [add(scene, shot(number, seconds=100.0))[0] for number in range(4)]
    assert seen[1] == seen[2] == seen[3]
    assert None not in seen[1]


async def frames(scenes: Scenes, numbers: range) -> list[Seen]:
    seen = []
    for number in numbers:
        one = shot(number)
        seen.append(add(await scenes.of("cam", one.frame_id, (1000 + number, 0), 0.5), one))
    return seen


async def test_ids_outlive_a_lease() -> None:
    whole = film(Scene("cam/s/000000000", 0.5), range(100))
    memory = Memory()
    scenes = Scenes(memory)  # type: ignore[arg-type]
    await frames(scenes, range(40))
    await scenes.save()
    await frames(scenes, range(40, 60))
    await scenes.save()
    await scenes.save()
    assert memory.puts == 2  # nothing has changed
    await frames(scenes, range(60, 70))  # and then it is killed
    # The checkpoint at frame 59 was made, or it was not, or the worker before has stored later than ours.
    for again in (60, 40, 65):
        assert await frames(Scenes(memory), range(again, 100)) == whole[again:] or again == 65  # type: ignore[arg-type]
    late = await frames(Scenes(memory), range(65, 100))  # type: ignore[arg-type]
    assert [ids for ids, _ in late] == [ids for ids, _ in whole[65:]]


@pytest.mark.parametrize("text", ["", "{}", '{"snapshots": 7}', '{"snapshots": []}', "\0"])
async def test_a_state_that_cannot_be_used_costs_no_more_than_ids(text: str, caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory({"cam": text})
    seen = await frames(Scenes(memory), range(3))  # type: ignore[arg-type]
    assert None not in seen[-1][0]
    assert ("begin anew" in caplog.text) == (text != '{"snapshots": []}')


async def test_another_threshold_keeps_the_tracks() -> None:
    scenes = Scenes(None)
    before = await frames(scenes, range(10))
    scene = await scenes.of("cam", "x", (1010, 0), 0.7)
    assert add(scene, shot(10))[0] == before[-1][0]


def test_places_in_zones() -> None:
    square = ((0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6))
    assert inside((0.4, 0.4), square)
    assert inside((0.2, 0.3), square)  # the edge
    assert not inside((0.61, 0.4), square)
    boxes = np.array([[100, 50, 200, 150], [100, 50, 200, 300], [500, 0, 600, 10]], np.float32)
    found = Detections(boxes, np.ones(3, np.float32), np.array([0, 1, 0], np.int32))
    [count] = count_zones((Zone(name="door", polygon=square),), found, ("cat", "dog"), WIDTH, HEIGHT)
    assert (count.name, count.count, count.classes) == ("door", 1, {"cat": 1})  # the dog's feet are below it
    [none] = count_zones((Zone(name="door", polygon=square),), Detections.empty(), ("cat",), WIDTH, HEIGHT)
    assert (none.count, none.classes) == (0, {})


STEPS = [
    ((0.4, 0.5), (0.6, 0.5), -1),  # the line goes down the picture, where the right-hand side is that of small x
    ((0.6, 0.5), (0.4, 0.5), 1),
    ((0.6, 0.5), (0.9, 0.5), 0),
    ((0.4, 0.05), (0.6, 0.05), 0),  # past its end
    ((0.5, 0.5), (0.4, 0.5), 1),  # a step that began on the line
    ((0.6, 0.5), (0.6, 0.5), 0),
]


@pytest.mark.parametrize(("before", "after", "expected"), STEPS)
def test_steps_across_a_line(before: tuple[float, float], after: tuple[float, float], expected: int) -> None:
    assert crossing(before, after, (0.5, 0.1), (0.5, 0.9)) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"zones": [{"name": "a", "polygon": [[0, 0], [1, 1]]}]}',
        '{"zones": [{"name": "a b", "polygon": [[0, 0], [1, 1], [0, 1]]}]}',
        '{"lines": [{"name": "a", "start": [0, 0], "end": [1, 2]}]}',
        '{"confidence_threshold": 2}',
        '{"classes": []}',
        '{"colour": "red"}',
        "[]",
        "nothing",
    ],
)
def test_settings_that_mean_nothing_are_refused_with_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        SourceSettings.parse(text, ("cat",))
    assert not isinstance(caught.value, ValidationError)
    assert "\n" not in str(caught.value)


def test_classes_are_those_of_the_model() -> None:
    with pytest.raises(ValueError, match="classes: horse: the model knows cat, dog"):
        SourceSettings.parse('{"classes": ["cat", "horse"]}', ("cat", "dog"))
    line = '{"name": "a", "start": [0, 0], "end": [1, 1]}'
    with pytest.raises(ValueError, match="the same name twice"):
        SourceSettings.parse(f'{{"lines": [{line}, {line}]}}', ())
    assert SourceSettings.parse(f'{{"lines": [{line}]}}', ()).tracks
