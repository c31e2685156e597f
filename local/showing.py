"""What the demo shows while frames come: a line for each, and on a terminal a last line that stays."""

from __future__ import annotations

import json
import math
import time
from typing import Any, Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from consumer.watch import line as result_line
from local.arrivals import Account, Arrivals, quarantined
from local.interrupts import Interrupts
from local.processes import Process
from local.resources import Resources
from producer.stopping import INTERRUPTED, TERMINATED

# For so long it goes on where somebody watches and does not end it.
SECONDS: Final = 300.0
# After the last frame is sent, so long may results be missing before they count as lost.
PATIENCE_SECONDS: Final = 30.0
# Older results say that the machine is slower than the cameras.
BEHIND_SECONDS: Final = 5.0
HEADER: Final = Text(f"  {'frame':<14}  {'inference':>9}  {'age':>6}  seen", "dim")


def step_on(console: Console, text: str) -> None:
    """Says what is done next."""
    console.print(f"[bold]▸ {text}[/bold]")


class Footer:
    """The last line of a terminal, under the results that pass by: where the page is, and how to end.

    Args:
        shown: Elsewhere than on a terminal there is none.
    """

    def __init__(self, console: Console, address: str, *, shown: bool) -> None:
        self._address, self._ends = address, time.monotonic() + SECONDS
        self._frames, self._age = 0, 0.0
        self._ending = False
        self._live = Live(get_renderable=self._line, console=console, refresh_per_second=2, transient=True)
        self._shown = shown

    def __enter__(self) -> Footer:
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._live.stop()

    @property
    def over(self) -> bool:
        """Whether it has gone on for long enough; only where somebody watches does it need an end."""
        return self._shown and time.monotonic() > self._ends

    def count(self, age: float) -> None:
        """A result has come, so many seconds after its frame's capture."""
        self._frames, self._age = self._frames + 1, age

    def end(self) -> None:
        """Nothing more is sent."""
        self._ending = True

    def _line(self) -> Text:
        if self._ending:
            said = f"{self._frames} frames have come; Ctrl-C again leaves the others"
            return Text(said, "bold reverse", no_wrap=True, overflow="ellipsis")
        left = max(0, round(self._ends - time.monotonic()))
        said = f"{self._address}  {self._frames} frames  {left // 60}:{left % 60:02} left  "
        said += f"{self._age:.0f} s behind: FPS=1 sends fewer" if self._age > BEHIND_SECONDS else "Ctrl-C: summary"
        return Text(said, "bold reverse", no_wrap=True, overflow="ellipsis")


def follow(
    console: Console,
    consumer: Process,
    producer: Process,
    resources: Resources,
    interrupts: Interrupts,
    footer: Footer,
) -> Account:
    """Shows results until each frame has come or is lost. A signal ends the sending, a second one the wait.

    Raises:
        RuntimeError: If consumer or producer fails.
    """
    arrivals = Arrivals()
    sent: int | None = None
    deadline = math.inf
    stopping = False
    enough = 2  # signals that end the wait; one is, where the sending has ended without any
    while time.monotonic() < deadline and interrupts.count < enough:
        if not stopping and producer.alive and (interrupts.count or footer.over):
            stopping, enough = True, 2 if interrupts.count else 1
            footer.end()
            step_on(console, "Ending: what is queued is sent, and what was sent is waited for")
            producer.process.terminate()
        body = consumer.line(0.2)
        if body and "kind" not in json.loads(body):  # which results have not
            result = arrivals.add(body)
            footer.count(arrivals.latencies[-1])
            console.print(result_line(result, short=True), no_wrap=True, overflow="ellipsis")
            deadline = deadline if sent is None else time.monotonic() + PATIENCE_SECONDS
        elif not consumer.alive:
            raise RuntimeError("the consumer ended")
        if sent is None and not producer.alive:
            sent, enough = report_of(producer), 2 if interrupts.count else 1
            footer.end()
            deadline = time.monotonic() + PATIENCE_SECONDS
        if sent is not None and len(arrivals.results) + quarantined(resources) >= sent:
            break
    if sent is None:
        producer.stop()
        sent = report_of(producer)
    return Account(sent, arrivals, quarantined(resources), waited=interrupts.count < enough)


def report_of(producer: Process) -> int:
    """How many frames an ended producer has sent.

    Raises:
        RuntimeError: If it failed.
    """
    report = producer.line(1)
    status = producer.process.returncode
    if status not in (0, INTERRUPTED, TERMINATED) or not report:
        raise RuntimeError(f"the producer ended with status {status}")
    counts: dict[str, Any] = json.loads(report)
    return int(counts["sent"])
