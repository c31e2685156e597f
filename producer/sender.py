"""Putting the frames of all lanes on the stream.

A request holds at most one frame of each source, and a source's next frame goes when its last is
accepted. PutRecords takes some entries of a request and refuses others, and promises no order among
them, so this is what keeps a source's frames in order through every retry.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from producer.kinesis import call, explain, is_final
from producer.lane import Lane
from producer.pacing import Pacer, open_shards, spread

# Of one PutRecords request.
MAX_ENTRIES: Final = 500
MAX_REQUEST_BYTES: Final = 10 * 1024 * 1024
BACKOFF_BASE_SECONDS: Final = 0.05
BACKOFF_CAP_SECONDS: Final = 5.0
# A stream that has never taken anything is given up after so many attempts; one that has is waited for.
FIRST_ATTEMPTS: Final = 8
PATIENCE_SECONDS: Final = 600.0


class Sender:
    """Sends until every lane has ended and its queue is empty.

    Args:
        kinesis: A client that does not retry by itself.
        lanes: Their capture threads share `wake`.
        accepted: Told of each record that the stream has taken, with its shard and sequence number.
    """

    def __init__(
        self,
        kinesis: Any,
        stream: str,
        lanes: list[Lane],
        wake: threading.Condition,
        accepted: Callable[[bytes, str, str], None] | None = None,
    ) -> None:
        self._kinesis, self._stream, self._lanes, self._wake = kinesis, stream, lanes, wake
        self._accepted = accepted
        self._hash_keys = spread([lane.source_id for lane in lanes])
        self._failures = 0
        self._last_success: float | None = None

    def run(self) -> None:
        """Raises:
        ProducerError: If the stream is missing, closed to us or out of reach.
        """
        self._pacer = call(self._stream, self._new_pacer)
        while True:
            batch, wait = self._choose(time.monotonic())
            if batch:
                self._put(batch)
                continue
            with self._wake:
                if all(lane.head() is None and not lane.capturing for lane in self._lanes):
                    return
                # A lane that ends without a frame notifies just before its thread is gone.
                self._wake.wait(min(wait, 0.05 if not self._alive() else 0.5))

    def _new_pacer(self) -> Pacer:
        return Pacer(open_shards(self._kinesis, self._stream), time.monotonic())

    def _follow_resharding(self) -> None:
        """Lists the shards anew; where they cannot be listed now, the next request brings us here again."""
        try:
            self._pacer = self._new_pacer()
        except (ClientError, BotoCoreError) as error:
            if is_final(error):
                raise explain(error, self._stream) from None

    def _alive(self) -> bool:
        return any(lane.capturing and not lane.complete for lane in self._lanes)

    def _choose(self, now: float) -> tuple[list[tuple[Lane, bytes]], float]:
        """The heads that may go now, and the seconds until another may."""
        batch: list[tuple[Lane, bytes]] = []
        size, wait = 0, 1.0
        for lane in self._lanes:
            data = lane.head()
            if data is None:
                continue
            cost, hash_key = len(data) + len(lane.source_id), self._hash_keys[lane.source_id]
            pause = max(lane.not_before - now, self._pacer.wait(hash_key, cost, now))
            if pause > 0:
                wait = min(wait, pause)
            elif len(batch) < MAX_ENTRIES and size + cost <= MAX_REQUEST_BYTES:
                batch.append((lane, data))
                size += cost
                self._pacer.take(hash_key, cost, now)
        return batch, wait

    def _put(self, batch: list[tuple[Lane, bytes]]) -> None:
        entries = [self._entry(lane, data) for lane, data in batch]
        try:
            response = self._kinesis.put_records(StreamName=self._stream, Records=entries)
        except (ClientError, BotoCoreError) as error:
            self._failures += 1
            if is_final(error) or self._is_hopeless():
                raise explain(error, self._stream) from None
            results: list[dict[str, Any]] = [{"ErrorCode": "RequestFailed"}] * len(batch)
        else:
            self._failures, self._last_success = 0, time.monotonic()
            results = response["Records"]
        for (lane, data), result in zip(batch, results, strict=True):
            if "ErrorCode" in result:
                self._delay(lane, throttled="Throughput" in result["ErrorCode"])
            else:
                if self._accepted:
                    self._accepted(data, result["ShardId"], result["SequenceNumber"])
                lane.accept(len(data))
        if not all(self._pacer.knows(result["ShardId"]) for result in results if "ShardId" in result):
            self._follow_resharding()

    def _entry(self, lane: Lane, data: bytes) -> dict[str, Any]:
        source = lane.source_id
        return {"Data": data, "PartitionKey": source, "ExplicitHashKey": str(self._hash_keys[source])}

    def _is_hopeless(self) -> bool:
        """Whether a service that fails has failed for long enough to end the producer."""
        if self._last_success is None:
            return self._failures >= FIRST_ATTEMPTS
        return time.monotonic() - self._last_success > PATIENCE_SECONDS

    @staticmethod
    def _delay(lane: Lane, *, throttled: bool) -> None:
        """Holds a lane back, with full jitter."""
        lane.counts.throttled += throttled
        lane.head_attempts += 1
        cap = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2**lane.head_attempts)
        lane.not_before = time.monotonic() + random.uniform(0, cap)  # noqa: S311
