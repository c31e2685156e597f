"""The way of a frame, from a record of the stream to its stored outcome."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from contract import Frame, FrameError, Identity, Metadata, Position, identify
from contract.frame import format_time, parse_time
from contract.message import LineCount, QuarantineMessage, ResultMessage, SkippedMessage, Summary
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.budget import Budget, Grant
from kcl_worker.doing import doing
from kcl_worker.operating.metrics import Metrics
from kcl_worker.prefix import Prefix
from kcl_worker.record import Outcome, Place, Record
from kcl_worker.settings import Settings
from kcl_worker.storing.sinks import FrameStore, MessageQueue, StateStore
from kcl_worker.tracking.scene import Shot, count_zones
from kcl_worker.tracking.scene_store import SceneStore
from kcl_worker.tracking.snapshots import Moment, SequenceNumber
from kcl_worker.vision.compute import Compute, Picture
from kcl_worker.vision.detections import Detections
from kcl_worker.vision.footprint import footprint
from kcl_worker.vision.isolation import Isolation

logger = logging.getLogger(__name__)

MIB: Final = 2**20

Message = ResultMessage | QuarantineMessage | SkippedMessage
MakeMessage = Callable[[], Awaitable[Message]]


class Pipeline:
    """Processes records to their outcomes: stored and announced, or quarantined with a reason.

    Args:
        quarantined: Where notices of quarantined records go; None if nobody wants them.
        settings_of: What is wanted of a source.
        states: Where the scenes of tracked sources outlive their shard's lease; None if nothing is tracked.
        memory: What frames of all shards may take while they are decoded, drawn on, encoded and stored; None: all.
        isolation: Computes frames that a worker may have died of; None: as all others.
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
    ) -> None:
        self._settings, self._compute, self._settings_of = settings, compute, settings_of
        self._frames, self._results, self._quarantined = frames, results, quarantined
        self._metrics, self._states = metrics, states
        self._memory = memory or Budget(sys.maxsize)
        self._isolation = isolation or compute
        # Of the shards that are leased: each lives as long as the work on it.
        self._scenes: WeakValueDictionary[str, SceneStore] = WeakValueDictionary()

    def begin(self, shard_id: str) -> LeasedShard:
        """Begins the work on a shard that was leased."""
        scenes = self._scenes[shard_id] = SceneStore(self._states, shard_id, self._scenes)
        return LeasedShard(self, scenes)

    async def process(self, record: Record, scenes: SceneStore) -> Outcome:
        """Gives the outcome once it is stored; before that, the record must not be checkpointed.

        Raises only errors that end the worker; while a service is down, it waits.
        """
        with self._results.expecting():
            outcome, queue, make = await self._store(record, scenes)
            body, sent = await self._announce(record, queue, make)
        if sent:
            with doing("sqs"):
                await sent
        self._count(body)
        return outcome

    async def _store(self, record: Record, scenes: SceneStore) -> tuple[Outcome, MessageQueue | None, MakeMessage]:
        """Stores the outcome; gives the message to announce and its queue."""
        metadata: Metadata | None = None
        try:
            frame = Frame.parse(
                record.data,
                max_pixels=self._settings.max_frame_pixels,
                max_bytes=self._settings.max_frame_bytes,
            )
            metadata = frame.metadata
            identity = identify(metadata, record.position)
            if self._is_stale(record.position) and not await self._has_outcome(identity):
                return Outcome.DURABLE, self._results, partial(self._skipped, record.position, identity)
            wanted = self._settings_of(identity.source)
            with await self._take_memory(frame) as memory:
                compute = self._isolation if record.suspect else self._compute
                picture = await compute.picture(frame, wanted)
                memory.shrink(len(picture.jpeg))
                await self._frames.put(identity.key, picture.jpeg, "image/jpeg", _sha256(record.data))
                # What is stored is let go: the message may have to wait for its turn.
                picture = replace(picture, jpeg=b"")
            return Outcome.DURABLE, self._results, partial(self._message, record, scenes, identity, picture, wanted)
        except FrameError as error:
            identity = identify(metadata, record.position)
            await self._frames.put(
                identity.quarantine_key, record.data, "application/octet-stream", _sha256(record.data)
            )
            logger.warning("quarantined: %s", error, extra={"frame_id": identity.frame_id})
            return Outcome.QUARANTINED, self._quarantined, partial(self._notice, record, identity, error)

    async def _announce(
        self, record: Record, queue: MessageQueue | None, make: MakeMessage
    ) -> tuple[Message, asyncio.Future[None] | None]:
        """Makes and enqueues a message at the record's turn; the future is done when SQS has the message.

        A shard's frames are announced in their order, which the times in their messages show. The queue may still
        deliver them in another order: it is a standard queue and may refuse some messages of a batch.
        """
        with doing("turn"):
            async with record.turn:
                body = await make()
                sent = None
                if queue:
                    text = body.to_json()
                    if isinstance(body, ResultMessage) and not await queue.fits(text):
                        text = await self._shorten(record, body, text)
                    sent = queue.enqueue(text)
        return body, sent

    async def _take_memory(self, frame: Frame) -> Grant:
        need = self._need(frame)
        with doing("memory"):
            return await self._memory.take(need)

    async def _shorten(self, record: Record, body: ResultMessage, text: str) -> str:
        """Stores a message that is too long for the queue beside its frame; gives what is sent instead."""
        short = body.shortened(str(body.key))
        key = str(short.whole_key)
        logger.info(
            "message too long for the queue: %d bytes", len(text), extra={"frame_id": body.frame_id, "key": key}
        )
        await self._frames.put(key, text.encode(), "application/json", _sha256(record.data))
        return short.to_json()

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

    async def _skipped(self, position: Position, identity: Identity) -> SkippedMessage:
        return SkippedMessage(
            frame_id=identity.frame_id,
            frame_index=identity.index,
            source=identity.source,
            stream_name=self._settings.kinesis_stream_name,
            shard_id=position.shard_id,
            sequence_number=position.sequence,
            captured_at=format_time(identity.captured_at),
            arrived_at=format_time(position.arrived_at),
            skipped_at=format_time(datetime.now(UTC)),
            age_seconds=round(_age(position), 3),
        )

    async def _message(
        self, record: Record, scenes: SceneStore, identity: Identity, picture: Picture, wanted: SourceSettings
    ) -> ResultMessage:
        position, class_names = record.position, self._compute.class_names
        detections, width, height = picture.detections, picture.width, picture.height
        tracks: list[str | None] = [None] * len(detections)
        lines = None
        if wanted.tracks:
            tracks, crossed = await self._track(record, scenes, identity, picture, wanted)
            lines = crossed or None
        summary = summarise(detections, class_names, width, height, tracks)
        now = format_time(datetime.now(UTC))
        return ResultMessage(
            bucket=self._settings.s3_bucket_name,
            key=identity.key,
            frame_index=identity.index,
            detections_count=len(summary),
            summary=summary,
            timestamp=now,
            stream_name=self._settings.kinesis_stream_name,
            frame_id=identity.frame_id,
            source=identity.source,
            captured_at=format_time(identity.captured_at),
            processed_at=now,
            shard_id=position.shard_id,
            sequence_number=position.sequence,
            image_width=width,
            image_height=height,
            model=self._compute.model,
            inference_ms=round(picture.inference_ms, 2),
            lag_ms=record.lag_ms,
            zones=count_zones(wanted.zones, detections, class_names, width, height) if wanted.zones else None,
            lines=lines,
        )

    async def _track(
        self, record: Record, scenes: SceneStore, identity: Identity, picture: Picture, wanted: SourceSettings
    ) -> tuple[list[str | None], tuple[LineCount, ...]]:
        """Adds a frame to its source's scene. Tracks are not drawn: a picture is made of its frame alone."""
        position = record.position
        moment = Moment(
            shard_id=position.shard_id,
            at=_number(place_of(position)),
            frame_id=identity.frame_id,
            arrived=position.arrived_at.timestamp(),
        )
        shot = Shot(
            identity.frame_id,
            identity.session,
            identity.captured_at.timestamp(),
            moment.arrived,
            picture.candidates,
            picture.shown.tolist(),
            picture.width,
            picture.height,
        )
        return await scenes.add(identity.source, moment, shot, wanted, self._compute.threshold(wanted))

    async def _notice(self, record: Record, identity: Identity, error: FrameError) -> QuarantineMessage:
        position = record.position
        return QuarantineMessage(
            bucket=self._settings.s3_bucket_name,
            key=identity.quarantine_key,
            reason=error.reason,
            detail=error.detail[:512],
            frame_id=identity.frame_id,
            source=identity.source,
            size=len(record.data),
            stream_name=self._settings.kinesis_stream_name,
            shard_id=position.shard_id,
            sequence_number=position.sequence,
            arrived_at=format_time(position.arrived_at),
            quarantined_at=format_time(datetime.now(UTC)),
        )

    def _count(self, body: Message) -> None:
        if isinstance(body, QuarantineMessage):
            self._metrics.add_quarantined()
        elif isinstance(body, SkippedMessage):
            self._metrics.add_skipped()
        else:
            latency = (datetime.now(UTC) - parse_time(body.captured_at)).total_seconds() * 1000
            self._metrics.add_frame(body.detections_count, body.inference_ms, latency)
            extra = {"frame_id": body.frame_id, "shard_id": body.shard_id, "detections": body.detections_count}
            extra |= {"inference_ms": body.inference_ms, "latency_ms": round(latency, 1)}
            logger.debug("processed", extra=extra)


class LeasedShard:
    """The work on one shard for as long as it is leased: the pipeline with the shard's scenes."""

    def __init__(self, pipeline: Pipeline, scenes: SceneStore) -> None:
        self._pipeline, self._scenes, self._prefix = pipeline, scenes, Prefix()

    async def process(self, record: Record) -> Outcome:
        """Gives a record's outcome once it is stored."""
        with self._prefix.working(place_of(record.position)):
            outcome = await self._pipeline.process(record, self._scenes)
        if self._prefix.end:
            self._scenes.settle(_number(self._prefix.end))
        return outcome

    async def save(self) -> Place | None:
        """Stores the scenes as of the last record that is done with all before it; gives its place."""
        place = self._prefix.end
        await self._scenes.save()
        return place

    async def finish(self) -> None:
        """Nothing is left to do: the last checkpoint has stored all."""


def place_of(position: Position) -> Place:
    """Where a record stands in its shard."""
    return position.sequence_number, position.sub_sequence_number


def _number(place: Place) -> SequenceNumber:
    return int(place[0]), place[1]


def _age(position: Position) -> float:
    """Seconds since a record's arrival."""
    return max(0.0, (datetime.now(UTC) - position.arrived_at).total_seconds())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def summarise(
    detections: Detections, class_names: tuple[str, ...], width: int, height: int, tracks: Sequence[str | None]
) -> tuple[Summary, ...]:
    """Detections as the message states them: boxes as fractions of the image."""
    rows = []
    for (x1, y1, x2, y2), confidence, class_id, track in zip(
        detections.xyxy.tolist(), detections.confidence.tolist(), detections.class_id.tolist(), tracks, strict=True
    ):
        bbox = x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height
        rows.append(
            Summary.model_construct(
                class_name=class_names[class_id],
                conf=round(confidence, 4),
                bbox=tuple(min(1.0, max(0.0, round(value, 6))) for value in bbox),
                track_id=track,
            )
        )
    return tuple(rows)
