"""A chart of the outcomes, with a column for each shape of traffic."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from simulation.run import Outcome
from stacks.config import Config


def draw(config: Config, outcomes: list[Outcome], path: Path) -> None:
    """Draws traffic, tasks and lag over time, with the cost as the title."""
    rows = ("frames/s", "tasks", "lag, minutes")
    figure, axes = pyplot.subplots(
        len(rows), len(outcomes), figsize=(3.2 * len(outcomes), 6), sharex="col", squeeze=False, layout="constrained"
    )
    for column, outcome in enumerate(outcomes):
        hours = [minute / 60 for minute in range(len(outcome.minutes))]
        incoming, desired, running, lag = zip(*outcome.minutes, strict=True)
        traffic, tasks, lags = (axes[row][column] for row in range(len(rows)))
        cost = outcome.cost(config.service.cpu, config.service.memory)
        traffic.set_title(f"{outcome.shape.name}\n{outcome.task_hours:.1f} task hours, ${cost:.2f}", fontsize=9)
        traffic.fill_between(hours, incoming, step="post", color="#8fb8de")
        traffic.set_ylim(bottom=0)
        tasks.step(hours, desired, where="post", color="#888888", label="desired")
        tasks.fill_between(hours, running, step="post", color="#f0b35f", label="running")
        tasks.set_ylim(0, max(config.max_tasks, 1) + 0.5)
        lags.fill_between(hours, [seconds / 60 for seconds in lag], color="#d46a6a")
        lags.set_xlabel("hours")
        for row, label in enumerate(rows):
            axes[row][column].grid(alpha=0.3)
            if column == 0:
                axes[row][column].set_ylabel(label)
    axes[1][0].legend(fontsize=8)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
