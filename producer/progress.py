"""Shows a live table while the producer sends, and a summary at the end."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from producer.lane import Counts, Lane
from terminal.text import plain

COLUMNS: Final = (
    "captured",
    "broken",
    "reconnects",
    "unchanged",
    "dropped",
    "refused",
    "unsent",
    "unanswered",
    "sent",
    "fps",
    "MB/s",
    "throttled",
)
# Shown where there are any.
SELDOM: Final = frozenset({"broken", "reconnects", "unsent", "unanswered"})


class Progress:
    """A live table of the lanes, on standard error and only on a terminal."""

    def __init__(self, lanes: list[Lane], *, quiet: bool) -> None:
        self._lanes = lanes
        self._started = time.monotonic()
        console = Console(stderr=True)
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)
        self._shown = console.is_terminal and not quiet

    def __enter__(self) -> Progress:
        self._started = time.monotonic()
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._live.stop()

    def tell(self, text: str) -> None:
        """Prints a line on standard error, above the table; any thread may call it."""
        self._live.console.print(plain(text), markup=False, highlight=False, emoji=False, soft_wrap=True)

    def _table(self) -> Table:
        return table(self._lanes, time.monotonic() - self._started)


def table(lanes: list[Lane], seconds: float) -> Table:
    """The lanes' counts."""
    view = Table(box=None, pad_edge=False, header_style="bold")
    view.add_column("source")
    columns = [
        name for name in COLUMNS if name not in SELDOM or any(_cell(lane.counts, name, 1) != "0" for lane in lanes)
    ]
    for column in columns:
        view.add_column(column, justify="right")
    for lane in lanes:
        view.add_row(
            f"{lane.source_id} (away)" if lane.away else lane.source_id,
            *(_cell(lane.counts, column, max(seconds, 1e-9)) for column in columns),
        )
    return view


def _cell(counts: Counts, column: str, seconds: float) -> str:
    if column == "fps":
        return f"{counts.sent / seconds:.1f}"
    if column == "MB/s":
        return f"{counts.bytes / 1e6 / seconds:.2f}"
    return str(getattr(counts, column))


def summary(lanes: list[Lane], seconds: float, stream: str) -> dict[str, Any]:
    """The counts for programs."""
    return {
        "stream": stream,
        "seconds": round(seconds, 3),
        "sent": sum(lane.counts.sent for lane in lanes),
        "sources": {lane.source_id: {"session": lane.session, **asdict(lane.counts)} for lane in lanes},
    }
