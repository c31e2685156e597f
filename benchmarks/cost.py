"""What an environment costs a month, by part, from measured speeds and a dated price table.

python -m benchmarks.cost --environment prod --cameras 100 --fps 5
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.bill import Bill, Traffic, bill, task_rate
from stacks.config import Config, ConfigError

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
DOCUMENT: Final = ROOT / "docs" / "cost.md"
BEGIN: Final = "<!-- tables: written by `python -m benchmarks.cost --write`, checked by a test -->\n"
END: Final = "<!-- /tables -->\n"
# The region of the document's tables.
REGION: Final = "us-east-1"
# A task's memory besides its model, in MiB: the JVM and two record processors (`benchmarks.start`).
OVERHEAD_MIB: Final = 260.0
# vCPUs, and the memory sizes in GiB that Fargate offers with them.
FARGATE: Final = {0.5: (1, 2, 3, 4), 1.0: tuple(range(2, 9)), 2.0: tuple(range(4, 17))}
UTILISATION: Final = 0.7
# The document's environments: what a frame costs is not hidden by how long it is kept.
KEPT_DAYS: Final = 1
NETWORK: Final = ("NAT", "endpoints")
WATCHING: Final = ("logs", "metrics", "alarms", "dashboard", "keys", "registry")


def task_memory(model: str, precision: str, vcpu: float, measured: dict[str, Any]) -> float:
    """Memory in GiB of the smallest task that holds the model with a tenth to spare.

    Raises:
        ValueError: If no task with this number of vCPUs does.
    """
    kind = "memory" if vcpu > 1 else "memory_one_core"
    need = 1.1 * (measured["models"][f"{model} {precision}"][kind] + OVERHEAD_MIB) / 1024
    for offered in FARGATE[vcpu]:
        if offered >= need:
            return float(offered)
    raise ValueError(f"{vcpu:g} vCPU: no memory size of Fargate's holds the {need:.1f} GiB of this model")


def smallest(model: str, precision: str, measured: dict[str, Any]) -> tuple[float, float]:
    """vCPUs and GiB of the cheapest task that holds a model: half a vCPU at least, as a quarter starts too slowly."""
    for vcpu in FARGATE:
        try:
            return vcpu, task_memory(model, precision, vcpu, measured)
        except ValueError:
            continue
    raise ValueError(f"no task here holds {model}")


def rekognition(frames: float, tiers: list[list[Any]]) -> float:
    """The price of DetectLabels for a number of images in a month."""
    total, done = 0.0, 0.0
    for limit, price in tiers:
        part = frames - done if limit is None else max(0.0, min(frames, limit) - done)
        total += part * price
        done += part
    return total


def fitting(
    traffic: Traffic,
    precision: str,
    measured: dict[str, Any],
    *,
    policy: str = "all",
    spot: bool = False,
    **network: Any,
) -> Config:
    """An environment of the document: tasks of one vCPU, and as many of them and of shards as the traffic takes."""
    values: dict[str, Any] = {
        "region": REGION,
        "storage": {"expiry_days": KEPT_DAYS},
        "network": network,
        "service": {"cpu": 1024, "memory": 2048, "precision": precision, "spot": spot},
        "sources": {"store": policy, "announce": policy},
    }
    prices = of_region(load()[1], REGION)
    size = bill(Config.of(values), traffic, measured, prices).size
    values["service"]["max_tasks"], values["stream"] = size.tasks, {"shards": size.shards}
    return Config.of(values)


def tables(measured: dict[str, Any], all_prices: dict[str, Any]) -> Iterator[str]:
    """The document's tables, in Markdown."""
    prices = of_region(all_prices, REGION)
    yield f"Speeds of {measured['date']} on an {measured['processor']}, prices of {all_prices['date']} in {REGION}.\n\n"
    yield "| model | precision | smallest task | frames/s a vCPU | $ a million frames, Fargate alone |\n"
    yield "| --- | --- | --- | --- | --- |\n"
    for size in "nsmlx":
        for precision in ("fp32", "bf16", "int8"):
            model = f"yolov8{size}"
            vcpu, gib = smallest(model, precision, measured)
            one = task_rate(model, precision, 1.0, measured)
            hourly = vcpu * prices["fargate_vcpu_hour"]["X86_64"] + gib * prices["fargate_gib_hour"]["X86_64"]
            million = 1e6 / (one * vcpu * UTILISATION) / 3600 * hourly
            yield f"| {size} | {precision} | {vcpu:g} vCPU, {gib:g} GiB | {one:.1f} | {million:.2f} |\n"
    columns = (
        "cameras at 5 frames/s", "precision", "tasks", "shards", "Fargate", "Kinesis", "S3", "SQS", "DynamoDB",
        "network", "balancer", "watching", "all, a month", "a camera", "a million frames", "Rekognition, a million",
    )  # fmt: skip
    yield f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n"
    for cameras in (1, 10, 100, 1000):
        for precision in ("fp32", "int8"):
            traffic = Traffic(cameras=cameras)
            one_bill = bill(fitting(traffic, precision, measured), traffic, measured, prices)
            yield _row(one_bill, traffic, precision, all_prices["rekognition_tiers"])
    yield "\n| frames a month through | 1 camera | 10 cameras | 100 cameras | 1000 cameras |\n|" + " --- |" * 5 + "\n"
    ways: dict[str, dict[str, Any]] = {
        "a NAT gateway": {"kinesis_endpoint": False},
        "an endpoint beside it": {},
        "endpoints alone": {"egress": "endpoints"},
    }
    for way, network in ways.items():
        sums = []
        for cameras in (1, 10, 100, 1000):
            traffic = Traffic(cameras=cameras)
            parts = bill(fitting(traffic, "fp32", measured, **network), traffic, measured, prices).parts
            sums.append(f"{math.fsum(parts[part] for part in NETWORK):.0f}")
        yield f"| {way} | {' | '.join(sums)} |\n"
    yield from _policies(measured, prices)
    yield "\n| no camera sends | $ a month |\n| --- | --- |\n"
    asleep = bill(Config.of({"region": REGION}), Traffic(cameras=0), measured, prices)
    yield from (f"| {part} | {dollars:.2f} |\n" for part, dollars in asleep.parts.items() if dollars)
    yield f"| all | {asleep.total:.2f} |\n"


def _policies(measured: dict[str, Any], prices: dict[str, Any]) -> Iterator[str]:
    """What policies save, with 100 cameras."""
    traffic = Traffic(cameras=100)
    columns = (
        "`store` and `announce`",
        "tasks are",
        "tasks",
        "Fargate",
        "S3",
        "SQS",
        "EventBridge",
        "all, a month",
        "share",
    )
    yield f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n"
    for tasks, precision, spot in (("fp32", "fp32", False), ("int8", "int8", False), ("int8 on Spot", "int8", True)):
        whole = 0.0
        for policy in ("all", "detections", "events"):
            config = fitting(traffic, precision, measured, policy=policy, spot=spot)
            one = bill(config, traffic, measured, prices)
            whole = whole or one.total
            dollars = [one.parts[part] for part in ("Fargate", "S3", "SQS", "EventBridge")] + [one.total]
            cells = [policy, tasks, str(one.size.tasks), *(f"{value:.0f}" for value in dollars)]
            yield f"| {' | '.join(cells)} | {one.total / whole:.1%} |\n"


def _row(one: Bill, traffic: Traffic, precision: str, tiers: list[list[Any]]) -> str:
    parts, million = one.parts, 1e6 / traffic.frames
    sums = [math.fsum(parts[part] for part in group) for group in (NETWORK, ("balancer",), WATCHING)]
    dollars = [parts[part] for part in ("Fargate", "Kinesis", "S3", "SQS", "DynamoDB")] + sums + [one.total]
    cells = [str(traffic.cameras), precision, str(one.size.tasks), str(one.size.shards)]
    cells += [f"{value:.0f}" for value in dollars]
    cells += [f"{one.total / traffic.cameras:.2f}", f"{one.total * million:.2f}"]
    return f"| {' | '.join(cells)} | {rekognition(traffic.frames, tiers) * million:.0f} |\n"


def load() -> tuple[dict[str, Any], dict[str, Any]]:
    """Measured speeds, and prices of all regions."""
    return json.loads((HERE / "measured.json").read_text()), json.loads((HERE / "prices.json").read_text())


def of_region(prices: dict[str, Any], region: str) -> dict[str, Any]:
    """The prices of a region.

    Raises:
        ValueError: If there are none.
    """
    try:
        found: dict[str, Any] = prices["regions"][region]
    except KeyError:
        known = ", ".join(prices["regions"])
        raise ValueError(
            f"no prices of {region} in benchmarks/prices.json: add them, or take others with --prices ({known})"
        ) from None
    return found


def with_tables(text: str) -> str:
    """The document with tables from the current figures."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "".join(tables(*load())) + END + rest.partition(END)[2]


def configured(path: Path, changes: dict[str, Any], policy: dict[str, Any] | None = None) -> Config:
    """An environment's configuration with another model, or another policy of what is stored and announced.

    Raises:
        ConfigError: If it is wrong.
    """
    config = Config.read(path)
    values = config.model_dump(exclude_unset=True)
    service = values.setdefault("service", {})
    if "model_size" in changes:
        service.pop("model", None)
    service.update(changes)
    values["sources"] = values.get("sources", {}) | (policy or {})
    return Config.of(values, str(path))


def main() -> None:
    default = Traffic()
    parser = argparse.ArgumentParser(prog="make cost", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--environment", default=os.environ.get("ENVIRONMENT", "dev"), help="default: dev")
    parser.add_argument("--cameras", type=int, default=default.cameras, help=f"default: {default.cameras}")
    parser.add_argument("--fps", type=float, default=default.fps, help="of each camera (default: 5)")
    parser.add_argument("--frame-kb", type=float, default=default.frame_kb, help="of a JPEG, in thousands of bytes")
    parser.add_argument(
        "--hours", type=float, default=default.hours, help="of a day in which cameras send (default: 24)"
    )
    parser.add_argument("--size", choices=list("nsmlx"), help="YOLOv8 of this size instead of the environment's model")
    parser.add_argument("--precision", choices=("fp32", "bf16", "int8"), help="instead of the environment's")
    parser.add_argument("--store", choices=("all", "detections", "events", "none"), help="instead of the environment's")
    parser.add_argument("--announce", choices=("all", "detections", "events"), help="instead of the environment's")
    parser.add_argument(
        "--detected", type=float, default=100 * default.detected, help="percent of frames with something (default: 30)"
    )
    parser.add_argument(
        "--eventful", type=float, default=100 * default.eventful, help="percent of frames of events (default: 5)"
    )
    parser.add_argument("--prices", default="", help="a region whose prices stand in for the environment's region's")
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--write", action="store_true", help=f"write the tables of {DOCUMENT.name} anew")
    args = parser.parse_args()
    if args.write:
        DOCUMENT.write_text(with_tables(DOCUMENT.read_text()))
        return
    if args.cameras < 0 or args.fps <= 0 or args.frame_kb <= 0 or not 0 <= args.hours <= 24:
        sys.exit("error: --cameras 0 or more, --fps and --frame-kb above 0, --hours 0 to 24 are allowed")
    if not (0 <= args.detected <= 100 and 0 <= args.eventful <= 100):
        sys.exit("error: --detected and --eventful 0 to 100 are allowed")
    measured, all_prices = load()
    changes = {"model_size": args.size, "precision": args.precision}
    traffic = Traffic(
        args.cameras, args.fps, args.frame_kb, args.hours, detected=args.detected / 100, eventful=args.eventful / 100
    )
    policy = {name: value for name in ("store", "announce") if (value := getattr(args, name))}
    try:
        path = ROOT / "environments" / f"{args.environment}.toml"
        config = configured(path, {name: value for name, value in changes.items() if value}, policy)
        region = args.prices or config.region
        prices = of_region(all_prices, region)
        result = bill(config, traffic, measured, prices)
        asleep = bill(config, Traffic(cameras=0), measured, prices)
    except (ConfigError, ValueError) as error:
        sys.exit(f"error: {error}")
    if args.as_json:
        print(json.dumps(asdict(result) | {"total": result.total, "asleep": asleep.total, "region": region}))
        return
    print("\n".join(lines(args.environment, config, traffic, result, asleep)))
    print(f"prices of {all_prices['date']} in {region}; {all_prices['source']}")


def lines(environment: str, config: Config, traffic: Traffic, result: Bill, asleep: Bill) -> Iterator[str]:
    """A bill for people; the second column is what it costs while no camera sends."""
    size, service = result.size, config.service
    yield (
        f"{environment}, with cameras: {traffic.cameras}, each of {traffic.fps:g} frames/s; "
        f"tasks: {size.tasks}, each of {service.cpu / 1024:g} vCPU and {service.memory / 1024:g} GiB; "
        f"shards: {size.shards}"
    )
    for short in size.short:
        yield f"  more than the environment allows: {short}"
    yield f"  {'$ a month':12} {'':12} asleep"
    for part, dollars in result.parts.items():
        if dollars or asleep.parts[part]:
            yield f"  {part:10} {dollars:14,.2f} {asleep.parts[part]:12,.2f}"
    yield f"  {'all':10} {result.total:14,.2f} {asleep.total:12,.2f}"
    if traffic.frames:
        million = 1e6 / traffic.frames
        yield f"  {result.total / traffic.cameras:.2f} a camera, {result.total * million:.2f} a million frames"


if __name__ == "__main__":
    main()
