"""Frames in quarantine and their way back, where every service is somebody else's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from local.processes import ROOT
from local.rig import Rig
from tests.independent.conftest import MakeRig, Report


def consumer(stage: Rig, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "consumer", "quarantine", *arguments],
        env=stage.environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.thorough
def test_frames_go_into_quarantine_and_come_back(rig: MakeRig, report: Report) -> None:
    stage = rig(shards=2, environment={"MAX_FRAME_PIXELS": "1000"})
    stage.fleet.scale(1)
    stage.send(cameras=2, frames=6, fps=6)
    [worker] = stage.fleet.workers
    worker.wait_for(lambda: worker.get("/status")[1]["quarantined"] == 12, "12 in quarantine")
    stage.fleet.scale(0)
    notices = [json.loads(line) for line in consumer(stage, "list", "--json")]
    assert {notice["reason"] for notice in notices} == {"too_many_pixels"}
    # A worker that takes larger pictures; what was in quarantine is put on the stream again.
    del stage.environment["MAX_FRAME_PIXELS"]
    stage.fleet.scale(1)
    assert sorted(consumer(stage, "redrive", "--all")) == sorted(notice["frame_id"] for notice in notices)
    stage.wait_for_outcomes()
    findings = stage.audit()
    report("quarantine and redrive, on others' emulators", findings)
    assert findings.problems == []
    assert (findings.announced, findings.quarantined) == (12, 0)
