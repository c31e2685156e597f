"""The routes of zones and lines: what a source has, what others would have counted, and, if allowed, their change."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from consumer.errors import GoneError, RefusedError
from consumer.source_settings import SourceParameters
from consumer.trying import try_shapes
from consumer.web.answers import answering
from consumer.web.board import Board
from consumer.web.pictures import PICTURE_SECONDS, Turns
from contract.errors import FrameError
from contract.frame import check_source
from contract.shapes import Line, Section, Zone
from contract.source_settings import MAX_SHAPES, explain

# 16 zones of 64 corners and 16 lines take less.
MAX_BODY_BYTES: Final = 128 * 1024
BODY_SECONDS: Final = 10.0
# Calls of Parameter Store, and counting over thousands of results, at once.
AT_ONCE: Final = 2
# Results that shapes are tried on, the latest: four minutes of a camera at 8 frames a second.
MAX_TRIED: Final = 2000


class Drawn(Section):
    """Zones and lines as a browser sends them.

    Attributes:
        version: Of the settings that they were drawn over.
    """

    zones: Annotated[tuple[Zone, ...], Field(max_length=MAX_SHAPES)] = ()
    lines: Annotated[tuple[Line, ...], Field(max_length=MAX_SHAPES)] = ()
    version: int | None = None


@dataclass(frozen=True)
class Shapes:
    """Zones and lines of sources.

    Attributes:
        sources: Their settings; None if nobody says where they are.
        allowed: Whether they may be changed.
    """

    board: Board
    sources: SourceParameters | None
    allowed: bool

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        made = _Routes(self)
        return [
            Route("/api/sources/{name}/shapes", answering(made.show)),
            Route("/api/sources/{name}/shapes", answering(made.save), methods=["PUT"]),
            Route("/api/sources/{name}/try", answering(made.attempt), methods=["POST"]),
        ]


class _Routes:
    """Answers."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes, self._turns = shapes, Turns(AT_ONCE, PICTURE_SECONDS)

    async def show(self, request: Request) -> Response:
        sources, name = self._sources(), _name(request)
        read = await self._turns.run(lambda: sources.read(name))
        shapes = read.settings.model_dump(mode="json", include={"zones", "lines"})
        return JSONResponse(shapes | {"version": read.version})

    async def attempt(self, request: Request) -> Response:
        drawn, name = await _drawn(request), request.path_params["name"]

        def count() -> dict[str, Any]:
            results = self._shapes.board.detections(source=name, class_name=None, before=None, limit=MAX_TRIED)
            return try_shapes(results, drawn.zones, drawn.lines)

        return JSONResponse(await self._turns.run(count))

    async def save(self, request: Request) -> Response:
        if not self._shapes.allowed:
            raise HTTPException(403, "nothing can be changed here: `consumer web --allow-configure` allows it")
        sources, drawn, name = self._sources(), await _drawn(request), _name(request)

        def change() -> int:
            read = sources.read(name)
            if drawn.version not in (None, read.version):
                raise HTTPException(409, "somebody else has changed the settings meanwhile: load the page again")
            return sources.write(name, merged(read.text, drawn))

        try:
            return JSONResponse({"version": await self._turns.run(change)})
        except RefusedError as error:
            raise ValueError(str(error)) from None

    def _sources(self) -> SourceParameters:
        if self._shapes.sources is None:
            raise GoneError("--sources-path does not say where the settings of sources are")
        return self._shapes.sources


def merged(text: str, drawn: Drawn) -> str:
    """Settings with other zones and lines; whatever else they say stays."""
    shapes = drawn.model_dump(mode="json", include={"zones", "lines"})
    return json.dumps(json.loads(text) | shapes, separators=(",", ":"))


def _name(request: Request) -> str:
    """The source that a request is about.

    Raises:
        HTTPException: If that is no source's name.
    """
    name: str = request.path_params["name"]
    try:
        check_source(name)
    except FrameError as error:
        raise HTTPException(404, error.detail) from None
    return name


async def _drawn(request: Request) -> Drawn:
    """Reads what was drawn.

    Raises:
        ValueError: If that cannot be used, in the contract's words.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "application/json is needed")
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"at most {MAX_BODY_BYTES} bytes are allowed")
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_SECONDS:g} seconds") from None
    try:
        return Drawn.model_validate_json(body)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
