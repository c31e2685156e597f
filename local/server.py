"""The embedded AWS: moto's services on one loopback port, over HTTP/1.1 and HTTP/2.

    python -m local.server --port 5000

Kinesis's Java client speaks HTTP/2 with prior knowledge, which moto's own server does not;
hypercorn serves the same WSGI application over both versions.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local import autoscaling, budgets, ecs, events, kinesis, permissions, policies, queues, quotas
from local.faults import Faults
from local.tls import CERTIFICATE, HOST, KEY

# PutRecords may carry 10 MiB, and base64 and JSON make this a third larger.
MAX_BODY_BYTES = 24 * 1024 * 1024
END_SECONDS = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description="an embedded AWS on a loopback port")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--tls", type=Path, help="a folder with a certificate and its key (`local.tls`)")
    args = parser.parse_args()
    listener = socket.create_server((HOST, args.port), backlog=256)
    # The parent process reads the address from this line; the address is bound by now.
    scheme = "https" if args.tls else "http"
    print(f"{scheme}://{HOST}:{listener.getsockname()[1]}", flush=True)
    asyncio.run(_serve(listener, args.tls))


async def _serve(listener: socket.socket, tls: Path | None) -> None:
    kinesis.correct()
    policies.correct()
    autoscaling.correct()
    budgets.correct()
    ecs.correct()
    events.correct()
    permissions.correct()
    queues.correct()
    quotas.correct()
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    if tls:
        config.certfile, config.keyfile = str(tls / CERTIFICATE), str(tls / KEY)
    config.wsgi_max_body_size = MAX_BODY_BYTES
    config.h2_max_inbound_frame_size = 2**20
    # Clients reuse connections that were idle for minutes. If a connection closes under a request, they
    # repeat the request although it was carried out.
    config.keep_alive_timeout = 3600
    config.graceful_timeout = 1
    config.accesslog = None
    config.loglevel = "WARNING"
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def stopped() -> None:
        await stop.wait()
        # A request that sleeps in a thread, as a slow service's do, would hold up the end for as long.
        loop.call_later(END_SECONDS, os._exit, 0)

    config.include_date_header = False  # `_dated` adds the header: some faults say another time
    application = _dated(Faults(_in_turn(_never_empty(DomainDispatcherApplication(create_backend_app)))))
    await serve(application, config, shutdown_trigger=stopped, mode="wsgi")


def _dated(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Gives every response the time, unless it bears one."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *others: Any) -> Any:
            if not any(name.lower() == "date" for name, _ in headers):
                headers = [*headers, ("Date", formatdate(usegmt=True))]
            return start_response(status, headers, *others)

        return application(environ, start)

    return answer


def _in_turn(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Lets the requests of a service pass one at a time, because moto's services are not thread-safe.

    SQS is left out, because its receivers wait within their requests.
    """
    locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # …Credential=KEY/20260101/eu-central-1/ec2/aws4_request, …
        scope = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].partition(",")[0].split("/")
        service = scope[-2] if len(scope) > 1 else ""
        if service == "sqs":
            return application(environ, start_response)
        with locks[service]:
            return application(environ, start_response)

    return answer


def _never_empty(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Gives every response a body, even one of no bytes: hypercorn 0.18 answers one without a body, such as
    S3's HeadBucket, with a status of 500."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return list(application(environ, start_response)) or [b""]

    return answer


if __name__ == "__main__":
    main()
