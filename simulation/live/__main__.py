"""`make scale-demo`: the stack's scaling policies start and stop real workers on an embedded AWS, in compressed time.

Exit status: 0 where every frame has its outcome, no task ended by itself, and tasks went from none to several to none;
1 where not; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from local.interrupts import STATUS, Interrupts
from local.processes import ROOT, Aws
from local.rig import Rig
from local.showing import step_on
from simulation.__main__ import synthesised
from simulation.live.comparison import Course, course, forecast, report, table
from simulation.live.plan import BEGINS, SPEED, Measured, Plan
from simulation.live.quota import Quota
from simulation.live.rehearsal import Moment, Rehearsal, Rehearsed
from simulation.policies import MINUTE, Scaling
from stacks.config import Config, ConfigError
from stacks.names import Names
from stacks.service import STOP_TIMEOUT_MARGIN_SECONDS

LOGS: Final = ROOT / "demo-output" / "scale"
console = Console(highlight=False, stderr=True, width=100)


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation.live", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--environment", default="prod", help="default: prod, which has four shards")
    parser.add_argument("--speed", type=float, default=SPEED, help=f"of CloudWatch's clock; default: {SPEED:g}")
    parser.add_argument("--chart", type=Path, help="draw it into this PNG or SVG file")
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON")
    args = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        parser.error("needs Linux: a task's share of a processor is measured in /proc")
    with Interrupts() as interrupts:
        try:
            config = Config.read(ROOT / "environments" / f"{args.environment}.toml")
            return rehearse(config, args.speed, interrupts, args.chart, as_json=args.json)
        except ConfigError as error:
            console.print(f"error: {error}")
            return 2
        except Exception:
            # What a signal has ended fails in many ways; by now all of it is stopped.
            if not interrupts.count:
                raise
            console.print("stopped; everything is shut down")
            return STATUS


def rehearse(config: Config, speed: float, interrupts: Interrupts, chart: Path | None, *, as_json: bool) -> int:
    """Measures a task, forecasts, rehearses, compares; gives the exit status.

    Raises:
        InterruptionError: If a signal has come.
    """
    started, load = time.monotonic(), os.getloadavg()[0]
    if load > (cores := os.cpu_count() or 1):
        console.print(
            f"[yellow]this machine is busy: a load of {load:.1f} on {cores} processors; tasks may get too little"
        )
    step("Synthesising the stack's policies, starting an embedded AWS")
    scaling = Scaling.from_stack(synthesised(config))
    grace = config.service.shutdown_grace_seconds
    plan = Plan(config.stream.least_shards, speed, stop_seconds=grace + STOP_TIMEOUT_MARGIN_SECONDS)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    with (
        Quota(plan.cores) as quota,
        Aws(log=LOGS / "aws.log") as aws,
        Rig(aws.url, LOGS, shards=plan.shards, environment=plan.environment(), name=Names(config).stream) as rig,
    ):
        interrupts.check()
        rehearsal = Rehearsal(plan, scaling, rig, quota, interrupts, show)
        step("Measuring a task")
        measured = rehearsal.measure()
        foreseen = forecast(plan, scaling, measured)
        say(plan, measured, foreseen)
        step(f"A burst of {plan.load:g} times what a task can do; a minute of CloudWatch's takes {MINUTE / speed:g} s")
        rehearsed = rehearsal.run(measured)
    tell(rehearsed)
    if not rehearsed.captured:
        return 1
    seen = course(rehearsed)
    console.print(table(foreseen, seen))
    if chart:
        from simulation.live.chart import draw

        draw(foreseen, seen, rehearsed, chart)
    if as_json:
        print(json.dumps({"load_average": load} | report(measured, rehearsed, foreseen, seen)))
    console.print(f"took {time.monotonic() - started:.0f} s; logs: {LOGS.relative_to(ROOT)}")
    return 0 if rehearsed.succeeded(scaling) else 1


def show(moment: Moment) -> None:
    """A line for each minute."""
    if moment.second % MINUTE == 0:
        bars = "█" * moment.reading + "░" * (moment.desired - moment.reading)
        owners = len({owner for owner in moment.owners.values() if owner})
        minute = (moment.second - int(BEGINS)) // MINUTE
        console.print(f"  {minute:3} min  tasks {bars:<6} {owners} with leases, {moment.said_lag:4.0f} s behind")


def say(plan: Plan, measured: Measured, foreseen: Course) -> None:
    """What is expected."""
    console.print(
        f"  a task starts in {measured.start_seconds:g} s and takes {measured.frames_per_second:g} frames/s with "
        f"{plan.cores:g} of a processor\n  forecast: {foreseen.figures['most tasks']:g} tasks at the most, "
        f"{foreseen.figures['worst lag, s']:g} s behind"
    )


def tell(rehearsed: Rehearsed) -> None:
    """What came of it beside the figures."""
    for change in rehearsed.changes:
        at = (change.second - BEGINS) / MINUTE
        console.print(f"  {at:5.1f} min  {change.before} to {change.after}: {change.by.removeprefix('scaling-')}")
    findings = rehearsed.findings
    console.print(
        f"audit: {findings.accepted} frames, {len(findings.problems)} problems, {findings.duplicates} repeated; "
        f"{rehearsed.moves} moves of leases; tasks that ended by themselves: {rehearsed.exits or 'none'}"
    )
    for problem in findings.problems[:10]:
        console.print(f"  {problem}")


def step(text: str) -> None:
    step_on(console, text)


if __name__ == "__main__":
    sys.exit(main())
