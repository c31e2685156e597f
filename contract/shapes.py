"""Zones and lines of a picture. Places are fractions of it, x from the left and y from the top."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Fraction, Fraction]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Polygon = Annotated[tuple[Point, ...], Field(min_length=3, max_length=64, description="3 to 64 corners [x, y]")]


class Section(BaseModel):
    """A part of a source's settings; what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Zone(Section):
    """An area of the picture."""

    name: Name = Field(description="its name in the messages")
    polygon: Polygon


class Line(Section):
    """A line that tracks cross. `in` is from left to right, seen from the line's start to its end."""

    name: Name = Field(description="its name in the messages")
    start: Point = Field(description="[x, y]")
    end: Point = Field(description="[x, y]; seen from start to end, `in` is from left to right, `out` back")
