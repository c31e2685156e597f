"""Watches that the stream is there: KCL would ask for records of a deleted one for ever."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from kcl_worker import aws
from kcl_worker.aws import error_code
from kcl_worker.errors import ServiceError

logger = logging.getLogger(__name__)

# Of 20 calls a second that an account may make.
LOOK_SECONDS: Final = 20


class StreamWatch:
    """Looks at the stream now and then.

    Args:
        kinesis: A client.
    """

    def __init__(self, name: str, kinesis: Any) -> None:
        self._name, self._kinesis = name, kinesis

    async def run(self) -> None:
        """Looks until cancelled; a service that fails is looked at again.

        Raises:
            ServiceError: If the stream is deleted or closed to us.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.look)
            except (ClientError, BotoCoreError) as error:
                logger.warning("the stream cannot be looked at: %s", error_code(error))

    def look(self) -> None:
        """Looks once.

        Raises:
            ServiceError: If the stream is deleted or closed to us.
        """
        try:
            described = self._kinesis.describe_stream_summary(StreamName=self._name)
        except ClientError as error:
            if error_code(error) in aws.PERMANENT:
                raise ServiceError(f"stream {self._name}: {error_code(error)}: {error}") from None
            raise
        if described["StreamDescriptionSummary"]["StreamStatus"] == "DELETING":
            raise ServiceError(f"stream {self._name}: it is being deleted")
