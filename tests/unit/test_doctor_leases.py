"""What `doctor` makes of the leases: those that grow, those that will soon, and those that nobody reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from doctor import leases as module
from doctor.leases import leases
from doctor.place import Place
from local.processes import Aws
from local.repeating import Repeating
from local.resources import Resources
from tests.unit.test_lease_watch import FIRST, ME, OLD, Fleet

SECOND = "shardId-000000000001"


@pytest.fixture
def fleet(aws: Aws, name: str, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A stream of two shards, whose first lease is held, and a doctor that is less patient."""
    resources = Resources.create(aws.url, name, 2)
    for variable, value in resources.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 2.0)
    fleet = Fleet(resources)
    fleet.lease(ME)
    return fleet


@contextmanager
def working(work: Callable[[], object]) -> Iterator[None]:
    """Somebody does this all the while."""
    repeating = Repeating(work, 0.05, "worker")
    repeating.start()
    try:
        yield
    finally:
        repeating.stop()


def test_leases_that_grow_are_held(fleet: Fleet) -> None:
    fleet.lease(ME, key=SECOND)
    with working(lambda: fleet.renew([FIRST, SECOND])):
        found = leases(Place.from_environment())
    assert (found.verdict, found.says) == ("well", "2 of 2 shards are held, by 1 workers")


def test_where_a_worker_is_there_a_shard_may_wait_for_it(fleet: Fleet) -> None:
    """Longer than a silent worker's leases may: the second look comes when the first would have told of it."""
    fleet.lease(None, key=SECOND)
    looks = 0

    def work() -> None:
        nonlocal looks
        looks += 1
        fleet.renew([FIRST])
        if looks > 60:  # three seconds and more, a patience and a half
            fleet.lease(OLD, key=SECOND, leaseCounter={"N": str(looks)})

    with working(work):
        found = leases(Place.from_environment())
    assert (found.verdict, found.says) == ("well", "2 of 2 shards are held, by 2 workers")


@pytest.mark.parametrize(
    ("owners", "why"),
    [
        ((None, None), "it is free"),
        ((OLD, None), "old does not renew it"),
        ((None, OLD), "its hand-over from old has lost the new owner"),
    ],
)
def test_a_shard_that_nobody_takes(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, owners: tuple[str | None, str | None], why: str
) -> None:
    monkeypatch.setattr(module, "REPAIR_SECONDS", 2.0)
    fleet.lease(*owners, key=SECOND)
    with working(lambda: fleet.renew([FIRST])):
        found = leases(Place.from_environment())
    assert (found.verdict, found.advice) == ("wrong", "docs/runbook.md, `unowned`")
    assert found.says == f"1 of 2 shards are held, by 1 workers; nobody reads {SECOND} ({why})"


def test_nobody_is_there(fleet: Fleet) -> None:
    found = leases(Place.from_environment())
    assert found.verdict == "wrong"
    assert found.says.startswith("0 of 2 shards are held, by 0 workers; nobody reads ")
    assert f"{FIRST} (me does not renew it), {SECOND} (it has no lease)" in found.says
    assert found.advice == "no worker runs, or it has just died: `make status`, `make logs`"
