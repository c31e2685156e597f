"""Starts a worker: `python -m kcl_worker`. Its environment configures it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from kcl_worker import logs
from kcl_worker.errors import BUG_EXIT_STATUS, WorkerError
from kcl_worker.settings import Settings

logger = logging.getLogger("kcl_worker")


def main() -> int:
    """Runs a worker to its end; gives its exit status."""
    logs.configure("INFO")
    try:
        settings = Settings.from_environment()
    except WorkerError as error:
        return _tell(error)
    logs.configure(settings.log_level)
    return asyncio.run(_live(settings))


async def _live(settings: Settings) -> int:
    # Imported late, so that a wrong setting is told at once and not after the model's libraries.
    from kcl_worker.worker import Worker

    try:
        await Worker(settings).run()
    except Exception as error:
        status = _tell(error)
        # All is cleaned up, but for a thread that may hang, as in a model call; Python would wait for it for ever.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(status)
    return 0


def _tell(error: Exception) -> int:
    """Says why the worker ends, in its last line; gives the exit status."""
    status = error.exit_status if isinstance(error, WorkerError) else BUG_EXIT_STATUS
    if isinstance(error, WorkerError):
        logger.error("%s", error, extra={"exit_status": status})
    else:
        logger.error("a bug ended the worker", exc_info=error, extra={"exit_status": status})
    logging.disable()  # threads that are still at work, as in a call of AWS, have nothing to add
    return status


if __name__ == "__main__":
    sys.exit(main())
