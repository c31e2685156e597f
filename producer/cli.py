"""The command line: `producer send SOURCE… --stream NAME`."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from cloud import outputs
from contract.errors import FrameError
from contract.frame import check_source
from producer.encoding import Encoder
from producer.errors import ProducerError, SourceError, UnreachedError
from producer.kinesis import connect, record_limit
from producer.knock import Knock
from producer.lane import Lane, describe
from producer.ledger import Ledger
from producer.motion import ChangeGate
from producer.picture import Source
from producer.progress import Progress, summary, table
from producer.rate import choose_rate
from producer.sender import Sender
from producer.sources import away_source, open_source, source_name
from producer.stopping import DRAIN_SECONDS, INTERRUPTED, signals
from producer.webcam import devices
from terminal.text import plain

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

MAX_FPS = 1000
# A camera that is read notices within a frame that it should stop.
LEAVE_SECONDS = 0.6

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
5 unreadable source, or pictures of one, or a camera never reached or away at the end ·
6 service out of reach · 7 frames refused as too large ·
130 (Ctrl-C) or 143 (SIGTERM) before a file's end, or with frames that the stream did not take in a second
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
    signals.take()


@app.command(epilog=EPILOG, rich_help_panel=None)
def send(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A video file, a folder or glob of images, a webcam's index, an RTSP or HTTP URL of a camera or a "
            "film, or `demo` (`demo:3` for another street).",
        ),
    ],
    stream: Annotated[str, typer.Option(envvar="KINESIS_STREAM_NAME", help="The stream's name.")],
    from_outputs: FromOutputs = None,
    source_id: Annotated[
        list[str] | None,
        typer.Option(
            help="A source's id, once for each SOURCE; also its partition key. Default: from its name; "
            "of a URL, its host and a hash."
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="FPS|auto",
            help="Frames a second; 0: as fast as they come; auto: fewer while the stream cannot take them. "
            "Default: a video's own, where a gap lasts a second at most, or a camera's own.",
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
        str | None,
        typer.Option(help="Of a Kinesis that is not on AWS. Default: the SDK's variables, as AWS_ENDPOINT_URL."),
    ] = None,
    region: Annotated[
        str, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="The stream's region.")
    ] = "eu-central-1",
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add a line of JSON for each frame that the stream has, or may have, taken."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, and nothing else.")] = False,
) -> None:
    """Sends each SOURCE's frames until it ends, or until Ctrl-C or SIGTERM; then, for a second, what is queued.

    A file's frames are never dropped. When the stream is slower than a camera, the camera's oldest frame is dropped.
    """
    with _one_line_errors():
        names = _source_ids(sources, source_id or [])
        wanted = _wanted_fps(fps)
        fps_of_demo = wanted if isinstance(wanted, float) else 0
        lanes = list[Lane]()
        progress = Progress(lanes, quiet=as_json)
        opened = _open_all(dict(zip(names, sources, strict=True)), fps_of_demo, progress.tell)
        kinesis = connect(endpoint_url, region)
        encoder = Encoder(quality, width, record_limit(kinesis, stream))
        wake = threading.Event()
        for name, source in zip(names, opened, strict=True):
            gate = ChangeGate() if on_change else None
            rate = choose_rate(source, wanted)
            lane = Lane(
                name, source, encoder, wake=wake, rate=rate, limit=limit, loop=loop, gate=gate, tell=progress.tell
            )
            lanes.append(lane)
        with ExitStack() as stack:
            accepted = stack.enter_context(Ledger(ledger, progress.tell)) if ledger else None
            knock = stack.enter_context(Knock(kinesis, stream, progress.tell))
            unanswered = accepted.unanswered if accepted else lambda _: None
            sender = Sender(kinesis, stream, lanes, wake, accepted, progress.tell, knock.flowing, unanswered)
            stack.enter_context(signals.stopping(partial(_stop, sender, lanes)))
            started = time.monotonic()
            ended_by = _run(sender, lanes, progress)
            seconds = time.monotonic() - started
            try:
                if as_json:
                    print(json.dumps(summary(lanes, seconds, stream)), flush=True)
                else:
                    Console().print(table(lanes, seconds))
            finally:  # what has become of the frames weighs more than what has become of the output
                _end(lanes, ended_by)


def _run(sender: Sender, lanes: list[Lane], progress: Progress) -> ProducerError | None:
    """Sends until nothing is left; gives what has ended it before."""
    try:
        sender.connect()
        for lane in lanes:
            lane.start()
        with progress:
            sender.run()
    except ProducerError as error:
        return error
    except Exception as error:
        return ProducerError(describe(error))
    finally:
        _leave(lanes)
        for lane in lanes:
            lane.close()
    return None


def _end(lanes: list[Lane], ended_by: ProducerError | None) -> None:
    """Ends the process with the status of what has become of the lanes."""
    for reason in (ended_by, *(lane.error for lane in lanes)):
        if reason:
            raise reason
    for word, cameras in (
        ("never reached", [lane.source_id for lane in lanes if lane.absent]),
        ("away at the end", [lane.source_id for lane in lanes if lane.away and not lane.absent]),
    ):
        if cameras:
            _fail(f"{', '.join(cameras)}: {word}", SourceError.exit_status)
    if broken := sum(lane.counts.broken for lane in lanes if not lane.live):
        _fail(f"{broken} pictures cannot be read: they are named above", SourceError.exit_status)
    if any(lane.counts.refused for lane in lanes):
        _fail("frames were refused: too large for a record at any quality and size", 7)
    unsent = sum(lane.counts.unsent for lane in lanes)
    if unsent or not all(lane.complete or lane.live for lane in lanes):
        status = 128 + signals.received if signals.received else INTERRUPTED
        if unsent:
            unanswered = sum(lane.counts.unanswered for lane in lanes)
            but = f"; {unanswered} of them it may have taken, without an answer" if unanswered else ""
            _fail(f"{unsent} frames were not sent: the stream did not take them in time{but}", status)
        raise typer.Exit(status)


def _stop(sender: Sender, lanes: list[Lane]) -> None:
    """Ends the captures, and soon the sending."""
    for lane in lanes:
        lane.request_stop()
    sender.finish_within(DRAIN_SECONDS)


def _leave(lanes: list[Lane]) -> None:
    """Gives captures a moment to end; one that hangs is left behind."""
    until = time.monotonic() + LEAVE_SECONDS
    for lane in lanes:
        lane.request_stop()
    for lane in lanes:
        lane.wait(max(0.0, until - time.monotonic()))


def _open_all(sources: dict[str, str], fps: float, tell: Callable[[str], None]) -> list[Source]:
    """Opens each SOURCE. A camera that cannot be reached stops no other: it is told, and tried again.

    Raises:
        SourceError: If anything else cannot be opened, or no camera can be reached and there is nothing else.
    """
    opened = list[Source]()
    failed: SourceError | None = None
    for name, text in sources.items():
        try:
            opened.append(open_source(text, fps))
        except UnreachedError as error:
            camera = away_source(text)
            if camera is None:
                raise
            failed = SourceError(f"{name}: {error}")  # a URL is named by its id, for little of it may be shown
            opened.append(camera)
            if len(sources) > 1:
                tell(f"{failed}; it is tried again")
    if failed and all(source.away for source in opened):
        raise failed
    if len(opened) > 1:
        # They decode beside each other: a decoder with threads for all cores would only hold more pictures.
        for source in opened:
            source.threads = max(1, (os.cpu_count() or 1) // len(opened))
    return opened


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
    """Lists the webcams of this machine by the index that `send` takes."""
    with _one_line_errors():
        found = devices()
    if as_json:
        print(json.dumps([asdict(device) for device in found]))
    elif not found:
        print("no webcams found; files, folders, network cameras and `demo` need none")
    for device in found if not as_json else ():
        print(f"{device.index}  {device.name}")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except ProducerError as error:
        _fail(str(error), error.exit_status)


def _fail(text: str, status: int) -> NoReturn:
    print(f"error: {plain(text)}", file=sys.stderr)
    raise typer.Exit(status)
