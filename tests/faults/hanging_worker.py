"""A worker whose model hangs at the 20th call: `python -m tests.faults.hanging_worker`. All else is the real one."""

from __future__ import annotations

import itertools
import time

from kcl_worker.__main__ import main
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.openvino_detector import OpenVinoDetector

_calls = itertools.count(1)
_detect = OpenVinoDetector.detect


def _hang(
    self: OpenVinoDetector, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
) -> Detections:
    if next(_calls) >= 20:
        time.sleep(3600)
    return _detect(self, image, confidence_threshold, max_detections)


if __name__ == "__main__":
    OpenVinoDetector.detect = _hang  # type: ignore[method-assign]
    main()
