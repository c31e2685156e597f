"""`make demo`: the whole pipeline with real processes on an embedded AWS.

producer CLI → Kinesis (2 shards) → KCL MultiLangDaemon → YOLOv8 → S3 and SQS → consumer CLI
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from consumer.watch import line as result_line
from contract.frame import parse_time
from contract.message import ResultMessage
from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources
from producer.cli import INTERRUPTED

MODELS = ROOT / "models"
DEMO_MODEL = MODELS / "street.onnx"
FPS = 8
# After the last frame is sent, so long may results be missing before they count as lost.
PATIENCE_SECONDS = 30.0
console = Console(highlight=False)


@dataclass
class Arrivals:
    """The results that the consumer has printed, and the seconds from capture to there."""

    results: dict[str, ResultMessage] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    def add(self, body: str) -> ResultMessage:
        result = ResultMessage.model_validate_json(body)
        self.results[result.frame_id] = result
        self.latencies.append((datetime.now(UTC) - parse_time(result.captured_at)).total_seconds())
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="an ONNX export; default: models/yolov8n.onnx, else the demo model")
    parser.add_argument("--source", help="what `producer send` takes; default: two drawn streets")
    parser.add_argument("--frames", type=int, default=160, help="of each source (default: 160)")
    parser.add_argument("--output", type=Path, default=ROOT / "demo-output")
    args = parser.parse_args()
    try:
        return run(args.model or default_model(), args.source, args.frames, args.output)
    except KeyboardInterrupt:
        console.print("\nstopped; everything is shut down")
        return 130
    except RuntimeError as error:
        console.print(f"[red]error:[/red] {error}")
        return 1


def default_model() -> Path:
    """An exported YOLOv8n if there is one, else the demo model; says which."""
    exported = MODELS / "yolov8n.onnx"
    if exported.exists():
        return exported
    console.print(
        "[yellow]Model:[/yellow] the built-in demo model, trained on drawn streets only. "
        "The real YOLOv8n: [bold]make model SIZE=n[/bold], or [bold]make demo MODEL=path.onnx[/bold]."
    )
    return DEMO_MODEL


def run(model: Path, source: str | None, frames: int, output: Path) -> int:
    """Runs the demo; 1 if anything was lost."""
    output.mkdir(parents=True, exist_ok=True)
    log = output / "worker.log"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    step("Starting an embedded AWS")
    with Aws(log=output / "aws.log") as aws:
        resources = Resources.create(aws.url, shards=2)
        say(f"endpoint {aws.url}   stream {resources.stream}   bucket {resources.bucket}")
        step(f"Starting the worker with {model.name}: JVM, leases, model take some 10 s")
        environment = resources.environment() | {"YOLO_MODEL_PATH": str(model.resolve()), "METRICS_SECONDS": "5"}
        with Worker(environment, log) as worker:
            worker.wait_for_shards(2)
            say(f"ready after {time.monotonic() - started:.1f} s   http://127.0.0.1:{worker.health_port()}/status")
            step("Starting producer and consumer")
            status = watch(resources, environment, source, frames, output)
            step("Stopping the worker: it finishes what is in flight and checkpoints")
    say(f"log of the worker: {log}")
    return status


def watch(resources: Resources, env: dict[str, str], source: str | None, frames: int, output: Path) -> int:
    """Sends frames and shows results until each has come or is lost."""
    arguments = ["send", *sources(source), "--limit", str(frames), "--json"]
    if source is None:
        arguments += ["--fps", str(FPS)]
    arrivals = Arrivals()
    with (
        Process("consumer", "web", "--port", "0", "--json", env=env) as consumer,
        Process("producer", *arguments, env=env) as producer,
        ended_by_ctrl_c(producer),
    ):
        if not (first := consumer.line(30)):
            raise RuntimeError("the consumer ended")
        say(f"live page: [bold]{json.loads(first)['address']}[/bold]")
        sent: dict[str, Any] | None = None
        deadline = float("inf")
        while time.monotonic() < deadline:
            if body := consumer.line(0.2):
                console.print(result_line(arrivals.add(body)))
                deadline = time.monotonic() + PATIENCE_SECONDS if sent else deadline
            elif not consumer.alive:
                raise RuntimeError("the consumer ended")
            if sent is None and not producer.alive:
                report = producer.line(1)
                if producer.process.returncode not in (0, INTERRUPTED) or not report:
                    raise RuntimeError(f"the producer ended with status {producer.process.returncode}")
                sent = json.loads(report)
                deadline = time.monotonic() + PATIENCE_SECONDS
            if sent and len(arrivals.results) + quarantined(resources) >= sent["sent"]:
                break
    assert sent is not None
    return summarise(resources, sent, arrivals, output)


@contextmanager
def ended_by_ctrl_c(producer: Process) -> Iterator[None]:
    """Has Ctrl-C end the producer, so that what was sent is still waited for; a second one ends the demo."""

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, before)
        step("Ctrl-C: the producer sends what is queued, and what was sent is waited for")
        producer.process.terminate()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def sources(source: str | None) -> list[str]:
    """The producer's SOURCEs: the one that is asked for, or two streets."""
    return [source] if source else ["demo:7", "demo:20", "--source-id", "street-1", "--source-id", "street-2"]


def quarantined(resources: Resources) -> int:
    """Records that the worker could not process."""
    attributes = resources.client("sqs").get_queue_attributes(
        QueueUrl=resources.quarantine_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def summarise(resources: Resources, sent: dict[str, Any], arrivals: Arrivals, output: Path) -> int:
    """Compares frame by frame what was sent with what came."""
    in_quarantine = quarantined(resources)
    lost = sent["sent"] - len(arrivals.results) - in_quarantine
    detections = sum(result.detections_count for result in arrivals.results.values())
    p50, p95 = np.percentile(arrivals.latencies, (50, 95)) if arrivals.latencies else (0.0, 0.0)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in (
        ("frames sent", str(sent["sent"])),
        ("frames processed", str(len(arrivals.results))),
        ("quarantined", str(in_quarantine)),
        ("lost", f"[{'red' if lost else 'green'}]{lost}[/]"),
        ("detections", str(detections)),
        ("capture to consumer", f"p50 {p50 * 1000:.0f} ms   p95 {p95 * 1000:.0f} ms"),
    ):
        table.add_row(name, value)
    console.print()
    console.print(table)
    sheet = contact_sheet(resources, arrivals, output)
    if sheet:
        say(f"annotated frames: {sheet}")
    return 1 if lost or not arrivals.results else 0


def contact_sheet(resources: Resources, arrivals: Arrivals, output: Path, columns: int = 2) -> Path | None:
    """A picture of the six frames with the most detections, evenly from all sources."""
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
        return None
    s3 = resources.client("s3")
    tiles = []
    for result in chosen:
        body = s3.get_object(Bucket=resources.bucket, Key=result.key)["Body"].read()
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        tiles.append(cv2.resize(image, (640, 360)))
    columns = min(columns, len(tiles))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles) - columns + 1, columns)]
    path = output / "frames.jpg"
    cv2.imwrite(str(path), np.vstack(rows))
    return path


def step(text: str) -> None:
    console.print(f"[bold]▸ {text}[/bold]")


def say(text: str) -> None:
    console.print(f"  [dim]{text}[/dim]", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
