"""Cameras, a fleet of workers that is kept running as ECS keeps tasks, and an audit at the end: for tests of faults.

with Rig(aws.url, folder, shards=4) as rig:
    rig.fleet.scale(2)
    rig.send(cameras=4, frames=50, fps=10)
    …
    assert rig.audit().clean
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from audit import (
    Accepted,
    Findings,
    examine,
    examine_events,
    read_ledger,
    stored_events,
    stored_objects,
    tallied_frames,
)
from cloud.shards import list_shards, without_lease
from contract.event import EventMessage
from contract.message import QuarantineMessage, ResultMessage, SkippedMessage, TallyMessage
from kcl_worker.kcl.lease_table import Lease, LeaseTable
from local.faults import OBSERVER
from local.processes import ROOT, Process, Worker
from local.repeating import Repeating
from local.resources import Resources
from local.services import Services
from local.waiting import StoodStillError, wait_for

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

    def __init__(self, environment: dict[str, str], folder: Path, module: str = "kcl_worker") -> None:
        self._environment, self._folder, self._module = environment, folder, module
        self.workers: list[Worker] = []
        self.exits: list[int] = []
        self.all: list[Worker] = []
        self._stopping: list[threading.Thread] = []
        self._lock = threading.RLock()
        self._watch = Repeating(self._keep, WATCH_SECONDS, "fleet")
        self._watch.start()

    def scale(self, number: int) -> None:
        """Starts workers, or stops the youngest in good order."""
        self.adjust(number)
        for thread in self._stopping:
            thread.join()
        self._stopping.clear()

    def adjust(self, number: int, stop_seconds: float | None = None) -> None:
        """Scales without a wait for those that stop; after `stop_seconds` they are killed."""
        with self._lock:
            leaving = self.workers[number:]
            del self.workers[number:]
            while len(self.workers) < number:
                self.workers.append(self._start())
        for worker in leaving:
            self._stopping.append(threading.Thread(target=worker.stop, args=(stop_seconds,)))
            self._stopping[-1].start()

    def change(self, environment: dict[str, str]) -> None:
        """Gives workers that start from now on other variables."""
        with self._lock:
            self._environment = self._environment | environment

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Has nobody started again for a while."""
        with self._lock:
            yield

    def close(self) -> list[int]:
        """Stops all; gives their exit statuses."""
        self._watch.stop()
        self.scale(len(self.workers))
        with self._lock:
            return [worker.stop() for worker in self.workers]

    def living(self) -> dict[str, Worker]:
        """Workers that run, by the names under which they hold leases."""
        return {name_of(number): worker for number, worker in enumerate(self.all) if worker.alive}

    def _start(self) -> Worker:
        name = name_of(len(self.all))
        worker = Worker(self._environment | {"WORKER_ID": name}, self._folder / f"{name}.log", self._module)
        self.all.append(worker)
        return worker

    def _keep(self) -> None:
        with self._lock:
            for number, worker in enumerate(self.workers):
                if not worker.alive:
                    self.exits.append(worker.process.returncode)
                    worker.stop()
                    self.workers[number] = self._start()


class Rig:
    """A stream with its cameras and its fleet.

    Args:
        services: Where AWS's services are; the address of the embedded AWS will do.
        environment: Of the workers, over what is quick.
        module: What the workers run; tests have workers that fail on purpose.
    """

    def __init__(
        self,
        services: str | Services,
        folder: Path,
        *,
        shards: int = 2,
        environment: dict[str, str] | None = None,
        name: str = "",
        module: str = "kcl_worker",
    ) -> None:
        self.resources = Resources.create(services, name or f"s{uuid4().hex[:12]}", shards=shards)
        self.environment = self.resources.environment() | QUICK | (environment or {})
        self.folder = folder
        self.fleet = Fleet(self.environment, folder, module)
        self.results: list[ResultMessage] = []
        self.notices: list[QuarantineMessage] = []
        self.skipped: list[SkippedMessage] = []
        self.tallies: list[TallyMessage] = []
        self.events: list[EventMessage] = []
        self._producers: list[Process] = []
        self._ledger = folder / "ledger.jsonl"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_sending()
        self.fleet.close()

    def send(
        self, *, cameras: int, fps: float, frames: int = 1_000_000, width: int = 320, first: int | None = None
    ) -> Process:
        """Starts a producer; its ledger is the audit's. Without a number of frames it goes on until `stop_sending`.

        Args:
            first: The number before the first camera's; by default cameras that no producer before had.
        """
        first = 10 * len(self._producers) if first is None else first
        sources = [f"demo:{first + number + 1}" for number in range(cameras)]
        ids = [part for source in sources for part in ("--source-id", f"c{source.partition(':')[2]}")]
        producer = Process(
            "producer", "send", *sources, *ids, "--limit", str(frames), "--fps", str(fps), "--width", str(width),
            "--ledger", str(self._ledger), "--json", env=self.environment, log=self.folder / "producer.log",
        )  # fmt: skip
        self._producers.append(producer)
        return producer

    def accept(self, record: bytes, shard_id: str, sequence_number: str) -> None:
        """Has the audit expect a frame with metadata that a test has put on the stream by itself."""
        with self._ledger.open("a") as file:
            file.write(Accepted.of(record, shard_id, sequence_number).to_json() + "\n")

    def stop_sending(self) -> None:
        """Ends the producers, which send what they have queued."""
        for producer in self._producers:
            producer.stop()

    def collect(self) -> None:
        """Takes what is on the queues."""
        for body in drain(self.resources, self.resources.queue_url):
            if '"kind":"skipped"' in body:
                self.skipped.append(SkippedMessage.model_validate_json(body))
            elif '"kind":"tally"' in body:
                self.tallies.append(TallyMessage.model_validate_json(body))
            else:
                self.results.append(ResultMessage.model_validate_json(body))
        for body in drain(self.resources, self.resources.quarantine_url):
            self.notices.append(QuarantineMessage.model_validate_json(body))
        self.events += map(EventMessage.model_validate_json, drain(self.resources, self.resources.events_url))

    @property
    def outcomes(self) -> int:
        """Frames that have come to an outcome, each once."""
        self.collect()
        return len(self._done())

    def wait_for_outcomes(self, number: int | None = None) -> None:
        """Waits for so many; by default for as many as the producers have been told were accepted.

        Raises:
            StoodStillError: If no more come.
        """

        def complete() -> bool:
            if number is not None:
                return self.outcomes >= number
            self.collect()
            return all(not producer.alive for producer in self._producers) and not self.missing()

        self.wait_for(complete, f"{number or 'more'} outcomes", self.progress)

    def wait_for(self, condition: Callable[[], Any], what: str, progress: Callable[[], object]) -> Any:
        """Waits as `local.waiting.wait_for` does.

        Raises:
            StoodStillError: If nothing moves; it says how the stage is.
        """
        try:
            return wait_for(condition, f"{what} (logs in {self.folder})", progress)
        except StoodStillError as error:
            raise StoodStillError(f"{error}\n{self.describe()}") from None

    def describe(self) -> str:
        """What is missing, and where it may be: for whoever reads that a test stood still."""
        missing = self.missing()
        lines = [f"{len(missing)} without an outcome: {', '.join(missing[:10])}"]
        lines += [f"lease {lease}" for lease in self.lease_table()]
        for name, worker in self.fleet.living().items():
            with suppress(OSError):
                lines.append(f"{name}: {json.dumps(worker.get('/status')[1])}")
        return "\n".join(lines)

    def missing(self) -> list[str]:
        """Accepted frames of which no outcome has been collected."""
        known = self._done()
        ledger = read_ledger(self._ledger)
        return [frame.frame_id for frame in ledger if frame.answered and frame.frame_id not in known]

    def _done(self) -> set[str]:
        """Frames of which an outcome has been collected."""
        names = {result.frame_id for result in self.results} | {notice.frame_id for notice in self.notices}
        names |= {message.frame_id for message in self.skipped}
        if not self.tallies:
            return names
        tallied = tallied_frames(read_ledger(self._ledger), self.tallies)
        return names | {frame_id for frames in tallied.values() for frame_id in frames}

    def progress(self) -> dict[str, int]:
        """What moves while frames do: messages that came, bytes of the workers' logs."""
        messages = len(self.results) + len(self.notices) + len(self.skipped) + len(self.tallies) + len(self.events)
        return {
            "messages": messages,
            "log bytes": sum(path.stat().st_size for path in self.folder.glob("worker-*.log")),
        }

    def audit(self) -> Findings:
        """What has become of every accepted frame."""
        accepted = read_ledger(self._ledger)
        sources = {frame.source for frame in accepted}
        objects = dict[str, str]()

        def settled() -> bool:
            """Whether frames of which no answer had come, and for which nobody waited, have their messages."""
            self.collect()
            objects.update(stored_objects(observe(self.resources, "s3"), self.resources.bucket, sources))
            known = self._done()
            return not any(
                not frame.answered and frame.frame_id not in known and frame.is_stored(objects) for frame in accepted
            )

        self.wait_for(settled, "messages of stored frames", self.progress)
        findings = examine(accepted, objects, self.results, self.notices, self.skipped, self.tallies)
        findings.problems += examine_events(
            self.events, stored_events(observe(self.resources, "s3"), self.resources.bucket), objects
        )
        return findings

    def leases(self) -> dict[str, str]:
        """Owners by shard; none while there is no table yet."""
        return {lease.key: lease.owner or "" for lease in self.lease_table()}

    def lease_table(self) -> list[Lease]:
        """All leases; none while there is no table yet."""
        dynamodb = observe(self.resources, "dynamodb")
        try:
            return LeaseTable(dynamodb, self.resources.stream).leases(consistent=True)
        except dynamodb.exceptions.ResourceNotFoundException:
            return []

    def unread(self) -> list[str]:
        """Shards that no living worker holds; a shard whose parents are not finished is read through them."""
        leases = self.lease_table()
        shards = list_shards(observe(self.resources, "kinesis"), self.resources.stream)
        living = self.fleet.living()
        held = {lease.key for lease in leases if lease.holder in living}
        finished = {lease.key: lease.finished for lease in leases}
        return sorted(without_lease(shards, finished) | {key for key, done in finished.items() if not done} - held)

    def wait_until_read(self) -> float:
        """Waits until every shard has a living owner; gives the seconds that it took.

        Raises:
            StoodStillError: If one gets none while no lease moves.
        """
        started = time.monotonic()
        self.wait_for(lambda: not self.unread(), "living owners of all shards", self.leases)
        return round(time.monotonic() - started, 1)


def name_of(number: int) -> str:
    """A worker's name, by its place among all that were started."""
    return f"worker-{number}"


def observe(resources: Resources, service: str) -> Any:
    """A client that meets no fault."""
    return resources.client(service, OBSERVER)


def send_streets(environment: dict[str, str], cameras: int, frames: int, log: Path | None = None) -> int:
    """Has the producer send frames of drawn streets as fast as it can; gives its exit status."""
    streets = [f"demo:{number}" for number in range(cameras)]
    limits = "--limit", str(frames), "--fps", "0", "--json"
    with Process("producer", "send", *streets, *limits, env=environment, log=log) as producer:
        return producer.wait()


def drain(resources: Resources, url: str) -> Iterator[str]:
    """Bodies of all messages on a queue, which are deleted."""
    sqs = observe(resources, "sqs")
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        yield from (message["Body"] for message in messages)


def parts(worker: Worker) -> dict[str, list[int]]:
    """A worker's processes: itself, its daemon, its record processors, and others, such as for suspicious frames."""
    found: dict[str, list[int]] = {"worker": [worker.process.pid], "daemon": [], "record processor": [], "other": []}
    queue = [worker.process.pid]
    while queue:
        pid = queue.pop()
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                for child in map(int, children.read_text().split()):
                    command = Path(f"/proc/{child}/cmdline").read_bytes()
                    found[_kind(command)].append(child)
                    queue.append(child)
    return found


def _kind(command: bytes) -> str:
    if b"MultiLangDaemon" in command:
        return "daemon"
    return "record processor" if re.search(rb"record[-_]processor", command) else "other"


def pids_of(worker: Worker) -> list[int]:
    """All of a worker's processes."""
    return [pid for pids in parts(worker).values() for pid in pids]


def kill(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Sends a signal to whatever still runs of them."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
