"""Puts together the parts between the record processors and AWS."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from cloud.clients import client
from cloud.shards import kin, list_shards
from contract.source_settings import DEFAULT, SourceSettings
from kcl_worker.breaker import Breaker
from kcl_worker.budget import Budget
from kcl_worker.errors import SettingsError
from kcl_worker.held import HeldMemory
from kcl_worker.kcl.gateway import Gateway
from kcl_worker.kcl.horizon import POLLED, PUSHED
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.operating.metrics import Metrics
from kcl_worker.pipeline import Pipeline
from kcl_worker.settings import Settings
from kcl_worker.storing.caller import CALLS_IN_FLIGHT, Caller
from kcl_worker.storing.event_sink import EventBus, EventSink
from kcl_worker.storing.sinks import FrameStore, MessageQueue, StateStore
from kcl_worker.tracking.scene_store import Kin
from kcl_worker.tracking.source_book import SourceBook, prepare
from kcl_worker.vision.compute import Compute
from kcl_worker.vision.detector import Detector
from kcl_worker.vision.isolation import Isolation
from kcl_worker.vision.memory import MIB, frame_memory
from kcl_worker.vision.openvino_detector import OpenVinoDetector
from kcl_worker.vision.precision import choose

logger = logging.getLogger(__name__)

# A seventh of the frames' memory is for their records. Two of the largest fit a seventh of the least.
WAITING_SHARE: Final = 7
# A twentieth is for frames that an event may still want.
HELD_SHARE: Final = 20
# Of a shard's time without progress, what a suspicious frame gets: it is tried twice, with a start before each.
PARTS_OF_PATIENCE: Final = 3


def detector_of(settings: Settings) -> Callable[[], OpenVinoDetector]:
    """What reads the configured model, here or in another process; its precision is not `auto`."""
    assert settings.yolo_precision != "auto"
    return partial(
        OpenVinoDetector,
        settings.model_path,
        confidence_threshold=settings.confidence_threshold,
        max_detections=settings.max_detections,
        image_size=settings.yolo_image_size,
        precision=settings.yolo_precision,
    )


def load_detector(settings: Settings) -> tuple[Settings, OpenVinoDetector]:
    """Reads the model, runs it once for its preparation and once more for its speed.

    Returns:
        The settings with the precision that was taken, and the detector.

    Raises:
        ModelError: If it cannot be read.
    """
    settings = _with_precision(settings)
    started = time.monotonic()
    detector = detector_of(settings)()
    read = time.monotonic()
    detector.warm_up()
    warm = time.monotonic()
    detector.warm_up()
    extra = {
        "read_seconds": round(read - started, 2),
        "first_inference_seconds": round(warm - read, 2),
        "inference_ms": round((time.monotonic() - warm) * 1000, 1),
    }
    logger.info("model loaded", extra={"model": detector.name, **extra})
    return settings, detector


def _with_precision(settings: Settings) -> Settings:
    """Settings that name a precision; `auto` becomes the fastest that may be taken, as measured here and now.

    Raises:
        ModelError: If the export cannot be read.
    """
    if settings.yolo_precision != "auto":
        return settings
    choice = choose(settings.model_path, settings.yolo_image_size)
    extra = {"ms_of_first_third": choice.milliseconds, "left_out": choice.left_out, "seconds": choice.seconds}
    logger.info("YOLO_PRECISION=auto takes %s: %s", choice.precision, choice.reason, extra=extra)
    return settings.model_copy(update={"yolo_precision": choice.precision})


async def load_sources(settings: Settings, class_names: tuple[str, ...]) -> SourceBook:
    """Reads the settings of all sources and, if `SOURCES_PATH` is set, those of single ones.

    Raises:
        SettingsError: If the settings of all sources cannot be used.
        ServiceError: If reading the others is forbidden.
    """
    defaults = DEFAULT
    if settings.source_defaults:
        try:
            defaults = SourceSettings.parse(settings.source_defaults, class_names)
            await prepare(defaults)
        except ValueError as error:
            raise SettingsError(f"SOURCE_DEFAULTS={settings.source_defaults!r}: {error}") from None
    caller, ssm, memory = Caller(), None, None
    if settings.sources_path:
        ssm, s3 = client("ssm", settings.aws_region), client("s3", settings.aws_region)
        memory = StateStore(s3, settings.s3_bucket_name, settings.kcl_application_name, caller)
    book = SourceBook(ssm, settings.sources_path, class_names, caller, defaults, memory)
    await book.load()
    return book


class Engine:
    """Gateway, model and sinks of one task.

    Attributes:
        gateway: Where record processors connect.
        isolation: Where frames are computed that a worker may have died of.
        metrics: What the pipeline has done.
        services: Coroutines that have to run while the engine does.
    """

    def __init__(
        self,
        settings: Settings,
        detector: Detector,
        listener: socket.socket,
        board: ShardBoard,
        metrics: Metrics,
        sources: SourceBook,
    ) -> None:
        self.metrics = metrics
        caller = Caller()
        sqs = client("sqs", settings.aws_region, connections=CALLS_IN_FLIGHT)
        s3 = client("s3", settings.aws_region, connections=CALLS_IN_FLIGHT)
        frames = FrameStore(s3, settings.s3_bucket_name, caller)
        results = MessageQueue(sqs, settings.sqs_queue_url, caller)
        queues = [results]
        quarantined = None
        if settings.quarantine_queue_url:
            quarantined = MessageQueue(sqs, settings.quarantine_queue_url, caller)
            queues.append(quarantined)
        events = bus = None
        if settings.events_queue_url:
            events = MessageQueue(sqs, settings.events_queue_url, caller)
            queues.append(events)
        if settings.event_bus_name:
            bus = EventBus(client("events", settings.aws_region), settings.event_bus_name, caller)
        drawing = settings.jpeg_quality, settings.confidence_threshold
        compute = Compute(detector, *drawing)
        patience = settings.stuck_shard_seconds / PARTS_OF_PATIENCE
        self.isolation = Isolation(detector_of(settings), *drawing, patience)
        states = StateStore(s3, settings.s3_bucket_name, settings.kcl_application_name, caller)
        memory = frame_memory(settings)
        waiting, held = memory // WAITING_SHARE, memory // HELD_SHARE
        logger.info(
            "memory for frames",
            extra={
                "mib": memory // MIB,
                "of_them_for_waiting_records": waiting // MIB,
                "of_them_for_frames_before_events": held // MIB,
            },
        )
        kinesis = client("kinesis", settings.aws_region)

        async def kin_of(shard_id: str) -> Kin:
            found = await caller(
                f"kinesis list {settings.kinesis_stream_name}",
                lambda: list_shards(kinesis, settings.kinesis_stream_name),
            )
            return Kin(*kin(found, shard_id))

        pipeline = Pipeline(
            settings,
            compute,
            frames,
            results,
            quarantined,
            metrics,
            sources.of,
            states if sources.may_remember else None,
            Budget(memory - waiting - held),
            self.isolation,
            EventSink(frames, events, bus),
            HeldMemory(held),
            kin_of,
            sources.anything_hidden,
        )
        ahead = PUSHED if settings.kinesis_retrieval_mode == "FANOUT" else POLLED
        self.gateway = Gateway(listener, Breaker(states, pipeline.begin).begin, board, Budget(waiting), ahead)
        self.services: list[Coroutine[Any, Any, None]] = [
            self.gateway.serve(),
            *(queue.run() for queue in queues),
        ]
        if settings.sources_path:
            self.services.append(sources.run(settings.sources_refresh_seconds))
