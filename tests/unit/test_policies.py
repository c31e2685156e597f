"""What a source's settings have stored, announced, counted and hidden."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Frame, Metadata, Position, embed
from contract.event import EventMessage
from contract.message import QuarantineMessage, ResultMessage, TallyMessage
from contract.source_settings import SourceSettings
from kcl_worker.held import STATE_BYTES, HeldMemory
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.leased_shard import LeasedShard
from kcl_worker.record import Record
from kcl_worker.storing.caller import Caller
from kcl_worker.storing.sinks import StateStore
from kcl_worker.tracking.events import MARGIN_SECONDS, SILENCE_SECONDS
from kcl_worker.vision.compute import Compute
from kcl_worker.vision.detections import Detections, Image
from local.resources import Resources
from tests.pictures import street_jpeg
from tests.unit.test_pipeline import NOW, SHARD, Oracle, messages, running

FPS = 10
SIZE = 160, 96  # width and height
CAT = (16, 16, 80, 64)
RULE = {"name": "cat", "kind": "appear", "classes": ["cat"]}


class Sighted(Oracle):
    """Finds the cat where the picture is bright there."""

    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        if image[32, 32].mean() < 100:
            return Detections.empty()
        return Detections(np.array([CAT], np.float32), np.array([0.75], np.float32), np.array([0], np.int32))


def picture(number: int, *, cat: bool) -> bytes:
    image = np.full((SIZE[1], SIZE[0], 3), 10, np.uint8)
    if cat:
        x1, y1, x2, y2 = CAT
        image[y1:y2, x1:x2] = 220
        image[20:60:4, 20:76] = 120
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    return embed(jpeg, Metadata("cam", "s", number, NOW + timedelta(seconds=number / FPS)))


def records(pattern: str, start: int = 0) -> list[Record]:
    """Ten frames a second: `x` with a cat, `.` without, `!` no picture."""
    turns = Turns()
    return [
        Record(
            b"no picture" if letter == "!" else picture(number, cat=letter == "x"),
            Position(SHARD, str(1000 + number), "cam", NOW + timedelta(seconds=number / FPS)),
            turns.next(),
        )
        for number, letter in enumerate(pattern, start)
    ]


@dataclass
class Outcome:
    stored: list[int]
    announced: list[int]
    results: list[ResultMessage]
    tallies: list[TallyMessage]
    events: list[EventMessage]
    keys: list[str]


def outcome(resources: Resources) -> Outcome:
    """What came of it all."""
    bodies = [json.loads(body) for body in messages(resources, resources.queue_url)]
    results = [ResultMessage.model_validate(body) for body in bodies if "kind" not in body]
    listing = resources.client("s3").list_objects_v2(Bucket=resources.bucket).get("Contents", [])
    keys = [found["Key"] for found in listing]
    return Outcome(
        sorted(int(key[-13:-4]) for key in keys if key.startswith("frames/")),
        sorted(result.frame_index or 0 for result in results),
        results,
        [TallyMessage.model_validate(body) for body in bodies if body.get("kind") == "tally"],
        [EventMessage.model_validate_json(body) for body in messages(resources, resources.events_url)],
        keys,
    )


def states(resources: Resources) -> StateStore:
    return StateStore(resources.client("s3"), resources.bucket, "app", Caller())


@asynccontextmanager
async def leased(
    resources: Resources, settings_of: Callable[[str], SourceSettings], **changes: Any
) -> AsyncIterator[LeasedShard]:
    """A worker that remembers, with a shard."""
    async with running(
        resources, settings_of=settings_of, detector=Sighted(), states=states(resources), **changes
    ) as (shard, *_):  # fmt: skip
        yield shard


async def rest(shard: LeasedShard, seconds: float) -> None:
    """The end of the shard is read, so long after NOW."""
    now = NOW.timestamp() + seconds
    assert shard.is_due(now)
    await shard.rest(Turns().next, now)


async def run(resources: Resources, pattern: str, silent: float | None = 100, **settings: Any) -> Outcome:
    wanted = SourceSettings.model_validate(settings)
    async with leased(resources, lambda _: wanted) as shard:
        for one in records(pattern):
            await shard.process(one)
        if silent is not None:
            await rest(shard, silent)
    return outcome(resources)


async def test_only_frames_with_detections_are_stored(resources: Resources) -> None:
    found = await run(resources, ".xx.x", store="detections", silent=None)
    assert found.stored == [1, 2, 4]
    assert found.announced == [0, 1, 2, 3, 4]
    keys = {result.frame_index: result.key for result in found.results}
    assert keys[0] is None
    assert keys[1] in found.keys


async def test_nothing_is_stored_but_a_sample(resources: Resources) -> None:
    found = await run(resources, "x" * 35, store="none", sample_seconds=1, silent=None)
    assert found.stored == [0, 10, 20, 30]


async def test_frames_of_an_event_are_stored_from_before_until_after_it(resources: Resources) -> None:
    found = await run(
        resources, "." * 30 + "x" * 20 + "." * 50, store="events", announce="events", events=[RULE],
        before_seconds=1, after_seconds=2, silent=None,
    )  # fmt: skip
    # It is told at 3.5 s, once the cat has been there for half a second, and over at 7 s, once it has been gone for
    # two seconds.
    assert found.stored == list(range(25, 91))
    assert found.announced == list(range(35, 71))
    [start, end] = sorted(found.events, key=lambda event: event.phase, reverse=True)
    assert (start.phase, end.phase) == ("start", "end")
    assert start.event_id == end.event_id
    assert start.started_at == "2026-01-01T00:00:03.000000Z"
    assert end.ended_at == "2026-01-01T00:00:04.900000Z"
    assert {start.first_key, end.last_key, start.snapshot_key, start.index_key} <= {*found.keys}
    [stored] = [key for key in found.keys if key.endswith(f"{start.event_id}.json")]
    body = resources.client("s3").get_object(Bucket=resources.bucket, Key=stored)["Body"].read()
    assert EventMessage.model_validate_json(body) == end


async def test_every_frame_is_announced_or_in_a_tally(resources: Resources) -> None:
    found = await run(resources, ".x." * 5 + "!" + ".x." * 5, announce="detections", store="none")
    [tally] = found.tallies
    assert (tally.frames, tally.frames_with_detections, tally.first_index, tally.last_index) == (20, 0, 0, 30)
    assert len(found.announced) == 10
    [notice] = [QuarantineMessage.model_validate_json(body) for body in messages(resources, resources.quarantine_url)]
    assert notice.reason == "not_jpeg"


async def test_what_a_clock_tells_is_told_once(resources: Resources) -> None:
    found = await run(resources, "x" * 20, silent=SILENCE_SECONDS + MARGIN_SECONDS + 3, events=[RULE])
    assert sorted(event.phase for event in found.events) == ["end", "start"]
    wanted = SourceSettings.model_validate({"events": [RULE]})
    async with leased(resources, lambda _: wanted) as shard:
        await rest(shard, 1000)  # the next owner looks, and finds nothing left to tell
        assert not shard.is_due(NOW.timestamp() + 1001)
    assert outcome(resources).events == []


async def test_the_next_owner_tells_what_the_last_one_could_not(resources: Resources) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE], "announce": "events"})
    first = await run_until_saved(resources, wanted, "." * 10 + "x" * 20)
    assert [event.phase for event in first.events] == ["start"]
    async with leased(resources, lambda _: wanted) as shard:
        await rest(shard, 1000)
    found = outcome(resources)
    assert [(event.phase, event.event_id) for event in found.events] == [("end", first.events[0].event_id)]
    assert [tally.frames for tally in found.tallies] == [15]


async def run_until_saved(resources: Resources, wanted: SourceSettings, pattern: str) -> Outcome:
    """A worker that makes a checkpoint and dies."""
    async with leased(resources, lambda _: wanted) as shard:
        for one in records(pattern):
            await shard.process(one)
        assert await shard.save() == (str(1000 + len(pattern) - 1), 0)
    return outcome(resources)


# -- frames that are held


async def test_a_checkpoint_waits_for_frames_that_an_event_may_want(resources: Resources) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE], "store": "events", "before_seconds": 1})
    async with leased(resources, lambda _: wanted) as shard:
        for one in records("." * 30):
            await shard.process(one)
        assert await shard.save() == ("1018", 0)  # the frames of the last second may come in again
        await rest(shard, 2.9 + SILENCE_SECONDS + MARGIN_SECONDS + 1)
        assert await shard.save() == ("1029", 0)


async def test_the_end_of_a_shard_lets_all_go(resources: Resources) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE], "store": "events"})
    async with leased(resources, lambda _: wanted) as shard:
        for one in records("." * 10):
            await shard.process(one)
        assert await shard.save() is None
        shard.close()
        assert await shard.save() == ("1009", 0)


async def test_a_worker_that_dies_before_an_event_leaves_what_came_before_it(resources: Resources) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE], "store": "events", "before_seconds": 1})
    everything = records("." * 30 + "x" * 20)
    found: list[int] = []
    for begin, end in ((0, 33), (19, 50)):  # the second one goes on at the first one's checkpoint
        async with leased(resources, lambda _: wanted) as shard:
            turns = Turns()
            for one in everything[begin:end]:
                await shard.process(Record(one.data, one.position, turns.next()))
            if begin == 0:
                place = await shard.save()
                assert place
                assert int(place[0]) - 1000 >= 19
        found = outcome(resources).stored
    assert found == list(range(25, 50))


async def test_held_frames_take_no_more_memory_than_they_may(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE], "store": "events", "before_seconds": 30})
    size = len(picture(0, cat=False)) + STATE_BYTES
    async with leased(resources, lambda _: wanted, held=HeldMemory(5 * size + 40)) as shard:
        for one in records("." * 20):
            await shard.process(one)
        assert await shard.save() == ("1014", 0)
    assert "too few for frames from before events" in caplog.text


# -- how long, and what not


async def test_what_is_kept_for_days_bears_them_as_a_tag(resources: Resources) -> None:
    found = await run(resources, "x" * 10, keep_days=3, events=[RULE])
    tags = {
        key: resources.client("s3").get_object_tagging(Bucket=resources.bucket, Key=key)["TagSet"]
        for key in found.keys
        if not key.startswith("state/")
    }
    assert {"frames", "events"} == {key.partition("/")[0] for key in tags}
    assert all(tag == [{"Key": "keep-days", "Value": "3"}] for tag in tags.values())


@pytest.mark.parametrize(
    ("changes", "privacy", "kept"),
    [({}, {}, b"no picture"), ({"quarantine_keeps": "reasons"}, {}, b""), ({}, {"blur": ["cat"]}, b"")],
)
async def test_quarantine_keeps_what_it_may(
    resources: Resources, changes: dict[str, Any], privacy: dict[str, Any], kept: bytes
) -> None:
    wanted = SourceSettings.model_validate({"privacy": privacy})
    async with running(resources, settings_of=lambda _: wanted, detector=Sighted(), **changes) as (shard, *_):
        await shard.process(records("!")[0])
    [body] = messages(resources, resources.quarantine_url)
    key = QuarantineMessage.model_validate_json(body).key
    assert resources.client("s3").get_object(Bucket=resources.bucket, Key=key)["Body"].read() == kept


FRACTIONS = st.floats(0, 1).map(lambda value: round(value, 3))
POLYGONS = st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=3, max_size=6)


class Everywhere(Oracle):
    """Finds what a test wants, and notes the pictures that it was shown."""

    class_names = ("face",)

    def __init__(self, boxes: Sequence[Sequence[float]], confidence: float) -> None:
        super().__init__()
        self.boxes, self.certainty = np.array(boxes, np.float32).reshape(-1, 4), confidence
        self.shown: list[Image] = []

    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        self.shown.append(image.copy())
        number = len(self.boxes)
        return Detections(self.boxes, np.full(number, self.certainty, np.float32), np.zeros(number, np.int32))


@given(
    st.lists(POLYGONS, max_size=2),
    st.lists(st.tuples(st.floats(0, 120), st.floats(0, 60), st.floats(8, 60), st.floats(8, 60)), max_size=3),
    st.sampled_from(["blur", "fill"]),
    st.sampled_from([0.15, 0.9]),
)
def test_nothing_private_is_in_any_picture(
    masks: list[Any], boxes: list[tuple[float, ...]], how: str, confidence: float
) -> None:
    """Noise is what survives nothing: where it can be found again, something was not hidden."""
    width, height = 160, 120
    noise = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    frame = Frame.parse(embed(jpeg, Metadata("cam", "s", 0, datetime(2026, 1, 1, tzinfo=UTC))))
    corners = [(x, y, min(x + w, width), min(y + h, height)) for x, y, w, h in boxes]
    detector = Everywhere(corners, confidence)
    wanted = SourceSettings.model_validate({"privacy": {"masks": masks, how: ["face"]}})
    compute = Compute(detector, 100, 0.5)
    seen = compute.look(frame, wanted)
    again = compute.draw(frame, seen, wanted)
    assert again == seen.jpeg
    stored = np.asarray(cv2.imdecode(np.frombuffer(seen.jpeg, np.uint8), cv2.IMREAD_COLOR))
    hidden = np.zeros((height, width), np.uint8)
    for polygon in masks:
        cv2.fillPoly(hidden, [np.rint(np.array(polygon) * (width, height)).astype(np.int32)], 1)
    [shown] = detector.shown
    assert not shown[hidden > 0].any()  # and what is black is found by nobody
    for x1, y1, x2, y2 in corners:
        place = slice(int(y1), int(np.ceil(y2))), slice(int(x1), int(np.ceil(x2)))
        was, now = noise[place].astype(float), stored[place].astype(float)
        difference = np.abs(was - now).mean()
        assert difference > 40  # of pixels that have nothing to do with each other it is 64 or, from grey, 85
    for row, column in np.argwhere(cv2.erode(hidden, np.ones((17, 17), np.uint8)))[:50]:  # a block of the JPEG within
        assert stored[row, column].max() < 16 or _is_drawn(corners, row, column)


def _is_drawn(boxes: Sequence[Sequence[float]], row: int, column: int) -> bool:
    """Whether the frame or the name of an object may be there."""
    return any(x1 - 4 <= column <= max(x2, x1 + 80) + 4 and y1 - 20 <= row <= y2 + 20 for x1, y1, x2, y2 in boxes)


# -- what a review has found


async def test_a_camera_in_the_year_1_has_events_too(resources: Resources) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE | {"min_seconds": 0}]})
    old = datetime(1, 1, 1, tzinfo=UTC)
    async with leased(resources, lambda _: wanted) as shard:
        [one] = records("x")
        jpeg = Frame.parse(one.data).jpeg
        plain = jpeg[:2] + jpeg[4 + int.from_bytes(jpeg[4:6], "big") :]  # without its comment
        await shard.process(Record(embed(plain, Metadata("cam", "s", 0, old)), one.position, one.turn))
    [event] = outcome(resources).events
    assert event.index_key.startswith("events/0001-01-01/00/cam/")


async def test_frames_are_let_go_when_settings_want_them_no_more(resources: Resources) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE], "store": "events"})
    async with leased(resources, lambda _: wanted) as shard:
        for one in records("." * 10):
            await shard.process(one)
        assert await shard.save() is None
        wanted = SourceSettings()
        for one in records(".", 10):
            await shard.process(one)
        assert await shard.save() == ("1010", 0)


async def test_a_camera_whose_clock_stands_still_holds_nothing_up(resources: Resources) -> None:
    wanted = SourceSettings.model_validate({"events": [RULE], "store": "events", "before_seconds": 1})
    async with leased(resources, lambda _: wanted) as shard:
        turns = Turns()
        for number in range(50):
            data = embed(street_jpeg(), Metadata("cam", "s", number, NOW))
            position = Position(SHARD, str(1000 + number), "cam", NOW + timedelta(seconds=number))
            await shard.process(Record(data, position, turns.next()))
        place = await shard.save()
    assert place
    assert int(place[0]) - 1000 >= 40


async def test_a_state_that_says_told_is_stored_after_the_telling(resources: Resources) -> None:
    """A queue that does not answer keeps the checkpoint from passing what it should have told."""
    wanted = SourceSettings.model_validate({"events": [RULE]})
    async with leased(resources, lambda _: wanted) as shard:
        for one in records("x" * 10):
            await shard.process(one)
        turn = Turns()
        before = turn.next()  # a record that is at work
        resting = asyncio.create_task(shard.rest(turn.next, NOW.timestamp() + 100))
        saving = asyncio.create_task(shard.save())
        await asyncio.sleep(0.2)
        assert not resting.done()
        assert not saving.done()
        before.give_up()
        await asyncio.gather(resting, saving)
    assert [event.phase for event in outcome(resources).events].count("end") == 1


@pytest.mark.parametrize(("announce", "skipped"), [("detections", 0), ("all", 3)])
async def test_frames_that_are_told_of_together_are_never_too_old(
    resources: Resources, announce: str, skipped: int
) -> None:
    wanted = SourceSettings.model_validate({"announce": announce})
    changes = {"lag_policy": "skip-stale", "max_frame_age_seconds": 1}
    async with leased(resources, lambda _: wanted, **changes) as shard:
        for one in records("..."):
            await shard.process(one)
    bodies = [json.loads(body) for body in messages(resources, resources.queue_url)]
    assert sum(body.get("kind") == "skipped" for body in bodies) == skipped


async def test_quarantine_keeps_no_bytes_of_who_may_be_anybody(resources: Resources) -> None:
    hiding = SourceSettings.model_validate({"privacy": {"fill": ["cat"]}})
    async with running(resources, detector=Sighted(), anything_hidden=lambda: hiding.privacy.hides) as (shard, *_):
        await shard.process(records("!")[0])
    [body] = messages(resources, resources.quarantine_url)
    key = QuarantineMessage.model_validate_json(body).key
    assert resources.client("s3").get_object(Bucket=resources.bucket, Key=key)["Body"].read() == b""


def test_all_of_a_crowd_is_hidden_however_few_are_listed() -> None:
    boxes = [(x, y, x + 9, y + 9) for x in range(0, 150, 10) for y in range(0, 110, 10)]
    detector = Everywhere(boxes, 0.9)
    detector.max_detections = 10
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    frame = Frame.parse(embed(jpeg, Metadata("cam", "s", 0, NOW)))
    wanted = SourceSettings.model_validate({"privacy": {"fill": ["face"]}})
    seen = Compute(detector, 100, 0.5).look(frame, wanted)
    assert (len(seen.detections), len(seen.private)) == (10, len(boxes))
