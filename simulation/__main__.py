"""Replays every shape of traffic through a stack's policies; prints a table and draws a chart.

python -m simulation --environment prod --chart docs/scaling.png
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from simulation import fleet
from simulation.policies import Scaling
from simulation.run import Outcome, run
from simulation.traffic import SHAPES, Shape, last_moment
from stacks.config import Config, ConfigError

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Gives 0 if no record waited past its retention, nothing flapped and no task was stopped while behind; else 1."""
    parser = argparse.ArgumentParser(prog="simulation", description="traffic through the stack's scaling policies")
    parser.add_argument("--environment", default="prod", help="default: prod, which has four shards")
    parser.add_argument("--cameras", type=int, help="instead of an environment, a stack for so many, 5 frames/s each")
    parser.add_argument("--chart", type=Path, help="draw it into this PNG or SVG file")
    args = parser.parse_args()
    try:
        if args.cameras:
            config = fleet.config(args.cameras)
            outcomes = simulate(config, fleet.shapes(args.cameras))
        else:
            config = Config.read(ROOT / "environments" / f"{args.environment}.toml")
            outcomes = simulate(config)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console(width=120).print(table(config, outcomes))
    if args.chart:
        from simulation.chart import draw

        draw(config, outcomes, args.chart)
    retention = config.stream.retention_hours * 3600
    return int(any(o.worst_lag > retention or o.unread or o.flaps or o.stopped_behind for o in outcomes))


def simulate(config: Config, shapes: Sequence[Shape] = SHAPES) -> list[Outcome]:
    """Simulates every shape with the policies of the synthesised stack."""
    scaling, shards, cpu = Scaling.from_stack(synthesised(config)), config.stream.least_shards, config.service.cpu
    outcomes = [run(scaling, shape, shards, cpu) for shape in shapes]
    # Ten seconds of frames that begin just after the last task's last read, in the same minute.
    sleeps = [c.minute for c in run(scaling, last_moment(1e9), shards, cpu).changes if c.after == 0]
    if sleeps:
        outcomes.append(run(scaling, last_moment(sleeps[0] * 60 + 20), shards, cpu))
    return outcomes


def synthesised(config: Config) -> dict[str, Any]:
    """The stack's JSON."""
    from stacks.app import synthesise

    with TemporaryDirectory() as folder:
        stack: dict[str, Any] = json.loads((synthesise(config, "sim", None, Path(folder)) / "cdk.tf.json").read_text())
    return stack


def table(config: Config, outcomes: list[Outcome]) -> Table:
    """A table with a row for each shape."""
    made = Table(
        "traffic", "hours", "most tasks", "worst lag", "unread", "flaps", "stopped behind", "task hours", "cost"
    )
    for outcome in outcomes:
        made.add_row(
            outcome.shape.name,
            f"{outcome.shape.hours:g}",
            str(max(desired for _, desired, _, _ in outcome.minutes)),
            f"{outcome.worst_lag / 60:.1f} min",
            f"{outcome.unread:.0f}",
            str(outcome.flaps),
            str(len(outcome.stopped_behind)),
            f"{outcome.task_hours:.1f}",
            f"${outcome.cost(config.service.cpu, config.service.memory):.2f}",
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
