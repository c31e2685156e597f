"""What the demo has seen come, and what it says of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from rich.table import Table

from contract.frame import parse_time
from contract.message import ResultMessage
from local.resources import Resources


@dataclass
class Arrivals:
    """The results that the consumer has printed, and the seconds from capture to there."""

    results: dict[str, ResultMessage] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def add(self, body: str) -> ResultMessage:
        """Takes a message of the queue."""
        result = ResultMessage.model_validate_json(body)
        self.results[result.frame_id] = result
        self.latencies.append((datetime.now(UTC) - parse_time(result.captured_at)).total_seconds())
        return result


@dataclass(frozen=True)
class Account:
    """Frame by frame, what was sent against what came.

    Attributes:
        waited: Whether frames that are missing were waited for; else they may still come.
    """

    sent: int
    arrivals: Arrivals
    quarantined: int
    waited: bool

    @property
    def missing(self) -> int:
        """Frames that were sent and did not come."""
        return self.sent - len(self.arrivals.results) - self.quarantined

    def table(self) -> Table:
        """The account in words."""
        detections = sum(result.detections_count for result in self.arrivals.results.values())
        p50, p95 = np.percentile(self.arrivals.latencies, (50, 95)) if self.arrivals.latencies else (0.0, 0.0)
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in (
            ("frames sent", str(self.sent)),
            ("frames processed", str(len(self.arrivals.results))),
            ("quarantined", str(self.quarantined)),
            ("lost" if self.waited else "not waited for", f"[{'red' if self.missing else 'green'}]{self.missing}[/]"),
            ("detections", str(detections)),
            ("capture to consumer", f"p50 {p50 * 1000:.0f} ms   p95 {p95 * 1000:.0f} ms"),
        ):
            table.add_row(name, value)
        return table


def contact_sheet(resources: Resources, arrivals: Arrivals, path: Path, columns: int = 2) -> bool:
    """Writes a picture of the six frames with the most detections, evenly from all sources; False if there is none."""
    by_source: dict[str, list[ResultMessage]] = {}
    for result in arrivals.results.values():
        by_source.setdefault(result.source, []).append(result)
    chosen: list[ResultMessage] = []
    for results in by_source.values():
        each = max(1, 6 // len(by_source))
        thirds = [results[i * len(results) // each : (i + 1) * len(results) // each] for i in range(each)]
        chosen += [max(third, key=lambda result: result.detections_count) for third in thirds if third]
    chosen = chosen[: len(chosen) // columns * columns or len(chosen)]
    if not chosen:
        return False
    s3 = resources.client("s3")
    tiles = []
    for result in chosen:
        body = s3.get_object(Bucket=resources.bucket, Key=result.key)["Body"].read()
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        tiles.append(cv2.resize(image, (640, 360)))
    columns = min(columns, len(tiles))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles) - columns + 1, columns)]
    cv2.imwrite(str(path), np.vstack(rows))
    return True


def quarantined(resources: Resources) -> int:
    """Records that the worker could not process."""
    attributes = resources.client("sqs").get_queue_attributes(
        QueueUrl=resources.quarantine_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])
