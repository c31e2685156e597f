"""Writes the messages: what is known of a frame, in the words of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from contract import FrameError, Identity, Position
from contract.event import Best, EventMessage, event_folder
from contract.frame import format_time, parse_time
from contract.message import Hidden, Origin, QuarantineMessage, ResultMessage, SkippedMessage, Summary, TallyMessage
from contract.source_settings import SourceSettings
from kcl_worker.record import Record
from kcl_worker.settings import Settings
from kcl_worker.tracking.events import Change, Mark
from kcl_worker.tracking.scene import count_zones
from kcl_worker.tracking.scene_store import Seen
from kcl_worker.tracking.sight import bbox_of
from kcl_worker.tracking.tally import Tally
from kcl_worker.vision.compute import Picture
from kcl_worker.vision.detections import Detections


class Messages:
    """Writes messages of one pipeline.

    Args:
        model: The detector's name.
        class_names: By class id.
    """

    def __init__(self, settings: Settings, model: str, class_names: tuple[str, ...]) -> None:
        self._settings, self._model, self._class_names = settings, model, class_names

    def result(
        self,
        record: Record,
        identity: Identity,
        picture: Picture,
        wanted: SourceSettings,
        seen: Seen | None,
        *,
        stored: bool,
    ) -> ResultMessage:
        """What was found in a frame.

        Args:
            seen: What the frame adds to its source; None if nobody asks.
        """
        position, names = record.position, self._class_names
        detections, width, height = picture.detections, picture.width, picture.height
        tracks = seen.tracks if seen and wanted.names_tracks else [None] * len(detections)
        origin: Origin | None = ("tracked" if picture.carried else "detected") if wanted.adapts else None
        summary = summarise(detections, names, width, height, tracks, origin)
        now, privacy = _now(), wanted.privacy
        hidden = Hidden(masks=len(privacy.masks), classes=tuple(sorted({*privacy.blur, *privacy.fill})))
        return ResultMessage(
            bucket=self._settings.s3_bucket_name,
            key=identity.key if stored else None,
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
            model=self._model,
            inference_ms=round(picture.inference_ms, 2),
            lag_ms=record.lag_ms,
            zones=count_zones(wanted.zones, detections, names, width, height) if wanted.zones else None,
            lines=(seen.lines or None) if seen else None,
            events=(seen.told.events or None) if seen else None,
            hidden=hidden if privacy.hides else None,
        )

    def skipped(self, position: Position, identity: Identity, age_seconds: float) -> SkippedMessage:
        """A frame was too old."""
        return SkippedMessage(
            frame_id=identity.frame_id,
            frame_index=identity.index,
            source=identity.source,
            stream_name=self._settings.kinesis_stream_name,
            shard_id=position.shard_id,
            sequence_number=position.sequence,
            captured_at=format_time(identity.captured_at),
            arrived_at=format_time(position.arrived_at),
            skipped_at=_now(),
            age_seconds=round(age_seconds, 3),
        )

    def notice(self, record: Record, identity: Identity, error: FrameError) -> QuarantineMessage:
        """A record is no frame."""
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
            quarantined_at=_now(),
        )

    def tally(self, source: str, tally: Tally) -> TallyMessage:
        """The frames of a minute that have no message of their own."""
        counts = tally.model_dump(exclude={"minute"})
        return TallyMessage(
            tally_id=tally.first_frame_id,
            source=source,
            stream_name=self._settings.kinesis_stream_name,
            minute=format_time(datetime.fromtimestamp(tally.minute, UTC)),
            sent_at=_now(),
            **counts,
        )

    def event(self, source: str, change: Change, wanted: SourceSettings) -> EventMessage:
        """An event starts or ends. It depends on the frames alone, but for the time at which it is sent."""
        rule, happening = change.rule, change.happening
        first, last, best, ends = happening.first, happening.last, happening.best, change.phase == "end"
        assert best is not None
        place = event_folder(parse_time(first.captured_at), source) + happening.event_id

        def key(mark: Mark) -> str | None:
            kept = happening.told is not None and mark.clock >= happening.told - wanted.before_seconds
            stored = {"all": True, "detections": mark.shown, "events": kept, "none": False}[wanted.store]
            return mark.key if stored else None

        return EventMessage.model_validate(
            {
                "phase": "end" if ends else "start",
                "event_id": happening.event_id,
                "event": rule.kind,
                "rule": rule.name,
                "source": source,
                "stream_name": self._settings.kinesis_stream_name,
                "bucket": self._settings.s3_bucket_name,
                "zone": getattr(rule, "zone", None),
                "line": getattr(rule, "line", None),
                "direction": happening.direction,
                "started_at": first.captured_at,
                "ended_at": last.captured_at if ends else None,
                "first_frame_id": first.frame_id,
                "last_frame_id": last.frame_id,
                "first_key": key(first),
                "last_key": key(last),
                "frames": happening.frames,
                "most": happening.most,
                "classes": happening.classes,
                "tracks": happening.tracks,
                "best": Best.model_validate(best.model_dump(exclude={"score"})),
                "snapshot_key": f"{place}.jpg" if best.bbox else None,
                "index_key": f"{place}.json",
                "shard_id": last.shard_id,
                "sequence_number": last.sequence_number,
                "captured_at": last.captured_at,
                "sent_at": _now(),
            }
        )


def _now() -> str:
    return format_time(datetime.now(UTC))


def summarise(
    detections: Detections,
    class_names: tuple[str, ...],
    width: int,
    height: int,
    tracks: Sequence[str | None],
    origin: Origin | None = None,
) -> tuple[Summary, ...]:
    """Detections as the message states them: boxes as fractions of the image."""
    return tuple(
        Summary.model_construct(
            class_name=class_names[class_id],
            conf=round(confidence, 4),
            bbox=bbox_of(xyxy, width, height),
            track_id=track,
            origin=origin,
        )
        for xyxy, confidence, class_id, track in zip(
            detections.xyxy.tolist(), detections.confidence.tolist(), detections.class_id.tolist(), tracks, strict=True
        )
    )
