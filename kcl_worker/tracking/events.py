"""What happens at a source: its rules, applied to its frames in their order.

Every answer is a function of the frames alone, so that frames that are processed again give the same events with the
same ids. A clock brings forward only what the next frame would say: a source that is silent for `SILENCE_SECONDS` by
Kinesis's times of arrival has ended its events, whether its next frame tells or the end of the shard was reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from contract.event import event_id
from contract.event_rules import Appear, Count, Cross, Dwell, Leave, Rule, Silent

# After so long without a frame, nobody knows whether what was seen is still there.
SILENCE_SECONDS: Final = 30.0
# How much later a frame may be read than the shard's end was: clocks differ, and Kinesis takes a moment.
MARGIN_SECONDS: Final = 5.0
CROSS_SECONDS: Final = 10.0
# Of one rule, at once: a hostile picture may show a thousand objects.
MAX_OPEN: Final = 64
MAX_NAMES: Final = 64
# A picture is stored as a better one only if it is that much better, so that a long event stores few.
BETTER: Final = 1.1


class _State(BaseModel):
    model_config = ConfigDict(frozen=True)


class Mark(_State):
    """A frame as events refer to it.

    Attributes:
        clock: Seconds of the source's own clock.
        captured_at: As messages state it.
        key: Under which its picture lies if it is stored.
        shown: Whether it shows any detection.
    """

    clock: float
    frame_id: str
    captured_at: str
    key: str
    shown: bool
    shard_id: str
    sequence_number: str


class BestView(_State):
    """The frame that shows a happening best, and the object in it."""

    score: float
    frame_id: str
    captured_at: str
    class_name: str | None = None
    conf: float | None = None
    bbox: tuple[float, float, float, float] | None = None


class Happening(_State):
    """What a rule waits for, from the first frame that shows it to the last one so far.

    Attributes:
        event_id: Empty as long as it does not last long enough for an event.
        told: When it became an event, by the source's clock; None for a silence, which no frame shows.
    """

    first: Mark
    last: Mark
    frames: int = 0
    most: int = 0
    classes: tuple[str, ...] = ()
    tracks: tuple[str, ...] = ()
    direction: Literal["in", "out"] | None = None
    best: BestView | None = None
    event_id: str = ""
    told: float | None = None


class RuleState(_State):
    """A rule and what it has seen: one happening, or one for each track.

    Attributes:
        quiet_until: Nothing starts before, by the source's clock.
    """

    rule: Rule
    happenings: dict[str, Happening] = {}
    quiet_until: float = 0.0


class WatchState(_State):
    """All rules of a source, and its last frame."""

    rules: dict[str, RuleState] = {}
    last: Mark | None = None
    arrived: float = 0.0


@dataclass(frozen=True, slots=True)
class Thing:
    """An object in a frame.

    Attributes:
        bbox: x, y, width, height as fractions of the picture.
        zones: Names of the zones in which it stands.
        score: How well the frame shows it.
    """

    class_name: str
    conf: float
    bbox: tuple[float, float, float, float]
    track: str | None
    zones: frozenset[str]
    score: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """A track that crosses a line in a frame."""

    line: str
    track: str
    inward: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """What a frame shows."""

    mark: Mark
    things: Sequence[Thing]
    crossings: Sequence[Crossing] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A happening that has become an event (`start`), is seen better than before (`better`), or is over (`end`).

    A new best view is that of the frame which brings the change.
    """

    phase: Literal["start", "better", "end"]
    rule: Rule
    happening: Happening


class Watch:
    """A source's rules.

    Args:
        source: Its name, a part of every event's id.
    """

    def __init__(self, source: str, state: WatchState | None = None) -> None:
        self._source, self._state = source, state or WatchState()
        self._changes: list[Change] = []

    @property
    def state(self) -> WatchState:
        """The state from which a watch continues exactly."""
        return self._state

    def running(self) -> tuple[str, ...]:
        """Ids of the events that go on, those of silence aside."""
        return tuple(
            happening.event_id
            for state in self._state.rules.values()
            if not isinstance(state.rule, Silent)
            for happening in state.happenings.values()
            if happening.event_id
        )

    def has_open(self) -> bool:
        """Whether anything has begun, or will begin if no frame comes any more."""
        return any(state.happenings or isinstance(state.rule, Silent) for state in self._state.rules.values())

    def add(self, sight: Sight, arrived: float, rules: Sequence[Rule]) -> list[Change]:
        """Takes the next frame.

        Args:
            arrived: Time of its arrival on the stream, in seconds.
        """
        self._changes = []
        self._adopt(rules)
        last, gap = self._state.last, arrived - self._state.arrived
        if last is not None:
            if gap > SILENCE_SECONDS:
                self._end_seen()
            self._break_silence(last, gap, sight.mark)
        for state in list(self._state.rules.values()):
            if not isinstance(state.rule, Silent):
                self._step(state, sight)
        self._state = self._state.model_copy(update={"last": sight.mark, "arrived": max(arrived, self._state.arrived)})
        return self._changes

    def rest(self, now: float, rules: Sequence[Rule]) -> list[Change]:
        """Notes that no frame has arrived up to a time; gives what the next one would say of that."""
        self._changes = []
        last, gap = self._state.last, now - MARGIN_SECONDS - self._state.arrived
        if last is None:
            return []
        self._adopt(rules)
        if gap > SILENCE_SECONDS:
            self._end_seen()
        for state in list(self._state.rules.values()):
            if _falls_silent(state, last, gap):
                self._fall_silent(state, last)
        return self._changes

    def is_due(self, now: float, rules: Iterable[Rule]) -> bool:
        """Whether `rest` would change anything."""
        last, gap = self._state.last, now - MARGIN_SECONDS - self._state.arrived
        if last is None:
            return False
        known = self._state.rules
        for rule in rules:
            state = known.get(rule.name)
            if _falls_silent(state if state and state.rule == rule else RuleState(rule=rule), last, gap):
                return True
        return gap > SILENCE_SECONDS and any(
            state.happenings for state in known.values() if not isinstance(state.rule, Silent)
        )

    def _adopt(self, rules: Sequence[Rule]) -> None:
        """Takes the source's current rules; what a rule has begun that is gone or another now, ends."""
        wanted = {rule.name: rule for rule in rules}
        for name, state in list(self._state.rules.items()):
            if wanted.get(name) != state.rule:
                for happening in state.happenings.values():
                    self._end(state.rule, happening)
                self._put(name, None)
        for name, rule in wanted.items():
            if name not in self._state.rules:
                self._put(name, RuleState(rule=rule))

    def _step(self, state: RuleState, sight: Sight) -> None:
        rule, clock = state.rule, sight.mark.clock
        happenings, quiet = dict(state.happenings), state.quiet_until
        signals = _signals(rule, sight.things)
        if isinstance(rule, Cross):
            quiet = self._cross(rule, happenings, quiet, sight)
            signals = {track: things for track, things in signals.items() if track in happenings}
        for key, things in signals.items():
            happening = happenings.get(key)
            if happening is None:
                if len(happenings) >= MAX_OPEN or clock < quiet:
                    continue
                happening = Happening(first=sight.mark, last=sight.mark)
            happenings[key] = self._extend(rule, key, happening, things, sight.mark)
        for key, happening in list(happenings.items()):
            if _is_over(rule, happening, clock, seen=key in signals):
                del happenings[key]
                if self._finish(rule, happening, clock):
                    quiet = clock + rule.cooldown_seconds
        self._put(rule.name, RuleState(rule=rule, happenings=happenings, quiet_until=quiet))

    def _cross(self, rule: Cross, happenings: dict[str, Happening], quiet: float, sight: Sight) -> float:
        """Begins an event for each crossing; gives until when the rule is quiet."""
        for crossing in sight.crossings:
            direction: Literal["in", "out"] = "in" if crossing.inward else "out"
            things = [thing for thing in sight.things if thing.track == crossing.track and _is_meant(rule, thing)]
            if crossing.line != rule.line or rule.direction not in ("both", direction) or not things:
                continue
            if sight.mark.clock < quiet:
                continue
            if before := happenings.pop(crossing.track, None):
                self._end(rule, before)
                quiet = sight.mark.clock + rule.cooldown_seconds
                if rule.cooldown_seconds:
                    continue
            if len(happenings) < MAX_OPEN:
                happenings[crossing.track] = Happening(first=sight.mark, last=sight.mark, direction=direction)
        return quiet

    def _extend(self, rule: Rule, key: str, happening: Happening, things: list[Thing], mark: Mark) -> Happening:
        """Adds a frame that shows a happening."""
        happening = happening.model_copy(
            update={
                "last": mark,
                "frames": happening.frames + 1,
                "most": max(happening.most, len(things)),
                "classes": _joined(sorted({*happening.classes, *(thing.class_name for thing in things)})),
                "tracks": _joined(happening.tracks, (thing.track for thing in things if thing.track)),
            }
        )
        if isinstance(rule, Leave):
            return happening
        seen = max(things, key=lambda thing: thing.score)
        phase: Literal["start", "better"] | None = None
        if not happening.event_id:
            if mark.clock - happening.first.clock >= _least(rule):
                phase = "start"
                # A crossing is that of one track, at one frame; so is a stay.
                track = key if isinstance(rule, Cross | Dwell) else ""
                name = event_id(self._source, rule.name, happening.first.frame_id, track)
                update = {"event_id": name, "best": _view(mark, seen), "told": mark.clock}
                happening = happening.model_copy(update=update)
        elif happening.best is None or seen.score > happening.best.score * BETTER:
            phase = "better"
            happening = happening.model_copy(update={"best": _view(mark, seen)})
        if phase:
            self._changes.append(Change(phase, rule, happening))
        return happening

    def _finish(self, rule: Rule, happening: Happening, clock: float) -> bool:
        """Ends a happening that a frame does not show any more; gives whether it was an event."""
        if isinstance(rule, Leave):
            if happening.last.clock - happening.first.clock < rule.min_seconds:
                return False
            happening = happening.model_copy(
                update={
                    "first": happening.last,
                    "frames": 1,
                    "event_id": event_id(self._source, rule.name, happening.last.frame_id),
                    "best": BestView(score=0, frame_id=happening.last.frame_id, captured_at=happening.last.captured_at),
                    "told": clock,
                }
            )
            self._changes.append(Change("start", rule, happening))
        return self._end(rule, happening)

    def _end(self, rule: Rule, happening: Happening) -> bool:
        if happening.event_id:
            self._changes.append(Change("end", rule, happening))
        return bool(happening.event_id)

    def _end_seen(self) -> None:
        """Ends all that the source's last frames have shown."""
        for name, state in list(self._state.rules.items()):
            if isinstance(state.rule, Silent):
                continue
            # Whether somebody has left is not known either.
            ended = [self._end(state.rule, happening) for happening in state.happenings.values()]
            quiet = state.quiet_until
            if any(ended) and self._state.last:
                quiet = self._state.last.clock + state.rule.cooldown_seconds
            self._put(name, RuleState(rule=state.rule, quiet_until=quiet))

    def _fall_silent(self, state: RuleState, last: Mark) -> None:
        """Begins a silence after the last frame."""
        view = BestView(score=0, frame_id=last.frame_id, captured_at=last.captured_at)
        name = event_id(self._source, state.rule.name, last.frame_id)
        happening = Happening(first=last, last=last, best=view, event_id=name)
        self._changes.append(Change("start", state.rule, happening))
        self._put(state.rule.name, state.model_copy(update={"happenings": {"": happening}}))

    def _break_silence(self, last: Mark, gap: float, mark: Mark) -> None:
        """Ends the silences that a frame breaks, those included that nobody has told of yet."""
        for state in list(self._state.rules.values()):
            rule = state.rule
            if not isinstance(rule, Silent):
                continue
            if _falls_silent(state, last, gap):
                self._fall_silent(state, last)
            elif not state.happenings:
                continue
            [silence] = self._state.rules[rule.name].happenings.values()
            self._end(rule, silence.model_copy(update={"last": mark}))
            self._put(rule.name, RuleState(rule=rule, quiet_until=mark.clock + rule.cooldown_seconds))

    def _put(self, name: str, state: RuleState | None) -> None:
        rules = {other: its for other, its in self._state.rules.items() if other != name or state is not None}
        if state is not None:
            rules[name] = state
        self._state = self._state.model_copy(update={"rules": rules})


def _falls_silent(state: RuleState, last: Mark, gap: float) -> bool:
    """Whether a silence begins that is so long already, in seconds."""
    if not isinstance(state.rule, Silent) or state.happenings:
        return False
    return gap > max(state.rule.seconds, state.quiet_until - last.clock)


def _signals(rule: Rule, things: Sequence[Thing]) -> dict[str, list[Thing]]:
    """The objects that show what a rule waits for: all under one name, or each track under its own."""
    meant = [thing for thing in things if _is_meant(rule, thing)]
    if isinstance(rule, Dwell | Cross):
        return {thing.track: [thing] for thing in meant if thing.track}
    if isinstance(rule, Count) and len(meant) <= rule.more_than:
        return {}
    return {"": meant} if meant else {}


def _is_meant(rule: Rule, thing: Thing) -> bool:
    if isinstance(rule, Silent):
        return False
    if rule.classes is not None and thing.class_name not in rule.classes:
        return False
    zone = None if isinstance(rule, Cross) else rule.zone
    return zone is None or zone in thing.zones


def _is_over(rule: Rule, happening: Happening, clock: float, *, seen: bool) -> bool:
    if isinstance(rule, Silent):
        return False
    if isinstance(rule, Cross) and clock - happening.first.clock > CROSS_SECONDS:
        return True
    return not seen and clock - happening.last.clock > rule.gap_seconds


def _least(rule: Rule) -> float:
    """How long a happening must last to be an event, in seconds."""
    if isinstance(rule, Dwell):
        return rule.seconds
    return rule.min_seconds if isinstance(rule, Appear | Count) else 0.0


def _joined(names: Iterable[str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """Names in their order, each once, the first of them."""
    return tuple(dict.fromkeys((*names, *more)))[:MAX_NAMES]


def _view(mark: Mark, thing: Thing) -> BestView:
    return BestView(
        score=thing.score, frame_id=mark.frame_id, captured_at=mark.captured_at, class_name=thing.class_name,
        conf=thing.conf, bbox=thing.bbox,
    )  # fmt: skip
