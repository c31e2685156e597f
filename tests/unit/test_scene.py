"""Tracks, zones and lines, and how they outlive a lease."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from pydantic import ValidationError

from contract.geometry import crossing, inside
from contract.shapes import Line, Zone
from contract.source_settings import SourceSettings
from kcl_worker.tracking import scene_store
from kcl_worker.tracking.clock import LOST_SECONDS
from kcl_worker.tracking.pace import Pace
from kcl_worker.tracking.scene import MAX_SESSIONS, Scene, SceneState, Shot, count_zones
from kcl_worker.tracking.scene_archive import FORGET_SECONDS
from kcl_worker.tracking.scene_store import SIBLING_SECONDS, Kin, SceneStore
from kcl_worker.tracking.snapshots import Moment, ShardScenes
from kcl_worker.tracking.tracker import Tracker
from kcl_worker.vision.detections import Detections

WIDTH, HEIGHT, FPS = 640, 360, 10.0
SETTINGS = SourceSettings(tracking=True, lines=(Line(name="gate", start=(0.5, 0), end=(0.5, 1)),))
CLASSES = ("person",)
Seen = tuple[list[str | None], tuple[int, int]]


@dataclass
class Memory:
    """A store that remembers, as S3 does."""

    texts: dict[str, str] = field(default_factory=dict)
    puts: int = 0
    gets: int = 0

    async def put(self, name: str, text: str) -> None:
        self.texts[name] = text
        self.puts += 1

    async def get(self, name: str) -> str | None:
        self.gets += 1
        return self.texts.get(name)


def shot(number: int, *, seconds: float | None = None) -> Shot:
    """Two people who walk past each other, one of them hidden for a while, and a doubtful third detection."""
    noise = np.random.default_rng(number)
    boxes = [(20 + 5 * number, 100, 0.9), (600 - 5 * number, 220, 0.8), (300, 20, 0.2)]
    if 30 <= number < 38:
        del boxes[1]
    xyxy = np.array([[x, y, x + 40, y + 100] for x, y, _ in boxes], np.float32)
    xyxy += noise.normal(0, 1, xyxy.shape).astype(np.float32)
    confidence = np.array([box[2] for box in boxes], np.float32)
    found = Detections(xyxy, confidence, np.zeros(len(boxes), np.int32))
    shown = [place for place, box in enumerate(boxes) if box[2] >= 0.5]
    at = number / FPS if seconds is None else seconds
    return Shot(f"cam/s/{number:09d}", "s", at, at, found, shown, WIDTH, HEIGHT)


def add(scene: Scene, one: Shot) -> Seen:
    traced = scene.add(one, SETTINGS)
    [line] = traced.lines
    return [traced.ids[place] for place in one.shown], (line.in_total, line.out_total)


def film(scene: Scene, numbers: range) -> list[Seen]:
    return [add(scene, shot(number)) for number in numbers]


def test_objects_keep_their_ids_also_when_hidden_and_cross_the_line() -> None:
    seen = film(Scene(0.5), range(100))
    assert seen[0] == ([None, None], (0, 0))  # a track begins with an object's second frame
    first, second = seen[5][0]
    assert first
    assert second
    assert first != second
    for number, (ids, _) in enumerate(seen[1:], 1):
        assert ids == ([first] if 30 <= number < 38 else [first, second])
    assert seen[-1][1] == (1, 1)  # one goes right, one left


def test_a_scene_goes_on_from_its_state_as_if_nothing_had_been() -> None:
    whole = film(Scene(0.5), range(100))
    for cut in (1, 2, 20, 33, 50, 57, 60, 62, 99):
        scene = Scene(0.5)
        film(scene, range(cut))
        text = scene.state().model_dump_json()
        restored = Scene.from_state(SceneState.model_validate_json(text), 0.5)
        assert film(restored, range(cut, 100)) == whole[cut:]
    assert len(text) < 8000


def test_after_a_long_gap_objects_are_others() -> None:
    scene = Scene(0.5)
    before = film(scene, range(10))[-1][0]
    add(scene, shot(11, seconds=1.2 + LOST_SECONDS))
    after, _ = add(scene, shot(12, seconds=1.3 + LOST_SECONDS))
    assert not set(after) & set(before)
    assert None not in after


@pytest.mark.parametrize("leap", [-3600.0, -5.0, 5.0, 3600.0])
def test_a_cameras_clock_that_leaps_is_not_believed(leap: float) -> None:
    """Nobody was out of sight: the stream has had all frames in time."""
    scene = Scene(0.5)
    before = film(scene, range(10))[-1][0]
    for number in range(10, 20):
        one = shot(number)
        assert add(scene, replace(one, at=one.at + leap))[0] == before
    for number in range(20, 30):  # and back
        assert add(scene, shot(number))[0] == before


def test_frames_that_come_late_and_at_once_keep_their_tracks() -> None:
    scene = Scene(0.5)
    before = film(scene, range(10))[-1][0]
    for number in range(10, 30):
        assert add(scene, replace(shot(number), arrived=10.0))[0] == before


def test_two_producers_of_one_name_do_not_mix() -> None:
    """In turns, they show different places. Each has the tracks that it would have alone; the totals are the sum."""
    alone, both = Scene(0.5), Scene(0.5)
    for number in range(100):
        one, other = shot(number), shot(99 - number)
        other = replace(other, frame_id=f"cam/t/{number:09d}", session="t", at=one.at + 1e6, arrived=one.arrived + 0.05)
        expected, totals = add(alone, one)
        if number == 50:
            both = Scene.from_state(SceneState.model_validate_json(both.state().model_dump_json()), 0.5)
        assert add(both, one)[0] == expected
        theirs, sums = add(both, other)
        assert not (set(theirs) - {None}) & set(expected)
    assert totals == (1, 1)
    assert sums == (2, 2)


def test_sessions_that_have_ended_are_dropped_and_those_at_a_time_are_few() -> None:
    scene = Scene(0.5)
    for number in range(50):
        add(scene, replace(shot(number), session=str(number)))
    assert len(scene.state().trackers) == MAX_SESSIONS
    add(scene, replace(shot(100), session="later"))
    assert set(scene.state().trackers) == {"later"}
    assert not scene.state().places


def test_times_that_do_not_grow_do_no_harm() -> None:
    scene = Scene(0.5)
    seen = [add(scene, shot(number, seconds=100.0))[0] for number in range(4)]
    assert seen[1] == seen[2] == seen[3]
    assert None not in seen[1]


HERE, THERE = "shardId-000000000000", "shardId-000000000001"


def store(memory: Memory, shard_id: str = HERE) -> SceneStore:
    return SceneStore(memory, shard_id, class_names=CLASSES)  # type: ignore[arg-type]


async def frames(scenes: SceneStore, numbers: range, *, source: str = "cam", shard_id: str = HERE) -> list[Seen]:
    """Frames of a session, whose sequence numbers begin anew in each shard."""
    seen = []
    for number in numbers:
        one = replace(shot(number), frame_id=f"{source}/s/{number:09d}")
        moment = Moment(shard_id=shard_id, at=place(number, shard_id), frame_id=one.frame_id, arrived=number / FPS)
        ids, [line], *_ = await scenes.add(source, moment, one, SETTINGS, 0.5)
        seen.append((ids, (line.in_total, line.out_total)))
    return seen


def place(number: int, shard_id: str = HERE) -> tuple[int, int]:
    return (1000 if shard_id == HERE else 5) + number, 0


async def save(scenes: SceneStore, number: int, shard_id: str = HERE) -> None:
    """A checkpoint at a frame."""
    scenes.settle(place(number, shard_id))
    await scenes.save()


async def test_ids_outlive_a_lease() -> None:
    whole = film(Scene(0.5), range(100))
    memory = Memory()
    scenes = store(memory)
    await frames(scenes, range(40))
    await save(scenes, 39)
    await frames(scenes, range(40, 60))
    puts = memory.puts
    await save(scenes, 59)
    await scenes.save()
    assert memory.puts == puts + 1  # nothing has changed
    await frames(scenes, range(60, 70))  # and then it is killed
    # The checkpoint at frame 59 was made, or it was not, or the previous worker has stored its state later.
    for again in (60, 40, 65):
        assert await frames(store(memory), range(again, 100)) == whole[again:] or again == 65
    late = await frames(store(memory), range(65, 100))
    assert [ids for ids, _ in late] == [ids for ids, _ in whole[65:]]


async def test_what_is_stored_is_as_of_the_checkpoint_though_later_frames_were_seen() -> None:
    whole = film(Scene(0.5), range(100))
    memory = Memory()
    scenes = store(memory)
    for first in range(0, 60, 20):
        await frames(scenes, range(first, first + 20))
        await save(scenes, first + 12)  # seven more are at work
        assert await frames(store(memory), range(first + 13, 100)) == whole[first + 13 :]
    # The last checkpoint was not made.
    assert await frames(store(memory), range(33, 100)) == whole[33:]


async def test_nothing_is_stored_of_a_source_whose_frames_are_still_at_work() -> None:
    memory = Memory()
    scenes = store(memory)
    await frames(scenes, range(5))
    await frames(scenes, range(6, 10), source="other")
    await save(scenes, 4)
    assert set(ShardScenes.model_validate_json(memory.texts[f"shards/{HERE}"]).sources) == {"cam"}


async def test_a_checkpoint_costs_one_request_whatever_the_number_of_sources() -> None:
    memory = Memory()
    scenes = store(memory)
    for number in range(3):
        for camera in range(20):
            await frames(scenes, range(number, number + 1), source=f"cam{camera}")
        before = memory.puts
        await save(scenes, number)
        assert memory.puts - before == (1 if number else 1 + 20)  # at first, where each of the sources is


async def test_a_source_that_moves_to_another_shard_takes_its_scene_along() -> None:
    whole = film(Scene(0.5), range(100))
    memory = Memory()
    old, new = store(memory), store(memory, THERE)
    await frames(old, range(40))
    await frames(old, range(1), source="neighbour")
    await save(old, 39)
    # Sequence numbers there are smaller: they say nothing about those here.
    assert await frames(new, range(40, 70), shard_id=THERE) == whole[40:70]
    await save(new, 60, THERE)
    assert await frames(store(memory, THERE), range(61, 100), shard_id=THERE) == whole[61:]
    assert await frames(store(memory, THERE), range(40, 100), shard_id=THERE) == whole[40:]
    # The old shard is read again from the checkpoint before: what the new one has stored is later, and not meant.
    assert await frames(store(memory), range(40, 50)) == whole[40:50]


async def test_shards_of_one_task_hand_a_source_over_as_of_its_last_frame() -> None:
    whole = film(Scene(0.5), range(100))
    memory, held = Memory(), dict[str, SceneStore]()
    for shard_id in (HERE, THERE):
        held[shard_id] = SceneStore(memory, shard_id, held, CLASSES)  # type: ignore[arg-type]
    await frames(held[HERE], range(30))
    await save(held[HERE], 29)
    await frames(held[HERE], range(30, 40))  # not checkpointed yet
    assert await frames(held[THERE], range(40, 100), shard_id=THERE) == whole[40:]
    await save(held[THERE], 99, THERE)
    # The next owner has it from there alone.
    assert await frames(store(memory, THERE), range(40, 100), shard_id=THERE) == whole[40:]


async def test_a_camera_that_was_elsewhere_comes_back_with_what_it_had_there() -> None:
    """Each time its producer begins anew, with another number of cameras."""
    memory = Memory()
    stores = {HERE: store(memory), THERE: store(memory, THERE)}
    totals = []
    for visit, shard_id in enumerate((HERE, THERE, HERE)):
        scenes = stores[shard_id]
        for number in range(100):
            seconds = visit * 100 + number / FPS
            one = replace(shot(number, seconds=seconds), frame_id=f"cam/s{visit}/{number:09d}", session=f"s{visit}")
            at = visit * 100 + number, 0
            moment = Moment(shard_id=shard_id, at=at, frame_id=one.frame_id, arrived=one.at)
            _, [line], *_ = await scenes.add("cam", moment, one, SETTINGS, 0.5)
        scenes.settle(at)
        await scenes.save()
        totals.append((line.in_total, line.out_total))
    assert totals == [(1, 1), (2, 2), (3, 3)]


async def test_two_cameras_of_one_name_are_looked_up_once() -> None:
    memory = Memory()
    scenes = store(memory)
    for number in range(10):
        one = shot(number)
        frame_id = f"cam/s{number % 2}/{number:09d}"
        moment = Moment(shard_id=HERE, at=place(number), frame_id=frame_id, arrived=number / FPS)
        await scenes.add("cam", moment, one, SETTINGS, 0.5)
    assert memory.gets == 3  # the shard's scenes once, and for each session where the source was


async def test_sources_that_are_long_gone_are_forgotten() -> None:
    memory = Memory()
    scenes = store(memory)
    await frames(scenes, range(2), source="gone")
    await frames(scenes, range(2), source="there")
    await save(scenes, 1)
    later = int(FORGET_SECONDS * FPS) + 10
    await frames(scenes, range(later, later + 2), source="there")
    await save(scenes, later + 1)
    assert set(ShardScenes.model_validate_json(memory.texts[f"shards/{HERE}"]).sources) == {"there"}


@pytest.mark.parametrize("name", [f"shards/{HERE}", "sources/cam"])
@pytest.mark.parametrize("text", ["", "[]", '{"sources": 7, "shard_id": 7}', '{"sources": {}, "shard_id": "x"}', "\0"])
async def test_a_state_that_cannot_be_used_costs_no_more_than_ids(
    name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen = await frames(store(Memory({name: text})), range(3))
    assert None not in seen[-1][0]
    assert ("begin anew" in caplog.text) == (text != '{"sources": {}, "shard_id": "x"}')


async def test_another_threshold_keeps_the_tracks() -> None:
    scenes = SceneStore(None, HERE, class_names=CLASSES)
    before = await frames(scenes, range(10))
    moment = Moment(shard_id=HERE, at=place(10), frame_id="cam/s/000000010", arrived=1.0)
    assert (await scenes.add("cam", moment, shot(10), SETTINGS, 0.7))[0] == before[-1][0]


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
    ((0.4, 0.5), (0.6, 0.5), -1),  # the line goes down the picture, so small x is on its right-hand side
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


@pytest.mark.parametrize("fps", [10, 5, 2.5])
def test_tracks_live_as_long_with_a_slow_camera(fps: float) -> None:
    """People walk side by side, and their boxes tremble; each keeps the one track that it got in its second frame."""
    random = np.random.default_rng(0)
    tracker, ids = Tracker("door/s/0", 0.5), set[str]()
    for number in range(round(40 * fps)):
        at = number / fps
        left = np.array([[100 * place + 30 * at, 200 + 4 * at] for place in range(6)])
        boxes = np.hstack((left, left + np.array([40, 110]))) + random.normal(0, 3, (6, 4))
        people = Detections(boxes.astype(np.float32), np.full(6, 0.9, np.float32), np.zeros(6, np.int32))
        ids |= {track for track in tracker.update(f"door/s/{number}", at, at, people) if track}
        tracker = Tracker.from_state(tracker.state(), 0.5)
    assert len(ids) == 6


def moment(number: int, source: str = "cam", session: str = "s") -> Moment:
    frame_id = f"{source}/{session}/{number:09d}"
    return Moment(shard_id=HERE, at=place(number), frame_id=frame_id, arrived=number / FPS)


async def test_sources_without_a_picture_are_forgotten_behind_one_that_has_something_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scene_store, "MAX_SOURCES", 20)
    scenes = SceneStore(None, HERE, class_names=CLASSES)
    silent = SourceSettings.model_validate({"events": [{"name": "offline", "kind": "silent", "seconds": 60}]})
    await scenes.add("cam", moment(0), shot(0), silent, 0.5)
    assert scenes.knows("cam")
    for number in range(1, 100):
        pace = Pace(at=number / FPS, arrived=number / FPS)
        scenes.settle(place(number))
        await scenes.pass_by(f"cam-{number}", moment(number, f"cam-{number}"), "s", pace, SourceSettings(), 0.5)
    assert scenes.last("cam")
    assert sum(scenes.last(f"cam-{number}") is not None for number in range(1, 100)) <= 20


async def test_a_child_tells_no_silence_before_its_sibling_is_read() -> None:
    """A source of their parent may have gone on in either; the sibling may be behind, or not be read yet."""
    memory, held, sibling = Memory(), dict[str, SceneStore](), "shardId-000000000002"
    silent = SourceSettings.model_validate({"events": [{"name": "offline", "kind": "silent", "seconds": 60}]})
    await (parent := store(memory)).add("cam", moment(0), shot(0), silent, 0.5)
    await save(parent, 0)

    async def kin_of(shard_id: str) -> Kin:
        return Kin((HERE,), (sibling,))

    def due(now: float) -> list[str]:
        return child.due(now, lambda _: silent)

    child = held[THERE] = SceneStore(memory, THERE, held, CLASSES)  # type: ignore[arg-type]
    await child.adopt(kin_of)
    assert due(100) == []
    assert due(SIBLING_SECONDS + 1) == ["cam"]  # nobody waits for it for ever
    held[sibling] = SceneStore(memory, sibling, held, CLASSES)  # type: ignore[arg-type]
    held[sibling].read_until = 60.0
    assert due(100) == []
    held[sibling].read_until = 100.0
    assert due(100) == ["cam"]
    assert [change.phase for change in child.rest("cam", 100, silent).changes] == ["start"]


async def test_a_source_is_whole_that_goes_elsewhere_while_its_next_frame_is_looked_at() -> None:
    held: dict[str, SceneStore] = {}
    here, there = held[HERE], held[THERE] = SceneStore(None, HERE, held), SceneStore(None, THERE, held)
    await here.add("cam", moment(0), shot(0), SETTINGS, 0.5)
    later = moment(1).model_copy(update={"shard_id": THERE, "at": place(1, THERE)})
    await there.add("cam", later, shot(1), SETTINGS, 0.5)

    async def look() -> Shot:
        await here.drop_if_elsewhere("cam")
        return shot(2)

    unseen = replace(shot(2), pace=Pace(at=0.2, arrived=0.2, since=1))
    await here.add("cam", moment(2), unseen, SETTINGS, 0.5, look)
    last = here.last("cam")
    assert last
    assert last.frame_id == "cam/s/000000002"


def test_sessions_that_show_nothing_take_no_pace_from_one_that_does() -> None:
    scene, pace = Scene(0.5), Pace(at=0, arrived=0)
    scene.add(replace(shot(0), pace=pace), SETTINGS)
    for number in range(3 * MAX_SESSIONS):
        scene.pass_by(f"none-{number}", pace)
    paces = scene.state().paces
    assert paces["s"] == pace
    assert len(paces) == 1 + MAX_SESSIONS
