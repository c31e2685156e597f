"""A worker whose decoder dies of some frames: `python -m tests.faults.crashing_worker`. All else is the real one.

Frames whose session is `abort` end its process by a signal, as a fault in native code does; it never comes back from
those whose session is `hang`.
Processes that the worker starts read this module too, and die alike.
"""

from __future__ import annotations

import os
import sys
import time

from contract import Frame
from kcl_worker.__main__ import main
from kcl_worker.vision import codec
from kcl_worker.vision.detections import Image

_decode = codec.decode


def _die(frame: Frame) -> Image:
    match frame.metadata and frame.metadata.session:
        case "abort":
            os.abort()
        case "hang":
            time.sleep(3600)
    return _decode(frame)


codec.decode = _die

if __name__ == "__main__":
    sys.exit(main())
