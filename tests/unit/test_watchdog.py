"""What is started does not outlive whoever started it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local import watchdog
from local.processes import ROOT, Process
from local.waiting import wait_for

# It starts what a test starts, says so, and waits for its end.
RUNNER = """
import json, os, subprocess, sys
from pathlib import Path
from local import watchdog
from local.processes import ROOT, Aws, Worker
from local.resources import Resources

aws = Aws()
environment = Resources.create(aws.url).environment() | {"YOLO_MODEL_PATH": str(ROOT / "models" / "street.onnx")}
worker = Worker(environment, Path(sys.argv[1]))
worker.wait_for_shards(1)
os.environ.update(watchdog.mark())
# One that starts another session and is deaf to every polite signal.
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(); time.sleep(3600)"
subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE).stdout.readline()
[mark] = watchdog.mark().items()
print(json.dumps("=".join(mark)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    command = [sys.executable, "-c", RUNNER, str(tmp_path / "worker.log")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)])
def test_nobody_is_left_when_a_runner_is_killed(runner: Any, number: int) -> None:
    text = json.loads(runner.stdout.readline())

    def left() -> list[int]:
        return list(watchdog.carriers(text))

    # The embedded AWS, the worker, its daemon, its record processor and the deaf one.
    assert len(left()) == 5
    runner.send_signal(number)
    runner.wait()
    wait_for(lambda: not left(), "end of what was started", left)


@pytest.mark.thorough
def test_nobody_is_left_when_a_runner_ends_and_forgets_to_tidy_up() -> None:
    code = "from local import watchdog; from local.processes import Aws; Aws(); print(watchdog.mark())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    [(name, value)] = json.loads(done.stdout.replace("'", '"')).items()
    wait_for(lambda: not list(watchdog.carriers(f"{name}={value}")), "end of the embedded AWS")


def test_those_of_others_live_on() -> None:
    with Process("local.server") as server:
        assert server.line()
        [(name, value)] = watchdog.mark().items()
        assert server.process.pid in watchdog.carriers(f"{name}={value}")
        assert list(watchdog.carriers(f"{name}=somebody else's")) == []
        assert server.alive
