"""A month's bill of an environment, part by part: its configuration, its cameras, measured speeds, dated prices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from stacks.config import Config
from stacks.endpoints import interfaces
from stacks.names import ALARMS

HOURS: Final = 730.0
SECONDS: Final = HOURS * 3600
GIB: Final = 2**30
# Limits of one shard in a second, and the size of one PUT payload unit in bytes.
SHARD_BYTES: Final = 1024 * 1024
SHARD_RECORDS: Final = 1000
PUT_UNIT: Final = 25 * 1024
# A frame's time besides the engine, in milliseconds of a core: S3, SQS, the daemon, a record processor
# (`benchmarks.whole_way`), and what boxes and drawing take in pictures with something in them (`benchmarks.sizes` has
# networks that find nothing).
OVERHEAD_MS: Final = 8.0
# What a frame takes less that nobody stores: drawing and encoding 1.7, the calls of S3 1.7 (docs/performance.md).
UNSTORED_MS: Final = 3.4
# An annotated frame is as much larger than the camera's, as JPEG of quality 85.
ANNOTATED: Final = 1.6
# KCL's own writes: a checkpoint in five seconds and a heartbeat in three for each shard; a report in two seconds for
# each task. Reads: the leader's two scans in two seconds, and the lease watch.
WRITES_SHARD: Final = 1 / 5 + 1 / 3
WRITES_TASK: Final = 1 / 2
# A result is sent, received and deleted; singly when a camera is slow, else in tens.
REQUESTS_FRAME: Final = 1.2
# A message that comes alone: it is sent, received and deleted, a request each.
REQUESTS_ALONE: Final = 3
# Of an event, in seconds, from the first frame that is stored of it to the last one.
EVENT_SECONDS: Final = 60
# Objects of an event: its message when it starts and ends, its best picture and two better ones.
EVENT_PUTS: Final = 5
EVENT_MESSAGES: Final = 2
# Scenes are stored before a checkpoint, an object for each shard.
SCENES_SHARD: Final = 1 / 5
# What a frame sends besides itself through a NAT gateway or an endpoint: its result and its share of TLS.
MESSAGE_BYTES: Final = 1000
# Metrics are lines in the log: of a frame, and in ten seconds of a task and of each shard (`operating/metrics.py`).
LOG_FRAME_BYTES: Final = 40
LOG_TASK_BYTES: Final = 470 / 10
LOG_SHARD_BYTES: Final = 330 / 10
# CloudWatch bills what is kept as it is stored, compressed.
LOG_COMPRESSION: Final = 0.15
# Of the stream's dimensions, besides one for each shard; and those of Container Insights for a cluster, a service and a
# family of tasks: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-ECS.html
STREAM_METRICS: Final = 14
INSIGHTS_METRICS: Final = 37
# Of ten images that share most of their layers.
REGISTRY_GIB: Final = 2.0
# Alarms on an expression are billed by the metrics in it; those that look every ten seconds, at three times the price.
EXPRESSIONS: Final = {
    "frames-stopped": 2, "tasks-missing": 2, "metrics-missing": 2, "wake": 3, "knock": 9, "sleep": 5, "out": 2, "in": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traffic:
    """What cameras send.

    Attributes:
        fps: Frames a second of each camera.
        frame_kb: Size of a frame in thousands of bytes.
        hours: Of each day in which the cameras send.
        detected: The share of frames in which something is.
        eventful: The share of frames that are an event's, from `before_seconds` to `after_seconds`.
    """

    cameras: int = 1
    fps: float = 5.0
    frame_kb: float = 60.0
    hours: float = 24.0
    detected: float = 0.3
    eventful: float = 0.05

    @property
    def rate(self) -> float:
        """Frames a second while the cameras send."""
        return self.cameras * self.fps

    @property
    def share(self) -> float:
        """Of the month in which they send."""
        return self.hours / 24

    @property
    def frames(self) -> float:
        """In a month."""
        return self.rate * self.share * SECONDS

    @property
    def gib(self) -> float:
        """In a month."""
        return self.frames * self.frame_kb * 1000 / GIB


@dataclass(frozen=True, slots=True)
class Kept:
    """What becomes of the frames under the environment's policy.

    Attributes:
        stored, announced: Shares of all frames.
        events, tallies: Their numbers in a month.
        remembered: Whether scenes are stored.
    """

    stored: float
    announced: float
    events: float
    tallies: float
    remembered: bool

    @classmethod
    def of(cls, config: Config, traffic: Traffic) -> Kept:
        sources = config.sources
        shares = {"all": 1.0, "detections": traffic.detected, "events": traffic.eventful, "none": 0.0}
        stored, announced = shares[sources.store], shares[sources.announce]
        if sources.sample_seconds:
            stored += (1 - stored) / max(1.0, traffic.fps * sources.sample_seconds)
        seconds = traffic.cameras * traffic.share * SECONDS
        told = bool(sources.events) or "events" in (sources.store, sources.announce)
        return cls(
            stored=stored,
            announced=announced,
            events=seconds * traffic.eventful / EVENT_SECONDS * told,
            tallies=seconds / 60 * (sources.announce != "all"),
            remembered=sources.remembers,
        )

    def messages(self, traffic: Traffic) -> float:
        """In a month, of all kinds."""
        return traffic.frames * self.announced + self.events * EVENT_MESSAGES + self.tallies


@dataclass(frozen=True, slots=True)
class Size:
    """The tasks and shards that the traffic takes; `short` says of what the environment allows fewer."""

    tasks: int
    shards: int
    short: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars a month by part, and what they pay for."""

    size: Size
    parts: dict[str, float]

    @property
    def total(self) -> float:
        return math.fsum(self.parts.values())


def task_rate(model: str, precision: str, vcpu: float, measured: dict[str, Any], stored: float = 1.0) -> float:
    """Frames a second of one task at full load; a vCPU counts as a core of the measuring machine.

    Args:
        stored: The share of frames that are stored.

    Raises:
        ValueError: If the model's speed was not measured.
    """
    try:
        rate = float(measured["models"][f"{model} {precision}"]["rate"])
    except KeyError:
        known = ", ".join(sorted(measured["models"]))
        raise ValueError(f"no measured speed of {model} {precision}; measured are {known}") from None
    engine_ms = 1000 * float(measured["cores"]) / rate
    return vcpu * 1000 / (engine_ms + OVERHEAD_MS - UNSTORED_MS * (1 - stored))


def size_of(config: Config, traffic: Traffic, measured: dict[str, Any]) -> Size:
    """The number of tasks and shards that the traffic takes, at least those that the environment has."""
    service, size = config.service, traffic.frame_kb * 1000
    stored = Kept.of(config, traffic).stored
    # Which processor a task gets is not known before: `auto` is at least as fast as fp32.
    precision = "fp32" if service.precision == "auto" else service.precision
    one = task_rate(service.model_name, precision, service.cpu / 1024, measured, stored)
    tasks = math.ceil(traffic.rate / (one * service.cpu_target / 100))
    tasks = max(tasks, config.least_tasks if tasks else 0, service.min_tasks)
    # Each task needs a shard, and shards are filled to four fifths.
    shards = max(
        math.ceil(traffic.rate * size / (0.8 * SHARD_BYTES)), math.ceil(traffic.rate / (0.8 * SHARD_RECORDS)), tasks
    )
    short = []
    if tasks > config.max_tasks:
        short.append(f"{tasks} tasks (max_tasks allows {config.max_tasks})")
    if config.stream.mode == "PROVISIONED" and shards > config.stream.shards:
        short.append(f"{shards} shards (it has {config.stream.shards})")
    return Size(tasks, max(shards, config.stream.least_shards), tuple(short))


def bill(config: Config, traffic: Traffic, measured: dict[str, Any], prices: dict[str, Any]) -> Bill:
    """The bill of a month.

    Raises:
        ValueError: If the model's speed was not measured.
    """
    size, kept = size_of(config, traffic, measured), Kept.of(config, traffic)
    parts = {
        "Fargate": _fargate(config, traffic, size, prices),
        "Kinesis": _kinesis(config, traffic, size, prices),
        "S3": _objects(config, traffic, size, kept, prices),
        "SQS": _queues(traffic, kept, prices),
        "EventBridge": _bus(config, kept, prices),
        "DynamoDB": _leases(config, traffic, size, prices),
        "NAT": _nat(config, traffic, kept, prices),
        "endpoints": _endpoints(config, traffic, kept, prices),
        "balancer": _balancer(config, prices),
        "logs": _logs(config, traffic, size, prices),
        "metrics": (STREAM_METRICS + size.shards) * _awake(config, traffic) * prices["metric_month"]
        + INSIGHTS_METRICS * prices["metric_month"],
        "alarms": alarm_metrics(config) * prices["alarm_metric_month"],
        "dashboard": prices["dashboard_month"],
        "keys": keys(config) * prices["key_month"],
        "registry": REGISTRY_GIB * prices["registry_gib_month"],
    }
    return Bill(size, parts)


def alarm_metrics(config: Config) -> int:
    """Metrics that alarms watch, in those of standard resolution; as many as the stack's, says a test."""
    alarms: list[str] = [alarm for alarm in ALARMS if alarm != "unhealthy" or config.service.balancer]
    if config.service.min_tasks == 0:
        alarms += ["wake", "knock", "sleep"]
    if config.max_tasks > 1:
        alarms += ["out", "out-unowned", "in", "cpu"]  # target tracking makes one for the CPU
    return sum(EXPRESSIONS.get(alarm, 1) for alarm in alarms) + len(config.events.rules)


def keys(config: Config) -> int:
    """KMS keys that the stack makes: the alarms' topic's, and its own for data in each region."""
    return 1 + (1 + bool(config.storage.replica_region)) * config.encryption.own


def _awake(config: Config, traffic: Traffic) -> float:
    """The share of the month in which any task runs."""
    return 1.0 if config.service.min_tasks else traffic.share if traffic.rate else 0.0


def _task_hours(config: Config, traffic: Traffic, size: Size) -> Iterator[tuple[int, float]]:
    """Numbers of tasks, and the hours for which they run."""
    yield size.tasks if traffic.rate else config.service.min_tasks, HOURS * traffic.share
    yield config.service.min_tasks, HOURS * (1 - traffic.share)


def _fargate(config: Config, traffic: Traffic, size: Size, prices: dict[str, Any]) -> float:
    service = config.service
    hourly = service.cpu / 1024 * prices["fargate_vcpu_hour"][service.architecture]
    hourly += service.memory / 1024 * prices["fargate_gib_hour"][service.architecture]
    total: float = 0.0
    for tasks, hours in _task_hours(config, traffic, size):
        dear = min(tasks, service.on_demand_base) if service.spot else tasks
        total += hours * hourly * (dear + (tasks - dear) * prices["fargate_spot_share"])
    return total


def _kinesis(config: Config, traffic: Traffic, size: Size, prices: dict[str, Any]) -> float:
    stream, kept = config.stream, config.stream.retention_hours > 24
    total: float = 0.0
    if stream.mode == "PROVISIONED":
        total += size.shards * HOURS * prices["kinesis_shard_hour"]
        total += size.shards * HOURS * prices["kinesis_retention_shard_hour"] * kept
        units = math.ceil(traffic.frame_kb * 1000 / PUT_UNIT)
        total += traffic.frames * units * prices["kinesis_put_unit_million"] / 1e6
    else:
        total += HOURS * prices["kinesis_on_demand_hour"]
        total += traffic.gib * (prices["kinesis_on_demand_in_gib"] + prices["kinesis_on_demand_out_gib"])
        months = (stream.retention_hours - 24) / HOURS
        total += traffic.gib * months * prices["kinesis_on_demand_retention_gib_month"]
    if config.service.retrieval_mode == "FANOUT":
        total += size.shards * HOURS * prices["kinesis_fan_out_shard_hour"] * _awake(config, traffic)
        total += traffic.gib * prices["kinesis_fan_out_gib"]
    return total


def _objects(config: Config, traffic: Traffic, size: Size, kept: Kept, prices: dict[str, Any]) -> float:
    """Frames, events and scenes; what is stored of events beside their frames takes no room worth counting."""
    storage, days = config.storage, config.storage.expiry_days
    tagged = config.sources.keep_days or 0
    if 0 < tagged < days:
        days = tagged
    months = days * 24 / HOURS  # for which an object lies there
    frames, gib = traffic.frames * kept.stored, traffic.gib * ANNOTATED * kept.stored
    objects = frames + kept.events * EVENT_PUTS
    one: float = objects / 1000 * prices["s3_put_thousand"] + gib * months * prices["s3_gib_month"]
    if tagged:
        one += objects * months / 1e4 * prices["s3_tag_ten_thousand_month"]
    if kept.remembered:
        scenes = size.shards * SCENES_SHARD * SECONDS * traffic.share * (traffic.rate > 0)
        one += scenes / 1000 * prices["s3_put_thousand"]
    return float(2 * one + gib * prices["transfer_region_gib"] if storage.replica_region else one)


def _queues(traffic: Traffic, kept: Kept, prices: dict[str, Any]) -> float:
    alone = kept.tallies + kept.events * EVENT_MESSAGES
    requests = traffic.frames * kept.announced * REQUESTS_FRAME + alone * REQUESTS_ALONE
    return float(requests * prices["sqs_million"] / 1e6)


def _bus(config: Config, kept: Kept, prices: dict[str, Any]) -> float:
    """What is put on the bus, and its archive; what rules pass on to others is a twentieth of it at the most."""
    if not config.events.bus:
        return 0.0
    messages = kept.events * EVENT_MESSAGES
    gib, months = messages * MESSAGE_BYTES / GIB, config.events.archive_days * 24 / HOURS
    archive = gib * (prices["archive_gib"] + months * prices["archive_gib_month"]) if months else 0.0
    return float(messages * prices["events_million"] / 1e6 + archive)


def _leases(config: Config, traffic: Traffic, size: Size, prices: dict[str, Any]) -> float:
    total: float = 0.0
    for tasks, hours in _task_hours(config, traffic, size):
        if tasks:
            writes, reads = size.shards * WRITES_SHARD + tasks * WRITES_TASK, size.shards + tasks
            million = writes * prices["dynamodb_write_million"] + reads * prices["dynamodb_read_million"]
            total += hours * 3600 * million / 1e6
    return total


def _nat(config: Config, traffic: Traffic, kept: Kept, prices: dict[str, Any]) -> float:
    network = config.network
    if network.egress == "endpoints":
        return 0.0
    gateways = network.zones if network.egress == "nat-per-zone" else 1
    gib = kept.messages(traffic) * MESSAGE_BYTES / GIB + (0.0 if network.kinesis_endpoint else traffic.gib)
    return float(gateways * HOURS * (prices["nat_hour"] + prices["address_hour"]) + gib * prices["nat_gib"])


def _endpoints(config: Config, traffic: Traffic, kept: Kept, prices: dict[str, Any]) -> float:
    network = config.network
    number, gib = len(interfaces(config)), traffic.gib
    if network.egress == "endpoints":
        number, gib = number * network.zones, gib + kept.messages(traffic) * MESSAGE_BYTES / GIB
    elif network.egress == "nat-per-zone":
        number *= network.zones
    if not number:
        return 0.0
    return float(number * HOURS * prices["endpoint_hour"] + gib * prices["endpoint_gib"])


def _balancer(config: Config, prices: dict[str, Any]) -> float:
    """Its hours and an address in each zone; what asks for /health is not worth a capacity unit."""
    if not config.service.balancer:
        return 0.0
    return float(HOURS * (prices["balancer_hour"] + config.network.zones * prices["address_hour"]))


def _logs(config: Config, traffic: Traffic, size: Size, prices: dict[str, Any]) -> float:
    written = traffic.frames * LOG_FRAME_BYTES
    for tasks, hours in _task_hours(config, traffic, size):
        if tasks:
            written += hours * 3600 * (tasks * LOG_TASK_BYTES + size.shards * LOG_SHARD_BYTES)
    kept = written * LOG_COMPRESSION * config.service.log_retention_days * 24 / HOURS
    return float(written / GIB * prices["logs_gib"] + kept / GIB * prices["logs_gib_month"])
