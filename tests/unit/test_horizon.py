"""Up to which time a shard was read."""

from __future__ import annotations

from datetime import UTC, datetime

from kcl_worker.kcl.horizon import Horizon


def test_records_move_it_to_their_arrival() -> None:
    horizon = Horizon(4)
    horizon.record(datetime.fromtimestamp(100, UTC))
    horizon.read(25, 0, 160)
    assert horizon.time == 100  # a busy shard: what came later may wait
    horizon.record(datetime.fromtimestamp(99, UTC))
    assert horizon.time == 100


def test_a_read_that_finds_nothing_was_made_after_those_that_lay_ready_were_taken() -> None:
    horizon = Horizon(4)
    for number in range(4):
        horizon.read(0, 0, 1000 + number)
        assert horizon.time == 0
    horizon.read(0, 0, 1004)
    assert horizon.time == 1000
    horizon.read(0, 500, 1005)  # there is more
    horizon.read(3, 0, 1006)
    assert horizon.time == 1000
    # Whoever was held up for a minute takes delivery of reads from before.
    horizon.read(0, 0, 1066)
    assert horizon.time < 1006
