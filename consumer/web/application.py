"""The page's server: the page itself, its events, and an API for programs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from consumer.web.answers import JPEG_HEADERS, Endpoint, answering, limit_of, problem
from consumer.web.board import END, Board, Listener
from consumer.web.event_routes import Events
from consumer.web.guard import Guard
from consumer.web.openapi import DESCRIPTION, MAX_LIMIT
from consumer.web.pictures import Pictures, in_thread
from consumer.web.shape_routes import Shapes

STATIC: Final = Path(__file__).parent / "static"
# A word now and then tells both sides that the other is there.
HEARTBEAT_SECONDS: Final = 5.0
QUEUES_SECONDS: Final = 5.0

CountQueues = Callable[[], dict[str, int]]
"""Gives the number of messages on the queues that something is wrong with; blocks."""


def application(
    board: Board, pictures: Pictures, count: CountQueues, events: Events, shapes: Shapes, *, token: str | None = None
) -> Starlette:
    """Puts the routes together.

    Args:
        token: Asked of everyone; without one only requests to a loopback address are answered.
    """
    routes = [
        Route("/", lambda _: FileResponse(STATIC / "index.html")),
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/events", _events(board, count, shapes)),
        Route("/openapi.json", lambda _: JSONResponse(DESCRIPTION)),
        Route("/api/sources", lambda _: JSONResponse({"sources": board.sources()})),
        Route("/api/sources/{name}/status", _source(board)),
        Route("/api/detections", _detections(board)),
        Route("/api/frames/{frame_id:path}", _frame(board)),
        Route("/frames/{frame_id:path}", _picture(board, pictures)),
        *events.routes(),
        *shapes.routes(),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={HTTPException: _refuse},  # paths and methods that there are not
    )


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail)


def _source(board: Board) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        status = board.source(request.path_params["name"])
        return JSONResponse(status) if status else problem(404, "no such source has sent a frame since we listen")

    return endpoint


def _detections(board: Board) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        query = request.query_params
        found = board.detections(
            source=query.get("source"),
            class_name=query.get("class"),
            before=query.get("before"),
            limit=limit_of(request, "50", MAX_LIMIT),
        )
        return JSONResponse({"detections": found})

    return answering(endpoint)


def _frame(board: Board) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        found = board.entry(request.path_params["frame_id"])
        return JSONResponse(found) if found else problem(404, "no such frame among the latest")

    return endpoint


def _picture(board: Board, pictures: Pictures) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        result = board.frame(request.path_params["frame_id"])
        if result is None:
            return problem(404, "no such frame among the latest")
        return Response(await pictures.get(result), media_type="image/jpeg", headers=JPEG_HEADERS)

    return answering(endpoint)


def _events(board: Board, count: CountQueues, shapes: Shapes) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return StreamingResponse(
            _stream(board, count, shapes), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    return endpoint


async def _stream(board: Board, count: CountQueues, shapes: Shapes) -> AsyncIterator[str]:
    """Server-sent events: what there is, then what comes, until the board ends; see the HTML standard, 9.2."""
    with board.listen() as events:
        known = {"sources": board.sources(), "shapes": shapes.sources is not None, "configure": shapes.allowed}
        yield _event(json.dumps({"type": "sources", **known}))
        counting = asyncio.create_task(_tell_queues(events, count))
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        event = await events.get()
                except TimeoutError:
                    yield ": still here\n\n"
                else:
                    yield _event(event)
                    if event == END:
                        return
        finally:
            counting.cancel()


async def _tell_queues(events: Listener, count: CountQueues) -> None:
    """Counts now and then, beside the results: a queue that does not answer delays none."""
    while True:
        events.offer(json.dumps({"type": "queues", "queues": await in_thread(count)}))
        await asyncio.sleep(QUEUES_SECONDS)


def _event(text: str) -> str:
    return f"data: {text}\n\n"
