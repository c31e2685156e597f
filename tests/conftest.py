"""Fixtures that tests share: the embedded AWS, unique names, the reference data."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest

from local import watchdog
from local.processes import ROOT, Aws
from local.resources import Resources
from tests import costs
from tests.pictures import street_jpeg

# Whatever a test starts, by whatever means, ends with this process.
os.environ.update(watchdog.mark())
# A shell's background job ignores Ctrl-C, and so would whatever it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A machine that does something else meanwhile fails no test.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

REFERENCE = ROOT.parent / "shared" / "data"
CASES = ROOT.parent / "shared" / "cases"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three processes for two cores: a third of what tests do is waiting."""
    return -(-3 * (os.cpu_count() or 1) // 2)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Says what ended a process of pytest-xdist, which itself only says that it was "not properly terminated"."""
    if error:
        status = node.gateway._io.popen.wait()
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        print(f"\n[{node.gateway.id}] ended with {how}; {memory()}", file=sys.stderr)


def memory() -> str:
    """What is left of it, and how many processes the kernel has ended for lack of it since the machine's start."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines() + Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return "this system does not tell of its memory"
    return ", ".join(" ".join(line.split()) for line in lines if line.startswith(("MemAvailable", "oom_kill ")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Has several processes begin with what takes long; a single one keeps the order of the files."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: costs.seconds(item.path), reverse=True)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An embedded AWS on a random port."""
    with Aws(log=tmp_path_factory.mktemp("aws") / "aws.log") as server:
        yield server


@pytest.fixture
def name() -> str:
    """A unique name."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture
def resources(aws: Aws, name: str) -> Resources:
    """A stream of one shard, a bucket and queues."""
    return Resources.create(aws.url, name)


@pytest.fixture
def on_embedded_aws(monkeypatch: pytest.MonkeyPatch, resources: Resources) -> Resources:
    """`resources`, which this process calls as a worker calls AWS."""
    for name, value in resources.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return resources


@pytest.fixture(scope="session")
def reference() -> Path:
    """Weights, photographs and expected detections, which lie beside the repository."""
    if not REFERENCE.is_dir():
        pytest.skip("the reference data (shared/data beside the repository) is not there")
    return REFERENCE


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    """A plain JPEG of a drawn street, 320x180."""
    return street_jpeg()


@pytest.fixture(scope="session")
def cases() -> Path:
    """Inputs that failed for somebody, which lie beside the repository."""
    if not CASES.is_dir():
        pytest.skip("the inputs that failed for somebody (shared/cases beside the repository) are not there")
    return CASES
