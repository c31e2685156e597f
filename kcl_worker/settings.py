"""The worker's environment, read and checked once at the start."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from uuid import uuid4

from pydantic import AwareDatetime, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract.frame import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS
from kcl_worker.errors import SettingsError

MODELS: Final = Path(__file__).parent.parent / "models"
# A container gets at most 120 s between SIGTERM and SIGKILL on Fargate.
MAX_GRACE_SECONDS: Final = 110


def _model_size(value: object) -> object:
    """`yolov8m` is accepted for `m`."""
    return value.lower().removeprefix("yolov8") if isinstance(value, str) else value


class Settings(BaseSettings):
    """One field for each variable; a field's name in capitals is the variable's."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, protected_namespaces=())

    kinesis_stream_name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,128}$", description="the stream to read")
    s3_bucket_name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="for annotated frames")
    sqs_queue_url: str = Field(pattern=r"^https?://\S+$", description="for the results")
    quarantine_queue_url: str = Field(
        default="", pattern=r"^(https?://\S+)?$", description="for notices of records that are no frames"
    )
    aws_region: str = Field(default="eu-central-1", pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="of all services")

    yolo_model_size: Annotated[Literal["n", "s", "m", "l", "x"], BeforeValidator(_model_size)] = Field(
        default="n", description="of YOLOv8; `yolov8m` is accepted too"
    )
    yolo_model_path: Path | None = Field(default=None, description="an ONNX export, instead of models/yolov8SIZE.onnx")
    yolo_precision: Literal["fp32", "bf16", "int8"] = Field(
        default="fp32", description="bf16: where the processor has it; int8: what `make quantise` made of the model"
    )
    yolo_image_size: int = Field(
        default=640, ge=64, le=2048, multiple_of=32, description="of the network's longer side"
    )
    confidence_threshold: float = Field(default=0.5, ge=0, le=1, description="least confidence of a detection")
    max_detections: int = Field(default=100, ge=1, le=1000, description="in a frame, the most confident ones")
    jpeg_quality: int = Field(default=85, ge=1, le=100, description="of annotated frames")
    max_frame_pixels: int = Field(default=DEFAULT_MAX_PIXELS, ge=1, description="a larger frame is quarantined")
    max_frame_bytes: int = Field(default=DEFAULT_MAX_BYTES, ge=1, description="a larger record is quarantined")

    sources_path: str = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9_.-]+)*$",
        description="in Parameter Store, where settings of single sources are; empty: there are none",
    )
    sources_refresh_seconds: float = Field(
        default=30, ge=1, le=3600, description="after which settings of single sources are read again"
    )

    kcl_application_name: str = Field(
        default="cv2kinesis", pattern=r"^[a-zA-Z0-9_.-]{3,200}$", description="names the lease tables"
    )
    kcl_failover_seconds: float = Field(
        default=10, ge=1, le=300, description="after which the leases of a silent worker are taken over"
    )
    initial_position: Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"] = Field(
        default="TRIM_HORIZON", description="where a shard without a checkpoint begins"
    )
    initial_timestamp: AwareDatetime | None = Field(
        default=None, description="with `AT_TIMESTAMP`: such as 2026-01-01T00:00:00Z"
    )
    kinesis_retrieval_mode: Literal["POLLING", "FANOUT"] = Field(default="POLLING", description="how records come")
    kcl_max_records: int = Field(default=25, ge=1, le=10_000, description="in one batch of a shard")
    kcl_properties: str = Field(
        default="", description="further lines `name = value`, separated by `;`, for the daemon's properties"
    )
    java_heap_mib: int = Field(default=256, ge=64, le=8192, description="the daemon's largest heap")

    lag_policy: Literal["process-all", "skip-stale"] = Field(
        default="process-all", description="with `skip-stale`, frames that are too old are announced as skipped"
    )
    max_frame_age_seconds: float = Field(
        default=60, gt=0, description="since its arrival, after which a frame is too old"
    )
    checkpoint_seconds: float = Field(default=5, ge=0, le=300, description="at most one checkpoint in so long")
    shutdown_grace_seconds: float = Field(
        default=30, ge=1, le=MAX_GRACE_SECONDS, description="from SIGTERM to the end; below the stop timeout"
    )
    stuck_shard_seconds: float = Field(
        default=120, ge=1, le=3600, description="without progress, after which a shard with records is unhealthy"
    )
    health_host: str = Field(default="0.0.0.0", description="address of /health and /status")  # noqa: S104
    health_port: int = Field(default=8080, ge=0, le=65535, description="port of /health and /status; 0: any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="of the JSON logs")
    metrics_seconds: float = Field(default=10, gt=0, le=300, description="between lines of embedded metrics")

    worker_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{uuid4().hex[:12]}", description="owns the leases"
    )

    @model_validator(mode="after")
    def _check_timestamp(self) -> Self:
        if self.initial_position == "AT_TIMESTAMP" and self.initial_timestamp is None:
            raise ValueError("INITIAL_POSITION=AT_TIMESTAMP: INITIAL_TIMESTAMP is not set")
        return self

    @property
    def model_path(self) -> Path:
        """The model that is asked for; it may not be there."""
        exported = self.yolo_model_path or MODELS / f"yolov8{self.yolo_model_size}.onnx"
        return exported.with_name(f"{exported.stem}-int8.xml") if self.yolo_precision == "int8" else exported

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


def endpoint_url(service: str) -> str | None:
    """Where a service is, if not on AWS: the SDKs' own variables."""
    specific = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
    return specific or os.environ.get("AWS_ENDPOINT_URL") or None


def _explain(problem) -> str:  # type: ignore[no-untyped-def]
    if not problem["loc"]:
        return str(problem["msg"].removeprefix("Value error, "))
    field = str(problem["loc"][0])
    description = Settings.model_fields[field].description
    if problem["type"] == "missing":
        return f"{field.upper()} is not set: {description}"
    allowed = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{field.upper()}={problem['input']!r}: {allowed} ({description})"
