"""The command line: `python -m doctor`, `make doctor`."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from cloud import outputs
from contract.source_settings import SourceSettings
from doctor.checks import all_checks, credentials
from doctor.finding import Finding
from doctor.place import HopError, Place
from doctor.quotas import Needs, NeedsError, quotas
from doctor.trace import trace
from terminal.streams import guarded
from terminal.text import plain

MARKS = {"well": "[green]✓[/green]", "unsure": "[yellow]?[/yellow]", "wrong": "[red]✗[/red]", "skipped": "[dim]-[/dim]"}
EXAMPLES = """
examples:
  python -m doctor --from-outputs outputs.json     # what `make -s outputs > outputs.json` wrote
  python -m doctor --worker-url http://127.0.0.1:8080 --json | jq '.[] | select(.verdict == "wrong")'

exit status: 0 all is well · 1 something is wrong · 2 wrong usage · 130 Ctrl-C
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="doctor",
        description="Checks the pipeline hop by hop, says what to do, then follows one frame through it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from-outputs", type=Path, metavar="FILE", help="names from what `make outputs` printed")
    parser.add_argument("--worker-url", metavar="URL", help="of a worker's port, where it can be reached")
    parser.add_argument(
        "--wait", type=_seconds, default=60.0, metavar="SECONDS", help="for the test frame (default: 60)"
    )
    parser.add_argument("--no-frame", action="store_true", help="send no test frame")
    parser.add_argument("--needs", type=Path, metavar="FILE", help="look at quotas: what `stacks.cli needs` printed")
    parser.add_argument("--preflight", action="store_true", help="with --needs: look at nothing else")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON, and nothing else")
    args = parser.parse_args()
    try:
        if args.from_outputs:
            outputs.into_environment(args.from_outputs)
        needs = Needs.read(args.needs) if args.needs else Needs()
    except outputs.OutputsError as error:
        parser.error(f"--from-outputs: {error}")
    except NeedsError as error:
        parser.error(f"--needs: {error}")
    if args.preflight and not args.needs:
        parser.error("--preflight: --needs is needed")
    try:
        settings = SourceSettings.parse(os.environ.get("SOURCE_DEFAULTS") or "{}")
    except ValueError as error:
        parser.error(f"SOURCE_DEFAULTS: {error}")
    place = Place.from_environment()
    if needs.region:
        place = replace(place, region=needs.region)
    hops = (
        preflight(place) if args.preflight else chain(all_checks(place, args.worker_url), frame(place, settings, args))
    )
    findings = report(chain(hops, quotas(place, needs)), as_json=args.json)
    return int(any(finding.verdict == "wrong" for finding in findings))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: a number of seconds from 0 is allowed")
    return seconds


def preflight(place: Place) -> Iterator[Finding]:
    """What has to be known before the quotas."""
    try:
        yield credentials(place)
    except HopError as error:
        yield error.finding


def frame(place: Place, settings: SourceSettings, args: argparse.Namespace) -> Iterator[Finding]:
    """Follows the test frame, if the user wants one and every needed name is known."""
    if not args.no_frame and place.stream and place.bucket and place.queue:
        yield from trace(place, settings, args.wait)


def report(findings: Iterator[Finding], *, as_json: bool) -> list[Finding]:
    """Prints each finding when it is made, or all findings as JSON."""
    console, made = Console(highlight=False, soft_wrap=True), list[Finding]()
    try:
        for finding in findings:
            made.append(finding)
            if not as_json:
                _show(console, finding)
    finally:  # Ctrl-C leaves what was found so far
        if as_json:
            print(json.dumps([asdict(finding) for finding in made]))
    return made


def _show(console: Console, finding: Finding) -> None:
    after = "" if finding.seconds is None else f"  [dim]after {finding.seconds:.2f} s[/dim]"
    console.print(f"{MARKS[finding.verdict]} {finding.hop:16} {escape(plain(finding.says))}{after}")
    if finding.advice:
        console.print(f"  {'':16} [bold]→ {escape(plain(finding.advice))}[/bold]")


if __name__ == "__main__":
    with guarded():
        sys.exit(main())
