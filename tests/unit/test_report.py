"""`consumer report`: a day's events as a table and a picture."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import cv2
import pytest

from consumer import report as reports
from consumer.report import Report
from local.processes import ROOT
from local.resources import Resources
from tests.happenings import NOON, happening, store
from tests.unit.test_consumer import run

HOUR = timedelta(hours=1)


def test_the_counts_of_a_day(resources: Resources, tmp_path: Path) -> None:
    bucket = resources.bucket
    for hours in (-13, 0, 0.5, 2, 12):  # the first and the last are of other days
        store(resources, happening(bucket, NOON + hours * HOUR))
    store(resources, happening(bucket, NOON, source="yard", event="silent", zone=None, rule="cut", classes=[]))
    done = run(resources, "report", "--day", "2026-01-01", "--json", "--picture", str(tmp_path / "day.png"))
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    at_noon = [0] * 24
    at_noon[12], at_noon[14] = 2, 1
    assert counted["counts"][0] == {"source": "door", "zone": "step", "kind": "appear", "total": 3, "hours": at_noon}
    assert counted["counts"][1]["zone"] is None
    assert (counted["day"], counted["events"], counted["hours"][12]) == ("2026-01-01", 4, 3)
    picture = cv2.imread(str(tmp_path / "day.png"))
    assert picture is not None
    made = Report(NOON.replace(hour=0))
    assert picture.shape[1] > 24 * 38
    assert made.picture().std() < picture.std()  # of no events, every hour looks alike
    shown = run(resources, "report", "--day", "2026-01-01").stdout.splitlines()
    assert shown[0].split() == ["source", "zone", "kind", "12", "13", "14", "sum"]
    assert shown[1].split() == ["door", "step", "appear", "2", "·", "1", "3"]
    assert shown[-1].split() == ["all", "3", "0", "1", "4"]


@pytest.mark.thorough
def test_today_is_the_default_and_may_be_empty(resources: Resources) -> None:
    done = run(resources, "report")
    assert done.returncode == 0
    assert done.stdout.split() == ["source", "zone", "kind", "sum", "all", "0"]


@pytest.mark.thorough
def test_wrong_usage_and_a_folder_that_is_not_there_are_one_line_each(resources: Resources) -> None:
    for day in ("tomorrow", "9999-12-31"):
        done = run(resources, "report", "--day", day)
        allowed = "2026-01-01 is the form, and years from 2000 to 8999 are allowed"
        assert (done.returncode, done.stderr) == (2, f"error: --day '{day}': {allowed}\n")
    done = run(resources, "report", "--picture", "/nowhere/day.png")
    assert (done.returncode, done.stderr) == (5, "error: /nowhere/day.png: No such file or directory\n")


@pytest.mark.thorough
def test_a_picture_that_finds_no_room_is_not_there(resources: Resources, tmp_path: Path) -> None:
    """A file may hold one KiB here, and the picture of a day without events is larger."""
    command = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", sys.executable, "-m", "consumer", "report"]
    done = subprocess.run(
        [*command, "--picture", str(tmp_path / "day.png")],
        env=resources.environment(), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (5, f"error: {tmp_path}/day.png: File too large\n")
    assert list(tmp_path.iterdir()) == []


def test_sources_without_number_take_no_memory_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_ROWS", 2)
    made = Report(NOON)
    made.add(happening("b", source=f"cam-{number}") for number in range(5))
    assert [(row.source, sum(hours)) for row, hours in made.rows] == [("cam-0", 1), ("cam-1", 1), ("others", 3)]
