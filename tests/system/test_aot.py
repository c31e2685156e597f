"""The cache from which the daemon's JVM starts: made by a worker at work, and worked from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import amazon_kclpy
import pytest

from local.processes import ROOT, Worker
from local.resources import Resources
from local.rig import QUICK, parts


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of KCL with a cache beside its jars."""
    path = tmp_path_factory.mktemp("kcl")
    shutil.copytree(Path(amazon_kclpy.__file__).parent, path / "amazon_kclpy", ignore=shutil.ignore_patterns("*.aot"))
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(path)))}
    done = subprocess.run(
        [sys.executable, "-m", "local.aot"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(path / "amazon_kclpy/jars/daemon.aot") in done.stdout
    return path


def maps_the_cache(worker: Worker) -> bool:
    [daemon] = parts(worker)["daemon"]
    return "/jars/daemon.aot" in Path(f"/proc/{daemon}/maps").read_text()


@pytest.mark.thorough
def test_a_worker_starts_from_the_cache_and_without_one_that_does_not_fit(
    path: Path, resources: Resources, tmp_path: Path
) -> None:
    env = resources.environment() | QUICK | {"PYTHONPATH": str(path)}
    with Worker(env, tmp_path / "from-the-cache.log") as worker:
        worker.wait_for_shards(1)
        assert maps_the_cache(worker)
        assert not [entry for entry in worker.log() if "[aot]" in entry["message"]]
    jar = next((path / "amazon_kclpy/jars").glob("netty-codec-base*.jar"))
    os.utime(jar, (0, 0))
    with Worker(env, tmp_path / "another-jar.log") as worker:
        worker.wait_for_shards(1)
        assert not maps_the_cache(worker)
        told = [entry for entry in worker.log() if "[aot]" in entry["message"]]
        assert any(jar.name in entry["message"] for entry in told)
        assert {entry["level"] for entry in told} == {"warning"}
