"""Sources under whose name several producers send at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from itertools import pairwise

from contract.errors import FrameError
from contract.frame import Frame
from doctor.finding import Finding
from doctor.latest import RECENT_MINUTES, Latest


def sources(recent: Latest) -> Finding:
    """Whether each source's latest frames come from one producer."""
    seen: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for _, records in recent:
        for record in records:
            with suppress(FrameError):
                if metadata := Frame.parse(record["Data"]).metadata:
                    seen[metadata.source].append((record["ApproximateArrivalTimestamp"], metadata.session))
    shared = sorted(name for name, frames in seen.items() if take_turns([session for _, session in sorted(frames)]))
    if not shared:
        return Finding("sources", "well", f"{len(seen)} sources of the last {RECENT_MINUTES} minutes, a producer each")
    says = f"several producers send as {', '.join(shared)} at a time; each has tracks of its own"
    return Finding("sources", "unsure", says, "another --source-id for each of them")


def take_turns(sessions: Sequence[str]) -> bool:
    """Whether a session comes back after another one; a producer that was started again does not."""
    return sum(one != other for one, other in pairwise(sessions)) >= len(set(sessions)) > 1
