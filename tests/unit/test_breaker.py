"""Marks of shards: who died of which record, told from one worker to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract import Position
from kcl_worker.breaker import CLOCK_MARGIN, RENEW_AFTER, Breaker, Mark
from kcl_worker.kcl.shard_order import Turns
from kcl_worker.record import Outcome, Place, Record, Turn
from kcl_worker.storing.caller import Caller
from kcl_worker.storing.sinks import StateStore
from local.resources import Resources

SHARD = "shardId-000000000000"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Death(BaseException):
    """Ends a worker in the midst of its work."""


class Work:
    """Dies of chosen records unless they come as suspects; counts what came, and how."""

    def __init__(self, deadly: set[str]) -> None:
        self.deadly = deadly
        self.came: list[tuple[str, bool]] = []

    async def process(self, record: Record) -> Outcome:
        name = record.position.sequence
        self.came.append((name, record.suspect))
        if name in self.deadly and not record.suspect:
            raise Death
        return Outcome.DURABLE

    def is_due(self, now: float) -> bool:
        return False

    async def rest(self, turn: Callable[[], Turn], now: float) -> None: ...

    def close(self) -> None: ...

    async def save(self) -> Place | None: ...

    async def finish(self) -> None: ...


@pytest.fixture
def marks(resources: Resources) -> StateStore:
    return StateStore(resources.client("s3"), resources.bucket, "app", Caller())


def record(number: int, arrived_at: datetime = NOW) -> Record:
    return Record(b"", Position(SHARD, str(number), "door", arrived_at), Turns().next())


async def live(marks: StateStore, work: Work, *records: Record, clock: Callable[[], datetime] = lambda: NOW) -> bool:
    """A worker from the start of its lease; gives whether it came to the end."""
    guarded = Breaker(marks, lambda _: work, clock).begin(SHARD)
    try:
        for one in records:
            await guarded.process(one)
    except Death:
        return False
    await guarded.finish()
    return True


async def mark(marks: StateStore) -> Mark | None:
    text = await marks.get(f"at-work/{SHARD}")
    return Mark.model_validate_json(text) if text else None


async def test_a_record_kills_two_workers_at_the_most(marks: StateStore) -> None:
    records = [record(number) for number in range(5)]
    work = Work(deadly={"2"})
    assert not await live(marks, work, *records)
    assert await mark(marks) == Mark()  # somebody was at work; nobody knows on what
    assert not await live(marks, work, *records)
    assert await mark(marks) == Mark(records=["2"])
    work.came.clear()
    assert await live(marks, work, *records)
    assert work.came == [(str(number), number == 2) for number in range(5)]
    assert await mark(marks) == Mark(at_rest=True)


async def test_all_that_is_at_work_at_once_is_suspected(marks: StateStore) -> None:
    await marks.put(f"at-work/{SHARD}", Mark().model_dump_json())
    everyone_is_in = asyncio.Barrier(4)

    class Together(Work):
        async def process(self, record: Record) -> Outcome:
            await everyone_is_in.wait()
            return await super().process(record)

    guarded = Breaker(marks, lambda _: Together({"1"}), lambda: NOW).begin(SHARD)
    ends = await asyncio.gather(*(guarded.process(record(number)) for number in range(4)), return_exceptions=True)
    assert sum(isinstance(end, Death) for end in ends) == 1
    assert await mark(marks) == Mark(records=["0", "1", "2", "3"])


@pytest.mark.parametrize("before", [Mark(at_rest=True), Mark()])
async def test_no_record_overtakes_another_on_its_way_to_its_work(marks: StateStore, before: Mark) -> None:
    await marks.put(f"at-work/{SHARD}", before.model_dump_json())
    work = Work(set())
    guarded = Breaker(marks, lambda _: work, lambda: NOW).begin(SHARD)
    window = asyncio.Semaphore(3)

    async def one(number: int) -> None:
        try:
            await guarded.process(record(number, NOW + number * CLOCK_MARGIN / 10))
        finally:
            window.release()

    async with asyncio.TaskGroup() as records:
        for number in range(40):
            await window.acquire()
            records.create_task(one(number))
    assert [int(name) for name, _ in work.came] == list(range(40))


async def test_a_healthy_lease_reads_once_and_writes_twice(marks: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str) -> None:
        stock = getattr(StateStore, name)

        async def call(self: StateStore, *arguments: str) -> Any:
            calls.append(name)
            return await stock(self, *arguments)

        monkeypatch.setattr(StateStore, name, call)

    counted("put")
    counted("get")
    assert await live(marks, Work(set()), *(record(number) for number in range(50)))
    assert calls == ["get", "put", "put"]
    calls.clear()
    assert await live(marks, Work(set()))
    assert calls == []  # a lease on which nothing comes


async def test_watching_ends_with_what_the_dead_cannot_have_read(marks: StateStore) -> None:
    await marks.put(f"at-work/{SHARD}", Mark(records=["0"]).model_dump_json())
    later = NOW + CLOCK_MARGIN + timedelta(seconds=1)
    work = Work(deadly={"9"})
    guarded = Breaker(marks, lambda _: work, lambda: NOW).begin(SHARD)
    await guarded.process(record(0))
    assert await mark(marks) == Mark(records=["0"])
    await guarded.process(record(1, later))
    assert await mark(marks) == Mark()
    await guarded.process(record(2, later))
    with pytest.raises(Death):
        await guarded.process(record(9, later))
    assert await mark(marks) == Mark()


async def test_suspects_before_the_first_record_are_forgotten(marks: StateStore) -> None:
    await marks.put(f"at-work/{SHARD}", Mark(records=["4", "5.1", "5.3", "10"]).model_dump_json())
    work = Work(set())
    guarded = Breaker(marks, lambda _: work, lambda: NOW).begin(SHARD)
    first = Record(b"", Position(SHARD, "5", "door", NOW, 2), Turns().next())
    await guarded.process(first)
    assert await mark(marks) == Mark(records=["10", "5.2", "5.3"])
    await guarded.process(Record(b"", Position(SHARD, "5", "door", NOW, 3), Turns().next()))
    await guarded.process(record(10))
    await guarded.process(record(11, NOW + timedelta(hours=1)))
    assert await mark(marks) == Mark()
    assert [suspect for _, suspect in work.came] == [False, True, True, False]


async def test_a_mark_is_renewed_before_the_bucket_forgets_it(marks: StateStore, resources: Resources) -> None:
    now = NOW
    guarded = Breaker(marks, lambda _: Work(set()), lambda: now).begin(SHARD)
    await guarded.process(record(1))
    resources.client("s3").delete_object(Bucket=resources.bucket, Key=f"state/app/at-work/{SHARD}.json")
    await guarded.save()
    assert await mark(marks) is None
    now += RENEW_AFTER + timedelta(seconds=1)
    await guarded.save()
    assert await mark(marks) == Mark()


async def test_watching_goes_on_while_an_old_record_is_at_work(marks: StateStore) -> None:
    await marks.put(f"at-work/{SHARD}", Mark().model_dump_json())
    later, released, begun = NOW + timedelta(hours=1), asyncio.Event(), asyncio.Event()

    class Slow(Work):
        async def process(self, record: Record) -> Outcome:
            if record.position.sequence == "0":
                begun.set()
                await released.wait()
            return await super().process(record)

    guarded = Breaker(marks, lambda _: Slow(set()), lambda: NOW).begin(SHARD)
    old = asyncio.create_task(guarded.process(record(0)))
    await begun.wait()
    await guarded.process(record(1, later))
    assert await mark(marks) == Mark(records=["0", "1"])
    released.set()
    await old
    await guarded.process(record(2, later))
    assert await mark(marks) == Mark()


async def test_a_mark_that_is_no_mark_counts_as_a_death(marks: StateStore) -> None:
    await marks.put(f"at-work/{SHARD}", "]")
    guarded = Breaker(marks, lambda _: Work(set()), lambda: NOW).begin(SHARD)
    await guarded.process(record(0))
    assert await mark(marks) == Mark(records=["0"])
