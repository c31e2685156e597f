"""The command line: `producer send SOURCE… --stream NAME`."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from contract import outputs
from contract.frame import FrameError, check_source
from producer.encoding import Encoder
from producer.errors import ProducerError
from producer.kinesis import client, record_limit
from producer.lane import Lane
from producer.ledger import Ledger
from producer.motion import ChangeGate
from producer.progress import Progress, summary, table
from producer.rate import choose_rate
from producer.sender import Sender
from producer.sources import open_source, source_name
from producer.webcam import devices

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

INTERRUPTED = 130
MAX_FPS = 1000

EPILOG = """
[bold]Examples[/bold]

producer send demo --stream cv2kinesis\n
producer send street.mp4 --stream cv2kinesis --fps 5 --width 1280\n
producer send rtsp://camera.local/live 0 --stream cv2kinesis --source-id door --source-id desk\n
producer send rtsp://camera.local/live --stream cv2kinesis --on-change --fps auto\n
producer send 'photos/*.jpg' --stream cv2kinesis --json\n
producer send demo --from-outputs outputs.json

[bold]Exit status[/bold]

0 all sent · 1 other error · 2 wrong usage · 3 no such stream · 4 no credentials or not allowed ·
5 unreadable source · 6 service out of reach · 7 frames refused as too large · 130 interrupted before a file's end
"""


def _from_outputs(path: Path | None) -> None:
    try:
        if path:
            outputs.into_environment(path)
    except outputs.OutputsError as error:
        _fail(f"--from-outputs: {error}", 2)


FromOutputs = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        callback=_from_outputs,
        help="Stream and region from what `make outputs` printed.",
    ),
]


@app.callback()
def main() -> None:
    """Puts video frames on a Kinesis Data Stream."""


@app.command(epilog=EPILOG, rich_help_panel=None)
def send(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A video file, a folder or glob of images, a webcam's index, an RTSP or HTTP URL, or `demo` "
            "(`demo:3` for another street).",
        ),
    ],
    stream: Annotated[str, typer.Option(envvar="KINESIS_STREAM_NAME", help="The stream's name.")],
    from_outputs: FromOutputs = None,
    source_id: Annotated[
        list[str] | None,
        typer.Option(help="A source's id, once for each SOURCE; also its partition key. Default: from its name."),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="FPS|auto",
            help="Frames a second; 0: as fast as they come; auto: fewer while the stream cannot take them. "
            "Default: a video's own, a camera's own.",
        ),
    ] = None,
    width: Annotated[int | None, typer.Option(min=16, help="Scale wider frames down to so many pixels.")] = None,
    quality: Annotated[
        int | None, typer.Option(min=1, max=100, help="JPEG quality. Default: 80; JPEG files stay as they are.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Frames of each source at the most.")] = None,
    on_change: Annotated[
        bool, typer.Option("--on-change", help="Leave out pictures that show nothing new, but for one in ten seconds.")
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Begin a file again at its end.")] = False,
    endpoint_url: Annotated[
        str | None, typer.Option(envvar="AWS_ENDPOINT_URL", help="Of a Kinesis that is not on AWS.")
    ] = None,
    region: Annotated[
        str, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="The stream's region.")
    ] = "eu-central-1",
    ledger: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add a line of JSON for each frame that the stream has taken.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and nothing else.")] = False,
) -> None:
    """Sends each SOURCE's frames until it ends, or until Ctrl-C; then sends what is queued.

    Frames of a file are never dropped. A camera's oldest frame gives way when the stream is slower than it.
    """
    with _one_line_errors():
        names = _source_ids(sources, source_id or [])
        wanted = _wanted_fps(fps)
        opened = [open_source(text, wanted if isinstance(wanted, float) else 0) for text in sources]
        kinesis = client(endpoint_url, region)
        encoder = Encoder(quality, width, record_limit(kinesis, stream))
        wake = threading.Event()
        lanes = []
        for name, source in zip(names, opened, strict=True):
            gate = ChangeGate() if on_change else None
            rate = choose_rate(source, wanted)
            lanes.append(Lane(name, source, encoder, wake=wake, rate=rate, limit=limit, loop=loop, gate=gate))
        started = time.monotonic()
        for lane in lanes:
            lane.start()
        with ExitStack() as stack:
            accepted = stack.enter_context(Ledger(ledger)) if ledger else None
            stack.enter_context(_interruptible(lanes))
            stack.enter_context(Progress(lanes, quiet=as_json))
            Sender(kinesis, stream, lanes, wake, accepted).run()
        seconds = time.monotonic() - started
        if as_json:
            print(json.dumps(summary(lanes, seconds, stream)))
        else:
            Console().print(table(lanes, seconds))
        for lane in lanes:
            if lane.error:
                raise lane.error
        if any(lane.counts.refused for lane in lanes):
            _fail("frames were refused: too large for a record at any quality and size", 7)
        if not all(lane.complete or lane.live for lane in lanes):
            raise typer.Exit(INTERRUPTED)


def _wanted_fps(text: str | None) -> float | Literal["auto"] | None:
    if text is None:
        return None
    if text == "auto":
        return "auto"
    try:
        fps = float(text)
    except ValueError:
        fps = -1
    if not 0 <= fps <= MAX_FPS:
        _fail(f"--fps {text}: a number from 0 to {MAX_FPS}, or auto", 2)
    return fps


def _source_ids(texts: list[str], ids: list[str]) -> list[str]:
    if ids and len(ids) != len(texts):
        _fail(f"{len(ids)} times --source-id for {len(texts)} SOURCEs: give one for each, or none", 2)
    names = list(ids)
    if not ids:
        for text in texts:
            name, number = source_name(text), 2
            while name in names:
                name, number = f"{source_name(text)}-{number}", number + 1
            names.append(name)
    if len(set(names)) != len(names):
        _fail("--source-id: the same id twice", 2)
    for name in names:
        try:
            check_source(name)
        except FrameError as error:
            _fail(f"--source-id: {error.detail}", 2)
    return names


@app.command("list")
def list_devices(as_json: Annotated[bool, typer.Option("--json", help="Print a list for machines.")] = False) -> None:
    """Lists the webcams of this machine, by the index that `send` knows them by."""
    with _one_line_errors():
        found = devices()
    if as_json:
        print(json.dumps([asdict(device) for device in found]))
    elif not found:
        print("no webcams found; files, folders, network cameras and `demo` need none")
    for device in found if not as_json else ():
        print(f"{device.index}  {device.name}")


@contextmanager
def _interruptible(lanes: list[Lane]) -> Iterator[None]:
    """Has Ctrl-C end the captures, and a second one the process."""

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        for lane in lanes:
            lane.request_stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except ProducerError as error:
        _fail(str(error), error.exit_status)


def _fail(text: str, status: int) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    raise typer.Exit(status)
