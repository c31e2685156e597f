"""What the demo makes of what its consumer prints."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from local.resources import Resources
from local.showing import follow
from tests.unit.test_consumer import SKIPPED, body


class Printer:
    """A process that has printed some lines."""

    process = SimpleNamespace(returncode=0)

    def __init__(self, *lines: str, alive: bool) -> None:
        self._lines, self.alive = list(lines), alive

    def line(self, _: float = 0.0) -> str | None:
        return self._lines.pop(0) if self._lines else None


def test_a_skipped_frame_ends_no_demo(resources: Resources) -> None:
    consumer, producer = Printer(SKIPPED, body(1), alive=True), Printer(json.dumps({"sent": 1}), alive=False)
    footer, interrupts = SimpleNamespace(over=False, count=lambda _: None, end=lambda: None), SimpleNamespace(count=0)
    given: list[Any] = [Console(quiet=True), consumer, producer, resources, interrupts, footer]
    account = follow(*given)
    assert (account.sent, list(account.arrivals.results)) == (1, ["cam/s/000000001"])
