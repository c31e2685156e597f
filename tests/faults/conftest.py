"""A rig for each test of faults, on an embedded AWS of its own: a fault of a service must not meet another test."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from audit import Findings
from local.faults import FaultControl
from local.processes import Aws
from local.rig import Rig

MakeRig = Callable[..., Rig]
Report = Callable[..., None]


@pytest.fixture
def own_aws(tmp_path: Path) -> Iterator[Aws]:
    with Aws(log=tmp_path / "aws.log") as server:
        yield server


@pytest.fixture
def faults(own_aws: Aws) -> FaultControl:
    return FaultControl(own_aws.url)


@pytest.fixture
def rig(own_aws: Aws, tmp_path: Path) -> Iterator[MakeRig]:
    """Makes a rig; ends it after the test."""
    made: list[Rig] = []

    def make(**options: Any) -> Rig:
        made.append(Rig(own_aws.url, tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


@pytest.fixture
def report() -> Report:
    """Notes what a test has measured, for `make chaos`."""

    def note(scenario: str, findings: Findings, **figures: object) -> None:
        found = {name: value for name, value in findings.as_dict().items() if name != "problems"}
        line = json.dumps({"scenario": scenario, **found, "lost": len(findings.problems), "figures": figures})
        print(line)
        if path := os.environ.get("CHAOS_REPORT"):
            with Path(path).open("a") as file:
                file.write(line + "\n")

    return note
