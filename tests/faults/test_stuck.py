"""Parts that hang, and disks that are full: noticed, told by /health, recovered."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.processes import Aws, Worker
from local.resources import Resources
from local.rig import QUICK, kill, parts, pids_of
from local.waiting import wait_for
from tests.faults.conftest import MakeRig, Report

# Long enough for a machine that is busy with something else, on which frames come by the second.
STUCK = "8"
PATIENT = {"STUCK_SHARD_SECONDS": STUCK}


@pytest.mark.thorough
def test_a_stopped_record_processor_is_noticed_and_the_task_replaced(rig: MakeRig, report: Report) -> None:
    stage = rig(environment=PATIENT)
    stage.fleet.scale(1)
    stage.send(cameras=4, frames=120, fps=3)
    stage.wait_for_outcomes(10)
    worker = stage.fleet.workers[0]
    stopped = parts(worker)["record processor"]
    kill(stopped, signal.SIGSTOP)
    code, health = wait_for(lambda: unhealthy(worker), "503")
    assert code == 503
    assert health["reason"] == f"record processors are stopped: {', '.join(map(str, sorted(stopped)))}"
    # The worker gives up on it, and takes the task down; nobody is left behind.
    wait_for(lambda: stage.fleet.exits, "the end of the task", stage.progress)
    assert stage.fleet.exits == [11]
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in stopped), "the end of what was stopped")
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("a record processor stopped", findings)
    assert findings.problems == []


def unhealthy(worker: Worker) -> tuple[int, dict[str, str]] | None:
    answer = worker.get("/health")
    return answer if answer[0] != 200 else None


def test_a_model_that_hangs_is_told_by_health_and_ends_the_task(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=1)
    stage.send(cameras=2, fps=3)
    environment = stage.environment | PATIENT
    with Worker(environment, stage.folder / "hanging.log", "tests.faults.hanging_worker") as hanging:
        stage.wait_for_outcomes(10)
        code, health = wait_for(lambda: unhealthy(hanging), "503")
        assert (code, health["reason"]) == (503, f"no progress for {STUCK} s on shardId-000000000000")
        # Nothing hangs for ever.
        assert hanging.wait() == 11
    stage.fleet.scale(1)
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("a model that hangs", findings)
    assert findings.problems == []


@pytest.mark.thorough
def test_a_daemon_that_hangs_is_told_by_health_and_ends_the_task(rig: MakeRig, report: Report) -> None:
    stage = rig(environment=PATIENT)
    stage.fleet.scale(1)
    stage.send(cameras=2, fps=3)
    stage.wait_for_outcomes(10)
    worker = stage.fleet.workers[0]
    kill(parts(worker)["daemon"], signal.SIGSTOP)
    code, health = wait_for(lambda: unhealthy(worker), "503")
    assert code == 503
    assert health["reason"].startswith("the KCL daemon has made no report for ")
    wait_for(lambda: stage.fleet.exits, "the end of the task", stage.progress)
    assert stage.fleet.exits == [11]
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("a daemon that hangs", findings)
    assert findings.problems == []


@pytest.fixture
def memory_group(name: str) -> Iterator[Path]:
    """A control group whose memory can be limited; of either version of the kernel's interface."""
    parents = [path for path in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if path.is_dir()]
    group = parents[0] / name if parents else Path("/nowhere")
    try:
        group.mkdir()
        limit_file(group)
    except (OSError, StopIteration):
        pytest.skip("no control group for memory can be made here")
    yield group
    wait_for(lambda: not (group / "cgroup.procs").read_text(), "an empty control group")
    group.rmdir()


def limit_file(group: Path) -> Path:
    return next(path for path in (group / "memory.limit_in_bytes", group / "memory.max") if path.exists())


@pytest.mark.thorough
def test_memory_at_its_limit_costs_a_restart_and_nothing_else(rig: MakeRig, report: Report, memory_group: Path) -> None:
    stage = rig(shards=1)
    stage.fleet.scale(1)
    stage.send(cameras=2, fps=4)
    stage.wait_for_outcomes(10)
    # What the task has already stays; it may have so much more. The next frames ask for it.
    limit_file(memory_group).write_text(str(4 * 2**20))
    for pid in pids_of(stage.fleet.workers[0]):
        (memory_group / "cgroup.procs").write_text(str(pid))
    wait_for(lambda: stage.fleet.exits, "the kernel's kill", stage.progress)
    stage.wait_for_outcomes(stage.outcomes + 10)
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("memory at the limit", findings, exits=stage.fleet.exits)
    assert findings.problems == []
    assert set(stage.fleet.exits) <= {-9, 11}


@pytest.fixture
def full_disk() -> Iterator[Path]:
    """A file system without room, under a short name because of the socket in it."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = Path(tempfile.mkdtemp(prefix="full-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    (folder / "filling").write_bytes(b"x" * 4096)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_scratch_space_without_room_is_told_in_one_line(aws: Aws, name: str, full_disk: Path, tmp_path: Path) -> None:
    resources = Resources.create(aws.url, name)
    with Worker(resources.environment() | QUICK | {"TMPDIR": str(full_disk)}, tmp_path / "worker.log") as worker:
        assert worker.wait() == 14
        [entry] = [entry for entry in worker.log() if "exit_status" in entry]
        assert entry["message"].startswith(f"scratch space {full_disk}: No space left on device")
