"""The command line: `consumer watch`, `consumer save DIR`, `consumer web`."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consumer import quarantine_cli
from consumer.errors import ConsumerError
from consumer.options import EXIT_STATUS, EndpointUrl, FromOutputs, QueueUrl, Region, client, fail
from consumer.results import Handler, ResultReader, Tally
from consumer.save import Saver
from consumer.watch import line
from contract.message import ResultMessage

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(quarantine_cli.app, name="quarantine")

Limit = Annotated[int | None, typer.Option(min=1, help="Results to read; default: until Ctrl-C.")]
Idle = Annotated[
    float | None, typer.Option("--idle-exit", min=0, help="End when no result has come for so many seconds.")
]


@app.callback()
def main() -> None:
    """Reads what the pipeline found in each frame."""
    logging.basicConfig(level="WARNING", format="warning: %(message)s", stream=sys.stderr)


@app.command(
    epilog=f"[bold]Example[/bold]\n\nconsumer watch --queue-url $SQS_QUEUE_URL --json | jq .summary\n{EXIT_STATUS}"
)
def watch(
    queue_url: QueueUrl,
    from_outputs: FromOutputs = None,
    limit: Limit = None,
    idle_exit: Idle = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[bool, typer.Option("--json", help="Print each message as it came, a line each.")] = False,
) -> None:
    """Prints a line for each frame as it arrives."""
    console = Console(highlight=False, soft_wrap=True)

    def handle(result: ResultMessage, body: str) -> None:
        if as_json:
            print(body, flush=True)
        else:
            console.print(line(result))

    _run(queue_url, handle, limit, idle_exit, endpoint_url, region)


@app.command(
    epilog=f"[bold]Example[/bold]\n\nconsumer save ./frames --queue-url $SQS_QUEUE_URL --limit 100\n{EXIT_STATUS}"
)
def save(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")],
    queue_url: QueueUrl,
    from_outputs: FromOutputs = None,
    limit: Limit = None,
    idle_exit: Idle = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
) -> None:
    """Saves annotated frames and their messages to DIR."""
    try:
        saver = Saver(client("s3", endpoint_url, region), folder)
    except ConsumerError as error:
        fail(error)
    tally = _run(queue_url, saver, limit, idle_exit, endpoint_url, region)
    print(f"{tally.handled} frames saved to {folder}", file=sys.stderr)


@app.command(epilog=f"[bold]Example[/bold]\n\nconsumer web --from-outputs outputs.json\n{EXIT_STATUS}")
def web(
    queue_url: QueueUrl,
    from_outputs: FromOutputs = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at; one off this machine asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any free one.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="CONSUMER_WEB_TOKEN", help="Asked of everyone; default: none, or made anew.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option(envvar="S3_BUCKET_NAME", help="The only bucket that frames are shown from.")
    ] = None,
    quarantine_url: Annotated[
        str | None, typer.Option(envvar="QUARANTINE_QUEUE_URL", help="The queue whose notices are counted.")
    ] = None,
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the address and then each message as it came, a line each.")
    ] = False,
) -> None:
    """Shows what is seen as it comes, on a page in the browser.

    It takes its messages off the queue, as every consumer does: beside another one each sees a part.
    """
    try:
        from consumer.web import command
    except ImportError:
        print("error: consumer web needs the extra `web`: pip install 'cv2kinesis[web]'", file=sys.stderr)
        raise typer.Exit(2) from None
    sqs, stop = client("sqs", endpoint_url, region), threading.Event()

    def announce(address: str) -> None:
        print(json.dumps({"address": address}) if as_json else f"open {address}", flush=True)

    def handle(_: ResultMessage, body: str) -> None:
        if as_json:
            print(body, flush=True)

    try:
        with _interruptible(stop):
            command.serve(
                ResultReader(sqs, queue_url),
                stop,
                command.frame_fetcher(client("s3", endpoint_url, region), bucket),
                command.queue_counter(sqs, quarantine_url),
                host=host,
                port=port,
                token=token,
                announce=announce,
                handle=handle,
            )
    except ConsumerError as error:
        fail(error)


def _run(
    queue_url: str,
    handle: Handler,
    limit: int | None,
    idle_exit: float | None,
    endpoint_url: str | None,
    region: str,
) -> Tally:
    reader = ResultReader(client("sqs", endpoint_url, region), queue_url)
    stop = threading.Event()
    try:
        with _interruptible(stop):
            reader.run(handle, stop, limit=limit, idle_seconds=idle_exit)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output, such as `head`, has enough
    except ConsumerError as error:
        fail(error)
    return reader.tally


@contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """Has Ctrl-C end the reading after the message in hand, and a second one the process."""

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
