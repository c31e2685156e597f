"""What lies in the bucket."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def stored_events(s3: Any, bucket: str) -> set[str]:
    """All keys of the index of events and of their snapshots."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="events/")
    return {found["Key"] for page in pages for found in page.get("Contents", [])}


# The worker sets this on each object: the SHA-256 of the record that it was made from.
RECORD_SHA256 = "record-sha256"


def stored_objects(s3: Any, bucket: str, sources: Iterable[str]) -> dict[str, str]:
    """All objects of some sources, frames and quarantined records, with the hash of each object's record."""
    keys = [
        found["Key"]
        for source in sorted(set(sources))
        for folder in ("frames", "quarantine")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{folder}/{source}/")
        for found in page.get("Contents", [])
    ]

    def record_of(key: str) -> str:
        return str(s3.head_object(Bucket=bucket, Key=key)["Metadata"].get(RECORD_SHA256, ""))

    with ThreadPoolExecutor(8) as threads:
        return dict(zip(keys, threads.map(record_of, keys), strict=True))
