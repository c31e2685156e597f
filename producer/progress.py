"""What the producer shows: a live table while it sends, a summary at the end."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from producer.lane import Lane


class Progress:
    """A table that follows the lanes, on standard error and only on a terminal."""

    def __init__(self, lanes: list[Lane], *, quiet: bool) -> None:
        self._lanes = lanes
        self._started = time.monotonic()
        console = Console(stderr=True)
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)
        self._shown = console.is_terminal and not quiet

    def __enter__(self) -> Progress:
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._live.stop()

    def _table(self) -> Table:
        return table(self._lanes, time.monotonic() - self._started)


def table(lanes: list[Lane], seconds: float) -> Table:
    """The lanes' counts."""
    view = Table(box=None, pad_edge=False, header_style="bold")
    view.add_column("source")
    for column in ("captured", "unchanged", "dropped", "refused", "sent", "fps", "MB/s", "throttled"):
        view.add_column(column, justify="right")
    for lane in lanes:
        counts = lane.counts
        view.add_row(
            lane.source_id,
            str(counts.captured),
            str(counts.unchanged),
            str(counts.dropped),
            str(counts.refused),
            str(counts.sent),
            f"{counts.sent / max(seconds, 1e-9):.1f}",
            f"{counts.bytes / 1e6 / max(seconds, 1e-9):.2f}",
            str(counts.throttled),
        )
    return view


def summary(lanes: list[Lane], seconds: float, stream: str) -> dict[str, Any]:
    """The counts for machines."""
    return {
        "stream": stream,
        "seconds": round(seconds, 3),
        "sent": sum(lane.counts.sent for lane in lanes),
        "sources": {lane.source_id: {"session": lane.session, **asdict(lane.counts)} for lane in lanes},
    }
