"""The routes of events: a list, each one with its picture, the frames around it, and its film."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from consumer.bucket import Bucket
from consumer.clips.clipper import Stream, shots_of
from consumer.clips.film import write_film
from consumer.clips.shots import MAX_AROUND_SECONDS, Shots, Window
from consumer.errors import GoneError, RefusedError
from consumer.events import Wanted
from consumer.frames import read_picture
from consumer.moments import AHEAD, moment
from consumer.web.answers import JPEG_HEADERS, answering, limit_of, number
from consumer.web.happenings import MAX_WINDOW, Happenings, entry
from consumer.web.openapi import MAX_EVENTS
from consumer.web.pictures import PICTURE_SECONDS, PICTURES_AT_ONCE, Turns
from contract.event import EventMessage
from contract.event_rules import EventKind
from contract.frame import format_time

# Frames of clips that are kept at hand: a browser asks for them one by one.
CLIPS_AT_HAND: Final = 4
STREAM_BYTES: Final = 32 * 1024 * 1024
# Searching, filming: it takes longer than a picture, and a core.
CLIPS_AT_ONCE: Final = 2
CLIP_SECONDS: Final = 120.0
# Frames of a clip that the page can step through.
MAX_FRAMES: Final = 1500

BEGINNING: Final = datetime(2006, 1, 1, tzinfo=UTC)
PATH: Final = "{day}/{hour}/{source}/{event_id}"


@dataclass(frozen=True)
class Events:
    """Where events, their pictures and their frames come from.

    Attributes:
        stream: Gives the stream of original frames; raises a `ConsumerError` if there is none.
    """

    happenings: Happenings
    bucket: Bucket
    stream: Callable[[], Stream]

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        made = _Routes(self)
        return [
            Route("/api/events", answering(made.latest)),
            Route(f"/api/events/{PATH}", answering(made.one)),
            Route(f"/api/events/{PATH}/frames", answering(made.frames)),
            Route(f"/api/events/{PATH}/clip", answering(made.clip)),
            Route(f"/event-pictures/{PATH}", answering(made.picture)),
            Route(f"/event-frames/{PATH}/{{number}}", answering(made.frame)),
        ]


class _Routes:
    """Answers."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._lists = Turns(2, CLIP_SECONDS)
        self._pictures = Turns(PICTURES_AT_ONCE, PICTURE_SECONDS)
        self._clips = Turns(CLIPS_AT_ONCE, CLIP_SECONDS)
        self._at_hand: OrderedDict[tuple[str, float, float, bool], Shots] = OrderedDict()
        self._lock = threading.Lock()

    async def latest(self, request: Request) -> Response:
        wanted, limit = _wanted(request), limit_of(request, "500", MAX_EVENTS)
        found = await self._lists.run(lambda: self._events.happenings.latest(wanted, limit + 1))
        answer = {"events": [entry(event) for event in found[:limit]], "more": len(found) > limit}
        return JSONResponse(answer | {"problem": self._events.happenings.problem})

    async def one(self, request: Request) -> Response:
        return JSONResponse(entry(await self._event(request)))

    async def picture(self, request: Request) -> Response:
        event = await self._event(request)
        if event.snapshot_key is None:
            raise GoneError(f"event {event.event_id} has no picture")
        key = event.snapshot_key
        jpeg = await self._pictures.run(lambda: read_picture(self._events.bucket, key))
        # A better one may replace it while the event goes on.
        headers = JPEG_HEADERS if event.phase == "end" else {"cache-control": "no-store"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    async def frames(self, request: Request) -> Response:
        shots = await self._shots(request, await self._event(request))
        times = [format_time(at) for at in shots.times[:MAX_FRAMES]]
        return JSONResponse({"from": shots.origin, "frames": times})

    async def frame(self, request: Request) -> Response:
        shots = await self._shots(request, await self._event(request))
        which = number(request.path_params["number"], len(shots) - 1)
        if which is None:
            raise GoneError(f"no such frame: there are {len(shots)}")
        jpeg = await self._pictures.run(partial(shots.picture, which))
        return Response(jpeg, media_type="image/jpeg", headers={"cache-control": "no-store"})

    async def clip(self, request: Request) -> Response:
        event = await self._event(request)
        shots = await self._shots(request, event)
        folder = tempfile.TemporaryDirectory(prefix="clip-")
        path = Path(folder.name) / "clip.mp4"
        try:
            await self._clips.run(lambda: write_film(path, shots))
        except BaseException:
            folder.cleanup()
            raise
        name = f"{event.source}-{event.rule}-{event.started_at[:19].replace(':', '.')}.mp4"
        return FileResponse(path, media_type="video/mp4", filename=name, background=BackgroundTask(folder.cleanup))

    async def _event(self, request: Request) -> EventMessage:
        path = "/".join(request.path_params[name] for name in ("day", "hour", "source", "event_id"))
        try:
            return await self._pictures.run(lambda: self._events.happenings.get(path))
        except RefusedError:
            raise GoneError(f"{path}: no such event") from None

    async def _shots(self, request: Request, event: EventMessage) -> Shots:
        before, after, boxes = _seconds(request, "before"), _seconds(request, "after"), _boxes(request)
        # An event that goes on has more frames the next time.
        key = (event.index_key + event.captured_at, before, after, boxes)
        with self._lock:
            if found := self._at_hand.get(key):
                self._at_hand.move_to_end(key)
                return found
        window = Window.around(event, before, after)
        try:
            shots = await self._clips.run(
                lambda: shots_of(self._events.bucket, self._events.stream, event, window, boxes=boxes)
            )
        except RefusedError as error:  # its source's settings hide what they show
            raise HTTPException(403, str(error)) from None
        with self._lock:
            self._at_hand[key] = shots
            while len(self._at_hand) > CLIPS_AT_HAND:
                self._at_hand.popitem(last=False)
        return shots


def _wanted(request: Request) -> Wanted:
    """What a request asks for; by default the last 24 hours, `MAX_WINDOW` at the most.

    Raises:
        ValueError: If a parameter is wrong.
    """
    query, now = request.query_params, datetime.now(UTC)
    until = _moment("until", query.get("until", "0s"), now)
    # The cloud is no older than that.
    until = max(BEGINNING, min(until, now + AHEAD))
    since = _moment("since", query["since"], now) if "since" in query else until - timedelta(hours=24)
    since = max(since, until - MAX_WINDOW)
    kind: Any = query.get("kind")
    if kind not in (None, *get_args(EventKind)):
        raise ValueError(f"kind: {', '.join(get_args(EventKind))} are allowed")
    return Wanted(since, until, query.get("source"), kind, query.get("rule"), query.get("zone"), query.get("class"))


def _moment(name: str, text: str, now: datetime) -> datetime:
    try:
        return moment(text, now)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _seconds(request: Request, name: str) -> float:
    seconds = number(request.query_params.get(name, "5"), int(MAX_AROUND_SECONDS))
    if seconds is None:
        raise ValueError(f"{name}: a number from 0 to {MAX_AROUND_SECONDS:.0f} is allowed")
    return float(seconds)


def _boxes(request: Request) -> bool:
    text = request.query_params.get("boxes", "1")
    if text not in ("0", "1"):
        raise ValueError("boxes: 0 and 1 are allowed")
    return text == "1"
