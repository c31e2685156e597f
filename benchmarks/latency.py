"""The time from capture until a consumer has the message: one camera at 10 frames a second on an idle system.

An event's start is timed from the capture of the frame with which it is told: its snapshot and its entry in the bucket
are stored first. The demo model finds the events, of a drawn street.

python -m benchmarks.latency --onnx yolov8n.onnx
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from benchmarks.engine import SHARED
from benchmarks.report import Row, show
from contract.event import EventMessage
from contract.frame import parse_time
from contract.message import ResultMessage
from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources

FPS: Final = 10
WARM_UP: Final = 20
SHARDS: Final = 2
RULES: Final = [
    {"name": "person", "kind": "appear", "classes": ["person"]},
    {"name": "car", "kind": "appear", "classes": ["car"]},
    {"name": "stay", "kind": "dwell", "seconds": 2},
]
EVENTS: Final = {
    "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
    "SOURCE_DEFAULTS": json.dumps({"events": RULES, "store": "events", "announce": "events"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="latency from capture to message")
    parser.add_argument("--onnx", type=Path, default=SHARED / "yolov8n.onnx")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()
    if not args.onnx.is_file():
        parser.error(f"{args.onnx}: no such file")
    measured: dict[str, list[list[float]]] = {
        "capture to message": [],
        "of it capture to S3 and SQS": [],
        "network": [],
        "capture to an event's start": [],
    }
    with tempfile.TemporaryDirectory() as folder, Aws(log=Path(folder) / "aws.log") as aws:
        for _ in range(args.repetitions):
            resources = Resources.create(aws.url, f"l{uuid4().hex[:8]}", SHARDS)
            environment = resources.environment() | {"YOLO_MODEL_PATH": str(args.onnx)}
            with Worker(environment, Path(folder) / f"{uuid4().hex}.log") as worker:
                worker.wait_for_shards(SHARDS)
                for name, values in zip(measured, watch(environment, args.frames), strict=False):
                    measured[name].append(values)
            with Worker(environment | EVENTS, Path(folder) / f"{uuid4().hex}.log") as worker:
                worker.wait_for_shards(SHARDS)
                measured["capture to an event's start"].append(starts(resources, environment, args.frames))
    rows = []
    for name, runs in measured.items():
        rows.append(Row(f"{name}, p50", [statistics.median(run) for run in runs], "ms"))
        rows.append(Row(f"{name}, p95", [statistics.quantiles(run, n=20)[18] for run in runs], "ms"))
    show(f"Latency: one camera, {FPS} frames/s, 1280x720, polling at its default", rows)


def watch(environment: dict[str, str], frames: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds of each frame except the first ones: to the consumer, to the outcome, in the network."""
    arrived, processed, network = [], [], []
    arguments = ["send", "demo", "--limit", str(frames + WARM_UP), "--fps", str(FPS), "--json"]
    with (
        Process("consumer", "watch", "--json", env=environment) as consumer,
        Process("producer", *arguments, env=environment),
    ):
        for number in range(frames + WARM_UP):
            line = consumer.line(60)
            if line is None:
                raise SystemExit(f"error: {frames + WARM_UP - number} results are missing")
            now, result = datetime.now(UTC), ResultMessage.model_validate_json(line)
            if number < WARM_UP:
                continue
            captured = parse_time(result.captured_at)
            arrived.append((now - captured).total_seconds() * 1000)
            processed.append((parse_time(result.processed_at) - captured).total_seconds() * 1000)
            network.append(result.inference_ms)
    return arrived, processed, network


def starts(resources: Resources, environment: dict[str, str], frames: int) -> list[float]:
    """Milliseconds of each event's start."""
    sqs, found = resources.client("sqs"), []
    with Process("producer", "send", "demo", "--limit", str(frames), "--fps", str(FPS), env=environment) as producer:
        while producer.alive:
            answer = sqs.receive_message(QueueUrl=resources.events_url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            now = datetime.now(UTC)
            for message in answer.get("Messages", []):
                event = EventMessage.model_validate_json(message["Body"])
                sqs.delete_message(QueueUrl=resources.events_url, ReceiptHandle=message["ReceiptHandle"])
                if event.phase == "start":
                    found.append((now - parse_time(event.captured_at)).total_seconds() * 1000)
    if len(found) < 2:
        raise SystemExit(f"error: {len(found)} events; two are needed")
    return found


if __name__ == "__main__":
    main()
