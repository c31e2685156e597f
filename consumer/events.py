"""Events, read from the bucket's index: `events/{day}/{hour}/{source}/{event_id}.json`, by the hour of their start.

The index is read rather than the queue of events, because a message is gone for everyone once it is taken off a queue.
"""

from __future__ import annotations

import heapq
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from typing import Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from consumer.bucket import Bucket, Listed
from consumer.errors import GoneError, RefusedError
from contract.event import EventMessage, event_folder
from contract.event_rules import EventKind
from contract.frame import parse_time
from contract.parts import EventKey

logger = logging.getLogger(__name__)

HOUR: Final = timedelta(hours=1)
# An event's message has 64 tracks and classes at most; a hostile object may be of any size.
MAX_EVENT_BYTES: Final = 64 * 1024
# Of one hour, of all sources: five a second. What is beyond is left out, and told of.
MAX_OF_AN_HOUR: Final = 20_000
# Hours of a day that are listed without asking in which ones something has happened.
FEW_HOURS: Final = 3
# Objects that are read at once.
READERS: Final = 16
# How many events are sorted by their start at a time.
SORTED: Final = 5000

_KEY: Final = TypeAdapter(EventKey, config=ConfigDict(regex_engine="python-re"))
_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; None: any.

    Attributes:
        since, until: Those that started from the one moment on, and before the other.
        zone: The name of a zone or of a line.
    """

    since: datetime
    until: datetime
    source: str | None = None
    kind: EventKind | None = None
    rule: str | None = None
    zone: str | None = None
    class_name: str | None = None

    def takes(self, event: EventMessage) -> bool:
        """Whether an event is one of them."""
        return (
            self.since <= parse_time(event.started_at) < self.until
            and self.source in (None, event.source)
            and self.kind in (None, event.event)
            and self.rule in (None, event.rule)
            and (self.zone is None or self.zone in (event.zone, event.line))
            and (self.class_name is None or self.class_name in event.classes)
        )

    def hours(self) -> Iterator[datetime]:
        """The hours in which they started, in order."""
        hour = self.since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        while hour < self.until:
            yield hour
            hour += HOUR


class EventIndex:
    """The index of a pipeline's bucket.

    Whoever may write to the bucket chooses what an object says, so an object that is no event, or says that it lies
    elsewhere, is refused.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._told: set[datetime] = set()

    def hours(self, wanted: Wanted) -> list[datetime]:
        """The hours in which wanted events may have started; of a day of which many are wanted, those that have any.

        Raises:
            ConsumerError: If the bucket cannot be listed.
        """
        found: list[datetime] = []
        for _, group in groupby(wanted.hours(), key=datetime.date):
            of_day = list(group)
            if len(of_day) > FEW_HOURS:
                folders = set(self._bucket.folders(f"events/{of_day[0]:%Y-%m-%d}/"))
                of_day = [hour for hour in of_day if event_folder(hour) in folders]
            found += of_day
        return found

    def of_hour(self, hour: datetime, source: str | None = None) -> Iterator[Listed]:
        """Lists the events that started in an hour, by source and id.

        Raises:
            ConsumerError: If the bucket cannot be listed.
        """
        folder = event_folder(hour, source)
        number = 0
        for found in self._bucket.listing(folder):
            if not found.key.endswith(".json"):
                continue
            if number == MAX_OF_AN_HOUR:
                if hour not in self._told:
                    logger.warning("%s: the first %d events only", self._bucket.where(folder), MAX_OF_AN_HOUR)
                    self._told.add(hour)
                return
            number += 1
            yield found

    def read(self, key: str) -> EventMessage:
        """Reads an event.

        Raises:
            GoneError: If it has expired or was deleted.
            RefusedError: If that is no event, or one that lies elsewhere.
            ConsumerError: If it cannot be read.
        """
        where = self._bucket.where(key)
        try:
            _KEY.validate_python(key)
        except ValidationError:
            raise RefusedError(f"{where}: no event has such a key") from None
        try:
            event = EventMessage.model_validate_json(self._bucket.read(key, MAX_EVENT_BYTES))
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"]) or "object"
            raise RefusedError(f"{where}: no event: {place}: {problem['msg']}") from None
        self._bucket.check(where, event.bucket)
        its_key = f"{event_folder(parse_time(event.started_at), event.source)}{event.event_id}.json"
        if not key == its_key == event.index_key:
            raise RefusedError(f"{where}: says that it is {event.index_key}, of {event.started_at} at {event.source!r}")
        if event.snapshot_key not in (None, key.removesuffix(".json") + ".jpg"):
            raise RefusedError(f"{where}: its snapshot_key does not lie beside it")
        return event

    def read_all(self, keys: Iterable[str]) -> Iterator[EventMessage]:
        """Reads events, several at once, in their order; one that is gone or refused is left out, and told of.

        Raises:
            ConsumerError: If one cannot be read.
        """
        keys = iter(keys)
        with ThreadPoolExecutor(READERS) as readers:
            # A few at a time: `map` would take all keys at once.
            while some := list(islice(keys, READERS * 8)):
                yield from (event for event in readers.map(self._read_or_tell, some) if event is not None)

    def events(self, wanted: Wanted) -> Iterator[EventMessage]:
        """Reads the wanted events, by their start; those of an hour with very many are sorted in part.

        Raises:
            ConsumerError: If the bucket cannot be read.
        """
        for hour in self.hours(wanted):
            found = self.read_all(listed.key for listed in self.of_hour(hour, wanted.source))
            chosen = (event for event in found if wanted.takes(event))
            while some := list(islice(chosen, SORTED)):
                yield from sorted(some, key=started)

    def latest(self, wanted: Wanted, limit: int) -> list[EventMessage]:
        """Reads the latest of the wanted events, the last one first, and no further back than that takes.

        Raises:
            ConsumerError: If the bucket cannot be read.
        """
        found: list[EventMessage] = []
        for hour in reversed(self.hours(wanted)):
            of_hour = self.read_all(listed.key for listed in self.of_hour(hour, wanted.source))
            found += heapq.nlargest(limit, (event for event in of_hour if wanted.takes(event)), key=started)
            if len(found) >= limit:
                break
        return found[:limit]

    def find(self, name: str, since: datetime, until: datetime) -> EventMessage:
        """Finds an event by its key in the bucket, or by its id, from the latest hour back.

        Raises:
            ConsumerError: If there is none, or it cannot be read.
        """
        if not _ID.fullmatch(name):
            return self.read(name)
        for hour in reversed(self.hours(Wanted(since, until))):
            for listed in self.of_hour(hour):
                if listed.key.endswith(f"/{name}.json"):
                    return self.read(listed.key)
        raise GoneError(f"event {name}: none has started since {since:%Y-%m-%d %H:%M} UTC")

    def _read_or_tell(self, key: str) -> EventMessage | None:
        try:
            return self.read(key)
        except GoneError:
            return None
        except RefusedError as error:
            logger.warning("%s", error)
            return None


class Changes:
    """What is new in the index, from one look to the next: events that start, and those that end.

    A look lists the current hour and, for a while, the one before. Hours in which an event has started that still goes
    on are listed again now and then.

    Args:
        since: Events that started before are left out.
        clock: The time, in UTC.
    """

    # A frame may be a few minutes old when its event is told.
    LATE: Final = timedelta(minutes=10)
    # Between two looks at an hour that is over.
    PAUSE: Final = timedelta(seconds=30)
    # What is remembered of events, and of hours with events that go on; the oldest give way.
    MAX_KNOWN: Final = 100_000
    MAX_HOURS: Final = 48

    def __init__(self, index: EventIndex, since: datetime, clock: Callable[[], datetime]) -> None:
        self._index, self._since, self._clock = index, since, clock
        self._known: dict[str, str] = {}
        self._running: dict[datetime, set[str]] = {}
        self._looked: datetime | None = None
        self._looked_back: datetime | None = None

    def look(self) -> Iterator[EventMessage]:
        """Gives each event that has changed since the last look.

        Raises:
            ConsumerError: If the bucket cannot be read; what was not given yet comes with the next look.
        """
        now = self._clock()
        for hour in self._hours(now):
            changed = {
                listed.key: listed.version
                for listed in self._index.of_hour(hour)
                if self._known.get(listed.key) != listed.version
            }
            for event in self._index.read_all(changed):
                self._note(hour, event)
                if parse_time(event.started_at) >= self._since:
                    yield event
            self._known |= changed
        while len(self._known) > self.MAX_KNOWN:
            del self._known[next(iter(self._known))]
        while len(self._running) > self.MAX_HOURS:
            del self._running[min(self._running)]
        self._looked = now

    def _hours(self, now: datetime) -> list[datetime]:
        recent = Wanted(self._looked - self.LATE if self._looked else self._since, now + timedelta(microseconds=1))
        hours = set(self._index.hours(recent))
        if self._looked_back is None or now - self._looked_back >= self.PAUSE:
            self._looked_back = now
            hours |= self._running.keys()
        return sorted(hours)

    def _note(self, hour: datetime, event: EventMessage) -> None:
        running = self._running.setdefault(hour, set())
        if event.phase == "start":
            running.add(event.event_id)
        else:
            running.discard(event.event_id)
        if not running:
            del self._running[hour]


def started(event: EventMessage) -> tuple[str, str]:
    """Sorts events by their start."""
    return event.started_at, event.event_id


def end_of(event: EventMessage) -> datetime:
    """When it ended, or how far it has come."""
    return parse_time(event.ended_at or event.captured_at)
