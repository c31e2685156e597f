"""Benchmarks run to their end, on little: nothing else would tell that one has fallen behind the code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cgroup import NoCgroupsError, quota
from benchmarks.quota import USED_UP
from local.processes import ROOT
from tests import pictures

ONNX = ("--onnx", "models/street.onnx")
BENCHMARKS = {
    "latency": (*ONNX, "--frames", "30", "--repetitions", "1"),
    "start": (*ONNX, "--repetitions", "1"),
    "scaling": (*ONNX, "--photograph", "{photograph}", "--frames", "32", "--repetitions", "1"),
    "quota": (*ONNX, "--photograph", "{photograph}", "--frames", "16", "--repetitions", "1"),
    "producer": ("--frames", "480", "--repetitions", "1"),
    "sources": ("--sources", "2"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_prints_its_figures(name: str, tmp_path: Path) -> None:
    if name == "quota":
        try:
            with quota(1):
                pass
        except NoCgroupsError as error:
            pytest.skip(f"no cgroup can be made here: {error}")
    photograph = tmp_path / "street.jpg"
    photograph.write_bytes(pictures.street_jpeg(640, 360))
    arguments = [argument.format(photograph=photograph) for argument in BENCHMARKS[name]]
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    kept = tmp_path / "figures.json"
    environment = {**os.environ, "BENCH_JSON": str(kept)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(kept.read_text())
    assert figures
    # A quota may never be used up; nothing else that is measured is nothing.
    assert [figure for figure in figures if figure["value"] <= 0 and not figure["name"].startswith(USED_UP)] == []
