"""The settings of a single source. Operators keep them in Systems Manager Parameter Store, a parameter for each source;
the worker applies them while it runs. A parameter's value is JSON, such as

    {"confidence_threshold": 0.4, "classes": ["person", "car"], "tracking": true,
     "zones": [{"name": "door", "polygon": [[0.1, 0.5], [0.4, 0.5], [0.4, 1], [0.1, 1]]}],
     "lines": [{"name": "gate", "start": [0, 0.6], "end": [1, 0.6]}]}

Places are fractions of the picture, x from the left and y from the top.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_SHAPES: Final = 16
Fraction = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Fraction, Fraction]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Zone(_Section):
    """An area of the picture."""

    name: Name = Field(description="its name in the messages")
    polygon: tuple[Point, ...] = Field(min_length=3, max_length=64, description="3 to 64 corners [x, y]")


class Line(_Section):
    """A line that tracks cross. `in` is from left to right, seen from the line's start to its end."""

    name: Name = Field(description="its name in the messages")
    start: Point = Field(description="[x, y]")
    end: Point = Field(description="[x, y]; seen from start to end, `in` is from left to right, `out` back")


class SourceSettings(_Section):
    """One source's settings; a setting that is not given falls back to the worker's."""

    confidence_threshold: Fraction | None = Field(default=None, description="used instead of `CONFIDENCE_THRESHOLD`")
    classes: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=1000, description="names of the classes to keep; none: all"
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

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for kind, shapes in (("zones", self.zones), ("lines", self.lines)):
            if len({shape.name for shape in shapes}) < len(shapes):
                raise ValueError(f"{kind}: the same name twice")
        return self

    @property
    def tracks(self) -> bool:
        """Whether objects are tracked from frame to frame."""
        return self.tracking or bool(self.lines)

    @classmethod
    def parse(cls, text: str, class_names: tuple[str, ...] | None = None) -> Self:
        """Reads a parameter's value.

        Args:
            class_names: The model's class names, if they are known.

        Raises:
            ValueError: With one line that says what is wrong and what is allowed.
        """
        try:
            settings = cls.model_validate_json(text)
        except ValidationError as error:
            raise ValueError("; ".join(_explain(problem) for problem in error.errors())) from None
        if class_names is not None and (unknown := sorted(set(settings.classes or ()) - set(class_names))):
            raise ValueError(f"classes: {', '.join(unknown)}: the model knows {', '.join(class_names)}")
        return settings


DEFAULT: Final = SourceSettings()


def _explain(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        text = "no such setting"
    return f"{place}: {text}" if place else text
