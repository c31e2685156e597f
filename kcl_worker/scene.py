"""What one source's frames show together: tracks, and who is in a zone or has crossed a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from contract.message import LineCount, ZoneCount
from contract.source_settings import SourceSettings, Zone
from kcl_worker.detections import Detections
from kcl_worker.geometry import Place, crossing, feet, inside
from kcl_worker.tracker import Tracker, TrackerState


class SceneState(BaseModel):
    """A scene as it is saved. Counts of lines are (in, out)."""

    tracker: TrackerState
    places: dict[str, Place]
    totals: dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a scene, as the tracker needs it.

    Attributes:
        at: When it was captured, in seconds.
        candidates: Detections down to the tracker's lowest confidence.
        shown: Places in `candidates` of those that the message lists.
    """

    frame_id: str
    at: float
    candidates: Detections
    shown: Sequence[int]
    width: int
    height: int


class Scene:
    """One source's tracks and counts; frames are added in their order.

    Args:
        first_frame_id: Of the frame that comes first.
        threshold: Least confidence of a detection that begins a track.
    """

    def __init__(self, first_frame_id: str, threshold: float) -> None:
        self._tracker = Tracker(first_frame_id, threshold)
        self._places: dict[str, Place] = {}
        self._totals: dict[str, tuple[int, int]] = {}

    def add(self, shot: Shot, settings: SourceSettings) -> tuple[list[str | None], tuple[LineCount, ...]]:
        """Gives the track of each detection that is shown, and what has crossed the lines."""
        ids = self._tracker.update(shot.frame_id, shot.at, shot.candidates)
        places = {
            track: place
            for track, place in zip(ids, feet(shot.candidates, shot.width, shot.height), strict=True)
            if track is not None
        }
        counts = []
        for line in settings.lines:
            steps = [
                crossing(self._places[track], place, line.start, line.end)
                for track, place in places.items()
                if track in self._places
            ]
            inward, outward = steps.count(1), steps.count(-1)
            before = self._totals.get(line.name, (0, 0))
            total = self._totals[line.name] = before[0] + inward, before[1] + outward
            counts.append(
                LineCount.model_validate(
                    {"name": line.name, "in": inward, "out": outward, "in_total": total[0], "out_total": total[1]}
                )
            )
        alive = self._tracker.alive()
        self._places = {track: place for track, place in (self._places | places).items() if track in alive}
        return [ids[place] for place in shot.shown], tuple(counts)

    def state(self) -> SceneState:
        """What `from_state` needs to go on exactly from here."""
        return SceneState(tracker=self._tracker.state(), places=self._places, totals=self._totals)

    @classmethod
    def from_state(cls, state: SceneState, threshold: float) -> Scene:
        """Goes on where another worker was.

        Raises:
            ValueError: If it cannot be gone on from.
        """
        scene = cls("", threshold)
        scene._tracker = Tracker.from_state(state.tracker, threshold)
        scene._places, scene._totals = dict(state.places), dict(state.totals)
        return scene


def count_zones(
    zones: Sequence[Zone], detections: Detections, class_names: Sequence[str], width: int, height: int
) -> tuple[ZoneCount, ...]:
    """Who stands in each zone."""
    places = feet(detections, width, height)
    counts = []
    for zone in zones:
        within = [inside(place, zone.polygon) for place in places]
        classes = Counter(class_names[class_id] for class_id in detections.class_id[np.array(within, bool)].tolist())
        counts.append(ZoneCount(name=zone.name, count=classes.total(), classes=dict(sorted(classes.items()))))
    return tuple(counts)
