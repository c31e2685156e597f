"""The sources of a leased shard, and their way from one lease to the next.

Tracks, events and tallies have a memory, and a lease can move at any time. So before a checkpoint, the worker stores
the state of each source at that checkpoint, next to the state at the checkpoint before. The next owner of the lease
begins at one of these two checkpoints, loads the matching state, and goes on: with the same ids and the same events.

A source can move to another shard, too: cameras are spread anew when one is added, and shards are split and merged. Its
next shard continues from its last frame where the same task holds both shards, else from the other shard's last
checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from contract.message import LineCount
from contract.source_settings import SourceSettings
from kcl_worker.storing.sinks import StateStore
from kcl_worker.tracking.pace import Pace
from kcl_worker.tracking.scene import Scene, Shot, Traced
from kcl_worker.tracking.scene_archive import SceneArchive
from kcl_worker.tracking.sight import counted_of, sight_of
from kcl_worker.tracking.snapshots import Moment, SequenceNumber, Snapshot, last_before
from kcl_worker.tracking.story import Story, Told
from kcl_worker.tracking.tracker import load_library

logger = logging.getLogger(__name__)


class Kin(NamedTuple):
    """Shards that may have a shard's sources, too.

    Attributes:
        parents: From which it was split or merged.
        siblings: Other children of these.
    """

    parents: tuple[str, ...] = ()
    siblings: tuple[str, ...] = ()


KinOf = Callable[[str], Awaitable[Kin]]

MAX_SERIES: Final = 16
# A source that has paused for so long may have been in another shard meanwhile.
PAUSE_SECONDS: Final = 5.0
# Nobody waits for longer for a sibling to be read, if another task has it, or nobody.
SIBLING_SECONDS: Final = 300.0
# Sources that are remembered of one shard: plain JPEGs may name a new one in each record.
MAX_SOURCES: Final = 2000
# Of these, how many a frame looks through for one to drop.
AT_ONCE: Final = 16


class Seen(NamedTuple):
    """What a frame adds to its source.

    Attributes:
        tracks: Of each shown detection; None for one without.
        shot: The frame, with what was carried into it.
    """

    tracks: list[str | None]
    lines: tuple[LineCount, ...]
    told: Told
    clock: float
    shot: Shot


@dataclass(slots=True)
class _Live:
    """A source, with its snapshots from the last durable frame on, and the latest series that it has seen.

    Attributes:
        stored: What is stored of it: one or two snapshots, the newest last.
        here: Whether a frame of it has come since the lease began.
        siblings: Other shards in which it may have gone on; they are read at their own pace.
    """

    scene: Scene | None
    story: Story
    threshold: float
    trail: deque[Snapshot]
    stored: list[Snapshot]
    here: bool = True
    siblings: tuple[str, ...] = ()
    series: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_SERIES))


class SceneStore:
    """The sources of one shard while it is leased.

    Args:
        store: Keeps texts by their names; None if nothing is remembered.
        held: The sources of all shards that this task holds, by shard.
        class_names: By class id.

    Attributes:
        read_until: Up to when the shard was read, in seconds.
    """

    def __init__(
        self,
        store: StateStore | None,
        shard_id: str,
        held: Mapping[str, SceneStore] | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        self._archive = SceneArchive(store, shard_id) if store else None
        self._shard_id, self._held, self._class_names = shard_id, {} if held is None else held, class_names
        self._live: dict[str, _Live] = {}
        self._durable: SequenceNumber = (-1, 0)
        self.read_until = 0.0

    async def add(
        self,
        source: str,
        moment: Moment,
        shot: Shot,
        settings: SourceSettings,
        threshold: float,
        look: Callable[[], Awaitable[Shot]] | None = None,
    ) -> Seen:
        """Adds a source's next frame.

        Args:
            look: Of a frame that was not looked at: does so after all. Asked if nothing can be carried into the frame.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        live = await self._resume(source, moment, settings, threshold)
        if look:
            shot = (live.scene.carry(shot) if live.scene and live.threshold == threshold else None) or await look()
        traced = await self._trace(live, shot, settings, threshold)
        clock = live.story.tick(shot.at, moment.arrived)
        told = live.story.add(
            sight_of(shot, moment, clock, traced, settings, self._class_names),
            moment.arrived,
            partial(counted_of, shot, moment, traced, settings, self._class_names),
            settings,
        )
        self._append(source, live, moment)
        tracks = [traced.ids[place] if traced.ids else None for place in shot.shown]
        return Seen(tracks, traced.lines, told, clock, shot)

    async def pace(self, source: str, moment: Moment, session: str) -> Pace | None:
        """Where a session stands between two looks before its next frame, all earlier ones having had their turns; None
        if it begins.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        live = self._live.get(source)
        known = live is not None and moment.series in live.series
        last = self.last(source) if known else await self._last_before(source, moment, live)
        return last.scene.paces.get(session) if last and last.scene else None

    async def pass_by(
        self, source: str, moment: Moment, session: str, pace: Pace, settings: SourceSettings, threshold: float
    ) -> None:
        """Notes a frame of a source that turned out to be none, so that the next ones are judged as they were before it
        was known.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        live = await self._resume(source, moment, settings, threshold)
        scene = await self._scene(live, threshold)
        scene.pass_by(session, pace)
        self._append(source, live, moment)

    def knows(self, source: str) -> bool:
        """Whether a source has begun something here that has to be told."""
        live = self._live.get(source)
        return live is not None and live.story.is_open

    def last(self, source: str) -> Snapshot | None:
        """A source after its last frame here."""
        live = self._live.get(source)
        return live.trail[-1] if live and live.here and live.trail else None

    def settle(self, durable: SequenceNumber) -> None:
        """Notes up to which frame of the shard all are stored."""
        self._durable = durable

    async def save(self) -> None:
        """Stores the sources as of the last durable frame, those that have changed since the last time.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        changed = {}
        for source, live in self._live.items():
            self._trim(live)
            now = live.trail[0] if live.trail else None
            if now is None or (live.stored and now is live.stored[-1]):
                continue
            # What only a parent shard has seen is its other child's as much as ours.
            if now.at > self._durable if now.shard_id == self._shard_id else not live.here:
                continue
            # What was told of the same frame later takes the place of what was stored of it.
            before = [
                snapshot for snapshot in live.stored if snapshot.at != now.at or snapshot.shard_id != now.shard_id
            ]
            changed[source] = live.stored = [*before[-1:], now]
        if self._archive and changed:
            await self._archive.save(changed)

    # -- while no frame comes

    @property
    def outlive(self) -> bool:
        """Whether sources outlive the lease."""
        return self._archive is not None

    async def adopt(self, kin_of: KinOf | None) -> None:
        """Takes over what the last owner of this shard, and those of its parents, have begun and not told to its end.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        if self._archive is None:
            return
        kin = await kin_of(self._shard_id) if kin_of else Kin()
        for shard_id in (self._shard_id, *kin.parents):
            siblings = () if shard_id == self._shard_id else kin.siblings
            for source, snapshots in (await self._archive.of(shard_id)).items():
                story = Story(source, snapshots[-1].story)
                if source not in self._live and story.is_open:
                    last = snapshots[-1]
                    live = _Live(None, story, 0.0, deque([last]), [*snapshots], here=False, siblings=siblings)
                    self._live[source] = live

    def due(self, now: float, settings_of: Callable[[str], SourceSettings]) -> list[str]:
        """Sources of which something has to be told although no frame has come up to a time, in seconds."""
        return [
            source
            for source, live in self._live.items()
            if live.story.is_due(self._known_until(live, now), settings_of(source))
        ]

    def _known_until(self, live: _Live, now: float) -> float:
        """Up to when it is known that no frame of a source has come, neither here nor in a sibling."""
        if not live.siblings or now - live.trail[-1].arrived > SIBLING_SECONDS:
            return now
        siblings = [self._held.get(shard_id) for shard_id in live.siblings]
        return min(now, *(sibling.read_until if sibling else 0.0 for sibling in siblings))

    def is_silent(self, source: str, now: float) -> bool:
        """Whether no earlier frame of a source can be part of what its next one shows."""
        live = self._live.get(source)
        return live is None or live.story.is_silent(now)

    def rest(self, source: str, now: float, settings: SourceSettings) -> Told:
        """Tells what the time completes of a source that is due."""
        live = self._live[source]
        told = live.story.rest(self._known_until(live, now), settings)
        live.trail[-1] = live.trail[-1].model_copy(update={"story": live.story.state})
        return told

    async def drop_if_elsewhere(self, source: str) -> None:
        """Forgets a source that has gone on in another shard, where the rest is told.

        Raises:
            ServiceError: If access to states is forbidden.
        """
        live = self._live.get(source)
        if live is None:
            return
        last = live.trail[-1]
        others = [shard.last(source) for shard in self._held.values() if shard is not self]
        if self._archive:
            # A source that came from a parent may have gone on in the other child.
            shard_id = await self._archive.whereabouts(source)
            if shard_id not in (None, self._shard_id, last.shard_id):
                others += (await self._archive.of(str(shard_id))).get(source, [])
        went_on = any(other is not None and last.precedes(other) for other in others)
        if went_on and self._live.get(source) is live and live.trail[-1] is last:
            del self._live[source]

    # -- parts of `add`

    async def _resume(self, source: str, moment: Moment, settings: SourceSettings, threshold: float) -> _Live:
        """A source with its state before its next frame."""
        live = self._live.get(source)
        if live is None or moment.series not in live.series:
            live = self._live[source] = await self._begin(source, moment, threshold, settings, live)
            live.series.append(moment.series)
        if self._archive and live.trail and moment.arrived - live.trail[-1].arrived > PAUSE_SECONDS:
            self._archive.is_new_here(source)
        return live

    async def _trace(self, live: _Live, shot: Shot, settings: SourceSettings, threshold: float) -> Traced:
        """Tracks a frame's objects, if the source wants that."""
        if not settings.tracks:
            live.scene = None
            return Traced([], (), ())
        scene = await self._scene(live, threshold)
        return scene.add(shot, settings)

    async def _scene(self, live: _Live, threshold: float) -> Scene:
        """A source's scene, with the threshold that now holds."""
        if live.scene is None:
            await asyncio.to_thread(load_library)
            live.scene, live.threshold = Scene(threshold), threshold
        elif live.threshold != threshold:
            live.scene, live.threshold = Scene.from_state(live.scene.state(), threshold), threshold
        return live.scene

    def _append(self, source: str, live: _Live, moment: Moment) -> None:
        """Notes how a source is after its frame, and that it is the last of all that was heard of."""
        live.trail.append(_snapshot(moment, live))
        self._trim(live)
        # It may have been dropped meanwhile, as one that went on elsewhere.
        self._live.pop(source, None)
        self._live[source] = live
        self._forget()

    def _forget(self) -> None:
        """Drops the sources that were silent for the longest, if there are too many: those with nothing left to tell,
        and beyond twice as many, all that are stored."""
        for source, live in [*islice(self._live.items(), min(AT_ONCE, max(0, len(self._live) - MAX_SOURCES)))]:
            durable = not live.trail or live.trail[-1].at <= self._durable
            if durable and (not live.story.is_open or len(self._live) > 2 * MAX_SOURCES):
                del self._live[source]
            else:
                self._live[source] = self._live.pop(source)

    def _trim(self, live: _Live) -> None:
        """Drops snapshots from before the last durable frame."""
        while len(live.trail) > 1 and live.trail[1].at <= self._durable:
            live.trail.popleft()

    async def _begin(
        self, source: str, moment: Moment, threshold: float, settings: SourceSettings, live: _Live | None
    ) -> _Live:
        """Continues a source where its frames were before this one, in this shard or in another."""
        last = await self._last_before(source, moment, live)
        if live and live.here and last is self.last(source):
            return live
        if last is None:
            return _Live(None, Story(source), threshold, deque(), [])
        scene = None
        if last.scene is not None and settings.tracks:
            await asyncio.to_thread(load_library)
            try:
                scene = Scene.from_state(last.scene, threshold)
            except ValueError as error:
                why = str(error).splitlines()[0]
                logger.warning("state of %s cannot be used, its tracks begin anew: %s", source, why)
        return _Live(scene, Story(source, last.story), threshold, deque([last]), [last])

    async def _last_before(self, source: str, moment: Moment, live: _Live | None) -> Snapshot | None:
        """The newest snapshot from before a moment, wherever it is."""
        known = list(live.trail) if live else []
        if not (live and live.here) and self._archive:
            known += await self._archive.here(source)
        last = last_before(moment, known)
        if last is not None and last.series == moment.series:
            if last.shard_id == self._shard_id and self._archive:
                self._archive.is_here(source)
            return last
        # The first one here, or the camera's session is new: it may have been elsewhere.
        known += filter(None, [shard.last(source) for shard in self._held.values() if shard is not self])
        if self._archive:
            known += await self._archive.elsewhere(source)
        return last_before(moment, known)


def _snapshot(moment: Moment, live: _Live) -> Snapshot:
    return Snapshot.model_construct(
        **dict(moment), scene=live.scene.state() if live.scene else None, story=live.story.state
    )
