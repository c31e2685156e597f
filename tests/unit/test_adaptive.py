"""Sources that are detected in fewer frames than come: which frames are looked at, and what the others show."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import cv2
import numpy as np
import pytest

from contract import Frame, FrameError, Metadata, Position, embed
from contract.message import QuarantineMessage, ResultMessage, TallyMessage
from contract.source_settings import Detect, SourceSettings
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.leased_shard import LeasedShard
from kcl_worker.record import Outcome, Record
from kcl_worker.tracking.clock import LOST_SECONDS
from kcl_worker.tracking.look import LONGEST, Look, Sighted
from kcl_worker.tracking.pace import Pace, step
from kcl_worker.vision import codec
from kcl_worker.vision.detections import Detections, Image
from local.resources import Resources
from producer.street import Street
from tests.unit.test_pipeline import NOW, SHARD, Oracle, messages, running
from tests.unit.test_policies import rest, states

FPS = 10
SIZE = 160, 96  # width and height
SIDE = 32

# -- which frames are looked at


def looks(detect: Detect, pictures: str, seconds: float = 1 / FPS) -> str:
    """`x` for each frame that is looked at; a letter stands for what a frame's glance shows, `-` for none."""
    pace: Pace | None = None
    found = ""
    for number, letter in enumerate(pictures):
        glance = b"" if letter == "-" else bytes([ord(letter)])
        pace = step(pace, detect, number * seconds, number * seconds, glance)
        found += "x" if pace.looks else "s" if pace.still else "."
    return found


def test_one_frame_in_so_many_is_looked_at() -> None:
    assert looks(Detect(every=3), "-" * 10) == "x..x..x..x"


def test_a_picture_that_stands_still_is_looked_at_less_often() -> None:
    gate = Detect(every=1, every_still=5)
    assert looks(gate, "AAAAAAA") == "xssssxs"
    assert looks(gate, "AAaaazz") == "xsxssxs"


def test_a_picture_that_moves_is_looked_at_no_more_often_than_wanted() -> None:
    assert looks(Detect(every=2, every_still=6), "AQaqAQaaaaaaaa") == "x.x.x.xsssssxs"


def test_slow_movement_adds_up() -> None:
    assert looks(Detect(every=1, every_still=50), "ADGJMPSVY") == "xsssxsssx"


def test_frames_that_are_far_apart_are_all_looked_at() -> None:
    assert looks(Detect(every=5), "-" * 4, seconds=LOST_SECONDS + 0.1) == "xxxx"


def test_a_frame_without_a_glance_is_looked_at() -> None:
    """As one is of which a worker may have died."""
    assert looks(Detect(every=1, every_still=9), "AA-AA") == "xsxxs"


def jpeg(image: Image, quality: int = 80) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def test_a_gate_lets_noise_pass_and_notices_a_passer_by() -> None:
    street = Street(3, 1280, 720).frame(1.0)
    random = np.random.default_rng(1)

    def glance(image: Image) -> bytes:
        noisy = np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        return codec.glance(Frame.parse(jpeg(noisy))).tobytes()

    pace = step(None, Detect(every_still=99), 0, 0, glance(street))
    for number in range(1, 10):
        pace = step(pace, Detect(every_still=99), number / FPS, number / FPS, glance(street))
        assert pace.still
    visitor = street.copy()
    cv2.rectangle(visitor, (600, 300), (630, 380), (20, 20, 200), cv2.FILLED)  # a person far away
    assert step(pace, Detect(every_still=99), 1, 1, glance(visitor)).looks


def test_a_glance_notices_what_is_no_picture() -> None:
    broken = jpeg(Street(3, 64, 64).frame(1.0)).replace(b"\xff\xdb", b"\xff\xec")
    with pytest.raises(FrameError, match="undecodable"):
        codec.glance(Frame.parse(broken))


# -- what the others show


def look(xyxy: tuple[float, float, float, float], speed: tuple[float, float], gap: float = 0.2) -> Look:
    one = Sighted(xyxy=xyxy, confidence=0.5, class_id=3, track="a-1", shown=True, speed=speed)
    return Look(time=10, seen=10, gap=gap, header_size=SIZE, size=SIZE, objects=(one,))


def test_an_object_moves_on_at_its_speed_and_keeps_its_size() -> None:
    carried = look((10, 20, 30, 60), (50, -10)).carry(10.2)
    np.testing.assert_allclose(carried.candidates.xyxy, [[20, 18, 40, 58]])
    assert (carried.shown, carried.tracks) == ([0], ["a-1"])
    assert (carried.candidates.class_id[0], carried.candidates.confidence[0]) == (3, 0.5)


def test_an_object_that_leaves_the_picture_is_clipped_then_gone() -> None:
    leaving = look((100, 20, 140, 60), (100, 0), gap=1)
    np.testing.assert_allclose(leaving.carry(10.3).candidates.xyxy, [[130, 20, 160, 60]])
    assert len(leaving.carry(10.5).candidates) == 0


def test_a_clock_that_leaps_does_not_throw_objects_away() -> None:
    np.testing.assert_allclose(
        look((10, 20, 30, 60), (10, 0), gap=0.1).carry(99).candidates.xyxy[0, 0], 10 + 1 * LONGEST
    )


# -- settings


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"detect": {"every": 0}}', "detect.every: Input should be greater than or equal to 1"),
        ('{"detect": {"every": 31}}', "detect.every: Input should be less than or equal to 30"),
        ('{"detect": {"every": 5, "every_still": 5}}', "detect: every_still: more than every (5)"),
        ('{"detect": {"often": true}}', "detect.often: no such setting"),
    ],
)
def test_wrong_settings_are_explained(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$"):
        SourceSettings.parse(text)


def test_what_is_hidden_is_looked_for_in_every_frame() -> None:
    hiding = SourceSettings.parse('{"detect": {"every": 5}, "privacy": {"blur": ["cat"]}}')
    masking = SourceSettings.parse('{"detect": {"every": 5}, "privacy": {"masks": [[[0, 0], [1, 0], [0, 1]]]}}')
    assert (hiding.adapts, masking.adapts) == (False, True)
    assert not SourceSettings().adapts


# -- in the worker


class Mover(Oracle):
    """Finds a bright square, and counts the pictures that it was shown."""

    class_names = ("cat",)

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def detect(
        self, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
    ) -> Detections:
        self.looks += 1
        rows, columns = np.nonzero(image[:, :, 1] > 150)
        if not len(rows):
            return Detections.empty()
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Detections(np.array([box], np.float32), np.array([0.75], np.float32), np.array([0], np.int32))


def plain(place: int | None) -> Image:
    image = np.full((SIZE[1], SIZE[0], 3), 10, np.uint8)
    if place is not None:
        image[SIDE : 2 * SIDE, place : place + SIDE] = 220
    return image


def picture(number: int, place: int | None, session: str = "s") -> bytes:
    """A cat whose left edge is there, in pixels."""
    return embed(jpeg(plain(place), 95), Metadata("cam", session, number, NOW + timedelta(seconds=number / FPS)))


def broken(number: int) -> bytes:
    """No picture, which the header does not say."""
    return picture(number, 0).replace(b"\xff\xdb", b"\xff\xec")


def records(places: Sequence[int | bytes | None]) -> list[Record]:
    turns = Turns()
    return [
        Record(
            place if isinstance(place, bytes) else picture(number, place),
            Position(SHARD, str(1000 + number), "cam", NOW + timedelta(seconds=number / FPS)),
            turns.next(),
        )
        for number, place in enumerate(places)
    ]


@asynccontextmanager
async def leased(resources: Resources, detector: Mover | None = None, **settings: Any) -> AsyncIterator[LeasedShard]:
    wanted = SourceSettings.model_validate(settings)
    async with running(
        resources, settings_of=lambda _: wanted, detector=detector or Mover(), states=states(resources)
    ) as (shard, *_):  # fmt: skip
        yield shard


def results(resources: Resources) -> list[ResultMessage]:
    bodies = [json.loads(body) for body in messages(resources, resources.queue_url)]
    found = [ResultMessage.model_validate(body) for body in bodies if "kind" not in body]
    return sorted(found, key=lambda result: result.frame_index or 0)


def origins(found: list[ResultMessage]) -> str:
    return "".join(
        result.summary[0].origin[0] if result.summary and result.summary[0].origin else "." for result in found
    )


WALK: list[int | bytes | None] = [4 * number for number in range(12)]


async def test_messages_say_what_was_detected_and_what_was_tracked(resources: Resources) -> None:
    mover = Mover()
    async with leased(resources, mover, detect={"every": 3}) as shard:
        for one in records(WALK):
            assert await shard.process(one) is Outcome.DURABLE
    found = results(resources)
    assert origins(found) == "dttdttdttdtt"
    assert mover.looks == 4
    assert all(result.summary[0].track_id is None for result in found)  # nobody has asked for it
    assert [result.inference_ms == 0 for result in found] == [letter == "t" for letter in "dttdttdttdtt"]
    lefts = [result.summary[0].bbox[0] * SIZE[0] for result in found]
    assert lefts[:6] == pytest.approx([0, 0, 0, 12, 16, 20], abs=1.5)  # its speed is known once it is seen twice
    assert lefts[6:] == pytest.approx([24, 28, 32, 36, 40, 44], abs=2.5)
    keys = [result.key for result in found]
    stored = resources.client("s3").list_objects_v2(Bucket=resources.bucket, Prefix="frames/")["Contents"]
    assert sorted(key for key in keys if key) == [one["Key"] for one in stored]
    assert len(stored) == 12


def test_of_a_box_that_was_tracked_the_corners_are_drawn() -> None:
    cat = Detections(np.array([[20, 30, 100, 80]], np.float32), np.array([0.9], np.float32), np.array([0], np.int32))
    images = {corners: np.zeros((96, 160, 3), np.uint8) for corners in (False, True)}
    for corners, image in images.items():
        codec.annotate(image, cat, ("cat",), corners=corners)
    drawn = {corners: [bool(image[80, x].any()) for x in (20, 30, 60, 90, 100)] for corners, image in images.items()}
    assert drawn == {False: [True] * 5, True: [True, True, False, True, True]}


async def test_a_still_picture_is_looked_at_once(resources: Resources) -> None:
    mover = Mover()
    async with leased(resources, mover, detect={"every_still": 20}, store="none") as shard:
        for one in records([40] * 6 + [60] * 6):
            await shard.process(one)
    found = results(resources)
    assert origins(found) == "dtttttdttttt"
    assert mover.looks == 2
    assert [round(result.summary[0].bbox[0] * SIZE[0]) for result in found] == [40] * 6 + [60] * 6
    assert all(result.key is None for result in found)


@pytest.mark.parametrize(
    "settings",
    [{"store": "all"}, {"store": "none"}, {"store": "detections"}, {"store": "all", "announce": "detections"}],
)
async def test_what_cannot_be_decoded_is_quarantined_though_nobody_looks_at_it(
    resources: Resources, settings: dict[str, Any]
) -> None:
    async with leased(resources, detect={"every": 3}, **settings) as shard:
        outcomes = [await shard.process(one) for one in records([0, broken(1), 8, 12])]
    assert outcomes == [Outcome.DURABLE, Outcome.QUARANTINED, Outcome.DURABLE, Outcome.DURABLE]
    assert origins(results(resources)) == "dtd"
    [notice] = [QuarantineMessage.model_validate_json(body) for body in messages(resources, resources.quarantine_url)]
    assert (notice.reason, notice.frame_id) == ("undecodable", "cam/s/000000001")


@pytest.mark.parametrize("store", ["all", "none"])
async def test_what_cannot_be_decoded_is_in_no_tally(resources: Resources, store: str) -> None:
    async with leased(resources, detect={"every": 4}, store=store, announce="detections") as shard:
        for one in records([None, None, broken(2), None]):
            await shard.process(one)
        await rest(shard, 100)
    [tally] = [TallyMessage.model_validate_json(body) for body in messages(resources, resources.queue_url)]
    assert tally.frames == 3


async def test_a_frame_is_looked_at_after_all_if_nothing_can_be_carried_into_it(resources: Resources) -> None:
    """Such as one of another size, or one whose session's last look has come to nothing."""
    large = cv2.imencode(".jpg", np.full((200, 300, 3), 220, np.uint8))[1].tobytes()
    other = embed(large, Metadata("cam", "s", 2, NOW + timedelta(seconds=2 / FPS)))
    async with leased(resources, detect={"every": 3}) as shard:
        for one in records([broken(0), 4, other, 12, 16]):
            await shard.process(one)
    assert origins(results(resources)) == "dddt"


async def test_a_worker_that_dies_behind_what_is_no_picture_goes_on_as_if_it_had_not(resources: Resources) -> None:
    walk: list[int | bytes | None] = [0, 4, 8, 12, broken(4), 20, 24, 28]
    everything = records(walk)
    seen = []
    for parts in ([slice(0, 8)], [slice(0, 4), slice(4, 5), slice(5, 8)]):
        for part in parts:
            turns = Turns()
            async with leased(resources, detect={"every": 3}, store="none") as shard:
                for one in everything[part]:
                    await shard.process(Record(one.data, one.position, turns.next()))
                await shard.save()
        seen.append(results(resources))
        for key in state_keys(resources):
            resources.client("s3").delete_object(Bucket=resources.bucket, Key=key)
    assert origins(seen[0]) == "dttdtdt"
    assert [said(result) for result in seen[1]] == [said(result) for result in seen[0]]


async def test_an_object_keeps_its_id_though_looks_are_further_apart_than_it_may_be_out_of_sight(
    resources: Resources,
) -> None:
    turns = Turns()
    slow = [
        Record(
            embed(jpeg(plain(4 * number), 95), Metadata("cam", "s", number, NOW + timedelta(seconds=number))),
            Position(SHARD, str(1000 + number), "cam", NOW + timedelta(seconds=number)),
            turns.next(),
        )
        for number in range(16)
    ]
    async with leased(resources, detect={"every": 5}, tracking=True, store="none") as shard:
        for one in slow:
            await shard.process(one)
    found = results(resources)
    assert origins(found) == "dttttdttttdttttd"
    assert len({result.summary[0].track_id for result in found[5:]}) == 1
    assert found[5].summary[0].track_id


def state_keys(resources: Resources) -> list[str]:
    """Keys of what is stored of the sources."""
    listed = resources.client("s3").list_objects_v2(Bucket=resources.bucket, Prefix="state/")
    return [stored["Key"] for stored in listed.get("Contents", ())]


def said(result: ResultMessage) -> dict[str, Any]:
    """What a message says of its frame, whenever it is processed."""
    return result.model_dump(exclude={"timestamp", "processed_at", "inference_ms", "lag_ms"})


async def test_frames_at_once_say_what_they_say_one_by_one(resources: Resources) -> None:
    async with leased(resources, detect={"every": 2, "every_still": 9}, store="detections") as shard:
        for one in records(WALK):
            await shard.process(one)
    one_by_one = results(resources)
    async with leased(resources, detect={"every": 2, "every_still": 9}, store="detections") as shard:
        await asyncio.gather(*(shard.process(one) for one in records(WALK)))
    at_once = results(resources)
    assert [said(result) for result in at_once] == [said(result) for result in one_by_one]
    times = [result.processed_at for result in at_once]
    assert times == sorted(times)


@pytest.mark.parametrize("settings", [{"store": "none"}, {"store": "all"}, {"store": "detections"}])
@pytest.mark.parametrize("detect", [{"every": 3}, {"every": 2, "every_still": 5}])
async def test_frames_of_which_a_worker_may_have_died_say_what_they_said(
    resources: Resources, detect: dict[str, int], settings: dict[str, Any]
) -> None:
    said_by = []
    for suspect in (False, True):
        async with leased(resources, detect=detect, **settings) as shard:
            for one in records([0, 4, 8, 8, 8, 8, 12, broken(7), 20, 24]):
                await shard.process(replace(one, suspect=suspect))
        said_by.append([said(result) for result in results(resources)])
    assert said_by[1] == said_by[0]


@pytest.mark.parametrize(
    "detect", [pytest.param({"every": 3}, marks=pytest.mark.thorough), {"every": 2, "every_still": 5}]
)
async def test_a_replay_from_any_checkpoint_says_the_same(resources: Resources, detect: dict[str, int]) -> None:
    walk: list[int | bytes | None] = [broken(0), broken(1), 0, 4, 8, 8, 8, 8, None, 20]
    walk += [broken(10), 28, 32, broken(13), 40, 40, 40, 40, 60, 64]
    settings: dict[str, Any] = {
        "detect": detect,
        "store": "none",
        "lines": [{"name": "door", "start": [0.2, 0], "end": [0.2, 1]}],
    }
    everything, s3 = records(walk), resources.client("s3")
    checkpoints = []
    async with leased(resources, **settings) as shard:
        for one in everything:
            await shard.process(one)
            await shard.save()
            checkpoints.append(
                {key: s3.get_object(Bucket=resources.bucket, Key=key)["Body"].read() for key in state_keys(resources)}
            )
    truth = {result.frame_id: said(result) for result in results(resources)}
    assert {"detected", "tracked"} == {one["origin"] for body in truth.values() for one in body["summary"]}
    for place, checkpoint in enumerate(checkpoints[:-1], 1):
        for key in state_keys(resources):
            s3.delete_object(Bucket=resources.bucket, Key=key)
        for key, body in checkpoint.items():
            s3.put_object(Bucket=resources.bucket, Key=key, Body=body)
        turns = Turns()
        async with leased(resources, **settings) as shard:
            for one in everything[place : place + 6]:
                await shard.process(Record(one.data, one.position, turns.next()))
        found = {result.frame_id: said(result) for result in results(resources)}
        assert found == {frame_id: truth[frame_id] for frame_id in found}
        assert found
