"""A scene at a moment, and which of two moments is the earlier one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel

from contract import Identity, Position
from kcl_worker.record import Place, place_of
from kcl_worker.tracking.scene import SceneState
from kcl_worker.tracking.story import StoryState

SequenceNumber = tuple[int, int]
"""A sequence number and a sub-sequence number, which grow along a shard."""


def number_of(place: Place) -> SequenceNumber:
    """A place in a shard, to be compared with others."""
    return int(place[0]), place[1]


class Moment(BaseModel):
    """A frame's place in time.

    Attributes:
        arrived: Kinesis's time of its arrival, in seconds.
    """

    shard_id: str
    at: SequenceNumber
    frame_id: str
    arrived: float

    @classmethod
    def of(cls, position: Position, identity: Identity) -> Self:
        """When a frame was, on the stream."""
        return cls(
            shard_id=position.shard_id,
            at=number_of(place_of(position)),
            frame_id=identity.frame_id,
            arrived=position.arrived_at.timestamp(),
        )

    @property
    def sequence(self) -> str:
        """Its place in its shard, as messages state it."""
        number, sub = self.at
        return f"{number}.{sub}" if sub else str(number)

    @property
    def series(self) -> str:
        """Its source and session."""
        return self.frame_id.rpartition("/")[0]

    @property
    def index(self) -> tuple[int, str]:
        """Its place in the series; comparable, for indices are digits without a sign."""
        number = self.frame_id.rpartition("/")[2]
        return len(number), number

    def precedes(self, other: Moment) -> bool:
        """Whether it is earlier than another moment of its source.

        Sequence numbers can be compared within a shard only, and indices within a session.
        """
        if self.shard_id == other.shard_id:
            return self.at < other.at
        if self.series == other.series:
            return self.index < other.index
        return self.arrived <= other.arrived


class Snapshot(Moment):
    """A source after the frame of this moment.

    Attributes:
        scene: None where nothing is tracked.
    """

    scene: SceneState | None = None
    story: StoryState = StoryState()


class ShardScenes(BaseModel):
    """What is stored of a shard: of each source one or two snapshots, the newest last."""

    sources: dict[str, list[Snapshot]] = {}


class Whereabouts(BaseModel):
    """The shard that had a source last."""

    shard_id: str


def last_before(moment: Moment, snapshots: Iterable[Snapshot]) -> Snapshot | None:
    """The newest snapshot from before a moment."""
    before = [snapshot for snapshot in snapshots if snapshot.precedes(moment)]
    return max(before, key=lambda snapshot: (snapshot.arrived, snapshot.at), default=None)
