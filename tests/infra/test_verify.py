"""The throw-away environment of `make verify-account`."""

from __future__ import annotations

from stacks.config import Config
from stacks.verify import throw_away


def test_a_throw_away_environment_is_nobodys() -> None:
    config = Config.of({
        "suffix": "-prod", "stream": {"shards": 2}, "service": {"min_tasks": 1, "cpu": 1024, "memory": 4096},
        "github": {"repository": "owner/cv2kinesis"},
    })  # fmt: skip
    (one, first), (other, second) = throw_away(config), throw_away(config)
    assert one != other
    assert len({config.suffix, first.suffix, second.suffix}) == 3
    assert (first.github.repository, first.service.min_tasks) == ("", 0)
    assert (first.service.cpu, first.stream.shards) == (1024, 2)
