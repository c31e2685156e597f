from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from local.processes import ROOT


@pytest.mark.slow
def test_the_wheel_holds_what_its_packages_need(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    # Built from a copy, so that nothing is built in the checkout.
    source = tmp_path / "source"
    for package in ("cloud", "contract", "terminal", "producer", "consumer", "kcl_worker"):
        shutil.copytree(ROOT / package, source / package)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        described = Parser().parsestr(archive.read(metadata).decode())
    for name in (
        "contract/result-message.schema.json", "contract/py.typed", "producer/cli.py", "kcl_worker/kcl/jars.sha256",
        "consumer/web/static/page.js", "consumer/web/static/index.html",
    ):  # fmt: skip
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "local/", "stacks/", "benchmarks/"))]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (described["Version"], described["License-Expression"]) == (project["version"], "AGPL-3.0-only")


def test_the_image_keeps_the_data_of_each_service_that_the_worker_calls() -> None:
    kept = set(re.findall(r"! -name (\w+)", (ROOT / "Dockerfile").read_text()))
    called = {
        service
        for path in (ROOT / "kcl_worker").rglob("*.py")
        for service in re.findall(r'\bclient\(\s*"(\w+)"', path.read_text())
    }
    assert called >= {"s3", "sqs", "events"}
    assert called <= kept
