"""What is told and kept of a source's frames: its events, its tallies, and which frames are announced and stored.

All of it is a function of the frames in their order, and its state is stored before each checkpoint, with the tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict

from contract.source_settings import SourceSettings
from kcl_worker.tracking import tally
from kcl_worker.tracking.clock import elapsed
from kcl_worker.tracking.events import MARGIN_SECONDS, SILENCE_SECONDS, Change, Sight, Watch, WatchState
from kcl_worker.tracking.tally import Counted, Tally

# Frames that a camera sends late in one go come no later than that, or it was silent.
MOST_BEHIND_SECONDS: Final = SILENCE_SECONDS


class StoryState(BaseModel):
    """A story in its saved form.

    Attributes:
        clock: Seconds of the source's own clock at its last frame.
        at, arrived: That frame's times of capture and of arrival, in seconds.
        behind: How much less time has passed by the source's clock than by the stream's.
        keep_until: Frames up to then are stored because of an event, by the source's clock.
        sampled: When a frame was stored as a sample, by the source's clock.
    """

    model_config = ConfigDict(frozen=True)

    clock: float = 0.0
    at: float | None = None
    arrived: float = 0.0
    behind: float = 0.0
    watch: WatchState = WatchState()
    tallies: dict[str, Tally] = {}
    keep_until: float = -1.0
    sampled: float | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a frame, or its absence, leads to.

    Attributes:
        changes: Of events.
        tallies: Those that are complete.
        events: Ids of the events that the frame belongs to.
        announced: Whether the frame has a message of its own.
        stored: Whether the frame is stored.
        since: Earlier frames that are stored because of an event that starts, from this reading of the source's clock
            on; None: none are.
    """

    changes: list[Change] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)
    events: tuple[str, ...] = ()
    announced: bool = False
    stored: bool = False
    since: float | None = None


class Story:
    """One source's story; frames must be added in their order."""

    def __init__(self, source: str, state: StoryState | None = None) -> None:
        self._state = state or StoryState()
        self._watch = Watch(source, self._state.watch)

    @property
    def state(self) -> StoryState:
        """The state from which a story continues exactly."""
        return self._state

    @property
    def clock(self) -> float:
        """Seconds of the source's own clock at its last frame."""
        return self._state.clock

    @property
    def is_open(self) -> bool:
        """Whether something has to be told even if no frame comes any more."""
        return bool(self._state.tallies) or self._watch.has_open()

    def tick(self, at: float, arrived: float) -> float:
        """Moves the source's clock to its next frame; gives what it says then, in seconds.

        Args:
            at: Time of capture, in seconds.
            arrived: Time of arrival on the stream, in seconds.
        """
        state = self._state
        step, behind = 0.0, 0.0
        if state.at is not None:
            known = max(0.0, arrived - state.arrived)
            step = elapsed(at - state.at, known)
            # A camera's clock may stand still. What waits for a time to pass must not wait for ever.
            behind = max(0.0, state.behind + known - step)
            step += max(0.0, behind - MOST_BEHIND_SECONDS)
            behind = min(behind, MOST_BEHIND_SECONDS)
        arrived = max(arrived, state.arrived)
        self._state = state.model_copy(
            update={"clock": state.clock + step, "at": at, "arrived": arrived, "behind": behind}
        )
        return self._state.clock

    def add(self, sight: Sight, arrived: float, counted: Callable[[bool], Counted], settings: SourceSettings) -> Told:
        """Takes the frame that the clock stands at.

        Args:
            arrived: Time of its arrival on the stream, in seconds.
            counted: Gives what the frame adds to a tally if it has no message of its own, told whether it is stored.
        """
        clock = self._state.clock
        changes = self._watch.add(sight, arrived, settings.events)
        # What starts and ends in one frame belongs to it, too.
        events = tuple(dict.fromkeys((*self._watch.running(), *_told(changes))))
        keep_until = self._state.keep_until
        if events:
            keep_until = clock + settings.after_seconds
        shown = sight.mark.shown
        announced = {"all": True, "detections": shown, "events": bool(events)}[settings.announce]
        stored = {"all": True, "detections": shown, "events": clock <= keep_until, "none": False}[settings.store]
        sampled = self._state.sampled
        if settings.sample_seconds and (sampled is None or clock - sampled >= settings.sample_seconds):
            sampled, stored = clock, True
        tallies = self._state.tallies
        open_, complete = tally.settle(tallies, arrived) if announced else tally.count(tallies, counted(stored))
        self._state = self._state.model_copy(
            update={"watch": self._watch.state, "tallies": open_, "keep_until": keep_until, "sampled": sampled}
        )
        starts = any(change.phase == "start" and change.rule.kind != "silent" for change in changes)
        since = clock - settings.before if starts and settings.before else None
        return Told(changes, complete, events, announced, stored, since)

    def rest(self, now: float, settings: SourceSettings) -> Told:
        """Notes that no frame has arrived up to a time, in seconds; tells what that completes."""
        changes = self._watch.rest(now, settings.events)
        open_, complete = tally.rest(self._state.tallies, now)
        self._state = self._state.model_copy(update={"watch": self._watch.state, "tallies": open_})
        return Told(changes, complete)

    def is_due(self, now: float, settings: SourceSettings) -> bool:
        """Whether `rest` would tell anything."""
        return bool(tally.rest(self._state.tallies, now)[1]) or self._watch.is_due(now, settings.events)

    def is_silent(self, now: float) -> bool:
        """Whether no earlier frame can be part of what the next one shows."""
        return now - MARGIN_SECONDS - self._state.arrived > SILENCE_SECONDS


def _told(changes: list[Change]) -> list[str]:
    return [change.happening.event_id for change in changes if change.rule.kind != "silent"]
