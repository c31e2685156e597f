"""A worker whose model takes half a second more: `python -m tests.faults.slow_worker`. All else is the real one."""

from __future__ import annotations

import sys
import time

from kcl_worker.__main__ import main
from kcl_worker.vision.detections import Detections, Image
from kcl_worker.vision.openvino_detector import OpenVinoDetector

_detect = OpenVinoDetector.detect


def _slowly(
    self: OpenVinoDetector, image: Image, confidence_threshold: float | None = None, max_detections: int | None = None
) -> Detections:
    time.sleep(0.5)
    return _detect(self, image, confidence_threshold, max_detections)


if __name__ == "__main__":
    OpenVinoDetector.detect = _slowly  # type: ignore[method-assign]
    sys.exit(main())
