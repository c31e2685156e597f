"""What the demo looks for in its drawn streets, and what it shows of what has happened there."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from consumer.bucket import Bucket
from consumer.clips.film import write_film
from consumer.clips.shots import Window
from consumer.clips.stored import stored_shots
from consumer.errors import ConsumerError
from consumer.events import EventIndex, Wanted
from contract.event import EventMessage
from local.resources import Resources

SOURCES: Final = ("street-1", "street-2")
# The pavement in front, and a line across the street: who walks or drives to the right goes in.
SETTINGS: Final[dict[str, Any]] = {
    "tracking": True,
    "zones": [{"name": "pavement", "polygon": [[0.02, 0.72], [0.98, 0.72], [0.98, 0.98], [0.02, 0.98]]}],
    "lines": [{"name": "middle", "start": [0.5, 0.98], "end": [0.5, 0.4]}],
    "events": [
        {"name": "pedestrian", "kind": "appear", "classes": ["person"], "zone": "pavement"},
        {"name": "passage", "kind": "cross", "line": "middle"},
    ],
}
BEFORE_SECONDS: Final = 2.0


def configure(resources: Resources, *sources: str) -> None:
    """Puts the streets' settings where the worker reads them."""
    for source in sources or SOURCES:
        resources.configure(source, json.dumps(SETTINGS))


def happened(resources: Resources) -> list[EventMessage]:
    """The events of the last hours, by their start."""
    now = datetime.now(UTC)
    return list(EventIndex(_bucket(resources)).events(Wanted(now - timedelta(hours=2), now)))


def in_words(events: list[EventMessage]) -> str:
    """Such as `12: passage 9, pedestrian 3`."""
    rules = Counter(event.rule for event in events)
    return f"{len(events)}: " + ", ".join(f"{rule} {number}" for rule, number in sorted(rules.items()))


def film(resources: Resources, events: list[EventMessage], path: Path) -> bool:
    """Films the event with the most frames; False if there is none to film."""
    ended = [event for event in events if event.phase == "end"]
    if not ended:
        return False
    event, bucket = max(ended, key=lambda event: event.frames), _bucket(resources)
    try:
        write_film(path, stored_shots(bucket, event, Window.around(event, BEFORE_SECONDS, BEFORE_SECONDS)))
    except ConsumerError:  # it is only shown
        return False
    return True


def _bucket(resources: Resources) -> Bucket:
    return Bucket(resources.client("s3"), resources.bucket)
