"""A processor quota as a container has it, in a real cgroup."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.cgroup import NoCgroupsError, quota
from local.processes import ROOT
from tests import pictures

CODE = """
import sys
from pathlib import Path
from contract import Frame
from kcl_worker.vision.codec import decode
from kcl_worker.vision.cpu import available_cpus
from kcl_worker.vision.openvino_detector import OpenVinoDetector
detector = OpenVinoDetector(Path("models/street.onnx"))
found = detector.detect(decode(Frame.parse(Path(sys.argv[1]).read_bytes())))
print(available_cpus(), detector.parallelism, len(found))
"""


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (1.0, 1)])
def test_threads_follow_the_quota(cpus: float, threads: int, tmp_path: Path) -> None:
    picture = tmp_path / "street.jpg"
    picture.write_bytes(pictures.street_jpeg(640, 360))
    try:
        with quota(cpus) as group:
            output = group.run([sys.executable, "-c", CODE, str(picture)], ROOT)
    except NoCgroupsError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    measured, parallelism, found = output.split()
    assert (float(measured), int(parallelism)) == (cpus, threads)
    assert int(found) > 0
