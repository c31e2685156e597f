"""Puts the frames of all lanes on the stream.

Each source has at most one frame in flight; its next frame follows when the stream has accepted that one. This keeps a
source's frames in order through every retry, because PutRecords may refuse some entries of a request and promises no
order among the others. Requests overlap: while one is in flight, the next takes other sources' frames.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final

from cloud.errors import ERRORS, Kind, classify, may_have_arrived, may_pass
from cloud.retry import full_jitter
from producer.errors import ProducerError
from producer.kinesis import call, explain
from producer.lane import Lane
from producer.pacing import Pacer, open_shards, spread

# Limits of one PutRecords request.
MAX_ENTRIES: Final = 500
MAX_REQUEST_BYTES: Final = 10 * 1024 * 1024
# Requests in flight; each takes its share of the sources. More requests would be smaller and no faster.
REQUESTS: Final = 2
IDLE_SECONDS: Final = 1.0
BACKOFF_BASE_SECONDS: Final = 0.05
BACKOFF_CAP_SECONDS: Final = 5.0
# The sender gives up after so many attempts on a stream that has never taken a frame; it waits longer for one that has.
FIRST_ATTEMPTS: Final = 8
PATIENCE_SECONDS: Final = 600.0
# Credentials that have expired and renew themselves have done so by then; others wait for somebody to log in.
EXPIRED_PATIENCE_SECONDS: Final = 60.0
# How soon it is noticed that there is no more time.
POLL_SECONDS: Final = 0.1


# Lanes with their heads.
Batch = list[tuple[Lane, bytes]]


class Sender:
    """Sends until every lane whose source was ever reached has ended, and every queue is empty.

    Args:
        kinesis: A client that does not retry by itself.
        lanes: Their capture threads share `wake`.
        accepted: Called for each record that the stream has taken, with its shard and sequence number.
        unanswered: Called at the end for each record that the stream may have taken, because no answer says so.
        tell: Called with a line when credentials have expired.
        flowing: Called after each request that the stream has taken frames of.
    """

    def __init__(
        self,
        kinesis: Any,
        stream: str,
        lanes: list[Lane],
        wake: threading.Event,
        accepted: Callable[[bytes, str, str], None] | None = None,
        tell: Callable[[str], None] = lambda _: None,
        flowing: Callable[[], None] = lambda: None,
        unanswered: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._kinesis, self._stream, self._lanes, self._wake = kinesis, stream, lanes, wake
        self._accepted, self._tell, self._flowing, self._unanswered = accepted, tell, flowing, unanswered
        self._threads = ThreadPoolExecutor(REQUESTS, thread_name_prefix="kinesis")
        self._hash_keys = spread([lane.source_id for lane in lanes])
        self._most = min(MAX_ENTRIES, math.ceil(len(lanes) / REQUESTS))
        self._away: dict[Future[dict[str, Any]], Batch] = {}
        self._connected = False
        self._failures = 0
        self._last_success: float | None = None
        self._expired_since: float | None = None
        self._end_at = float("inf")

    def finish_within(self, seconds: float) -> None:
        """Has `run` return after so long, whatever is left; any thread may call it."""
        self._end_at = time.monotonic() + seconds
        self._wake.set()

    def run(self) -> None:
        """Sends until nothing is left, or there is no more time. What has no answer by then may arrive, too.

        Raises:
            ProducerError: If the stream is missing, forbidden or out of reach.
        """
        if not self._connected:
            self.connect()
        try:
            while True:
                self._wake.clear()
                self._settle()
                now = time.monotonic()
                if now >= self._end_at:
                    return
                batch, wait = self._choose(now)
                if batch:
                    request = self._threads.submit(self._put, batch)
                    self._away[request] = batch
                    request.add_done_callback(lambda _: self._wake.set())
                elif self._away or any((lane.capturing and not lane.absent) or lane.head() for lane in self._lanes):
                    self._wake.wait(min(wait, self._end_at - now))
                else:
                    return
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._note_unanswered()

    def connect(self) -> None:
        """Lists the stream's shards; `run` does it otherwise, while the first pictures wait.

        Raises:
            ProducerError: If the stream is missing, closed to us or out of reach.
        """
        self._pacer, self._connected = call(self._stream, self._new_pacer), True

    def _new_pacer(self) -> Pacer:
        return Pacer(open_shards(self._kinesis, self._stream), time.monotonic())

    def _follow_resharding(self) -> None:
        """Lists the shards again. If that fails, the next answer leads here again."""
        listing = self._threads.submit(self._new_pacer)
        self._await([listing])
        if not listing.done():
            return
        try:
            self._pacer = listing.result()
        except ERRORS as error:
            if not may_pass(error):
                raise explain(error, self._stream) from None

    def _choose(self, now: float) -> tuple[Batch, float]:
        """Gives the heads that may be sent now, and the seconds until another may."""
        batch: Batch = []
        size, wait = 0, IDLE_SECONDS
        if len(self._away) == REQUESTS:
            return batch, wait
        away = {lane for others in self._away.values() for lane, _ in others}
        for lane in self._lanes:
            data = lane.head()
            if data is None or lane in away:
                continue
            cost, hash_key = len(data) + len(lane.source_id), self._hash_keys[lane.source_id]
            pause = max(lane.not_before - now, self._pacer.wait(hash_key, cost, now))
            if pause > 0:
                wait = min(wait, pause)
            elif len(batch) < self._most and size + cost <= MAX_REQUEST_BYTES:
                batch.append((lane, data))
                size += cost
                self._pacer.take(hash_key, cost, now)
        if chosen := dict(batch):
            # If not all can go at once, lanes that have waited come before lanes that have just sent.
            self._lanes = [lane for lane in self._lanes if lane not in chosen] + list(chosen)
        return batch, wait

    def _put(self, batch: Batch) -> dict[str, Any]:
        entries = [self._entry(lane, data) for lane, data in batch]
        answer: dict[str, Any] = self._kinesis.put_records(StreamName=self._stream, Records=entries)
        return answer

    def _note_unanswered(self) -> None:
        for batch in self._away.values():
            for lane, data in batch:
                lane.unanswered |= lane.head() is data
        for lane in self._lanes:
            if lane.unanswered and (head := lane.head()):
                self._unanswered(head)

    def _await(self, calls: Iterable[Future[Any]]) -> None:
        """Waits for the ends of calls, as long as there is time."""
        waiting = set(calls)
        while waiting and time.monotonic() < self._end_at:
            waiting = wait(waiting, POLL_SECONDS).not_done

    def _settle(self) -> None:
        """Handles the answers that have come.

        Raises:
            ProducerError: If an answer says that no retry can help; raised once all answers that come in time are
                counted.
        """
        fatal: ProducerError | None = None
        while done := [request for request in self._away if request.done()]:
            for request in done:
                batch = self._away[request]
                try:
                    results = request.result()["Records"]
                except ERRORS as error:
                    self._failures += 1
                    if not may_pass(error) or self._is_hopeless(error):
                        fatal = explain(error, self._stream)
                    results = [{"ErrorCode": "RequestFailed"}] * len(batch)
                    for lane, _ in batch:
                        lane.unanswered |= may_have_arrived(error)
                else:
                    self._failures, self._last_success, self._expired_since = 0, time.monotonic(), None
                try:
                    self._take(batch, results)
                except ProducerError as error:
                    fatal = error
                del self._away[request]
            if fatal:
                self._await(self._away)
        if fatal:
            raise fatal

    def _take(self, batch: Batch, results: list[dict[str, Any]]) -> None:
        """Counts what the stream has taken, and delays the lanes of what it has refused.

        Raises:
            ProducerError: If the shards must be listed again and the stream is missing or forbidden.
        """
        for (lane, data), result in zip(batch, results, strict=True):
            if "ErrorCode" in result:
                self._delay(lane, throttled="Throughput" in result["ErrorCode"])
            else:
                if self._accepted:
                    self._accepted(data, result["ShardId"], result["SequenceNumber"])
                lane.accept(len(data))
        if any("ShardId" in result for result in results):
            self._flowing()
        if not all(self._pacer.knows(result["ShardId"]) for result in results if "ShardId" in result):
            self._follow_resharding()

    def _entry(self, lane: Lane, data: bytes) -> dict[str, Any]:
        source = lane.source_id
        return {"Data": data, "PartitionKey": source, "ExplicitHashKey": str(self._hash_keys[source])}

    def _is_hopeless(self, error: Exception) -> bool:
        """Whether the service has failed for so long that the producer must end."""
        now = time.monotonic()
        if self._last_success is None:
            return self._failures >= FIRST_ATTEMPTS
        if classify(error) is Kind.EXPIRED:
            if self._expired_since is None:
                self._expired_since = now
                self._tell(f"{explain(error, self._stream)}; it is tried again for {EXPIRED_PATIENCE_SECONDS:g} s")
            return now - self._expired_since > EXPIRED_PATIENCE_SECONDS
        return now - self._last_success > PATIENCE_SECONDS

    @staticmethod
    def _delay(lane: Lane, *, throttled: bool) -> None:
        """Delays a lane's next attempt, with full jitter."""
        lane.counts.throttled += throttled
        lane.head_attempts += 1
        wait = full_jitter(lane.head_attempts, BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS)
        lane.not_before = time.monotonic() + wait
