"""One line for each message, for people."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime

from rich.text import Text

from consumer.results import NoResult
from contract.frame import parse_time
from contract.message import ResultMessage, TallyMessage
from terminal.text import plain


def line_without_result(message: NoResult) -> Text:
    """A frame that was skipped, or frames that were counted."""
    text = Text(no_wrap=True, overflow="ellipsis")
    if isinstance(message, TallyMessage):
        text.append(message.sent_at[11:23], "dim")
        text.append(f"  {plain(message.source)}", "cyan")
        text.append(f"  {message.frames} frames counted, {message.frames_with_detections} with detections", "dim")
        for number, (name, count) in enumerate(Counter(message.classes).most_common()):
            text.append(", " if number else ": ")
            text.append(f"{count} {plain(name)}", "green")
    else:
        text.append(message.skipped_at[11:23], "dim")
        text.append(f"  {plain(message.frame_id)}", "cyan")
        text.append(f"  skipped, {_age(message.age_seconds)} old", "dim")
    return text


def one_line(body: str) -> str:
    """A message's JSON in one line, without what a terminal would obey.

    A line's end or a tab stands between its parts alone, for a string has them escaped. Whatever else is not printable
    is in a string; there, an escape means the same.
    """
    if body.isprintable():
        return body
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in body)


def _escaped(letter: str) -> str:
    return " " if letter in "\t\r\n" else re.sub("....", r"\\u\g<0>", letter.encode("utf-16-be", "surrogatepass").hex())


def line(result: ResultMessage, now: datetime | None = None, *, short: bool = False) -> Text:
    """The frame, what is in it, and how long ago it was captured.

    Args:
        short: Fit a terminal, mostly: names the frame by its source and number, without its session and the hour.
    """
    age = ((now or datetime.now(UTC)) - parse_time(result.captured_at)).total_seconds()
    text = Text(no_wrap=True, overflow="ellipsis")
    if short:
        text.append(f"  {plain(_short_name(result)):<14}", "cyan")
    else:
        text.append(result.processed_at[11:23], "dim")
        text.append(f"  {plain(result.frame_id)}", "cyan")
    text.append(f"  {result.inference_ms:6.1f} ms  {_age(age):>{6 if short else 8}}  ", "dim")
    counts = Counter(item.class_name for item in result.summary)
    if not result.detections_count:
        text.append("nothing", "dim")
    elif not counts:  # the whole message could not be had
        text.append(f"{result.detections_count} objects", "bold green")
    for number, (name, count) in enumerate(counts.most_common()):
        best = max(item.conf for item in result.summary if item.class_name == name)
        text.append(", " if number else "")
        text.append(f"{count} {plain(name)}", "bold green")
        text.append(f" {best:.2f}", "green")
    return text


def _short_name(result: ResultMessage) -> str:
    """A source's name and a frame's number; a plain JPEG has none."""
    number = "" if result.frame_index is None else f" #{result.frame_index}"
    room = 20 - len(number)
    return (result.source if len(result.source) <= room else f"{result.source[: room - 1]}…") + number


def _age(seconds: float) -> str:
    return f"{seconds:.2f} s" if abs(seconds) < 100 else f"{seconds:.0f} s"
