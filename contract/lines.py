"""Counts objects that cross lines.

A box trembles by a few pixels, so an object that stands on a line seems to cross it in every other frame. Hence a line
has a band on both of its sides: an object is on a side once it has left the band there, and a crossing counts when it
has left the band on the other side and has crossed the line, not passed by its end, on the way.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from contract.geometry import Place, crossing, distance
from contract.shapes import Line

# Half the band's width, the larger of both: shares of the picture's diagonal and of the object's height. A box trembles
# with its object's size; a fifth is a third of a metre where a person walks.
BAND_OF_DIAGONAL: Final = 0.015
BAND_OF_HEIGHT: Final = 0.2


class Standing(NamedTuple):
    """Where an object is with regard to a line.

    Attributes:
        side: The side on which it was outside the band last: 1 right, -1 left, 0 none yet.
        crossed: Its net crossings of the line since then, positive from left to right.
    """

    side: int = 0
    crossed: int = 0


class Step(NamedTuple):
    """An object's way from one frame to the next; None before its first place.

    Attributes:
        height: Of its box, in pixels.
    """

    before: Place | None
    after: Place
    height: float


def follow(standing: Standing, step: Step, line: Line, width: int, height: int) -> tuple[Standing, int]:
    """Where an object is after a step, and what counts: 1 from left to right, -1 from right to left, else 0.

    Args:
        width, height: The picture's, in pixels.
    """
    crossed = standing.crossed
    if step.before is not None:
        crossed += crossing(step.before, step.after, line.start, line.end)
    side = _side(step, line, width, height)
    if side == 0:
        return Standing(standing.side, crossed), 0
    # An object that was first seen within the band comes from neither side.
    counts = standing.side == -side and crossed * side > 0
    return Standing(side), side if counts else 0


def _side(step: Step, line: Line, width: int, height: int) -> int:
    """The side on which a place is outside the band; 0 within it."""
    away = distance(step.after, line.start, line.end, width, height)
    side = 1 if away > 0 else -1
    corners = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    room = max(side * distance(corner, line.start, line.end, width, height) for corner in corners)
    # A line along the picture's edge leaves less room behind it than the band takes.
    band = min(max(BAND_OF_DIAGONAL * math.hypot(width, height), BAND_OF_HEIGHT * step.height), room / 2)
    return side if abs(away) > band else 0
