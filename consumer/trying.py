"""What zones and lines would have counted of results that have come already; by the worker's own geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from contract.geometry import Place, inside
from contract.lines import Standing, Step, follow
from contract.shapes import Line, Zone

_ORDER: Final = ("captured_at", "frame_id")


def try_shapes(results: Sequence[Mapping[str, Any]], zones: Sequence[Zone], lines: Sequence[Line]) -> dict[str, Any]:
    """Counts what shapes would have counted.

    An object whose detection is not listed in a frame, because it is too uncertain, is followed by the worker and not
    here; so is one whose frame is not announced.

    Args:
        results: Of one source, in any order, as the page's server keeps them.

    Returns:
        For each line its crossings, for each zone the most objects at once and how many tracks were there, and of how
        many frames and tracks.
    """
    ordered = sorted(results, key=lambda result: tuple(result[name] for name in _ORDER))
    tracks: set[str] = set()
    crossed = {line.name: [0, 0] for line in lines}
    most = {zone.name: 0 for zone in zones}
    visitors: dict[str, set[str]] = {zone.name: set() for zone in zones}
    places: dict[str, Place] = {}
    standings: dict[tuple[str, str], Standing] = {}
    for result in ordered:
        width, height = result["image_width"], result["image_height"]
        found = [(item.get("track_id"), _feet(item["bbox"]), item["bbox"][3] * height) for item in result["summary"]]
        for zone in zones:
            within = [track for track, place, _ in found if inside(place, zone.polygon)]
            most[zone.name] = max(most[zone.name], len(within))
            visitors[zone.name].update(track for track in within if track)
        for track, place, tall in found:
            if track is None:
                continue
            tracks.add(track)
            step = Step(places.get(track), place, tall)
            for line in lines:
                before = standings.get((track, line.name), Standing())
                standings[track, line.name], counted = follow(before, step, line, width, height)
                if counted:
                    crossed[line.name][0 if counted > 0 else 1] += 1
            places[track] = place
    return {
        "frames": len(ordered),
        "tracks": len(tracks),
        "since": ordered[0]["captured_at"] if ordered else None,
        "lines": [{"name": name, "in": inward, "out": outward} for name, (inward, outward) in crossed.items()],
        "zones": [{"name": name, "most": number, "tracks": len(visitors[name])} for name, number in most.items()],
    }


def _feet(bbox: Sequence[float]) -> Place:
    """Where an object stands: the middle of its box's lower edge."""
    x, y, width, height = bbox
    return x + width / 2, y + height
