"""What a worker says of itself."""

from __future__ import annotations

import http.client
import urllib.request
from typing import Final

from pydantic import BaseModel, ValidationError

from doctor.finding import Finding

MUCH_LAG_SECONDS: Final = 60.0
LONG_WAIT_SECONDS: Final = 10.0
TIMEOUT_SECONDS: Final = 5.0
# A worker with all the shards of a large stream writes a tenth of it.
MAX_BYTES: Final = 4 * 2**20


class _Shard(BaseModel):
    millis_behind_latest: float | None


class _Unowned(BaseModel):
    shard_id: str
    seconds: float
    why: str


class _Wait(BaseModel):
    service: str
    seconds: float


class _Status(BaseModel):
    healthy: bool
    problem: str | None
    model: str | None
    frames: int
    shards: list[_Shard]
    waiting: list[_Wait]
    unowned_shards: list[_Unowned] | None


def worker(url: str | None) -> Finding:
    """What a worker's `/status` says; in a deployment its port is in the private network."""
    if not url:
        return Finding(
            "worker", "skipped", "its port was not given", "--worker-url http://…:8080 where it can be reached"
        )
    try:
        status = _Status.model_validate_json(_ask(url))
    except ValidationError:
        return Finding("worker", "wrong", f"{url} is no worker: its /status is not one", "look at the address")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Finding(
            "worker", "wrong", f"{url} does not answer: {error}", "look at the address, and at the worker's log"
        )
    return _judged(status)


def _ask(url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise ValueError("http:// or https:// is needed")
    with urllib.request.urlopen(f"{url.rstrip('/')}/status", timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        body: bytes = answer.read(MAX_BYTES)
    return body


def _judged(status: _Status) -> Finding:
    unowned = status.unowned_shards or []
    known = [shard.millis_behind_latest / 1000 for shard in status.shards if shard.millis_behind_latest is not None]
    lag = max(known, default=0.0)
    behind = f"{lag:.0f} s behind" if len(known) == len(status.shards) else "how far behind, nobody knows"
    model = f"model {status.model}" if status.model else "no model yet"
    says = f"{model}, {len(status.shards)} shards, {status.frames} frames, {behind}"
    if not status.healthy:
        return Finding("worker", "wrong", f"{says}; unhealthy: {status.problem}", "its log says more")
    if unowned and (longest := max(unowned, key=lambda shard: shard.seconds)).seconds > MUCH_LAG_SECONDS:
        says += f"; nobody reads {len(unowned)} shards of the stream: {longest.shard_id} for {longest.seconds:.0f} s"
        return Finding("worker", "wrong", f"{says}, {longest.why}", "docs/runbook.md, `unowned`")
    waits = [wait for wait in status.waiting if wait.seconds > LONG_WAIT_SECONDS]
    if waits:
        says += f"; it has waited for {waits[0].service} for {waits[0].seconds:.0f} s"
        return Finding("worker", "wrong", says, "docs/runbook.md, `waiting`")
    if lag > MUCH_LAG_SECONDS:
        return Finding("worker", "unsure", says, "more or larger tasks, or bf16 or int8: docs/performance.md")
    return Finding("worker", "well", says)
