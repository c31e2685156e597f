"""Shows measurements as tables, and keeps them as entries of the file that BENCH_JSON names."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One contender, with a value for each repetition in the order of measurement."""

    name: str
    values: list[float]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def ratio(self, base: Row) -> tuple[float, float, float]:
        """Median, least and greatest ratio to another row, repetition by repetition."""
        ratios = [mine / other for mine, other in zip(self.values, base.values, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def interleaved(contenders: Mapping[str, Callable[[], int]], repetitions: int) -> list[Row]:
    """Frames a second of each contender; all take turns in each repetition, so that none has a quieter machine.

    Args:
        contenders: Functions by name; each does its work and gives the number of frames.
    """
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, run in contenders.items():
            started = time.perf_counter()
            frames = run()
            speeds[name].append(frames / (time.perf_counter() - started))
    return [Row(name, values, "frames/s") for name, values in speeds.items()]


def show(title: str, rows: list[Row], base: Row | None = None) -> None:
    """Prints a table, with ratios to one of the rows if one is given, and keeps it."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("median", "spread", "unit", "ratio"):
        table.add_column(name, justify="left" if name == "unit" else "right")
    for row in rows:
        ratio = "" if base is None or row is base else "{:.2f} ({:.2f} to {:.2f})".format(*row.ratio(base))
        spread = f"{min(row.values):.4g} to {max(row.values):.4g}" if len(row.values) > 1 else ""
        table.add_row(row.name, f"{row.median:.4g}", spread, row.unit, ratio)
    Console(width=None if os.isatty(1) else 140).print(table)
    Console().print()
    _keep(title, rows, base)


def _keep(title: str, rows: list[Row], base: Row | None) -> None:
    if not os.environ.get("BENCH_JSON"):
        return
    path = Path(os.environ["BENCH_JSON"])
    entries = json.loads(path.read_text()) if path.exists() else []
    for row in rows:
        against = base.name if base and row is not base else None
        entries.append({
            "name": f"{title}: {row.name}",
            "value": round(row.median, 4),
            "unit": row.unit,
            "against": against,
            "ratio": round(row.ratio(base)[0], 3) if base and against else None,
        })  # fmt: skip
    path.write_text(json.dumps(entries, indent=1) + "\n")
