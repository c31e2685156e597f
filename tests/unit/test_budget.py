"""Memory that is shared by frames of all shards."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from kcl_worker.budget import Budget, Grant


async def settled() -> None:
    """Lets every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_fits_does_not_wait_and_comes_back() -> None:
    budget = Budget(100)
    with await budget.take(60) as first, await budget.take(40):
        assert budget.used == 100
        first.shrink(10)
        first.shrink(30)  # never more again
        assert (first.amount, budget.used) == (10, 50)
    assert budget.used == 0
    first.release()
    assert budget.used == 0


async def test_a_heavy_frame_is_not_overtaken_by_light_ones() -> None:
    budget, order = Budget(100), list[str]()

    async def work(name: str, amount: int) -> None:
        with await budget.take(amount):
            order.append(name)
            await asyncio.sleep(0)

    with await budget.take(30):
        heavy = asyncio.create_task(work("heavy", 90))
        await settled()
        light = [asyncio.create_task(work(f"light {number}", 10)) for number in range(3)]
        await settled()
        # There is room for the light ones, and it is not theirs yet.
        assert (order, budget.waiting, budget.used) == ([], 4, 30)
    await asyncio.gather(heavy, *light)
    assert order == ["heavy", "light 0", "light 1", "light 2"]
    assert budget.used == 0


async def test_who_asks_for_more_than_there_is_gets_all_of_it() -> None:
    budget = Budget(100)
    with await budget.take(1):
        waiting = asyncio.create_task(budget.take(10**9))
        await settled()
        assert budget.waiting == 1
    assert (await waiting).amount == budget.used == 100


async def test_who_gives_up_waiting_lets_those_behind_pass() -> None:
    budget = Budget(100)
    with await budget.take(50):
        heavy = asyncio.create_task(budget.take(100))
        light = asyncio.create_task(budget.take(50))
        await settled()
        assert budget.waiting == 2
        heavy.cancel()
        await settled()
        assert (await light).amount == 50
        assert budget.used == 100


async def test_who_is_cancelled_while_getting_it_gives_it_back() -> None:
    budget = Budget(100)
    first = await budget.take(100)
    waiting = asyncio.create_task(budget.take(100))
    await settled()
    first.release()  # the other one has it now and has not woken up
    assert budget.used == 100
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.used == 0


@pytest.mark.parametrize("seed", range(20))
async def test_never_too_much_and_nothing_is_lost(seed: int) -> None:
    chance, budget, served = random.Random(seed), Budget(1000), list[int]()
    held: list[Grant] = []

    async def work(number: int) -> None:
        with await budget.take(chance.randrange(1, 1500)) as grant:
            served.append(number)
            held.append(grant)
            try:
                # What is given out and not yet awake counts too.
                assert sum(one.amount for one in held) <= budget.used <= budget.capacity
                await asyncio.sleep(0)
                grant.shrink(chance.randrange(1, 500))
                await asyncio.sleep(0)
            finally:
                held.remove(grant)

    tasks = []
    for number in range(200):
        tasks.append(asyncio.create_task(work(number)))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
    assert (budget.used, budget.waiting) == (0, 0)
    assert served == sorted(served)
