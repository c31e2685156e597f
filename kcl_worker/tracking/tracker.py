"""Tracks objects from frame to frame with ByteTrack, with a state from which another worker can continue.

ByteTrack: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import BaseModel

from kcl_worker.tracking.clock import LOST_SECONDS, elapsed
from kcl_worker.tracking.look import Look
from kcl_worker.vision.detections import Detections

if TYPE_CHECKING:
    from trackers import ByteTrackTracker

# Cameras' clocks may stand still or go back a little.
LEAST_SECONDS: Final = 0.001
# The frame rate for which ByteTrack's motion model was tuned; the model scales with the time between frames.
REFERENCE_FPS: Final = 30.0
# The filter's noise grows with the fourth power of the time between frames, because it takes an object's acceleration
# for constant meanwhile; at five frames a second it drowns what the filter knows. So a slow camera's filter has a
# slower clock, of so many seconds a frame at most.
LONGEST_STEP: Final = 0.1
# The weight of one more frame in the usual time between frames, and what one frame may be taken for at most.
_ADAPTS: Final = 0.1
_MOST_USUAL: Final = 2.0
_BOX_FIELDS: Final = 8  # x1 y1 x2 y2 and their velocities
_importing = threading.Lock()


class TrackState(BaseModel):
    """One track's state in the Kalman filter."""

    track_id: int
    age: int
    frames_lost: int
    seconds_lost: float
    hits: int
    mean: list[float]
    covariance: list[float]


class TrackerState(BaseModel):
    """All tracks of a source's session; the times are those of its last frame.

    Attributes:
        seen: Seconds of the filter's clock; None: it has never stood still.
        interval: Usual seconds between two frames; 0 before the second.
    """

    epoch: str
    next_id: int
    time: float
    at: float
    arrived: float
    tracks: list[TrackState]
    seen: float | None = None
    interval: float = 0.0
    look: Look | None = None


class Tracker:
    """The tracks of one session of a source.

    An id is `EPOCH-NUMBER`: the epoch is made from the tracker's first frame, and numbers count from 0. So
    ids are unique, and frames that are processed again from a saved state get the same ids again.

    Args:
        first_frame_id: The id of the first frame.
        threshold: The least confidence at which a detection begins a track.

    Attributes:
        arrived: When its last frame arrived, in seconds.
        time: Of the tracker's own clock at its last frame, in seconds.
        seen: Of the filter's clock, in seconds. It stands still in frames at which nobody looks, so its noise grows
            by looks, and nothing is lost because nobody has looked for it. It goes slower for a slow camera.
        look: What the last frame showed that was looked at; None where every frame is.
    """

    def __init__(self, first_frame_id: str, threshold: float) -> None:
        self._threshold = threshold
        self._at: float | None = None
        self.arrived = 0.0
        self._begin(first_frame_id)

    def _begin(self, frame_id: str) -> None:
        self._epoch = hashlib.sha256(frame_id.encode()).hexdigest()[:10]
        self._tracker = _bytetrack(self._threshold)
        self.time = self.seen = self._interval = 0.0
        self.look: Look | None = None

    def update(self, frame_id: str, at: float, arrived: float, detections: Detections) -> list[str | None]:
        """Follows the objects into the next frame.

        Args:
            at: Time of capture, in seconds.
            arrived: Time of arrival on the stream, in seconds.
            detections: Detections down to `LOWEST_CONFIDENCE`.

        Returns:
            The id of each detection's track; None for a detection without one, such as an object's first.
        """
        step = self._step(at, arrived)
        if step is None:
            self._begin(frame_id)  # all tracks are lost
        else:
            slowness = self._slowness(step) if self._at is not None else 1.0
            self.time += step
            self.seen += step * slowness
            # The library counts by the filter's clock.
            self._tracker.maximum_time_without_update = LOST_SECONDS * slowness
        self._at, self.arrived = at, arrived
        import supervision

        given = supervision.Detections(
            xyxy=detections.xyxy.astype(np.float64),
            confidence=detections.confidence,
            class_id=detections.class_id.astype(int),
            data={"place": np.arange(len(detections))},
        )
        found = self._tracker.update(given, timestamp=self.seen)
        ids: list[str | None] = [None] * len(detections)
        if len(found) and found.tracker_id is not None:
            for place, number in zip(found.data["place"], found.tracker_id, strict=True):
                if number >= 0:
                    ids[int(place)] = f"{self._epoch}-{number}"
        return ids

    def _slowness(self, step: float) -> float:
        """Seconds of the filter's clock for each second, once a frame comes `step` seconds after the last one."""
        usual = self._interval or max(step, 1 / REFERENCE_FPS)  # a session may begin with a burst
        self._interval = usual + _ADAPTS * (min(step, _MOST_USUAL * usual) - usual)
        return min(1.0, LONGEST_STEP / self._interval)

    def pass_over(self, at: float, arrived: float) -> None:
        """Notes a frame that nobody has looked at, no later than `LOST_SECONDS` after the last one."""
        self.time += self._step(at, arrived) or 0.0
        self._at, self.arrived = at, arrived

    def time_at(self, at: float, arrived: float) -> float | None:
        """The tracker's time at its next frame; None if all tracks are lost by then."""
        step = self._step(at, arrived)
        return None if step is None else self.time + step

    def _step(self, at: float, arrived: float) -> float | None:
        passed = elapsed(at - self._at, arrived - self.arrived) if self._at is not None else 0.0
        return max(passed, LEAST_SECONDS) if passed <= LOST_SECONDS else None

    def speeds(self) -> dict[str, tuple[float, float]]:
        """How fast the middle of each current track moves, by its filter: pixels to the right and down, a second of the
        filter's clock."""
        speeds = {}
        for track in self._tracker.tracks:
            x1, y1, x2, y2 = track.state_estimator.kf.state.ravel()[4:].tolist()
            speeds[f"{self._epoch}-{track.tracker_id}"] = (x1 + x2) / 2 * REFERENCE_FPS, (y1 + y2) / 2 * REFERENCE_FPS
        return speeds

    def alive(self) -> set[str]:
        """Ids of all current tracks, including those out of sight."""
        return {f"{self._epoch}-{track.tracker_id}" for track in self._tracker.tracks if track.tracker_id >= 0}

    # The state consists of the library's fields, some of them private. The library's version is pinned, and a test
    # continues from states at every stage of a film.

    def state(self) -> TrackerState:
        """The state from which `from_state` continues exactly."""
        return TrackerState(
            epoch=self._epoch,
            next_id=self._tracker._next_track_id,
            time=self.time,
            at=self._at or 0.0,
            arrived=self.arrived,
            tracks=[
                TrackState(
                    track_id=track.tracker_id,
                    age=track.age,
                    frames_lost=track.time_since_update,
                    seconds_lost=track.time_since_update_seconds,
                    hits=track.number_of_successful_consecutive_updates,
                    mean=track.state_estimator.kf.state.ravel().tolist(),
                    covariance=track.state_estimator.kf.state_covariance.ravel().tolist(),
                )
                for track in self._tracker.tracks
            ],
            seen=self.seen,
            interval=self._interval,
            look=self.look,
        )

    @classmethod
    def from_state(cls, state: TrackerState, threshold: float) -> Tracker:
        """Continues from another tracker's state.

        Raises:
            ValueError: If the state comes from another motion model.
        """
        from trackers.core.bytetrack.tracklet import ByteTrackTracklet

        tracker = cls("", threshold)
        tracker._epoch, tracker.time = state.epoch, state.time
        tracker.seen = state.time if state.seen is None else state.seen
        tracker._at, tracker.arrived, tracker._interval = state.at, state.arrived, state.interval
        tracker.look = state.look
        inner = tracker._tracker
        inner._next_track_id, inner._last_timestamp = state.next_id, tracker.seen
        for saved in state.tracks:
            track = ByteTrackTracklet(np.zeros(4), inner.state_estimator_class)
            filter_ = track.state_estimator.kf
            filter_.state = np.array(saved.mean).reshape(_BOX_FIELDS, 1)
            filter_.state_covariance = np.array(saved.covariance).reshape(_BOX_FIELDS, _BOX_FIELDS)
            track.tracker_id, track.age = saved.track_id, saved.age
            track.time_since_update, track.time_since_update_seconds = saved.frames_lost, saved.seconds_lost
            track.number_of_successful_consecutive_updates = saved.hits
            inner.tracks.append(track)
        return tracker


def load_library() -> None:
    """Imports what tracking needs. Workers without tracked sources save its half a second and 70 MB."""
    with _importing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import supervision  # noqa: F401
        import trackers  # noqa: F401


def _bytetrack(threshold: float) -> ByteTrackTracker:
    from trackers import ByteTrackTracker

    arguments: dict[str, Any] = {
        "lost_track_buffer": round(LOST_SECONDS * 30),
        "frame_rate": REFERENCE_FPS,
        "track_activation_threshold": threshold,
        "high_conf_det_threshold": threshold,
    }
    return ByteTrackTracker(**arguments)
