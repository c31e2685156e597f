"""Frames that the stream still holds: the original pictures, without boxes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from cloud.shards import list_shards
from consumer.clips.pictures import decode, draw_boxes, encode
from consumer.clips.shots import Shots, Window
from consumer.errors import RefusedError
from consumer.results import call
from contract.errors import FrameError
from contract.frame import Frame
from contract.identity import Position, identify
from contract.masks import black_out
from contract.message import Summary
from contract.shapes import Polygon
from contract.source_settings import Privacy

# A frame arrives after its capture, and mostly within this time; a camera's clock may be ahead by a little.
EARLY: Final = timedelta(seconds=10)
LATE: Final = timedelta(seconds=30)
# A shard answers five reads a second of all its readers, two of which workers make at least.
PAUSE_SECONDS: Final = 0.4
READ_RECORDS: Final = 500
MAX_BYTES: Final = 256 * 1024 * 1024
MASK_EDGE: Final = 5


class _Kept(NamedTuple):
    at: datetime
    frame_id: str
    jpeg: bytes


class RetainedShots(Shots):
    """Original frames, with masked areas black."""

    origin = "stream"

    def __init__(self, frames: Sequence[_Kept], masks: Sequence[Polygon]) -> None:
        super().__init__([frame.at for frame in frames])
        self._frames, self._masks = frames, masks

    def frame_id(self, number: int) -> str:
        """A frame's id."""
        return self._frames[number].frame_id

    def picture(self, number: int) -> bytes:
        """Gives a frame; nobody gets the original of one that has masks."""
        jpeg = self._frames[number].jpeg
        if not self._masks:
            return jpeg
        image = decode(jpeg)
        black_out(image, self._masks, MASK_EDGE)
        return encode(image)


def check_privacy(source: str, privacy: Privacy) -> None:
    """Refuses the stream's frames where a picture may show what its source's settings hide.

    Masks are known without looking at a picture; objects that are blurred or filled have to be found first.

    Raises:
        RefusedError: If classes are hidden.
    """
    if privacy.hides_classes:
        hidden = sorted({*privacy.blur, *privacy.fill})
        raise RefusedError(f"{source}: its settings hide {', '.join(hidden)}, which the stream's frames show")


class BoxedShots(Shots):
    """Original frames with boxes.

    Args:
        found: Gives what is known to be in a frame, by its id.
    """

    origin = "stream"

    def __init__(self, shots: RetainedShots, found: Callable[[str], Sequence[Summary]]) -> None:
        super().__init__(shots.times)
        self._shots, self._found = shots, found

    def picture(self, number: int) -> bytes:
        """Gives a frame, with boxes where any are known."""
        jpeg, found = self._shots.picture(number), self._found(self._shots.frame_id(number))
        if not found:
            return jpeg
        image = decode(jpeg)
        draw_boxes(image, found)
        return encode(image)


def retained_shots(
    kinesis: Any, stream: str, source: str, window: Window, privacy: Privacy, max_bytes: int = MAX_BYTES
) -> RetainedShots:
    """Finds a source's frames on all shards of a stream.

    Args:
        max_bytes: Memory that they may take.

    Raises:
        RefusedError: If its settings hide classes, or the frames take too much memory.
        ConsumerError: If the stream cannot be read.
    """
    check_privacy(source, privacy)
    found: dict[str, _Kept] = {}
    size = 0
    for shard in call(f"stream {stream}", lambda: list_shards(kinesis, stream)):
        for record in _records(kinesis, stream, shard.shard_id, window):
            frame = _frame_of(record, shard.shard_id, source)
            if frame is None or frame.frame_id in found or not window.since <= frame.at <= window.until:
                continue
            found[frame.frame_id] = frame
            size += len(frame.jpeg)
            if size > max_bytes:
                raise RefusedError(f"{source}: more than {max_bytes >> 20} MiB of frames; take fewer seconds")
    return RetainedShots(sorted(found.values()), privacy.masks)


def _frame_of(record: dict[str, Any], shard_id: str, source: str) -> _Kept | None:
    """A record's frame, if it is one of this source."""
    position = Position(
        shard_id,
        record["SequenceNumber"],
        record["PartitionKey"],
        record["ApproximateArrivalTimestamp"].astimezone(UTC),
    )
    try:
        identity = identify(Frame.parse(record["Data"]).metadata, position)
    except FrameError:
        return None
    return _Kept(identity.captured_at, identity.frame_id, record["Data"]) if identity.source == source else None


def _records(kinesis: Any, stream: str, shard_id: str, window: Window) -> Iterator[dict[str, Any]]:
    """Reads a shard's records that arrived at about the window's time."""
    where = f"stream {stream}, {shard_id}"
    start = min(window.since - EARLY, datetime.now(UTC))
    answer = call(
        where,
        lambda: kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard_id, ShardIteratorType="AT_TIMESTAMP", Timestamp=start
        ),
    )
    iterator = answer["ShardIterator"]
    while iterator:
        read = iterator
        answer = call(where, lambda: kinesis.get_records(ShardIterator=read, Limit=READ_RECORDS))  # noqa: B023
        for record in answer["Records"]:
            if record["ApproximateArrivalTimestamp"] > window.until + LATE:
                return
            yield record
        if not answer.get("MillisBehindLatest"):
            return
        iterator = answer.get("NextShardIterator")
        time.sleep(PAUSE_SECONDS)
