"""The commands `consumer events` and `consumer report`."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from consumer import event_line
from consumer.bucket import Bucket
from consumer.errors import ConsumerError, UnreachableError
from consumer.events import READERS, Changes, EventIndex, Wanted
from consumer.interrupts import interruptible
from consumer.moments import AHEAD, ALLOWED, YEARS, moment
from consumer.options import EXIT_STATUS, EndpointUrl, FromOutputs, Region, client, fail
from consumer.options import Bucket as BucketName
from contract.event import EventMessage
from contract.event_rules import EventKind
from terminal.text import plain

FOLLOW_SECONDS: Final = 2.0

Source = Annotated[str | None, typer.Option(help="Only of this source.")]


def index_of(bucket: str, endpoint_url: str | None, region: str) -> EventIndex:
    """The index of events in a bucket."""
    return EventIndex(Bucket(client("s3", region, endpoint_url=endpoint_url, connections=READERS), bucket))


def read_moment(option: str, text: str, now: datetime) -> datetime:
    """Reads an option that names a moment; ends the command where it does not."""
    try:
        return moment(text, now)
    except ValueError as error:
        print(f"error: {option} {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def events(
    bucket: BucketName,
    from_outputs: FromOutputs = None,
    source: Source = None,
    kind: Annotated[EventKind | None, typer.Option(help="Only of this kind.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only of the rule with this name.")] = None,
    zone: Annotated[str | None, typer.Option(help="Only in the zone, or across the line, with this name.")] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="Only with objects of this class.")] = None,
    since: Annotated[
        str | None, typer.Option(help=f"Started from then on: {ALLOWED}. Default: 24h; with --follow: now.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Started before. Default: now.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on, with events as they start and end.")] = False,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[bool, typer.Option("--json", help="Print each event's message, a line each.")] = False,
) -> None:
    """Lists events, by their start, or follows them.

    They are read from the bucket, so that no other reader misses them.
    """
    if follow and until:
        print("error: --until: --follow has no end", file=sys.stderr)
        raise typer.Exit(2)
    now, console = datetime.now(UTC), Console(highlight=False, soft_wrap=True)
    begin = read_moment("--since", since or ("0s" if follow else "24h"), now)
    end = min(read_moment("--until", until or "0s", now), now + AHEAD)
    if not follow and end <= begin:
        print("error: --since: it does not lie before --until, by default now", file=sys.stderr)
        raise typer.Exit(2)
    wanted = Wanted(begin, datetime.max.replace(tzinfo=UTC) if follow else end, source, kind, rule, zone, class_name)
    index = index_of(bucket, endpoint_url, region)

    def show(event: EventMessage) -> None:
        if as_json:
            print(event.to_json(), flush=True)
        else:
            console.print(event_line.line(event))

    try:
        if follow:
            _follow(index, wanted, show)
        else:
            for event in index.events(wanted):
                show(event)
    except ConsumerError as error:
        fail(error)


def report(
    bucket: BucketName,
    from_outputs: FromOutputs = None,
    day: Annotated[str | None, typer.Option(metavar="2026-01-01", help="In UTC. Default: today.")] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write the counts as a picture too.")] = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Counts a day's events by source, zone or line, kind and hour."""
    from consumer.report import Report  # here, as `events` needs no OpenCV

    try:
        chosen = datetime.strptime(day, "%Y-%m-%d") if day else datetime.now(UTC)
        if chosen.year not in YEARS:
            raise ValueError
    except ValueError:
        allowed = f"2026-01-01 is the form, and years from {YEARS[0]} to {YEARS[-1]} are allowed"
        print(f"error: --day {day!r}: {allowed}", file=sys.stderr)
        raise typer.Exit(2) from None
    try:
        made = Report.of(
            index_of(bucket, endpoint_url, region),
            chosen.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC),
        )
        if picture:
            made.draw(picture)
    except ConsumerError as error:
        fail(error)
    if as_json:
        print(json.dumps(made.to_json()))
    else:
        # Wide enough for 24 hours where no terminal says how wide it is.
        console = Console(highlight=False)
        console.width = console.width if console.is_terminal else 200
        console.print(made.table())


def _follow(index: EventIndex, wanted: Wanted, show: Callable[[EventMessage], None]) -> None:
    """Shows events as they start and end, until Ctrl-C; waits for a bucket that is out of reach."""
    stop, changes = threading.Event(), Changes(index, wanted.since, lambda: datetime.now(UTC))
    with interruptible(stop):
        while not stop.is_set():
            try:
                for event in changes.look():
                    if stop.is_set():
                        return
                    if wanted.takes(event):
                        show(event)
            except UnreachableError as error:
                print(f"warning: {plain(str(error))}; trying again", file=sys.stderr)
            stop.wait(FOLLOW_SECONDS)


REPORT_EPILOG: Final = f"""[bold]Example[/bold]

consumer report --day 2026-01-01 --picture day.png
{EXIT_STATUS}"""
EPILOG: Final = f"""[bold]Examples[/bold]

consumer events --since 2h --class person

consumer events --source door --zone step --since 2026-01-01 --until 2026-01-02 --json | jq .started_at

consumer events --follow --kind cross
{EXIT_STATUS}"""
