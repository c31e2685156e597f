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

    name: Name = "cv2kinesis"
    mode: Literal["PROVISIONED", "ON_DEMAND"] = "PROVISIONED"
    shards: int = Field(default=1, ge=1, le=500)
    retention_hours: int = Field(default=24, ge=24, le=8760)

    @property
    def least_shards(self) -> int:
        """Shards that there are at any time: an on-demand stream begins with four."""
        return self.shards if self.mode == "PROVISIONED" else 4


class NetworkConfig(_Section):
    """The VPC and its way out."""

    cidr: str = "10.0.0.0/16"
    zones: int = Field(default=2, ge=2, le=4)
    egress: Literal["nat", "nat-per-zone", "endpoints"] = "nat"
    certificate_arn: str = Field(default="", pattern=r"^(arn:aws[a-z-]*:acm:\S+)?$")

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

    cpu: int = 512
    memory: int = 2048
    architecture: Literal["X86_64", "ARM64"] = "X86_64"
    # Empty: made from what the image is built of.
    image_tag: str = Field(default="", pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$")
    min_tasks: int = Field(default=0, ge=0, le=MAX_TASKS)
    max_tasks: int | None = Field(default=None, ge=1, le=MAX_TASKS)
    cpu_target: float = Field(default=70, ge=20, le=95)
    log_retention_days: int = 30
    shutdown_grace_seconds: int = Field(default=90, ge=10, le=110)
    model_size: Annotated[Literal["n", "s", "m", "l", "x"], BeforeValidator(_model_size)] = "n"
    # bf16 where the processor has it; int8 needs `make quantise` before the image is built.
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    # FANOUT: records are pushed to the worker, some 0.2 s sooner; docs/kcl.md says for how much.
    retrieval_mode: Literal["POLLING", "FANOUT"] = "POLLING"
    confidence_threshold: float = Field(default=0.5, ge=0, le=1)
    max_detections: int = Field(default=100, ge=1, le=1000)

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

    bucket: str = Field(default="processedframes-{account}-{region}", pattern=r"^[a-z0-9.{}-]+$")
    expiry_days: int = Field(default=7, ge=1, le=3650)
    versioning: bool = False
    replica_region: str = Field(default="", pattern=rf"^({REGION})?$")
    queue: Name = "processing-results"
    max_receives: int = Field(default=5, ge=1, le=1000)

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

    email: str = Field(default="", pattern=r"^(\S+@\S+)?$")


class GithubConfig(_Section):
    """The repository whose workflows plan and deploy, if any."""

    repository: str = Field(default="", pattern=r"^([\w.-]+/[\w.-]+)?$")
    # An account has one provider of GitHub's identities; of several environments in it, one makes it.
    create_provider: bool = True


class Config(_Section):
    """One environment. Several stand side by side in an account by their suffixes."""

    region: str = Field(default="eu-central-1", pattern=rf"^{REGION}$")
    suffix: str = Field(default="", pattern=r"^(-[a-z0-9]{1,16})?$")
    tags: dict[str, str] = Field(default_factory=dict)
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
