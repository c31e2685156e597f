"""One environment's configuration: a TOML file that is checked before anything is synthesised.

environments/dev.toml, environments/prod.toml; ENVIRONMENT=dev python main.py
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from contract.source_settings import SourceSettings
from kcl_worker.heap import heap_mib, leases_in
from stacks.event_routes import EventsConfig
from stacks.worker_variables import WorkerVariables

# Memory in MiB that Fargate offers for each CPU size.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
FARGATE_SIZES: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
    32768: (61440, 122880, 249856),
}
# Retentions that CloudWatch Logs offers, in days.
LOG_RETENTIONS: Final = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
# ECS runs at most 5 000 tasks of a service, Kinesis gives most accounts 500 shards at first.
MAX_TASKS: Final = 500
DEFAULT_MAX_TASKS: Final = 10

# What names a file in models/, a part of an image's tag and a model in messages.
MODEL: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


@lru_cache
def _regions(partition: str) -> frozenset[str]:
    """The regions of a partition that have Kinesis, as far as the SDK knows."""
    import boto3  # takes a quarter of a second, and only who deploys needs it

    return frozenset(boto3.Session().get_available_regions("kinesis", partition))


def _region(name: str) -> str:
    if not name or name in _regions("aws"):
        return name
    for partition in ("aws-cn", "aws-us-gov"):
        if name in _regions(partition):
            raise ValueError(
                f"{name} is in the partition {partition}, whose names differ: regions of `aws` are allowed"
            )
    raise ValueError(f"{name}: the AWS SDK knows no such region with Kinesis; a newer SDK may: eu-central-1 is one")


Region = Annotated[str, AfterValidator(_region)]


class ConfigError(Exception):
    """A configuration cannot be deployed; the error's text is one line."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamConfig(_Section):
    """The Kinesis Data Stream."""

    name: str = Field(
        default="cv2kinesis",
        description="name of the stream, the registry and the lease tables; all three allow lowercase letters, digits "
        "and single `.`, `_`, `-` between them",
    )
    mode: Literal["PROVISIONED", "ON_DEMAND"] = Field(
        default="PROVISIONED", description="`ON_DEMAND`: AWS chooses the number of shards, four at first"
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=500,
        description="number of shards when provisioned; each takes 1 MiB and 1 000 records a second",
    )
    retention_hours: int = Field(default=24, ge=24, le=8760, description="how long a frame that nobody reads is kept")

    @property
    def least_shards(self) -> int:
        """Shards that there are at any time: an on-demand stream begins with four."""
        return self.shards if self.mode == "PROVISIONED" else 4


class NetworkConfig(_Section):
    """The VPC and its way to the internet."""

    cidr: str = Field(default="10.0.0.0/16", description="the VPC's block, /16 to /24")
    zones: int = Field(default=2, ge=2, le=4, description="number of availability zones")
    egress: Literal["nat", "nat-per-zone", "endpoints"] = Field(
        default="nat", description="one NAT gateway, one per zone, or none: `endpoints` reach AWS alone"
    )
    kinesis_endpoint: bool = Field(
        default=True,
        description="with NAT, the frames' own way to the tasks; cheaper from 209 GB a month on "
        "([cost](cost.md#the-network))",
    )
    certificate_arn: str = Field(
        default="",
        pattern=r"^(arn:aws[a-z-]*:acm:\S+)?$",
        description="certificate of the balancer's domain: it then serves port 443, and port 80 redirects there",
    )

    @model_validator(mode="after")
    def _check_endpoints(self) -> Self:
        if self.egress == "endpoints" and not self.kinesis_endpoint:
            raise ValueError("kinesis_endpoint false: with egress `endpoints`, it is the only way to the stream")
        return self

    @model_validator(mode="after")
    def _check_cidr(self) -> Self:
        try:
            network = IPv4Network(self.cidr)
        except ValueError as error:
            raise ValueError(f"cidr {self.cidr}: {error}") from None
        if not 16 <= network.prefixlen <= 24:
            raise ValueError(f"cidr {self.cidr}: a block of /16 to /24 is allowed")
        return self

    def subnets(self) -> list[str]:
        """Blocks of equal size: first the public subnets, then the private ones."""
        count = 2 * self.zones
        blocks = list(IPv4Network(self.cidr).subnets(prefixlen_diff=(count - 1).bit_length()))
        return [str(block) for block in blocks[:count]]


def _model_size(value: object) -> object:
    return value.removeprefix("yolov8") if isinstance(value, str) else value


class ServiceConfig(_Section):
    """The worker's Fargate service."""

    cpu: int = Field(default=512, description="CPU of a task in 1024ths of a core; a size that Fargate offers")
    memory: int = Field(default=2048, description="memory of a task in MiB; a size that Fargate offers for this CPU")
    architecture: Literal["X86_64", "ARM64"] = Field(default="X86_64", description="processor of image and tasks")
    image_tag: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$",
        description="tag of the worker's image; empty: made from the image's content",
    )
    min_tasks: int = Field(default=0, ge=0, le=MAX_TASKS, description="least number of tasks")
    max_tasks: int | None = Field(
        default=None, ge=1, le=MAX_TASKS, description="greatest number of tasks; none: one per shard, but at most ten"
    )
    spot: bool = Field(
        default=False,
        description="runs tasks on Fargate Spot, for up to 70 % less; AWS may take a place back within two minutes",
    )
    on_demand_base: int = Field(
        default=0, ge=0, le=MAX_TASKS, description="with `spot`, so many tasks, the first, run on demand all the same"
    )
    balancer: bool = Field(
        default=True,
        description="a load balancer that answers `/health`; without it, ECS alone asks the tasks how they are",
    )
    cpu_target: float = Field(default=70, ge=20, le=95, description="percent of CPU above which tasks are added")
    log_retention_days: int = Field(default=30, description="how long the worker's log is kept")
    shutdown_grace_seconds: int = Field(
        default=90, ge=10, le=110, description="a task's time to finish what is in flight"
    )
    model_size: Annotated[Literal["n", "s", "m", "l", "x"], BeforeValidator(_model_size)] = Field(
        default="n", description="size of YOLOv8, unless `model` names another"
    )
    model: str = Field(
        default="",
        description="another model: a name that ultralytics knows, such as `yolo11n`, or the path of an ONNX file",
    )
    image_size: int | None = Field(
        default=None,
        ge=64,
        le=2048,
        multiple_of=32,
        description="the network's longer side, in pixels; none: what the model was exported for",
    )
    precision: Literal["fp32", "bf16", "int8", "auto"] = Field(
        default="fp32",
        description="`auto`, recommended after `make quantise`: each task takes what is fastest on its processor, of "
        "what agrees with fp32; `bf16` where the processor has it; `int8`: [performance](performance.md#precision)",
    )
    retrieval_mode: Literal["POLLING", "FANOUT"] = Field(
        default="POLLING",
        description="`FANOUT`: Kinesis pushes records, some 0.2 s sooner; for its price see [kcl](kcl.md)",
    )
    quarantine_keeps: Literal["bytes", "reasons"] = Field(
        default="bytes",
        description="what quarantine keeps of a record that cannot be processed: its bytes, or the reason alone",
    )
    exec: bool = Field(
        default=False,
        description="a shell in running tasks (ECS Exec): it is root's, on a root file system that can be written",
    )
    confidence_threshold: float = Field(default=0.5, ge=0, le=1, description="least confidence of a detection")
    max_detections: int = Field(
        default=100, ge=1, le=1000, description="the most detections of a frame; the most confident stay"
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.cpu not in FARGATE_SIZES:
            raise ValueError(f"cpu {self.cpu}: Fargate offers {', '.join(map(str, FARGATE_SIZES))}")
        if self.memory not in FARGATE_SIZES[self.cpu]:
            offered = FARGATE_SIZES[self.cpu]
            listed = f"{', '.join(map(str, offered))} MiB"
            ranged = f"{offered[0]} to {offered[-1]} MiB in steps of {offered[1] - offered[0]}"
            raise ValueError(
                f"memory {self.memory}: with cpu {self.cpu} Fargate offers {listed if len(offered) < 4 else ranged}"
            )
        if self.log_retention_days not in LOG_RETENTIONS:
            raise ValueError(
                f"log_retention_days {self.log_retention_days}: {', '.join(map(str, LOG_RETENTIONS))} are offered"
            )
        return self

    @model_validator(mode="after")
    def _check_spot(self) -> Self:
        if self.on_demand_base and not self.spot:
            raise ValueError(f"on_demand_base {self.on_demand_base}: without `spot = true`, all tasks run on demand")
        return self

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.model and "model_size" in self.model_fields_set:
            raise ValueError(f"model_size {self.model_size} and model {self.model}: one of them is allowed")
        if not re.fullmatch(MODEL, self.model_name) or self.model.endswith((".pt", ".xml")):
            raise ValueError(
                f"model {self.model!a}: a name that ultralytics knows, such as yolo11n, or an ONNX file: 1 to 64 "
                "letters, digits, `_`, `.` and `-`; `make model WEIGHTS=file.pt NAME=mine` exports your own weights"
            )
        return self

    @property
    def model_name(self) -> str:
        """The model's name, without what its precision adds: yolov8n, yolo11n, mine."""
        return Path(self.model).name.removesuffix(".onnx") if self.model else f"yolov8{self.model_size}"

    @property
    def leases(self) -> int:
        """The number of shards that the heap of a task's daemon holds."""
        return leases_in(heap_mib(self.memory))


class StorageConfig(_Section):
    """Frames, results and quarantine."""

    bucket: str = Field(
        default="processedframes-{account}-{region}",
        pattern=r"^[a-z0-9.{}-]+$",
        description="name of the bucket of frames; `{account}` and `{region}` are filled in",
    )
    expiry_days: int = Field(default=7, ge=1, le=3650, description="days after which frames are deleted")
    versioning: bool = Field(default=False, description="keeps overwritten and deleted objects for `expiry_days`")
    replica_region: Region = Field(default="", description="a region to which every frame is copied; needs versioning")
    queue: str = Field(
        default="processing-results",
        pattern=r"^[A-Za-z0-9_-]+$",
        description="name of the queue of results; those of events, quarantine and dead letters are named after it",
    )
    max_receives: int = Field(
        default=5, ge=1, le=1000, description="attempts after which a message goes to the dead-letter queue"
    )

    @model_validator(mode="after")
    def _check_replica(self) -> Self:
        if self.replica_region and not self.versioning:
            raise ValueError("replica_region: S3 copies only versioned buckets; set versioning = true")
        return self

    def bucket_name(self, account: str, region: str) -> str:
        """The bucket's name in a region."""
        return self.bucket.replace("{account}", account).replace("{region}", region)


class AlarmConfig(_Section):
    """Who gets the alarms, and what a month may cost."""

    email: str = Field(
        default="", pattern=r"^(\S+@\S+)?$", description="address for the alarms; its owner has to confirm"
    )
    budget: float = Field(
        default=0,
        ge=0,
        le=1e9,
        description="dollars a month; the alarms' topic is told at 80 % and at all of it, and when AWS expects more; "
        "0: no budget ([cost](cost.md#a-budget))",
    )


KEY_ARN: Final = r"arn:aws:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+"


class EncryptionConfig(_Section):
    """Whose KMS keys encrypt what holds data: stream, frames, queues, tables, logs, registry."""

    key: str = Field(
        default="",
        pattern=rf"^(own|{KEY_ARN})?$",
        description="`own`: the environment makes a key; an existing key's ARN; empty: the services' own keys "
        "([keys](infrastructure.md#keys))",
    )
    replica_key: str = Field(
        default="",
        pattern=rf"^({KEY_ARN})?$",
        description="with an existing key, the ARN of one in the replica's region",
    )

    @property
    def own(self) -> bool:
        """Whether the stack makes the key."""
        return self.key == "own"


class GithubConfig(_Section):
    """The GitHub repository whose workflows plan and deploy, if there is one."""

    repository: str = Field(
        default="", pattern=r"^([\w.-]+/[\w.-]+)?$", description="OWNER/NAME on GitHub; empty: none"
    )
    branch: str = Field(
        default="main", pattern=r"^[\w./-]+$", description="branch whose workflow deploys, beside tags `v*`"
    )
    create_provider: bool = Field(
        default=True,
        description="an account has one provider of GitHub's identities: set false in all environments but one",
    )


class Config(_Section):
    """One environment. An account can hold several, which differ by their suffixes."""

    region: Region = Field(default="eu-central-1", description="region of every resource")
    suffix: str = Field(
        default="",
        pattern=r"^(-[a-z0-9]{1,16})?$",
        description="ends every name, such as `-prod`, so that an account can hold several environments",
    )
    account: str = Field(
        default="", pattern=r"^(\d{12})?$", description="the only AWS account that this may be deployed to; empty: any"
    )
    tags: dict[str, str] = Field(default_factory=dict, description="tags of every resource, as `[tags]`")
    stream: StreamConfig = StreamConfig()
    network: NetworkConfig = NetworkConfig()
    service: ServiceConfig = ServiceConfig()
    worker: WorkerVariables = WorkerVariables()
    storage: StorageConfig = StorageConfig()
    sources: SourceSettings = Field(
        default=SourceSettings(), description="settings of every source, which its own settings go before"
    )
    events: EventsConfig = EventsConfig()
    alarms: AlarmConfig = AlarmConfig()
    encryption: EncryptionConfig = EncryptionConfig()
    github: GithubConfig = GithubConfig()

    @model_validator(mode="after")
    def _check_tags(self) -> Self:
        # The stack sets them, and the workflows' roles go by them; IAM does not tell Project from project.
        if taken := [key for key in self.tags if key.lower() in ("project", "environment", "pipeline")]:
            raise ValueError(
                f"tags.{taken[0]}: `project`, `environment` and `pipeline` are the stack's own; other keys are allowed"
            )
        return self

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        least, most, shards = self.service.min_tasks, self.max_tasks, self.stream.least_shards
        self._check_names()
        # An on-demand stream begins with four shards and gets more.
        if most > shards and self.stream.mode == "PROVISIONED":
            raise ValueError(
                f"service.max_tasks {most}: more than the {shards} shards of the stream, of which a task needs at "
                "least one"
            )
        if self.storage.replica_region == self.region:
            raise ValueError(f"storage.replica_region {self.region}: another region than the pipeline's")
        if self.storage.replica_region and "{region}" not in self.storage.bucket:
            raise ValueError(f"storage.bucket {self.storage.bucket}: with a replica, its name needs {{region}}")
        if self.least_tasks > most:
            raise ValueError(
                f"service.max_tasks {most}: a task of {self.service.memory} MiB reads at most {self.leases} "
                f"shards, so {shards} shards take {self.least_tasks} tasks"
            )
        if least > most:
            raise ValueError(f"service.min_tasks {least}: more than max_tasks {most}")
        if self.service.on_demand_base > most:
            raise ValueError(f"service.on_demand_base {self.service.on_demand_base}: more than max_tasks {most}")
        if self.network.certificate_arn and not self.service.balancer:
            raise ValueError("network.certificate_arn: `service.balancer = false` leaves nothing that would use it")
        return self

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        key, replica_key = self.encryption.key, self.encryption.replica_key
        given = bool(key) and not self.encryption.own
        if given and self.storage.replica_region and not replica_key:
            raise ValueError(
                "encryption.replica_key: frames are copied to another region, which needs a key of its own"
            )
        if replica_key and not (given and self.storage.replica_region):
            raise ValueError("encryption.replica_key: needs an ARN as `encryption.key`, and `storage.replica_region`")
        for name, arn, region in (
            ("key", key if given else "", self.region),
            ("replica_key", replica_key, self.storage.replica_region),
        ):
            if arn and (found := arn.split(":")[3]) != region:
                raise ValueError(f"encryption.{name}: the key is in {found}, but {region} is needed")
        return self

    @model_validator(mode="after")
    def _check_routes(self) -> Self:
        for name, route in self.events.rules.items():
            # https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-targets.html
            for kind, arn in (("sns", route.sns), ("queue", route.queue)):
                if arn and (found := arn.split(":")[3]) != self.region:
                    raise ValueError(f"events.rules.{name}.{kind}: it is in {found}, but {self.region} is needed")
        return self

    def _check_names(self) -> None:
        """Refuses names that AWS refuses, some of them after it has made half of the resources."""
        # Longest of what the suffix and the services' own ends leave: Kinesis' 128 characters, SQS' 80.
        stream, queue = self.name(self.stream.name), self.name(f"{self.storage.queue}-quarantine")
        if not re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", stream) or not 3 <= len(stream) <= 128:
            raise ValueError(
                f"stream.name {stream!r}: 3 to 128 lowercase letters, digits and single . _ - between them are "
                "allowed, as it names the registry and tables too"
            )
        if len(queue) > 80:
            raise ValueError(f"storage.queue: {queue!r} is longer than the 80 characters that SQS allows")
        for region in filter(None, (self.region, self.storage.replica_region)):
            if problem := bucket_problem(self.name(self.storage.bucket_name("123456789012", region))):
                raise ValueError(f"storage.bucket {self.storage.bucket!r}: {problem}")

    @property
    def max_tasks(self) -> int:
        """The greatest number of tasks; if it is not set, one for each shard, but at most ten."""
        return self.service.max_tasks or min(DEFAULT_MAX_TASKS, self.stream.least_shards)

    @property
    def least_tasks(self) -> int:
        """Fewer tasks that are awake would leave shards to nobody."""
        return -(-self.stream.least_shards // self.leases)

    @property
    def leases(self) -> int:
        """The number of shards that a task may read."""
        return min(self.service.leases, int(self.worker.kcl_max_leases) or self.service.leases)

    @classmethod
    def read(cls, path: Path) -> Config:
        """Reads and checks a file.

        Raises:
            ConfigError: With one line that says where, what and what is allowed.
        """
        try:
            values = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except ValueError as error:  # TOML that is none, or text that is not UTF-8
            raise ConfigError(f"{path}: {error}") from None
        return cls.of(values, str(path))

    @classmethod
    def of(cls, values: dict[str, Any], where: str = "configuration") -> Config:
        """Checks values.

        Raises:
            ConfigError: With one line that says where, what and what is allowed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError("; ".join(_explain(problem, where) for problem in error.errors())) from None

    def name(self, base: str) -> str:
        """A resource's name in this environment."""
        return base + self.suffix


def bucket_problem(name: str) -> str | None:
    """What S3 has against a bucket's name, if anything.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    if not 3 <= len(name) <= 63:
        return f"{name} has {len(name)} characters; S3 allows 3 to 63"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", name):
        return f"{name}: S3 allows lowercase letters, digits, - and single dots, with a letter or digit beside each"
    reserved = name.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or name.endswith(
        ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
    )
    if reserved or re.fullmatch(r"[\d.]+", name):
        return f"{name}: S3 reserves such names, or takes it for an address"
    return None


def _explain(problem: Any, where: str) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        text = "no such key"
    elif problem["type"] != "value_error":
        text = f"{problem['input']!r}: {text[0].lower()}{text[1:]}"
    return f"{where}: {place}: {text}" if place else f"{where}: {text}"
