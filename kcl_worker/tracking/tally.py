"""Frames that have no message of their own, counted by the minute of their arrival on the stream.

Kinesis's time of arrival is the one clock that all workers share: a minute is over once a frame of a later one has
come, or the end of the shard was read after it. A frame of an earlier minute that comes late counts in the tally that
is open then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from kcl_worker.tracking.events import MARGIN_SECONDS

MINUTE: Final = 60.0
# The most frequent, so that the message fits every queue.
MAX_CLASSES: Final = 80
# Of one source, at a time; as many as have tracks.
MAX_SESSIONS: Final = 4


class Tally(BaseModel):
    """The frames of one session in one minute; its fields are those of the message.

    Attributes:
        minute: Of arrival, in seconds.
    """

    model_config = ConfigDict(frozen=True)

    minute: float
    shard_id: str
    first_frame_id: str
    last_frame_id: str
    first_index: int | None
    last_index: int | None
    frames: int = 0
    frames_with_detections: int = 0
    stored: int = 0
    classes: dict[str, int] = {}
    zones: dict[str, int] = {}
    lines: dict[str, tuple[int, int]] = {}
    worst_latency_ms: int = 0


class Counted(BaseModel):
    """What a frame adds to its tally."""

    model_config = ConfigDict(frozen=True)

    shard_id: str
    frame_id: str
    session: str
    index: int | None
    arrived: float
    stored: bool
    classes: dict[str, int]
    zones: dict[str, int]
    lines: dict[str, tuple[int, int]]
    latency_ms: int


Tallies = Mapping[str, Tally]
"""The open ones of a source, by session; the longest untouched first."""


def count(tallies: Tallies, frame: Counted) -> tuple[dict[str, Tally], list[Tally]]:
    """Adds a frame; gives the tallies that are open then, and those that are complete."""
    still, complete = settle(tallies, frame.arrived)
    open_ = still.pop(frame.session, None) or Tally(
        minute=frame.arrived // MINUTE * MINUTE,
        shard_id=frame.shard_id,
        first_frame_id=frame.frame_id,
        last_frame_id=frame.frame_id,
        first_index=frame.index,
        last_index=frame.index,
    )
    if len(still) >= MAX_SESSIONS:
        complete.append(still.pop(next(iter(still))))
    still[frame.session] = open_.model_copy(
        update={
            "shard_id": frame.shard_id,
            "last_frame_id": frame.frame_id,
            "last_index": frame.index,
            "frames": open_.frames + 1,
            "frames_with_detections": open_.frames_with_detections + bool(frame.classes),
            "stored": open_.stored + frame.stored,
            "classes": dict((Counter(open_.classes) + Counter(frame.classes)).most_common(MAX_CLASSES)),
            "zones": {
                name: max(open_.zones.get(name, 0), number) for name, number in (open_.zones | frame.zones).items()
            },
            "lines": _sum(open_.lines, frame.lines),
            "worst_latency_ms": max(open_.worst_latency_ms, frame.latency_ms),
        }
    )
    return still, complete


def settle(tallies: Tallies, arrived: float) -> tuple[dict[str, Tally], list[Tally]]:
    """Divides tallies into those that stay open when a frame arrives, or nothing has arrived up to then, and those that
    are complete."""
    complete = [tally for tally in tallies.values() if tally.minute + MINUTE <= arrived]
    return {name: tally for name, tally in tallies.items() if tally.minute + MINUTE > arrived}, complete


def rest(tallies: Tallies, now: float) -> tuple[dict[str, Tally], list[Tally]]:
    """As `settle`, where nothing has arrived up to a time."""
    return settle(tallies, now - MARGIN_SECONDS)


def _sum(one: dict[str, tuple[int, int]], other: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    zero = (0, 0)
    return {
        name: (one.get(name, zero)[0] + other.get(name, zero)[0], one.get(name, zero)[1] + other.get(name, zero)[1])
        for name in {**one, **other}
    }
