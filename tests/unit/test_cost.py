from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import cost
from benchmarks.cost import Workload
from local.processes import ROOT


def test_the_document_has_the_tables_of_the_figures() -> None:
    text = cost.DOCUMENT.read_text()
    assert cost.with_tables(text) == text


def test_a_bill_adds_up_by_hand() -> None:
    measured = {
        "cores": 2,
        "models": {"yolov8n fp32": {"rate": 40.0, "memory": 300.0, "memory_one_core": 250.0}},
    }
    _, prices = cost.load()
    workload = Workload(cameras=10, fps=2, frame_kb=50)
    # 50 ms of a core for the network and 8 ms for the rest.
    assert cost.task_rate(workload, measured) == pytest.approx(1000 / 58)
    result = cost.bill(workload, measured, prices)
    # 20 frames/s: 1 MB/s needs two shards at four fifths; a task does 12 frames/s at 70 %, so two tasks are needed.
    assert (result.tasks, result.shards, result.task_gib) == (2, 2, 2)
    hours = 730
    assert result.frames == 20 * hours * 3600
    assert result.fargate == pytest.approx(
        2 * hours * (prices["fargate_vcpu_hour"]["X86_64"] + 2 * prices["fargate_gib_hour"]["X86_64"])
    )
    assert result.kinesis == pytest.approx(2 * hours * 0.015 + result.frames * 2 * 0.014 / 1e6)
    assert result.total == pytest.approx(result.per_million * result.frames / 1e6)


def test_rekognition_has_its_tiers() -> None:
    _, prices = cost.load()
    assert cost.rekognition(1e6, prices) == pytest.approx(1000)
    assert cost.rekognition(2e6, prices) == pytest.approx(1800)
    assert cost.rekognition(40e6, prices) == pytest.approx(1000 + 3200 + 18000 + 1250)


def test_the_command() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmarks.cost", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    few, many = (json.loads(run("--cameras", number, "--json").stdout) for number in ("1", "100"))
    assert many["tasks"] > few["tasks"] == 1
    assert many["total"] / 100 < few["total"]
    assert "a million frames" in run("--size", "s", "--precision", "int8", "--fan-out").stdout


def test_a_model_that_no_task_of_the_size_holds_is_named() -> None:
    measured = {"cores": 2, "models": {"yolov8x fp32": {"rate": 1.0, "memory": 9000.0, "memory_one_core": 8000.0}}}
    with pytest.raises(ValueError, match=r"0\.5 vCPU: no memory size of Fargate's holds the 8\.9 GiB"):
        cost.task_memory(Workload(size="x", vcpu=0.5), measured)
