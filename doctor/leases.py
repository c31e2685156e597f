"""Whether somebody reads every shard."""

from __future__ import annotations

import time
from typing import Any, Final

from cloud.shards import list_shards, without_lease
from cloud.streams import LEASE_STREAM, created_at
from doctor.finding import Finding
from doctor.place import Place, ask, named

# A lease whose counter stands still for longer than that is nobody's: three renewals in KCL's failover time of 10 s.
HEARTBEAT_SECONDS: Final = 8.0
# Within this the workers give a lease that nobody renews to a living one.
REPAIR_SECONDS: Final = 30.0

Items = dict[str, dict[str, Any]]


def leases(place: Place) -> Finding:
    """Whether workers hold the shards: a lease that is held has its counter grow.

    No other hop shows a shard that nobody reads: its records are on the stream, and those of its neighbours arrive.
    """
    named("leases", place.stream, "KINESIS_STREAM_NAME")
    before = _scan(place)
    if before and (earlier := _of_earlier_stream(place, before)):
        return Finding("leases", "wrong", earlier, "restart the workers: they begin anew on this one")
    shards = ask(
        "leases",
        "kinesis:ListShards",
        lambda: list_shards(place.client("kinesis"), place.stream),
        f"there is no stream {place.stream}",
    )
    started, now, alive = time.monotonic(), before, set[str]()
    while True:
        unread = {key: _why(item) for key, item in now.items() if not _finished(item) and key not in alive}
        unread |= dict.fromkeys(
            without_lease(shards, {key: _finished(item) for key, item in now.items()}), "it has no lease"
        )
        # Where others are held, somebody is there who will take it.
        patience = REPAIR_SECONDS if alive else HEARTBEAT_SECONDS
        if not unread or time.monotonic() - started > patience:
            break
        time.sleep(0.5)
        now = _scan(place)
        alive |= {key for key in now.keys() & before.keys() if _counter(now[key]) != _counter(before[key])}
        before = now
    held = [key for key, item in now.items() if key in alive and not _finished(item)]
    owners = {now[key].get("leaseOwner", {}).get("S", "") for key in held} - {""}
    says = f"{len(held)} of {len(held) + len(unread)} shards are held, by {len(owners)} workers"
    if not unread:
        return Finding("leases", "well", says)
    some = ", ".join(f"{key} ({why})" for key, why in sorted(unread.items())[:3])
    advice = (
        "docs/runbook.md, `unowned`" if alive else "no worker runs, or it has just died: `make status`, `make logs`"
    )
    return Finding("leases", "wrong", f"{says}; nobody reads {some}", advice)


def _of_earlier_stream(place: Place, items: Items) -> str:
    """Says so if the stream was deleted and made again, and the workers still read the one before."""
    kinesis = place.client("kinesis")
    summary = ask(
        "leases", "kinesis:DescribeStreamSummary",
        lambda: kinesis.describe_stream_summary(StreamName=place.stream)["StreamDescriptionSummary"],
        f"there is no stream {place.stream}",
    )  # fmt: skip
    created = created_at(summary)
    others = {item[LEASE_STREAM]["S"] for item in items.values() if LEASE_STREAM in item} - {created}
    if not others:
        return ""
    return f"they are of a stream {place.stream} that was made at {min(others)}; this one was made at {created}"


def _scan(place: Place) -> Items:
    table = place.client("dynamodb").get_paginator("scan")

    def items() -> Items:
        pages = table.paginate(TableName=place.application, ConsistentRead=True)
        found = [item for page in pages for item in page["Items"]]
        return {item["leaseKey"]["S"]: item for item in found if item["leaseKey"]["S"].startswith("shardId-")}

    return ask(
        "leases", "dynamodb:Scan", items,
        f"no worker has ever run: there is no table {place.application}",
        "start one: ECS does when a record comes (`make status`); locally `python -m kcl_worker`",
    )  # fmt: skip


def _counter(item: dict[str, Any]) -> str:
    return str(item.get("leaseCounter", {}).get("N", ""))


def _finished(item: dict[str, Any]) -> bool:
    """Whether its shard is closed and was read to its end."""
    return bool(item.get("checkpoint", {}).get("S") == "SHARD_END")


def _why(item: dict[str, Any]) -> str:
    """What a lease that nobody renews says of itself; its states stand in `kcl_worker/kcl/lease_table.py`."""
    owner, old = (item.get(name, {}).get("S", "") for name in ("leaseOwner", "checkpointOwner"))
    if owner:
        return f"{old or owner} does not renew it"
    return f"its hand-over from {old} has lost the new owner" if old else "it is free"
