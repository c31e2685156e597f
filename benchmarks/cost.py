"""The price of a million frames and of a camera's month, from measured speeds and a dated price table.

python -m benchmarks.cost --cameras 100 --fps 5 --size s --precision int8
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
DOCUMENT: Final = HERE.parent / "docs" / "cost.md"
BEGIN: Final = "<!-- tables: written by `python -m benchmarks.cost --write`, checked by a test -->\n"
END: Final = "<!-- /tables -->\n"
HOURS: Final = 730.0
SECONDS: Final = HOURS * 3600
MIB: Final = 1024 * 1024
# Limits of one shard in a second, and the size of one PUT payload unit in bytes.
SHARD_BYTES: Final = MIB
SHARD_RECORDS: Final = 1000
PUT_UNIT: Final = 25 * 1024
# A frame's time besides the engine, in milliseconds of a core: S3, SQS, the daemon, a record processor
# (`benchmarks.whole_way`). A task's memory besides its model, in MiB: the JVM and two record processors
# (`benchmarks.start`).
OVERHEAD_MS: Final = 8.0
OVERHEAD_MIB: Final = 260.0
# vCPUs, and the memory sizes in GiB that Fargate offers with them.
FARGATE: Final = {0.25: (0.5, 1, 2), 0.5: (1, 2, 3, 4), 1.0: tuple(range(2, 9)), 2.0: tuple(range(4, 17))}
# KCL's own writes: a checkpoint in five seconds and a heartbeat in three for each shard; a report in two seconds for
# each task. Reads: the leader's two scans in two seconds, and the lease watch.
WRITES_SHARD: Final = 1 / 5 + 1 / 3
WRITES_TASK: Final = 1 / 2


@dataclass(frozen=True, slots=True)
class Workload:
    """The workload to price; the defaults are those of the document's table."""

    cameras: int = 10
    fps: float = 5.0
    frame_kb: float = 60.0
    size: str = "n"
    precision: str = "fp32"
    vcpu: float = 1.0
    utilisation: float = 0.7
    retention_days: float = 1.0
    fan_out: bool = False
    architecture: str = "X86_64"


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars a month by service, and the number of tasks and shards."""

    tasks: int
    task_gib: float
    shards: int
    fargate: float
    kinesis: float
    s3: float
    sqs: float
    dynamodb: float
    frames: float

    @property
    def total(self) -> float:
        return self.fargate + self.kinesis + self.s3 + self.sqs + self.dynamodb

    @property
    def per_million(self) -> float:
        return 1e6 * self.total / self.frames


def task_rate(workload: Workload, measured: dict[str, Any]) -> float:
    """Frames a second of one task at full load; a vCPU counts as a core of the measuring machine."""
    rate = float(measured["models"][f"yolov8{workload.size} {workload.precision}"]["rate"])
    engine_ms = 1000 * float(measured["cores"]) / rate
    return workload.vcpu * 1000 / (engine_ms + OVERHEAD_MS)


def task_memory(workload: Workload, measured: dict[str, Any]) -> float:
    """Memory in GiB of the smallest task that holds the model with a tenth to spare.

    Raises:
        ValueError: If no task with this number of vCPUs does.
    """
    kind = "memory" if workload.vcpu > 1 else "memory_one_core"
    need = 1.1 * (measured["models"][f"yolov8{workload.size} {workload.precision}"][kind] + OVERHEAD_MIB) / 1024
    for offered in FARGATE[workload.vcpu]:
        if offered >= need:
            return float(offered)
    raise ValueError(f"{workload.vcpu:g} vCPU: no memory size of Fargate's holds the {need:.1f} GiB of this model")


def bill(workload: Workload, measured: dict[str, Any], prices: dict[str, Any]) -> Bill:
    """The bill of a month in which all cameras send all the time.

    Raises:
        ValueError: If no task of this size holds the model.
    """
    rate = workload.cameras * workload.fps
    frames = rate * SECONDS
    size = workload.frame_kb * 1000
    memory = task_memory(workload, measured)
    tasks = max(1, math.ceil(rate / (task_rate(workload, measured) * workload.utilisation)))
    # Each task needs a shard, and shards are filled to four fifths.
    shards = max(math.ceil(rate * size / (0.8 * SHARD_BYTES)), math.ceil(rate / (0.8 * SHARD_RECORDS)), tasks)
    hourly = workload.vcpu * prices["fargate_vcpu_hour"][workload.architecture]
    hourly += memory * prices["fargate_gib_hour"][workload.architecture]
    kinesis = shards * HOURS * prices["kinesis_shard_hour"]
    kinesis += frames * math.ceil(size / PUT_UNIT) * prices["kinesis_put_unit_million"] / 1e6
    if workload.fan_out:
        kinesis += shards * HOURS * prices["kinesis_fan_out_shard_hour"]
        kinesis += frames * size / 2**30 * prices["kinesis_fan_out_gib"]
    stored = rate * 86400 * workload.retention_days * 1.6 * size / 2**30
    writes = (shards * WRITES_SHARD + tasks * WRITES_TASK) * SECONDS
    return Bill(
        tasks=tasks,
        task_gib=memory,
        shards=shards,
        fargate=tasks * HOURS * hourly,
        kinesis=kinesis,
        s3=frames / 1000 * prices["s3_put_thousand"] + stored * prices["s3_gib_month"],
        # Messages are sent singly when a camera is slow, and received and deleted in tens.
        sqs=frames * 1.2 * prices["sqs_million"] / 1e6,
        dynamodb=writes * prices["dynamodb_write_million"] / 1e6
        + (shards + tasks) * SECONDS * prices["dynamodb_read_million"] / 1e6,
        frames=frames,
    )


def rekognition(frames: float, prices: dict[str, Any]) -> float:
    """The price of DetectLabels for a number of images in a month."""
    total, done = 0.0, 0.0
    for limit, price in prices["rekognition_tiers"]:
        part = frames - done if limit is None else max(0.0, min(frames, limit) - done)
        total += part * price
        done += part
    return total


def tables(measured: dict[str, Any], prices: dict[str, Any]) -> Iterator[str]:
    """The document's tables, in Markdown."""
    yield f"Speeds of {measured['date']}, prices of {prices['date']} in {prices['region']}.\n\n"
    yield "| model | precision | smallest task | frames/s a vCPU | $ a million frames, Fargate alone |\n"
    yield "| --- | --- | --- | --- | --- |\n"
    for size in "nsmlx":
        for precision in ("fp32", "bf16", "int8"):
            workload, gib = smallest(size, precision, measured)
            one = task_rate(Workload(size=size, precision=precision), measured)
            hourly = workload.vcpu * prices["fargate_vcpu_hour"]["X86_64"] + gib * prices["fargate_gib_hour"]["X86_64"]
            million = 1e6 / (one * workload.vcpu * workload.utilisation) / 3600 * hourly
            yield f"| {size} | {precision} | {workload.vcpu:g} vCPU, {gib:g} GiB | {one:.1f} | {million:.2f} |\n"
    columns = (
        "cameras at 5 frames/s", "precision", "tasks", "shards", "Fargate", "Kinesis", "S3", "SQS", "DynamoDB",
        "all, a month", "a camera", "a million frames", "Rekognition, a million",
    )  # fmt: skip
    yield f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n"
    for cameras in (1, 10, 100, 1000):
        for precision in ("fp32", "int8"):
            one_bill = bill(Workload(cameras=cameras, precision=precision), measured, prices)
            other = 1e6 * rekognition(one_bill.frames, prices) / one_bill.frames
            yield (
                f"| {cameras} | {precision} | {one_bill.tasks} | {one_bill.shards} | {one_bill.fargate:.0f} | "
                f"{one_bill.kinesis:.0f} | {one_bill.s3:.0f} | {one_bill.sqs:.0f} | {one_bill.dynamodb:.0f} | "
                f"{one_bill.total:.0f} | {one_bill.total / cameras:.2f} | {one_bill.per_million:.2f} | {other:.0f} |\n"
            )


def smallest(size: str, precision: str, measured: dict[str, Any]) -> tuple[Workload, float]:
    """The cheapest task that holds a model, of at least half a vCPU: a quarter starts too slowly to keep leases."""
    for vcpu in (0.5, 1.0, 2.0):
        workload = Workload(size=size, precision=precision, vcpu=vcpu)
        try:
            return workload, task_memory(workload, measured)
        except ValueError:
            continue
    raise ValueError(f"no task here holds yolov8{size}")


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    """Measured speeds and prices."""
    return json.loads((HERE / "measured.json").read_text()), json.loads((HERE / "prices.json").read_text())


def with_tables(text: str) -> str:
    """The document with tables from the current figures."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "".join(tables(*load())) + END + rest.partition(END)[2]


def main() -> None:
    default = Workload()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=default.cameras)
    parser.add_argument("--fps", type=float, default=default.fps, help="of each camera")
    parser.add_argument("--frame-kb", type=float, default=default.frame_kb, help="of a JPEG, in thousands of bytes")
    parser.add_argument("--size", choices=list("nsmlx"), default=default.size)
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), default=default.precision)
    parser.add_argument("--vcpu", type=float, choices=list(FARGATE), default=default.vcpu, help="of one task")
    parser.add_argument("--utilisation", type=float, default=default.utilisation, help="of a task (default: 0.7)")
    parser.add_argument("--retention-days", type=float, default=default.retention_days, help="of frames in S3")
    parser.add_argument("--fan-out", action="store_true", help="with enhanced fan-out")
    parser.add_argument("--architecture", choices=("X86_64", "ARM64"), default=default.architecture)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help=f"write the tables of {DOCUMENT.name} anew")
    args = vars(parser.parse_args())
    as_json, write = args.pop("json"), args.pop("write")
    if write:
        DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
        return
    measured, prices = load()
    try:
        result = bill(Workload(**args), measured, prices)
    except ValueError as error:
        sys.exit(f"error: {error}")
    other = rekognition(result.frames, prices)
    if as_json:
        print(json.dumps(asdict(result) | {"total": result.total, "rekognition": other}))
        return
    print(
        f"{result.tasks} tasks of {args['vcpu']:g} vCPU and {result.task_gib:g} GiB, {result.shards} shards; a month:"
    )
    for name in ("fargate", "kinesis", "s3", "sqs", "dynamodb"):
        print(f"  {name:10} ${getattr(result, name):12,.2f}")
    print(f"  {'total':10} ${result.total:12,.2f}   ${result.total / args['cameras']:.2f} a camera")
    print(f"  ${result.per_million:.2f} a million frames; Amazon Rekognition: ${1e6 * other / result.frames:.2f}")


if __name__ == "__main__":
    main()
