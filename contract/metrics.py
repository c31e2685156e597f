"""The metrics that producers and workers write to CloudWatch, which alarms read."""

from __future__ import annotations

from typing import Final

# Of a KCL application, by `StreamName` and `Application`: see `kcl_worker/operating/metrics.py`.
WORKERS: Final = "cv2kinesis"
# Of a stream, by `StreamName`. It is a namespace of its own, because producers may write nothing else.
PRODUCERS: Final = "cv2kinesis/producers"
STARTED: Final = "ProducersStarted"
