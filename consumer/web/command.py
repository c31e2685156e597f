"""`consumer web`: the reader in a thread of its own beside the server."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from consumer.errors import ConsumerError
from consumer.results import Handler, ResultReader, call
from consumer.web.application import application
from consumer.web.board import Board
from consumer.web.guard import is_loopback
from contract.message import ResultMessage

logger = logging.getLogger(__name__)

# More than a frame has by default; a hostile message may name a larger object.
MAX_PICTURE_BYTES: Final = 32 * 1024 * 1024


class WebError(ConsumerError):
    """The page cannot be served."""


def frame_fetcher(s3: Any, bucket: str | None) -> Callable[[ResultMessage], bytes]:
    """Reads annotated frames, from one bucket alone where it is known: messages may come from anyone."""

    def fetch(result: ResultMessage) -> bytes:
        if bucket is not None and result.bucket != bucket:
            raise WebError(f"frame {result.frame_id} is said to be in another bucket than {bucket}")
        where = f"s3://{result.bucket}/{result.key}"
        content = call(
            where, lambda: s3.get_object(Bucket=result.bucket, Key=result.key)["Body"].read(MAX_PICTURE_BYTES + 1)
        )
        if len(content) > MAX_PICTURE_BYTES or not content.startswith(b"\xff\xd8"):
            raise WebError(f"{where}: not a picture")
        return bytes(content)

    return fetch


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
    fetch: Callable[[ResultMessage], bytes],
    count: Callable[[], dict[str, int]],
    *,
    host: str,
    port: int,
    token: str | None,
    announce: Callable[[str], None],
    handle: Handler,
) -> None:
    """Serves until the server is told to end by a signal, whose handler sets `stop` too.

    Args:
        token: Asked of everyone; off this machine one is made if none is given.
        announce: Told the address to open.
        handle: Given each result too.

    Raises:
        ConsumerError: If the address is taken, or the queue cannot be read.
    """
    if token is None and not is_loopback(host):
        token = secrets.token_urlsafe(24)
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise WebError(f"--host {host} --port {port}: {error.strerror}") from None
    board = Board()
    failure: list[ConsumerError] = []
    config = uvicorn.Config(
        application(board, fetch, count, token=token),
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)

    def take(result: ResultMessage, body: str) -> None:
        board.add(result)
        handle(result, body)

    def read() -> None:
        try:
            reader.run(take, stop)
        except ConsumerError as error:
            failure.append(error)
            server.should_exit = True

    thread = threading.Thread(target=read, name="results", daemon=True)
    thread.start()
    address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
    announce(address + (f"?token={token}" if token else ""))
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        stop.set()
        thread.join(5)
    if failure:
        raise failure[0]
