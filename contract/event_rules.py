"""What counts as an event of a source: rules by kind, declared in its settings.

Times are those of the frames, in seconds. Every rule is debounced: what it waits for must hold for `min_seconds` before
an event starts, and be gone for `gap_seconds` before it ends, so that flicker and an occlusion make no second event.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from contract.shapes import Name, Section

Seconds = Annotated[float, Field(ge=0, le=86_400)]
Classes = Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]


class _Rule(Section):
    name: Name = Field(description="its name in the messages")
    cooldown_seconds: Seconds = Field(
        default=0, description="time after an event's end in which the rule starts no other"
    )


class _ObjectRule(_Rule):
    classes: Classes | None = Field(default=None, description="names of the classes that it looks at; none: all")
    gap_seconds: Seconds = Field(default=2, description="how long what it waits for must be gone for the event to end")


class Appear(_ObjectRule):
    """Somebody is there: from the first object's coming to the last one's going."""

    kind: Literal["appear"]
    zone: Name | None = Field(default=None, description="where; none: anywhere in the picture")
    min_seconds: Seconds = Field(default=0.5, description="how long somebody must be there for the event to start")


class Leave(_ObjectRule):
    """Nobody is there any more: once the last object has been gone for `gap_seconds`."""

    kind: Literal["leave"]
    zone: Name | None = Field(default=None, description="where; none: anywhere in the picture")
    min_seconds: Seconds = Field(default=0.5, description="how long somebody must have been there")


class Dwell(_ObjectRule):
    """One object stays for longer than `seconds`, until it goes."""

    kind: Literal["dwell"]
    zone: Name | None = Field(default=None, description="where; none: anywhere in the picture")
    seconds: Seconds = Field(description="how long one object must stay")


class Cross(_ObjectRule):
    """One object crosses a line; the event lasts for as long as the object stays in sight, 10 seconds at the most."""

    kind: Literal["cross"]
    line: Name = Field(description="which line")
    direction: Literal["in", "out", "both"] = Field(default="both", description="`in` is from the line's left to right")


class Count(_ObjectRule):
    """More than so many objects are there at once."""

    kind: Literal["count"]
    zone: Name | None = Field(default=None, description="where; none: anywhere in the picture")
    more_than: int = Field(ge=0, le=10_000, description="so many are still no event")
    min_seconds: Seconds = Field(default=1, description="how long there must be more for the event to start")


class Silent(_Rule):
    """The source's frames stop arriving, until the next one does."""

    kind: Literal["silent"]
    seconds: float = Field(default=30, ge=5, le=86_400, description="how long no frame must arrive")


Rule = Annotated[Appear | Leave | Dwell | Cross | Count | Silent, Field(discriminator="kind")]
EventKind = Literal["appear", "leave", "dwell", "cross", "count", "silent"]
