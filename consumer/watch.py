"""One line a frame, for people."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from rich.text import Text

from contract.frame import parse_time
from contract.message import ResultMessage


def line(result: ResultMessage, now: datetime | None = None) -> Text:
    """The frame, what is in it, and how long ago it was captured."""
    age = ((now or datetime.now(UTC)) - parse_time(result.captured_at)).total_seconds()
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(result.processed_at[11:23], "dim")
    text.append(f"  {result.frame_id}", "cyan")
    text.append(f"  {result.inference_ms:6.1f} ms  {_age(age):>8}  ", "dim")
    counts = Counter(item.class_name for item in result.summary)
    if not counts:
        text.append("nothing", "dim")
    for number, (name, count) in enumerate(counts.most_common()):
        best = max(item.conf for item in result.summary if item.class_name == name)
        text.append(", " if number else "")
        text.append(f"{count} {name}", "bold green")
        text.append(f" {best:.2f}", "green")
    return text


def _age(seconds: float) -> str:
    return f"{seconds:.2f} s" if abs(seconds) < 100 else f"{seconds:.0f} s"
