"""Starts a worker: `python -m kcl_worker`. Environment variables configure it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from functools import partial
from typing import NoReturn

from cloud.unusable import UnusableSettingsError
from kcl_worker.errors import BUG_EXIT_STATUS, SettingsError, WorkerError
from kcl_worker.operating import logs
from kcl_worker.operating.outlet import Outlet
from kcl_worker.settings import Settings

logger = logging.getLogger("kcl_worker")


def main() -> NoReturn:
    """Runs a worker until it ends, and the process with it."""
    output, errors = Outlet(sys.stdout), Outlet(sys.stderr)
    logs.configure("INFO", errors)
    try:
        settings = Settings.from_environment()
    except WorkerError as error:
        _end(_tell(error), output, errors)
    logs.configure(settings.log_level, errors)
    asyncio.run(_live(settings, output, errors))


async def _live(settings: Settings, output: Outlet, errors: Outlet) -> NoReturn:
    # Imported late, so that the worker reports a wrong setting before it loads the model's libraries.
    from kcl_worker.operating.metrics import dropped
    from kcl_worker.worker import Worker

    output.tell = errors.tell = partial(dropped, settings.kinesis_stream_name, settings.kcl_application_name)
    status = 0
    try:
        await Worker(settings, output).run()
    except Exception as error:
        status = _tell(error)
    # All is cleaned up but threads: one may hang in a model call, another wait for a service that is away. Python would
    # wait for them, and so does the loop's end.
    _end(status, output, errors)


def _tell(error: Exception) -> int:
    """Logs why the worker ends, as its last line; gives the exit status."""
    if isinstance(error, UnusableSettingsError):
        error = SettingsError(str(error))
    status = error.exit_status if isinstance(error, WorkerError) else BUG_EXIT_STATUS
    if isinstance(error, WorkerError):
        logger.error("%s", error, extra={"exit_status": status})
    else:
        logger.error("a bug ended the worker", exc_info=error, extra={"exit_status": status})
    return status


def _end(status: int, *outlets: Outlet) -> NoReturn:
    logging.disable()  # threads that still work, such as one in a call to AWS, must not log after the last line
    for outlet in outlets:
        outlet.end()
    os._exit(status)


if __name__ == "__main__":
    main()
