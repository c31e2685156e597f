"""A worker's life: start-up, main loop, shut-down."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kcl_worker.daemon import Daemon
from kcl_worker.errors import DaemonError, DrainError, ScratchError
from kcl_worker.settings import Settings
from kcl_worker.shards import ShardBoard

if TYPE_CHECKING:
    from kcl_worker.engine import Engine

logger = logging.getLogger(__name__)


class Worker:
    """Everything that runs in one task."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = time.monotonic()
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        """Works until SIGTERM or SIGINT, then finishes what is in flight; a second one cuts short.

        Raises:
            WorkerError: With the exit status that says why the worker ended.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        with _scratch_folder() as folder:
            # Bound before anyone connects; record processors that are early wait in its backlog.
            listener = socket.socket(socket.AF_UNIX)
            with _scratch_errors():
                listener.bind(str(path := folder / "worker.sock"))
            listener.listen()
            daemon = Daemon(self._settings, folder, path)
            try:
                await self._work(daemon, listener)
            finally:
                await self._end(daemon)

    async def _work(self, daemon: Daemon, listener: socket.socket) -> None:
        # -- start-up: the daemon's seconds pass while our libraries and the model load
        with _scratch_errors():
            daemon.write_files()
        await daemon.start()
        daemon_run = self._spawn(daemon.run())
        from kcl_worker import aws, leases
        from kcl_worker.engine import Engine, load_detector, load_sources
        from kcl_worker.health import HealthServer, State
        from kcl_worker.leader import LeaderWatch
        from kcl_worker.metrics import Metrics
        from kcl_worker.stream import StreamWatch

        board = ShardBoard()
        metrics = Metrics(self._settings.kinesis_stream_name, board)
        state = State(daemon_alive=lambda: daemon.alive)
        health = HealthServer(self._settings, state, board, metrics)
        self._spawn(health.run())
        self._spawn(metrics.run(self._settings.metrics_seconds))
        _, detector = await asyncio.gather(
            asyncio.to_thread(leases.prepare, self._settings), asyncio.to_thread(load_detector, self._settings)
        )
        sources = await load_sources(self._settings, detector.class_names)
        engine = Engine(self._settings, detector, listener, board, metrics, sources)
        state.stopped_processors = engine.gateway.stopped_processors
        for service in engine.services:
            self._spawn(service)
        region = self._settings.aws_region
        self._spawn(LeaderWatch(self._settings, aws.client("dynamodb", region)).run())
        self._spawn(StreamWatch(self._settings.kinesis_stream_name, aws.client("kinesis", region)).run())
        state.model = detector.name
        self._log_start(detector.name, detector.parallelism, health.port)
        try:
            # -- main loop: the tasks work; a signal or the end of one of them ends it
            await self._first_of(asyncio.create_task(self._stop.wait()))
            if not self._stop.is_set():
                self._raise_reason(daemon_run)
            # -- shut-down: finish what is in flight, checkpoint it, hand the leases over
            state.draining = True
            logger.info("draining", extra={"grace_seconds": self._settings.shutdown_grace_seconds})
            engine.gateway.drain()
            daemon.terminate()
            await self._drain(engine, daemon_run)
            logger.info("drained", extra={"frames": metrics.frames})
        finally:
            engine.gateway.kill_processors()

    async def _drain(self, engine: Engine, daemon_run: asyncio.Task[int]) -> None:
        """Waits until every record processor has checkpointed and left.

        The daemon itself would idle for its whole failover time after that.
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
        """Waits for one of the worker's own tasks or of the others to end; ends the others."""
        done, _ = await asyncio.wait([*others, *self._tasks], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        return done

    def _raise_reason(self, daemon_run: asyncio.Task[int]) -> None:
        """Says which part of the worker ended it."""
        for task in self._tasks:
            if task.done() and task is not daemon_run:
                task.result()
        raise DaemonError(f"the KCL daemon has left with status {daemon_run.result()}; its log says why")

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _end(self, daemon: Daemon) -> None:
        """Ends what still runs, however it came to this; then others may have our leases."""
        from kcl_worker import leases

        daemon.kill()
        await daemon.ended()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(leases.release, self._settings)

    def _on_signal(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _log_start(self, model: str, threads: int, port: int) -> None:
        seconds = round(time.monotonic() - self._started, 2)
        extra = {"model": model, "threads": threads, "health_port": port, "seconds": seconds}
        logger.info("worker started", extra=extra)


# Not the first of several that would do, but the one that is meant: another may not be there in production.
_SCRATCH: Final = os.environ.get("TMPDIR") or tempfile.gettempdir()


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A private folder that is gone with the worker."""
    with _scratch_errors():
        folder = tempfile.TemporaryDirectory(prefix="cv2kinesis-", dir=_SCRATCH, ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


@contextmanager
def _scratch_errors() -> Iterator[None]:
    """Names what is wrong with the folder for temporary files."""
    try:
        yield
    except OSError as error:
        raise ScratchError(f"scratch space {_SCRATCH}: {error.strerror or error}") from None
