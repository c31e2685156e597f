"""The command `consumer clip`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from consumer import options
from consumer.bucket import Bucket
from consumer.clips.shots import MAX_AROUND_SECONDS, MAX_SECONDS, Shots, Window
from consumer.errors import ConsumerError
from consumer.events import READERS, EventIndex
from consumer.events_cli import read_moment
from consumer.options import (
    EXIT_STATUS,
    EndpointUrl,
    FromOutputs,
    Region,
    SourceDefaults,
    SourcesPath,
    StreamName,
    client,
    fail,
)
from consumer.options import Bucket as BucketName
from consumer.source_settings import SourceParameters
from contract.event import EventMessage

if TYPE_CHECKING:
    from consumer.clips.clipper import Stream
    from consumer.clips.film import Made

EPILOG: Final = f"""[bold]Examples[/bold]

consumer clip 3f9a2b61c0d4e5f6 -o visit.mp4 --from-outputs outputs.json

consumer clip events/2026-01-01/13/door/3f9a2b61c0d4e5f6.json -o visit.mp4 --before 10 --no-boxes
{EXIT_STATUS}"""

Around = Annotated[float, typer.Option(min=0, max=MAX_AROUND_SECONDS, help="Seconds that come along.")]


def clip(
    event: Annotated[str, typer.Argument(help="An event's id, or its key in the bucket, which is found at once.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.mp4", help="The film.")],
    bucket: BucketName,
    from_outputs: FromOutputs = None,
    before: Around = 5,
    after: Around = 5,
    boxes: Annotated[
        bool, typer.Option(help="Stored frames, with what was found drawn; without: the stream's original frames.")
    ] = True,
    since: Annotated[str, typer.Option(help="How far back an id is looked for.")] = "7d",
    stream: StreamName = None,
    sources_path: SourcesPath = None,
    source_defaults: SourceDefaults = "",
    endpoint_url: EndpointUrl = None,
    region: Region = "eu-central-1",
    as_json: Annotated[bool, typer.Option("--json", help="Print what the film holds as JSON.")] = False,
) -> None:
    """Makes a film of the seconds around an event.

    Frames that are not stored are read from the stream for as long as it holds them, if the source's settings hide no
    classes: masked areas are black.
    """
    if output.suffix != ".mp4":
        print(f"error: --output {output}: a name that ends in .mp4 is needed", file=sys.stderr)
        raise typer.Exit(2)
    # Here, as most commands need no OpenCV, which takes as long to load as all of them.
    from consumer.clips.clipper import Stream, shots_of
    from consumer.clips.film import write_film

    now, defaults = datetime.now(UTC), options.source_defaults(source_defaults)
    begin = read_moment("--since", since, now)
    place = Bucket(client("s3", region, endpoint_url=endpoint_url, connections=READERS), bucket)

    def source_of_originals() -> Stream:
        if not stream or not sources_path:
            raise ConsumerError(
                "the frames are not stored: the stream's need --stream and --sources-path, or --from-outputs"
            )
        kinesis, ssm = (client(service, region, endpoint_url=endpoint_url) for service in ("kinesis", "ssm"))
        return Stream(kinesis, stream, SourceParameters(ssm, sources_path, defaults=defaults))

    try:
        found = EventIndex(place).find(event, begin, now + timedelta(hours=1))
        shots = shots_of(place, source_of_originals, found, Window.around(found, before, after), boxes=boxes)
        made = write_film(output, shots)
    except ConsumerError as error:
        fail(error)
    _tell(output, found, shots, made, as_json=as_json)


def _tell(output: Path, event: EventMessage, shots: Shots, made: Made, *, as_json: bool) -> None:
    if as_json:
        counts = {"frames": made.frames, "gone": made.gone, "refused": made.refused}
        length = {"seconds": round(made.seconds, 3), "fps": made.fps}
        print(json.dumps({"event_id": event.event_id, "from": shots.origin, **counts, **length}))
        return
    gone = f", {made.gone} were gone" if made.gone else ""
    refused = f", {made.refused} could not be decoded" if made.refused else ""
    print(f"{output}: {made.seconds:.1f} s, {made.frames} frames from the {shots.origin}{gone}{refused}")
    if made.seconds > MAX_SECONDS - 1:
        print(f"warning: the first {MAX_SECONDS:.0f} seconds only", file=sys.stderr)
