"""Metrics as lines of CloudWatch's embedded metric format, on standard output.

CloudWatch Logs turns such a line into metrics without an API call:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

Each line carries its worker and its number, so that a line lost on the way is a gap that can be counted; what the
worker itself had to drop is the metric `LinesDropped`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Any, Final

from contract.metrics import WORKERS
from kcl_worker.kcl.shards import ShardBoard
from kcl_worker.kcl.unowned import Unowned
from kcl_worker.operating.outlet import Output, warning
from kcl_worker.operating.progress import Wait

# The greatest number of values of one metric in a line.
MAX_VALUES: Final = 100
# Of a line, the metrics that are kept by the second; CloudWatch keeps others by the minute.
_BY_THE_SECOND: Final = {"Workers"}
_UNITS: Final = {
    "Frames": "Count",
    "Detections": "Count",
    "Quarantined": "Count",
    "Skipped": "Count",
    "FramesTracked": "Count",
    "InferenceTime": "Milliseconds",
    "EndToEndLatency": "Milliseconds",
    "MillisBehindLatest": "Milliseconds",
    "UnownedShards": "Count",
    "UnownedSeconds": "Seconds",
    "SecondsSinceRead": "Seconds",
    "WaitingSeconds": "Seconds",
    "Workers": "Count",
    "LinesDropped": "Count",
}
# The number of frames whose times are kept for the rate on /status.
_RATE_WINDOW_SECONDS: Final = 10.0


def embedded(values: dict[str, Any], dimensions: dict[str, str]) -> dict[str, Any]:
    """The fields of a line that CloudWatch Logs turns into metrics of one set of dimensions."""
    return {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": WORKERS,
                    "Dimensions": [list(dimensions)],
                    "Metrics": [_declared(name) for name in values],
                }
            ],
        },
        **dimensions,
        **values,
    }


def dropped(stream_name: str, application: str, lines: int) -> dict[str, Any]:
    """The fields of the line that tells how many lines were dropped, to people and as a metric."""
    return {**warning(lines), **embedded({"LinesDropped": lines}, _of(stream_name, application))}


def _of(stream_name: str, application: str) -> dict[str, str]:
    return {"StreamName": stream_name, "Application": application}


class Metrics:
    """Counts what the pipeline does and writes it out now and then.

    Args:
        application: The KCL application, whose metrics are not another's on the same stream.
        worker_id: Whose lines these are.

    Attributes:
        leaving: Whether the worker reads no more; it does not count among `Workers` then.
        unowned: Gives the stream's shards that nobody reads, None while that is not known.
        waits: Gives what the worker waits for, the longest first.
    """

    def __init__(
        self,
        stream_name: str,
        application: str,
        board: ShardBoard,
        output: Output = sys.stdout,
        unowned: Callable[[], Collection[Unowned] | None] = lambda: None,
        waits: Callable[[], Sequence[Wait]] = tuple,
        worker_id: str = "",
    ) -> None:
        self._dimensions = _of(stream_name, application)
        self._board, self._output = board, output
        self._worker_id, self._lines = worker_id, count(1)
        self._unowned, self._waits = unowned, waits
        self.leaving = False
        self.frames = self.detections = self.quarantined = self.skipped = self.frames_tracked = 0
        self._written = (0, 0, 0, 0, 0)
        self._inference_ms: list[float] = []
        self._latency_ms: list[float] = []
        self._recent: deque[float] = deque()

    def add_frame(self, detections: int, inference_ms: float | None, latency_ms: float) -> None:
        """Counts a frame whose outcome is stored and announced.

        Args:
            inference_ms: None for a frame in which objects were tracked without a look at it.
        """
        self.frames += 1
        self.detections += detections
        if inference_ms is None:
            self.frames_tracked += 1
        else:
            self._inference_ms.append(inference_ms)
        self._latency_ms.append(latency_ms)
        self._recent.append(time.monotonic())

    def add_quarantined(self) -> None:
        """Counts a record in quarantine."""
        self.quarantined += 1

    def add_skipped(self) -> None:
        """Counts a frame that was too old."""
        self.skipped += 1

    def frames_per_second(self) -> float:
        """The rate over the last ten seconds."""
        since = time.monotonic() - _RATE_WINDOW_SECONDS
        while self._recent and self._recent[0] < since:
            self._recent.popleft()
        return len(self._recent) / _RATE_WINDOW_SECONDS

    async def run(self, every_seconds: float) -> None:
        """Writes until cancelled, and a last time at the end."""
        try:
            while True:
                await asyncio.sleep(every_seconds)
                self.flush()
        finally:
            self.flush()

    def flush(self) -> None:
        """Writes what has come since the last time, and that this worker is there to read."""
        self.frames_per_second()  # drops old times
        totals = self.frames, self.detections, self.quarantined, self.skipped, self.frames_tracked
        counts = dict(zip(_UNITS, (now - then for now, then in zip(totals, self._written, strict=True)), strict=False))
        self._written = totals
        inference, self._inference_ms = self._inference_ms, []
        latency, self._latency_ms = self._latency_ms, []
        held, now, waits = self._board.held(), self._board.clock(), self._waits()
        lags = {shard.shard_id: lag for shard in held if (lag := shard.lag(now)) is not None}
        values: dict[str, Any] = {} if self.leaving else {"Workers": 1}
        values |= {name: count for name, count in counts.items() if count}
        if lags:
            values["MillisBehindLatest"] = sorted(map(float, lags.values()), reverse=True)[:MAX_VALUES]
        if held:
            values["SecondsSinceRead"] = round(max(now - shard.last_read for shard in held), 1)
        if waits:
            values["WaitingSeconds"] = round(waits[0].seconds, 1)
        if (unowned := self._unowned()) is not None:
            values["UnownedShards"] = len(unowned)
            values["UnownedSeconds"] = round(max((shard.seconds for shard in unowned), default=0.0), 1)
        for start in range(0, max(len(latency), 1), MAX_VALUES):
            for name, times in (("InferenceTime", inference), ("EndToEndLatency", latency)):
                if part := times[start : start + MAX_VALUES]:
                    values[name] = part
            if values:
                self._write(values)
            values = {}
        for shard_id, lag in lags.items():
            self._write({"MillisBehindLatest": lag}, ShardId=shard_id)
        for wait in waits:
            self._write({"WaitingSeconds": round(wait.seconds, 1)}, Service=wait.service)

    def _write(self, values: dict[str, Any], **dimensions: str) -> None:
        """Writes a line of metrics of the application, or of what further dimensions name."""
        line = embedded(values, self._dimensions | dimensions)
        line |= {"worker": self._worker_id, "line": next(self._lines)}
        print(json.dumps(line, separators=(",", ":")), file=self._output, flush=True)


def _declared(name: str) -> dict[str, Any]:
    declared: dict[str, Any] = {"Name": name, "Unit": _UNITS[name]}
    return declared | ({"StorageResolution": 1} if name in _BY_THE_SECOND else {})
