"""Messages that were received to be looked at, and are left to others."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from cloud.errors import ERRORS


def give_back(sqs: Any, queue_url: str, receipt_handles: Iterable[str]) -> None:
    """Makes messages visible to other receivers at once.

    One that is not let go becomes visible by itself; one that was held for longer than that may be gone by now.
    """
    for handle in receipt_handles:
        with suppress(*ERRORS):
            sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=handle, VisibilityTimeout=0)
