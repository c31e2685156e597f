"""Frames that are allowed and heavy, on several shards, in a task that cannot hold one of them for each thread."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.traffic import SOURCES, put
from contract import Metadata, embed
from kcl_worker.heap import heap_mib, leases_in
from local.processes import ROOT, Aws, Worker
from local.resources import Resources
from local.rig import drain
from local.waiting import wait_for
from tests import pictures

LIMIT_MIB = 1250
SHARDS = 4
# Decoded in HEAVY_MIB each. What the limit leaves for frames at work is 270 to 360, as the model varies in size
# with the processor: one fits, two do not.
HEAVY = (4500, 4000)
HEAVY_MIB = 208
# In 400 MiB.
TOO_LARGE = (6000, 5800)
# The default task's.
TASK_MIB = 2048
# Of a camera with much detail; 25 of them are the most that Kinesis gives at once, 10 MiB.
FRAME_BYTES = 382 * 1024
# Frames of each shard: two such batches and a bit.
BACKLOG = 64


MakeGroup = Callable[[int], Path | None]


@pytest.fixture
def memory_group(name: str) -> Iterator[MakeGroup]:
    """Makes a control group with a limit in MiB; gives None where none can be made."""
    parents = [path for path in (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")) if path.is_dir()]
    group = parents[0] / name if parents else Path("/nowhere")

    def make(mib: int) -> Path | None:
        try:
            group.mkdir()
            limit = next(path for path in (group / "memory.limit_in_bytes", group / "memory.max") if path.exists())
            limit.write_text(str(mib * 2**20))
        except (OSError, StopIteration):
            return None
        return group

    yield make
    if group.exists():
        wait_for(lambda: not (group / "cgroup.procs").read_text(), "an empty control group")
        group.rmdir()


def records() -> list[tuple[str, bytes]]:
    """For each shard a bomb, two heavy frames and light ones among them, with the names of their cameras."""
    made = []
    for shard in range(SHARDS):
        kinds = [
            ("bomb", pictures.two_sizes((16, 16), (26_700, 26_700))),
            *[("light", pictures.street_jpeg())] * 3,
            ("heavy", pictures.heavy(*HEAVY)),
            *[("light", pictures.street_jpeg())] * 3,
            ("large", pictures.heavy(*TOO_LARGE)),
            ("heavy", pictures.heavy(*HEAVY)),
            ("light", pictures.street_jpeg()),
        ]
        for index, (kind, jpeg) in enumerate(kinds):
            source = f"{kind}-{shard}"
            made.append((f"{shard}", embed(jpeg, Metadata(source, "s", index, pictures.NOON))))
    return made


@pytest.mark.thorough
def test_heavy_frames_on_many_shards_fit_the_tasks_memory(
    aws: Aws, name: str, tmp_path: Path, memory_group: MakeGroup
) -> None:
    group = memory_group(LIMIT_MIB)
    resources = Resources.create(aws.url, name, SHARDS)
    kinesis = resources.client("kinesis")
    shards = kinesis.list_shards(StreamName=name)["Shards"]
    starts = [shard["HashKeyRange"]["StartingHashKey"] for shard in shards]
    expected = 0
    for shard, data in records():
        kinesis.put_record(StreamName=name, Data=data, PartitionKey=shard, ExplicitHashKey=starts[int(shard)])
        expected += 1
    environment = resources.environment() | {
        "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
        "STUCK_SHARD_SECONDS": "600",
    }
    if group is None:
        environment["TASK_MEMORY_MIB"] = str(LIMIT_MIB)
    results, notices = list[str](), list[str]()

    def outcomes() -> int:
        results.extend(drain(resources, resources.queue_url))
        notices.extend(drain(resources, resources.quarantine_url))
        return len({json.loads(body)["frame_id"] for body in results + notices})

    with Worker(environment, tmp_path / "worker.log") as worker:
        if group is not None:
            # At once: the daemon, which it starts, is born into it.
            (group / "cgroup.procs").write_text(str(worker.process.pid))
        worker.wait_for(lambda: outcomes() == expected, "an outcome of every frame")
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{worker.process.pid}/status").read_text())[0]) // 1024
        [memory] = [entry for entry in worker.log() if entry["message"] == "memory for frames"]
    # So it was, in this task: three at once, one for each thread, would not have fit.
    apart = memory["of_them_for_waiting_records"] + memory["of_them_for_frames_before_events"]
    assert HEAVY_MIB < memory["mib"] - apart < 2 * HEAVY_MIB
    assert peak < LIMIT_MIB - 256  # the daemon's heap has its place too
    notices_by_id = {notice["frame_id"]: notice["reason"] for notice in map(json.loads, notices)}
    assert Counter(notices_by_id.values()) == {"undecodable": SHARDS, "too_large": SHARDS}
    assert {json.loads(body)["source"][:-2] for body in results} == {"light", "heavy"}


@pytest.mark.thorough
def test_as_many_shards_with_a_backlog_as_a_task_reads_fit_its_memory(
    aws: Aws, name: str, tmp_path: Path, memory_group: MakeGroup
) -> None:
    shards, group = leases_in(heap_mib(TASK_MIB)), memory_group(TASK_MIB)
    assert shards == 8
    resources = Resources.create(aws.url, name, shards)
    frames = shards * BACKLOG
    for _ in range(frames // SOURCES):  # a request has at most 10 MiB
        put(resources, [pictures.padded(FRAME_BYTES)], SOURCES)
    environment = resources.environment() | {
        "YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx"),
        "TASK_MEMORY_MIB": str(TASK_MIB),
    }
    with Worker(environment, tmp_path / "worker.log") as worker:
        if group is not None:
            (group / "cgroup.procs").write_text(str(worker.process.pid))
        worker.wait_for(lambda: worker.get("/status")[1]["frames"] >= frames, "every frame")
        assert len(worker.get("/status")[1]["shards"]) == shards
