"""What tests cost, so that the dear ones start first: else the end of a run is one long test on one core."""

from __future__ import annotations

from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
# Seconds of a file's longest test on two cores, roughly. What is not named takes a few.
SECONDS: Final = {
    "faults/test_every_shard_is_read.py": 600,
    "faults/test_kill.py": 400,
    "faults/test_events.py": 300,
    "system/test_memory.py": 120,
    "system/test_benchmarks.py": 120,
    "system/test_demo.py": 100,
    "infra/test_apply.py": 450,
    "infra/test_leaving.py": 250,
    "infra/test_verify.py": 200,
    "infra/test_keys.py": 270,
    "infra/test_access.py": 100,
    "infra/test_bus.py": 90,
    "infra/test_scaling.py": 40,
    "infra/test_live_scaling.py": 250,
    "faults/test_services.py": 200,
    "faults/test_fleet.py": 150,
    "system/test_image.py": 150,
    "faults/test_soak.py": 130,
    "faults/test_tracks.py": 100,
    "faults/test_outages.py": 130,
    "faults/test_resharding.py": 90,
    "independent/test_faults.py": 90,
    "independent/test_main_job.py": 40,
    "independent/test_aggregates.py": 40,
    "independent/test_quarantine.py": 40,
    "faults/test_stuck.py": 80,
    "faults/test_http.py": 70,
    "infra/test_cli.py": 60,
    "system/test_export.py": 60,
    "system/test_aot.py": 60,
    "system/test_quantise.py": 60,
    "system/test_main_job.py": 50,
    "system/test_page.py": 100,
    "system/test_page_events.py": 60,
    "system/test_page_shapes.py": 60,
    "system/test_shutdown.py": 45,
    "infra/test_scan.py": 40,
    "infra/test_state.py": 40,
    "infra/test_github.py": 30,
    "system/test_doctor.py": 30,
    "system/test_replay.py": 30,
    "system/test_web.py": 30,
    "faults/test_obeying.py": 30,
    "faults/test_frames.py": 25,
    "faults/test_missing.py": 20,
    "unit/test_adaptive_counts.py": 30,
    "unit/test_bare_machine.py": 15,
    "unit/test_demo_model.py": 10,
}


def seconds(path: Path) -> int:
    """What the longest test of a file takes, roughly."""
    return SECONDS.get(path.relative_to(TESTS).as_posix(), 0)
