"""Runs the tests of faults and prints what they measured: `make chaos`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from local.processes import ROOT

FOLDERS: Final = ("tests/faults", "tests/independent")


def main() -> int:
    """Runs the tests; gives pytest's exit status."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        done = subprocess.run(
            # The outages are among all the faults of services.
            [sys.executable, "-m", "pytest", "-q", *FOLDERS, "-k", "not outages", *sys.argv[1:]],
            cwd=ROOT,
            env=os.environ | {"CHAOS_REPORT": str(report)},
            check=False,
        )
        lines = report.read_text().splitlines() if report.exists() else []
    print(table([json.loads(line) for line in lines]))
    return done.returncode


def table(reports: list[dict[str, object]]) -> str:
    """A Markdown table for docs/reliability.md."""
    rows = ["| fault | accepted | lost | came twice | measured |", "| --- | --- | --- | --- | --- |"]
    for report in reports:
        figures = report["figures"]
        assert isinstance(figures, dict)
        measured = "; ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in figures.items())
        rows.append(
            f"| {report['scenario']} | {report['accepted']} | {report['lost']} | {report['duplicates']} | {measured} |"
        )
    return "\n".join(rows)


def _text(value: object) -> str:
    return ", ".join(f"{name}: {part}" for name, part in value.items()) if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    sys.exit(main())
