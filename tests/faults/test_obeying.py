"""SIGTERM is obeyed at any moment, and a reader that is slow or gone holds nobody up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.faults import Fault, FaultControl
from local.processes import ROOT, Aws, Worker, cpu_seconds
from local.resources import Resources
from local.rig import QUICK, drain
from local.waiting import wait_for


@pytest.mark.thorough
@pytest.mark.parametrize("fault", [Fault("error", "ssm"), Fault("slow", "dynamodb", delay=20)], ids=str)
def test_sigterm_is_obeyed_while_the_start_waits(
    own_aws: Aws, faults: FaultControl, name: str, tmp_path: Path, fault: Fault
) -> None:
    resources = Resources.create(own_aws.url, name)
    faults.add(fault)
    environment = resources.environment() | QUICK | {"SOURCES_PATH": "/nowhere"}
    with Worker(environment, tmp_path / "worker.log") as worker:
        waits = f"{fault.service}:"
        wait_for(lambda: any(asked.startswith(waits) for asked in faults.requests()), "a call", worker.activity)
        os.kill(worker.process.pid, signal.SIGTERM)
        assert worker.wait() == 0
        assert "stopped before it had started" in [entry["message"] for entry in worker.log()]


@pytest.mark.thorough
@pytest.mark.parametrize("gone", [False, True], ids=["slow", "gone"])
def test_a_worker_works_on_without_a_reader_of_its_output(resources: Resources, jpeg: bytes, gone: bool) -> None:
    environment = {**os.environ, **resources.environment(), **QUICK, "PYTHONPATH": str(ROOT)}
    # Says more than a pipe holds, 64 KiB, before it has read a frame.
    environment |= {"HEALTH_HOST": "127.0.0.1", "HEALTH_PORT": "0", "LOG_LEVEL": "DEBUG", "METRICS_SECONDS": "0.01"}
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "kcl_worker"]
    with subprocess.Popen(command, env=environment, stdout=writing, stderr=writing) as worker:
        os.close(writing)
        if gone:
            os.close(reading)
        results: list[str] = []

        def came() -> bool:
            results.extend(drain(resources, resources.queue_url))
            return bool(results) or worker.poll() is not None

        try:
            put = resources.client("kinesis").put_record
            put(StreamName=resources.stream, Data=jpeg, PartitionKey="door")
            wait_for(came, "a result", lambda: int(cpu_seconds(worker.pid)))
            assert (worker.poll(), len(results)) == (None, 1)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait() == 0
        finally:
            worker.kill()
            if not gone:
                os.close(reading)
