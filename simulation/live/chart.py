"""A chart of what was measured over what was forecast."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from simulation.live.comparison import Course
from simulation.live.plan import BEGINS
from simulation.live.rehearsal import Rehearsed
from simulation.policies import MINUTE


def draw(foreseen: Course, seen: Course, rehearsed: Rehearsed, path: Path) -> None:
    """Draws traffic, tasks and lag by CloudWatch's clock into a PNG or SVG file."""
    rows = ("frames a minute", "tasks", "lag, minutes")
    figure, axes = pyplot.subplots(len(rows), figsize=(8, 7), sharex=True, layout="constrained")
    traffic, tasks, lags = axes
    length = len(seen.minutes)
    minutes, expected = range(length), foreseen.minutes[:length]
    incoming, _, _, expected_lag = zip(*expected, strict=True)
    forecast = {"color": "#333333", "linestyle": "--", "linewidth": 1.2, "label": "forecast"}
    traffic.fill_between(minutes, [m[0] * MINUTE for m in seen.minutes], step="post", color="#8fb8de", label="measured")
    traffic.step(minutes, [rate * MINUTE for rate in incoming], where="post", **forecast)
    traffic.legend(fontsize=8)
    times = [(moment.second - BEGINS) / MINUTE for moment in rehearsed.moments]
    tasks.fill_between(times, [m.reading for m in rehearsed.moments], step="post", color="#f0b35f", label="reading")
    tasks.step(times, [m.desired for m in rehearsed.moments], where="post", color="#a86b12", label="wanted")
    tasks.step(minutes, [m[2] for m in expected], where="post", **forecast)
    tasks.set_ylim(bottom=0, top=max(m[1] for m in [*expected, *seen.minutes]) + 1)
    tasks.legend(fontsize=8)
    for change in rehearsed.changes:
        place = (change.second - BEGINS) / MINUTE
        name = change.by.removeprefix("scaling-")
        tasks.annotate(name, (place, max(change.before, change.after)), (0, 4), textcoords="offset points", fontsize=8)
    lags.fill_between(times, [rehearsed.lag(m.second) / MINUTE for m in rehearsed.moments], color="#d46a6a")
    lags.plot(
        times, [m.said_lag / MINUTE for m in rehearsed.moments], color="#7a1f1f", linewidth=0.8, label="workers' word"
    )
    lags.plot([minute + 1 for minute in minutes], [lag / MINUTE for lag in expected_lag], **forecast)
    lags.legend(fontsize=8)
    lags.set_xlabel(f"minutes of CloudWatch's clock, {MINUTE / rehearsed.plan.speed:g} s each")
    for axis, label in zip(axes, rows, strict=True):
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
