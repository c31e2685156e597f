"""The container's health check: `python -m kcl_worker.operating.healthcheck` asks the worker in the same container."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 4


def main() -> int:
    """Gives 0 if `/health` answers 200; else 1, with the reason on standard error."""
    url = f"http://127.0.0.1:{os.environ.get('HEALTH_PORT', '8080')}/health"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS):
            return 0
    except urllib.error.HTTPError as error:
        print(json.loads(error.read()).get("reason"), file=sys.stderr)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
