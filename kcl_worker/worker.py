"""A worker's life: start-up, main loop, shut-down."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from kcl_worker import aws, leases
from kcl_worker.batcher import Batcher
from kcl_worker.daemon import Daemon
from kcl_worker.errors import DaemonError, DrainTimeout
from kcl_worker.gateway import Gateway
from kcl_worker.health import HealthServer, State
from kcl_worker.metrics import Metrics
from kcl_worker.openvino_detector import OpenVinoDetector
from kcl_worker.pipeline import Pipeline
from kcl_worker.settings import Settings
from kcl_worker.shards import ShardBoard
from kcl_worker.sinks import FrameStore, MessageQueue

logger = logging.getLogger(__name__)


class Worker:
    """Everything that runs in one task.

    Raises:
        WorkerError: From `run`, with the exit status that says why the worker ended.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._state = State()
        self._board = ShardBoard()
        self._metrics = Metrics(settings.kinesis_stream_name, self._board)

    async def run(self) -> None:
        """Works until SIGTERM or SIGINT, then finishes what is in flight; a second one cuts short."""
        stop, hurry = asyncio.Event(), asyncio.Event()

        def on_signal() -> None:
            (hurry if stop.is_set() else stop).set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        with tempfile.TemporaryDirectory(prefix="cv2kinesis-") as folder:
            await self._run(stop, hurry, Path(folder))

    async def _run(self, stop: asyncio.Event, hurry: asyncio.Event, folder: Path) -> None:
        # -- start-up: the daemon's seconds pass while the model loads
        health = HealthServer(self._settings, self._state, self._board, self._metrics)
        tasks = [asyncio.create_task(health.run()), asyncio.create_task(self._metrics.run(self._settings.metrics_seconds))]
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(socket_path := folder / "worker.sock"))
        listener.listen()
        daemon = Daemon(self._settings, folder, socket_path)
        seeding = asyncio.create_task(asyncio.to_thread(self._seed_leases))
        await daemon.start()
        self._state.daemon_alive = lambda: daemon.alive
        tasks.append(daemon_run := asyncio.create_task(daemon.run()))
        detector = await asyncio.to_thread(self._load_model)
        gateway, services = self._assemble(detector, listener)
        tasks += [asyncio.create_task(service) for service in services]
        await seeding
        self._log_start(detector, health.port)
        try:
            # -- main loop: the tasks work; only a signal or the end of one of them ends it
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            # -- shut-down: finish what is in flight, checkpoint it, leave
            if not stop.is_set():
                self._raise_first(tasks, daemon_run)
            self._state.draining = True
            logger.info("draining", extra={"grace_seconds": self._settings.shutdown_grace_seconds})
            gateway.drain()
            daemon.terminate()
            await self._drain(daemon_run, tasks, hurry)
            logger.info("stopped", extra={"frames": self._metrics.frames})
        finally:
            daemon.kill()
            gateway.kill_processors()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _assemble(self, detector: OpenVinoDetector, listener: socket.socket) -> tuple[Gateway, list[Coroutine[Any, Any, None]]]:
        """The pipeline and what has to run for it."""
        settings, caller = self._settings, aws.Caller()
        sqs = aws.client("sqs", settings.aws_region)
        frames = FrameStore(aws.client("s3", settings.aws_region), settings.s3_bucket_name, caller)
        results = MessageQueue(sqs, settings.sqs_queue_url, caller)
        quarantined = None
        if settings.quarantine_queue_url:
            quarantined = MessageQueue(sqs, settings.quarantine_queue_url, caller)
        batcher = Batcher(detector)
        pipeline = Pipeline(settings, detector, batcher, frames, results, quarantined, self._metrics)
        gateway = Gateway(listener, pipeline.process, self._board)
        services = [gateway.serve(), batcher.run(), results.run()]
        if quarantined:
            services.append(quarantined.run())
        return gateway, services

    def _load_model(self) -> OpenVinoDetector:
        settings = self._settings
        detector = OpenVinoDetector(
            settings.model_path,
            confidence_threshold=settings.confidence_threshold,
            max_detections=settings.max_detections,
            image_size=settings.yolo_image_size,
        )
        detector.warm_up()
        self._state.model = detector.name
        return detector

    def _seed_leases(self) -> None:
        region = self._settings.aws_region
        seeded = leases.seed(self._settings, aws.client("kinesis", region), aws.client("dynamodb", region))
        if seeded:
            logger.info("leases seeded", extra={"shards": seeded})

    def _log_start(self, detector: OpenVinoDetector, port: int) -> None:
        logger.info(
            "worker started",
            extra={
                "model": detector.name,
                "classes": len(detector.class_names),
                "threads": detector.parallelism,
                "health_port": port,
                "seconds": round(time.monotonic() - self._started, 2),
            },
        )

    @staticmethod
    def _raise_first(tasks: list[asyncio.Task[Any]], daemon_run: asyncio.Task[int]) -> None:
        """Says which part of the worker ended it."""
        for task in tasks:
            if task is not daemon_run and task.done():
                task.result()
        raise DaemonError(f"the KCL daemon has left with status {daemon_run.result()}; its log says why")

    async def _drain(
        self, daemon_run: asyncio.Task[int], tasks: list[asyncio.Task[Any]], hurry: asyncio.Event
    ) -> None:
        """Waits for the daemon, which leaves when every record processor has checkpointed."""
        hurrying = asyncio.create_task(hurry.wait())
        done, _ = await asyncio.wait(
            [hurrying, *tasks],
            timeout=self._settings.shutdown_grace_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not done or hurrying in done:
            why = "a second signal" if done else "the grace period is over"
            raise DrainTimeout(f"{why}; unfinished frames will be read again")
        hurrying.cancel()
        if daemon_run not in done:
            self._raise_first(tasks, daemon_run)
