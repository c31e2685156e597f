"""Which of several streams that have had the same name one after another."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Final

# Our attribute of each lease, beside KCL's, which changes its own alone: when the stream was made that it is of.
# A stream that is deleted and made again has shards of the same names, and none of the old checkpoints' records.
LEASE_STREAM: Final = "streamCreated"


def created_at(summary: dict[str, Any]) -> str:
    """When a stream was made, from its `StreamDescriptionSummary`: ISO 8601, UTC, milliseconds."""
    created: str = summary["StreamCreationTimestamp"].astimezone(UTC).isoformat(timespec="milliseconds")
    return created
