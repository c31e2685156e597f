"""What a frame shows, in the words of events and tallies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from contract.geometry import inside
from contract.source_settings import SourceSettings
from kcl_worker.tracking.events import Mark, Sight, Thing
from kcl_worker.tracking.geometry import feet
from kcl_worker.tracking.scene import Shot, Traced
from kcl_worker.tracking.snapshots import Moment
from kcl_worker.tracking.tally import Counted


def sight_of(
    shot: Shot, moment: Moment, clock: float, traced: Traced, settings: SourceSettings, class_names: Sequence[str]
) -> Sight:
    """The objects that a frame shows, or that are tracked though it shows them badly: an event goes on through them."""
    if not settings.events:
        return Sight(mark_of(shot, moment, clock), ())
    candidates, width, height = shot.candidates, shot.width, shot.height
    places = feet(candidates, width, height)
    shown = set(shot.shown)
    things = []
    for number, (x1, y1, x2, y2) in enumerate(candidates.xyxy.tolist()):
        track = traced.ids[number] if traced.ids else None
        if number not in shown and track is None:
            continue
        confidence = float(candidates.confidence[number])
        area = max(0.0, (x2 - x1) * (y2 - y1)) / (width * height)
        sharpness = shot.sharpness[number] if shot.sharpness else 1.0
        things.append(
            Thing(
                class_name=class_names[int(candidates.class_id[number])],
                conf=round(confidence, 4),
                bbox=bbox_of((x1, y1, x2, y2), width, height),
                track=track,
                zones=frozenset(zone.name for zone in settings.zones if inside(places[number], zone.polygon)),
                # Large, certain and sharp: the geometric mean of an object's size (its side, not its area), confidence
                # and sharpness, up to a root that changes no order.
                score=math.sqrt(area) * confidence * sharpness,
            )
        )
    return Sight(mark_of(shot, moment, clock), things, traced.crossings)


def mark_of(shot: Shot, moment: Moment, clock: float) -> Mark:
    """The frame, as events refer to it."""
    return Mark(
        clock=clock,
        frame_id=shot.frame_id,
        captured_at=shot.captured_at,
        key=shot.key,
        shown=bool(shot.shown),
        shard_id=moment.shard_id,
        sequence_number=moment.sequence,
    )


def counted_of(
    shot: Shot, moment: Moment, traced: Traced, settings: SourceSettings, class_names: Sequence[str], stored: bool
) -> Counted:
    """What a frame adds to its minute's tally."""
    shown = shot.candidates[np.array(shot.shown, np.intp)]
    places = feet(shown, shot.width, shot.height)
    return Counted(
        shard_id=moment.shard_id,
        frame_id=shot.frame_id,
        session=shot.session,
        index=shot.index,
        arrived=moment.arrived,
        stored=stored,
        classes=dict(Counter(class_names[class_id] for class_id in shown.class_id.tolist())),
        zones={zone.name: sum(inside(place, zone.polygon) for place in places) for zone in settings.zones},
        lines={line.name: (line.inward, line.outward) for line in traced.lines},
        latency_ms=max(0, shot.latency_ms),
    )


def bbox_of(xyxy: Sequence[float], width: int, height: int) -> tuple[float, float, float, float]:
    """A box as messages state it: x, y, width, height as fractions of the picture, clipped to it."""
    x1, y1, x2, y2 = xyxy
    x, y, w, h = (
        min(1.0, max(0.0, round(value, 6)))
        for value in (x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)
    )
    return x, y, w, h
