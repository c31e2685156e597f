"""A worker that says that it reads (not so with IDLE=1) and ends when it is told to (not so with DEAF=1)."""

from __future__ import annotations

import json
import os
import signal
import time

from kcl_worker.operating.metrics import embedded


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN if os.environ.get("DEAF") else signal.SIG_DFL)
    dimensions = {"StreamName": "cv2kinesis", "Application": "cv2kinesis"}
    lags = {} if os.environ.get("IDLE") else {"MillisBehindLatest": [500.0, 1500.0]}
    print(json.dumps(embedded({"Workers": 1} | lags, dimensions)), flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
