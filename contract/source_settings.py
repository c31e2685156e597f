"""The settings of a single source. Operators keep them in Systems Manager Parameter Store, a parameter for each source;
the worker applies them while it runs. A parameter's value is JSON, such as

    {"confidence_threshold": 0.4, "classes": ["person", "car"], "tracking": true,
     "zones": [{"name": "door", "polygon": [[0.1, 0.5], [0.4, 0.5], [0.4, 1], [0.1, 1]]}],
     "lines": [{"name": "gate", "start": [0, 0.6], "end": [1, 0.6]}],
     "events": [{"name": "visitor", "kind": "appear", "classes": ["person"], "zone": "door"}],
     "store": "events", "announce": "events", "privacy": {"blur": ["face"]}}

Places are fractions of the picture, x from the left and y from the top.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from contract.event_rules import Rule, Silent
from contract.shapes import Fraction, Line, Polygon, Section, Zone

MAX_SHAPES: Final = 16
MAX_RULES: Final = 16
# Every result names them.
MAX_HIDDEN: Final = 16
# The size of a standard parameter in bytes; larger parameters cost money.
MAX_BYTES: Final = 4096
# Those for which the bucket has a rule.
KeepDays = Literal[1, 2, 3, 5, 7, 14, 30, 60, 90, 180, 365]
KEEP_DAYS_TAG: Final = "keep-days"
# Thirty seconds of a camera of ten frames a second; a moving picture says little after a second.
MAX_EVERY: Final = 30
MAX_EVERY_STILL: Final = 300
# Frames that wait for an event are held in memory, and their shard's checkpoint waits with them.
MAX_AROUND_SECONDS: Final = 30.0


class Privacy(Section):
    """What is hidden of a picture before anything of it is stored."""

    masks: tuple[Polygon, ...] = Field(
        default=(), max_length=MAX_SHAPES, description="areas that are black, in which nothing is detected either"
    )
    blur: tuple[str, ...] = Field(
        default=(), max_length=MAX_HIDDEN, description="names of the classes whose objects become unrecognisable"
    )
    fill: tuple[str, ...] = Field(
        default=(), max_length=MAX_HIDDEN, description="names of the classes whose objects are filled with one colour"
    )

    @property
    def hides_classes(self) -> bool:
        """Whether objects are hidden, so that every one of them has to be found first."""
        return bool(self.blur or self.fill)

    @property
    def hides(self) -> bool:
        """Whether anything is hidden."""
        return self.hides_classes or bool(self.masks)


class Detect(Section):
    """Which frames are looked at; between them, what was found moves on as it moved before."""

    every: int = Field(default=1, ge=1, le=MAX_EVERY, description="one frame in so many")
    every_still: int | None = Field(
        default=None,
        ge=2,
        le=MAX_EVERY_STILL,
        description="one frame in so many as long as the picture stands still; none: as often as else",
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.every_still is not None and self.every_still <= self.every:
            raise ValueError(f"every_still: more than every ({self.every})")
        return self

    @property
    def longest(self) -> int:
        """Frames after which one is looked at whatever the picture shows."""
        return self.every_still or self.every


class SourceSettings(Section):
    """One source's settings; a setting that is not given falls back to the worker's."""

    confidence_threshold: Fraction | None = Field(default=None, description="used instead of `CONFIDENCE_THRESHOLD`")
    classes: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="names of the classes to keep; none: all"
    )
    detect: Detect = Field(
        default=Detect(),
        description="in which frames objects are detected, to be tracked between; in all, where classes are hidden",
    )
    tracking: bool = Field(default=False, description="whether detections carry the id of their track")
    zones: tuple[Zone, ...] = Field(
        default=(), max_length=MAX_SHAPES, description=f"at most {MAX_SHAPES} areas in which objects are counted"
    )
    lines: tuple[Line, ...] = Field(
        default=(),
        max_length=MAX_SHAPES,
        description=f"at most {MAX_SHAPES} lines whose crossings are counted; turns tracking on",
    )
    events: tuple[Rule, ...] = Field(
        default=(),
        max_length=MAX_RULES,
        description=f"at most {MAX_RULES} rules of what is told as an event; turns tracking on",
    )
    store: Literal["all", "detections", "events", "none"] = Field(
        default="all", description="which frames are stored: all, those with detections, those of events, none"
    )
    before_seconds: float = Field(
        default=5, ge=0, le=MAX_AROUND_SECONDS, description="with `store: events`, from so long before an event on"
    )
    after_seconds: float = Field(
        default=5, ge=0, le=MAX_AROUND_SECONDS, description="with `store: events`, until so long after an event"
    )
    sample_seconds: float | None = Field(
        default=None, ge=1, le=86_400, description="one frame in so many seconds is stored anyway"
    )
    keep_days: KeepDays | None = Field(
        default=None, description="days until what is stored is deleted; none, or more than the bucket's: the bucket's"
    )
    announce: Literal["all", "detections", "events"] = Field(
        default="all",
        description="which frames have a message of their own; the others are counted in a tally a minute",
    )
    privacy: Privacy = Field(default=Privacy(), description="what is hidden before anything is stored")

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for kind, named in (("zones", self.zones), ("lines", self.lines), ("events", self.events)):
            if len({shape.name for shape in named}) < len(named):
                raise ValueError(f"{kind}: the same name twice")
        known = {"zone": [zone.name for zone in self.zones], "line": [line.name for line in self.lines]}
        for rule in self.events:
            for kind, names in known.items():
                if (name := getattr(rule, kind, None)) is not None and name not in names:
                    raise ValueError(f"events: {rule.name}: no {kind} {name}; there are: {', '.join(names) or 'none'}")
        return self

    @property
    def adapts(self) -> bool:
        """Whether frames are left out of detection. What is hidden has to be found in every frame."""
        return self.detect.longest > 1 and not self.privacy.hides_classes

    @property
    def names_tracks(self) -> bool:
        """Whether messages say of detections which track they are of."""
        return self.tracking or bool(self.lines) or any(not isinstance(rule, Silent) for rule in self.events)

    @property
    def tracks(self) -> bool:
        """Whether objects are tracked from frame to frame."""
        return self.names_tracks or self.adapts

    @property
    def remembers(self) -> bool:
        """Whether what becomes of a frame depends on the frames before it."""
        return self.tracks or self.tells

    @property
    def tells(self) -> bool:
        """Whether frames are told of together, in events or tallies, so that none of them may be left out."""
        return bool(self.events) or self.announce != "all" or self._chooses

    @property
    def _chooses(self) -> bool:
        return self.store == "events" or (self.store != "all" and self.sample_seconds is not None)

    def stores_at_once(self, detections: int) -> bool:
        """Whether a frame with so many detections is stored whatever comes before or after it."""
        return self.store == "all" or (self.store == "detections" and detections > 0)

    @property
    def before(self) -> float:
        """Seconds for which a frame may still have to be stored."""
        return self.before_seconds if self.store == "events" and self.events else 0.0

    @classmethod
    def parse(
        cls, text: str, class_names: tuple[str, ...] | None = None, defaults: SourceSettings | None = None
    ) -> Self:
        """Reads a parameter's value.

        Args:
            class_names: The model's class names, if they are known.
            defaults: Of all sources; a setting that the text does not give is taken from there.

        Raises:
            ValueError: With one line that says what is wrong and what is allowed.
        """
        try:
            settings = cls.model_validate_json(text)
            if defaults is not None:
                settings = cls.model_validate(defaults.given() | settings.given())
        except ValidationError as error:
            raise ValueError(explain(error)) from None
        if class_names is not None:
            settings.check_classes(class_names)
        return settings

    def given(self) -> dict[str, Any]:
        """The settings that were given."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def check_classes(self, known: tuple[str, ...]) -> None:
        """Compares the names of classes with the model's.

        Raises:
            ValueError: With one line that names the setting, the class and those that there are.
        """
        wanted: dict[str, Iterable[str]] = {
            "classes": self.classes or (),
            "privacy.blur": self.privacy.blur,
            "privacy.fill": self.privacy.fill,
        }
        wanted |= {f"events: {rule.name}: classes": getattr(rule, "classes", None) or () for rule in self.events}
        for setting, names in wanted.items():
            if unknown := sorted(set(names) - set(known)):
                raise ValueError(f"{setting}: {', '.join(unknown)}: the model knows {', '.join(known)}")


DEFAULT: Final = SourceSettings()


def explain(error: ValidationError) -> str:
    """Says in one line what is wrong with settings, or a part of them, and where."""
    return "; ".join(_explain(problem) for problem in error.errors())


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        text = "no such setting"
    return f"{place}: {text}" if place else text
