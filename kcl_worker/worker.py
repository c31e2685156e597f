"""A worker's life: start-up, main loop, shut-down."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kcl_worker.errors import DaemonError, DrainError, ScratchError
from kcl_worker.kcl.daemon import Daemon
from kcl_worker.kcl.shards import FANOUT_STALE_SECONDS, STALE_SECONDS, ShardBoard
from kcl_worker.operating import logs
from kcl_worker.operating.outlet import Output
from kcl_worker.settings import Settings
from kcl_worker.vision.memory import with_heap

if TYPE_CHECKING:
    from kcl_worker.kcl.keeper import Keeper
    from kcl_worker.kcl.lease_watch import LeaseWatch
    from kcl_worker.operating.health import State
    from kcl_worker.wiring import Engine

logger = logging.getLogger(__name__)

# The daemon looks for leases as soon as it is up, and where it finds none, again after three seconds or more.
PREPARE_SECONDS: Final = 3.0
# For giving the leases up; part of the time that a container has beyond the grace period. Where DynamoDB is away for
# longer, the leases expire.
RELEASE_SECONDS: Final = 8


class Worker:
    """Everything that runs in one task.

    Args:
        output: Where metrics are written.
    """

    def __init__(self, settings: Settings, output: Output) -> None:
        self._settings, self._output = with_heap(settings), output
        self._started = time.monotonic()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        # Said to the thread that prepares leases.
        self._leaving = threading.Event()
        self._preparing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        """Works until SIGTERM or SIGINT, then finishes what is in flight; a second signal ends it at once.

        Raises:
            WorkerError: With the exit status that says why the worker ended.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        with _scratch_folder() as folder:
            # Bound before anyone connects; early record processors wait in its backlog.
            listener = socket.socket(socket.AF_UNIX)
            with _scratch_errors():
                listener.bind(str(path := folder / "worker.sock"))
            listener.listen()
            daemon = Daemon(self._settings, folder, path, logs.relay)
            try:
                await self._work(daemon, listener)
            finally:
                await self._end(daemon)

    async def _work(self, daemon: Daemon, listener: socket.socket) -> None:
        # -- start-up: leases are prepared; the worker's libraries and the model load while the daemon starts
        with _scratch_errors():
            daemon.write_files()
        self._preparing = preparing = asyncio.create_task(asyncio.to_thread(_prepare, self._settings, self._leaving))
        stopped = asyncio.create_task(self._stop.wait())
        # Where a service is away, the daemon waits for it by itself.
        await asyncio.wait({preparing, stopped}, timeout=PREPARE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._stop.is_set():
            logger.info("stopped before it had started")
            return
        if preparing.done():
            preparing.result()
        await daemon.start()
        # OpenCV reads it when it loads.
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(self._settings.max_frame_pixels)
        from kcl_worker.kcl.keeper import Keeper

        daemon_run = self._spawn((keeper := Keeper(self._settings, daemon)).run())
        starting = asyncio.create_task(self._start(keeper, listener, preparing))
        # It may take for ever, where a service is away, and is obeyed all the same.
        await self._first_of(starting, asyncio.create_task(self._stop.wait()))
        if not starting.done():
            if not self._stop.is_set():
                self._raise_reason(daemon_run)
            logger.info("stopped before it had started")
            return
        engine, state, watch = starting.result()
        try:
            # -- main loop: the tasks work; a signal or the end of a task ends it
            await self._first_of(asyncio.create_task(self._stop.wait()))
            if not self._stop.is_set():
                self._raise_reason(daemon_run)
            # -- shut-down: finish what is in flight, checkpoint it, hand the leases over
            state.draining = engine.metrics.leaving = True
            farewell = asyncio.create_task(watch.leave())
            logger.info("draining", extra={"grace_seconds": self._settings.shutdown_grace_seconds})
            engine.gateway.drain()
            daemon.terminate()
            await self._drain(engine, daemon_run)
            logger.info("drained", extra={"frames": engine.metrics.frames})
            farewell.cancel()
        finally:
            engine.gateway.kill_processors()
            engine.isolation.end()

    async def _start(
        self, keeper: Keeper, listener: socket.socket, preparing: asyncio.Task[None]
    ) -> tuple[Engine, State, LeaseWatch]:
        from cloud.clients import client
        from kcl_worker.kcl.daemon_watch import DaemonWatch
        from kcl_worker.kcl.lease_table import LeaseTable
        from kcl_worker.kcl.lease_watch import LeaseWatch
        from kcl_worker.kcl.read_watch import ReadWatch
        from kcl_worker.kcl.stream_watch import StreamWatch
        from kcl_worker.operating.health import HealthServer, State
        from kcl_worker.operating.metrics import Metrics
        from kcl_worker.operating.progress import Progress
        from kcl_worker.wiring import Engine, load_detector, load_sources

        settings, region = self._settings, self._settings.aws_region
        polls = settings.kinesis_retrieval_mode == "POLLING"
        board = ShardBoard(stale_seconds=STALE_SECONDS if polls else FANOUT_STALE_SECONDS)
        dynamodb, kinesis = client("dynamodb", region), client("kinesis", region)
        watch = LeaseWatch(settings, dynamodb, kinesis, board.reading)
        daemon_watch = DaemonWatch(settings, dynamodb)
        read_watch = ReadWatch(settings.kinesis_stream_name, kinesis, board, settings.stuck_shard_seconds)
        progress = Progress(board, settings.stuck_shard_seconds)
        progress.daemon_problem, progress.unread = daemon_watch.problem, read_watch.stuck
        keeper.began, daemon_watch.absent = lambda: daemon_watch.began, lambda: keeper.waits
        metrics = Metrics(
            settings.kinesis_stream_name, settings.kcl_application_name, board, self._output,
            unowned=watch.unowned, waits=progress.waits, worker_id=settings.worker_id,
        )  # fmt: skip
        state = State(daemon_alive=lambda: keeper.alive, unowned=watch.unowned)
        health = HealthServer(settings, state, board, metrics, progress)
        self._spawn(health.run())
        self._spawn(metrics.run(settings.metrics_seconds))
        self._spawn(watch.run())
        settings, detector = await asyncio.to_thread(load_detector, settings)
        await preparing
        state.model = detector.name
        sources = await load_sources(settings, detector.class_names)
        engine = Engine(settings, detector, listener, board, metrics, sources)
        state.stopped_processors = engine.gateway.stopped_processors
        for service in engine.services:
            self._spawn(service)
        table = LeaseTable(dynamodb, settings.lease_table)
        self._spawn(StreamWatch(settings.kinesis_stream_name, kinesis, table).run())
        self._spawn(daemon_watch.run())
        if polls:
            self._spawn(read_watch.run())
        self._spawn(progress.run(health.standing_still))
        self._log_start(detector.name, detector.parallelism, health.port)
        return engine, state, watch

    async def _drain(self, engine: Engine, daemon_run: asyncio.Task[int]) -> None:
        """Waits until every record processor has checkpointed and left.

        The daemon itself would then idle for its whole failover time.
        """
        deserted = asyncio.create_task(engine.gateway.deserted())
        hurrying = asyncio.create_task(self._hurry.wait())
        done = await self._first_of(deserted, hurrying, timeout=self._settings.shutdown_grace_seconds)
        if not done or hurrying in done:
            why = "a second signal" if done else "the grace period is over"
            raise DrainError(f"{why}; unfinished frames will be read again")
        if not done & {deserted, daemon_run}:
            self._raise_reason(daemon_run)

    async def _first_of(self, *others: asyncio.Task[Any], timeout: float | None = None) -> set[asyncio.Task[Any]]:
        """Waits until one of the worker's own tasks or of the others ends; cancels the others."""
        done, _ = await asyncio.wait([*others, *self._tasks], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        return done

    def _raise_reason(self, daemon_run: asyncio.Task[int]) -> None:
        """Raises the error of the part that ended the worker."""
        for task in self._tasks:
            if task.done() and task is not daemon_run:
                task.result()
        raise DaemonError(f"the KCL daemon has left with status {daemon_run.result()}; its log says why")

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _end(self, daemon: Daemon) -> None:
        """Ends what still runs, whatever the reason; then gives the leases up."""
        from kcl_worker.kcl import departure

        self._leaving.set()
        daemon.kill()
        await daemon.ended()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                if self._preparing:  # or it could take leases after they were given up
                    await asyncio.gather(self._preparing, return_exceptions=True)
                await asyncio.to_thread(departure.release, self._settings)
        except TimeoutError:
            logger.warning("leases are not released: DynamoDB takes too long")

    def _on_signal(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _log_start(self, model: str, threads: int, port: int) -> None:
        seconds = round(time.monotonic() - self._started, 2)
        extra = {"model": model, "threads": threads, "health_port": port, "seconds": seconds}
        logger.info("worker started", extra=extra)


def _prepare(settings: Settings, leaving: threading.Event) -> None:
    from kcl_worker.kcl import arrival

    arrival.prepare(settings, leaving)


# Use the intended folder, not the first writable one: another one may not exist in production.
_SCRATCH: Final = os.environ.get("TMPDIR") or tempfile.gettempdir()


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A private folder that is deleted when the worker ends."""
    with _scratch_errors():
        folder = tempfile.TemporaryDirectory(prefix="cv2kinesis-", dir=_SCRATCH, ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


@contextmanager
def _scratch_errors() -> Iterator[None]:
    """Reports what is wrong with the folder for temporary files."""
    try:
        yield
    except OSError as error:
        raise ScratchError(f"scratch space {_SCRATCH}: {error.strerror or error}") from None
