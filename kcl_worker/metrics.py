"""Metrics as lines of CloudWatch's embedded metric format, on standard output.

CloudWatch Logs turns such a line into metrics without an API call:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from typing import Any, Final, TextIO

from kcl_worker.shards import ShardBoard

NAMESPACE: Final = "cv2kinesis"
# Values that one metric may have in a line.
MAX_VALUES: Final = 100
_UNITS: Final = {
    "Frames": "Count",
    "Detections": "Count",
    "Quarantined": "Count",
    "Skipped": "Count",
    "InferenceTime": "Milliseconds",
    "EndToEndLatency": "Milliseconds",
    "MillisBehindLatest": "Milliseconds",
}
# Frames whose times are kept for the /status page's rate.
_RATE_WINDOW_SECONDS: Final = 10.0


class Metrics:
    """Counts what the pipeline does and writes it out now and then."""

    def __init__(self, stream_name: str, board: ShardBoard, output: TextIO = sys.stdout) -> None:
        self._stream_name, self._board, self._output = stream_name, board, output
        self.frames = self.detections = self.quarantined = self.skipped = 0
        self._written = (0, 0, 0, 0)
        self._inference_ms: list[float] = []
        self._latency_ms: list[float] = []
        self._recent: deque[float] = deque()

    def add_frame(self, detections: int, inference_ms: float, latency_ms: float) -> None:
        """A frame's outcome is stored and announced."""
        self.frames += 1
        self.detections += detections
        self._inference_ms.append(inference_ms)
        self._latency_ms.append(latency_ms)
        self._recent.append(time.monotonic())

    def add_quarantined(self) -> None:
        """A record is in quarantine."""
        self.quarantined += 1

    def add_skipped(self) -> None:
        """A frame was too old."""
        self.skipped += 1

    def frames_per_second(self) -> float:
        """Over the last ten seconds."""
        since = time.monotonic() - _RATE_WINDOW_SECONDS
        while self._recent and self._recent[0] < since:
            self._recent.popleft()
        return len(self._recent) / _RATE_WINDOW_SECONDS

    async def run(self, every_seconds: float) -> None:
        """Writes until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(every_seconds)
                self.flush()
        finally:
            self.flush()

    def flush(self) -> None:
        """Writes what has come since the last time; nothing has, nothing is written."""
        self.frames_per_second()  # forgets old times
        totals = self.frames, self.detections, self.quarantined, self.skipped
        counts = dict(zip(_UNITS, (now - then for now, then in zip(totals, self._written, strict=True)), strict=False))
        self._written = totals
        inference, self._inference_ms = self._inference_ms, []
        latency, self._latency_ms = self._latency_ms, []
        lags = [float(shard.millis_behind_latest) for shard in self._board.held()]
        values: dict[str, Any] = {name: count for name, count in counts.items() if count}
        if lags:
            values["MillisBehindLatest"] = lags[:MAX_VALUES]
        for start in range(0, max(len(inference), 1), MAX_VALUES):
            if inference:
                values["InferenceTime"] = inference[start : start + MAX_VALUES]
                values["EndToEndLatency"] = latency[start : start + MAX_VALUES]
            self._write(values)
            values = {}
        for shard in self._board.held():
            self._write({"MillisBehindLatest": shard.millis_behind_latest}, ShardId=shard.shard_id)

    def _write(self, values: dict[str, Any], **dimensions: str) -> None:
        """A line of metrics of the stream, or of whatever more dimensions name."""
        if not values:
            return
        dimensions = {"StreamName": self._stream_name, **dimensions}
        line = {
            "_aws": {
                "Timestamp": int(time.time() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": NAMESPACE,
                        "Dimensions": [list(dimensions)],
                        "Metrics": [{"Name": name, "Unit": _UNITS[name]} for name in values],
                    }
                ],
            },
            **dimensions,
            **values,
        }
        print(json.dumps(line, separators=(",", ":")), file=self._output, flush=True)
