"""`/health` for the load balancer, `/status` for people and programs."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from kcl_worker.errors import SettingsError
from kcl_worker.metrics import Metrics
from kcl_worker.settings import Settings
from kcl_worker.shards import ShardBoard

IDLE_CONNECTION_SECONDS: Final = 5
MAX_HEADER_BYTES: Final = 8 * 1024


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
        address = settings.health_host, settings.health_port
        try:
            self._listener = socket.create_server(address, backlog=256)
        except OSError as error:
            raise SettingsError(f"HEALTH_PORT={address[1]}, HEALTH_HOST={address[0]!r}: {error.strerror}") from None
        self.port: int = self._listener.getsockname()[1]

    async def run(self) -> None:
        """Serves until cancelled."""
        config = Config()
        config.bind = [f"fd://{self._listener.fileno()}"]
        config.keep_alive_timeout = IDLE_CONNECTION_SECONDS
        config.read_timeout = IDLE_CONNECTION_SECONDS
        config.h11_max_incomplete_size = MAX_HEADER_BYTES
        config.graceful_timeout = 0
        config.errorlog = logging.getLogger("hypercorn.error")
        config.include_server_header = False
        # Hypercorn does not survive being cancelled; it ends in good order when it is asked to.
        closing = asyncio.Event()
        server = asyncio.create_task(serve(self._answer, config, shutdown_trigger=closing.wait))
        try:
            await asyncio.shield(server)
        except asyncio.CancelledError:
            closing.set()
            await server
            raise

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
            "version": _version(),
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

    async def _answer(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            code, body = 405, {"error": "GET and HEAD are allowed"}
        elif scope["path"] == "/health":
            problem = self.problem()
            code, body = (503, {"status": "unhealthy", "reason": problem}) if problem else (200, {"status": "ok"})
        elif scope["path"] == "/status":
            code, body = 200, self.status()
        else:
            code, body = 404, {"error": "/health and /status are here"}
        content = json.dumps(body).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": code, "headers": headers})
        if scope["method"] == "HEAD":
            content = b""
        await send({"type": "http.response.body", "body": content, "more_body": False})


def _version() -> str:
    try:
        return version("cv2kinesis")
    except PackageNotFoundError:
        return "unknown"
