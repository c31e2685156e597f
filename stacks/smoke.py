"""Sends a few frames through a deployed environment, and audits their outcomes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from audit import Accepted, Findings, Inbox, examine, read_ledger, stored_objects
from contract.message import ResultMessage, SkippedMessage
from contract.source_settings import SourceSettings
from stacks.config import Config
from stacks.errors import DeployError
from stacks.names import Names
from stacks.sources import sources_path

# A task that has to be started needs some minutes.
WAIT_SECONDS: Final = 600
# Workers read the settings of sources every half a minute.
SETTLE_SECONDS: Final = 35
EVERYTHING: Final = SourceSettings(store="all", announce="all")


@dataclass(frozen=True, slots=True)
class Smoke:
    """The audit of a source's frames."""

    source: str
    findings: Findings
    seconds: float

    def lines(self) -> list[str]:
        """The result for people."""
        found = self.findings
        lines = [
            f"sent       {found.accepted} frames as {self.source}",
            f"stored     {found.stored} annotated frames",
            f"announced  {found.announced} results",
            f"took       {self.seconds:.0f} s",
            *(f"problem    {problem}" for problem in found.problems),
        ]
        if found.skipped:
            lines.insert(
                3, f"skipped    {found.skipped} frames: too old when a task read them (lag_policy: skip-stale)"
            )
        if found.announced + found.skipped < found.accepted:
            lines.append("another consumer of the queue may have taken results")
        return lines


def run(client: Callable[[str], Any], config: Config, bucket: str, frames: int, seconds: float = WAIT_SECONDS) -> Smoke:
    """Sends frames under a source of their own, and waits for their objects and messages.

    Raises:
        DeployError: If the frames cannot be sent.
    """
    started = time.monotonic()
    source = f"smoke-{uuid4().hex[:8]}"
    sqs, s3 = client("sqs"), client("s3")
    queue = sqs.get_queue_url(QueueName=Names(config).results)["QueueUrl"]
    messages: list[ResultMessage | SkippedMessage] = []
    with whole(client("ssm"), config, source):
        accepted = _send(config, source, frames)
        with Inbox(sqs, queue, source) as inbox:
            while True:
                messages += inbox.take(wait_seconds=2)
                complete = len({message.frame_id for message in messages}) == len(accepted)
                if complete or time.monotonic() - started > seconds:
                    break
    results = [message for message in messages if isinstance(message, ResultMessage)]
    skipped = [message for message in messages if isinstance(message, SkippedMessage)]
    findings = examine(accepted, stored_objects(s3, bucket, [source]), results, skipped=skipped)
    return Smoke(source, findings, time.monotonic() - started)


@contextmanager
def whole(ssm: Any, config: Config, source: str, settle_seconds: float = SETTLE_SECONDS) -> Iterator[None]:
    """Has every frame of a source stored and announced, whatever the environment keeps of all others."""
    if (config.sources.store, config.sources.announce) == (EVERYTHING.store, EVERYTHING.announce):
        yield
        return
    name = f"{sources_path(config)}/{source}"
    text = EVERYTHING.model_dump_json(include={"store", "announce"})
    ssm.put_parameter(Name=name, Value=text, Type="String", Overwrite=True)
    try:
        time.sleep(settle_seconds)
        yield
    finally:
        ssm.delete_parameter(Name=name)


def _send(config: Config, source: str, frames: int) -> list[Accepted]:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.jsonl"
        command = [
            sys.executable, "-m", "producer", "send", "demo", "--source-id", source, "--limit", str(frames),
            "--fps", "5", "--stream", Names(config).stream, "--region", config.region,
            "--ledger", str(ledger), "--json",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
        if done.returncode:
            raise DeployError((done.stderr.strip().splitlines() or ["the producer failed"])[-1].removeprefix("error: "))
        return read_ledger(ledger)
