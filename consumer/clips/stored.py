"""Frames that the bucket holds, with the boxes that the worker has drawn."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, NamedTuple

from consumer.bucket import Bucket, Listed
from consumer.clips.shots import Shots, Window
from consumer.errors import GoneError, RefusedError
from consumer.events import READERS, Wanted
from consumer.frames import read_picture
from contract.event import EventMessage
from contract.frame import parse_time
from contract.identity import CAPTURED_AT, day_and_hour

# No camera of this pipeline sends more frames a second.
MAX_FPS: Final = 60
# Of a listing; twice what 60 frames a second make of the longest clip.
MAX_KEYS: Final = 36_000
# A longer number is a sequence number of Kinesis.
_INDEX_DIGITS: Final = 15
_FRAME_ID: Final = re.compile(r"[A-Za-z0-9._-]+/([A-Za-z0-9-]+)/([0-9]+)(?:\.[0-9]+)?")


class StoredShots(Shots):
    """Annotated frames by their keys."""

    origin = "bucket"

    def __init__(self, bucket: Bucket, keys: Sequence[str], times: Sequence[datetime]) -> None:
        super().__init__(times)
        self._bucket, self._keys = bucket, keys

    def picture(self, number: int) -> bytes:
        """Gives an annotated frame."""
        return read_picture(self._bucket, self._keys[number])


def stored_shots(bucket: Bucket, event: EventMessage, window: Window) -> StoredShots:
    """Finds the frames of an event's sessions in a window.

    A key tells a frame's session and number, its object's metadata the time. Numbers grow with time, so the window's
    ends are searched for by halves.

    Raises:
        ConsumerError: If the bucket cannot be read.
    """
    chosen: list[Listed] = []
    clock = _Clock(bucket)
    for found in _sessions(bucket, event, window):
        first = bisect_left(found, window.since, key=clock)
        last = bisect_right(found, window.until, first, key=clock)
        chosen += found[first:last]
    with ThreadPoolExecutor(READERS) as readers:
        times = list(readers.map(clock, chosen))
    return StoredShots(bucket, [frame.key for frame in chosen], times)


class _Clock:
    """When frames were captured; of one that does not say, when it was stored."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._known: dict[str, datetime] = {}

    def __call__(self, frame: Listed) -> datetime:
        if frame.key not in self._known:
            self._known[frame.key] = self._ask(frame)
        return self._known[frame.key]

    def _ask(self, frame: Listed) -> datetime:
        try:
            return parse_time(self._bucket.metadata(frame.key)[CAPTURED_AT])
        except (GoneError, KeyError, ValueError):
            return frame.stored_at


class _Anchor(NamedTuple):
    """A frame that an event names.

    Attributes:
        session: Of a plain JPEG, its shard.
        number: Counts the session's frames; None for a plain JPEG, whose sequence number counts nothing.
    """

    session: str
    number: int | None
    at: datetime

    @classmethod
    def of(cls, frame_id: str, captured_at: str) -> _Anchor:
        """Reads a frame's id.

        Raises:
            RefusedError: If it is none.
        """
        if not (parts := _FRAME_ID.fullmatch(frame_id)):
            raise RefusedError(f"{frame_id!r}: not a frame's id")
        session, number = parts.groups()
        return cls(session, int(number) if len(number) <= _INDEX_DIGITS else None, parse_time(captured_at))


def _sessions(bucket: Bucket, event: EventMessage, window: Window) -> Iterator[list[Listed]]:
    """Lists the frames of each session of an event that may be in a window, by number.

    Raises:
        RefusedError: If the event names what is no frame.
    """
    anchors = [
        _Anchor.of(event.first_frame_id, event.started_at),
        _Anchor.of(event.best.frame_id, event.best.captured_at),
        _Anchor.of(event.last_frame_id, event.ended_at or event.captured_at),
    ]
    for session in dict.fromkeys(anchor.session for anchor in anchors):
        counted = sorted(
            (anchor.number, anchor.at) for anchor in anchors if anchor.session == session and anchor.number is not None
        )
        begin, end = 0, math.inf
        if counted:
            begin = counted[0][0] - _most_frames(counted[0][1] - window.since) - 1
            end = counted[-1][0] + _most_frames(window.until - counted[-1][1])
        found: list[Listed] = []
        for hour in Wanted(window.since, window.until).hours():
            prefix = f"frames/{event.source}/{day_and_hour(hour)}/{session}-"
            after = f"{prefix}{begin:09d}" if begin > 0 else ""
            for frame in islice(bucket.listing(prefix, after), MAX_KEYS):
                name, dot, rest = frame.key.removeprefix(prefix).partition(".jpg")
                if counted and name.isdecimal() and int(name) > end:
                    break
                if dot and not rest:
                    found.append(frame)
        yield found


def _most_frames(time: timedelta) -> int:
    return max(0, math.ceil(MAX_FPS * time.total_seconds()))
