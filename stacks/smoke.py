"""A few frames through a deployed environment, and what came of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from contract.message import ResultMessage
from stacks.config import Config
from stacks.errors import DeployError

# A task that has to be woken needs some minutes.
WAIT_SECONDS: Final = 600


@dataclass
class Smoke:
    """What was sent and what came, by the frames' indices."""

    source: str
    sent: int
    objects: set[int] = field(default_factory=set)
    messages: set[int] = field(default_factory=set)
    seconds: float = 0

    @property
    def complete(self) -> bool:
        """Whether every frame has its object and its message."""
        return self.objects == self.messages == set(range(self.sent))

    def lines(self) -> list[str]:
        """For people."""
        everything = set(range(self.sent))
        lines = [
            f"sent       {self.sent} frames as {self.source}",
            f"stored     {len(self.objects)} annotated frames{_missing(everything - self.objects)}",
            f"announced  {len(self.messages)} results{_missing(everything - self.messages)}",
            f"took       {self.seconds:.0f} s",
        ]
        if self.objects == everything and self.messages != everything:
            lines.append("every frame is stored; another consumer of the queue may have taken the results")
        return lines


def run(client: Callable[[str], Any], config: Config, bucket: str, frames: int, seconds: float = WAIT_SECONDS) -> Smoke:
    """Sends frames of a source of their own, and waits for their objects and messages.

    Messages of other sources are held back meanwhile and returned at the end: one that went back at once would come
    again and again, until its receives sent it to the dead letters.

    Raises:
        DeployError: If the frames cannot be sent.
    """
    started = time.monotonic()
    source = f"smoke-{uuid4().hex[:8]}"
    smoke = Smoke(source, _send(config, source, frames))
    sqs, s3 = client("sqs"), client("s3")
    queue = sqs.get_queue_url(QueueName=config.name(config.storage.queue))["QueueUrl"]
    others: list[str] = []
    try:
        while not smoke.complete and time.monotonic() - started < seconds:
            smoke.messages |= _receive(sqs, queue, source, others)
            smoke.objects = _stored(s3, bucket, source)
    finally:
        for handle in others:
            sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
    smoke.seconds = time.monotonic() - started
    return smoke


def _send(config: Config, source: str, frames: int) -> int:
    command = [
        sys.executable, "-m", "producer", "send", "demo", "--source-id", source, "--limit", str(frames), "--fps", "5",
        "--stream", config.name(config.stream.name), "--region", config.region, "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        raise DeployError((done.stderr.strip().splitlines() or ["the producer failed"])[-1].removeprefix("error: "))
    return int(json.loads(done.stdout)["sent"])


def _receive(sqs: Any, queue: str, source: str, others: list[str]) -> set[int]:
    """Takes our messages off the queue; gives their frames' indices, and adds the handles of other messages."""
    found = set()
    answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2)
    for message in answer.get("Messages", []):
        result = ResultMessage.model_validate_json(message["Body"])
        handle = message["ReceiptHandle"]
        if result.source == source and result.frame_index is not None:
            found.add(result.frame_index)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
        else:
            others.append(handle)
    return found


def _stored(s3: Any, bucket: str, source: str) -> set[int]:
    """Indices of the frames that are in the bucket: …/SESSION-000000017.jpg."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"frames/{source}/")
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return {int(key.removesuffix(".jpg").rpartition("-")[2]) for key in keys}


def _missing(indices: set[int]) -> str:
    return f", without {', '.join(map(str, sorted(indices)))}" if indices else ""
