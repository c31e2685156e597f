"""`/health` for the load balancer, `/status` for people and programs."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import h11

from kcl_worker.errors import SettingsError
from kcl_worker.metrics import Metrics
from kcl_worker.settings import Settings
from kcl_worker.shards import ShardBoard
from kcl_worker.version import VERSION

# What whoever connects may take of us: so long, so many bytes of a request, so many others at once.
CONVERSATION_SECONDS: Final = 5
MAX_HEADER_BYTES: Final = 8 * 1024
MAX_CONNECTIONS: Final = 512


@dataclass(slots=True)
class State:
    """What the rest of the worker tells its health page."""

    model: str | None = None
    daemon_alive: Callable[[], bool] = lambda: False
    stopped_processors: Callable[[], list[int]] = list
    draining: bool = False


class HealthServer:
    """Answers on its own port; nothing about frames or detections is to be had there.

    Args:
        state: Kept up to date by the worker.

    Raises:
        SettingsError: If the address is taken or not this machine's.
    """

    def __init__(self, settings: Settings, state: State, board: ShardBoard, metrics: Metrics) -> None:
        self._settings, self._state, self._board, self._metrics = settings, state, board, metrics
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
        """Gives the address up, if `run` has not."""
        self._listener.close()

    def problem(self) -> str | None:
        """Why this worker should not be trusted with its shards; None if it is well."""
        if self._state.model is None:
            return "the model is not loaded yet"
        if self._state.draining:
            return "shutting down"
        if not self._state.daemon_alive():
            return "the KCL daemon does not run"
        if stopped := self._state.stopped_processors():
            return f"record processors are stopped: {', '.join(map(str, stopped))}"
        stuck = self._board.stuck(self._settings.stuck_shard_seconds)
        if stuck:
            names = ", ".join(shard.shard_id for shard in stuck)
            return f"no progress for {self._settings.stuck_shard_seconds:g} s on {names}"
        return None

    def status(self) -> dict[str, Any]:
        """The worker in figures."""
        problem = self.problem()
        return {
            "healthy": problem is None,
            "problem": problem,
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
                    "frames": shard.frames,
                    "quarantined": shard.quarantined,
                    "pending": shard.pending,
                    "millis_behind_latest": shard.millis_behind_latest,
                    "checkpoint": shard.checkpoint,
                    "seconds_since_progress": round(self._board.clock() - shard.last_progress, 1),
                }
                for shard in self._board.held()
            ],
        }

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer: plain HTTP/1.1, without upgrades, which nobody needs to ask how we are."""
        self._connections += 1
        try:
            # Who is slow or leaves gets no answer. The worker's end cancels; asyncio would log that as an error.
            with suppress(TimeoutError, ConnectionError, asyncio.CancelledError):
                if self._connections <= MAX_CONNECTIONS:
                    async with asyncio.timeout(CONVERSATION_SECONDS):
                        writer.write(await self._exchange(reader))
                        await writer.drain()
        finally:
            self._connections -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader) -> bytes:
        """Reads a request; gives the bytes of its answer, none if there was no request."""
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

    def _answer(self, method: bytes, path: bytes) -> tuple[int, dict[str, Any]]:
        if method not in (b"GET", b"HEAD"):
            return 405, {"error": "GET and HEAD are allowed"}
        if path == b"/health":
            problem = self.problem()
            return (503, {"status": "unhealthy", "reason": problem}) if problem else (200, {"status": "ok"})
        if path == b"/status":
            return 200, self.status()
        return 404, {"error": "/health and /status are here"}
