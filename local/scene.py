"""Cameras, a fleet of workers that is kept running as ECS keeps tasks, and an audit at the end: for tests of faults.

with Scene(aws.url, folder, shards=4) as scene:
    scene.fleet.scale(2)
    scene.send(cameras=4, frames=50, fps=10)
    …
    assert scene.audit().clean
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from audit import Findings, examine, read_ledger, stored_objects
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage
from local.faults import OBSERVER
from local.processes import ROOT, Process, Worker
from local.resources import Resources, client

# What tests wait for less than production does.
QUICK = {
    "KCL_FAILOVER_SECONDS": "3",
    "CHECKPOINT_SECONDS": "1",
    "SHUTDOWN_GRACE_SECONDS": "20",
    "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
}
WATCH_SECONDS = 0.1


class Fleet:
    """Workers, each started again when it ends though it should not.

    Attributes:
        workers: Those that are wanted now.
        exits: Exit statuses of workers that ended by themselves.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment, self._folder = environment, folder
        self.workers: list[Worker] = []
        self.exits: list[int] = []
        self.all: list[Worker] = []
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._watch = threading.Thread(target=self._keep, daemon=True)
        self._watch.start()

    def scale(self, number: int) -> None:
        """Starts workers, or stops the youngest in good order."""
        with self._lock:
            leaving = self.workers[number:]
            del self.workers[number:]
            while len(self.workers) < number:
                self.workers.append(self._start())
        stopping = [threading.Thread(target=worker.stop) for worker in leaving]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Has nobody started again for a while."""
        with self._lock:
            yield

    def close(self) -> list[int]:
        """Stops all; gives their exit statuses."""
        self._ending.set()
        self._watch.join()
        with self._lock:
            return [worker.stop() for worker in self.workers]

    def _start(self) -> Worker:
        worker = Worker(self._environment, self._folder / f"worker-{len(self.all)}.log")
        self.all.append(worker)
        return worker

    def _keep(self) -> None:
        while not self._ending.wait(WATCH_SECONDS):
            with self._lock:
                for number, worker in enumerate(self.workers):
                    if not worker.alive:
                        self.exits.append(worker.process.returncode)
                        worker.stop()
                        self.workers[number] = self._start()


class Scene:
    """A stream with its cameras and its fleet.

    Args:
        environment: Of the workers, over what is quick.
    """

    def __init__(
        self, url: str, folder: Path, *, shards: int = 2, environment: dict[str, str] | None = None, name: str = ""
    ) -> None:
        self.resources = Resources.create(url, name or f"s{uuid4().hex[:12]}", shards=shards)
        self.environment = self.resources.environment() | QUICK | (environment or {})
        self.folder = folder
        self.fleet = Fleet(self.environment, folder)
        self.results: list[ResultMessage] = []
        self.notices: list[QuarantineMessage] = []
        self.skipped: list[SkippedMessage] = []
        self._producers: list[Process] = []
        self._ledger = folder / "ledger.jsonl"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_sending()
        self.fleet.close()

    def send(self, *, cameras: int, fps: float, frames: int = 1_000_000, width: int = 320) -> Process:
        """Starts a producer; its ledger is the audit's. Without a number of frames it goes on until `stop_sending`."""
        first = 10 * len(self._producers)
        sources = [f"demo:{first + number + 1}" for number in range(cameras)]
        ids = [part for source in sources for part in ("--source-id", f"c{source.partition(':')[2]}")]
        producer = Process(
            "producer", "send", *sources, *ids, "--limit", str(frames), "--fps", str(fps), "--width", str(width),
            "--ledger", str(self._ledger), "--json", env=self.environment, log=self.folder / "producer.log",
        )  # fmt: skip
        self._producers.append(producer)
        return producer

    def stop_sending(self) -> None:
        """Ends the producers, which send what they have queued."""
        for producer in self._producers:
            producer.stop()

    def collect(self) -> None:
        """Takes what is on the queues."""
        for body in drain(self.resources, self.resources.queue_url):
            if '"kind":"skipped"' in body:
                self.skipped.append(SkippedMessage.model_validate_json(body))
            else:
                self.results.append(ResultMessage.model_validate_json(body))
        for body in drain(self.resources, self.resources.quarantine_url):
            self.notices.append(QuarantineMessage.model_validate_json(body))

    @property
    def outcomes(self) -> int:
        """Frames that have come to an outcome, each once."""
        self.collect()
        names = {result.frame_id for result in self.results} | {notice.frame_id for notice in self.notices}
        return len(names | {message.frame_id for message in self.skipped})

    def wait_for_outcomes(self, number: int | None = None, timeout: float = 180) -> None:
        """Waits for so many; by default for as many as the producers have been told were accepted.

        Raises:
            RuntimeError: If they do not come.
        """

        def complete() -> bool:
            if number is not None:
                return self.outcomes >= number
            done = all(not producer.alive for producer in self._producers)
            return done and self.outcomes >= len(read_ledger(self._ledger))

        wait_for(complete, f"outcomes ({self.outcomes} so far), logs in {self.folder}", timeout)

    def audit(self) -> Findings:
        """What has become of every accepted frame."""
        self.collect()
        accepted = read_ledger(self._ledger)
        sources = {frame.source for frame in accepted}
        objects = stored_objects(observe(self.resources, "s3"), self.resources.bucket, sources)
        return examine(accepted, objects, self.results, self.notices, self.skipped)

    def leases(self) -> dict[str, str]:
        """Owners by shard; none while there is no table yet."""
        dynamodb = observe(self.resources, "dynamodb")
        try:
            items = dynamodb.scan(TableName=self.resources.stream)["Items"]
        except dynamodb.exceptions.ResourceNotFoundException:
            return {}
        return {item["leaseKey"]["S"]: item.get("leaseOwner", {}).get("S", "") for item in items}


def observe(resources: Resources, service: str) -> Any:
    """A client that meets no fault."""
    return client(service, resources.endpoint_url, OBSERVER)


def drain(resources: Resources, url: str) -> Iterator[str]:
    """Bodies of all messages on a queue, which are deleted."""
    sqs = observe(resources, "sqs")
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        yield from (message["Body"] for message in messages)


def wait_for(condition: Callable[[], Any], what: str, timeout: float) -> Any:
    """Waits until a condition holds; gives what it gave.

    Raises:
        RuntimeError: If it takes too long.
    """
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no {what} within {timeout:g} s")
        time.sleep(WATCH_SECONDS)
    return result


def parts(worker: Worker) -> dict[str, list[int]]:
    """A worker's processes: itself, its daemon, its record processors."""
    found: dict[str, list[int]] = {"worker": [worker.process.pid], "daemon": [], "record processor": []}
    queue = [worker.process.pid]
    while queue:
        pid = queue.pop()
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                for child in map(int, children.read_text().split()):
                    command = Path(f"/proc/{child}/cmdline").read_bytes()
                    kind = "daemon" if b"MultiLangDaemon" in command else "record processor"
                    found[kind].append(child)
                    queue.append(child)
    return found


def pids_of(worker: Worker) -> list[int]:
    """All of a worker's processes."""
    return [pid for pids in parts(worker).values() for pid in pids]


def kill(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Sends a signal to whatever still runs of them."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def exit_statuses(log: Path) -> list[int]:
    """What a worker's log says of its ends."""
    entries = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [int(entry["exit_status"]) for entry in entries if "exit_status" in entry]
