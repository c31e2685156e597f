"""One line for each event, for people."""

from __future__ import annotations

from rich.text import Text

from consumer.events import end_of
from contract.event import EventMessage
from contract.frame import parse_time
from terminal.text import plain


def line(event: EventMessage) -> Text:
    """When and where it started, what it is, how long it took, and its id."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{event.started_at[:10]} {event.started_at[11:19]}", "dim")
    text.append(f"  {event.source}", "cyan")
    text.append(f"  {event.rule}", "bold")
    text.append(f"  {what(event)}", "bold green")
    seconds = (end_of(event) - parse_time(event.started_at)).total_seconds()
    text.append(f"  {seconds:.1f} s" if event.phase == "end" else "  goes on", "dim" if event.phase == "end" else "red")
    text.append(f"  {event.event_id}", "dim")
    return text


def what(event: EventMessage) -> str:
    """Such as `cross gate in: person`."""
    words = [event.event, event.zone or event.line or "", event.direction or ""]
    if event.event == "count":
        words.append(f"{event.most} at once")
    return " ".join(filter(None, words)) + (f": {', '.join(map(plain, event.classes))}" if event.classes else "")
