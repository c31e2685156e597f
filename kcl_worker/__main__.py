"""Starts a worker: `python -m kcl_worker`. Its environment configures it."""

from __future__ import annotations

import asyncio
import logging
import sys

from kcl_worker import logs
from kcl_worker.errors import BUG_EXIT_STATUS, WorkerError
from kcl_worker.settings import Settings


def main() -> int:
    """Runs a worker to its end; gives its exit status."""
    logs.configure("INFO")
    logger = logging.getLogger("kcl_worker")
    try:
        settings = Settings.from_environment()
        logs.configure(settings.log_level)
        # Imported late, so that a wrong setting is told at once and not after the model's libraries.
        from kcl_worker.worker import Worker

        asyncio.run(Worker(settings).run())
    except WorkerError as error:
        logger.error("%s", error, extra={"exit_status": error.exit_status})
        return error.exit_status
    except Exception:
        logger.exception("a bug ended the worker", extra={"exit_status": BUG_EXIT_STATUS})
        return BUG_EXIT_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
