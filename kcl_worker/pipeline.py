"""The way of a frame, from a record of the stream to its stored outcome."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from contract import Frame, FrameError, Identity, Metadata, Position, identify
from contract.frame import format_time, parse_time
from contract.message import LineCount, QuarantineMessage, ResultMessage, SkippedMessage, Summary
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.compute import Compute, Picture
from kcl_worker.detections import Detections
from kcl_worker.flow import Turn
from kcl_worker.metrics import Metrics
from kcl_worker.scene import Shot, count_zones
from kcl_worker.scenes import Scenes
from kcl_worker.settings import Settings
from kcl_worker.sinks import FrameStore, MessageQueue
from kcl_worker.wire import Outcome

logger = logging.getLogger(__name__)

Message = ResultMessage | QuarantineMessage | SkippedMessage
MakeMessage = Callable[[], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the stream, with its turn among those of its shard, and the shard's scenes.

    Attributes:
        lag_ms: How far its shard's end was ahead when it was read.
    """

    data: bytes
    position: Position
    turn: Turn
    scenes: Scenes
    lag_ms: int = 0


class Pipeline:
    """Carries records to their outcomes: stored and announced, or quarantined with a reason.

    `process` raises only what ends the worker; a service that is down makes it wait.

    Args:
        quarantined: Where notices of quarantined records go; None if nobody wants them.
        settings_of: What is wanted of a source.
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
    ) -> None:
        self._settings, self._compute, self._settings_of = settings, compute, settings_of
        self._frames, self._results, self._quarantined = frames, results, quarantined
        self._metrics = metrics

    async def process(self, record: Record) -> Outcome:
        """Gives the outcome once it is stored; until then the record must not be checkpointed."""
        with self._results.expecting():
            outcome, queue, make = await self._store(record)
            body, sent = await self._announce(record, queue, make)
        if sent:
            await sent
        self._count(body)
        return outcome

    async def _store(self, record: Record) -> tuple[Outcome, MessageQueue | None, MakeMessage]:
        """Stores what is to be stored; gives what has to be said of it, and where."""
        metadata: Metadata | None = None
        try:
            frame = Frame.parse(
                record.data,
                max_pixels=self._settings.max_frame_pixels,
                max_bytes=self._settings.max_frame_bytes,
            )
            metadata = frame.metadata
            identity = identify(metadata, record.position)
            if self._is_stale(record.position):
                return Outcome.DURABLE, self._results, partial(self._skipped, record.position, identity)
            wanted = self._settings_of(identity.source)
            picture = await self._compute.picture(frame, wanted)
            await self._frames.put(identity.key, picture.jpeg, "image/jpeg", _sha256(record.data))
            return Outcome.DURABLE, self._results, partial(self._message, record, identity, picture, wanted)
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
        """Makes and enqueues a message when it is the record's turn; the future is done when SQS has it.

        Frames of a shard are done with in their order, and their messages' times say so. The queue may still deliver
        them in another: it is a standard one, and takes of a batch what it likes.
        """
        async with record.turn:
            body = await make()
            sent = queue.enqueue(body.to_json()) if queue else None
        return body, sent

    def _is_stale(self, position: Position) -> bool:
        """Whether a frame has been on the stream for too long. Its time of capture is the camera's word, and may be
        wrong by years; its arrival is Kinesis'."""
        if self._settings.lag_policy == "process-all":
            return False
        return _age(position) > self._settings.max_frame_age_seconds

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
        self, record: Record, identity: Identity, picture: Picture, wanted: SourceSettings
    ) -> ResultMessage:
        position, class_names = record.position, self._compute.class_names
        detections, width, height = picture.detections, picture.width, picture.height
        tracks: list[str | None] = [None] * len(detections)
        lines = None
        if wanted.tracks:
            tracks, crossed = await self._track(record, identity, picture, wanted)
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
        self, record: Record, identity: Identity, picture: Picture, wanted: SourceSettings
    ) -> tuple[list[str | None], tuple[LineCount, ...]]:
        """Adds a frame to its source's scene. Tracks are not drawn: a picture is made of its frame alone."""
        position = record.position
        at = int(position.sequence_number), position.sub_sequence_number
        scene = await record.scenes.of(identity.source, identity.frame_id, at, self._compute.threshold(wanted))
        shot = Shot(
            identity.frame_id,
            identity.captured_at.timestamp(),
            picture.candidates,
            picture.shown.tolist(),
            picture.width,
            picture.height,
        )
        return scene.add(shot, wanted)

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
