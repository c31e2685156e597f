"""How a worker ends: in good order, in a hurry, or because a part of it died."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from audit import Findings, examine, read_ledger, stored_objects
from contract.message import ResultMessage
from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources
from local.rig import drain
from local.waiting import wait_for

FRAMES = 100


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Every frame that the stream took."""
    return tmp_path / "ledger.jsonl"


@pytest.fixture
def backlog(aws: Aws, name: str, ledger: Path) -> Resources:
    """A stream on which more waits than a worker does in a moment."""
    resources = Resources.create(aws.url, name)
    arguments = ("send", "demo", "--limit", str(FRAMES), "--fps", "0", "--width", "480", "--ledger", str(ledger))
    with Process("producer", *arguments, env=resources.environment()) as producer:
        assert producer.wait() == 0
    return resources


@pytest.fixture
def worker(backlog: Resources, tmp_path: Path) -> Iterator[Worker]:
    with start(backlog, tmp_path) as worker:
        worker.wait_for(lambda: worker.get("/status")[1]["frames"] >= 10, "ten frames")
        yield worker


def start(resources: Resources, folder: Path) -> Worker:
    environment = resources.environment() | {
        "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
        "CHECKPOINT_SECONDS": "300",  # none but the last one
        "KCL_FAILOVER_SECONDS": "3",
    }
    return Worker(environment, folder / "worker.log")


def received(resources: Resources) -> list[ResultMessage]:
    """All results that are on the queue."""
    return [ResultMessage.model_validate_json(body) for body in drain(resources, resources.queue_url)]


def complete(resources: Resources, results: list[ResultMessage]) -> bool:
    """Whether every frame has a result; adds what has come."""
    results += received(resources)
    return len({result.frame_id for result in results}) == FRAMES


def audited(resources: Resources, ledger: Path, results: list[ResultMessage]) -> Findings:
    """What has become of every frame; nothing may be wrong with it."""
    accepted = read_ledger(ledger)
    objects = stored_objects(resources.client("s3"), resources.bucket, {frame.source for frame in accepted})
    findings = examine(accepted, objects, results)
    assert findings.problems == []
    assert findings.announced == FRAMES
    return findings


def wait_until_gone(pids: list[int]) -> None:
    def left() -> list[int]:
        return [pid for pid in pids if command_of(pid)]

    wait_for(lambda: not left(), "end of the worker's processes", left)


def command_of(pid: int) -> bytes:
    """Empty once it has ended, though nobody may have asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def descendants(pid: int) -> dict[str, int]:
    """The processes below one, by what they are."""
    found: dict[str, int] = {}
    # Children are listed by the thread that started them.
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    for child in " ".join(lists).split():
        found["daemon" if b"MultiLangDaemon" in command_of(int(child)) else "record processor"] = int(child)
        found |= descendants(int(child))
    return found


@pytest.mark.thorough
def test_sigterm_under_load_finishes_what_is_in_flight_and_the_next_repeats_nothing(
    backlog: Resources, worker: Worker, ledger: Path, tmp_path: Path
) -> None:
    pids = list(descendants(worker.process.pid).values())
    assert worker.stop() == 0
    assert worker.log()[-1]["message"] == "leases released"
    wait_until_gone(pids)
    first = received(backlog)
    assert 10 <= len(first) < FRAMES
    with start(backlog, tmp_path) as second:
        second.wait_for(lambda: second.get("/status")[1]["frames"] >= FRAMES - len(first), "the rest")
        assert second.stop() == 0
    assert audited(backlog, ledger, first + received(backlog)).duplicates == 0


@pytest.mark.thorough
def test_a_second_signal_cuts_short_and_nothing_is_lost(
    backlog: Resources, worker: Worker, ledger: Path, tmp_path: Path
) -> None:
    pids = list(descendants(worker.process.pid).values())
    os.kill(worker.process.pid, signal.SIGTERM)
    os.kill(worker.process.pid, signal.SIGINT)
    assert worker.wait() in (0, 13)  # 0 if all had been finished in between
    wait_until_gone(pids)
    results: list[ResultMessage] = []
    with start(backlog, tmp_path) as second:
        second.wait_for(lambda: complete(backlog, results), "every frame")
    audited(backlog, ledger, results)


@pytest.mark.thorough
@pytest.mark.parametrize(("part", "status"), [("daemon", 11), ("record processor", 11)])
def test_a_part_that_dies_takes_the_task_down_and_says_so(worker: Worker, part: str, status: int) -> None:
    processes = descendants(worker.process.pid)
    os.kill(processes[part], signal.SIGKILL)
    assert worker.wait() == status
    last = worker.log()[-1]
    assert last["exit_status"] == status
    assert "daemon has left" in last["message"]
    wait_until_gone(list(processes.values()))


def test_a_killed_worker_leaves_nobody_behind_and_its_successor_takes_over_soon(
    backlog: Resources, worker: Worker, ledger: Path, tmp_path: Path
) -> None:
    processes = descendants(worker.process.pid)
    assert set(processes) == {"daemon", "record processor"}
    worker.process.kill()
    wait_until_gone(list(processes.values()))
    results = received(backlog)
    with start(backlog, tmp_path) as second:
        # It was its own leader, and KCL alone would wait for two minutes.
        second.wait_for_shards(1)
        second.wait_for(lambda: complete(backlog, results), "every frame")
    audited(backlog, ledger, results)
