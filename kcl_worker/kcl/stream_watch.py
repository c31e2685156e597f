"""Checks that the stream exists and is the one of the leases, because KCL would read a deleted stream for ever.

A stream that is deleted and made again under its name has shards of the same names. Their leases still bear the
checkpoints of the old records, at which Kinesis refuses to begin (`InvalidArgument`), again and again. So each lease
says when its stream was made. Who finds that it was another one ends, and the next start begins with fresh leases.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from botocore.exceptions import ClientError

from cloud.errors import ERRORS, code_of, describe, may_pass
from cloud.streams import created_at
from kcl_worker.errors import ServiceError
from kcl_worker.kcl.lease_table import Lease, LeaseTable

logger = logging.getLogger(__name__)

# An account may make 20 of these calls a second.
LOOK_SECONDS: Final = 20


class StreamWatch:
    """Looks at the stream at a fixed interval.

    Args:
        kinesis: A Kinesis client.
        table: The leases of those who read it.
    """

    def __init__(self, name: str, kinesis: Any, table: LeaseTable) -> None:
        self._name, self._kinesis, self._table = name, kinesis, table
        self._created: str | None = None

    async def run(self) -> None:
        """Looks until cancelled; goes on when the service fails.

        Raises:
            ServiceError: If the stream is deleted or forbidden, or was made after the leases.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.look)
            except ERRORS as error:
                logger.warning("the stream cannot be looked at: %s", code_of(error))

    def look(self) -> None:
        """Looks once; marks leases that do not say of which stream they are.

        Raises:
            ServiceError: If the stream is deleted or forbidden, or was made after the leases.
        """
        created = creation(self._kinesis, self._name)
        self._created = self._created or created
        leases = self._table.leases()
        if self._created != created or of_another_stream(leases, created):
            raise ServiceError(f"stream {self._name}: it was made again at {created}; the next start begins anew")
        for lease in leases:
            if lease.stream is None:
                self._table.mark(lease, created)


def creation(kinesis: Any, name: str) -> str:
    """When the stream was made.

    Raises:
        ServiceError: If it is deleted or forbidden.
    """
    try:
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    except ClientError as error:
        if not may_pass(error):
            raise ServiceError(f"stream {name}: {describe(error)}") from None
        raise
    if summary["StreamStatus"] == "DELETING":
        raise ServiceError(f"stream {name}: it is being deleted")
    return created_at(summary)


def of_another_stream(leases: Iterable[Lease], created: str) -> bool:
    """Whether leases are of a stream that had this one's name before."""
    return any(lease.stream not in (None, created) for lease in leases)
