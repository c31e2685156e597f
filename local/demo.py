"""`make demo`: the whole pipeline with real processes on an embedded AWS.

producer CLI → Kinesis (2 shards) → KCL MultiLangDaemon → YOLOv8 → S3 and SQS → consumer CLI

On a terminal it goes on until Ctrl-C or for five minutes; elsewhere for a number of frames. Exit status: 0 where every
frame that was sent came, after Ctrl-C too; 1 where one was lost or something failed; 130 where Ctrl-C came before there
was anything to sum up, or a second one cut the wait for the last frames short.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from local import models, streets
from local.arrivals import contact_sheet
from local.interrupts import STATUS, Interrupts
from local.processes import ROOT, Aws, Process, Worker
from local.resources import Resources
from local.showing import HEADER, Footer, follow, step_on
from local.wanted import FPS, Wanted, choose_rate, native_rate, producer_arguments
from producer.errors import SourceError

SHARDS: Final = 2
# A process that ends is noticed at once; one that is slow may take its time.
START_SECONDS: Final = 300.0
# Of each source, where nobody watches.
FRAMES: Final = 160
WIDTH: Final = 80
console = Console(highlight=False)
console.width = min(WIDTH, console.width)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="an ONNX export; default: models/yolov8n.onnx, else the demo model")
    parser.add_argument("--source", help="what `producer send` takes; default: two drawn streets")
    parser.add_argument(
        "--fps", type=float, help=f"frames a second of each source; default: a film's own, else {FPS:g}"
    )
    parser.add_argument(
        "--frames", type=int, help=f"of each source; default: {FRAMES}, on a terminal until Ctrl-C or for five minutes"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "demo-output")
    args = parser.parse_args()
    frames = args.frames or (None if sys.stdout.isatty() else FRAMES)
    with Interrupts() as interrupts:
        try:
            if args.model and not args.model.is_file():
                raise RuntimeError(f"{args.model}: no such file; `make model` exports models to models/")
            native = native_rate(args.source)
            wanted = Wanted(args.model or default_model(), args.source, native, args.fps, frames, args.output)
            return run(wanted, interrupts)
        except Exception as error:
            # What a signal has ended fails in many ways; by now all of it is stopped.
            if interrupts.count:
                console.print("stopped; everything is shut down")
                return STATUS
            if isinstance(error, RuntimeError | SourceError):
                console.print(Text.assemble(("error: ", "red"), str(error)))
                return 1
            raise


def default_model() -> Path:
    """An exported YOLOv8n if there is one, else the demo model; says which."""
    model = models.at_hand()
    if model == models.DEMO:
        console.print(
            "[yellow]Model:[/yellow] the built-in demo model, trained on drawn streets only.\n"
            "The real YOLOv8n: [bold]make model SIZE=n[/bold], or [bold]make demo MODEL=path.onnx[/bold]."
        )
    return model


def run(wanted: Wanted, interrupts: Interrupts) -> int:
    """Runs the demo; gives its exit status.

    Raises:
        RuntimeError: If a part of it ends.
        InterruptionError: If a signal has come before the first frame was sent.
    """
    wanted.output.mkdir(parents=True, exist_ok=True)
    log = wanted.output / "worker.log"
    log.unlink(missing_ok=True)
    started = time.monotonic()
    step("Starting an embedded AWS")
    with Aws(log=wanted.output / "aws.log") as aws:
        interrupts.check()
        with interrupts.patience():
            resources = Resources.create(aws.url, shards=SHARDS)
            if wanted.source is None:
                streets.configure(resources)
        interrupts.check()
        say(f"endpoint {aws.url}   stream {resources.stream}")
        step(f"Starting the worker ({wanted.model.name}): JVM, leases, model, some 10 s")
        environment = resources.environment() | {
            "YOLO_MODEL_PATH": str(wanted.model.resolve()),
            "METRICS_SECONDS": "5",
        }
        with Worker(environment, log) as worker:
            interrupts.check()
            worker.wait_for(lambda: reads(worker), f"read of {SHARDS} shards")
            say(f"ready after {time.monotonic() - started:.1f} s   http://127.0.0.1:{worker.health_port()}/status")
            fps, reduced = choose_rate(wanted, worker.log())
            if reduced:
                say(f"{fps:g} frames/s of each source, as this machine takes them (FPS={FPS:g} forces {FPS:g})")
            status = watch(resources, environment, wanted, fps, interrupts)
            step("Stopping the worker: it finishes what is in flight and checkpoints")
    say(f"log of the worker: {near(log)}")
    return status


def reads(worker: Worker) -> bool:
    """Whether the worker has read from each shard; its model is warm before it takes any."""
    shards = worker.get("/status")[1]["shards"]
    return len(shards) >= SHARDS and all(shard["reads"] for shard in shards)


def watch(
    resources: Resources, environment: dict[str, str], wanted: Wanted, fps: float | None, interrupts: Interrupts
) -> int:
    """Sends frames and shows results until each has come or is lost; gives the exit status."""
    step("Starting consumer and producer")
    with Process("consumer", "web", "--port", "0", "--json", env=environment) as consumer:
        if not (first := consumer.line(START_SECONDS)):
            raise RuntimeError("the consumer ended")
        address = json.loads(first)["address"]
        interrupts.check()
        say(f"live page: [bold]{address}[/bold]")
        console.print(HEADER)
        with (
            Process("producer", *producer_arguments(wanted, fps), env=environment) as producer,
            interrupts.patience(),
            Footer(console, address, shown=wanted.frames is None) as footer,
        ):
            account = follow(console, consumer, producer, resources, interrupts, footer)
        if not account.sent:
            interrupts.check()
        console.print()
        console.print(account.table())
        if contact_sheet(resources, account.arrivals, wanted.output / "frames.jpg"):
            say(f"annotated frames: {near(wanted.output / 'frames.jpg')}")
        if events := streets.happened(resources):
            say(f"events {streets.in_words(events)}")
            if streets.film(resources, events, wanted.output / "event.mp4"):
                say(f"film of the longest: {near(wanted.output / 'event.mp4')}")
    if not account.waited:
        return STATUS
    return 1 if account.missing or not account.arrivals.results else 0


def near(path: Path) -> str:
    """A path as it is best typed from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def step(text: str) -> None:
    step_on(console, text)


def say(text: str) -> None:
    console.print(f"  [dim]{text}[/dim]", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
