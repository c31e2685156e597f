"""A day's events, counted by source, place, kind and hour (UTC)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from consumer.errors import DiskError
from consumer.events import EventIndex, Wanted
from consumer.files import complete
from contract.event import EventMessage

HOURS: Final = 24
# Rows of a report; a hostile bucket may hold events of any number of sources. What is beyond is one row.
MAX_ROWS: Final = 500
OTHERS: Final = "others"

_CELL, _ROW, _MARGIN = 38, 30, 12
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
_PAPER, _INK, _FAINT = (250, 250, 250), (40, 40, 40), (225, 225, 225)
# BGR, of the hour with the most events.
_FULL: Final = np.array((78, 121, 24), np.float64)


class Row(NamedTuple):
    """What is counted together."""

    source: str
    place: str
    kind: str

    @classmethod
    def of(cls, event: EventMessage) -> Row:
        """An event's: its place is a zone or a line."""
        return cls(event.source, event.zone or event.line or "", event.event)


@dataclass
class Report:
    """The counts of a day, by row and hour."""

    day: datetime
    counts: dict[Row, list[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, index: EventIndex, day: datetime) -> Report:
        """Counts the events that started on a day.

        Raises:
            ConsumerError: If the bucket cannot be read.
        """
        made = cls(day)
        made.add(index.events(Wanted(day, day + timedelta(days=1))))
        return made

    def add(self, events: Iterable[EventMessage]) -> None:
        """Counts events."""
        for event in events:
            row = Row.of(event)
            if row not in self.counts and len(self.counts) >= MAX_ROWS:
                row = Row(OTHERS, "", "")
            self.counts.setdefault(row, [0] * HOURS)[int(event.started_at[11:13])] += 1

    @property
    def rows(self) -> list[tuple[Row, list[int]]]:
        """By source, place and kind."""
        return sorted(self.counts.items())

    @property
    def by_hour(self) -> list[int]:
        """All events of each hour."""
        return [sum(hours) for hours in zip(*self.counts.values(), strict=True)] if self.counts else [0] * HOURS

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        counts = [
            {"source": row.source, "zone": row.place or None, "kind": row.kind, "total": sum(hours), "hours": hours}
            for row, hours in self.rows
        ]
        return {"day": f"{self.day:%Y-%m-%d}", "events": sum(self.by_hour), "hours": self.by_hour, "counts": counts}

    def table(self) -> Table:
        """For people: the hours from the first event's to the last one's."""
        busy = [hour for hour, number in enumerate(self.by_hour) if number]
        shown = range(busy[0], busy[-1] + 1) if busy else range(0)
        table = Table("source", "zone", "kind", box=None, pad_edge=False)
        for hour in shown:
            table.add_column(f"{hour:02}", justify="right")
        table.add_column("sum", justify="right", style="bold")
        for row, hours in self.rows:
            table.add_row(*row, *(str(hours[hour] or "·") for hour in shown), str(sum(hours)))
        table.add_row("all", "", "", *(str(self.by_hour[hour]) for hour in shown), str(sum(self.by_hour)), style="bold")
        return table

    def picture(self) -> NDArray[np.uint8]:
        """The counts as a picture, BGR: a row each, the darker the more."""
        rows = [(" ".join(filter(None, row)), hours) for row, hours in self.rows] or [("no events", [0] * HOURS)]
        names = max(_width(name) for name, _ in rows) + 2 * _MARGIN
        width, height = names + HOURS * _CELL + _MARGIN, (len(rows) + 2) * _ROW + _MARGIN
        image = np.full((height, width, 3), _PAPER, np.uint8)
        _write(image, f"{self.day:%Y-%m-%d}, events by hour (UTC)", _MARGIN, 0)
        most = max(1, *(number for _, hours in rows for number in hours))
        for hour in range(HOURS):
            _write(image, f"{hour:02}", names + hour * _CELL + 8, 1)
        for line, (name, hours) in enumerate(rows, 2):
            _write(image, name, _MARGIN, line)
            for hour, number in enumerate(hours):
                left, top = names + hour * _CELL, line * _ROW
                share = number / most
                colour = np.array(_FAINT) if not number else np.array(_FAINT) * (1 - share) + _FULL * share
                cv2.rectangle(image, (left, top), (left + _CELL - 3, top + _ROW - 3), colour.tolist(), cv2.FILLED)
                if number:
                    _write(image, str(number), left + 5, line, (255, 255, 255) if share > 0.5 else _INK)
        return image

    def draw(self, path: Path) -> None:
        """Writes the picture as a PNG.

        Raises:
            DiskError: If that cannot be written.
        """
        _, png = cv2.imencode(".png", self.picture())
        try:
            with complete(path) as part:
                part.write_bytes(png.tobytes())
        except OSError as error:
            raise DiskError(f"{path}: {error.strerror}") from None


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _SCALE, 1)[0][0])


def _write(image: NDArray[np.uint8], text: str, left: int, line: int, ink: tuple[int, int, int] = _INK) -> None:
    cv2.putText(image, text, (left, line * _ROW + 19), _FONT, _SCALE, ink, 1, cv2.LINE_AA)
