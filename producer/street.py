"""A procedurally drawn street with people, cars and bicycles that move past a camera.

It is the producer's `demo` source and, with exact labels, the training data of the built-in
demo model. A frame is a pure function of the seed, the size and the time, so that every run of
the demo shows the same film and the model can be trained again from scratch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from producer.picture import Image

Colour = tuple[int, int, int]
Point = tuple[float, float]

CLASSES: Final = ("person", "car", "bicycle")
PERSON, CAR, BICYCLE = range(3)

# An object gets no label if less than this share of its silhouette is visible.
MIN_VISIBLE: Final = 0.35
# Sub-pixel drawing: OpenCV's integer coordinates with this many fractional bits.
_SHIFT: Final = 4


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one drawn object: its class and its box, x1 y1 x2 y2 in pixels."""

    class_id: int
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Actor:
    """One moving object; lengths are fractions of the image height, times are in seconds."""

    kind: int
    lane: float  # the y of its feet or wheels
    size: float  # its height
    speed: float  # image heights per second, negative to the left
    start: float  # its x at time 0
    look: int  # seeds its colours and shape
    rider: bool = False


class _Canvas:
    """Draws every shape twice: in colour, and as a silhouette where labels are needed."""

    def __init__(self, image: Image, ids: Image | None) -> None:
        self.image, self.ids = image, ids
        self.ink = 0  # the silhouette's number

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        corners = np.round(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(self.image, [corners], colour, cv2.LINE_AA, _SHIFT)
        if self.ids is not None:
            cv2.fillPoly(self.ids, [corners], (self.ink,), cv2.LINE_8, _SHIFT)

    def line(self, a: Point, b: Point, colour: Colour, width: float) -> None:
        ends, thickness = (_fixed(a), _fixed(b)), max(1, round(width))
        cv2.line(self.image, *ends, colour, thickness, cv2.LINE_AA, _SHIFT)
        if self.ids is not None:
            cv2.line(self.ids, *ends, (self.ink,), thickness, cv2.LINE_8, _SHIFT)

    def disc(self, centre: Point, radius: float, colour: Colour, width: float = -1) -> None:
        """A filled circle, or a ring of the given width."""
        thickness = -1 if width < 0 else max(1, round(width))
        args = (_fixed(centre), max(1, round(radius * (1 << _SHIFT))))
        cv2.circle(self.image, *args, colour, thickness, cv2.LINE_AA, _SHIFT)
        if self.ids is not None:
            cv2.circle(self.ids, *args, (self.ink,), thickness, cv2.LINE_8, _SHIFT)


class Street:
    """A street seen from its side.

    Args:
        seed: Chooses the houses, the light and everyone who passes.
        width, height: Size of the frames, in pixels.
        loop: Seconds after which an object that left on one side enters again on the other.
    """

    def __init__(self, seed: int = 0, width: int = 960, height: int = 540, loop: float = 24) -> None:
        if width < 64 or height < 64:
            raise ValueError(f"a street of {width}x{height} pixels: at least 64x64 are needed")
        self.width, self.height, self.loop = width, height, loop
        random = np.random.default_rng(seed)
        self._noise = _film_grain(random, width, height)
        self._exposure = _exposure(random)
        self._horizon = float(random.uniform(0.34, 0.46))
        self._background = self._draw_background(random)
        self._actors = self._cast(random)

    def frame(self, seconds: float) -> Image:
        """The picture at a time: BGR, uint8, [height, width, 3]."""
        return self._render(seconds, labelled=False)[0]

    def labelled_frame(self, seconds: float) -> tuple[Image, list[Label]]:
        """The picture and its labels."""
        return self._render(seconds, labelled=True)

    def frames(self, fps: float) -> Iterator[Image]:
        """An endless film."""
        index = 0
        while True:
            yield self.frame(index / fps)
            index += 1

    # -- who is in it ---------------------------------------------------------------------

    def _cast(self, random: np.random.Generator) -> list[_Actor]:
        """Sorts distant objects first, so that near ones are drawn over them."""
        kinds = random.choice(3, size=int(random.integers(4, 13)), p=(0.5, 0.28, 0.22))
        actors = []
        for kind in kinds:
            if kind == PERSON:
                near_side = random.random() < 0.6
                lane = random.uniform(0.8, 0.97) if near_side else random.uniform(0.5, 0.56)
                tall, pace = 0.36, random.uniform(0.06, 0.16)
            elif kind == CAR:
                lane, tall, pace = random.uniform(0.58, 0.8), 0.25, random.uniform(0.2, 0.55)
            else:
                lane, tall, pace = random.uniform(0.56, 0.9), 0.2, random.uniform(0.14, 0.32)
            perspective = (lane - self._horizon + 0.08) / (1 - self._horizon)
            size = tall * perspective * random.uniform(0.85, 1.2) * 1.35
            # An actor crosses a whole number of street lengths in a loop, so that the loop closes.
            span = self.width / self.height + 2
            crossings = max(1, round(pace * self.loop / span))
            speed = span * crossings / self.loop * float(random.choice((-1, 1)))
            if kind == PERSON and random.random() < 0.15:
                speed = 0.0
            start, look = random.uniform(0, span), int(random.integers(1 << 30))
            actors.append(_Actor(int(kind), lane, size, speed, start, look, bool(random.random() < 0.7)))
        return sorted(actors, key=lambda actor: actor.lane)

    # -- drawing ----------------------------------------------------------------------------

    def _render(self, seconds: float, *, labelled: bool) -> tuple[Image, list[Label]]:
        image = self._background.copy()
        ids = np.zeros(image.shape[:2], np.uint8) if labelled else None
        canvas = _Canvas(image, ids)
        drawn: list[tuple[int, int, tuple[float, float, float, float], int]] = []
        for actor in self._actors:
            for class_id, draw in self._parts(actor, seconds):
                canvas.ink += 1
                if ids is None:
                    draw(canvas)
                    continue
                alone = _Canvas(image, np.zeros_like(ids))
                alone.ink = canvas.ink
                draw(alone)
                assert alone.ids is not None
                x, y, w, h = cv2.boundingRect(alone.ids)
                if w > 3 and h > 3:
                    np.copyto(ids, alone.ids, where=alone.ids > 0)
                    area = int(np.count_nonzero(alone.ids))
                    drawn.append((canvas.ink, class_id, (x, y, x + w, y + h), area))
        labels = []
        if ids is not None:
            seen = np.bincount(ids.ravel(), minlength=canvas.ink + 1)
            labels = [
                Label(class_id, xyxy)
                for ink, class_id, xyxy, area in drawn
                if seen[ink] >= MIN_VISIBLE * area and self._is_mostly_inside(xyxy)
            ]
        return self._expose(image, seconds), labels

    def _is_mostly_inside(self, xyxy: tuple[float, float, float, float]) -> bool:
        """Whether most of a box is inside the picture: slivers at its edge get no label."""
        return min(xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]) >= 0.012 * self.width

    def _parts(self, actor: _Actor, seconds: float):  # type: ignore[no-untyped-def]
        """The labelled parts of an actor: a rider and the bicycle are two objects."""
        h = self.height
        span = self.width / h + 2
        x = ((actor.start + actor.speed * seconds) % span - 1) * h
        y, size, facing = actor.lane * h, actor.size * h, 1 if actor.speed >= 0 else -1
        phase = seconds * (3.5 if actor.speed else 0.0) + actor.look % 7
        if actor.kind == PERSON:
            return [(PERSON, lambda canvas: _person(canvas, x, y, size, phase, facing, actor.look))]
        if actor.kind == CAR:
            return [(CAR, lambda canvas: _car(canvas, x, y, size, facing, actor.look))]
        parts = [(BICYCLE, lambda canvas: _bicycle(canvas, x, y, size, facing, actor.look))]
        if actor.rider:
            parts.append((PERSON, lambda canvas: _rider(canvas, x, y, size, phase, facing, actor.look)))
        return parts

    def _draw_background(self, random: np.random.Generator) -> Image:
        w, h = self.width, self.height
        image = np.empty((h, w, 3), np.uint8)
        sky = np.linspace(random.uniform(150, 255, 3), random.uniform(120, 240, 3), h)
        image[:] = sky[:, None, :].astype(np.uint8)
        canvas = _Canvas(image, None)
        horizon = self._horizon * h
        x = 0.0
        while x < w:
            wide, tall = random.uniform(0.2, 0.55) * h, random.uniform(0.14, 0.4) * h
            wall = _colour(random, 60, 200)
            canvas.polygon(_rectangle(x, horizon - tall, x + wide, horizon), wall)
            glass, step = _colour(random, 40, 230), random.uniform(0.05, 0.09) * h
            for wx in np.arange(x + step / 2, x + wide - step, step * 1.4):
                for wy in np.arange(horizon - tall + step / 2, horizon - step, step * 1.5):
                    canvas.polygon(_rectangle(wx, wy, wx + step * 0.7, wy + step), glass)
            x += wide
        kerb = 0.57 * h
        pavement, road = _grey(random, 110, 190), _grey(random, 50, 110)
        canvas.polygon(_rectangle(0, horizon, w, kerb), pavement)
        canvas.polygon(_rectangle(0, kerb, w, 0.83 * h), road)
        canvas.polygon(_rectangle(0, 0.83 * h, w, h), _grey(random, 100, 190))
        for dash in np.arange(random.uniform(-0.2, 0) * h, w, 0.3 * h):
            canvas.polygon(_rectangle(dash, 0.69 * h, dash + 0.14 * h, 0.7 * h), (225, 230, 230))
        for _ in range(int(random.integers(0, 5))):  # lamp posts and trees: objects without a class
            px, base = random.uniform(0, w), random.uniform(0.5, 0.56) * h
            canvas.line((px, base), (px, base - 0.3 * h), _colour(random, 20, 90), 0.012 * h)
            if random.random() < 0.6:
                leaf = (int(random.integers(20, 70)), int(random.integers(80, 150)), int(random.integers(30, 90)))
                canvas.disc((px, base - 0.32 * h), random.uniform(0.05, 0.1) * h, leaf)
        return image

    def _expose(self, image: Image, seconds: float) -> Image:
        """Adds what a camera adds: gain, tint and a noise that moves with time."""
        shift = int(seconds * 1000) * 37 % self.height
        noise = self._noise[shift : shift + self.height]
        exposed = cv2.LUT(image, self._exposure)
        return np.asarray(cv2.add(exposed, noise, dtype=cv2.CV_8U), np.uint8)


def _person(canvas: _Canvas, x: float, y: float, h: float, phase: float, facing: int, look: int) -> None:
    """Standing on (x, y), h pixels tall; `phase` swings arms and legs."""
    random = np.random.default_rng(look)
    skin, top, legs, hair = _skin(random), _colour(random), _colour(random, 10, 160), _colour(random, 5, 120)
    stout = random.uniform(0.85, 1.3)
    swing = np.sin(phase) * 0.13 * h
    hip, neck = y - 0.48 * h, y - 0.84 * h
    for side in (-1, 1):
        canvas.line((x + side * 0.04 * h, hip), (x + side * swing, y - 0.02 * h), legs, 0.085 * h * stout)
        canvas.line(
            (x + side * swing, y - 0.02 * h),
            (x + side * swing + facing * 0.05 * h, y - 0.02 * h),
            (30, 30, 30),
            0.04 * h,
        )
    canvas.line((x, neck + 0.05 * h), (x - swing, hip + 0.02 * h), top, 0.06 * h)
    half = 0.115 * h * stout
    torso = [(x - half, neck), (x + half, neck), (x + half * 0.85, hip + 0.03 * h), (x - half * 0.85, hip + 0.03 * h)]
    canvas.polygon(torso, top)
    if random.random() < 0.3:
        canvas.polygon(
            _rectangle(x - facing * half * 1.6, neck + 0.03 * h, x - facing * half * 0.7, hip - 0.08 * h),
            _colour(random),
        )
    canvas.line((x, neck + 0.05 * h), (x + swing, hip + 0.02 * h), top, 0.06 * h)
    canvas.disc((x + swing, hip + 0.03 * h), 0.03 * h, skin)
    canvas.disc((x, y - 0.92 * h), 0.075 * h, hair)
    canvas.disc((x + facing * 0.015 * h, y - 0.905 * h), 0.062 * h, skin)


def _rider(canvas: _Canvas, x: float, y: float, h: float, phase: float, facing: int, look: int) -> None:
    """Sitting on a bicycle that is h pixels tall and stands on (x, y)."""
    random = np.random.default_rng(look + 1)
    skin, top, legs = _skin(random), _colour(random), _colour(random, 10, 160)
    hip = (x - facing * 0.24 * h, y - 0.98 * h)
    shoulder = (x + facing * 0.08 * h, y - 1.55 * h)
    hand = (x + facing * 0.5 * h, y - 0.95 * h)
    for side in (0.0, np.pi):
        foot = (x + np.cos(phase * 2 + side) * 0.14 * h, y - 0.33 * h + np.sin(phase * 2 + side) * 0.14 * h)
        knee = (x + facing * 0.2 * h, (hip[1] + foot[1]) / 2 - 0.06 * h)
        canvas.line(hip, knee, legs, 0.15 * h)
        canvas.line(knee, foot, legs, 0.12 * h)
    canvas.line(hip, shoulder, top, 0.28 * h)
    canvas.line(shoulder, hand, top, 0.1 * h)
    canvas.disc((shoulder[0] + facing * 0.09 * h, shoulder[1] - 0.2 * h), 0.15 * h, skin)
    helmet = _colour(random)
    canvas.disc((shoulder[0] + facing * 0.07 * h, shoulder[1] - 0.26 * h), 0.13 * h, helmet)


def _bicycle(canvas: _Canvas, x: float, y: float, h: float, facing: int, look: int) -> None:
    random = np.random.default_rng(look)
    frame, tyre = _colour(random), _grey(random, 10, 60)
    r = 0.33 * h
    back, front = (x - facing * 0.52 * h, y - r), (x + facing * 0.52 * h, y - r)
    pedal, seat = (x, y - 0.33 * h), (x - facing * 0.24 * h, y - 0.88 * h)
    bar = (x + facing * 0.4 * h, y - 0.9 * h)
    for wheel in (back, front):
        canvas.disc(wheel, r, tyre, 0.06 * h)
        canvas.disc(wheel, 0.05 * h, tyre)
    width = 0.05 * h
    for a, b in ((back, pedal), (pedal, seat), (back, seat), (pedal, bar), (seat, bar), (bar, front)):
        canvas.line(a, b, frame, width)
    canvas.line((seat[0] - 0.1 * h, seat[1]), (seat[0] + 0.1 * h, seat[1]), (30, 30, 30), width * 1.6)
    canvas.line(bar, (bar[0] + facing * 0.08 * h, bar[1] - 0.1 * h), (40, 40, 40), width * 1.2)


def _car(canvas: _Canvas, x: float, y: float, h: float, facing: int, look: int) -> None:
    """Seen from the side, h pixels tall, its wheels on (x, y)."""
    random = np.random.default_rng(look)
    paint, glass, tyre = _colour(random, 20, 250), _grey(random, 30, 190), _grey(random, 10, 45)
    half = h * random.uniform(1.25, 1.6)
    van = random.random() < 0.25
    top, belt, sill = y - h, y - 0.58 * h, y - 0.16 * h

    def at(along: float, up: float) -> Point:
        return (x + facing * along * half, up)

    roof = (-0.95, 0.62) if van else (-0.55, 0.3)
    canvas.polygon([at(-1, belt), at(-0.98, sill), at(1, sill), at(1, y - 0.42 * h), at(0.62, belt)], paint)
    rear = -0.98 if van else -0.85
    canvas.polygon([at(rear, belt), at(roof[0], top), at(roof[1], top), at(0.62, belt)], paint)
    inset = 0.06 * h
    canvas.polygon(
        [at(rear + 0.14, belt), at(roof[0] + 0.08, top + inset), at(-0.12, top + inset), at(-0.12, belt)], glass
    )
    canvas.polygon([at(-0.05, belt), at(-0.05, top + inset), at(roof[1] - 0.03, top + inset), at(0.52, belt)], glass)
    canvas.line(at(-0.08, belt), at(-0.08, sill), tuple(int(c * 0.7) for c in paint), 0.02 * h)  # type: ignore[arg-type]
    for along in (-0.6, 0.62):
        canvas.disc(at(along, y - 0.2 * h), 0.2 * h, tyre)
        canvas.disc(at(along, y - 0.2 * h), 0.1 * h, (170, 170, 170))
    canvas.polygon(
        [at(0.93, y - 0.46 * h), at(1, y - 0.42 * h), at(1, y - 0.34 * h), at(0.93, y - 0.34 * h)], (200, 245, 255)
    )
    canvas.polygon(
        [at(-1, belt + 0.04 * h), at(-0.94, belt + 0.04 * h), at(-0.94, y - 0.4 * h), at(-1, y - 0.4 * h)],
        (40, 40, 200),
    )


def _film_grain(random: np.random.Generator, width: int, height: int) -> NDArray[np.int16]:
    """Grey noise, twice the height of a frame so that a window can move over it."""
    level = random.uniform(0, 7)
    grain = random.normal(0, level, (height, width, 1)).round().astype(np.int16)
    return np.ascontiguousarray(np.broadcast_to(np.vstack([grain, grain]), (2 * height, width, 3)))


def _exposure(random: np.random.Generator) -> Image:
    """A look-up table [1, 256, 3] from drawn to photographed levels."""
    gain = random.uniform(0.5, 1.15) * random.uniform(0.88, 1.1, 3)
    return np.clip(np.arange(256)[:, None] * gain, 0, 255).astype(np.uint8)[None]


def _fixed(point: Point) -> tuple[int, int]:
    return round(point[0] * (1 << _SHIFT)), round(point[1] * (1 << _SHIFT))


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> list[Point]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _colour(random: np.random.Generator, low: int = 20, high: int = 235) -> Colour:
    b, g, r = (int(c) for c in random.integers(low, high, 3))
    return b, g, r


def _grey(random: np.random.Generator, low: int, high: int) -> Colour:
    level = int(random.integers(low, high))
    return level, level, level


def _skin(random: np.random.Generator) -> Colour:
    depth = random.uniform(0.35, 1)
    return int(150 * depth), int(185 * depth), int(230 * depth)
