"""`consumer web`: the reader in a thread of its own beside the server."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import uvicorn

from consumer.bucket import Bucket
from consumer.clips.clipper import Stream
from consumer.errors import ConsumerError, GoneError
from consumer.events import EventIndex
from consumer.frames import Frames
from consumer.results import MessageHandler, NoResult, ResultReader, call
from consumer.source_settings import SourceParameters
from consumer.web.application import application
from consumer.web.board import Board
from consumer.web.event_routes import STREAM_BYTES, Events
from consumer.web.guard import is_loopback
from consumer.web.happenings import Happenings
from consumer.web.patience import Patient
from consumer.web.pictures import ATTEMPTS, Pictures, WholeMessages
from consumer.web.shape_routes import Shapes
from contract.message import ResultMessage, Summary
from contract.source_settings import DEFAULT, SourceSettings

logger = logging.getLogger(__name__)


class WebError(ConsumerError):
    """The page cannot be served."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Where events are, and the frames around them.

    Attributes:
        bucket: The pipeline's.
        kinesis, ssm: Clients that do not retry by themselves.
        stream_name: The stream of original frames; None: they are not read.
        sources_path: Of sources' settings in Parameter Store, without which no original frame is shown.
        defaults: Settings of all sources.
        allow_configure: Whether zones and lines may be changed, by whoever has the token.
    """

    bucket: Bucket
    kinesis: Any
    ssm: Any
    stream_name: str | None = None
    sources_path: str | None = None
    defaults: SourceSettings = DEFAULT
    allow_configure: bool = False

    def sources(self) -> SourceParameters | None:
        """The settings of sources."""
        if not self.sources_path:
            return None
        return SourceParameters(self.ssm, self.sources_path, defaults=self.defaults, attempts=ATTEMPTS)

    def stream(self, found: Callable[[str], Sequence[Summary]]) -> Stream:
        """The stream.

        Args:
            found: Gives what is known to be in a frame.

        Raises:
            GoneError: If none is named.
        """
        sources = self.sources()
        if not self.stream_name or sources is None:
            raise GoneError("the frames are not stored, and --stream and --sources-path do not say where else to look")
        return Stream(self.kinesis, self.stream_name, sources, STREAM_BYTES, found)


class Server(uvicorn.Server):
    """Tells its pages when it ends in good order, so that they know it from a connection that is lost."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._board.end()
        await super().shutdown(sockets)


def queue_counter(sqs: Any, quarantine_url: str | None) -> Callable[[], dict[str, int]]:
    """Counts messages without taking any."""

    def count() -> dict[str, int]:
        if not quarantine_url:
            return {}
        name = "ApproximateNumberOfMessages"
        try:
            answer = call(
                quarantine_url, lambda: sqs.get_queue_attributes(QueueUrl=quarantine_url, AttributeNames=[name])
            )
        except ConsumerError as error:
            logger.warning("%s", error)
            return {}
        return {"quarantine": int(answer["Attributes"][name])}

    return count


def serve(
    reader: ResultReader,
    stop: threading.Event,
    frames: Frames,
    count: Callable[[], dict[str, int]],
    origins: Origins,
    *,
    host: str,
    port: int,
    token: str | None,
    announce: Callable[[str], None],
    handle: MessageHandler,
) -> None:
    """Serves until the server is told to end by a signal, whose handler sets `stop` too.

    Args:
        origins: Where events are, and the frames around them.
        token: Asked of everyone; off this machine, or where settings may be changed, one is made if none is given.
        announce: Told the address to open.
        handle: Given each message too.

    Raises:
        ConsumerError: If the address is taken, or the queue cannot be read.
        Exception: Whatever else ends the reader, such as an output that is closed, ends the server too.
    """
    if token is None and (origins.allow_configure or not is_loopback(host)):
        token = secrets.token_urlsafe(24)
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise WebError(f"--host {host} --port {port}: {error.strerror}") from None
    except (TypeError, ValueError):  # a name that no address can have
        raise WebError(f"--host {host}: no name of a host") from None
    board = Board()
    whole = WholeMessages(frames, board.add)
    happenings = Happenings(EventIndex(origins.bucket), board.tell)
    events = Events(happenings, origins.bucket, lambda: origins.stream(board.summary))
    shapes = Shapes(board, origins.sources(), origins.allow_configure)
    failures: list[BaseException] = []
    config = uvicorn.Config(
        application(board, Pictures(frames), count, events, shapes, token=token),
        log_level="warning",
        lifespan="off",
        http=Patient,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = Server(config, board)

    def take(result: ResultMessage, body: str) -> None:
        whole.add(result)
        handle(result, body)

    def take_other(message: NoResult, body: str) -> None:
        board.count(message)
        handle(message, body)

    reader.others = take_other

    def guarded(work: Callable[[], None]) -> None:
        """Ends the server when the work ends: a page that nothing comes to any more would look alive."""
        try:
            work()
        except BaseException as error:  # another thread raises it
            failures.append(error)
        server.should_exit = True

    works: dict[str, Callable[[], None]] = {
        "results": lambda: reader.run(take, stop),
        "whole": whole.run,
        "events": lambda: happenings.run(stop),
    }
    # Before anything is read: whoever waits for the address gets it first.
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
    announce(address + (f"?token={quote(token, safe='')}" if token else ""))
    threads = [threading.Thread(target=guarded, args=[work], name=name, daemon=True) for name, work in works.items()]
    for thread in threads:
        thread.start()
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        stop.set()
        threads[0].join(5)
    if failures:
        raise failures[0]
