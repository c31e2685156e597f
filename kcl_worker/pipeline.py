"""The way of a frame, from a record of the stream to its stored outcome."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import numpy as np

from contract import Frame, FrameError, Identity, Metadata, Position, identify
from contract.frame import format_time
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.budget import Budget, Grant
from kcl_worker.doing import doing
from kcl_worker.held import Held, HeldFrame, HeldMemory
from kcl_worker.leased_shard import LeasedShard
from kcl_worker.looked import Looked
from kcl_worker.messages import Messages
from kcl_worker.operating.metrics import Metrics
from kcl_worker.pacing import Step
from kcl_worker.prefix import Entry
from kcl_worker.record import Outcome, Record, Turn
from kcl_worker.settings import Settings
from kcl_worker.storing.event_sink import EventSink
from kcl_worker.storing.sinks import About, FrameStore, MessageQueue, StateStore
from kcl_worker.telling import Sending, Telling
from kcl_worker.tracking.events import BestView
from kcl_worker.tracking.scene import Shot
from kcl_worker.tracking.scene_store import KinOf, SceneStore, Seen
from kcl_worker.tracking.snapshots import Moment
from kcl_worker.tracking.story import Told
from kcl_worker.vision.compute import Compute, Picture
from kcl_worker.vision.detections import Detections
from kcl_worker.vision.footprint import footprint
from kcl_worker.vision.isolation import Isolation

logger = logging.getLogger(__name__)

MIB: Final = 2**20

# Of a frame at which nobody looks, until its turn says what is carried into it.
UNSEEN: Final = Picture(b"", Detections.empty(), np.empty(0, np.intp), 0, 0, 0.0, carried=True)


@dataclass(frozen=True, slots=True)
class Said:
    """What a record's turn has settled.

    Attributes:
        body: The record's message; None: it is counted in a tally.
        queue: The message's; None if nobody wants it.
        count: Counts the record's outcome, once it is stored.
        rest: Stores and sends what comes before the message, then enqueues it; gives what was settled then, for a frame
            may turn out to be none. None: nothing does.
        outcome: What became of the record, once all that is done.
    """

    body: ResultMessage | QuarantineMessage | SkippedMessage | None
    queue: MessageQueue | None
    count: Callable[[], None]
    rest: Callable[[Said], Awaitable[tuple[Said, Sending | None]]] | None = None
    outcome: Outcome = Outcome.DURABLE


class Pipeline:
    """Processes records to their outcomes: stored and announced as their source's settings say, or quarantined with a
    reason.

    Args:
        quarantined: Where notices of quarantined records go; None if nobody wants them.
        settings_of: What is wanted of a source.
        states: Where what is known of sources outlives their shard's lease; None if nothing is remembered.
        memory: What frames of all shards may take while they are decoded, drawn on, encoded and stored; None: all.
        isolation: Computes frames that a worker may have died of; None: as all others.
        events: Where events go; None: into the bucket alone.
        held: What frames may take that an event may still want; None: 64 MiB.
        kin_of: Asked once for each leased shard; None: shards have no kin.
        anything_hidden: Whether any source hides something.
    """

    def __init__(
        self,
        settings: Settings,
        compute: Compute,
        frames: FrameStore,
        results: MessageQueue,
        quarantined: MessageQueue | None,
        metrics: Metrics,
        settings_of: Callable[[str], SourceSettings] = lambda source: DEFAULT,
        states: StateStore | None = None,
        memory: Budget | None = None,
        isolation: Isolation | None = None,
        events: EventSink | None = None,
        held: HeldMemory | None = None,
        kin_of: KinOf | None = None,
        anything_hidden: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings, self._compute, self.settings_of = settings, compute, settings_of
        self._frames, self._results, self._quarantined = frames, results, quarantined
        self._metrics, self._states, self.kin_of = metrics, states, kin_of
        self._messages = Messages(settings, compute.model, compute.class_names)
        events = events or EventSink(frames, None, None)
        self.telling = Telling(self._messages, results, events, frames, settings_of)
        self._memory = memory or Budget(sys.maxsize)
        self._isolation = isolation or compute
        self._anything_hidden = anything_hidden
        self._held = held or HeldMemory(64 * MIB)
        # Of the shards that are leased: each lives as long as the work on it.
        self._scenes: WeakValueDictionary[str, SceneStore] = WeakValueDictionary()

    def begin(self, shard_id: str) -> LeasedShard:
        """Begins the work on a shard that was leased."""
        scenes = SceneStore(self._states, shard_id, self._scenes, self._compute.class_names)
        self._scenes[shard_id] = scenes
        return LeasedShard(self, shard_id, scenes, Held(self._held))

    async def process(self, record: Record, shard: LeasedShard, entry: Entry) -> Outcome:
        """Gives the outcome once it is stored; before that, the record must not be checkpointed.

        Raises only errors that end the worker; while a service is down, it waits.
        """
        with self._results.expecting():
            say = await self._store(record, shard, entry)
            sent = None
            with doing("turn"):
                async with record.turn:
                    said = await say()
                    if not said.rest:
                        sent = await self._enqueue(record, said)
            if said.rest:
                said, sent = await said.rest(said)
        if sent:
            with doing("sqs"):
                await sent
        said.count()
        return said.outcome

    async def _store(self, record: Record, shard: LeasedShard, entry: Entry) -> Callable[[], Awaitable[Said]]:
        """Stores what is certain before the record's turn; gives what its turn has to say."""
        metadata: Metadata | None = None
        step: Step | None = None
        try:
            frame = Frame.parse(
                record.data,
                max_pixels=self._settings.max_frame_pixels,
                max_bytes=self._settings.max_frame_bytes,
            )
            metadata = frame.metadata
            identity = identify(metadata, record.position)
            wanted = self.settings_of(identity.source)
            step = shard.pacing.next(identity) if wanted.adapts else None
            if not wanted.tells and self._is_stale(record.position) and not await self._has_outcome(identity):
                return partial(self._skip, record.position, identity)
            about = About(_sha256(record.data), wanted.keep_days, identity.captured_at)
            compute = self._compute_of(record)
            glance = partial(self._glance, compute, frame, wanted)
            if step and not await step.is_looked_at(Moment.of(record.position, identity), wanted, glance):
                if record.suspect:
                    await self._try_out(frame, wanted)
                looked = Looked(record, entry, identity, frame, UNSEEN, wanted, about, stored=False, step=step)
                return partial(self._tell, looked, shard)
            with await self._take_memory(frame) as memory:
                picture = await compute.picture(frame, wanted)
                memory.shrink(len(picture.jpeg))
                stored = wanted.stores_at_once(len(picture.shown))
                if stored:
                    await self._frames.put(identity.key, picture.jpeg, "image/jpeg", about)
                if not record.suspect:  # one that was is drawn once
                    # What is stored is let go: the message may have to wait for its turn.
                    picture = replace(picture, jpeg=b"")
            looked = Looked(record, entry, identity, frame, picture, wanted, about, stored, step)
            return partial(self._tell, looked, shard)
        except FrameError as error:
            identity = identify(metadata, record.position)
            await self._quarantine(record, identity, error, is_known=metadata is not None)
            return partial(self._notify, record, identity, error, shard, step)
        finally:
            if step:
                await step.leave()

    def _compute_of(self, record: Record) -> Compute | Isolation:
        """Where a record's frame is computed."""
        return self._isolation if record.suspect else self._compute

    async def _glance(self, compute: Compute | Isolation, frame: Frame, wanted: SourceSettings) -> bytes:
        with await self._take_memory(frame):
            return await compute.glance(frame, wanted)

    async def _try_out(self, frame: Frame, wanted: SourceSettings) -> None:
        """Sees whether a process dies of a frame that nobody has to look at, and that may be drawn later.

        Raises:
            FrameError: `crashed` if one does; `undecodable`.
        """
        with await self._take_memory(frame):
            await self._isolation.picture(frame, wanted)

    async def _quarantine(self, record: Record, identity: Identity, error: FrameError, *, is_known: bool) -> None:
        """Keeps a record's bytes, unless they may show what its source hides.

        Args:
            is_known: Whether its source is; else it is named after its partition key, and may be any source's.
        """
        logger.warning("quarantined: %s", error, extra={"frame_id": identity.frame_id})
        wanted = self.settings_of(identity.source)
        hides = wanted.privacy.hides if is_known else wanted.privacy.hides or self._anything_hidden()
        about = About(_sha256(record.data), wanted.keep_days)
        body = b"" if hides or self._settings.quarantine_keeps == "reasons" else record.data
        await self._frames.put(identity.quarantine_key, body, "application/octet-stream", about)

    # -- at the record's turn

    async def _skip(self, position: Position, identity: Identity) -> Said:
        return Said(
            self._messages.skipped(position, identity, _age(position)), self._results, self._metrics.add_skipped
        )

    async def _notify(
        self, record: Record, identity: Identity, error: FrameError, shard: LeasedShard, step: Step | None
    ) -> Said:
        wanted = self.settings_of(identity.source)
        if step and step.pace and wanted.adapts:
            moment = Moment.of(record.position, identity)
            await shard.scenes.pass_by(
                identity.source, moment, identity.session, step.pace, wanted, self._compute.threshold(wanted)
            )
        return self._refused(record, identity, error)

    def _refused(self, record: Record, identity: Identity, error: FrameError) -> Said:
        notice = self._messages.notice(record, identity, error)
        return Said(notice, self._quarantined, self._metrics.add_quarantined, outcome=Outcome.QUARANTINED)

    async def _tell(self, looked: Looked, shard: LeasedShard) -> Said:
        """Adds a frame to its source's story, and has done what that asks for."""
        identity, wanted, stored = looked.identity, looked.wanted, looked.stored
        seen, told = None, Told(announced=True, stored=stored)
        if wanted.remembers or shard.scenes.knows(identity.source):
            try:
                looked, seen = await self._see(looked, shard.scenes)
            except FrameError as error:
                await self._quarantine(looked.record, identity, error, is_known=looked.frame.metadata is not None)
                return await self._notify(looked.record, identity, error, shard, looked.step)
            told = seen.told
        before: list[HeldFrame] = []
        if told.since is not None:
            before = shard.held.take(identity.source, told.since)
        if not wanted.before:
            shard.held.clear(identity.source)
        elif seen and not told.stored:
            shard.held.add(HeldFrame(seen.clock, looked), wanted.before)
        body = None
        if told.announced:
            body = self._messages.result(
                looked.record, identity, looked.picture, wanted, seen, stored=stored or told.stored
            )
        rest = None
        if wanted.tells or wanted.adapts or told.changes or told.tallies:
            rest = partial(self._carry_out, looked, shard, told, shard.order(identity.source), before)
        return Said(body, self._results, partial(self._count, looked), rest)

    async def _see(self, looked: Looked, scenes: SceneStore) -> tuple[Looked, Seen]:
        """Adds a frame to its source's scene; gives it with what it shows. Tracks are not drawn: a picture that was
        looked at is made of its frame alone.

        Raises:
            FrameError: `undecodable`, of a frame that nobody has looked at yet.
        """
        wanted, threshold = looked.wanted, self._compute.threshold(looked.wanted)
        moment = Moment.of(looked.record.position, looked.identity)
        late = looked

        async def look() -> Shot:
            nonlocal late
            with await self._take_memory(looked.frame):
                picture = await self._compute_of(looked.record).picture(looked.frame, wanted)
                late = replace(looked, picture=picture)
            return self._shot(late, moment)

        carried = looked.picture is UNSEEN
        seen = await scenes.add(
            looked.identity.source, moment, self._shot(looked, moment), wanted, threshold, look if carried else None
        )
        shot = seen.shot
        if shot.tracks is not None:
            picture = Picture(
                b"", shot.candidates, np.array(shot.shown, np.intp), shot.width, shot.height, 0.0, carried=True
            )
            late = replace(looked, picture=picture)
        return late, seen

    def _shot(self, looked: Looked, moment: Moment) -> Shot:
        identity, picture = looked.identity, looked.picture
        return Shot(
            identity.frame_id,
            identity.session,
            identity.captured_at.timestamp(),
            moment.arrived,
            picture.candidates,
            picture.shown.tolist(),
            picture.width,
            picture.height,
            index=identity.index,
            captured_at=format_time(identity.captured_at),
            key=identity.key,
            sharpness=picture.sharpness,
            latency_ms=round(_latency_ms(identity)),
            pace=looked.step.pace if looked.step else None,
            header_size=(looked.frame.width, looked.frame.height),
        )

    async def _enqueue(self, record: Record, said: Said) -> Sending | None:
        if not said.queue or said.body is None:
            return None
        return await self.telling.enqueue(said.queue, said.body, record.data)

    # -- after it

    async def _carry_out(
        self, looked: Looked, shard: LeasedShard, told: Told, order: Turn, before: list[HeldFrame], said: Said
    ) -> tuple[Said, Sending | None]:
        """Stores and sends what a frame's turn has settled, in the order of the source's frames."""
        identity, wanted = looked.identity, looked.wanted
        jpeg, late = b"", told.stored and not looked.stored
        if late or any(_shows(change.happening.best, looked) for change in told.changes):
            try:
                async with self._drawn(looked) as jpeg:
                    if late:
                        await self._frames.put(identity.key, jpeg, "image/jpeg", looked.about)
            except FrameError as error:  # nobody has decoded it before
                await self._quarantine(looked.record, identity, error, is_known=looked.frame.metadata is not None)
                said = self._refused(looked.record, identity, error)
        async with order:
            await self.telling.events(identity.source, told, wanted, partial(_snapshot, looked, jpeg))
            sent = await self._enqueue(looked.record, said)
        for held in before:
            await self._put_earlier(held.looked)
        shard.held.done(before)
        await self.telling.tallies(identity.source, told)
        return said, sent

    async def _put_earlier(self, looked: Looked) -> None:
        try:
            async with self._drawn(looked) as jpeg:
                await self._frames.put(looked.identity.key, jpeg, "image/jpeg", looked.about)
        except FrameError as error:  # its message was sent long ago, after a glance at it
            logger.warning("not stored: %s", error, extra={"frame_id": looked.identity.frame_id})

    @asynccontextmanager
    async def _drawn(self, looked: Looked) -> AsyncIterator[bytes]:
        """The picture of a frame, with the memory that it takes.

        Raises:
            FrameError: `undecodable`, of a frame at which nobody has looked.
        """
        with await self._take_memory(looked.frame) as memory:
            jpeg = await self._compute.jpeg(looked.frame, looked.picture, looked.wanted)
            memory.shrink(len(jpeg))
            yield jpeg

    async def _take_memory(self, frame: Frame) -> Grant:
        need = self._need(frame)
        with doing("memory"):
            return await self._memory.take(need)

    def _need(self, frame: Frame) -> int:
        """Bytes that a frame takes at its peak.

        Raises:
            FrameError: `too_large`, if not even an otherwise idle task has so many.
        """
        need, most = footprint(frame), self._memory.capacity
        if need > most:
            size = f"{frame.width}x{frame.height} pixels, decoded in {need / MIB:.0f} MiB"
            raise FrameError("too_large", f"{size}: this task has {most / MIB:.0f} MiB for frames")
        return need

    def _is_stale(self, position: Position) -> bool:
        """Whether a frame has been on the stream for too long. Its time of capture is the camera's word, and may be
        wrong by years; its arrival is Kinesis'."""
        if self._settings.lag_policy == "process-all":
            return False
        return _age(position) > self._settings.max_frame_age_seconds

    async def _has_outcome(self, identity: Identity) -> bool:
        """Whether a frame was processed or quarantined before, when it was younger.

        A worker may have died since, or the producer has put it twice. Then it gets the same outcome again: that its
        object is stored does not say that its message was sent.
        """
        stored = await asyncio.gather(*map(self._frames.holds, (identity.key, identity.quarantine_key)))
        return any(stored)

    def _count(self, looked: Looked) -> None:
        picture, latency = looked.picture, _latency_ms(looked.identity)
        inference_ms = None if picture.carried else picture.inference_ms
        self._metrics.add_frame(len(picture.shown), inference_ms, latency)
        extra = {
            "frame_id": looked.identity.frame_id,
            "shard_id": looked.record.position.shard_id,
            "detections": len(picture.shown),
            "inference_ms": round(picture.inference_ms, 2),
            "latency_ms": round(latency, 1),
        }
        logger.debug("processed", extra=extra)


def _shows(best: BestView | None, looked: Looked) -> bool:
    return best is not None and best.bbox is not None and best.frame_id == looked.identity.frame_id


def _snapshot(looked: Looked, jpeg: bytes, frame_id: str) -> tuple[bytes, About] | None:
    return (jpeg, looked.about) if jpeg and frame_id == looked.identity.frame_id else None


def _age(position: Position) -> float:
    """Seconds since a record's arrival."""
    return max(0.0, (datetime.now(UTC) - position.arrived_at).total_seconds())


def _latency_ms(identity: Identity) -> float:
    return (datetime.now(UTC) - identity.captured_at).total_seconds() * 1000


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
