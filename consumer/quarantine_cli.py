"""The commands `consumer quarantine list | show | redrive`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumer.bucket import Bucket
from consumer.errors import AccessError, ConsumerError, DiskError, QueueError, UnreachableError
from consumer.files import complete
from consumer.options import EXIT_STATUS, EndpointUrl, FromOutputs, QuarantineUrl, Region, client, fail
from consumer.options import Bucket as BucketName
from consumer.quarantine import Held, Quarantine
from contract.message import QuarantineMessage
from terminal.text import plain

app = typer.Typer(no_args_is_help=True, help="Records that could not be processed: look at them, send them again.")


@app.command("list", epilog=f"[bold]Example[/bold]\n\nconsumer quarantine list --json | jq .reason\n{EXIT_STATUS}")
def list_(
    queue_url: QuarantineUrl,
    from_outputs: FromOutputs = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[bool, typer.Option("--json", help="Print each notice as it came, a line each.")] = False,
) -> None:
    """Lists the records in quarantine, each with its reason."""
    try:
        with _quarantine(queue_url, "", endpoint_url, region).hold() as held:
            notices = [one.notice for one in held.values()]
    except ConsumerError as error:
        fail(error)
    if as_json:
        for notice in notices:
            print(notice.to_json())
        return
    Console(soft_wrap=True).print(_table(notices) if notices else "nothing is in quarantine")


@app.command(
    epilog=f"[bold]Example[/bold]\n\nconsumer quarantine show door/9f2c/000000017 --save bad.bin\n{EXIT_STATUS}"
)
def show(
    frame_id: Annotated[str, typer.Argument(help="As `list` shows it.")],
    queue_url: QuarantineUrl,
    bucket: BucketName,
    from_outputs: FromOutputs = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    save: Annotated[Path | None, typer.Option(metavar="FILE", help="Save the record's bytes.")] = None,
) -> None:
    """Shows one notice in full, and saves the bytes of its record."""
    try:
        quarantine = _quarantine(queue_url, bucket, endpoint_url, region)
        with quarantine.hold() as held:
            notice = _find(held, frame_id).notice
            print(notice.model_dump_json(indent=2))
            if save:
                _write(save, quarantine.record(notice))
    except ConsumerError as error:
        fail(error)


@app.command(epilog=f"[bold]Example[/bold]\n\nconsumer quarantine redrive --all\n{EXIT_STATUS}")
def redrive(
    queue_url: QuarantineUrl,
    bucket: BucketName,
    frame_ids: Annotated[list[str] | None, typer.Argument(help="As `list` shows them.")] = None,
    from_outputs: FromOutputs = None,
    stream: Annotated[
        str | None,
        typer.Option(envvar="KINESIS_STREAM_NAME", help="Where they go; default: wherever they say they came from."),
    ] = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    everything: Annotated[bool, typer.Option("--all", help="All that is in quarantine.")] = False,
) -> None:
    """Puts records on their stream again, for example after deploying a worker that takes larger pictures."""
    if bool(frame_ids) == everything:
        print("error: name frames, or --all", file=sys.stderr)
        raise typer.Exit(2)
    try:
        quarantine = _quarantine(queue_url, bucket, endpoint_url, region, stream)
        with quarantine.hold() as held:
            # In a source's order, which the queue does not keep.
            chosen = [_find(held, frame_id) for frame_id in (sorted(held) if everything else frame_ids or [])]
            left = [one for one in chosen if not _redriven(quarantine, one)]
    except ConsumerError as error:
        fail(error)
    if left:
        print(f"{len(left)} of {len(chosen)} stay in quarantine", file=sys.stderr)
        raise typer.Exit(1)


def _quarantine(
    queue_url: str, bucket: str, endpoint_url: str | None, region: str, stream: str | None = None
) -> Quarantine:
    sqs, s3, kinesis = (client(service, region, endpoint_url=endpoint_url) for service in ("sqs", "s3", "kinesis"))
    return Quarantine(sqs, kinesis, queue_url, Bucket(s3, bucket), stream)


def _redriven(quarantine: Quarantine, one: Held) -> bool:
    """Sends a record again; one that cannot be had, or that the stream refuses, is told of and stops no other."""
    try:
        quarantine.redrive(one)
    except (AccessError, QueueError, UnreachableError):
        raise
    except ConsumerError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return False
    print(plain(one.notice.frame_id))
    return True


def _find(held: dict[str, Held], frame_id: str) -> Held:
    if frame_id not in held:
        raise ConsumerError(f"{frame_id}: not in quarantine")
    return held[frame_id]


def _write(path: Path, data: bytes) -> None:
    try:
        with complete(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror}") from None


def _table(notices: list[QuarantineMessage]) -> Table:
    table = Table("frame", "reason", "detail", "bytes", "quarantined at")
    for notice in notices:
        # A detail may quote what a stranger wrote: it is text, not markup.
        cells = (notice.frame_id, notice.reason, notice.detail, str(notice.size), notice.quarantined_at[:19])
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table
