"""One environment's configuration: a TOML file, checked before anything is synthesised.

environments/dev.toml, environments/prod.toml; ENVIRONMENT=dev python main.py
"""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

# Memory in MiB that Fargate offers for each CPU size, as ranges of (first, last, step).
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size
FARGATE_SIZES: Final[dict[int, tuple[int, ...]]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
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
MAX_TASKS: Final = 20
DEFAULT_MAX_TASKS: Final = 10
REGION: Final = r"[a-z]{2}(-[a-z]+)+-\d"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


class ConfigError(Exception):
    """A configuration that cannot be deployed; its text is one line."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamConfig(_Section):
    """The Kinesis Data Stream."""

    name: Name = Field(default="cv2kinesis", description="of the stream, the registry and the lease tables")
    mode: Literal["PROVISIONED", "ON_DEMAND"] = Field(
        default="PROVISIONED", description="`ON_DEMAND`: AWS chooses the number of shards, four at first"
    )
    shards: int = Field(
        default=1, ge=1, le=500, description="of a provisioned stream; each takes 1 MiB and 1 000 records a second"
    )
    retention_hours: int = Field(default=24, ge=24, le=8760, description="how long a frame that nobody reads is kept")

    @property
    def least_shards(self) -> int:
        """Shards that there are at any time: an on-demand stream begins with four."""
        return self.shards if self.mode == "PROVISIONED" else 4


class NetworkConfig(_Section):
    """The VPC and its way out."""

    cidr: str = Field(default="10.0.0.0/16", description="the VPC's block, /16 to /24")
    zones: int = Field(default=2, ge=2, le=4, description="availability zones")
    egress: Literal["nat", "nat-per-zone", "endpoints"] = Field(
        default="nat", description="one NAT gateway, one a zone, or none: then only AWS is reached, through endpoints"
    )
    certificate_arn: str = Field(
        default="",
        pattern=r"^(arn:aws[a-z-]*:acm:\S+)?$",
        description="of the balancer's domain: port 443, to which port 80 redirects",
    )

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
        """Blocks of equal size: the public subnets, then the private ones."""
        count = 2 * self.zones
        blocks = list(IPv4Network(self.cidr).subnets(prefixlen_diff=(count - 1).bit_length()))
        return [str(block) for block in blocks[:count]]


def _model_size(value: object) -> object:
    return value.removeprefix("yolov8") if isinstance(value, str) else value


class ServiceConfig(_Section):
    """The worker's Fargate service."""

    cpu: int = Field(default=512, description="of a task, in 1024ths of a core, as Fargate offers them")
    memory: int = Field(default=2048, description="of a task, in MiB, as Fargate offers it with the CPU")
    architecture: Literal["X86_64", "ARM64"] = Field(default="X86_64", description="of image and tasks")
    image_tag: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$",
        description="of the worker's image; empty: made from what it is built of",
    )
    min_tasks: int = Field(default=0, ge=0, le=MAX_TASKS, description="tasks at any time")
    max_tasks: int | None = Field(
        default=None, ge=1, le=MAX_TASKS, description="tasks at the most; none: one a shard, and not more than ten"
    )
    cpu_target: float = Field(default=70, ge=20, le=95, description="percent of CPU above which tasks are added")
    log_retention_days: int = Field(default=30, description="of the worker's log")
    shutdown_grace_seconds: int = Field(
        default=90, ge=10, le=110, description="a task's time to finish what is in flight"
    )
    model_size: Annotated[Literal["n", "s", "m", "l", "x"], BeforeValidator(_model_size)] = Field(
        default="n", description="of YOLOv8"
    )
    precision: Literal["fp32", "bf16", "int8"] = Field(
        default="fp32",
        description="bf16 where the processor has it; int8 after `make quantise`: [performance](performance.md)",
    )
    retrieval_mode: Literal["POLLING", "FANOUT"] = Field(
        default="POLLING", description="FANOUT: records are pushed, some 0.2 s sooner; what it costs: [kcl](kcl.md)"
    )
    confidence_threshold: float = Field(default=0.5, ge=0, le=1, description="least confidence of a detection")
    max_detections: int = Field(default=100, ge=1, le=1000, description="in a frame, the most confident ones")

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.cpu not in FARGATE_SIZES:
            raise ValueError(f"cpu {self.cpu}: Fargate offers {', '.join(map(str, FARGATE_SIZES))}")
        if self.memory not in FARGATE_SIZES[self.cpu]:
            offered = FARGATE_SIZES[self.cpu]
            raise ValueError(
                f"memory {self.memory}: with cpu {self.cpu} Fargate offers {offered[0]} to {offered[-1]} MiB "
                f"in steps of {offered[1] - offered[0]}"
            )
        if self.log_retention_days not in LOG_RETENTIONS:
            raise ValueError(
                f"log_retention_days {self.log_retention_days}: {', '.join(map(str, LOG_RETENTIONS))} are offered"
            )
        return self


class StorageConfig(_Section):
    """Frames, results and quarantine."""

    bucket: str = Field(
        default="processedframes-{account}-{region}",
        pattern=r"^[a-z0-9.{}-]+$",
        description="of frames; `{account}` and `{region}` are filled in",
    )
    expiry_days: int = Field(default=7, ge=1, le=3650, description="after which frames go")
    versioning: bool = Field(default=False, description="keeps what is overwritten and deleted, as long as frames")
    replica_region: str = Field(
        default="", pattern=rf"^({REGION})?$", description="where every frame is copied to; needs versioning"
    )
    queue: Name = Field(default="processing-results", description="of results; two more are named after it")
    max_receives: int = Field(
        default=5, ge=1, le=1000, description="after so many a message goes to the dead-letter queue"
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
    """Who is told."""

    email: str = Field(default="", pattern=r"^(\S+@\S+)?$", description="subscribed to the alarms; it has to confirm")


class GithubConfig(_Section):
    """The repository whose workflows plan and deploy, if any."""

    repository: str = Field(default="", pattern=r"^([\w.-]+/[\w.-]+)?$", description="owner/name; empty: none")
    create_provider: bool = Field(
        default=True,
        description="of GitHub's identities an account has one: false in all environments but one",
    )


class Config(_Section):
    """One environment. Several stand side by side in an account by their suffixes."""

    region: str = Field(default="eu-central-1", pattern=rf"^{REGION}$", description="of everything")
    suffix: str = Field(
        default="",
        pattern=r"^(-[a-z0-9]{1,16})?$",
        description="ends every name, such as `-prod`, so that environments stand side by side",
    )
    tags: dict[str, str] = Field(default_factory=dict, description="on everything, as `[tags]`")
    stream: StreamConfig = StreamConfig()
    network: NetworkConfig = NetworkConfig()
    service: ServiceConfig = ServiceConfig()
    storage: StorageConfig = StorageConfig()
    alarms: AlarmConfig = AlarmConfig()
    github: GithubConfig = GithubConfig()

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        least, most, shards = self.service.min_tasks, self.max_tasks, self.stream.least_shards
        if most > shards:
            raise ValueError(
                f"service.max_tasks {most}: more than the {shards} shards of the stream, of which a task needs at "
                "least one"
            )
        if self.storage.replica_region == self.region:
            raise ValueError(f"storage.replica_region {self.region}: another region than the pipeline's")
        if self.storage.replica_region and "{region}" not in self.storage.bucket:
            raise ValueError(f"storage.bucket {self.storage.bucket}: with a replica, its name needs {{region}}")
        if least > most:
            raise ValueError(f"service.min_tasks {least}: more than max_tasks {most}")
        return self

    @property
    def max_tasks(self) -> int:
        """As many tasks at the most: if it is not set, one for each shard, and not more than ten."""
        return self.service.max_tasks or min(DEFAULT_MAX_TASKS, self.stream.least_shards)

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
        except tomllib.TOMLDecodeError as error:
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


def _explain(problem: Any, where: str) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        text = "no such key"
    elif problem["type"] != "value_error":
        text = f"{problem['input']!r}: {text[0].lower()}{text[1:]}"
    return f"{where}: {place}: {text}" if place else f"{where}: {text}"
