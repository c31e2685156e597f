"""The worker's environment, read and checked once at the start."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from uuid import uuid4

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.frame import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS
from kcl_worker import multilang
from kcl_worker.errors import SettingsError
from kcl_worker.model_files import MODELS, quantised

# Fargate gives a container at most 120 s between SIGTERM and SIGKILL.
MAX_GRACE_SECONDS: Final = 110


def _model_size(value: object) -> object:
    """Accepts `yolov8m` for `m`."""
    return value.lower().removeprefix("yolov8") if isinstance(value, str) else value


def _standard_queue(url: str) -> str:
    """Refuses FIFO queues, whose names end so: they take no message without a group."""
    if url.endswith(".fifo"):
        raise ValueError("a FIFO queue; a standard queue is needed")
    return url


def _properties(text: str) -> str:
    """Refuses what the daemon would ignore, or not start with."""
    multilang.properties(text)
    return text


class Settings(BaseSettings):
    """One field for each variable; a field's name in capitals is the variable's name."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, protected_namespaces=())

    kinesis_stream_name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$", description="the stream to read")
    s3_bucket_name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="the bucket for frames")
    sqs_queue_url: Annotated[str, AfterValidator(_standard_queue)] = Field(
        pattern=r"^https?://\S+$", description="the queue for results"
    )
    quarantine_queue_url: Annotated[str, AfterValidator(_standard_queue)] = Field(
        default="", pattern=r"^(https?://\S+)?$", description="the queue for notices of records that are not frames"
    )
    events_queue_url: Annotated[str, AfterValidator(_standard_queue)] = Field(
        default="", pattern=r"^(https?://\S+)?$", description="the queue for events; empty: there is none"
    )
    event_bus_name: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._/-]{0,256}$",
        description="EventBridge's bus for events; empty: there is none",
    )
    aws_region: str = Field(
        default="eu-central-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="region of all services"
    )

    yolo_model_size: Annotated[Literal["n", "s", "m", "l", "x"], BeforeValidator(_model_size)] = Field(
        default="n", description="size of YOLOv8: n, s, m, l or x; `yolov8m` is accepted too"
    )
    yolo_model_path: Path | None = Field(
        default=None,
        description="an export to use instead of models/yolov8SIZE.onnx: an ONNX file, or a folder of OpenVINO's form",
    )
    yolo_precision: Literal["fp32", "bf16", "int8", "auto"] = Field(
        default="fp32",
        description="`auto` measures at the start and takes the fastest that agrees with fp32 by the record of "
        "`make quantise`; `bf16` where the processor supports it; `int8` for a model from `make quantise`",
    )
    yolo_image_size: int | None = Field(
        default=None,
        ge=64,
        le=2048,
        multiple_of=32,
        description="the network's longer side, in pixels; none: what the model was exported for",
    )
    confidence_threshold: float = Field(default=0.5, ge=0, le=1, description="least confidence of a detection")
    max_detections: int = Field(
        default=100, ge=1, le=1000, description="the most detections of a frame; the most confident stay"
    )
    jpeg_quality: int = Field(default=85, ge=1, le=100, description="JPEG quality of annotated frames")
    max_frame_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, description="a larger frame is quarantined")
    max_frame_bytes: int = Field(default=DEFAULT_MAX_BYTES, ge=1, description="a larger record is quarantined")
    task_memory_mib: int = Field(
        default=0, ge=0, description="into which frames at work have to fit; 0: what the container or machine has"
    )

    sources_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9_.-]+)*$",
        description="path in Parameter Store of the settings of single sources; empty: there are none",
    )
    source_defaults: str = Field(
        default="", description="settings of all sources, as JSON; what a source's own settings give goes before"
    )
    quarantine_keeps: Literal["bytes", "reasons"] = Field(
        default="bytes",
        description="what is kept of a record that is no frame: its bytes, or, for privacy, the reason alone",
    )
    sources_refresh_seconds: float = Field(
        default=30, ge=1, le=3600, description="how often the settings of single sources are read again"
    )

    kcl_application_name: str = Field(
        default="cv2kinesis", pattern=r"^[a-zA-Z0-9_.-]{3,200}$", description="names the lease tables"
    )
    kcl_failover_seconds: float = Field(
        default=10, ge=1, le=300, description="time after which others take a silent worker's leases"
    )
    initial_position: Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"] = Field(
        default="TRIM_HORIZON", description="where a shard without a checkpoint begins"
    )
    initial_timestamp: AwareDatetime | None = Field(
        default=None, description="the time for `AT_TIMESTAMP`, such as 2026-01-01T00:00:00Z"
    )
    kinesis_retrieval_mode: Literal["POLLING", "FANOUT"] = Field(
        default="POLLING", description="whether the daemon asks for records, or Kinesis pushes them (`FANOUT`)"
    )
    cbor_enabled: bool = Field(
        default=True,
        description="whether the daemon reads Kinesis as CBOR, a quarter less of its time a record; `false` for an "
        "emulator that knows JSON only",
    )
    kcl_max_records: int = Field(default=25, ge=1, le=10_000, description="the most records in one batch of a shard")
    kcl_properties: Annotated[str, AfterValidator(_properties)] = Field(
        default="", description="more properties of the daemon: `name = value`, separated by `;`"
    )
    java_heap_mib: int = Field(
        default=0,
        ge=0,
        le=8192,
        description="the daemon's largest heap; 0: a quarter of the task's memory, 288 to 2048",
    )
    kcl_max_leases: int = Field(
        default=0, ge=0, description="the most shards that this worker reads; 0: as many as the daemon's heap holds"
    )

    lag_policy: Literal["process-all", "skip-stale"] = Field(
        default="process-all",
        description="with `skip-stale`, frames that are too old are announced as skipped; not those of a source with "
        "events or tallies, which are made of all of its frames",
    )
    max_frame_age_seconds: float = Field(
        default=60, gt=0, description="age since its arrival at which a frame is too old"
    )
    checkpoint_seconds: float = Field(default=5, ge=0, le=300, description="least time between a shard's checkpoints")
    shutdown_grace_seconds: float = Field(
        default=30,
        ge=1,
        le=MAX_GRACE_SECONDS,
        description="longest time from SIGTERM to the end; below the container's stop timeout",
    )
    stuck_shard_seconds: float = Field(
        default=120, ge=1, le=3600, description="time without progress after which a shard with records is unhealthy"
    )
    health_host: str = Field(default="0.0.0.0", description="address of /health and /status")  # noqa: S104
    health_port: int = Field(default=8080, ge=0, le=65535, description="port of /health and /status; 0: any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="least level of the JSON logs"
    )
    metrics_seconds: float = Field(default=10, gt=0, le=300, description="time between lines of embedded metrics")

    worker_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{uuid4().hex[:12]}",
        description="the name that owns the leases",
    )

    @model_validator(mode="after")
    def _check_timestamp(self) -> Self:
        if self.initial_position == "AT_TIMESTAMP" and self.initial_timestamp is None:
            raise ValueError("INITIAL_POSITION=AT_TIMESTAMP: INITIAL_TIMESTAMP is not set")
        return self

    @property
    def model_path(self) -> Path:
        """The file of the configured model, which may not exist; with `auto` the export."""
        exported = self.yolo_model_path or MODELS / f"yolov8{self.yolo_model_size}.onnx"
        return quantised(exported) if self.yolo_precision == "int8" else exported

    @property
    def lease_table(self) -> str:
        """KCL's table of leases and checkpoints."""
        return self.kcl_application_name

    @property
    def report_table(self) -> str:
        """KCL's table of the workers' reports."""
        return f"{self.kcl_application_name}-WorkerMetricStats"

    @property
    def coordinator_table(self) -> str:
        """KCL's table of the leader's lock."""
        return f"{self.kcl_application_name}-CoordinatorState"

    @classmethod
    def from_environment(cls) -> Settings:
        """Reads and checks the environment.

        Raises:
            SettingsError: With one line that names the variable, its value and what is allowed.
        """
        try:
            return cls()  # type: ignore[call-arg]
        except ValidationError as error:
            raise SettingsError("; ".join(_explain(problem) for problem in error.errors())) from None


def _explain(problem) -> str:  # type: ignore[no-untyped-def]
    if not problem["loc"]:
        return str(problem["msg"].removeprefix("Value error, "))
    field = str(problem["loc"][0])
    description = Settings.model_fields[field].description
    if problem["type"] == "missing":
        return f"{field.upper()} is not set: {description}"
    message = problem["msg"].removeprefix("Value error, ")
    allowed = message[0].lower() + message[1:]
    return f"{field.upper()}={problem['input']!r}: {allowed} ({description})"
