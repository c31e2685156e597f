"""One source's scene across frames: its tracks, and the objects in zones and across lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from pydantic import BaseModel

from contract.geometry import Place, inside
from contract.lines import Standing, Step, follow
from contract.message import LineCount, ZoneCount
from contract.shapes import Line, Zone
from contract.source_settings import SourceSettings
from kcl_worker.tracking.clock import LOST_SECONDS
from kcl_worker.tracking.events import Crossing
from kcl_worker.tracking.geometry import feet
from kcl_worker.tracking.look import look_of
from kcl_worker.tracking.pace import Pace
from kcl_worker.tracking.tracker import Tracker, TrackerState
from kcl_worker.vision.detections import Detections

# Producers that may send under one name at a time and keep their tracks.
MAX_SESSIONS: Final = 4


class SceneState(BaseModel):
    """A scene in its saved form.

    Attributes:
        trackers: Those of its sessions, the one of the last frame last.
        paces: Where sessions stand between two looks, if not every frame is looked at; that of the last frame last.
        totals: Of each line, the crossings (in, out) of all sessions.
        standings: Those of each track at each line.
    """

    trackers: dict[str, TrackerState] = {}
    paces: dict[str, Pace] = {}
    places: dict[str, Place]
    totals: dict[str, tuple[int, int]]
    standings: dict[str, dict[str, Standing]] = {}


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a scene.

    Attributes:
        session: The producer's run that it is of; empty for a plain JPEG.
        index, captured_at, key: As messages state them.
        at: Time of capture, in seconds.
        arrived: Time of arrival on the stream, in seconds.
        candidates: Detections down to the tracker's lowest confidence; of a frame that nobody looks at, what is carried
            into it.
        shown: Indices into `candidates` of the detections that the message lists.
        sharpness: Of each candidate, from 0 to 1; empty where nobody asks.
        latency_ms: From its capture until now.
        pace: Where its session stands between two looks; None: every frame is looked at.
        tracks: The track of each candidate that is carried; None: they were detected.
        header_size: Width and height by the frame's header, before it is turned.
    """

    frame_id: str
    session: str
    at: float
    arrived: float
    candidates: Detections
    shown: Sequence[int]
    width: int
    height: int
    index: int | None = None
    captured_at: str = ""
    key: str = ""
    sharpness: Sequence[float] = ()
    latency_ms: int = 0
    pace: Pace | None = None
    tracks: Sequence[str | None] | None = None
    header_size: tuple[int, int] = (0, 0)


class Traced(NamedTuple):
    """What a frame adds to a scene.

    Attributes:
        ids: The track of each candidate; None for one without.
        lines: What crosses each line.
    """

    ids: list[str | None]
    lines: tuple[LineCount, ...]
    crossings: tuple[Crossing, ...]


class Scene:
    """One source's tracks and counts; frames must be added in their order.

    Each session has tracks of its own: two producers that send under one name show different places. The totals of
    lines are the source's.

    Args:
        threshold: The least confidence at which a detection begins a track.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._trackers: dict[str, Tracker] = {}
        self._paces: dict[str, Pace] = {}
        self._places: dict[str, Place] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._standings: dict[str, dict[str, Standing]] = {}

    def add(self, shot: Shot, settings: SourceSettings) -> Traced:
        """Adds a frame; gives the track of each candidate, and the crossings of lines."""
        tracker = self._tracker(shot)
        if shot.tracks is None:
            ids = tracker.update(shot.frame_id, shot.at, shot.arrived, shot.candidates)
            tracker.look = (
                look_of(tracker.look, tracker.time, tracker.seen, shot, ids, tracker.speeds()) if shot.pace else None
            )
        else:
            ids = [*shot.tracks]
            tracker.pass_over(shot.at, shot.arrived)
        if shot.pace:
            self.pass_by(shot.session, shot.pace)
        else:
            self._paces.pop(shot.session, None)
        heights = (shot.candidates.xyxy[:, 3] - shot.candidates.xyxy[:, 1]).tolist()
        places = feet(shot.candidates, shot.width, shot.height)
        steps = {
            track: Step(self._places.get(track), place, height)
            for track, place, height in zip(ids, places, heights, strict=True)
            if track is not None
        }
        counts, crossings = [], []
        for line in settings.lines:
            sides = {track: self._cross(track, step, line, shot) for track, step in steps.items()}
            crossings += [Crossing(line.name, track, side > 0) for track, side in sides.items() if side]
            inward, outward = (list(sides.values()).count(side) for side in (1, -1))
            before = self._totals.get(line.name, (0, 0))
            total = self._totals[line.name] = before[0] + inward, before[1] + outward
            counts.append(
                LineCount.model_validate(
                    {"name": line.name, "in": inward, "out": outward, "in_total": total[0], "out_total": total[1]}
                )
            )
        alive = set[str]().union(*(tracker.alive() for tracker in self._trackers.values()))
        latest = self._places | {track: step.after for track, step in steps.items()}
        self._places = {track: place for track, place in latest.items() if track in alive}
        self._standings = {track: lines for track, lines in self._standings.items() if track in alive}
        return Traced(ids, tuple(counts), tuple(crossings))

    def carry(self, shot: Shot) -> Shot | None:
        """Fills in what is carried into a frame that was not looked at; None if nobody can know what it shows."""
        tracker = self._trackers.get(shot.session)
        look, time = (tracker.look, tracker.time_at(shot.at, shot.arrived)) if tracker else (None, None)
        if look is None or time is None or shot.pace is None or look.header_size != shot.header_size:
            return None
        carried = look.carry(look.time if shot.pace.still else time)
        return replace(
            shot,
            candidates=carried.candidates,
            shown=carried.shown,
            tracks=carried.tracks,
            width=look.size[0],
            height=look.size[1],
            # No frame shows an object best in which nobody has looked for it.
            sharpness=[0.0] * len(carried.candidates),
        )

    def pass_by(self, session: str, pace: Pace) -> None:
        """Notes where a session stands after a frame, be it one that turned out to be none."""
        self._paces.pop(session, None)
        # Anybody can name sessions in frames that are no pictures; those that have tracks outlast them.
        alone = [
            other
            for other, its in self._paces.items()
            if other not in self._trackers and pace.arrived - its.arrived <= LOST_SECONDS
        ]
        kept = {*self._trackers, *alone[1 - MAX_SESSIONS :]}
        self._paces = {other: its for other, its in self._paces.items() if other in kept} | {session: pace}

    def _tracker(self, shot: Shot) -> Tracker:
        """The tracker of a frame's session. Those of sessions that have ended are dropped."""
        tracker = self._trackers.pop(shot.session, None) or Tracker(shot.frame_id, self._threshold)
        others = [
            (session, other)
            for session, other in self._trackers.items()
            if shot.arrived - other.arrived <= LOST_SECONDS
        ]
        self._trackers = {**dict(others[1 - MAX_SESSIONS :]), shot.session: tracker}
        return tracker

    def _cross(self, track: str, step: Step, line: Line, shot: Shot) -> int:
        standings = self._standings.setdefault(track, {})
        standings[line.name], counted = follow(
            standings.get(line.name, Standing()), step, line, shot.width, shot.height
        )
        return counted

    def state(self) -> SceneState:
        """The state from which `from_state` continues exactly."""
        return SceneState(
            trackers={session: tracker.state() for session, tracker in self._trackers.items()},
            paces=self._paces,
            places=self._places,
            totals=self._totals,
            standings=self._standings,
        )

    @classmethod
    def from_state(cls, state: SceneState, threshold: float) -> Scene:
        """Continues a scene from another worker's state.

        Raises:
            ValueError: If the state cannot be used.
        """
        scene = cls(threshold)
        scene._trackers = {
            session: Tracker.from_state(tracker, threshold) for session, tracker in state.trackers.items()
        }
        scene._paces, scene._places, scene._totals = dict(state.paces), dict(state.places), dict(state.totals)
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
