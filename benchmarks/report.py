"""How measurements are kept and shown."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One contender: a value for each repetition, in the order in which they were measured."""

    name: str
    values: list[float]
    unit: str

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def ratio(self, base: Row) -> tuple[float, float, float]:
        """Median, least and greatest of the ratios to another row, repetition by repetition."""
        ratios = [mine / other for mine, other in zip(self.values, base.values, strict=True)]
        return statistics.median(ratios), min(ratios), max(ratios)


def show(title: str, rows: list[Row], base: Row | None = None) -> None:
    """Prints a table, with ratios to one of the rows if there is one."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("median", "spread", "unit", "ratio"):
        table.add_column(name, justify="left" if name == "unit" else "right")
    for row in rows:
        ratio = "" if base is None or row is base else "{:.2f} ({:.2f} to {:.2f})".format(*row.ratio(base))
        spread = f"{min(row.values):.4g} to {max(row.values):.4g}"
        table.add_row(row.name, f"{row.median:.4g}", spread, row.unit, ratio)
    Console().print(table)
    Console().print()
