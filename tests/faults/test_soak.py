"""A long run under random faults: memory, descriptors and threads stay flat, nothing is lost.

SOAK_MINUTES (1) is how long; `make soak` takes 20.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import pytest

from local.faults import Fault, FaultControl
from local.processes import Worker
from local.rig import parts
from tests.faults.conftest import MakeRig, Report

MINUTES = float(os.environ.get("SOAK_MINUTES", "1"))
SAMPLE_SECONDS = 2.0
# Faults that no worker dies of: what is measured is the same processes from beginning to end.
KINDS = ("throttle", "error", "slow", "partial", "reset")
# On a machine that is busy with something else, a minute may not be enough for them.
MIN_SAMPLES = 5


@dataclass
class Series:
    """A process over time, by what it uses."""

    values: defaultdict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, pid: int, at: float) -> None:
        """Resident memory in MiB, open files and threads, as /proc has them."""
        process = Path(f"/proc/{pid}")
        pages = int((process / "statm").read_text().split()[1])
        self.values["MiB"].append((at, pages * os.sysconf("SC_PAGESIZE") / 2**20))
        self.values["files"].append((at, float(len(list((process / "fd").iterdir())))))
        self.values["threads"].append((at, float(len(list((process / "task").iterdir())))))

    def slope(self, what: str) -> float:
        """Units an hour in the second half, after the start has settled: least squares."""
        points = self.values[what][len(self.values[what]) // 2 :]
        if len({at for at, _ in points}) < 2:
            return 0.0  # nothing to draw a line through
        x, y = fmean(p[0] for p in points), fmean(p[1] for p in points)
        spread = sum((at - x) ** 2 for at, _ in points)
        return 3600 * sum((at - x) * (value - y) for at, value in points) / spread

    @property
    def samples(self) -> int:
        return len(self.values["MiB"])

    def last(self, what: str) -> float:
        return self.values[what][-1][1]


@pytest.mark.thorough
def test_a_long_run(rig: MakeRig, faults: FaultControl, report: Report) -> None:
    stage, chance = rig(shards=4), random.Random(1)
    stage.fleet.scale(2)
    stage.send(cameras=4, fps=2)
    for worker in stage.fleet.workers:
        worker.wait_for_shards(1)
    series: dict[str, Series] = {}
    started, next_fault, lag = time.monotonic(), 10.0, 0.0
    samples = 0
    while (at := time.monotonic() - started) < MINUTES * 60 or samples < MIN_SAMPLES:
        samples += 1
        for number, worker in enumerate(stage.fleet.workers):
            sample(worker, number, at, series)
            lag = max(lag, *((s["millis_behind_latest"] or 0) / 1000 for s in worker.get("/status")[1]["shards"]), 0)
        if at > next_fault:
            service = chance.choice(("s3", "sqs", "kinesis", ""))
            faults.add(Fault(chance.choice(KINDS), service, share=chance.uniform(0.2, 1), seconds=4, delay=1))
            next_fault = at + 12
        stage.collect()
        time.sleep(SAMPLE_SECONDS)
    faults.clear()
    stage.stop_sending()
    stage.wait_for_outcomes()
    findings = stage.audit()
    # Record processors come and go with their leases; those that lived through most of it count.
    most = max(one.samples for one in series.values())
    series = {name: one for name, one in series.items() if one.samples > most * 0.5}
    memory = {name: f"{s.last('MiB'):.0f} MiB, {s.slope('MiB'):+.0f} MiB/h" for name, s in sorted(series.items())}
    report(f"{MINUTES:g} minutes, 4 shards, 2 workers, random faults", findings, worst_lag_seconds=lag, memory=memory)
    assert findings.problems == []
    assert stage.fleet.exits == []
    for name, one in series.items():
        files, threads = (max(v for _, v in one.values[what]) for what in ("files", "threads"))
        assert files < 200, name
        assert threads < 150, name
        if MINUTES >= 10:  # before that, a slope says nothing
            assert one.slope("MiB") < 60, (name, memory)


def test_one_sample_has_no_slope() -> None:
    one = Series()
    assert one.slope("MiB") == 0
    one.add(os.getpid(), 0.0)
    assert one.slope("MiB") == 0


def sample(worker: Worker, number: int, at: float, series: dict[str, Series]) -> None:
    for kind, pids in parts(worker).items():
        for pid in pids:
            name = f"{kind} {number}" + (f" ({pid})" if kind == "record processor" else "")
            try:
                series.setdefault(name, Series()).add(pid, at)
            except OSError:
                series.pop(name, None)  # it has gone, as a lease has
