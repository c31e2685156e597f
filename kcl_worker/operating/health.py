"""`/health` for the load balancer, `/status` for people and programs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import h11

from cloud.version import VERSION
from kcl_worker.errors import SettingsError
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.kcl.unowned import Unowned
from kcl_worker.operating.metrics import Metrics
from kcl_worker.operating.progress import Progress
from kcl_worker.settings import Settings

# Limits for clients: seconds for a connection, bytes of a request, connections at once.
CONVERSATION_SECONDS: Final = 5
MAX_HEADER_BYTES: Final = 8 * 1024
MAX_CONNECTIONS: Final = 512


@dataclass(slots=True)
class State:
    """What the rest of the worker tells its health page.

    Attributes:
        unowned: Gives the stream's shards that nobody reads, None while that is not known.
    """

    model: str | None = None
    daemon_alive: Callable[[], bool] = lambda: False
    stopped_processors: Callable[[], list[int]] = list
    draining: bool = False
    unowned: Callable[[], Collection[Unowned] | None] = lambda: None


class HealthServer:
    """Answers on its own port; it serves no frames and no detections.

    Args:
        state: Kept up to date by the worker.
        progress: What the worker does and waits for; None: what is known of the board's shards.

    Raises:
        SettingsError: If the address is taken or not one of this machine.
    """

    def __init__(
        self, settings: Settings, state: State, board: ShardBoard, metrics: Metrics, progress: Progress | None = None
    ) -> None:
        self._settings, self._state, self._board, self._metrics = settings, state, board, metrics
        self._progress = progress or Progress(board, settings.stuck_shard_seconds)
        self._connections = 0
        address = settings.health_host, settings.health_port
        try:
            self._listener = socket.create_server(address, backlog=256)
        except OSError as error:
            raise SettingsError(f"HEALTH_PORT={address[1]}, HEALTH_HOST={address[0]!r}: {error.strerror}") from None
        self.port: int = self._listener.getsockname()[1]

    async def run(self) -> None:
        """Serves until cancelled."""
        server = await asyncio.start_server(self._converse, sock=self._listener)
        try:
            await server.serve_forever()
        finally:
            server.close()

    def close(self) -> None:
        """Releases the address, if `run` has not done so."""
        self._listener.close()

    def problem(self) -> str | None:
        """Why this worker is unhealthy; None if it is healthy."""
        if self._state.model is None:
            return "the model is not loaded yet"
        if self._state.draining:
            return "shutting down"
        if not self._state.daemon_alive():
            return "the KCL daemon does not run"
        return self.standing_still()

    def standing_still(self) -> str | None:
        """Which part of this worker stands still without a reason; None if none does."""
        if self._state.draining:
            return None  # that has its own limit
        if stopped := self._state.stopped_processors():
            return f"record processors are stopped: {', '.join(map(str, stopped))}"
        return self._progress.problem()

    def status(self) -> dict[str, Any]:
        """The worker in figures."""
        problem, unowned, now = self.problem(), self._state.unowned(), self._board.clock()
        return {
            "healthy": problem is None,
            "problem": problem,
            "waiting": [
                {"service": wait.service, "seconds": round(wait.seconds, 1)} for wait in self._progress.waits()
            ],
            "version": VERSION,
            "model": self._state.model,
            "stream": self._settings.kinesis_stream_name,
            "frames": self._metrics.frames,
            "detections": self._metrics.detections,
            "quarantined": self._metrics.quarantined,
            "skipped": self._metrics.skipped,
            "fps": round(self._metrics.frames_per_second(), 2),
            "shards": [
                {
                    "shard_id": shard.shard_id,
                    "reads": shard.reads,
                    "frames": shard.frames,
                    "quarantined": shard.quarantined,
                    "pending": shard.pending,
                    "millis_behind_latest": shard.lag(now),
                    "checkpoint": shard.checkpoint,
                    "seconds_since_read": round(now - shard.last_read, 1),
                    "seconds_since_progress": round(now - shard.last_progress, 1),
                    "doing": self._progress.of_shard(shard),
                }
                for shard in self._board.held()
            ],
            "threads": self._progress.threads(),
            # Of the whole stream: those that no worker reads, which no worker's own shards show.
            "unowned_shards": None
            if unowned is None
            else [
                {"shard_id": shard.shard_id, "seconds": round(shard.seconds, 1), "why": shard.why} for shard in unowned
            ],
        }

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request of plain HTTP/1.1, without upgrades, which a health check does not need."""
        self._connections += 1
        try:
            # A client that is slow or leaves gets no answer. asyncio would log the cancellation at the worker's end.
            with suppress(TimeoutError, ConnectionError, asyncio.CancelledError):
                if self._connections <= MAX_CONNECTIONS:
                    async with asyncio.timeout(CONVERSATION_SECONDS):
                        writer.write(await self._exchange(reader))
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader) -> bytes:
        """Reads a request; gives the bytes of its answer, or no bytes if there was no request."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        head = False
        try:
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await reader.read(MAX_HEADER_BYTES))
        except h11.RemoteProtocolError as error:
            code, body = error.error_status_hint, {"error": str(error)}
        else:
            if not isinstance(event, h11.Request):
                return b""
            head = event.method == b"HEAD"
            code, body = self._answer(event.method, event.target.partition(b"?")[0])
        content = json.dumps(body).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(content))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        start = connection.send(h11.Response(status_code=code, headers=headers))
        assert start is not None
        return start if head else start + content

    def _health(self) -> tuple[int, dict[str, Any]]:
        """Waiting for a service is no illness, and is told."""
        body: dict[str, Any] = {}
        if waits := self._progress.waits():
            body["waiting"] = {"service": waits[0].service, "seconds": round(waits[0].seconds)}
        if problem := self.problem():
            return 503, {"status": "unhealthy", "reason": problem, **body}
        return 200, {"status": "ok", **body}

    def _answer(self, method: bytes, path: bytes) -> tuple[int, dict[str, Any]]:
        if method not in (b"GET", b"HEAD"):
            return 405, {"error": "GET and HEAD are allowed"}
        if path == b"/health":
            return self._health()
        if path == b"/status":
            return 200, self.status()
        return 404, {"error": "/health and /status are here"}
