"""The command line: `consumer watch`, `save DIR`, `web`, `events`, `report`, `clip` and `quarantine`."""

from __future__ import annotations

import json
import logging
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consumer import clip_cli, events_cli, options, quarantine_cli
from consumer.bucket import Bucket as ObjectsOf
from consumer.errors import ConsumerError
from consumer.frames import Frames, of_whole_messages
from consumer.interrupts import interruptible
from consumer.options import (
    BUCKET,
    EXIT_STATUS,
    Bucket,
    EndpointUrl,
    FromOutputs,
    QueueUrl,
    Region,
    SourceDefaults,
    SourcesPath,
    StreamName,
    client,
    fail,
)
from consumer.results import Handler, NoResult, ResultReader
from consumer.save import Saver
from consumer.watch import line, line_without_result, one_line
from contract.message import ResultMessage
from terminal.text import PlainFormatter

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(quarantine_cli.app, name="quarantine")
app.command(epilog=events_cli.EPILOG)(events_cli.events)
app.command(epilog=events_cli.REPORT_EPILOG)(events_cli.report)
app.command(epilog=clip_cli.EPILOG)(clip_cli.clip)

Limit = Annotated[int | None, typer.Option(min=1, help="Results to read; default: until Ctrl-C.")]
Idle = Annotated[
    float | None, typer.Option("--idle-exit", min=0, help="End when no result has come for so many seconds.")
]


@app.callback()
def main() -> None:
    """Reads what the pipeline has found in frames, and what has happened."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("warning: %(message)s"))
    logging.basicConfig(level="WARNING", handlers=[handler])


@app.command(
    epilog="[bold]Example[/bold]\n\nconsumer watch --queue-url $SQS_QUEUE_URL --json | jq '.summary // empty'\n"
    f"{EXIT_STATUS}"
)
def watch(
    queue_url: QueueUrl,
    from_outputs: FromOutputs = None,
    limit: Limit = None,
    idle_exit: Idle = None,
    bucket: Annotated[str | None, BUCKET] = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[bool, typer.Option("--json", help="Print each message as it came, a line each.")] = False,
) -> None:
    """Prints a line for each frame as it arrives, and for each tally of frames without a message.

    A message that was too long for the queue is read from the bucket, if that is named.
    """
    console = Console(highlight=False, soft_wrap=True)

    def handle(result: ResultMessage, body: str) -> None:
        if as_json:
            print(one_line(body), flush=True)
        else:
            console.print(line(result))

    def handle_other(message: NoResult, body: str) -> None:
        if as_json:
            print(one_line(body), flush=True)
        else:
            console.print(line_without_result(message))

    show: Handler = handle
    if bucket is not None:
        show = of_whole_messages(Frames(client("s3", region, endpoint_url=endpoint_url), bucket), handle)
    reader = ResultReader(client("sqs", region, endpoint_url=endpoint_url), queue_url, handle_other)
    _run(reader, show, limit, idle_exit)


@app.command(
    epilog=f"[bold]Example[/bold]\n\nconsumer save ./frames --from-outputs outputs.json --limit 100\n{EXIT_STATUS}"
)
def save(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")],
    queue_url: QueueUrl,
    bucket: Bucket,
    from_outputs: FromOutputs = None,
    limit: Limit = None,
    idle_exit: Idle = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts at the end as JSON.")] = False,
) -> None:
    """Saves annotated frames and their messages to DIR.

    A frame that has expired or was deleted leaves its message alone.
    """
    frames = Frames(client("s3", region, endpoint_url=endpoint_url), bucket)
    reader = ResultReader(client("sqs", region, endpoint_url=endpoint_url), queue_url)
    try:
        saver = Saver(frames, folder)
    except ConsumerError as error:
        fail(error)
    try:
        _run(reader, of_whole_messages(frames, saver), limit, idle_exit)
    finally:
        seen = reader.tally
        counts = {"saved": saver.saved, "gone": saver.gone, "unstored": saver.unstored, "refused": seen.refused}
        if as_json:
            print(json.dumps(counts | {"skipped": seen.skipped, "tallied": seen.tallied}))
        words = f"{saver.saved} frames saved to {folder}, {saver.gone} were gone, {saver.unstored} were not stored, "
        words += f"{seen.refused} refused"
        words += f", {seen.skipped} were skipped by the worker, {seen.tallied} are in tallies alone"
        print(words, file=sys.stderr)


@app.command(
    epilog="[bold]Examples[/bold]\n\nconsumer web --from-outputs outputs.json\n\n"
    f"consumer web --from-outputs outputs.json --allow-configure\n{EXIT_STATUS}"
)
def web(
    queue_url: QueueUrl,
    bucket: Bucket,
    from_outputs: FromOutputs = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; one off this machine asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any free one.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="CONSUMER_WEB_TOKEN", help="Asked of everyone; default: none, or made anew.")
    ] = None,
    allow_configure: Annotated[
        bool,
        typer.Option("--allow-configure", help="Whoever has the token may draw zones and lines; needs --sources-path."),
    ] = False,
    quarantine_url: Annotated[
        str | None, typer.Option(envvar="QUARANTINE_QUEUE_URL", help="The queue whose notices are counted.")
    ] = None,
    stream: StreamName = None,
    sources_path: SourcesPath = None,
    source_defaults: SourceDefaults = "",
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the address and then each message as it came, a line each.")
    ] = False,
) -> None:
    """Shows detections and events as they come, on a page in the browser.

    It takes its messages off the queue, as every consumer does: two consumers of one queue each see a part.
    """
    try:
        from consumer.web import command, pictures
    except ImportError:
        print("error: consumer web needs the extra `web`: pip install 'cv2kinesis[web]'", file=sys.stderr)
        raise typer.Exit(2) from None
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        print("error: --token: letters, digits and marks of ASCII are needed", file=sys.stderr)
        raise typer.Exit(2)
    if not host:
        print("error: --host: an address is needed", file=sys.stderr)
        raise typer.Exit(2)
    if allow_configure and not sources_path:
        print("error: --allow-configure: --sources-path, or --from-outputs, is needed", file=sys.stderr)
        raise typer.Exit(2)
    sqs, stop = client("sqs", region, endpoint_url=endpoint_url), threading.Event()
    s3 = client("s3", region, endpoint_url=endpoint_url, connections=pictures.CONNECTIONS)
    origins = command.Origins(
        ObjectsOf(s3, bucket, attempts=pictures.ATTEMPTS),
        client("kinesis", region, endpoint_url=endpoint_url),
        client("ssm", region, endpoint_url=endpoint_url),
        stream,
        sources_path,
        options.source_defaults(source_defaults),
        allow_configure,
    )

    def announce(address: str) -> None:
        print(json.dumps({"address": address}) if as_json else f"open {address}", flush=True)

    def handle(_: ResultMessage | NoResult, body: str) -> None:
        if as_json:
            print(one_line(body), flush=True)

    try:
        with interruptible(stop):
            command.serve(
                ResultReader(sqs, queue_url),
                stop,
                Frames(s3, bucket, attempts=pictures.ATTEMPTS),
                command.queue_counter(sqs, quarantine_url),
                origins,
                host=host,
                port=port,
                token=token,
                announce=announce,
                handle=handle,
            )
    except ConsumerError as error:
        fail(error)


def _run(reader: ResultReader, handle: Handler, limit: int | None, idle_exit: float | None) -> None:
    stop = threading.Event()
    try:
        with interruptible(stop):
            reader.run(handle, stop, limit=limit, idle_seconds=idle_exit)
    except ConsumerError as error:
        fail(error)
