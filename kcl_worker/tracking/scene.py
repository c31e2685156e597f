"""One source's scene across frames: its tracks, and the objects in zones and across lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel

from contract.message import LineCount, ZoneCount
from contract.source_settings import Line, SourceSettings, Zone
from kcl_worker.tracking.geometry import Place, feet, inside
from kcl_worker.tracking.lines import Standing, Step, follow
from kcl_worker.tracking.tracker import Tracker, TrackerState
from kcl_worker.vision.detections import Detections


class SceneState(BaseModel):
    """A scene in its saved form. Counts of lines are (in, out); standings are those of each track at each line."""

    tracker: TrackerState
    places: dict[str, Place]
    totals: dict[str, tuple[int, int]]
    standings: dict[str, dict[str, Standing]] = {}


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a scene, as the tracker needs it.

    Attributes:
        at: Time of capture, in seconds.
        candidates: Detections down to the tracker's lowest confidence.
        shown: Indices into `candidates` of the detections that the message lists.
    """

    frame_id: str
    at: float
    candidates: Detections
    shown: Sequence[int]
    width: int
    height: int


class Scene:
    """One source's tracks and counts; frames must be added in their order.

    Args:
        first_frame_id: The id of the first frame.
        threshold: The least confidence at which a detection begins a track.
    """

    def __init__(self, first_frame_id: str, threshold: float) -> None:
        self._tracker = Tracker(first_frame_id, threshold)
        self._places: dict[str, Place] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._standings: dict[str, dict[str, Standing]] = {}

    def add(self, shot: Shot, settings: SourceSettings) -> tuple[list[str | None], tuple[LineCount, ...]]:
        """Adds a frame; gives the track of each shown detection, and the crossings of lines."""
        ids = self._tracker.update(shot.frame_id, shot.at, shot.candidates)
        heights = (shot.candidates.xyxy[:, 3] - shot.candidates.xyxy[:, 1]).tolist()
        places = feet(shot.candidates, shot.width, shot.height)
        steps = {
            track: Step(self._places.get(track), place, height)
            for track, place, height in zip(ids, places, heights, strict=True)
            if track is not None
        }
        counts = []
        for line in settings.lines:
            crossings = [self._cross(track, step, line, shot) for track, step in steps.items()]
            inward, outward = crossings.count(1), crossings.count(-1)
            before = self._totals.get(line.name, (0, 0))
            total = self._totals[line.name] = before[0] + inward, before[1] + outward
            counts.append(
                LineCount.model_validate(
                    {"name": line.name, "in": inward, "out": outward, "in_total": total[0], "out_total": total[1]}
                )
            )
        alive = self._tracker.alive()
        latest = self._places | {track: step.after for track, step in steps.items()}
        self._places = {track: place for track, place in latest.items() if track in alive}
        self._standings = {track: lines for track, lines in self._standings.items() if track in alive}
        return [ids[place] for place in shot.shown], tuple(counts)

    def _cross(self, track: str, step: Step, line: Line, shot: Shot) -> int:
        standings = self._standings.setdefault(track, {})
        standings[line.name], counted = follow(
            standings.get(line.name, Standing()), step, line, shot.width, shot.height
        )
        return counted

    def state(self) -> SceneState:
        """The state from which `from_state` continues exactly."""
        return SceneState(
            tracker=self._tracker.state(), places=self._places, totals=self._totals, standings=self._standings
        )

    @classmethod
    def from_state(cls, state: SceneState, threshold: float) -> Scene:
        """Continues a scene from another worker's state.

        Raises:
            ValueError: If the state cannot be used.
        """
        scene = cls("", threshold)
        scene._tracker = Tracker.from_state(state.tracker, threshold)
        scene._places, scene._totals = dict(state.places), dict(state.totals)
        scene._standings = {track: dict(lines) for track, lines in state.standings.items()}
        return scene


def count_zones(
    zones: Sequence[Zone], detections: Detections, class_names: Sequence[str], width: int, height: int
) -> tuple[ZoneCount, ...]:
    """Counts the objects in each zone."""
    places = feet(detections, width, height)
    counts = []
    for zone in zones:
        within = [inside(place, zone.polygon) for place in places]
        classes = Counter(class_names[class_id] for class_id in detections.class_id[np.array(within, bool)].tolist())
        counts.append(ZoneCount(name=zone.name, count=classes.total(), classes=dict(sorted(classes.items()))))
    return tuple(counts)
