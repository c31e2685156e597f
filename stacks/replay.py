"""Runs another model on what is still on the stream, beside the live pipeline.

A worker on this machine reads from a given time on, under its own application name. Frames and results go to a bucket
and a queue of their own (`…-replay`), so that nothing of the live pipeline is touched. KCL's tables of the replay are
removed at its end. The replay shares the stream's read limits with the live workers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from stacks.config import Config
from stacks.errors import DeployError
from stacks.names import Names
from stacks.sources import source_defaults, sources_path

# How long nothing new must come before the replay has reached the end.
QUIET_SECONDS: Final = 10.0
EXPIRY_DAYS: Final = 7
QUEUE_RETENTION_SECONDS: Final = 14 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where the outcomes of a replay are."""

    frames: int
    bucket: str
    queue_url: str

    def lines(self) -> list[str]:
        """For people."""
        return [f"replayed   {self.frames} frames", f"frames     s3://{self.bucket}/", f"results    {self.queue_url}"]


def run(client: Callable[[str], Any], config: Config, live_bucket: str, since: datetime, model: Path) -> Replayed:
    """Replays from a time until the stream's end; Ctrl-C ends it earlier.

    Raises:
        DeployError: If the worker fails; its log says why.
    """
    stream = Names(config).stream
    key = Names(config).key if config.encryption.own else config.encryption.key
    bucket, queue = f"{live_bucket}-replay", _queue(client("sqs"), f"{Names(config).results}-replay", key)
    _bucket(client("s3"), bucket, config.region, key)
    shards = client("kinesis").describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["OpenShardCount"]
    application = f"{stream}-replay-{datetime.now(UTC):%Y%m%d-%H%M}-{uuid4().hex[:4]}"
    environment = {
        "KINESIS_STREAM_NAME": stream,
        "S3_BUCKET_NAME": bucket,
        "SQS_QUEUE_URL": queue,
        "AWS_REGION": config.region,
        "KCL_APPLICATION_NAME": application,
        "INITIAL_POSITION": "AT_TIMESTAMP",
        "INITIAL_TIMESTAMP": since.isoformat(),
        "YOLO_MODEL_PATH": str(model),
        "CONFIDENCE_THRESHOLD": f"{config.service.confidence_threshold:g}",
        # What a source hides is hidden here too.
        "SOURCES_PATH": sources_path(config),
        "SOURCE_DEFAULTS": json.dumps(source_defaults(config)),
        "QUARANTINE_KEEPS": config.service.quarantine_keeps,
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_PORT": "0",
    }
    try:
        frames = _work(environment, shards)
    finally:
        _remove_tables(client("dynamodb"), application)
    return Replayed(frames, bucket, queue)


def _work(environment: dict[str, str], shards: int) -> int:
    """Runs a worker until it has caught up; gives the number of its frames."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kcl_worker"],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    log = _Log(process)
    try:
        return _until_caught_up(process, log, shards)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()


def _until_caught_up(process: subprocess.Popen[str], log: _Log, shards: int) -> int:
    frames, quiet_since = 0, time.monotonic()
    while True:
        if process.poll() is not None:
            raise DeployError(f"the worker ended with status {process.returncode}: {log.last_error}")
        if log.port and (status := _status(log.port)):
            held = status["shards"]
            behind = len(held) < shards or any(s["pending"] or s["millis_behind_latest"] != 0 for s in held)
            done = status["frames"] + status["quarantined"]
            if behind or done != frames:
                frames, quiet_since = done, time.monotonic()
                print(f"\r  {frames} frames", end="", file=sys.stderr, flush=True)
            elif time.monotonic() - quiet_since > QUIET_SECONDS:
                print(file=sys.stderr)
                return int(frames)
        time.sleep(0.5)


class _Log:
    """Reads a worker's log as it comes: the address of its status page, and its last error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.port = 0
        self.last_error = "its log says nothing"
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            self.port = entry.get("health_port", self.port)
            if entry.get("level") == "error":
                self.last_error = entry.get("message", "")


def _status(port: int) -> dict[str, Any] | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=2) as response:
            status: dict[str, Any] = json.load(response)
            return status
    except OSError:
        return None


def _bucket(s3: Any, name: str, region: str, key: str) -> None:
    """Makes a private bucket whose objects expire; a key encrypts them, where there is one. That of an earlier replay
    gets what it lacks."""
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=name, **where)
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    if key:
        encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        rules = [{"ApplyServerSideEncryptionByDefault": encryption, "BucketKeyEnabled": True}]
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
    rule = {"ID": "expire", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": EXPIRY_DAYS}}
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [rule]})


def _queue(sqs: Any, name: str, key: str) -> str:
    """Makes an encrypted queue, or changes that of an earlier replay; gives its URL."""
    encryption = {"KmsMasterKeyId": key} if key else {"SqsManagedSseEnabled": "true"}
    attributes = {"MessageRetentionPeriod": str(QUEUE_RETENTION_SECONDS), **encryption}
    try:
        return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
    except sqs.exceptions.QueueNameExists:  # with other attributes
        url = str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
        sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        return url


def _remove_tables(dynamodb: Any, application: str) -> None:
    for table in (application, f"{application}-WorkerMetricStats", f"{application}-CoordinatorState"):
        try:
            dynamodb.delete_table(TableName=table)
        except dynamodb.exceptions.ResourceNotFoundException:
            continue
