"""The parts between the record processors and AWS, put together."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Coroutine
from typing import Any

from contract.source_settings import DEFAULT
from kcl_worker import aws
from kcl_worker.compute import Compute
from kcl_worker.detector import Detector
from kcl_worker.gateway import Gateway
from kcl_worker.metrics import Metrics
from kcl_worker.openvino_detector import OpenVinoDetector
from kcl_worker.pipeline import Pipeline
from kcl_worker.settings import Settings
from kcl_worker.shards import ShardBoard
from kcl_worker.sinks import FrameStore, MessageQueue, StateStore
from kcl_worker.source_book import SourceBook

logger = logging.getLogger(__name__)


def load_detector(settings: Settings) -> OpenVinoDetector:
    """Reads the model and runs it once.

    Raises:
        ModelError: If it cannot be read.
    """
    started = time.monotonic()
    detector = OpenVinoDetector(
        settings.model_path,
        confidence_threshold=settings.confidence_threshold,
        max_detections=settings.max_detections,
        image_size=settings.yolo_image_size,
        precision=settings.yolo_precision,
    )
    read = time.monotonic()
    detector.warm_up()
    extra = {"read_seconds": round(read - started, 2), "first_inference_seconds": round(time.monotonic() - read, 2)}
    logger.info("model loaded", extra={"model": detector.name, **extra})
    return detector


async def load_sources(settings: Settings, class_names: tuple[str, ...]) -> SourceBook | None:
    """Reads what is wanted of single sources; None if nobody may want anything.

    Raises:
        ServiceError: If it is closed to us.
    """
    if not settings.sources_path:
        return None
    ssm = aws.client("ssm", settings.aws_region)
    book = SourceBook(ssm, settings.sources_path, class_names, aws.Caller())
    await book.load()
    return book


class Engine:
    """Gateway, model and sinks of one task.

    Attributes:
        gateway: Where record processors connect.
        services: What has to run for as long as the engine does.
    """

    def __init__(
        self,
        settings: Settings,
        detector: Detector,
        listener: socket.socket,
        board: ShardBoard,
        metrics: Metrics,
        sources: SourceBook | None = None,
    ) -> None:
        caller = aws.Caller()
        sqs = aws.client("sqs", settings.aws_region)
        s3 = aws.client("s3", settings.aws_region)
        frames = FrameStore(s3, settings.s3_bucket_name, caller)
        results = MessageQueue(sqs, settings.sqs_queue_url, caller)
        queues = [results]
        quarantined = None
        if settings.quarantine_queue_url:
            quarantined = MessageQueue(sqs, settings.quarantine_queue_url, caller)
            queues.append(quarantined)
        compute = Compute(detector, settings.jpeg_quality, settings.confidence_threshold)
        pipeline = Pipeline(
            settings, compute, frames, results, quarantined, metrics, sources.of if sources else lambda _: DEFAULT
        )
        states = StateStore(s3, settings.s3_bucket_name, settings.kcl_application_name, caller) if sources else None
        self.gateway = Gateway(listener, pipeline.process, board, states)
        self.services: list[Coroutine[Any, Any, None]] = [
            self.gateway.serve(),
            *(queue.run() for queue in queues),
        ]
        if sources:
            self.services.append(sources.run(settings.sources_refresh_seconds))
